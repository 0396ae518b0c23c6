"""What has to hold for every differentiable operation: functions that the tests call with their inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

import tinynn as tn
from tinynn import debug, func, modes

Array = np.ndarray[Any, Any]
few = settings(max_examples=20, deadline=None, derandomize=True)
some = settings(max_examples=40, deadline=None, derandomize=True)
seeds = st.integers(0, 10_000)
LAYOUTS = ("contiguous", "fortran", "reversed", "strided", "broadcast", "read-only")
layouts = st.sampled_from(LAYOUTS)


def laid_out(array: Array, layout: str) -> Array:
    """The same values in another arrangement in memory."""
    if not array.ndim:
        return array.copy()
    if layout == "fortran":
        return np.asfortranarray(array)
    if layout == "reversed":
        everything = (slice(None, None, -1),) * array.ndim
        return np.ascontiguousarray(array[everything])[everything]
    if layout == "strided":
        wide = np.full((*array.shape[:-1], 2 * array.shape[-1]), 99.0, array.dtype)
        wide[..., ::2] = array
        return wide[..., ::2]
    if layout == "broadcast" and array.shape[0] == 1:
        return np.broadcast_to(array, array.shape)
    copied = array.copy()
    copied.flags.writeable = layout != "read-only"
    return copied


def leaf(array: Any) -> tn.Tensor:
    """A tensor around this very array (`tinynn.tensor` would make a contiguous copy)."""
    t = tn.Tensor(array)
    return t.requires_grad_() if t.dtype.kind == "f" else t


def close(got: Any, wanted: Any, rtol: float = 1e-12, atol: float = 1e-13) -> None:
    got, wanted = np.asarray(getattr(got, "array", got)), np.asarray(getattr(wanted, "array", wanted))
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=rtol, atol=atol)


def check_forward(f: Callable[..., Any], reference: Callable[..., Any], *arrays: Any) -> None:
    """Tensors give a Tensor, arrays an array; both hold NumPy's numbers."""
    wanted = reference(*arrays)
    got = f(*[leaf(a) for a in arrays])
    assert isinstance(got, tn.Tensor)
    close(got, wanted)
    assert got.dtype == np.asarray(wanted).dtype
    raw = f(*arrays)
    if all(isinstance(a, np.ndarray) and a.ndim for a in arrays):
        assert not isinstance(raw, tn.Tensor)
    close(raw, wanted)


def check_derivatives(f: Callable[..., Any], *arrays: Any, order: int = 2, **options: Any) -> None:
    """Finite differences to second order, and the two modes and uses of a formula against each other."""
    debug.gradcheck(f, *arrays, order=order, directions=1, **options)
    check_modes_agree(f, *arrays)


def check_modes_agree(f: Callable[..., Any], *arrays: Any) -> None:
    """<J t, v> = <t, v J>; the formulas on Tensors give what they give on arrays."""
    rng = np.random.default_rng(len(arrays))
    which = [i for i, a in enumerate(arrays) if np.asarray(a).dtype.kind == "f"]
    primals = [np.array(arrays[i], dtype=np.float64) for i in which]
    tangents = [rng.standard_normal(x.shape) for x in primals]

    def of_floats(*chosen: Any) -> Any:
        full = list(arrays)
        for i, x in zip(which, chosen, strict=True):
            full[i] = x
        return f(*full)

    out, moved = func.jvp(of_floats, [tn.Tensor(x) for x in primals], [tn.Tensor(t) for t in tangents])
    v = tn.Tensor(rng.standard_normal(out.shape))
    leaves = [leaf(x) for x in primals]
    y = of_floats(*leaves)
    if y.node is None:
        assert not np.any(moved.numpy())
        return
    on_arrays = tn.grad(y, leaves, v, retain_graph=True, allow_unused=True)
    on_tensors = tn.grad(y, leaves, v, create_graph=True, allow_unused=True)
    left = float((moved.numpy() * v.numpy()).sum())
    right = 0.0
    for t, a, b in zip(tangents, on_arrays, on_tensors, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            close(b, a)
            right += float((t * a.numpy()).sum())
    size = max(1.0, float(np.abs(moved.numpy() * v.numpy()).sum()))
    assert abs(left - right) <= 1e-12 * size, (left, right)


def check_layout(f: Callable[..., Any], arrays: list[Array], how: list[str]) -> None:
    """Values and gradients do not depend on how the inputs lie in memory."""
    plain = [leaf(a) for a in arrays]
    odd = [leaf(laid_out(a, layout)) for a, layout in zip(arrays, how, strict=True)]
    before = [np.array(t.array) for t in odd]
    y, z = f(*plain), f(*odd)
    close(z, y)
    if y.node is not None:
        v = tn.Tensor(np.random.default_rng(0).standard_normal(y.shape))
        wanted = tn.grad(y, [t for t in plain if t.requires_grad], v, allow_unused=True)
        got = tn.grad(z, [t for t in odd if t.requires_grad], v, allow_unused=True)
        for a, b in zip(wanted, got, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                close(b, a)
    for t, kept in zip(odd, before, strict=True):
        np.testing.assert_array_equal(t.array, kept)  # nobody wrote into an input


def check_float32(f: Callable[..., Any], *arrays: Any) -> None:
    """float32 in, float32 out, and float32 everywhere on the way there and back, in all modes."""
    narrow = [np.asarray(a, np.float32) if np.asarray(a).dtype.kind == "f" else a for a in arrays]
    with watched() as seen:
        tensors = [leaf(a) for a in narrow]
        y = f(*tensors)
        assert y.dtype == np.float32, "forward"
        if y.node is None:
            return
        chosen = [t for t in tensors if t.requires_grad]
        v = tn.Tensor(np.ones(y.shape, np.float32))
        tn.grad(y, chosen, v, retain_graph=True, allow_unused=True)
        firsts = [g for g in tn.grad(y, chosen, v, create_graph=True, allow_unused=True) if g is not None]
        assert all(g.dtype == np.float32 for g in firsts)
        deeper = [g for g in firsts if g.node is not None]
        if deeper:
            tn.grad(deeper, chosen, [tn.Tensor(np.ones(g.shape, np.float32)) for g in deeper], allow_unused=True)

        def of_floats(*xs: Any) -> Any:
            given = iter(xs)
            return f(*[next(given) if np.asarray(a).dtype.kind == "f" else a for a in narrow])

        floats = [tn.Tensor(a) for a in narrow if np.asarray(a).dtype.kind == "f"]
        assert func.jvp(of_floats, floats, floats)[1].dtype == np.float32, "jvp"
    assert not seen.widened, seen.widened


class _Widths:
    """Notes every operation and gradient formula that made float64."""

    wants_tensors = False

    def __init__(self) -> None:
        self.widened: list[str] = []

    def applied(self, op: Any, inputs: Any, result: tn.Tensor, derived: Any) -> None:
        if result.dtype == np.float64:
            self.widened.append(f"forward of {op!r}")

    def differentiated(self, node: Any, i: int, gradient: Any) -> None:
        if gradient.dtype == np.float64:
            self.widened.append(f"gradient of input {i} of {node!r}")

    def assigned(self, tensor: Any, value: Any) -> None:
        raise AssertionError("nothing here assigns")


@contextmanager
def watched() -> Iterator[_Widths]:
    with modes.observed_by(_Widths()) as seen:
        yield seen
