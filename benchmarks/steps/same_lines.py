"""tinynn and PyTorch: the same lines of Python in both, and in tinynn compiled as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import cases
from .cases import Absent, Case, Runner


def build(column: str, case: Case) -> Runner:
    """A step on one batch, or with ``tinynn-epoch`` an epoch; the first losses on one batch after the other."""
    nx = load(column)
    step = training_step(column, nx, case)
    step = compiled(column, nx, step)
    data = cases.epoch_data(case)
    several = [[nx.tensor(array) for array in batch.values()] for batch in cases.batches(case, data)]
    if column == "tinynn-epoch":
        return _epoch(nx, step, case, data, several)
    losses, moments = cases.first_losses(lambda batch: float(step(*batch).item()), several)
    first = several[0]
    note = "" if case.optimizer == "adam" or column != "torch-fused" else "fused SGD"
    return Runner(losses, lambda: step(*first), note=note, moments=moments)


def load(column: str) -> Any:
    """tinynn or PyTorch, with as many threads as the process was given."""
    if not column.startswith("torch"):
        import tinynn

        return tinynn
    import os

    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    return torch


def compiled(column: str, nx: Any, step: Callable[..., Any]) -> Any:
    """A step as it runs in a column: ``tinynn.compile(step)`` where it is compiled."""
    if column in ("tinynn-compiled", "tinynn-epoch"):
        return nx.compile(step)
    return nx.compile(step, recompute=True) if column == "tinynn-recompute" else step


def dtype_of(nx: Any, name: str) -> Any:
    """A dtype by its name."""
    return getattr(nx, name) if nx.__name__ == "torch" else name


def network(nn: Any, case: Case) -> Any:
    """The model, with the initial weights that its layers draw."""
    if not case.layers:
        return nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
        )  # fmt: skip
    parts: list[Any] = []
    for n, m in zip(case.layers, case.layers[1:]):
        parts += [nn.Linear(n, m), getattr(nn, case.activation)()]
    return nn.Sequential(*parts[:-1])


def training_step(column: str, nx: Any, case: Case) -> Callable[..., Any]:
    """A function of a batch that does one step and returns the loss."""
    nx.set_default_dtype(dtype_of(nx, case.dtype))
    model = network(nx.nn, case)
    model.load_state_dict({name: nx.tensor(value) for name, value in cases.initial_weights(case).items()})
    form: dict[str, Any] = {"torch-fused": {"fused": True}, "torch-foreach": {"foreach": True}}.get(column, {})
    if case.optimizer == "adam":
        optimizer = nx.optim.Adam(model.parameters(), lr=case.learning_rate, **form)
    else:
        optimizer = nx.optim.SGD(model.parameters(), lr=case.learning_rate, momentum=0.9, **form)
    loss_fn = nx.nn.CrossEntropyLoss() if case.loss == "cross-entropy" else nx.nn.MSELoss()
    grad = nx.autograd.grad if nx.__name__ == "torch" else nx.grad

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    def step_with_forces(x: Any, y: Any, f: Any) -> Any:
        optimizer.zero_grad()
        positions = x.detach().requires_grad_()
        energies = model(positions)
        (slopes,) = grad(energies.sum(), (positions,), create_graph=True)
        loss = loss_fn(energies, y) + loss_fn(-slopes, f)
        loss.backward()
        optimizer.step()
        return loss

    return step_with_forces if case.loss == "energies and forces" else step


def _epoch(nx: Any, step: Any, case: Case, data: cases.Arrays, several: list[list[Any]]) -> Runner:
    """Five calls batch by batch, which record and compile; then the epoch, whose first losses go on from there."""
    warm = 5
    if case.check <= warm or case.batches < case.check:
        raise Absent("one batch only")
    losses = [float(step(*batch).item()) for batch in several[:warm]]
    rest = [nx.tensor(a[warm * case.batch : case.check * case.batch]) for a in data.values()]
    found = step.epoch(*rest, batch_size=case.batch, shuffle=False)
    losses += [float(loss) for loss in found.numpy()]
    whole = [nx.tensor(array) for array in data.values()]
    return Runner(losses, lambda: step.epoch(*whole, batch_size=case.batch, shuffle=False), steps_per_call=case.batches)
