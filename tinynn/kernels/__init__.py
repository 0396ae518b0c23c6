"""Machine code: scalar expressions, the sources printed from them, and the functions those sources call.

Nothing in here knows a Tensor. Numba is imported when the first kernel is compiled, not before; modules with compiled
functions in them (`native`, `vectormath`, ...) are imported by printed sources, or inside of functions.

Expressions, which all kernels are printed from::

    symbols, rewrites, printer      scalars that record an expression; what a language lacks or does better; its text
    vectormath, floatbits           exp, tanh, erf, ... as polynomials that the compiler vectorises

Kernels for arrays, called by the Numba backend and by CuPy::

    elementwise                     an elementwise formula, in chunks on several threads
    convolution, shifted_products, pooling, normalization, batch_norm_loops, layer_norm_loops, dropout, cross_entropy,
    scatter                         one operation each
    philox, philox_numba            random numbers by counter
    simd, memory, threads           vectors of numbers in Numba; aligned arrays; when threads are worth it

Kernels for the rows of a compiled step, called by address with one pointer to a row of int64 words::

    native                          what such a kernel is, and the functions that it is written with
    loops, loop_source              elementwise loops and reductions: what they are; their text
    products, tiles, blocks, blas   matrix products: which kernel; machine code for small and large ones; calls of BLAS
    picks                           rows picked by an index, or added to; dropout masks
    driver, driver_loops            running the rows of a table, or an epoch of minibatches

and how they become machine code::

    kernel_sources                  kernels that are functions in a Python source; they are looked for on disk first
    numba_text, llvm_vectors        LLVM's language for them: by Numba, or written directly
    machine_code, disk_cache        compiled and kept on disk; where printed sources are kept
    python_calls                    a kernel and its row as a Python function that is fast to call

For the GPU::

    cuda_loops, cuda_launch         loops as CUDA kernels; how many threads and parts, and the arguments
    cuda_random, cublas             random numbers; matrix products
"""
