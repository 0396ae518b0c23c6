"""Steps compiled for the GPU. Where there is none: on memory of NumPy, with the printed kernels compiled by g++."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinynn as tn
from tests.backends.test_gpu_arrays import gpu  # noqa: F401
from tests.compiler import emulated, nvrtc
from tests.compiler.numpy_device import NumpyDevice
from tinynn import nn, optim
from tinynn.compiler import cuda_machine
from tinynn.compiler.cuda_machine import CudaMachine
from tinynn.compiler.record import record

pytestmark = pytest.mark.skipif(emulated.COMPILER is None, reason="g++ is not there to run CUDA code on the CPU")


@pytest.fixture
def device(request: pytest.FixtureRequest, gpu: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:  # noqa: F811
    """A class of devices; NumPy's, unless this machine has a GPU and it is asked for."""
    if request.node.callspec.params["gpu"] == "stand-in":
        monkeypatch.setattr(cuda_machine, "CupyDevice", NumpyDevice)
    return cuda_machine.CupyDevice


# what only the stand-in shows: a log of what it is asked to do, and a device that refuses
on_the_stand_in = pytest.mark.parametrize("gpu", ["stand-in"], indirect=True)


def regression(size: int = 6) -> Any:
    return nn.Sequential(nn.Linear(size, 16), nn.SELU(), nn.Linear(16, 9), nn.GELU(), nn.Linear(9, 1))


def classifier() -> Any:
    return nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 5))


def with_batch_norm() -> Any:
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 5))


def convolutional() -> Any:
    layers = [nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 5)]
    return nn.Sequential(*layers)


def test_new_tensors_on_the_gpu(device: Any) -> None:
    """As with ``tinynn.use("cupy")``: all is made there, dropout masks and targets included."""
    with tn.use("cupy"):
        step, _, _, batches = training(classifier, lambda p: optim.SGD(p, lr=0.1), (8, 6), 5, "cupy", "float32")
        compiled = tn.compile(step, machine="cupy")
        assert all(np.isfinite(compiled(*batch).item()) for batch in batches)
        noise = tn.compile(lambda x: x + tn.randn(6), machine="cupy")
        assert len({noise(batches[0][0]).sum().item() for _ in range(4)}) == 4


def training(make: Any, optimizer: Any, shape: tuple[int, ...], classes: int, where: str, dtype: str) -> Any:
    """A step with its data, on a device; the same numbers for each."""
    tn.manual_seed(3)
    model = make().to(dtype).to(where)
    opt = optimizer(model.parameters())
    rng = np.random.default_rng(0)
    batches = []
    for _ in range(6):
        x = tn.tensor(rng.normal(size=shape).astype(dtype)).to(where)
        y = rng.integers(0, classes, shape[0]) if classes else rng.normal(size=(shape[0], 1)).astype(dtype)
        batches.append((x, tn.tensor(y).to(where)))
    loss_of = nn.functional.cross_entropy if classes else nn.functional.mse_loss

    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        opt.step()
        return loss

    return step, model, opt, batches


CASES = {
    "regression": (regression, lambda p: optim.Adam(p, lr=0.01), (10, 6), 0),
    "weight decay": (regression, lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.1), (10, 6), 0),
    "classes": (classifier, lambda p: optim.Adam(p, lr=0.01), (8, 6), 5),
    "batch norm": (with_batch_norm, lambda p: optim.SGD(p, lr=0.1, momentum=0.9), (8, 6), 5),
    "convolution": (convolutional, lambda p: optim.SGD(p, lr=0.1), (4, 1, 6, 6), 5),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_a_compiled_step_is_the_eager_one(name: str, dtype: str, device: Any) -> None:
    make, optimizer, shape, classes = CASES[name]
    found = {}
    for where in ("cpu", "cupy"):
        step, model, _, batches = training(make, optimizer, shape, classes, where, dtype)
        if where == "cupy":
            step = tn.compile(step, machine="cupy")
        losses = [step(*batch).item() for batch in batches]
        found[where] = losses, {k: v.to("cpu").numpy() for k, v in model.state_dict().items()}
        if where == "cupy":
            assert all(p.device.startswith("cuda") for p in model.parameters())
            machine = step.specialisations[0].machine
            assert type(machine) is CudaMachine
            text = machine.explain()
            assert machine.no_graph is None
            assert ("by CuPy" in text) == (name == "convolution"), text
    tight = 1e-9 if dtype == "float64" else 2e-4
    np.testing.assert_allclose(found["cupy"][0], found["cpu"][0], rtol=tight)
    for key, value in found["cpu"][1].items():
        np.testing.assert_allclose(found["cupy"][1][key], value, rtol=tight, atol=tight, err_msg=key)


