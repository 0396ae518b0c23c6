"""Scalars that record what is done to them: an operation's formula goes in, an expression comes out.

An elementwise operation is defined once, by lines such as ``xp.tanh(x)`` or ``g * (1.0 - out * out)``.
Called with NumPy and arrays they compute. Called with `symbolic` and a `Symbol` they build an expression,
from which the kernels for Numba and CUDA are printed.

Equal expressions are one object: ``x * x`` written twice is the same node, so common
subexpressions need no search.

Examples
--------
>>> x = Symbol.variable("x")
>>> symbolic.tanh(x) * 2.0 + 1
add(multiply(tanh(x), 2.0), 1.0)
>>> x * x is x * x
True
"""

from __future__ import annotations

import inspect
import math
import operator
import weakref
from collections.abc import Callable, Sequence
from typing import Any

# Functions of real numbers to a real number, by NumPy's names, and how many arguments they take.
REAL_FUNCTIONS = {
    "add": 2, "subtract": 2, "multiply": 2, "divide": 2, "negative": 1, "absolute": 1, "sign": 1, "floor": 1,
    "power": 2, "floor_divide": 2, "remainder": 2, "maximum": 2, "minimum": 2, "sqrt": 1,
    "exp": 1, "expm1": 1,
    "log": 1, "log1p": 1, "sin": 1, "cos": 1, "tanh": 1, "erf": 1,
}  # fmt: skip
COMPARISONS = ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal")
LOGIC = {"logical_and": 2, "logical_or": 2, "logical_not": 1}
_LARGEST_UNROLLED_POWER = 8

_alive: weakref.WeakValueDictionary[tuple[Any, ...], Symbol] = weakref.WeakValueDictionary()


def _binary(function: str) -> tuple[Callable[[Symbol, Any], Symbol], Callable[[Symbol, Any], Symbol]]:
    """The methods for ``symbol + other`` and, reflected, for ``other + symbol``."""
    return (lambda self, other: _real(function, self, other)), (lambda self, other: _real(function, other, self))


def _comparison(function: str) -> Callable[[Symbol, Any], Symbol]:
    return lambda self, other: _compare(function, self, other)


