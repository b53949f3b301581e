"""Loops over time compiled by numba, if it is installed: ops/host_loops.py imports them then."""