def deep() -> Any:
    return nn.Sequential(*[p for _ in range(9) for p in (nn.Linear(6, 6), nn.Tanh())], nn.Linear(6, 5))


def test_activations_are_computed_again(device: Any) -> None:
    outcomes, arenas = [], []
    for recompute in (False, True):
        step, model, _, batches = training(deep, lambda p: optim.SGD(p, lr=0.1), (64, 6), 5, "cupy", "float64")
        compiled = tn.compile(step, machine="cupy", recompute=recompute)
        outcomes.append([compiled(*batch).item() for batch in batches] + [p.tolist() for p in model.parameters()])
        arenas.append(compiled.memory.arena)
    assert outcomes[0] == outcomes[1]
    assert arenas[1] < 0.8 * arenas[0]


def recorded(name: str = "classes") -> Any:
    """A machine for one of the steps above, after the two steps that set it up."""
    step, model, opt, batches = training(*CASES[name], "cupy", "float64")
    step(*batches[0])
    program = record(step, *batches[1])
    return CudaMachine(program), step, model, opt, batches


def run(machine: Any, batch: Any) -> Any:
    return machine.run([t.array for t in batch])


@on_the_stand_in
def test_the_first_run_walks_and_the_others_replay(device: Any) -> None:
    machine, _, _, _, batches = recorded()
    log = machine.device.log
    per_run = []
    for batch in batches[:3]:
        log.clear()
        run(machine, batch)
        per_run.append([entry for entry in log if entry != "wait"])
    first, second, third = per_run
    launches = [entry for entry in first if entry.startswith(("launch", "multiply"))]
    assert len(launches) > 5
    assert "graph" not in first
    assert second == third == ["store", "store", "send", "graph", "copy"]
    assert first == ["store", "store", "send", *launches, "copy"]
    assert "of them CUDA graphs" in machine.explain()


@on_the_stand_in
def test_without_a_graph_where_capturing_fails(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NumpyDevice, "capturable", False)
    _, step, _, _, batches = recorded()
    eager = [step(*batch).item() for batch in batches[2:5]]
    machine, _, _, _, batches = recorded()
    assert [run(machine, batch).item() for batch in batches[2:5]] == pytest.approx(eager, rel=1e-9)
    assert "not permitted when stream is capturing" in machine.no_graph
    assert "without a CUDA graph" in machine.explain()


def test_replays_draw_new_numbers(device: Any) -> None:
    generator = tn.Generator(5)

    def draw(x: Any) -> Any:
        noise = tn.randn(7, generator=generator).to("cupy") + tn.rand(7, generator=generator).to("cupy")
        return noise + x, tn.randn(3, generator=generator)

    x = tn.tensor(np.zeros(7)).to("cupy")
    program = record(draw, x)
    generator.manual_seed(5)
    wanted = [[t.to("cpu").numpy() for t in draw(x)] for _ in range(5)]
    generator.manual_seed(5)
    machine = CudaMachine(program)
    for pair in wanted:
        found = run(machine, [x])
        assert found[0].device.startswith("cuda")
        assert found[1].device == "cpu"
        for a, b in zip(found, pair, strict=True):
            np.testing.assert_allclose(a.to("cpu").numpy(), b, rtol=1e-12)


def test_learning_rate_and_step_numbers(device: Any) -> None:
    losses = []
    for compiled in (False, True):
        machine, step, _, opt, batches = recorded(name="regression")
        found = []
        for i in range(300):  # longer than scalars are computed ahead
            if i == 10:
                opt.param_groups[0]["lr"] = 0.05
                machine.refresh()
            batch = batches[i % 6]
            found.append((run(machine, batch) if compiled else step(*batch)).item())
        losses.append(found)
        assert {state["step"] for state in opt.state.values()} == {302}
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)


def test_replaced_arrays_are_found_and_results_are_copies(device: Any) -> None:
    machine, _, model, _, batches = recorded(name="regression")
    kept = run(machine, batches[0])
    before = kept.item()
    run(machine, batches[1])
    run(machine, batches[2])
    assert kept.item() == before
    other = regression().to("float64")
    wanted = nn.functional.mse_loss(other(batches[3][0].to("cpu")), batches[3][1].to("cpu")).item()
    for p, q in zip(model.parameters(), other.to("cupy").parameters(), strict=True):
        p.array = q.array
    machine.relink()
    assert run(machine, batches[3]).item() == pytest.approx(wanted, rel=1e-9)


