"""Matrix products of one table row each: which kernel computes one, and the words of its row.

    out[m, n] = (a[m, k] @ b[k, n] + bias[n]) * times[m, n],    sums[m] = a[m, k] summed over k

Bias, factors and sums are there or not.

Sizes and strides are words of the row, so a kernel is compiled once per dtype and manner, and serves all shapes. There
are four manners:

tiles
    A tile of the result stays in vector registers (`tinynn.kernels.tiles`). Where b is stored transposed, as in
    ``x @ weight.T``, a panel of columns at a time is first transposed into scratch memory.
dots
    One row or one column of results: dot products along k.
blocks
    Large products on processors with registers of 64 bytes (`tinynn.kernels.blocks`).
blas
    Large products on others (`tinynn.kernels.blas`).

Sums along k are in order in tiles, in several parts otherwise, with multiply-adds that round once. So
each element differs from the exact sum by at most (k + 16) u (|a| @ |b| + |bias|) to first order, u = eps / 2
(N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1).

Examples
--------
>>> import numpy as np
>>> from tinynn.kernels.native import drive
>>> a, b, out = np.ones((2, 3)), np.ones((3, 4)), np.empty((2, 4))
>>> product = choose_product("float64", 2, 4, 3, (3, 1), (4, 1), has_bias=False)
>>> product.kind
'tiles'
>>> words = row_words(product, 2, 4, 3, (a.ctypes.data, 3, 1), (b.ctypes.data, 4, 1), 0, (out.ctypes.data, 4), 0)
>>> drive(np.array(words), 1)
>>> out
array([[3., 3., 3., 3.],
       [3., 3., 3., 3.]])
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinynn.kernels import blas, disk_cache, threads
from tinynn.kernels.blocks import Blocks, emit_blocks
from tinynn.kernels.llvm_vectors import REGISTER_BYTES, kernel_text
from tinynn.kernels.machine_code import Written, address_of, interpreted
from tinynn.kernels.tiles import emit_dots, emit_tiles

__all__ = ["CompiledProduct", "choose_product", "compile_product", "row_words"]

Strides = tuple[int, ...]  # two


@dataclass(frozen=True)
class CompiledProduct:
    """A compiled kernel for products.

    Attributes
    ----------
    address : int
        The kernel's, the first word of a row.
    name, source : str
        What is compiled, as Python.
    kind : {"tiles", "dots", "blocks", "blas"}
    scratch_bytes : int
        How much memory the row's last word must point to (0: none).
    """

    address: int
    name: str
    source: str
    kind: str
    scratch_bytes: int = 0


def row_words(
    product: CompiledProduct,
    m: int,
    n: int,
    k: int,
    a: tuple[int, int, int],
    b: tuple[int, int, int],
    bias: int,
    out: tuple[int, int],
    scratch: int,
    times: tuple[int, int] = (0, 0),
    sums: int = 0,
) -> list[int]:
    """The words of a row. Operands are (address in bytes, strides in elements); bias and scratch are addresses or 0.

    ``times``, an address and the stride of rows, multiplies the result element by element; ``sums`` is where the sums
    of a's rows go, if a's columns are contiguous. BLAS knows neither.
    """
    return [product.address, 18, m, n, k, *a, *b, bias, *out, scratch, *times, sums]


# ---------------------------------------------------------------------------------------------------- the choice


def choose_product(
    dtype: Any,
    m: int,
    n: int,
    k: int,
    a_strides: Strides,
    b_strides: Strides,
    has_bias: bool,
    has_times: bool = False,
    has_sums: bool = False,
) -> CompiledProduct:
    """Choose, and compile or load, the kernel for a product.

    Parameters
    ----------
    dtype : {"float64", "float32"}
    m, n, k : int
        ``out[m, n] = a[m, k] @ b[k, n]``. Zeros are allowed.
    a_strides, b_strides : (int, int)
        In elements, of rows and columns: any.
    has_bias : bool
        Whether ``bias[n]`` is added to every row.
    has_times, has_sums : bool
        Whether factors of the result, or sums of a's rows, are asked for.

    Raises
    ------
    TypeError
        For other dtypes.
    """
    name = np.dtype(dtype).name
    if name not in blas.FUNCTIONS:
        raise TypeError(f"products are compiled for float64 and float32, got dtype {name}; convert with astype")
    size = np.dtype(name).itemsize
    contiguous = k == 1 or (a_strides[1] == 1 and b_strides[0] == 1)  # along k
    if contiguous and k > 0 and (n == 1 or (m == 1 and b_strides[1] != 1)):
        return compile_product("dots", name, 4, REGISTER_BYTES // size, n != 1)
    plain = not (has_times or has_sums)
    expressible = blas.expressible(m, k, a_strides) and blas.expressible(k, n, b_strides)
    # copies of all of a for one panel, or of all of b for a few strips, cost more than they save
    wide = min(m, n) >= 64 or a_strides[0] == 1
    if plain and expressible and wide and _large(m * n * k):
        if not _BLOCKS:
            return compile_product("blas", name)
        blocks = Blocks(lanes=REGISTER_BYTES // size)
        return replace(compile_product("blocks", name, *blocks), scratch_bytes=blocks.scratch_bytes(size))

    (tile, cost), (swapped_tile, swapped_cost) = _tile_for(size, n), _tile_for(size, m)
    storing = 4 * REGISTER_BYTES // size * n  # to copy an element to its place takes about as long as four registers
    by_columns = n * swapped_cost + m * storing / max(k, 1) < 0.8 * m * cost
    if a_strides[0] == 1 and not has_bias and not has_times and by_columns:
        found, scratch = compile_product("tiles", name, *swapped_tile, "swapped"), m * n * size
    elif b_strides[1] == 1 or n <= 1:
        found, scratch = compile_product("tiles", name, *tile, "direct"), 0
    else:
        _, vectors, lanes = tile
        found = compile_product("tiles", name, *tile, "transposed" if b_strides[0] == 1 or k <= 1 else "strided")
        scratch = -(-k // lanes) * lanes * lanes * vectors * size
    return replace(found, scratch_bytes=scratch)


_BLOCKS = REGISTER_BYTES == 64  # BLAS elsewhere: the sizes of blocks have been measured on such processors only


def _large(volume: int) -> bool:
    """Whether so many multiply-adds are better done in blocks, or by BLAS, than in tiles alone.

    Milliseconds that one thread takes for square products (``benchmarks/products.py --squares``), measured on an AMD
    EPYC (Zen 4) with SciPy's OpenBLAS 0.3.31::

                        float32                    float64
              n    512   768  1024  2048      512   768  1024  2048
        x @ w.T
          tiles   2.35  8.07  19.2   159     4.78  16.2  39.9   327
          blocks  2.39  8.06  19.1   153     4.81  16.3  39.6   317
          BLAS    2.57  8.57  21.3   165     5.22  17.4  41.1   325
        x.T @ w
          tiles   2.37  8.21  21.2   498     5.19  17.9  78.2  1230
          blocks  2.48  8.27  19.7   156     5.06  17.2  40.1   324
          BLAS    2.62  9.09  21.9   166     5.22  17.8  41.8   323

    Where there are several threads, they share a product from about a millisecond on. So the last bits of a result
    can depend on whether there are.
    """
    if volume < 2**26 or volume >= 2**29:
        return volume >= 2**29
    return (threads.available() if _BLOCKS else _threads_of_blas()) > 1


@functools.cache
def _threads_of_blas() -> int:
    """How many threads OpenBLAS takes, as far as the environment tells."""
    for variable in ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"):
        if os.environ.get(variable, "").isdigit():
            return int(os.environ[variable])
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _tile_for(size: int, n: int) -> tuple[tuple[int, int, int], float]:
    """The largest tile (rows, vectors, lanes) for products with n columns, and what a row of those costs, in lanes.

    Few columns are computed in vain when a panel is as wide as 3/2 or 1/2 of a register. Vectors of half a register
    are no slower per element on processors that take a full one in two halves (AMD Zen 4); on others they are.
    """
    full = REGISTER_BYTES // size
    tiles = [(8, 2, full), (8, 1, full)]
    if REGISTER_BYTES > 16:
        tiles += [(8, 3, full // 2), (8, 1, full // 2)]
    if REGISTER_BYTES < 64:  # sixteen registers
        tiles = [(4, vectors, lanes) for _, vectors, lanes in tiles]

    def cost(tile: tuple[int, int, int]) -> float:
        _, vectors, lanes = tile
        columns = -(-n // (vectors * lanes)) * vectors * lanes
        if vectors == 1:  # a load for each multiply-add
            return columns * (1.5 if lanes < full else 1.15)
        return columns * (1.1 if lanes < full else 1.0)

    best = min(tiles, key=cost)
    return best, cost(best)


# ---------------------------------------------------------------------------------------------------- compilation


@functools.cache
def compile_product(kind: str, dtype: str, *options: Any) -> CompiledProduct:
    """Compile, or load, the kernel of one manner.

    Parameters
    ----------
    kind : {"tiles", "dots", "blocks", "blas"}
    dtype : {"float64", "float32"}
    *options
        For tiles: rows, vectors, lanes, and the layout of b ("direct", "transposed", "strided", or "swapped": see
        `tinynn.kernels.tiles`), of which all but "direct" need scratch memory. For dots: rows, lanes, and whether
        the roles of a and b.T are swapped. For blocks: those of `tinynn.kernels.blocks.Blocks`.
    """
    name = "_".join(map(str, ("product", kind, dtype, *options)))
    source = _source(name, kind, dtype, options)
    if interpreted():
        address = disk_cache.load(source, name).address  # type: ignore[attr-defined]
        return CompiledProduct(address, name, source, kind)
    if kind == "blas":
        blas.link(dtype)
    emit = _EMITTERS[kind]

    def write() -> Written:
        return Written(kernel_text(name, lambda builder, row: emit(builder, row, dtype, *options)), name)

    return CompiledProduct(address_of(name, source, write), name, source, kind)


_EMITTERS: dict[str, Any] = {"tiles": emit_tiles, "dots": emit_dots, "blocks": emit_blocks, "blas": blas.emit_gemm}


_PLAIN = '''"""{title}

