"""Random programs as text: what hypothesis draws, prints when it fails, and makes shorter.

A program is a list of lines of Python over Tensors, such as ``v3 = tn.tanh(v1 * x0)`` or ``s0.assign_(v3)``. Each line
is run while it is drawn, so that its shapes are known, and a value that grows is made smaller at once.

Rounding must not decide anything: comparisons are made against shifted values, so that equal numbers computed in
two ways do not fall on both sides.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinynn as tn

Shape = tuple[int, ...]

SHAPES: list[Shape] = [
    (), (1,), (3,), (5,), (2, 3), (3, 1), (1, 5), (3, 5), (5, 3), (2, 1, 3), (4, 3, 5), (1, 1), (0, 3),
]  # fmt: skip
LARGE_SHAPES: list[Shape] = [(70,), (9, 17), (2, 3, 33), (33, 20)]

UNARY = [
    "tn.tanh({a})", "tn.sigmoid({a})", "tn.exp(0.3 * {a})", "tn.log(tn.abs({a}) + 0.5)", "tn.sin({a})", "tn.cos({a})",
    "tn.sqrt(tn.abs({a}) + 0.1)", "tn.gelu({a})", "tn.silu({a})", "tn.relu({a} + 0.0917)", "tn.elu({a} + 0.0917)",
    "tn.selu({a} + 0.0917)", "tn.softplus({a})", "tn.leaky_relu({a} + 0.0917)", "tn.erf({a})", "tn.expm1(0.3 * {a})",
    "tn.log1p(tn.square({a}))", "tn.normal_cdf({a})", "tn.abs({a} + 0.0917)", "-{a}", "tn.square({a})", "{a} ** 3",
    "tn.clip({a}, -0.7013, 0.9017)", "tn.sign({a} + 0.1371)", "tn.floor({a} + 0.1371)", "2.0 - {a}", "{a} * 0.3",
    "{a} / 3", "1 / (tn.abs({a}) + 0.5)", "(tn.abs({a}) + 0.5) ** -1.5", "tn.where({a} > 0.1371, {a}, 0.0)",
    "tn.where({a} > -0.2371, 1.5, {a})", "({a} > 0.0713).astype(tn.{dtype})", "tn.stop_gradient({a})", "{a}.clone()",
    "{a}.astype(tn.float64).astype(tn.{dtype})", "tn.ones_like({a}) + {a}", "{a} + 0", "{a} * 1", "{a} * 0.0 + 1.0",
]  # fmt: skip
BINARY = [
    "{a} + {b}", "{a} - {b}", "{a} * {b}", "{a} / (tn.abs({b}) + 0.5)", "tn.maximum({a}, {b} + 0.0531)",
    "tn.minimum({a}, {b} + 0.0531)", "tn.where({a} > {b} + 0.0731, {a}, {b})", "tn.where({b} > 0.1371, {a}, {b} * 2)",
    "tn.where(({a} > 0.0713) & ~({b} < 0.0319), {a}, {b})", "(tn.abs({a}) + 0.5) ** tn.tanh({b})",
    "tn.remainder({a} + 0.0217, 0.7031) + {b}", "({a} >= {b} + 0.0713) * {a}",
]  # fmt: skip
REDUCTIONS = ["sum", "mean", "max", "min", "sum", "mean", "var", "logsumexp", "prod"]


@dataclass
class Drawn:
    """A drawn program. `function` binds it to state tensors of its own; `arguments` makes data for it."""

    dtype: str
    shapes: tuple[Shape, ...]
    states: tuple[tuple[Shape, bool], ...]
    lines: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    wants_gradients: bool = False

    @property
    def source(self) -> str:
        given = [f"x{i}" for i in range(len(self.shapes))]
        body = [f"{x} = {x}.detach().requires_grad_()" for x in given] if self.wants_gradients else []
        body += [*self.lines, f"return ({''.join(f'{name}, ' for name in self.results)})"]
        return f"def f({', '.join(given)}):\n" + "".join(f"    {line}\n" for line in body)

    def __repr__(self) -> str:
        return (
            f"\n# {self.dtype}, arguments {list(self.shapes)}, states (shape, is a leaf) {list(self.states)}\n"
            + self.source
        )

    def make_states(self) -> dict[str, Any]:
        """New state tensors with the values that they always begin with."""
        rng = np.random.default_rng(100)
        states = {}
        for i, (shape, leaf) in enumerate(self.states):
            states[f"s{i}"] = tn.Tensor(np.asarray(rng.uniform(-1.5, 1.5, shape), self.dtype)[()])
            if leaf:
                states[f"s{i}"].requires_grad_()
        return states

    def function(self, states: dict[str, Any]) -> Callable[..., Any]:
        names = {"tn": tn, "np": np, "K": constant, **states}
        exec(compile(self.source, "<drawn>", "exec"), names)
        return names["f"]

    def arguments(self, seed: int) -> list[Any]:
        rng = np.random.default_rng(seed)
        return [np.asarray(rng.uniform(-1.5, 1.5, shape), self.dtype)[()] for shape in self.shapes]


def constant(shape: Shape, dtype: str, kind: int = 0) -> Any:
    """Arrays that look different: a wave, all equal, minus zeros."""
    count = int(np.prod(shape))
    values = [np.sin(1.0 + np.arange(count)), np.full(count, 0.75), np.zeros(count) * -1.0][kind]
    return tn.Tensor(np.asarray(values.reshape(shape), dtype)[()])


class _Writer:
    """Appends lines to a program, running each."""

    def __init__(self, draw: Callable[..., Any], program: Drawn) -> None:
        self.draw = draw
        self.program = program
        states = program.make_states()
        self.names: dict[str, Any] = {"tn": tn, "np": np, "K": constant, **states}
        self.pool = [f"x{i}" for i in range(len(program.shapes))] + list(states)
        for i, array in enumerate(program.arguments(0)):
            self.names[f"x{i}"] = tn.Tensor(array)
            if program.wants_gradients:
                self.names[f"x{i}"].requires_grad_()
        self.count = 0

    # -------------------------------------------------------------------------------------------- operands

    def shape(self, name: str) -> Shape:
        return tuple(self.names[name].shape)

    def any_of(self, fits: Callable[[Shape], bool] = lambda shape: True) -> str | None:
        # the youngest first: hypothesis prefers the first, and chains of operations find more than single ones
        fitting = [name for name in reversed(self.pool) if fits(self.shape(name))]
        return self.draw(st.sampled_from(fitting)) if fitting else None

    def one_of(self, values: Any) -> Any:
        return self.draw(st.sampled_from(list(values)))

    def write(self, expression: str, name: str | None = None) -> str:
        """Append ``v = expression``."""
        if name is None:
            name, self.count = f"v{self.count}", self.count + 1
        self.names[name] = eval(expression, self.names)
        self.program.lines.append(f"{name} = {expression}")
        value = self.names[name].array
        if value.size and not (np.abs(value) < 30).all():
            return self.write(f"tn.tanh({name} * 0.1)")
        self.pool.append(name)
        return name

    # ------------------------------------------------------------------------------------------ kinds of lines

    def unary(self) -> None:
        self.write(self.one_of(UNARY).format(a=self.any_of(), dtype=self.program.dtype))

    def binary(self) -> None:
        a = self.any_of()
        b = self.any_of(lambda shape: _broadcasts(shape, self.shape(a or "")))
        if b is None:
            return
        if self.draw(st.integers(0, 5)) == 5:
            b = f"K({self.shape(b)}, '{self.program.dtype}', {self.draw(st.integers(0, 2))})"
        a, b = (b, a) if self.draw(st.booleans()) else (a, b)
        self.write(self.one_of(BINARY).format(a=a, b=b))

    def reduction(self) -> None:
        a = self.any_of(lambda shape: 0 not in shape)
        if a is None:
            return
        ndim = len(self.shape(a))
        axis: Any = None
        kind = self.one_of(REDUCTIONS)
        if ndim and self.draw(st.booleans()):
            axis = tuple(sorted(self.draw(st.sets(st.integers(0, ndim - 1), min_size=1))))
            axis = axis[0] if len(axis) == 1 else axis
        self.write(f"tn.{kind}({a}, axis={axis}, keepdims={self.draw(st.booleans())})")

    def along_axis(self) -> None:
        a = self.any_of(lambda shape: len(shape) > 0 and 0 not in shape)
        if a is not None:
            axis = self.draw(st.integers(0, len(self.shape(a)) - 1))
            self.write(f"tn.{self.one_of(['softmax', 'log_softmax', 'cumsum'])}({a}, axis={axis})")

    def movement(self) -> None:
        a = self.any_of()
        assert a is not None
        shape = self.shape(a)
        kind = self.one_of(["reshape", "transpose", "slice", "expand", "broadcast", "squeeze", "flip", "roll", "pad"])
        if kind == "reshape":
            self.write(f"tn.reshape({a}, {self.one_of(_shapes_of(int(np.prod(shape))) if shape else [(1,), (1, 1)])})")
        elif kind == "transpose" and len(shape) > 1:
            self.write(f"tn.transpose({a}, {tuple(self.draw(st.permutations(range(len(shape)))))})")
        elif kind == "slice" and shape:
            self.write(f"{a}[{', '.join(self.part(n) for n in shape)}]")
        elif kind == "expand":
            self.write(f"tn.expand_dims({a}, {self.draw(st.integers(0, len(shape)))})")
        elif kind == "broadcast" and len(shape) < 3:
            wide = [n if n != 1 else self.one_of([1, 4]) for n in shape]
            self.write(f"tn.broadcast_to({a}, {(self.one_of([1, 2]), *wide)})")
        elif kind == "squeeze":
            self.write(f"tn.squeeze({a})")
        elif kind in ("flip", "roll") and shape:
            axis = self.draw(st.integers(0, len(shape) - 1))
            self.write(f"tn.flip({a}, {axis})" if kind == "flip" else f"tn.roll({a}, 1, {axis})")
        elif kind == "pad" and shape:
            first, rest = self.one_of([(1, 0), (0, 1), (2, 3)]), self.one_of([(0, 1), (0, 0), (1, 2)])
            self.write(f"tn.pad({a}, {[first] + [rest] * (len(shape) - 1)}, {self.one_of([0.0, 0.5])})")

    def part(self, n: int) -> str:
        kinds = [":", "::-1", "1:", ":-1", "::2", "None, :"] + (["0", "-1"] if n else [])
        return str(self.one_of(kinds))

    def product(self) -> None:
        a = self.any_of(lambda shape: len(shape) >= 1 and 0 not in shape)
        if a is None:
            return
        k = self.shape(a)[-1]
        n, dtype = self.one_of([1, 2, 3, 5, 9]), self.program.dtype
        kind = self.one_of(["linear", "matmul", "einsum", "outer", "batched", "gram"])
        if kind == "linear":
            w = self.any_of(lambda shape: len(shape) == 2 and shape[1] == k and 0 not in shape)
            w = w or f"K(({n}, {k}), '{dtype}')"
            rows = eval(w, self.names).shape[0]
            bias = self.any_of(lambda shape: shape == (rows,))
            self.write(f"tn.linear({a}, {w}{f', {bias}' if bias and self.draw(st.booleans()) else ''})")
        elif kind == "matmul":
            w = self.any_of(lambda shape: len(shape) == 2 and shape[0] == k and 0 not in shape)
            self.write(f"{a} @ {w or f'K(({k}, {n}), {dtype!r})'}")
        elif kind == "einsum" and len(self.shape(a)) == 2:
            b = self.any_of(lambda shape: len(shape) == 2 and shape[1] == k and 0 not in shape)
            out = self.one_of(["ij", "ji", "i", "", "ijk"])
            self.write(f"tn.einsum('ik,jk->{out}', {a}, {b or a})")
        elif kind == "outer" and len(self.shape(a)) == 1:
            self.write(f"tn.outer({a}, {self.any_of(lambda shape: len(shape) == 1 and 0 not in shape)})")
        elif kind == "batched" and len(self.shape(a)) == 3:
            self.write(f"{a} @ tn.transpose({a}, (0, 2, 1))")
        elif kind == "gram" and len(self.shape(a)) == 2:
            self.write(f"{a}.T @ {a}")

    def joining(self) -> None:
        a = self.any_of(lambda shape: len(shape) > 0)
        if a is None:
            return
        shape = self.shape(a)
        axis = self.draw(st.integers(0, len(shape) - 1))
        b = self.any_of(lambda s: len(s) == len(shape) and s[:axis] + s[axis + 1 :] == shape[:axis] + shape[axis + 1 :])
        kind = self.one_of(["concatenate", "stack", "take", "repeat"])
        if kind == "concatenate":
            self.write(f"tn.concatenate([{a}, {b}], {axis})")
        elif kind == "stack":
            self.write(f"tn.stack([{a}, {self.any_of(lambda s: s == shape)}], {axis})")
        elif kind == "take" and shape[axis]:
            self.write(f"tn.take({a}, np.array([0, -1, 0]), {axis})")
        elif kind == "repeat":
            self.write(f"tn.repeat({a}, 2, {axis})")

    def gradient(self) -> None:
        if not self.program.wants_gradients:
            return
        leaves = [f"x{i}" for i in range(len(self.program.shapes))]
        leaves += [f"s{i}" for i, (_, leaf) in enumerate(self.program.states) if leaf]
        a = self.any_of()
        leaf, again = self.one_of(leaves), self.draw(st.booleans())
        # it may not depend on the leaf, or the leaf was overwritten since
        with contextlib.suppress(tn.GraphError, ValueError, TypeError):
            self.write(f"tn.grad(tn.sum({a} * {a}), {leaf}, create_graph={again})")

    def assignment(self) -> None:
        states = [f"s{i}" for i in range(len(self.program.states))]
        if not states:
            return
        s = self.one_of(states)
        kind = self.one_of(["assign", "swap", "keep"])
        shape = self.shape(s)
        if kind == "swap":
            t = next((t for t in states if t != s and self.shape(t) == shape), None)
            if t is not None:
                self.run(f"{s}_old = {s}.detach().clone()")
                self.run(f"{s}.assign_({t})")
                self.run(f"{t}.assign_({s}_old)")
                return
        if kind == "keep":  # the old value lives on
            self.write(f"{s}.detach().clone()")
        a = self.any_of(lambda found: found == shape)
        if a is not None:
            self.run(f"{s}.assign_({a})")

    def run(self, line: str) -> None:
        exec(line, self.names)
        self.program.lines.append(line)


def _broadcasts(a: Shape, b: Shape) -> bool:
    try:
        shape = np.broadcast_shapes(a, b)
    except ValueError:
        return False
    return np.prod(shape) <= 4000


def _shapes_of(size: int) -> list[Shape]:
    """Some shapes with that many elements."""
    found: list[Shape] = [(size,), (1, size), (size, 1)]
    for n in (2, 3, 5):
        if size and size % n == 0:
            found += [(n, size // n), (size // n, n), (n, 1, size // n)]
    return found


WEIGHTS = {
    "unary": 4, "binary": 5, "reduction": 3, "along_axis": 1, "movement": 3, "product": 2, "joining": 1, "gradient": 2,
    "assignment": 2,
}  # fmt: skip


@st.composite
def programs(
    draw: Callable[..., Any], dtypes: tuple[str, ...] = ("float64", "float32"), most_lines: int = 14,
    without: tuple[str, ...] = (), large: bool = False,
) -> Drawn:  # fmt: skip
    """Random programs. ``without`` names kinds of lines to leave out: the methods of `_Writer`."""
    shapes = st.sampled_from(SHAPES + LARGE_SHAPES * large)
    related = draw(st.lists(shapes, min_size=1, max_size=3))
    some = st.sampled_from(related)
    program = Drawn(
        draw(st.sampled_from(dtypes)),
        tuple(draw(st.lists(some, min_size=1, max_size=2))),
        tuple(draw(st.lists(st.tuples(some, st.booleans()), max_size=3))),
        wants_gradients=draw(st.booleans()) and "gradient" not in without,
    )
    writer = _Writer(draw, program)
    kinds = [kind for kind, weight in WEIGHTS.items() if kind not in without for _ in range(weight)]
    for _ in range(draw(st.integers(1, most_lines))):
        getattr(writer, draw(st.sampled_from(kinds)))()
    candidates = writer.pool[::-1]
    program.results = draw(st.lists(st.sampled_from(candidates), min_size=1, max_size=4, unique=True))
    return program


# ---------------------------------------------------------------------------------------------------- models

ACTIVATIONS = [
    "nn.Tanh()", "nn.ReLU()", "nn.GELU()", "nn.GELU(approximate='tanh')", "nn.SELU()", "nn.ELU(0.7)", "nn.SiLU()",
    "nn.Sigmoid()", "nn.Softplus(2.0)", "nn.LeakyReLU(0.1)", "nn.PReLU()", "nn.RReLU()", "nn.ReLU6()", "nn.CELU(0.5)",
    "nn.Softsign()", "nn.Hardtanh()", "nn.Threshold(0.1, -0.2)", "nn.Tanhshrink()", "nn.Softshrink(0.1)",
    "nn.Hardshrink(0.1)", "nn.LogSigmoid()", "nn.Softmax(-1)", "nn.LogSoftmax(-1)", "nn.Softmin(-1)", "nn.Identity()",
]  # fmt: skip
ELEMENTWISE = [text for text in ACTIVATIONS if "Soft" not in text or "(-1)" not in text]
OPTIMIZERS = [
    "optim.SGD({p}, lr=0.05)", "optim.SGD({p}, lr=0.05, momentum=0.9)", "optim.SGD({p}, lr=0.05, weight_decay=0.1)",
    "optim.SGD({p}, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)",
    "optim.SGD({p}, lr=0.05, momentum=0.8, dampening=0.3)", "optim.SGD({p}, lr=0.01, maximize=True)",
    "optim.Adam({p}, lr=0.01)", "optim.Adam({p}, lr=0.01, amsgrad=True)", "optim.Adam({p}, lr=0.01, weight_decay=0.1)",
    "optim.Adam({p}, lr=0.01, maximize=True)", "optim.Adam({p}, lr=0.01, bias_correction=False)",
    "optim.AdamW({p}, lr=0.01)", "optim.AdamW({p}, lr=0.01, weight_decay=0.2, amsgrad=True)",
    "optim.Adagrad({p}, lr=0.05)", "optim.Adagrad({p}, lr=0.05, lr_decay=0.1, initial_accumulator_value=0.1)",
    "optim.RMSprop({p}, lr=0.01)", "optim.RMSprop({p}, lr=0.01, momentum=0.9, centered=True)",
    "optim.RMSprop({p}, lr=0.01, weight_decay=0.1)",
]  # fmt: skip
LOSSES = {
    "numbers": [
        "nn.MSELoss()", "nn.MSELoss('sum')", "nn.L1Loss()", "nn.HuberLoss(delta=0.7)", "nn.MSELoss('none')",
    ],
    "labels": [
        "nn.CrossEntropyLoss()", "nn.CrossEntropyLoss(label_smoothing=0.1)", "nn.CrossEntropyLoss(reduction='sum')",
        "nn.CrossEntropyLoss(ignore_index=0)", "nn.NLLLoss()", "nn.CrossEntropyLoss(weight=tn.linspace(0.5, 1.5, {n}))",
    ],
    "probabilities": [
        "nn.BCEWithLogitsLoss()", "nn.BCELoss()", "nn.KLDivLoss('batchmean')",
        "nn.BCEWithLogitsLoss(pos_weight=tn.linspace(0.5, 1.5, {n}))",
    ],
}  # fmt: skip


class Residual(tn.nn.Module):
    """x + inner(x)."""

    def __init__(self, *inner: tn.nn.Module) -> None:
        super().__init__()
        self.inner = tn.nn.Sequential(*inner)

    def forward(self, x: tn.Tensor) -> tn.Tensor:
        """Apply."""
        return x + self.inner(x)


@dataclass
class Training:
    """A drawn training: texts of the model, the optimizer and the loss, and what the batches look like."""

    dtype: str
    batch: int
    shape: Shape  # of one row of the input; () for the numbers of words in a sentence
    layers: list[str]
    loss: str
    target: str  # "numbers", "labels" or "probabilities"
    outputs: int
    optimizer: str
    groups: bool
    clip: bool

    @property
    def model(self) -> str:
        return f"nn.Sequential({', '.join(self.layers)})"

    def make(self) -> tuple[Any, Any, Callable[..., Any]]:
        """The model, its optimizer, and the training step."""
        names = {"tn": tn, "nn": tn.nn, "optim": tn.optim, "Residual": Residual}
        tn.manual_seed(3)
        model = eval(self.model, names).to(self.dtype)
        loss_of = eval(self.loss.format(n=self.outputs), names).to(self.dtype)
        parameters = list(model.parameters())
        groups: Any = parameters
        if self.groups and len(parameters) > 1:
            groups = [{"params": parameters[:1]}, {"params": parameters[1:], "lr": 0.003}]
        optimizer = eval(self.optimizer.format(p="parameters"), {**names, "parameters": groups})
        clip, prepare = self.clip, self.loss.split("(")[0]

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            out = model(x)
            if prepare in ("nn.BCELoss",):
                out = tn.sigmoid(out)
            elif prepare in ("nn.NLLLoss", "nn.KLDivLoss"):
                out = tn.log_softmax(out, -1)
            loss = loss_of(out, y)
            loss.sum().backward()
            if clip:
                tn.nn.utils.clip_grad_norm_(parameters, 0.5)
            optimizer.step()
            return loss

        return model, optimizer, step

    def batches(self, count: int) -> list[tuple[Any, Any]]:
        rng = np.random.default_rng(7)
        made = []
        for _ in range(count):
            words = rng.integers(0, 7, (self.batch, 3))
            x = rng.standard_normal((self.batch, *self.shape)) if self.shape else words
            if self.target == "labels":
                y = rng.integers(0, self.outputs, self.batch)
                y[0] = self.outputs - 1  # at least one label is not ignored
            else:
                y = rng.uniform(0.05, 0.95, (self.batch, self.outputs))
                y = y / y.sum(-1, keepdims=True) if "KL" in self.loss else y
            x, y = (a if a.dtype.kind == "i" else a.astype(self.dtype) for a in (x, y))
            made.append((tn.tensor(x), tn.tensor(y)))
        return made


def _normed(layers: list[str]) -> bool:
    """Whether the last layer that computes is a norm: of two in a row, the first learns from rounding errors only."""
    last = next((layer for layer in layers[::-1] if not layer.startswith(("nn.Flatten", "nn.Dropout", "nn.Id"))), "")
    return "Norm" in last or "Pool" in last


@st.composite
def trainings(draw: Callable[..., Any]) -> Training:
    """Random models with their losses and optimizers."""

    def one_of(values: Any) -> Any:
        return draw(st.sampled_from(list(values)))

    batch = one_of([4, 1, 7, 33])
    layers: list[str] = []
    begin = one_of(["vectors", "planes", "lines", "words"])
    if begin == "vectors":
        width = one_of([3, 1, 8])
        shape: Shape = (width,)
    elif begin == "planes":
        shape = (one_of([1, 2]), 6, 7)
        channels, high, wide = shape
        for _ in range(draw(st.integers(1, 2))):
            kind = one_of(["conv", "max", "avg", "norm"])
            if kind == "conv":
                more, stride, padding = one_of([2, 3]), one_of([1, 2]), one_of([0, 1])
                layers += [f"nn.Conv2d({channels}, {more}, 3, {stride}, {padding})", one_of(ELEMENTWISE)]
                channels, high, wide = more, *((n + 2 * padding - 3) // stride + 1 for n in (high, wide))
            elif kind == "norm" and batch > 1 and not _normed(layers):
                layers.append(f"nn.BatchNorm2d({channels})")
            elif min(high, wide) >= 4:
                layers.append(f"nn.{kind.title() if kind != 'norm' else 'Avg'}Pool2d(2)")
                high, wide = high // 2, wide // 2
            if min(high, wide) < 3:
                break
        layers.append("nn.Flatten()")
        width = channels * high * wide
    elif begin == "lines":
        shape = (one_of([1, 2]), 11)
        channels, long = shape
        for _ in range(draw(st.integers(1, 2))):
            kind = one_of(["conv", "max", "avg", "norm"])
            if kind == "conv":
                more, stride, padding = one_of([2, 3]), one_of([1, 2]), one_of([0, 1])
                layers += [f"nn.Conv1d({channels}, {more}, 3, {stride}, {padding})", one_of(ELEMENTWISE)]
                channels, long = more, (long + 2 * padding - 3) // stride + 1
            elif kind == "norm" and batch > 1 and not _normed(layers):
                layers.append(f"nn.BatchNorm1d({channels})")
            elif long >= 4:
                layers.append(f"nn.{kind.title() if kind != 'norm' else 'Avg'}Pool1d(2)")
                long = long // 2
            if long < 3:
                break
        if draw(st.booleans()):
            parts = one_of([1, 2])
            layers.append(f"nn.AdaptiveAvgPool1d({parts})")
            long = parts
        layers.append("nn.Flatten()")
        width = channels * long
    else:
        shape, width = (), 3 * 4
        layers += ["nn.Embedding(7, 4)", "nn.Flatten()"]
    for _ in range(draw(st.integers(0, 3))):
        kind = one_of(["linear", "residual", "batch norm", "layer norm", "dropout"])
        if kind == "linear":
            more = one_of([5, 1, 16, 33])
            layers += [f"nn.Linear({width}, {more}{one_of(['', ', bias=False'])})", one_of(ACTIVATIONS)]
            width = more
        elif kind == "residual":
            layers.append(f"Residual(nn.Linear({width}, {width}), {one_of(ACTIVATIONS)})")
        elif kind == "batch norm" and batch > 1 and not _normed(layers):
            extra = one_of(["", ", momentum=None", ", affine=False", ", track_running_stats=False"])
            layers.append(f"nn.BatchNorm1d({width}{extra})")
        elif kind == "layer norm" and width > 1 and not _normed(layers):
            layers.append(f"nn.LayerNorm({width})")
        elif kind == "dropout":
            layers.append(f"nn.Dropout({one_of([0.3, 0.5])})")
    target = one_of(LOSSES)
    outputs = one_of([2, 1, 5]) if target != "labels" else one_of([3, 10])
    layers.append(f"nn.Linear({width}, {outputs})")
    return Training(
        one_of(["float64", "float32"]), batch, shape, layers, one_of(LOSSES[target]), target, outputs,
        one_of(OPTIMIZERS), draw(st.booleans()), draw(st.booleans()),
    )  # fmt: skip
