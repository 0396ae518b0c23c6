"""Machine code: scalar expressions, the sources printed from them, and the functions those sources call.

Nothing in here knows a Tensor. Numba is imported when the first kernel is compiled, not before:
`symbols`, `printer`, `disk_cache` and `elementwise` import only Python's own library (and NumPy),
while `vectormath` and `floatbits` hold compiled functions and are imported by printed sources.
"""
