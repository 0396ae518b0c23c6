"""Each stage of planning by itself, on programs small enough to know the answer."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinynn as tn
from tinynn.compiler.expand import expand
from tinynn.compiler.fuse import Group, fuse
from tinynn.compiler.interpret import Interpreter
from tinynn.compiler.layout import lay_out, line_bytes
from tinynn.compiler.plan import Buffer, Plan, make_plan
from tinynn.compiler.program import Program
from tinynn.compiler.record import record
from tinynn.compiler.rows import Call, Loop, Multiply, Row
from tinynn.compiler.tidy import tidy
from tinynn.compiler.views import View, contiguous_strides
from tinynn.compiler.work import Known, Map, Reduction, Work, known
from tinynn.kernels.memory import LINE

rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _same_data_in_every_order() -> None:
    rng.bit_generator.state = np.random.default_rng(0).bit_generator.state


def data(*shape: int) -> tn.Tensor:
    return tn.Tensor(rng.standard_normal(shape))


def planned(function: Callable[..., Any], *arguments: Any) -> Plan:
    return make_plan(record(function, *arguments))


def tidied(function: Callable[..., Any], *arguments: Any) -> Any:
    program = record(function, *arguments)
    results = program.result if isinstance(program.result, tuple) else (program.result,)
    return tidy(expand(program), list(results))


def kinds(rows: list[Row]) -> list[str]:
    return [type(row).__name__ for row in rows]


def loops(plan: Plan) -> list[Loop]:
    return [row for row in plan.rows if isinstance(row, Loop)]


def agrees(function: Callable[..., Any], *arguments: Any) -> None:
    """The interpreter gives what the function gives, on other data of the same shapes."""
    machine = Interpreter(record(function, *arguments))
    fresh = [tn.Tensor(np.asarray(rng.standard_normal(x.shape), x.dtype)) for x in arguments]
    wanted, got = function(*fresh), machine.run([x.array for x in fresh])
    for a, b in zip(*((x if isinstance(x, tuple) else (x,)) for x in (wanted, got)), strict=True):
        np.testing.assert_allclose(b.array, a.array, 1e-12, 1e-12)


# ----------------------------------------------------------------------------------------------------- views


def seen(view: View, flat: Any) -> Any:
    """What a view shows of a flat array."""
    strides = tuple(s * flat.itemsize for s in view.strides)
    return np.lib.stride_tricks.as_strided(flat[view.offset :], view.shape, strides)


@st.composite
def moves(draw: Any) -> list[tuple[str, Any]]:
    """A shape, then reshapes, transposes, slices and broadcasts of it."""
    shape = tuple(draw(st.lists(st.integers(1, 4), max_size=4)))
    found: list[tuple[str, Any]] = [("shape", shape)]
    array = np.empty(shape)
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["reshape", "transpose", "slice", "broadcast"]))
        value: Any
        if kind == "reshape":
            sizes = [(array.size,), (1, array.size), (array.size, 1, 1), tuple(n for n in array.shape if n != 1)]
            sizes += [(2, array.size // 2)] * (array.size % 2 == 0) + [(array.size // 3, 3)] * (array.size % 3 == 0)
            value = draw(st.sampled_from(sizes))
            array = array.reshape(value)
        elif kind == "transpose":
            value = tuple(draw(st.permutations(range(array.ndim))))
            array = array.transpose(value)
        elif kind == "slice":
            parts = [slice(None), slice(None, None, -1), slice(1, None), slice(None, None, 2), 0, -1, None]
            value = tuple(draw(st.lists(st.sampled_from(parts), max_size=array.ndim)))
            if draw(st.booleans()):
                value = (..., *value)
            if array[value].size == 0:
                continue
            array = np.asarray(array[value])
        else:
            value = (draw(st.integers(1, 2)), *(n if n != 1 else draw(st.sampled_from([1, 3])) for n in array.shape))
            array = np.broadcast_to(array, value)
        found.append((kind, value))
    return found


@given(moves())
def test_views_show_what_numpy_shows(steps: list[tuple[str, Any]]) -> None:
    shape = steps[0][1]
    flat = np.arange(float(np.prod(shape, dtype=int)))
    array, view = flat.reshape(shape), View.whole(1, shape)
    for kind, value in steps[1:]:
        if kind == "reshape":
            found = view.reshaped(value)
            if found is None:  # it would need a copy: NumPy makes one too
                assert not np.shares_memory(array.reshape(value), flat)
                return
            array, view = array.reshape(value), found
        elif kind == "transpose":
            array, view = array.transpose(value), view.transposed(value)
        elif kind == "slice":
            found = view.sliced(value)
            assert found is not None
            array, view = np.asarray(array[value]), found
        else:
            array, view = np.broadcast_to(array, value), view.broadcast(value)
        assert view.shape == array.shape
        np.testing.assert_array_equal(seen(view, flat), array)
        np.testing.assert_array_equal(seen(view.squeezed(), flat), array.squeeze())
        if view.is_whole(flat.size):
            np.testing.assert_array_equal(array.reshape(-1), flat)


def test_what_is_no_view() -> None:
    assert View.whole(1, (2, 3)).transposed((1, 0)).reshaped((6,)) is None
    assert View.whole(1, (4,)).sliced((np.array([0, 1]),)) is None
    with pytest.raises(ValueError, match="cannot be reshaped"):
        View.whole(1, (2, 3)).reshaped((5,))


def test_a_slice_at_the_end_is_not_whole() -> None:
    view = View.whole(1, (4,))
    assert view.is_whole(4)
    assert not view.sliced((slice(1, None),)).is_whole(4)
    assert not view.sliced((slice(None, None, -1),)).is_whole(4)
    assert View.whole(1, (1, 4, 1)).is_contiguous()


# ------------------------------------------------------------------------------------------------------ tidy


def names(work: list[Work]) -> list[str]:
    return [item.name for item in work]


def test_what_nobody_reads_is_dropped() -> None:
    def f(x: Any) -> Any:
        tn.exp(x).sum()
        return tn.tanh(x)

    assert names(tidied(f, data(3)).work) == ["Tanh"]


def test_equal_instructions_are_one() -> None:
    x = data(3)
    found = tidied(lambda x: (tn.tanh(x + 1.0), tn.tanh(x + 1.0) * tn.tanh(x + 1.0)), x)
    assert sum(name == "Tanh" for name in names(found.work)) == 1
    found = tidied(lambda x: (tn.sum(x, axis=0), tn.sum(x, axis=1)), data(3, 3))
    assert names(found.work) == ["Sum", "Sum"]  # other settings are another operation


def test_constants_are_computed_now() -> None:
    table = tn.tensor([1.0, 2.0])

    def f(x: Any) -> Any:
        return x * tn.exp(tn.ones_like(x) * 0.0) + tn.tensor([1.0, 2.0]) * 2

    work = tidied(f, data(2)).work
    assert "Exp" not in names(work)
    folded = [x for item in work for x in item.inputs if isinstance(x, Known) and x.number is None]
    assert [list(x.array) for x in folded] == [[2.0, 4.0]]
    assert len(table.array) == 2


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (np.full((2, 3), 0.5), 0.5),
        (np.float32(2.0), 2.0),
        (np.array([True, True]), True),
        (np.array([1.0, 2.0]), None),
        (np.full(3, np.nan), None),
        (np.array([0.0, -0.0]), None),
        (np.full(3, -0.0), None),
        (np.zeros(3), 0.0),
        (np.zeros((0, 3)), None),
        (np.arange(3), None),
        (3, 3),
    ],
)
def test_arrays_that_are_one_number(value: Any, number: Any) -> None:
    assert known(value).number == number


@pytest.mark.parametrize("values", [[np.nan, np.nan], [-0.0, -0.0], [0.0, -0.0], [np.inf, np.inf], [np.inf, np.nan]])
def test_special_constants_keep_their_values(values: list[float]) -> None:
    def f(x: Any) -> Any:
        return x * tn.tensor(values)

    machine = Interpreter(record(f, data(2)))
    for x in (np.array([1.0, 2.0]), np.array([-1.0, 3.0])):
        got = machine.run([x]).array
        np.testing.assert_array_equal(got, x * np.array(values))
        np.testing.assert_array_equal(np.signbit(got), np.signbit(x * np.array(values)))


def test_movements_are_no_work() -> None:
    def f(x: Any) -> Any:
        y = tn.transpose(tn.reshape(x, (2, 6)))[1:, ::-1]
        return tn.tanh(tn.broadcast_to(tn.expand_dims(y, 0), (3, 5, 2)))

    assert names(tidied(f, data(3, 4)).work) == ["Tanh"]
    agrees(f, data(3, 4))


def test_a_reshape_of_a_transpose_copies() -> None:
    def f(x: Any) -> Any:
        return tn.reshape(x.T, (-1,)) + 1.0

    assert len(tidied(f, data(3, 4)).work) == 2
    agrees(f, data(3, 4))


# ------------------------------------------------------------------------------------------------------ fuse


def groups_of(function: Callable[..., Any], *arguments: Any) -> list[Group]:
    found = fuse(tidied(function, *arguments).work)
    check_order(found)
    return found


def check_order(groups: list[Group]) -> None:
    """Nobody reads what is made later, or, at another place, what the same loop makes."""
    maker = {register: number for number, group in enumerate(groups) for register in group.makes}
    for number, group in enumerate(groups):
        for x in group.reads():
            assert maker.get(x.base, -1) < number
        done: set[int] = set()
        for item in group.members:
            assert all(x.base in done or x.base not in group.makes for x in item.inputs if isinstance(x, View))
            done.update(item.outputs)


def test_a_chain_is_one_loop() -> None:
    assert len(groups_of(lambda x: tn.sum(tn.tanh(tn.exp(x) * 2.0 + 1.0)), data(4, 5))) == 1


def test_loss_and_gradient_are_one_loop() -> None:
    def f(x: Any, y: Any) -> Any:
        x = x.detach().requires_grad_()
        loss = tn.mean((x - y) ** 2)
        return loss, tn.grad(loss, x)

    groups = groups_of(f, data(10, 1), data(10, 1))
    assert len(groups) == 1
    agrees(f, data(10, 1), data(10, 1))


def test_what_is_read_in_another_order_is_made_before() -> None:
    for read in (lambda y: y.T, lambda y: y[::-1], lambda y: tn.roll(y, 1, 0)):
        groups = groups_of(lambda x, read=read: tn.tanh(x) + read(tn.tanh(x)), data(4, 4))
        assert len(groups) > 1
        agrees(lambda x, read=read: tn.tanh(x) + read(tn.tanh(x)), data(4, 4))


def test_what_is_summed_is_known_after_the_loop() -> None:
    def f(x: Any) -> Any:
        y = tn.exp(x)
        return y / tn.sum(y)

    assert len(groups_of(f, data(5))) == 2
    agrees(f, data(5))


def test_loops_over_other_spaces_stay_apart() -> None:
    groups = groups_of(lambda x, y: (tn.tanh(x), tn.tanh(y)), data(4), data(5))
    assert len(groups) == 2
    assert [group.space for group in groups] == [((4,), "float64"), ((5,), "float64")]


def test_axes_of_length_one_do_not_keep_loops_apart() -> None:
    assert len(groups_of(lambda x: tn.tanh(tn.reshape(tn.exp(x), (4, 1))), data(4))) == 1


def test_two_consumers_of_one_large_operand_share_its_loop() -> None:
    assert len(groups_of(lambda x: (tn.tanh(x), tn.exp(x) * 2.0), data(50))) == 1


def test_products_stay_by_themselves() -> None:
    groups = groups_of(lambda x, w: tn.tanh(tn.tanh(x) @ w), data(4, 3), data(3, 2))
    assert [group.is_loop for group in groups] == [True, False, True]


@settings(max_examples=60)
@given(st.data())
def test_any_order_of_groups_can_run(drawn: Any) -> None:
    """Random work over a few spaces: groups come in an order in which they can run, and lose nothing."""
    shapes = [(4,), (2, 3), (1, 4), ()]
    made: list[View] = [View.whole(i, shape) for i, shape in enumerate(shapes)]
    work: list[Work] = []
    for register in range(10, 10 + drawn.draw(st.integers(1, 14))):
        x = drawn.draw(st.sampled_from(made[::-1]))
        if len(x.shape) == 2 and drawn.draw(st.booleans()):
            x = x.transposed((1, 0))
        others = [y for y in made if y.shape == x.shape]
        if x.shape and drawn.draw(st.integers(0, 3)) == 0:
            axes = tuple(range(len(x.shape))) if drawn.draw(st.booleans()) else (0,)
            work.append(Reduction(register, "sum", (x,), axes, 1.0, "float64", "Sum", ""))
            shape = tuple(n for i, n in enumerate(x.shape) if i not in axes)
        else:
            inputs = (x, drawn.draw(st.sampled_from(others))) if others else (x,)
            work.append(Map(register, x.shape, "float64", inputs, lambda *xs: sum(xs[1:], xs[0]), "Add", ""))
            shape = x.shape
        made.append(View.whole(register, shape))
    groups = fuse(work)
    check_order(groups)
    assert sorted(id(item) for group in groups for item in group.members) == sorted(map(id, work))


# ------------------------------------------------------------------------------------------- rows and their work


def test_transposes_are_absorbed_by_products() -> None:
    plan = planned(lambda x, w: (x.T @ w, x @ w.T), data(3, 3), data(3, 3))
    assert kinds(plan.rows) == ["Multiply", "Multiply"]
    assert [row.inputs[0].strides for row in plan.rows] == [(1, 3), (3, 1)]


def test_a_bias_is_part_of_its_product() -> None:
    plan = planned(lambda x, w, b: tn.linear(x, w, b), data(4, 3), data(2, 3), data(2))
    (row,) = plan.rows
    assert isinstance(row, Multiply)
    assert row.has_bias
    assert row.sizes == (4, 2, 3)


def slope_step(activation: Callable[..., Any]) -> Callable[..., Any]:
    w = tn.tensor(rng.standard_normal((3, 3)), requires_grad=True)

    def f(x: Any) -> Any:
        return tn.grad(tn.sum(tn.linear(activation(tn.linear(x, w)), w)), w)

    return f


def test_the_derivative_of_tanh_is_computed_again() -> None:
    plan = planned(slope_step(tn.tanh), data(5, 3))
    (row,) = [row for row in plan.rows if any(name == "Tanh" for name, _ in row.origins) and isinstance(row, Loop)]
    assert len(row.outputs) == 1
    agrees(slope_step(tn.tanh), data(5, 3))


def test_the_derivative_of_gelu_is_stored() -> None:
    plan = planned(slope_step(tn.gelu), data(5, 3))
    row = next(row for row in plan.rows if any("Gelu" in name or "GELU" in name for name, _ in row.origins))
    assert len(row.outputs) == 2
    agrees(slope_step(tn.gelu), data(5, 3))


def test_a_result_that_is_cheap_is_still_stored() -> None:
    def f(x: Any, w: Any) -> Any:
        h = tn.tanh(x @ w)
        return 1.0 - h * h, h @ w, (1.0 - h * h) * x

    plan = planned(f, data(4, 4), data(4, 4))
    for operand in plan.results.values():
        assert isinstance(operand, View)
        assert any(view.base == operand.base for row in plan.rows for view in row.outputs)
    agrees(f, data(4, 4), data(4, 4))


def test_the_sum_over_a_batch_joins_the_product_of_its_weight() -> None:
    w, b, v = (tn.tensor(rng.standard_normal(s), requires_grad=True) for s in ((3, 2), (3,), (4, 3)))

    def f(x: Any) -> Any:
        return tuple(tn.grad(tn.sum(tn.tanh(tn.linear(tn.tanh(tn.linear(x, w, b)), v))), [w, b]))

    plan = planned(f, data(6, 2))
    assert not any(isinstance(row, Loop) and "sum" in row.reductions for row in plan.rows)
    assert any(isinstance(row, Multiply) and len(row.outputs) == 2 for row in plan.rows)
    agrees(f, data(6, 2))


def adam_step(sizes: list[tuple[int, ...]]) -> tuple[Callable[..., Any], list[tn.Tensor]]:
    parameters = [tn.tensor(rng.standard_normal(size), requires_grad=True) for size in sizes]
    optimizer = tn.optim.Adam(parameters, lr=0.01)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = sum((tn.sum(tn.tanh(p * x)) for p in parameters), tn.tensor(0.0))
        loss.backward()
        optimizer.step()
        return loss

    step(tn.tensor(0.5))
    return step, parameters


def test_equal_updates_share_one_loop() -> None:
    step, parameters = adam_step([(5,), (3, 4), (1,), ()])
    plan = planned(step, tn.tensor(0.5))
    updates = [row for row in loops(plan) if row.outputs and plan.buffers[row.outputs[0].base].kind == "state"]
    assert len(updates) < len(parameters)
    for column in plan.neighbours:
        assert len({plan.buffers[number].dtype for number in column}) == 1
    layout = lay_out(plan)
    for column in plan.neighbours:
        inner = [number for number in column if number in layout.offsets]
        for a, b in pairwise(inner):
            assert layout.offsets[b] == layout.offsets[a] + line_bytes(plan, a)


# ---------------------------------------------------------------------------------------------- assignments


def state(*shape: int) -> tn.Tensor:
    return tn.Tensor(rng.standard_normal(shape))


def written_in_place(plan: Plan) -> bool:
    """Whether no row copies, and rows write over states."""
    outputs = [view.base for row in plan.rows for view in row.outputs]
    copied = any(name in ("assign", "keep") for row in plan.rows for name, _ in row.origins)
    return not copied and any(plan.buffers[number].kind == "state" for number in outputs)


def test_an_update_is_written_over_the_old_value() -> None:
    s = state(4)

    def f(x: Any) -> Any:
        s.assign_(0.9 * s + x)
        return s.sum()

    assert written_in_place(planned(f, data(4)))


@pytest.mark.parametrize("how", ["returned", "read later", "transposed", "to another", "summed"])
def test_an_old_value_that_is_needed_is_not_overwritten(how: str) -> None:
    start = rng.standard_normal((3, 3))
    s, t = tn.Tensor(start.copy()), tn.Tensor(start + 1.0)

    def f(x: Any) -> Any:
        old = s.clone()
        if how == "transposed":
            s.assign_(s.T + x)
            return s.sum()
        s.assign_(tn.tanh(s) + x)
        if how == "returned":
            return old
        if how == "read later":
            return (x @ x) * old
        if how == "summed":
            return tn.sum(old, axis=0)
        t.assign_(old)
        return t.sum()

    x = data(3, 3)
    machine = Interpreter(record(f, x))
    for _ in range(3):
        before = [np.array(s.array), np.array(t.array)]
        wanted = f(x)
        after = [np.array(s.array), np.array(t.array)]
        s.assign_(before[0])
        t.assign_(before[1])
        machine.relink()
        got = machine.run([x.array])
        np.testing.assert_allclose(got.array, wanted.array, 1e-12, 1e-12)
        np.testing.assert_allclose(s.array, after[0], 1e-12, 1e-12)
        np.testing.assert_allclose(t.array, after[1], 1e-12, 1e-12)


def run_twice(f: Callable[..., Any], states: list[tn.Tensor], x: Any) -> None:
    """Machine and function from the same states, twice over."""
    begin = [np.array(s.array) for s in states]

    def reset() -> None:
        for s, value in zip(states, begin, strict=True):
            s.assign_(value)

    f(x)
    f(x)
    f(x)
    wanted = [np.array(s.array) for s in states]
    reset()
    machine = Interpreter(record(f, x))
    machine.run([x.array])
    machine.run([x.array])
    for s, value in zip(states, wanted, strict=True):
        np.testing.assert_allclose(s.array, value, 1e-12, 1e-12)


def test_swap() -> None:
    a, b = state(3), state(3)

    def f(x: Any) -> Any:
        old = a.clone()
        a.assign_(b)
        b.assign_(old)
        return x

    run_twice(f, [a, b], data(3))


def test_rotation_with_arithmetic() -> None:
    a, b, c = state(3), state(3), state(3)

    def f(x: Any) -> Any:
        old = a.clone()
        a.assign_(b + x)
        b.assign_(c)
        c.assign_(old * 2.0)
        return a.sum()

    run_twice(f, [a, b, c], data(3))


def test_an_old_value_goes_elsewhere_while_a_new_one_is_computed() -> None:
    a, b = state(3), state(3)

    def f(x: Any) -> Any:
        a.assign_(b)
        b.assign_(tn.tanh(b))
        return x

    run_twice(f, [a, b], data(3))


def test_a_state_turned_around_is_not_itself() -> None:
    a, m = state(4), state(3, 3)

    def f(x: Any) -> Any:
        a.assign_(a[::-1])
        m.assign_(m.T)
        return x

    run_twice(f, [a, m], data(3))


def test_a_state_is_assigned_twice_or_to_itself() -> None:
    a = state(3)

    def f(x: Any) -> Any:
        a.assign_(a + x)
        a.assign_(a)
        first = a.clone()
        a.assign_(a * x)
        return first

    run_twice(f, [a], data(3))


def test_a_state_is_put_together_from_pieces() -> None:
    a = state(6)

    def f(x: Any) -> Any:
        a.assign_(tn.concatenate([tn.tanh(x), a[:3] * 0.5]))
        return a.sum()

    run_twice(f, [a], data(3))


def test_one_value_goes_to_several_states() -> None:
    a, b, m = state(3), state(3), state(3, 1)

    def f(x: Any) -> Any:
        new = tn.tanh(a + x)
        a.assign_(new)
        b.assign_(new)
        m.assign_(tn.reshape(new, (3, 1)))
        return new

    run_twice(f, [a, b, m], data(3))


def test_updates_that_share_a_loop_do_not_wait_too_long() -> None:
    """Equal updates b += a of two pairs, where the first a gets a new value between them."""
    a1, b1, a2, b2 = (state(4) for _ in range(4))

    def f(x: Any) -> Any:
        b1.assign_(b1 + a1)
        moved = tn.reshape(tn.expand_dims(tn.tanh(b1), 0) @ x, (4,))
        a1.assign_(a1 * moved)
        b2.assign_(b2 + a2 * 1.0)
        return moved

    run_twice(f, [a1, b1, a2, b2], data(4, 4))


# ---------------------------------------------------------------------------------------------------- layout


class Rows:
    """A plan as the layout sees it."""

    def __init__(self, rows: list[Row], buffers: dict[int, Buffer], neighbours: list[tuple[int, ...]]) -> None:
        self.program, self.rows, self.buffers, self.neighbours = Program(), rows, buffers, neighbours
        self.results: dict[int, Any] = {}


@settings(max_examples=200)
@given(st.data())
def test_buffers_that_live_together_do_not_overlap(drawn: Any) -> None:
    count = drawn.draw(st.integers(1, 12))
    sizes = [drawn.draw(st.sampled_from([1, 7, 8, 9, 40, 100])) for _ in range(count)]
    buffers = {i: Buffer(i, (n,), np.dtype(np.float64), "inner") for i, n in enumerate(sizes)}
    whole = {i: View.whole(i, (n,)) for i, n in enumerate(sizes)}
    rows: list[Row] = []
    for i in range(count):
        inputs = drawn.draw(st.lists(st.integers(0, i - 1), max_size=3, unique=True)) if i else []
        rows.append(Row([whole[k] for k in inputs], [whole[i]]))
    order = drawn.draw(st.permutations(range(count)))
    group = tuple(order[: drawn.draw(st.integers(2, 4))]) if count > 4 and drawn.draw(st.booleans()) else ()
    plan: Any = Rows(rows, buffers, [group] if group else [])
    kept = drawn.draw(st.sets(st.integers(0, count - 1), max_size=2))
    plan.results = {i: whole[i] for i in kept}
    layout = lay_out(plan)
    lives: dict[int, tuple[int, int]] = {}
    for number, row in enumerate(rows):
        for view in (*row.outputs, *row.inputs):
            first, _ = lives.get(view.base, (number, number))
            lives[view.base] = first, count if view.base in kept else number
    for i, (first, last) in lives.items():
        assert layout.offsets[i] % LINE == 0
        assert layout.offsets[i] + line_bytes(plan, i) <= layout.nbytes
        for k, (other_first, other_last) in lives.items():
            if k < i and first <= other_last and other_first <= last:
                a, b = layout.offsets[i], layout.offsets[k]
                assert a + line_bytes(plan, i) <= b or b + line_bytes(plan, k) <= a
    for a, b in pairwise(group):
        assert layout.offsets[b] == layout.offsets[a] + line_bytes(plan, a)
    assert layout.nbytes <= layout.without_reuse
    assert layout.without_reuse == sum(line_bytes(plan, i) for i in lives)


def test_a_chain_needs_two_buffers() -> None:
    def f(x: Any, w: Any) -> Any:
        for _ in range(20):
            x = x @ w
        return x

    layout = lay_out(planned(f, data(8, 8), data(8, 8)))
    assert layout.nbytes == 2 * 8 * 8 * 8
    assert layout.without_reuse == 20 * 8 * 8 * 8


# ----------------------------------------------------------------------------------------------------- table


def test_the_table_has_a_line_for_each_row() -> None:
    step, _ = adam_step([(5,), (3, 4)])
    plan = planned(step, tn.tensor(0.5))
    lines = str(plan).splitlines()
    assert len(lines) == len(plan.rows) + 2
    assert lines[0].split() == ["row", "work", "shape", "reads", "writes", "bytes", "flops", "operations", "made", "at"]
    for number, line in enumerate(lines[2:]):
        assert line.split()[0] == str(number)


def test_the_table_names_the_users_line() -> None:
    plan = planned(lambda x: tn.tanh(x) @ x, data(3, 3))
    assert "test_plan.py:" in str(plan)
    assert "product" in str(plan)
    assert "3x3 @ 3x3" in str(plan)


def test_rows_count_their_work() -> None:
    plan = planned(lambda x, w: tn.tanh(x @ w) + 1.0, data(4, 3), data(3, 2))
    product, loop = plan.rows
    assert product.flops == 2 * 4 * 3 * 2
    assert loop.flops == 2 * 8


def test_an_operation_that_no_loop_does_is_a_call() -> None:
    plan = planned(lambda x: tn.cumsum(tn.tanh(x), 0), data(4))
    assert kinds(plan.rows) == ["Loop", "Call"]
    assert isinstance(plan.rows[1], Call)
    assert contiguous_strides((4,)) == (1,)
