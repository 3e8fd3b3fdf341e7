"""Array kernels: NumPy and Numba functions over plain arrays.

Validated arrays enter; arrays leave.
Never validates, never touches files, never starts a parallel runtime.
Start with `bitmaps`, the row sets that filters become.
"""
