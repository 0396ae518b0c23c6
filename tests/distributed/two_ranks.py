"""Run on each of two ranks by test_two_ranks.py: what a rank finds against a single process with the joined batches."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import distributed, nn, optim
from tinynn.data import DataLoader, TensorDataset
from tinynn.distributed import DistributedOptimizer, DistributedSampler

RANK, SIZE = 0, 1  # found out below, so that importing this file starts nothing
X = np.random.default_rng(0).standard_normal((96, 3))
Y = np.sin(X.sum(axis=1, keepdims=True))
OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "adamw": lambda p: optim.AdamW([{"params": p[:2]}, {"params": p[2:], "lr": 0.02}], lr=0.01),
}


def make_model(seed: int, dtype: str = "float64") -> Any:
    tinynn.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 1)).to(dtype)


def numbers(model: Any) -> np.ndarray:
    return np.concatenate([p.detach().numpy() for p in model.parameters()], axis=None)


def train(kind: str, alone: bool, compiled: bool, dtype: str = "float64", epochs: int = 3) -> tuple[Any, Any]:
    """Losses and parameters after some epochs: alone with batches of 16, or with 8 on each of two ranks."""
    model = make_model(3 if alone or RANK == 0 else 100 + RANK, dtype)
    if not alone:
        distributed.broadcast_parameters(model)
    optimizer = OPTIMIZERS[kind](list(model.parameters()))
    data = TensorDataset(X.astype(dtype), Y.astype(dtype))
    if alone:
        loader = DataLoader(data, batch_size=8 * SIZE, shuffle=True, seed=5)
    else:
        optimizer = DistributedOptimizer(optimizer)
        loader = DataLoader(data, batch_size=8, sampler=DistributedSampler(data, seed=5))
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    step = tinynn.compile(step) if compiled else step
    losses = []
    for _ in range(epochs):
        for x, y in loader:
            loss = step(x, y)
            losses.append(loss.item() if alone else distributed.all_reduce(loss.detach(), "mean").item())
        schedule.step()
    if compiled and not alone:
        (one,) = step.specialisations
        assert one.stage == 2
        assert one.broken is None
    if not alone:
        distributed.check_same_parameters(model)
    return np.array(losses), numbers(model)


def check_two_ranks_equal_one_with_the_joined_batch() -> None:
    for kind in OPTIMIZERS:
        losses, weights = train(kind, alone=True, compiled=False)
        for compiled in (False, True):
            ours = train(kind, alone=False, compiled=compiled)
            np.testing.assert_allclose(ours[0], losses, rtol=0, atol=1e-12)
            np.testing.assert_allclose(ours[1], weights, rtol=0, atol=1e-12)
        assert losses[-1] < losses[0]


def check_single_precision() -> None:
    losses, _ = train("adam", alone=True, compiled=False, dtype="float32")
    for compiled in (False, True):
        ours, weights = train("adam", alone=False, compiled=compiled, dtype="float32")
        assert weights.dtype == np.float32
        np.testing.assert_allclose(ours, losses, rtol=1e-4)


def check_unequal_batches_with_weights() -> None:
    """10 samples on rank 0, 6 on rank 1: weighted, the gradient is that of the 16."""
    model = make_model(1)
    nn.functional.mse_loss(model(X[:16]), tinynn.tensor(Y[:16])).backward()
    wanted = [p.grad.numpy().copy() for p in model.parameters()]
    mine = slice(0, 10) if RANK == 0 else slice(10, 16)
    for owner in (model, optim.SGD(model.parameters(), lr=0.1), list(model.parameters())):
        for p in model.parameters():
            p.grad = None
        nn.functional.mse_loss(model(X[mine]), tinynn.tensor(Y[mine])).backward()
        distributed.all_reduce_gradients(owner, samples=mine.stop - mine.start)
        for p, gradient in zip(model.parameters(), wanted):
            np.testing.assert_allclose(p.grad.numpy(), gradient, rtol=0, atol=1e-14)


def check_clipping_between_the_mean_and_the_step() -> None:
    def after(alone: bool) -> np.ndarray:
        model = make_model(2)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        for k in range(3):
            rows = np.arange(16 * k, 16 * (k + 1))
            rows = rows if alone else rows[RANK::SIZE]
            optimizer.zero_grad()
            nn.functional.mse_loss(model(X[rows]), tinynn.tensor(10 * Y[rows])).backward()
            if not alone:
                distributed.all_reduce_gradients(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
        return numbers(model)

    np.testing.assert_allclose(after(alone=False), after(alone=True), rtol=0, atol=1e-12)


def check_lbfgs_decides_alike_on_all_ranks() -> None:
    def after(alone: bool) -> np.ndarray:
        model = make_model(2)
        optimizer = optim.LBFGS(model.parameters(), max_iter=20, line_search_fn="strong_wolfe")
        optimizer = optimizer if alone else DistributedOptimizer(optimizer)
        rows = slice(None) if alone else slice(RANK, None, SIZE)

        def closure() -> Any:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(X[rows]), tinynn.tensor(Y[rows]))
            loss.backward()
            return loss

        optimizer.step(closure)
        return numbers(model)

    np.testing.assert_allclose(after(alone=False), after(alone=True), rtol=0, atol=1e-9)


def check_parameters_without_gradient_stay_without() -> None:
    model = make_model(4)
    model[0].requires_grad_(False)
    optimizer = DistributedOptimizer(optim.AdamW(model.parameters(), lr=0.1))
    used = model[2](tinynn.ones(4, 8)).sum()
    used.backward()  # the last layer takes no part
    before = [p.detach().numpy().copy() for p in (*model[0].parameters(), *model[4].parameters())]
    optimizer.step()
    after = [p.detach().numpy() for p in (*model[0].parameters(), *model[4].parameters())]
    for old, new in zip(before, after):
        np.testing.assert_array_equal(old, new)  # not even weight decay
    assert model[4].weight.grad is None


def check_several_dtypes() -> None:
    model = nn.Sequential(nn.Linear(3, 4).to("float32"), nn.Linear(2, 2))
    distributed.broadcast_parameters(model)
    for p in model.parameters():
        p.grad = tinynn.tensor(np.full(p.shape, RANK + 1.0, p.dtype))
    distributed.all_reduce_gradients(model)
    for p in model.parameters():
        assert p.grad.dtype == p.dtype
        np.testing.assert_array_equal(p.grad.numpy(), 1.5)


def check_values() -> None:
    array = np.arange(6.0).reshape(2, 3) * (RANK + 1)
    total = distributed.all_reduce(tinynn.tensor(array, requires_grad=True))
    assert not total.requires_grad
    np.testing.assert_array_equal(total.numpy(), 3 * np.arange(6.0).reshape(2, 3))
    for op, wanted in (("sum", 3), ("mean", 1.5), ("max", 2), ("min", 1)):
        found = distributed.all_reduce(RANK + 1, op)
        assert found == wanted
        assert type(found) is (float if op == "mean" else int)
        np.testing.assert_array_equal(distributed.all_reduce(np.full((2, 1), RANK + 1), op), np.full((2, 1), wanted))
    assert distributed.all_reduce(np.array([True, RANK == 0]), "min").tolist() == [True, False]
    assert distributed.all_reduce(tinynn.tensor(2.0)).item() == 4.0
    for src in (0, 1):
        np.testing.assert_array_equal(distributed.broadcast(array, src), np.arange(6.0).reshape(2, 3) * (src + 1))
        assert distributed.broadcast(tinynn.tensor(float(RANK)), src).item() == src
        assert distributed.broadcast(np.array([RANK == 1]), src).tolist() == [src == 1]
    everybody = distributed.all_gather_object({"rank": RANK, "text": "x" * (1 + 1000 * RANK)})
    assert [one["rank"] for one in everybody] == [0, 1]
    assert [len(one["text"]) for one in everybody] == [1, 1001]
    distributed.barrier()


def check_batch_norm_buffers_are_averaged() -> None:
    layer = nn.BatchNorm1d(3)
    layer(tinynn.tensor(X[RANK::SIZE] + 5.0 * RANK))
    mine = layer.running_mean.numpy().copy()
    both = distributed.all_gather_object(mine)
    assert np.abs(both[0] - both[1]).max() > 0.1
    distributed.average_buffers(layer)
    np.testing.assert_allclose(layer.running_mean.numpy(), np.mean(both, axis=0), atol=1e-15)


def check_models_that_differ_are_named() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4 + RANK))
    before = numbers(model)
    with pytest.raises(ValueError, match=r"rank 1 has another Sequential than rank 0: 1.weight of shape \(5, 4\)"):
        distributed.broadcast_parameters(model)
    np.testing.assert_array_equal(numbers(model), before)


def check_ranks_that_drifted_apart_are_found() -> None:
    model = make_model(0)
    distributed.check_same_parameters(model)
    model[2].bias.assign_(model[2].bias.detach() + 1e-16 * RANK + RANK)
    with pytest.raises(RuntimeError, match=r"2.bias of rank 0 differs from 2.bias of rank 1"):
        distributed.check_same_parameters(model)


def check_the_trial_of_a_compiled_step_is_the_affair_of_one_rank() -> None:
    """One rank compiles again (another shape) while the other runs: both make the same steps, and exchange as often."""

    def after(alone: bool) -> np.ndarray:
        model = make_model(6)
        optimizer = optim.Adam(model.parameters(), lr=0.01)
        optimizer = optimizer if alone else DistributedOptimizer(optimizer)

        @tinynn.compile
        def step(x: Any, y: Any, weights: Any) -> Any:
            optimizer.zero_grad()
            loss = (weights * (model(x) - y) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss

        for k in range(12):
            rows = np.arange(8 * k, 8 * (k + 1))
            if not alone:
                # rank 0 has 4 rows; rank 1 has 4, and now and then also one of weight 0
                rows = rows[RANK::SIZE]
            weights = np.full((len(rows), 1), 1 / 8 if alone else 1 / 4)
            if not alone and RANK == 1 and k % 3 == 2:
                rows, weights = np.append(rows, 0), np.vstack([weights, [[0.0]]])
            step(tinynn.tensor(X[rows]), tinynn.tensor(Y[rows]), tinynn.tensor(weights))
        if not alone:
            assert len(step.specialisations) == 1 + RANK
        return numbers(model)

    np.testing.assert_allclose(after(alone=False), after(alone=True), rtol=0, atol=1e-12)


if __name__ == "__main__":
    RANK, SIZE = distributed.get_rank(), distributed.get_world_size()
    for name, check in list(globals().items()):
        if name.startswith("check_"):
            check()
            distributed.barrier()
            if RANK == 0:
                print("passed", name, flush=True)
    sys.exit(0)
