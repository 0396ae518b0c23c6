"""Matrix products of the sizes that training has: tinynn's tiles and blocks, BLAS by address, and NumPy's a @ b.

For a layer with weight W of shape (out, in) and a batch x: forward ``x @ W.T + b``, the gradient of the input
``g @ W``, the gradient of the weight ``g.T @ x``. All but NumPy's are called many times in a row by compiled code, as
in a compiled training step; NumPy's column is a call from Python into an array that is there (without the bias). A row
in which results disagree is VOID. A star marks what `choose_product` takes.
"""

from __future__ import annotations

import itertools
import math
import sys
from typing import Any

import _common as common
import numpy as np

NETWORKS = [  # dtype, batch, widths
    ("float64", 10, (1, 20, 10, 5, 1)),
    ("float64", 10, (7, 10, 10, 10, 1)),
    ("float64", 32, (6, 32, 32, 32, 1)),
    ("float32", 32, (6, 32, 32, 32, 1)),
    ("float64", 64, (30, 64, 64, 64, 1)),
    ("float32", 10000, (4, 32, 16, 4)),
    ("float32", 128, (784, 256, 128, 10)),
]
SQUARES = [(dtype, n) for dtype in ("float64", "float32") for n in (96, 128, 192, 256, 384, 512, 768, 1024, 2048)]
TOLERANCE = {"float64": 1e-12, "float32": 3e-4}  # of the largest element
MANNERS = ("tiles", "blocks", "blas", "numpy")


