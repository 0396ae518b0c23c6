"""Transforms of functions: a function of tensors in, a function that computes derivatives of it out.

Reverse accumulation (`vjp`, `grad`) walks the recorded operations from the output back, carrying dL/d(node). Forward
accumulation (`jvp`) walks them from the inputs on, carrying d(node)/dt. Both walk the same record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tinynn.autodiff import apply, as_tensors, backpropagate, paths_to
from tinynn.creation import tensor, zeros
from tinynn.graph import GraphError, Node
from tinynn.modes import enable_grad, is_grad_enabled, mode
from tinynn.ops.base import keywords
from tinynn.ops.joining import stack
from tinynn.ops.shape import broadcast_to, reshape
from tinynn.tensor import Tensor, _seed

Function = Callable[..., Any]


def gradients(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    create_graph: bool = False,
    allow_unused: bool = False,
    retain_graph: bool | None = None,
) -> Any:
    """dL/d(input) for each of the inputs, without touching anybody's ``.grad``. Public as `tinynn.grad`.

    Parameters
    ----------
    outputs : tensor, or a sequence of them (their gradients are added up)
    inputs : tensor or a sequence: leaves or results in between
    grad_outputs : the cotangent of each output; may be left out for scalars
    create_graph : make the result differentiable again (forces in a loss, Hessians)
    allow_unused : give None for an input that the outputs do not depend on, instead of an error
    retain_graph : keep the graph for another walk; as ``create_graph`` if None

    Returns
    -------
    One tensor per input, as a tuple; a single tensor if ``inputs`` is a single tensor.

    Raises
    ------
    GraphError
        If an input does not require a gradient, or the outputs do not depend on it.

    Examples
    --------
    >>> import tinynn
    >>> x = tinynn.tensor(2.0, requires_grad=True)
    >>> slope = tinynn.grad(x**3, x, create_graph=True)
    >>> tinynn.grad(slope, x)
    tensor(12.)
    """
    outs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    ins = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    cotangents = [None] * len(outs) if grad_outputs is None else grad_outputs
    if isinstance(cotangents, Tensor) or not isinstance(cotangents, (list, tuple)):
        cotangents = [cotangents]
    if len(cotangents) != len(outs):
        raise ValueError(f"grad: {len(outs)} outputs but {len(cotangents)} grad_outputs")
    for i, x in enumerate(ins):
        if not isinstance(x, Tensor) or x.node is None:
            raise GraphError(
                f"grad: input {i} does not require a gradient; make it with requires_grad=True before the outputs"
            )
    starts: dict[Node, Any] = {}
    for i, (out, cotangent) in enumerate(zip(outs, cotangents, strict=True)):
        if out.node is None:
            raise GraphError(
                f"grad: output {i} does not depend on anything that requires a gradient (results of functions made by "
                "tinynn.compile never do: compile the function that calls grad)"
            )
        g = _seed(out, cotangent, create_graph)
        starts[out.node] = starts[out.node] + g if out.node in starts else g
    wanted = [x.node for x in ins if x.node is not None]
    keep = create_graph if retain_graph is None else retain_graph
    if not (keep or allow_unused):  # an error must leave the graph as it was: look before walking
        _refuse_unreached(wanted, starts)
    with enable_grad():
        found = backpropagate(starts, wanted, record=create_graph, keep=keep)
    results: list[Any] = []
    for i, x in enumerate(ins):
        g = found.get(x.node)
        if g is None and not allow_unused:
            raise _unreached(i)
        if g is not None and g.dtype != x.dtype:
            g = g.astype(x.dtype)
        results.append(g if g is None or isinstance(g, Tensor) else Tensor(g))
    return results[0] if isinstance(inputs, Tensor) else tuple(results)


def _refuse_unreached(wanted: Sequence[Node], starts: dict[Node, Any]) -> None:
    reached = {parent for node in paths_to(set(wanted), starts) for parent in node.parents} | set(starts)
    for i, node in enumerate(wanted):
        if node not in reached:
            raise _unreached(i)


def _unreached(i: int) -> GraphError:
    return GraphError(f"grad: the outputs do not depend on input {i}; allow_unused=True gives None for it")


def _inputs(arguments: Sequence[Any], argnums: int | Sequence[int]) -> tuple[list[Any], list[Tensor]]:
    """Copies of the arguments that are differentiated, as fresh nodes; the rest as they are."""
    chosen = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    new = list(arguments)
    for i in chosen:
        if not -len(new) <= i < len(new):
            raise IndexError(f"argnums names argument {i}, but {len(new)} were given")
        x = new[i] if isinstance(new[i], Tensor) else tensor(new[i])
        if x.dtype.kind != "f":
            raise TypeError(f"argument {i} is {x.describe()}: only floating-point arguments can be differentiated")
        if mode.recorder is not None:
            mode.recorder.of(x)
        # inside another transform the argument is part of a graph already, and must stay so
        new[i] = reshape(x, x.shape) if x.node is not None else Tensor(x.array).requires_grad_()
    return new, [new[i] for i in chosen]


def _check_argnums(owner: str, argnums: Any) -> None:
    """Refuse `hessian(f, x)`, which would otherwise return a function and never look at x."""
    if not isinstance(argnums, int) and not (
        isinstance(argnums, Sequence) and all(isinstance(i, int) for i in argnums)
    ):
        raise TypeError(
            f"{owner}: argnums must be the number of an argument, or several, not {type(argnums).__name__}; "
            f"{owner}(function) returns a function of the arguments: {owner}(function)(x)"
        )


def _stays_recorded(outputs: Iterable[Any], chosen: Sequence[Tensor]) -> bool:
    """Whether the outputs depend on a leaf besides the fresh ones: a parameter in the function, an outer transform.

    Then derivatives stay part of that graph (forces in a loss are differentiated by the network's parameters).
    """
    own = {x.node for x in chosen}
    seen: set[Node] = set()
    stack = [out.node for out in outputs if isinstance(out, Tensor) and out.node is not None]
    while stack:
        node = stack.pop()
        if node not in seen:
            if not node.parents and node not in own:
                return True
            seen.add(node)
            stack.extend(parent for parent in node.parents if parent is not None)
    return False


def value_and_grad(function: Function, argnums: int | Sequence[int] = 0) -> Function:
    """A function that returns (f(x), df/dx) for a scalar f.

    Where ``function`` uses tensors that want a gradient (a network's parameters), both results can be differentiated
    by them; under `no_grad` they are constants.

    Parameters
    ----------
    function : returns a scalar tensor
    argnums : which argument, or arguments, to differentiate by

    Examples
    --------
    >>> import tinynn
    >>> tinynn.func.value_and_grad(lambda x: (x * x).sum())(tinynn.tensor([1.0, 2.0]))
    (tensor(5.), tensor([2., 4.]))
    """
    _check_argnums("value_and_grad", argnums)

    def transformed(*arguments: Any) -> tuple[Any, Any]:
        recording = is_grad_enabled()
        with enable_grad():
            new, chosen = _inputs(arguments, argnums)
            out = function(*new)
            if not isinstance(out, Tensor) or out.size != 1:
                raise ValueError(f"grad: the function must return a scalar tensor, not {out!r}; use jacobian for more")
            found: Any = (
                gradients(out, chosen, create_graph=True, allow_unused=True)
                if out.node is not None
                else [None] * len(chosen)
            )
            found = [zeros(*x.shape, dtype=x.dtype) if g is None else g for x, g in zip(chosen, found, strict=True)]
            if not (recording and _stays_recorded([out], chosen)):
                out, found = out.detach(), [g.detach() for g in found]
        return out, found[0] if isinstance(argnums, int) else tuple(found)

    return transformed


def grad(function: Function, argnums: int | Sequence[int] = 0) -> Function:
    """A function that returns df/dx for a scalar f; may be nested for higher derivatives.

    Examples
    --------
    >>> import tinynn
    >>> f = lambda x: x**3
    >>> tinynn.func.grad(tinynn.func.grad(f))(tinynn.tensor(2.0))
    tensor(12.)
    """
    _check_argnums("grad", argnums)
    both = value_and_grad(function, argnums)

    def transformed(*arguments: Any) -> Any:
        return both(*arguments)[1]

    return transformed


def vjp(function: Function, *primals: Any) -> tuple[Any, Function]:
    """Vector-Jacobian product, by reverse accumulation: f(x), and the function v -> v @ J.

    Examples
    --------
    >>> import tinynn
    >>> y, pullback = tinynn.func.vjp(lambda x: x * x, tinynn.tensor([1.0, 2.0]))
    >>> pullback(tinynn.tensor([1.0, 0.0]))
    (tensor([2., 0.]),)
    """
    recording = is_grad_enabled()
    with enable_grad():
        new, chosen = _inputs(primals, range(len(primals)))
        out = function(*new)
        outer = recording and _stays_recorded([out], chosen)

    def pullback(cotangent: Any) -> tuple[Tensor, ...]:
        recorded = outer or (isinstance(cotangent, Tensor) and cotangent.node is not None)
        found = gradients(out, chosen, cotangent, create_graph=recorded, allow_unused=True, retain_graph=True)
        return tuple(zeros(*x.shape, dtype=x.dtype) if g is None else g for x, g in zip(chosen, found, strict=True))

    return (out if outer else out.detach()), pullback


def jvp(function: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """Jacobian-vector product, by forward accumulation: f(x), and J @ t.

    The function is run once and recorded; then the record is walked from the oldest operation to the newest, and
    each one maps the tangents of its inputs to the tangent of its output.

    Parameters
    ----------
    function : of as many arguments as there are primals
    primals, tangents : where, and in which direction, to differentiate; of equal shapes

    Examples
    --------
    >>> import tinynn
    >>> x, t = tinynn.tensor([1.0, 2.0]), tinynn.tensor([1.0, 0.0])
    >>> tinynn.func.jvp(lambda x: x * x, (x,), (t,))
    (tensor([1., 4.]), tensor([2., 0.]))
    """
    if not (isinstance(primals, (tuple, list)) and isinstance(tangents, (tuple, list))):
        raise TypeError(
            "jvp: primals and tangents are tuples, with one entry per argument of the function: jvp(f, (x,), (t,))"
        )
    if len(primals) != len(tangents):
        raise ValueError(f"jvp: {len(primals)} primals but {len(tangents)} tangents")
    recording = is_grad_enabled()
    with enable_grad():
        new, chosen = _inputs(primals, range(len(primals)))
        starts: dict[Node, Any] = {}
        for i, (x, t) in enumerate(zip(chosen, tangents, strict=True)):
            t = t if isinstance(t, Tensor) else tensor(t, dtype=x.dtype)
            if t.shape != x.shape:
                raise ValueError(f"jvp: tangent {i} has shape {t.shape}, but its primal has {x.shape}")
            starts[x.node] = t
        out = function(*new)
        results = [pushforward(y, starts) for y in (out if isinstance(out, (tuple, list)) else [out])]
        outs = list(out) if isinstance(out, (tuple, list)) else [out]
        if not (recording and _stays_recorded([*outs, *tangents], chosen)):
            results = [t.detach() for t in results]
            outs = [y.detach() for y in outs]
    return (tuple(outs), tuple(results)) if isinstance(out, (tuple, list)) else (outs[0], results[0])


def pushforward(output: Tensor, tangents: dict[Node, Any]) -> Tensor:
    """Carry the tangents of some nodes forward to ``output``."""
    if output.node is None:
        return zeros(*output.shape, dtype=output.dtype)
    known = dict(tangents)
    for node in sorted(paths_to(set(tangents), [output.node]), key=lambda node: node.number):
        given = [None if parent is None else known.get(parent) for parent in node.parents]
        known[node] = broadcast_to(_tangent(node, given), node.shape)
    result = known.get(output.node)
    return zeros(*output.shape, dtype=output.dtype) if result is None else result


def _tangent(node: Node, tangents: list[Any]) -> Any:
    """The tangent of one operation's output from those of its inputs (None where an input does not move)."""
    op = node.op
    saved = as_tensors(node)
    if hasattr(op, "tangent"):
        return op.tangent(tangents, **{name: saved[name] for name in keywords(op.tangent) if name in saved})
    if op.linear:
        return apply(op, *tangents)
    if op.elementwise:
        # The Jacobian is diagonal: the gradient formula multiplies by the same derivative.
        terms = [
            rule[0](op, t, **{name: saved[name] for name in rule[1]})
            for t, rule in zip(tangents, op.rules, strict=True)
            if t is not None and rule is not None
        ]
        if not terms:  # only the condition of a `where` moves, and it is flat between its jumps
            return zeros(*node.shape, dtype=next(t.dtype for t in tangents if t is not None))
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total
    return _tangent_by_two_pullbacks(node, tangents, saved)


def _tangent_by_two_pullbacks(node: Node, tangents: list[Any], saved: dict[str, Any]) -> Any:
    """J t for an op that has no forward rule of its own: v -> v J is linear in v, and its transpose is t -> J t."""
    v = zeros(*node.shape, dtype=next(t.dtype for t in tangents if t is not None)).requires_grad_()
    total: Any = None
    for i, t in enumerate(tangents):
        rule = node.op.rules[i]
        if t is None or rule is None:
            continue
        pulled = rule[0](node.op, v, **{name: saved[name] for name in rule[1]})
        term = gradients(pulled, v, t, create_graph=True)
        total = term if total is None else total + term
    return total


def jacobian(function: Function, argnums: int = 0) -> Function:
    """A function that returns all dy_i/dx_j, of shape y.shape + x.shape: one walk back per element of y.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.func.jacobian(lambda x: x * x)(tinynn.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    _check_argnums("jacobian", argnums)

    def transformed(*arguments: Any) -> Tensor:
        recording = is_grad_enabled()
        with enable_grad():
            new, (x,) = _inputs(arguments, argnums)
            out = function(*new)
            flat = reshape(out, (-1,))
            rows = []
            for i in range(flat.size):
                g = gradients(flat[i], x, create_graph=True, allow_unused=True) if flat.node is not None else None
                rows.append(zeros(*x.shape, dtype=x.dtype) if g is None else g)
            full = reshape(stack(rows), (*out.shape, *x.shape)) if rows else zeros(*out.shape, *x.shape)
            return full if recording and _stays_recorded([out], [x]) else full.detach()

    return transformed


def hessian(function: Function, argnums: int = 0) -> Function:
    """A function that returns all d2f/dx_i dx_j of a scalar f, of shape x.shape + x.shape.

    Examples
    --------
    >>> import tinynn
    >>> tinynn.func.hessian(lambda x: (x**3).sum())(tinynn.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    _check_argnums("hessian", argnums)
    return jacobian(grad(function, argnums), argnums)


def hvp(function: Function, primal: Any, vector: Any) -> tuple[Any, Tensor]:
    """df/dx, and the Hessian of f times a vector without the Hessian: forward accumulation over the gradient.

    Examples
    --------
    >>> import tinynn
    >>> x, v = tinynn.tensor([1.0, 2.0]), tinynn.tensor([1.0, 1.0])
    >>> tinynn.func.hvp(lambda x: (x**3).sum(), x, v)
    (tensor([ 3., 12.]), tensor([ 6., 12.]))
    """
    return jvp(grad(function), (primal,), (vector,))


__all__ = ["grad", "gradients", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"]
