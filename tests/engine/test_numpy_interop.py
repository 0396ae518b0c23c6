"""Tensors among NumPy's arrays and Python's protocols."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import tinynn as tn


def leaf(*numbers: float) -> tn.Tensor:
    return tn.tensor(list(numbers), requires_grad=True)


def test_arrays_times_tensors_are_tensors() -> None:
    x, a = leaf(1.0, 2.0), np.array([3.0, 4.0])
    for y in (a * x, x * a, np.float64(2) * x, a[0] * x, np.multiply(a, x), np.exp(x), a @ x, a < x):
        assert isinstance(y, tn.Tensor)
    assert tn.grad((a * x).sum(), x).tolist() == [3.0, 4.0]


def test_arrays_of_tensors_are_refused_with_the_way_out() -> None:
    x = leaf(1.0, 2.0)
    for make in (
        lambda: np.array([x, x]),
        lambda: np.array(x),
        lambda: np.asarray([x.sum(), x.sum()]),
        lambda: np.sort(x),
    ):
        with pytest.raises(TypeError, match=r"tinynn\.stack.*detach\(\)\.numpy\(\)"):
            make()
    with pytest.raises(TypeError, match=r"tinynn\.stack or tinynn\.concatenate"):
        tn.tensor([x, x])


def test_constants_become_arrays_freely() -> None:
    t = tn.tensor([1.0, 2.0])
    assert np.asarray(t).tolist() == [1.0, 2.0]
    assert np.array([t, t]).shape == (2, 2)
    assert np.asarray(t, dtype="float32").dtype == np.float32
    with tn.no_grad():
        assert np.asarray(leaf(1.0, 2.0)).tolist() == [1.0, 2.0]
    assert np.sum(t.numpy()) == 3.0


def test_numpy_gives_a_view_that_cannot_be_written_to() -> None:
    x = leaf(1.0, 2.0)
    view = x.numpy()
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 3.0
    assert np.shares_memory(view, x.array)
    copied = x.numpy().copy()
    copied[0] = 3.0
    assert x.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("function", [float, int, complex])
def test_python_numbers(function: Any) -> None:
    assert function(tn.tensor(2.0)) == 2
    assert function(tn.tensor([[2.0]])) == 2
    with pytest.raises(TypeError, match=rf"{function.__name__}\(\) needs one element.*shape \(2,\); reduce"):
        function(leaf(1.0, 2.0))


def test_item_and_truth() -> None:
    assert tn.tensor([[3.0]]).item() == 3.0
    with pytest.raises(ValueError, match=r"item\(\) needs one element.*\(2,\)"):
        leaf(1.0, 2.0).item()
    assert bool(tn.tensor(1.0) > 0)
    with pytest.raises(ValueError, match=r"truth of a tensor of shape \(2,\).*tinynn\.where"):
        bool(leaf(1.0, 2.0) > 0)


def test_assigning_to_items() -> None:
    with pytest.raises(TypeError, match=r"not edited in place.*where.*concatenate.*scatter_add.*assign_"):
        leaf(1.0, 2.0)[0] = 1.0


def test_python_protocols() -> None:
    x = leaf(1.0, 2.0)
    assert len(x) == 2
    assert [y.item() for y in x] == [1.0, 2.0]
    first, second = x
    assert tn.grad(first * second, x).tolist() == [2.0, 1.0]
    assert [10, 20, 30][tn.tensor(1)] == 20
    with pytest.raises(TypeError, match="can be an index"):
        [10, 20][tn.tensor(1.0)]
    assert 2.0 in x
    assert 3.0 not in x
    assert f"{tn.tensor(3.14159):.2f}" == "3.14"
    assert len({x, x, leaf(1.0)}) == 2
    for bad in (len, iter):
        with pytest.raises(TypeError, match="0-dimensional"):
            bad(tn.tensor(1.0))


def test_repr_helps() -> None:
    assert repr(tn.tensor([1.0, 2.0])) == "tensor([1., 2.])"
    assert repr(leaf(1.0)) == "tensor([1.], requires_grad=True)"
    assert repr(leaf(1.0) * 2) == "tensor([2.], op=Mul)"
    assert repr(tn.ones(1, dtype="float32")) == "tensor([1.], dtype=float32)"
    assert repr(tn.tensor([1, 2])) == "tensor([1, 2])"
    assert repr(tn.tensor([True])) == "tensor([ True])"


def test_zero_d_tensors_hold_scalars_and_behave() -> None:
    t = tn.tensor(2.0, requires_grad=True)
    assert t.shape == ()
    assert isinstance(t.array, np.float64)
    y = (t * t).reshape(1)[0].exp().sum()
    y.backward()
    assert t.grad.item() == pytest.approx(4 * np.exp(4))
    assert t.numpy().shape == ()
    t.assign_(3.0)
    assert t.item() == 3.0


def test_bad_data() -> None:
    with pytest.raises(TypeError, match="must be real numbers"):
        tn.tensor([1j])
    with pytest.raises(TypeError, match="must be real numbers"):
        tn.tensor(["a"])
    with pytest.raises(ValueError, match="inhomogeneous"):
        tn.tensor([[1.0], [1.0, 2.0]])
    with pytest.raises(TypeError, match="neither a dtype"):
        tn.ones(1).to("nowhere")


def test_comparisons_give_bools_that_count() -> None:
    x = leaf(1.0, 2.0, 3.0)
    mask = (x > 1) & ~(x == 3) | (x != x)
    assert mask.tolist() == [False, True, False]
    assert mask.any()
    assert not mask.all()
    assert (x >= 2).sum().item() == 2


# ---------------------------------------------------------------------------------------- Python's own numbers


def test_functions_of_lists_compute_with_their_elements() -> None:
    assert tn.add([1, 2], [3, 4]).tolist() == [4, 6]  # not [1, 2, 3, 4]
    assert tn.multiply([1, 2], 2).tolist() == [2, 4]
    assert tn.less([3, 4], [4, 1]).tolist() == [True, False]
    assert tn.mean([1.0, 2.0]) == 1.5
    assert tn.sum(3.0) == 3.0
    assert tn.transpose([[1, 2]]).tolist() == [[1], [2]]
    assert tn.softmax([0.0, 0.0]).tolist() == [0.5, 0.5]


def test_fractions_are_numbers_and_complex_ones_are_refused() -> None:
    x = tn.tensor([1.0, 2.0], dtype="float32")
    assert (x * Fraction(1, 2)).dtype == np.float32
    for number in (1j, np.complex128(1j)):
        with pytest.raises(TypeError, match="is complex"):
            x * number


def test_data_that_are_no_real_numbers() -> None:
    for data in (None, "abc", [2**70], [1j]):
        with pytest.raises(TypeError, match="must be real numbers"):
            tn.tensor(data)
    for dtype in (str, complex):
        with pytest.raises(TypeError, match="must be real numbers"):
            tn.tensor([1.0], dtype=dtype)
        with pytest.raises(TypeError, match="neither a dtype"):
            tn.tensor([1.0]).to(dtype)
    with pytest.raises(TypeError, match="neither a dtype"):
        tn.tensor([1.0]).to(None)
    with pytest.raises(ValueError, match="nested lists must be of equal lengths"):
        tn.tensor([[1, 2], [3]])
    with pytest.raises(TypeError, match="made of integers"):
        tn.zeros(2.7, 3)


def test_errors_keep_their_kind() -> None:
    with pytest.raises(TypeError, match=r"Add\(\)"):
        tn.tensor([1.0]) + "abc"


def test_bits_of_integers_are_not_logic() -> None:
    a, b = tn.tensor([6]), tn.tensor([True])
    for wrong in (lambda: a & 3, lambda: a | b, lambda: ~a):
        with pytest.raises(TypeError, match="for tensors of bools"):
            wrong()
    assert (~b | (b & True)).tolist() == [True]


def test_adding_a_tensor_into_an_array_names_the_way_out() -> None:
    a = np.ones(2)
    with pytest.raises(TypeError, match="Write a = a"):
        a += tn.tensor([1.0, 2.0])


@pytest.mark.parametrize("name", ["sum", "mean", "max", "prod", "cumsum", "std", "transpose", "ravel"])
def test_numpy_functions_of_arrays_stay_in_the_graph(name):
    x = tn.tensor([[1.0, 2.0], [3.0, 5.0]], requires_grad=True)
    result = getattr(np, name)(x)
    assert isinstance(result, tn.Tensor)
    assert result.requires_grad
    np.testing.assert_array_equal(result.detach().numpy(), getattr(np, name)(x.detach().numpy()))


def test_numpy_functions_of_several_tensors():
    x = tn.tensor([1.0, 2.0], requires_grad=True)
    assert np.concatenate([x, x]).shape == (4,)
    assert np.where(x > 1, x, 0.0).requires_grad
    assert np.shape(x) == (2,)


def test_other_numpy_functions_work_on_values_only():
    x = tn.tensor([3.0, 1.0])
    np.testing.assert_array_equal(np.sort(x), [1.0, 3.0])
    with pytest.raises(TypeError, match="detach"):
        np.sort(x.requires_grad_())


def test_an_unreachable_input_leaves_the_graph_whole():
    x, other = tn.tensor(2.0, requires_grad=True), tn.tensor(1.0, requires_grad=True)
    y = x * x
    with pytest.raises(tn.GraphError, match="input 1"):
        tn.grad(y, [x, other])
    y.backward()
    assert x.grad.item() == 4.0


def test_products_that_do_not_fit_name_both_shapes():
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(2, 3\).*last length of a, 3"):
        tn.ones(2, 3) @ tn.ones(2, 3)


def test_names_of_other_libraries_are_explained():
    with pytest.raises(AttributeError, match=r"no attribute 'unsqueeze'; use tinynn\.expand_dims"):
        tn.ones(2).unsqueeze(0)
    assert not hasattr(tn.ones(2), "view")
