"""What is left of Keras 1: old argument names and old layers."""