class Symbol:
    """A node of a scalar expression: a variable, a constant, or a function of other nodes. Immutable.

    Attributes
    ----------
    function : str
        ``"variable"``, ``"constant"``, ``"where"``, ``"isnan"``, or a key of `REAL_FUNCTIONS`,
        `COMPARISONS`, `LOGIC`.
    operands : tuple of Symbol
        What the function is applied to.
    value : str, float, bool or None
        The name of a variable, the value of a constant.
    is_bool : bool
        Whether the node is a truth value; otherwise it is a real number.
    """

    __slots__ = ("function", "operands", "value", "is_bool", "__weakref__")  # noqa: RUF023, as in the key
    __array_ufunc__ = None  # numpy.float64(2) * symbol comes to Symbol.__rmul__ and makes no object array

    function: str
    operands: tuple[Symbol, ...]
    value: str | float | bool | None
    is_bool: bool

    def __new__(
        cls,
        function: str,
        operands: tuple[Symbol, ...] = (),
        value: str | float | bool | None = None,
        is_bool: bool = False,
    ) -> Symbol:
        # repr tells 0.0 from -0.0 and True from 1.0, and finds NaN again. Operands live as long as the node
        # does.
        key = (function, *map(id, operands), repr(value), is_bool)
        node = _alive.get(key)
        if node is None:
            node = super().__new__(cls)
            for name, content in zip(cls.__slots__, (function, operands, value, is_bool), strict=False):
                object.__setattr__(node, name, content)
            _alive[key] = node
        return node

    @staticmethod
    def variable(name: str, is_bool: bool = False) -> Symbol:
        """A value that is known only when the kernel runs."""
        if not name.isidentifier():
            raise ValueError(f"a variable's name must be a Python identifier, got {name!r}")
        return Symbol("variable", value=name, is_bool=is_bool)

    @staticmethod
    def constant(value: Any) -> Symbol:
        """A number (or truth value) that is known now."""
        if isinstance(value, Symbol):
            return value
        if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
            return Symbol("constant", value=bool(value), is_bool=True)
        if getattr(value, "ndim", 0) or isinstance(value, (str, bytes, complex)) or not hasattr(value, "__float__"):
            raise TypeError(
                f"an elementwise formula works on one element at a time and takes real numbers, "
                f"got {value!r}; "
                "pass an array as a further input of the operation instead"
            )
        return Symbol("constant", value=float(value))

    @property
    def is_constant(self) -> bool:
        return self.function == "constant"

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Symbol is immutable; cannot set {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return Symbol, (self.function, self.operands, self.value, self.is_bool)

    def __repr__(self) -> str:
        if not self.operands:
            return str(self.value)
        return f"{self.function}({', '.join(map(repr, self.operands))})"

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise TypeError(
            f"the truth value of {_shortened(self)} is not known while a formula is being recorded; "
            "an elementwise formula must not branch on a value: use xp.where(condition, a, b), "
            "and &, |, ~ for and, or, not"
        )

    def _no_number(self, *_: object) -> Any:
        raise TypeError(
            f"{_shortened(self)} has no numeric value while a formula is being recorded; "
            "an elementwise formula must not turn a value into a Python number: use the "
            "functions of xp instead"
        )

    __float__ = __int__ = __index__ = __complex__ = __round__ = __trunc__ = __ceil__ = __floor__ = _no_number
    __iter__ = __len__ = __getitem__ = _no_number

    __add__, __radd__ = _binary("add")
    __sub__, __rsub__ = _binary("subtract")
    __mul__, __rmul__ = _binary("multiply")
    __truediv__, __rtruediv__ = _binary("divide")
    __floordiv__, __rfloordiv__ = _binary("floor_divide")
    __mod__, __rmod__ = _binary("remainder")
    __pow__, __rpow__ = _binary("power")
    __gt__, __ge__ = _comparison("greater"), _comparison("greater_equal")
    __lt__, __le__ = _comparison("less"), _comparison("less_equal")
    __eq__, __ne__ = _comparison("equal"), _comparison("not_equal")  # type: ignore[assignment]

    def __neg__(self) -> Symbol:
        return _real("negative", self)

    def __pos__(self) -> Symbol:
        return self

    def __abs__(self) -> Symbol:
        return _real("absolute", self)

    def __and__(self, other: Any) -> Symbol:
        return _bitwise("&", "logical_and", self, other)

    def __or__(self, other: Any) -> Symbol:
        return _bitwise("|", "logical_or", self, other)

    __rand__ = __and__
    __ror__ = __or__

    def __invert__(self) -> Symbol:
        return _bitwise("~", "logical_not", self)


def _shortened(symbol: Symbol) -> str:
    text = repr(symbol)
    return text if len(text) <= 60 else text[:57] + "..."


# --- making nodes: constants are folded, and what is exactly the same for every float is simplified ---


def _real(function: str, *arguments: Any) -> Symbol:
    """A function of real numbers; truth values among its arguments count as 0 and 1."""
    operands = tuple(map(Symbol.constant, arguments))
    if all(a.is_constant for a in operands):
        folded = _fold(function, [float(a.value) for a in operands])  # type: ignore[arg-type]
        if folded is not None:
            return Symbol.constant(folded)
    simplified = _simplified(function, operands)
    return Symbol(function, operands) if simplified is None else simplified


def _fold(function: str, values: list[float]) -> float | None:
    """The function of constants; None where Python raises (1/0) and IEEE arithmetic has an answer."""
    try:
        return float(_FOLDED[function](*values)) if function in _FOLDED else None
    except (ArithmeticError, ValueError, TypeError):
        return None


_FOLDED: dict[str, Callable[..., Any]] = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "divide": operator.truediv,
    "negative": operator.neg, "absolute": abs, "power": operator.pow, "sqrt": math.sqrt, "exp": math.exp,
    "expm1": math.expm1, "log": math.log, "log1p": math.log1p, "sin": math.sin, "cos": math.cos,
    "tanh": math.tanh, "erf": math.erf,
}  # fmt: skip


def _simplified(function: str, operands: tuple[Symbol, ...]) -> Symbol | None:
    a, b = operands[0], operands[-1]
    if function == "multiply":
        for one, other in ((a, b), (b, a)):
            if one.is_constant and not other.is_bool and float(one.value) in (1.0, -1.0):  # type: ignore[arg-type]
                return other if one.value == 1.0 else -other
            if one.function == "negative":  # (-a) b = -(a b): then exp(-t * t) and exp(-(t * t)) are one node
                return -(one.operands[0] * other)
    elif function == "divide" and b.is_constant and b.value == 1.0 and not a.is_bool:
        return a
    elif function == "negative" and a.function == "negative":
        return a.operands[0]
    elif function == "absolute" and a.function in ("negative", "absolute"):
        return abs(a.operands[0])
    elif function == "power" and b.is_constant:
        return _power(a, float(b.value))  # type: ignore[arg-type]
    return None


def _power(base: Symbol, exponent: float) -> Symbol | None:
    """Products for small whole exponents, roots for halves; None for other powers."""
    if exponent == 0.0:
        return Symbol.constant(1.0)
    if exponent < 0.0:
        positive = _power(base, -exponent)
        return None if positive is None else 1.0 / positive
    if exponent == 0.5:
        return _real("sqrt", base)
    if math.isnan(exponent) or exponent != int(min(exponent, 1e6)) or exponent > _LARGEST_UNROLLED_POWER:
        return None
    base = base + 0.0 if base.is_bool else base
    if exponent == 1.0:
        return base
    half = _power(base, exponent // 2)
    assert half is not None
    return half * half if exponent % 2 == 0 else half * half * base


def _compare(function: str, a: Any, b: Any) -> Symbol:
    a, b = Symbol.constant(a), Symbol.constant(b)
    if a.is_constant and b.is_constant:
        return Symbol.constant(_COMPARED[function](a.value, b.value))
    return Symbol(function, (a, b), is_bool=True)


_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "greater": operator.gt, "greater_equal": operator.ge, "less": operator.lt, "less_equal": operator.le,
    "equal": operator.eq, "not_equal": operator.ne,
}  # fmt: skip


