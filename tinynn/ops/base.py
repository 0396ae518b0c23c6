"""What an operation is: one forward formula, and one gradient formula per input.

A primitive is a class like this one, and nothing else has to be written for it::

    class Tanh(Elementwise):
        \"\"\"out = tanh(x),   d out/dx = 1 - out**2\"\"\"

        def forward(self, xp, x):
            return xp.tanh(x)

        def grad_x(self, g, *, out):
            return g * (1.0 - out * out)

``forward`` gets the namespace ``xp`` of its arrays (NumPy, CuPy, or symbolic scalars) and the inputs.
``grad_x`` gets ``g`` = dL/d(out) and returns dL/dx: a vector-Jacobian product. What it asks for behind the star
is what the forward pass keeps alive for it, by name:

* the name of an input (``x``) or ``out``: that array;
* an input's name with ``_shape`` (``x_shape``): only the shape of that input;
* a name listed in ``derived``: an array that ``forward`` computed on the way and returned after ``out``.

An op object holds hyper-parameters (an axis, a stride) and never an array.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

Rule = tuple[Callable[..., Any], tuple[str, ...]]  # a gradient method and the names it asks for
Plan = tuple[tuple[str, int], ...]  # what an op keeps: names, and where each is to be found


class Op:
    """A primitive operation. See the module's text for how to write one.

    Class attributes that a subclass sets
    -------------------------------------
    broadcasts : inputs are broadcast against each other as NumPy does; the engine sums the gradients back
    linear : the output is linear in all differentiable inputs together (forward mode runs ``forward`` on tangents;
        with several inputs, of which some may not move, the op has a method ``tangent``)
    derived : names of the arrays that ``forward`` returns after ``out`` for the gradients to use. Where they
        depend on an input differentiably, a method of that name says how, in the library's own operations, and
        derivatives of derivatives go through it; without such a method they are constants (masks, indices).
    whole_gradient : a recorded program keeps the gradients by all inputs as one instruction (`GradientOf`), for which
        backends have a kernel, instead of the formulas' operations
    worth_kernel : elements from which on a backend's compiled kernel is asked; smaller arrays run the formula, which
        can be stepped through
    """

    broadcasts: ClassVar[bool] = False
    linear: ClassVar[bool] = False
    elementwise: ClassVar[bool] = False
    derived: ClassVar[tuple[str, ...]] = ()
    whole_gradient: ClassVar[bool] = False
    worth_kernel: ClassVar[int] = 4096

    # Filled in below, once per class, from the signatures.
    inputs: ClassVar[tuple[str, ...]] = ()
    variadic: ClassVar[bool] = False
    rules: ClassVar[Sequence[Rule | None]] = ()
    differentiable: ClassVar[int] = 0  # bit i is set where input i has a gradient method
    plans: ClassVar[dict[int, Plan]] = {}  # saving plans by the inputs that want a gradient, as met

    def __init_subclass__(cls) -> None:
        if "forward" not in vars(cls) and not any(name.startswith("grad_") for name in vars(cls)):
            return  # an abstract family, such as Elementwise
        parameters = list(inspect.signature(cls.forward).parameters.values())[2:]  # without self and xp
        cls.inputs = tuple(p.name for p in parameters)
        cls.variadic = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
        _check_gradient_names(cls)
        found = [_rule(cls, name) for name in cls.inputs]
        _check_stars(cls, found)
        if cls.variadic:
            fixed, repeated = found[:-1], found[-1]
            cls.rules = _VariadicRules(fixed, repeated)
            cls.differentiable = -1 << len(fixed) if repeated else 0
        else:
            cls.rules = tuple(found)
            cls.differentiable = 0
        for i, rule in enumerate(found[: len(found) - cls.variadic]):
            cls.differentiable |= (rule is not None) << i
        cls.plans = {}

    def forward(self, xp: Any, *inputs: Any) -> Any:
        """Compute the output from the inputs, in the array namespace ``xp``."""
        raise NotImplementedError(f"{type(self).__name__} has no forward formula")

    @classmethod
    def saving_plan(cls, mask: int, count: int) -> Plan:
        """What to keep when the inputs in the bit ``mask`` want a gradient: pairs (name, where it is).

        Where: ``i`` is input ``i``; ``~i`` the shape of input ``i``; ``OUT`` the output; ``DERIVED + k`` the
        ``k``-th derived array; ``REST + k`` all arrays from input ``k`` on.
        """
        names: dict[str, int] = {}
        for i in range(count):
            rule = cls.rules[i] if mask >> i & 1 else None
            for name in rule[1] if rule else ():
                names[name] = cls._place_of(name)
                formula = getattr(cls, name, None) if name in cls.derived else None
                for dependency in keywords(formula) if formula else ():
                    names[dependency] = cls._place_of(dependency)
        return tuple(names.items())

    @classmethod
    def _place_of(cls, name: str) -> int:
        if name == "out":
            return OUT
        if name in cls.derived:
            return DERIVED + cls.derived.index(name)
        if cls.variadic and name == cls.inputs[-1]:
            return REST + len(cls.inputs) - 1
        if name in cls.inputs:
            return cls.inputs.index(name)
        if name.endswith("_shape") and name[:-6] in cls.inputs:
            return ~cls.inputs.index(name[:-6])
        raise TypeError(
            f"{cls.__name__}: a gradient asks for {name!r}, which is neither an input {cls.inputs}, nor 'out', "
            f"nor an input's name with '_shape', nor one of derived={cls.derived}"
        )

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({settings})"

    def key(self) -> tuple[Any, ...]:
        """Two ops with equal keys compute the same thing."""
        return (type(self), tuple(vars(self).items()))


OUT, DERIVED, REST = 1000, 2000, 3000  # places in a saving plan; inputs are 0, 1, ... and shapes -1, -2, ...


class Elementwise(Op):
    """An op that works on each element by itself, after NumPy's broadcasting.

    Its formulas also run on symbolic scalars: from them the Numba and CUDA kernels are printed. The Jacobian is
    diagonal, so that forward mode may use the gradient formulas as they are.
    """

    elementwise = True
    broadcasts = True


def _rule(cls: type[Op], name: str) -> Rule | None:
    method = getattr(cls, f"grad_{name}", None)
    return None if method is None else (method, keywords(method))


def _check_gradient_names(cls: type[Op]) -> None:
    """A misspelt gradient method would never be called, and the gradient silently be missing."""
    for name in vars(cls):
        if name.startswith("grad_") and name[5:] not in cls.inputs:
            raise TypeError(
                f"{cls.__name__}.{name} is the gradient by no input: forward's inputs are {', '.join(cls.inputs)}"
            )


def _check_stars(cls: type[Op], found: Sequence[Rule | None]) -> None:
    """What a gradient formula asks for stands behind a star: without it, nothing would be saved for it."""
    for rule in found:
        if rule is None:
            continue
        ordinary = [
            p.name
            for p in inspect.signature(rule[0]).parameters.values()
            if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        ][2:]  # without self and g
        if ordinary and not (cls.variadic and ordinary == ["i"]):
            raise TypeError(
                f"{cls.__name__}.{rule[0].__name__} takes {', '.join(ordinary)} as ordinary arguments; what a gradient "
                f"asks for stands behind a star: (self, g, *, {', '.join(ordinary)})"
            )


def keywords(function: Callable[..., Any]) -> tuple[str, ...]:
    parameters = inspect.signature(function).parameters.values()
    return tuple(p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY)


class _VariadicRules(Sequence[Rule | None]):
    """Rules of an op with any number of inputs: one method serves them all and is told which input, ``i``."""

    def __init__(self, fixed: list[Rule | None], repeated: Rule | None) -> None:
        self.fixed, self.repeated = fixed, repeated

    def __getitem__(self, i: Any) -> Any:
        if i < len(self.fixed):
            return self.fixed[i]
        if self.repeated is None:
            return None
        method, names = self.repeated
        return partial(method, i=i - len(self.fixed)), names

    def __len__(self) -> int:
        return len(self.fixed) + 1
