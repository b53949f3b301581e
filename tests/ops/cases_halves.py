"""Ops on 16-bit floats: ops/halves.py. None of them takes float64, which the checks of a row use:
RoundFloat16, RoundBfloat16, LoadBfloat16 and StoreBfloat16 are tested in test_halves.py."""
CASES = []