def _truth(value: Any) -> Symbol:
    """As NumPy: every real number but zero is true."""
    symbol = Symbol.constant(value)
    return symbol if symbol.is_bool else symbol != 0.0


def _bitwise(sign: str, function: str, *arguments: Any) -> Symbol:
    for argument in map(Symbol.constant, arguments):
        if not argument.is_bool:
            raise TypeError(f"{sign} joins truth values, such as x > 0; {_shortened(argument)} is a real number")
    return _logic(function, *arguments)


def _logic(function: str, *arguments: Any) -> Symbol:
    operands = tuple(map(_truth, arguments))
    if function == "logical_not":
        (a,) = operands
        if a.is_constant:
            return Symbol.constant(not a.value)
        if a.function == "logical_not":
            return a.operands[0]
    else:
        for one, other in (operands, operands[::-1]):
            if one.is_constant:  # true and b is b, false and b is false; or is the other way round
                return other if one.value == (function == "logical_and") else one
    return Symbol(function, operands, is_bool=True)


class SymbolicNamespace:
    """The array functions that an elementwise formula may use, by NumPy's names, for `Symbol` arguments.

    Examples
    --------
    >>> x = Symbol.variable("x")
    >>> symbolic.where(x > 0, x, symbolic.expm1(x))
    where(greater(x, 0.0), x, expm1(x))
    """

    pi = math.pi
    e = math.e
    inf = math.inf
    nan = math.nan

    def __getattr__(self, name: str) -> Callable[..., Symbol]:
        if name in REAL_FUNCTIONS:
            return _function(name, REAL_FUNCTIONS[name], _real)
        if name in COMPARISONS:
            return _function(name, 2, _compare)
        if name in LOGIC:
            return _function(name, LOGIC[name], _logic)
        raise AttributeError(
            f"elementwise formulas have no xp.{name}; they know: "
            + ", ".join(
                sorted(
                    {
                        *REAL_FUNCTIONS,
                        *COMPARISONS,
                        *LOGIC,
                        "abs",
                        "isnan",
                        "normal_cdf",
                        "square",
                        "true_divide",
                        "where",
                    }
                )
            )
        )

    def abs(self, x: Any) -> Symbol:
        """|x|."""
        return _real("absolute", x)

    def normal_cdf(self, x: Any) -> Symbol:
        """The normal distribution function, (1 + erf(x / sqrt 2)) / 2."""
        return 0.5 * _real("erf", x * math.sqrt(0.5)) + 0.5

    def square(self, x: Any) -> Symbol:
        """x * x."""
        return _real("multiply", x, x)

    def true_divide(self, a: Any, b: Any) -> Symbol:
        """a / b."""
        return _real("divide", a, b)

    def isnan(self, x: Any) -> Symbol:
        """Whether `x` is not a number."""
        return Symbol("isnan", (Symbol.constant(x),), is_bool=True)

    def where(self, condition: Any, a: Any, b: Any) -> Symbol:
        """`a` where the condition holds, else `b`. Both are computed, as in NumPy."""
        truth, a, b = _truth(condition), Symbol.constant(a), Symbol.constant(b)
        if truth.is_constant:
            return a if truth.value else b
        return a if a is b else Symbol("where", (truth, a, b), is_bool=a.is_bool and b.is_bool)


def _function(name: str, arity: int, make: Callable[..., Symbol]) -> Callable[..., Symbol]:
    def function(*arguments: Any) -> Symbol:
        if len(arguments) != arity:
            raise TypeError(f"xp.{name} takes {arity} argument{'s' * (arity > 1)}, got {len(arguments)}")
        return make(name, *arguments)

    function.__name__ = name
    return function


symbolic = SymbolicNamespace()


def trace(
    formula: Callable[..., Any], names: Sequence[str] | None = None, bools: Sequence[str] = ()
) -> tuple[Symbol, ...]:
    """Call a formula with variables and return the expressions it gives.

    Parameters
    ----------
    formula : callable
        Takes one scalar per name and returns one expression or a tuple of them.
    names : sequence of str, optional
        The variables' names, by default the names of the formula's parameters.
    bools : sequence of str
        Those of the names that are truth values.

    Examples
    --------
    >>> trace(lambda g, out: g * (1.0 - out * out))
    (multiply(g, subtract(1.0, multiply(out, out))),)
    """
    names = list(inspect.signature(formula).parameters) if names is None else list(names)
    if len(set(names)) < len(names):
        raise ValueError(f"the names of a formula's inputs must differ, got {names}")
    result = formula(*(Symbol.variable(name, name in bools) for name in names))
    outputs = result if isinstance(result, (tuple, list)) else (result,)
    return tuple(map(Symbol.constant, outputs))
