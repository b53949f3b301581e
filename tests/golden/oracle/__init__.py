"""Generators of the golden files; they run under Keras 2.3.1 (see ../generate.py)."""
