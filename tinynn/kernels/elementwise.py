"""From an elementwise formula to a compiled kernel, and its call: serial, or in chunks on several threads.

Examples
--------
>>> import numpy as np
>>> kernel = compile_elementwise("tanh_grad", lambda g, out: g * (1.0 - out * out), ["g", "out"])
>>> result = np.empty(3)
>>> kernel(result, np.ones(3), np.array([0.0, 0.5, 1.0]))
>>> result
array([1.  , 0.75, 0.  ])
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinynn.kernels import disk_cache, printer, threads
from tinynn.kernels.rewrites import in_order
from tinynn.kernels.symbols import Symbol, trace

# What one element costs, in nanoseconds, as measured on one core with AVX-512 in float64; float32 costs half.
# Only the order of magnitude matters: it decides whether more than one thread pays.
_COST = {
    "divide": 0.3, "sqrt": 0.4, "exp": 0.7, "expm1": 0.7, "tanh": 0.8, "log": 1.0, "log1p": 1.0, "erf": 1.7,
    "sin": 10.0, "cos": 10.0, "power": 20.0, "remainder": 10.0, "floor_divide": 10.0,
}  # fmt: skip
_COST_OF_ARITHMETIC = 0.05
_COST_OF_ARRAY = 0.2


class Kernel:
    """A compiled elementwise kernel, called with arrays: ``kernel(*outputs, *inputs, *scalars)``.

    All arrays are C-contiguous, of one size and of the kernel's dtype. Outputs are written; an output may be
    the same array as an input, but must not overlap one otherwise. Scalars are plain floats. The first call
    compiles, or loads what an earlier run compiled.

    Attributes
    ----------
    name, source : str
        The function's name, and the Python source which is compiled.
    arrays, scalars : tuple of str
        The names of the parameters, in their order.
    cost : float
        A rough estimate of the time for one element, in nanoseconds.
    """

    def __init__(
        self,
        name: str,
        source: str,
        arrays: Mapping[str, np.dtype[Any]],
        scalars: Sequence[str],
        n_outputs: int,
        cost: float,
    ) -> None:
        self.name = name
        self.source = source
        self.arrays = tuple(arrays)
        self.scalars = tuple(scalars)
        self.cost = cost
        self._dtypes = tuple(arrays.values())
        self._n_arrays = len(arrays)
        self._n_outputs = n_outputs
        self._worth_threads = 2.0 * threads.LEAST_WORK / cost
        self._run: Callable[..., None] | None = None

    def __call__(self, *arguments: Any) -> None:
        try:
            first = arguments[0]
            if first.size < self._worth_threads:
                if first.ndim == 1:
                    self._run(*arguments)  # type: ignore[misc]
                    return
                n = self._n_arrays
                flat = [a.reshape(-1) for a in arguments[:n] if a.flags.c_contiguous]
                if len(flat) == n:
                    self._run(*flat, *arguments[n:])  # type: ignore[misc]
                    return
        except (TypeError, ValueError, AttributeError, IndexError):
            pass  # not compiled yet, or wrong arguments: the careful way compiles, or says what is wrong
        self._call_carefully(arguments)

    def compiled(self) -> Callable[..., None]:
        """The compiled serial function on one-dimensional arrays."""
        if self._run is None:
            _prepare_compiler()
            self._run = disk_cache.load(self.source, self.name)
        return self._run

    def _call_carefully(self, arguments: tuple[Any, ...]) -> None:
        n = self._n_arrays
        self._check(arguments)
        run = self.compiled()
        flat = [a.reshape(-1) for a in arguments[:n]]
        numbers = [float(s) for s in arguments[n:]]
        size = flat[0].size
        chunks = threads.threads_for(size * self.cost)
        if chunks <= 1:
            run(*flat, *numbers)
            return
        step = -(-size // chunks // 64) * 64 + 64  # whole cache lines, so that no two threads write to one
        pieces = [[a[start : start + step] for a in flat] for start in range(0, size, step)]
        threads.run_together([functools.partial(run, *piece, *numbers) for piece in pieces])

    def _check(self, arguments: tuple[Any, ...]) -> None:
        """Raise an error that says which argument is wrong."""
        wanted = ", ".join([*self.arrays, *self.scalars])
        if len(arguments) != len(self.arrays) + len(self.scalars):
            raise TypeError(
                f"{self.name}({wanted}) takes {len(self.arrays)} arrays and {len(self.scalars)} scalars, "
                f"got {len(arguments)} arguments"
            )
        for k, (label, array) in enumerate(zip(self.arrays, arguments, strict=False)):
            where = f"{self.name}({wanted}): {label}"
            if not isinstance(array, np.ndarray):
                raise TypeError(f"{where} must be a NumPy array, got {type(array).__name__}")
            if array.dtype != self._dtypes[k]:
                raise TypeError(f"{where} must have dtype {self._dtypes[k]}, got {array.dtype}; convert it with astype")
            if array.size != arguments[0].size:
                raise ValueError(
                    f"{where} has shape {array.shape}, but {self.arrays[0]} has shape {arguments[0].shape}; "
                    "all arrays of an elementwise kernel have one size, so broadcast first"
                )
            if not array.flags.c_contiguous or not array.flags.aligned:
                raise ValueError(f"{where} must be C-contiguous and aligned; use numpy.ascontiguousarray")
            if k < self._n_outputs and not array.flags.writeable:
                raise ValueError(f"{where} is written to, but the array is read-only")

    def inspect_asm(self) -> str:
        """The assembly of the serial function (compiled afresh: the disk cache keeps no text)."""
        from numba import njit

        function: Any = self.compiled()
        options = {k: v for k, v in function.targetoptions.items() if k in ("error_model", "fastmath", "nogil")}
        fresh = njit(function.signatures[0], **options)(function.py_func)
        return str(fresh.inspect_asm(function.signatures[0]))

    def __repr__(self) -> str:
        return f"<kernel {self.name}({', '.join([*self.arrays, *self.scalars])})>"


_kernels: dict[tuple[Any, ...], tuple[Kernel, tuple[Symbol, ...]]] = {}


def compile_elementwise(
    name: str,
    formula: Callable[..., Any],
    inputs: Sequence[str],
    scalars: Sequence[str] = (),
    dtype: Any = "float64",
    comment: str = "",
    outputs: Sequence[str] | None = None,
    bools: Sequence[str] = (),
) -> Kernel:
    """Make the kernel that applies a formula to every element. The same request returns the same kernel.

    Parameters
    ----------
    name : str
        Of the operation, an identifier: it names the function, its file, and its place in a profile.
    formula : callable
        Takes the inputs and the scalars, in that order, as `Symbol`, and returns an expression or a tuple of
        them.
    inputs : sequence of str
        The names of the input arrays.
    scalars : sequence of str
        The names of the plain floats which are read at every call, such as a learning rate.
    dtype : {"float64", "float32"}
        The precision of the arrays, in which everything is computed.
    comment : str
        What the kernel computes, for its docstring.
    outputs : sequence of str, optional
        The names of the outputs, by default ``out`` or ``out1, out2, ...`` (``result`` if an input is called
        so). An output with the name of an input is written over it, and that array is passed once, among the
        outputs. A kernel for updates in place is best made this way: when an output merely happens to be an
        input's array, the result is right, but the compiled loop finds that the arrays overlap and takes one
        element at a time.
    bools : sequence of str
        Those of the inputs whose arrays hold truth values. Outputs that are truth values go to arrays of
        dtype bool.

    Returns
    -------
    Kernel
        Call it as ``kernel(*outputs, *inputs, *scalars)``.

    Examples
    --------
    >>> kernel = compile_elementwise("sgd", lambda p, g, lr: p - lr * g, ["p", "g"], ["lr"], outputs=["p"])
    >>> p = np.array([1.0, 2.0])
    >>> kernel(p, np.array([1.0, 2.0]), 0.5)
    >>> p
    array([0.5, 1. ])
    """
    real = np.dtype(dtype)
    if real not in (np.dtype("float64"), np.dtype("float32")):
        raise TypeError(f"elementwise kernels are compiled for float64 and float32, got dtype {real}")
    if not name.isidentifier():
        raise ValueError(f"a kernel's name must be a Python identifier, got {name!r}")
    expressions = trace(formula, [*inputs, *scalars], bools)
    if outputs is None:
        # Only names that are asked for update an input in place, not a gradient formula's input which is
        # called `out`.
        stem = next(s for s in ("out", "result", "kernel_result") if not any(v.startswith(s) for v in inputs))
        outputs = [stem] if len(expressions) == 1 else [f"{stem}{k + 1}" for k in range(len(expressions))]
    if len(outputs) != len(expressions):
        raise ValueError(f"{name}: the formula gives {len(expressions)} results, but {len(outputs)} outputs are named")

    # Equal expressions are one object, and the table keeps them alive: so their identity can stand for them.
    key = (
        name,
        tuple(map(id, expressions)),
        *map(tuple, (inputs, scalars, outputs, bools)),
        real.name,
        comment,
    )
    if key not in _kernels:
        named = dict(zip(outputs, expressions, strict=True))
        source = printer.numba_source(name, inputs, scalars, named, comment, real.name, bools)
        arrays = {label: np.dtype(bool) if e.is_bool else real for label, e in named.items()}
        arrays.update({v: np.dtype(bool) if v in bools else real for v in inputs if v not in named})
        cost = _cost(expressions) * real.itemsize / 8 + _COST_OF_ARRAY * len(arrays) * real.itemsize / 8
        _kernels[key] = Kernel(name, source, arrays, scalars, len(outputs), cost), expressions
    return _kernels[key][0]


def _cost(expressions: Sequence[Symbol]) -> float:
    """A rough time per element in nanoseconds: every distinct node once."""
    return sum(_COST.get(node.function, _COST_OF_ARITHMETIC) for node in in_order(expressions) if node.operands)


@functools.cache
def _prepare_compiler() -> None:
    """Let LLVM vectorise loops over many arrays.

    Before a vectorised loop LLVM checks that what is written overlaps nothing that is read. By default it
    gives up, and leaves the loop scalar, when that takes more than eight comparisons: two outputs and four
    inputs.
    """
    import llvmlite.binding

    llvmlite.binding.set_option("tinynn", "-runtime-memory-check-threshold=128")