def cases(squares: bool) -> list[dict[str, Any]]:
    """Every distinct product of the networks, or the square ones among which BLAS and tiles change places."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    if squares:
        for dtype, n in SQUARES:
            for role in ("forward", "dW"):
                found[dtype, n, role] = {"dtype": dtype, "role": role, "m": n, "n": n, "k": n}
        return list(found.values())
    for dtype, batch, widths in NETWORKS:
        for into, out in itertools.pairwise(widths):
            for role, (m, n, k) in _roles(batch, into, out).items():
                found[dtype, role, m, n, k] = {"dtype": dtype, "role": role, "m": m, "n": n, "k": k}
    return list(found.values())


def _roles(batch: int, into: int, out: int) -> dict[str, tuple[int, int, int]]:
    return {"forward": (batch, out, into), "dx": (batch, into, out), "dW": (out, into, batch)}


# ------------------------------------------------------------------------------------------------- in the worker


def _array(rng: Any, rows: int, columns: int, dtype: str) -> Any:
    """Random numbers, with the room behind them that kernels may read."""
    return rng.normal(size=rows * columns + 16).astype(dtype)[: rows * columns].reshape(rows, columns)


def _round(dtype: str, role: str, m: int, n: int, k: int, seconds: float) -> dict[str, Any]:
    """Times by manner, the largest difference from NumPy's result, and the kind that is chosen."""
    from tinynn.kernels import blas, products
    from tinynn.kernels.driver import driving

    rng = np.random.default_rng(0)
    a = _array(rng, k, m, dtype).T if role == "dW" else _array(rng, m, k, dtype)
    b = _array(rng, n, k, dtype).T if role == "forward" else _array(rng, k, n, dtype)
    bias = _array(rng, 1, n, dtype)[0]
    has_bias = role == "forward"
    out, x_size = np.empty((m, n), dtype), np.dtype(dtype).itemsize
    (a0, a1), (b0, b1) = ([stride // x.itemsize for stride in x.strides] for x in (a, b))
    chosen = products.choose_product(dtype, m, n, k, (a0, a1), (b0, b1), has_bias)
    tiles = chosen
    if chosen.kind in ("blocks", "blas"):
        large, products._large = products._large, lambda volume: False
        tiles = products.choose_product(dtype, m, n, k, (a0, a1), (b0, b1), has_bias)
        products._large = large
    blocks = products.Blocks(lanes=products.REGISTER_BYTES // x_size)
    scratch = np.empty(max(tiles.scratch_bytes, blocks.scratch_bytes(x_size)) + 64, np.uint8)
    exact = a.astype(np.float64) @ b.astype(np.float64) + (bias if has_bias else 0.0)

    def timed(product: Any) -> tuple[float, float]:
        words = np.array(
            products.row_words(
                product, m, n, k, (a.ctypes.data, a0, a1), (b.ctypes.data, b0, b1),
                bias.ctypes.data if has_bias else 0, (out.ctypes.data, n), scratch.ctypes.data,
            )
        )  # fmt: skip
        out.fill(math.nan)
        words[1] = 0  # the driver goes no further, but calls the same row again
        times = max(1, round(1e6 / (m * n * k)))
        best = common.best_time(driving(words, times), seconds) / times
        return best, float(abs(out - exact).max() / max(abs(exact).max(), 1e-300))

    found: dict[str, Any] = {"chosen": chosen.kind, "name": tiles.name}
    found["tiles"], found["error"] = timed(tiles)
    for kind, options in (("blocks", blocks), ("blas", ())):
        found[kind] = None
        if blas.expressible(m, k, (a0, a1)) and blas.expressible(k, n, (b0, b1)):
            found[kind], error = timed(products.compile_product(kind, dtype, *options))
            found["error"] = max(found["error"], error)
    found["numpy"] = common.best_time(lambda: np.matmul(a, b, out=out), seconds)
    return found


# -------------------------------------------------------------------------------------------------- the tables


def main(argv: list[str] | None = None) -> None:
    parser = common.arguments(__doc__ or "", frameworks=("tinynn",), rounds=3)
    parser.add_argument("--seconds", type=float, default=0.05, help="measuring time per product (default 0.05)")
    parser.add_argument("--squares", action="store_true", help="square products up to 2048 instead of the networks'")
    parser.add_argument("--threads", type=int, default=1, help="threads that BLAS may use (default 1)")
    options = common.parse(parser, argv)
    if options.worker:
        common.serve({"round": _round})
        return
    chosen_cases = cases(options.squares)
    if options.quick:
        chosen_cases = [case for case in chosen_cases if case["m"] * case["n"] * case["k"] < 2e4][:6]
    rows, numbers = [], []
    extra = dict.fromkeys(common._THREAD_VARIABLES, str(options.threads))
    with common.Worker(__file__, "tinynn", extra) as worker:
        for case in chosen_cases:
            common.progress(" ".join(map(str, case.values())))
            seconds = 0.005 if options.quick else options.seconds
            rounds = [worker.ask("round", **case, seconds=seconds) for _ in range(options.rounds)]
            best = {manner: min((f[manner] for f in rounds if f[manner]), default=None) for manner in MANNERS}
            kind = rounds[0]["chosen"]
            right = all(found["error"] <= TOLERANCE[case["dtype"]] for found in rounds)
            operations = 2 * case["m"] * case["n"] * case["k"]
            cells = [common.duration(best[manner]) for manner in MANNERS]
            chosen = kind if kind in MANNERS else "tiles"
            cells[MANNERS.index(chosen)] += " *"
            speed = f"{operations / (best[chosen] or math.inf) / 1e9:.1f}"
            name = f"{case['dtype']} {case['role']} {case['m']}×{case['k']} @ {case['k']}×{case['n']}"
            manner = rounds[0]["name"].removeprefix("product_").replace(f"_{case['dtype']}", "")
            rows.append([name, *cells, speed if right else "VOID", manner])
            numbers.append({**case, "seconds": best, "chosen": kind, "right": right, "GFLOP/s": speed})
    header = ["product", "tiles", "blocks", "BLAS by address", "NumPy", "GFLOP/s of *", "tiles: rows, vectors, lanes"]
    text = f"{options.threads} thread(s) for BLAS, one otherwise; best of {options.rounds} rounds.\n\n"
    name = "products" + ("_squares" if options.squares else "")
    common.report(name, "Matrix products", text + common.table(header, rows), numbers, options)


if __name__ == "__main__":
    main(sys.argv[1:])
