"""Where arrays live and what computes on them: NumPy (the reference), Numba kernels, CuPy."""