def test_large_losses_and_norms_are_part_of_the_graph(device: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 200), nn.LayerNorm(200), nn.Linear(200, 200)).to("float64").to("cupy")
    rng = np.random.default_rng(0)
    x = tn.tensor(rng.normal(size=(400, 3))).to("cupy")  # 80,000 elements: on the CPU these keep kernels of their own
    y = tn.tensor(rng.integers(0, 200, 400)).to("cupy")

    def gradients(x: Any, y: Any) -> Any:
        loss = nn.functional.cross_entropy(model(x), y)
        return loss, *tn.grad(loss, list(model.parameters()))

    machine = CudaMachine(record(gradients, x, y))
    assert "by CuPy" not in machine.explain()
    for found, wanted in zip(run(machine, (x, y)), gradients(x, y), strict=True):
        np.testing.assert_allclose(found.to("cpu").numpy(), wanted.detach().to("cpu").numpy(), rtol=1e-9, atol=1e-13)


def test_forces_in_the_loss(device: Any) -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1)).to("float64").to("cupy")
    opt = optim.Adam(model.parameters(), lr=0.01)
    rng = np.random.default_rng(0)
    x, f = (tn.tensor(rng.normal(size=(5, 6))).to("cupy") for _ in range(2))

    def step(x: Any, f: Any) -> Any:
        opt.zero_grad()
        positions = x.detach().requires_grad_()
        energies = model(positions)
        (slopes,) = tn.grad(energies.sum(), (positions,), create_graph=True)
        loss = nn.functional.mse_loss(-slopes, f) + (energies * energies).mean()
        loss.backward()
        opt.step()
        return loss

    compiled = tn.compile(step, machine="cupy")  # which compares with the eager step, gradients and moments too
    losses = [compiled(x, f).item() for _ in range(5)]
    assert losses == sorted(losses, reverse=True)


def test_parameters_of_the_cpu_are_refused(device: Any) -> None:
    step, _, _, batches = training(*CASES["regression"][:3], 0, "cpu", "float64")
    step(*batches[0])
    with pytest.raises(TypeError, match=r"model\.to\('cupy'\)"):
        CudaMachine(record(step, *batches[1]))


def test_products_of_any_layout(device: Any) -> None:
    rng = np.random.default_rng(0)
    a, b = (tn.tensor(rng.normal(size=(12, 12))).to("cupy") for _ in range(2))
    row = tn.tensor(rng.normal(size=(1, 12))).to("cupy")

    def products(a: Any, b: Any) -> Any:
        return (
            a @ b, a.T @ b, a @ b.T, a.T @ b.T, a[::2] @ b[:, ::3], a[:, ::2] @ b[::2], a[:, ::3].T @ b, a[1:2] @ b,
            a @ b[:, 1:2], a[1:2, 1:2] @ b[1:2], tn.broadcast_to(row, (5, 12)) @ b, (a @ b).T, row @ b + row,
        )  # fmt: skip

    machine = CudaMachine(record(products, a, b))
    for _ in range(3):
        for found, wanted in zip(run(machine, (a, b)), products(a, b), strict=True):
            np.testing.assert_allclose(found.to("cpu").numpy(), wanted.to("cpu").numpy(), rtol=1e-12)


@on_the_stand_in
def test_tf32_is_off_unless_asked_for(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUPY_TF32", raising=False)
    mode = emulated.library_like_cublas().math_mode
    for asked, environment, wanted in [(None, "0", 0), (True, "0", 3), (None, "1", 3), (False, "1", 0)]:
        monkeypatch.setenv("CUPY_TF32", environment)
        NumpyDevice(asked)
        assert mode() == wanted


def test_source_names_operations_and_lines(device: Any) -> None:
    machine = recorded(name="regression")[0]
    assert 'extern "C" __global__ void map_' in machine.source
    assert "// row" in machine.source
    assert "Linear" in machine.source
    assert "test_cuda_machine.py" in machine.source
    assert machine.memory_report.fixed > 0
    assert "arena" in str(machine.memory_report)


@nvrtc.needed
@pytest.mark.nvrtc
@pytest.mark.parametrize("name", CASES)
def test_every_kernel_of_a_step_compiles(name: str, device: Any) -> None:
    machine = recorded(name)[0]
    for architecture in ("sm_80", "sm_90"):
        for source in machine._kernels():
            assert ".entry" in nvrtc.compiled(source, architecture)
