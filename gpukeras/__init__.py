"""gpukeras: Keras 2.3 on CuPy and NumPy."""