{explained}
"""

from tinynn.kernels.native import as_{dtype}, kernel


def loops(row):
    """What is computed."""
    m, n, k = row[2], row[3], row[4]
    a, a_row, a_column = as_{dtype}(row[5]), row[6], row[7]
    b, b_row, b_column = as_{dtype}(row[8]), row[9], row[10]
    bias, out, out_row = as_{dtype}(row[11]), as_{dtype}(row[12]), row[13]
    times, times_row, sums = as_{dtype}(row[15]), row[16], as_{dtype}(row[17])
    for i in range(m):
        for j in range(n):
            total = bias[j] if row[11] != 0 else 0.0
            for t in range(k):
                total += a[i * a_row + t * a_column] * b[t * b_row + j * b_column]
            out[i * out_row + j] = total * times[i * times_row + j] if row[15] != 0 else total
    if row[17] != 0:
        for i in range(m):
            sums[i] = 0.0
            for t in range(k):
                sums[i] += a[i * a_row + t * a_column]


'''


def _source(name: str, kind: str, dtype: str, options: tuple[Any, ...]) -> str:
    """The printed kernel: the plain loops, which run if nothing is compiled, and how the machine code does it."""
    emitter = f"{_EMITTERS[kind].__module__}.{_EMITTERS[kind].__name__}"
    plain = _PLAIN.format(
        title="out[m, n] = (a[m, k] @ b[k, n] + bias[n]) * times[m, n]; sums[m] = the sums of a's rows.",
        explained=_explained(kind, dtype, options),
        dtype=dtype,
    )
    arguments = ", ".join(map(repr, (dtype, *options)))
    return f"{plain}# Compiled, it is what {emitter}(..., {arguments}) writes.\n{name} = kernel(loops)\n"


def _explained(kind: str, dtype: str, options: tuple[Any, ...]) -> str:
    if kind == "blas":
        return f"By BLAS: {blas.FUNCTIONS[dtype]} computes out.T = b.T @ a.T, as it stores matrices by columns."
    if kind == "blocks":
        blocks = Blocks(*options)
        return (
            f"In blocks of {blocks.depth} steps along k, {blocks.high} rows of a and {blocks.wide} columns of b, which "
            f"are copied first,\nand tiles of {blocks.rows} by {blocks.vectors * blocks.lanes} of these."
        )
    if kind == "dots":
        rows, lanes, swapped = options
        what = "columns of b with a row of a" if swapped else "rows of a with a column of b"
        return f"As dot products along k, in vectors of {lanes}, of {rows} {what} at a time."
    rows, vectors, lanes, layout = options
    first = {
        "direct": "",
        "transposed": f"Before, a panel of {vectors * lanes} columns of b, which is stored transposed, is copied "
        "to where its rows\nare contiguous. ",
        "strided": f"Before, a panel of {vectors * lanes} columns of b is copied to where its rows are contiguous.\n",
        "swapped": "It is out.T = b.T @ a.T that is computed so (b.T is called a below), and copied to its place.\n",
    }[layout]
    return (
        f"In tiles of {rows} rows (then of what is left) by {vectors} vectors of {lanes} columns, which stay in\n"
        f"registers. {first}The machine code for a tile is, in Python::\n\n{_tile_lines(rows, vectors, lanes)}"
    )


def _tile_lines(rows: int, vectors: int, lanes: int) -> str:
    """A tile as it would be written with the functions of `tinynn.kernels.simd`."""
    some, columns = range(rows), range(vectors)
    start = ", ".join(f"load(bias, {j * lanes})" for j in columns)
    lines = [f"    {', '.join(f's{i}{j}' for j in columns)} = {start}" for i in some]
    lines.append("    for t in range(k):")
    loads = ", ".join(f"load(b, t * b_row + {j * lanes})" for j in columns)
    lines.append(f"        {', '.join(f'b{j}' for j in columns)} = {loads}")
    for i in some:
        lines.append(f"        a{i} = splat(a[{i} * a_row + t * a_column])")
        sums = ", ".join(f"multiply_add(a{i}, b{j}, s{i}{j})" for j in columns)
        lines.append(f"        {', '.join(f's{i}{j}' for j in columns)} = {sums}")
    lines += ["    " + ", ".join(f"store(out, {i} * out_row + {j * lanes}, s{i}{j})" for j in columns) for i in some]
    return "\n".join(lines)
