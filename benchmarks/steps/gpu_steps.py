"""Training steps on an NVIDIA GPU: tinynn eagerly and compiled, PyTorch eagerly and as a CUDA graph, JAX under jit.

float32 products are computed in float32 by all of them: TF32, which JAX uses unless told otherwise, is off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import cases, jax_steps, same_lines
from .cases import Case, Runner

_WARM = 3  # steps before PyTorch's graph is captured


def why_not(column: str) -> str | None:
    """What a framework lacks to run on a GPU here, in a few words; None if nothing."""
    try:
        if column.startswith("tinynn"):
            from tinynn.backends import cupy_backend

            cupy_backend.require()
        elif column.startswith("torch"):
            import torch

            if not torch.cuda.is_available():
                return "PyTorch finds no CUDA device"
        else:
            import jax

            jax.devices("gpu")
    except Exception as error:
        return str(error).splitlines()[0]
    return None


def build(column: str, case: Case) -> Runner:
    """One step per call."""
    if column.startswith("tinynn"):
        return _tinynn(column, case)
    if column == "jax":
        return _jax(case)
    return _torch_graph(case) if column == "torch-graph" else _torch(column, case)


def _tinynn(column: str, case: Case) -> Runner:
    import cupy

    import tinynn

    tinynn.use("cupy")
    step = same_lines.training_step("tinynn", tinynn, case)
    step = tinynn.compile(step, machine="cupy") if column == "tinynn-compiled" else step
    data = cases.epoch_data(case)
    several = [[tinynn.tensor(a).to("cupy") for a in batch.values()] for batch in cases.batches(case, data)]
    losses, moments = cases.first_losses(lambda batch: float(step(*batch).item()), several)
    note = ""
    if column == "tinynn-compiled":
        note = step.specialisations[0].machine.explain().replace("\n", ";")
    finish = cupy.cuda.Device().synchronize
    return Runner(losses, lambda: step(*several[0]), finish=finish, note=note, moments=moments)


def _torch(column: str, case: Case) -> Runner:
    torch = _load_torch()
    runner = same_lines.build(column, case)
    runner.finish = torch.cuda.synchronize
    return runner


def _load_torch() -> Any:
    import torch

    torch.set_default_device("cuda")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return torch


def _torch_graph(case: Case) -> Runner:
    """The whole step, optimizer included, captured once and replayed."""
    torch = _load_torch()
    step, optimizer = _torch_step(torch, case)
    data = cases.epoch_data(case)
    several = [[torch.tensor(a) for a in batch.values()] for batch in cases.batches(case, data)]
    static = [t.clone() for t in several[0]]

    def feed(batch: list[Any]) -> None:
        for target, source in zip(static, batch):
            target.copy_(source)

    losses = []
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for batch in several[:_WARM]:
            feed(batch)
            losses.append(float(step(*static).item()))
    torch.cuda.current_stream().wait_stream(side)
    optimizer.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step(*static)

    def once(batch: list[Any] = several[0]) -> Any:
        feed(batch)
        graph.replay()
        return loss

    losses += [float(once(batch).item()) for batch in several[_WARM:]]
    return Runner(losses, once, finish=torch.cuda.synchronize, note="captured with torch.cuda.graph")


def _torch_step(torch: Any, case: Case) -> tuple[Callable[..., Any], Any]:
    torch.set_default_dtype(getattr(torch, case.dtype))
    model = same_lines.network(torch.nn, case)
    model.load_state_dict({name: torch.tensor(value) for name, value in cases.initial_weights(case).items()})
    if case.optimizer == "adam":
        optimizer = torch.optim.Adam(model.parameters(), lr=case.learning_rate, capturable=True)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=case.learning_rate, momentum=0.9)
    loss_fn = torch.nn.CrossEntropyLoss() if case.loss == "cross-entropy" else torch.nn.MSELoss()

    def step(x: Any, y: Any, *f: Any) -> Any:
        optimizer.zero_grad()
        if f:
            positions = x.detach().requires_grad_()
            energies = model(positions)
            (slopes,) = torch.autograd.grad(energies.sum(), (positions,), create_graph=True)
            loss = loss_fn(energies, y) + loss_fn(-slopes, *f)
        else:
            loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step, optimizer


def _jax(case: Case) -> Runner:
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")
    return jax_steps.build("jax", case)
