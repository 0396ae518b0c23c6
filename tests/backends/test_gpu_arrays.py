"""Training on GPU arrays equals training on the CPU; on a pretended GPU where there is no other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinynn as tn
from tests.backends import stand_in
from tests.ops.test_elementwise import BINARY, UNARY
from tinynn import nn, optim
from tinynn.backends import convert, cupy_backend, dispatch
from tinynn.kernels import philox


@pytest.fixture(params=["stand-in", pytest.param("cupy", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a device that holds CuPy arrays, or arrays that behave like them."""
    if request.param == "stand-in":
        from scipy import special

        fake = stand_in.fake_cupy()
        for table in (dispatch.NAMESPACES, dispatch.FORWARD_KERNELS, dispatch.GRADIENT_KERNELS):
            monkeypatch.setitem(table, stand_in.GPUArray, {})
        monkeypatch.setattr(convert, "ARRAYS", convert.ARRAYS)
        monkeypatch.setattr(cupy_backend, "require", lambda: fake)
        monkeypatch.setattr(cupy_backend, "erf", lambda x: stand_in.on_gpu(special.erf(x.get())))
        monkeypatch.setattr(cupy_backend, "normal_cdf", lambda x: stand_in.on_gpu(special.ndtr(x.get())))
        monkeypatch.setattr(
            cupy_backend, "scatter_add", lambda out, i, v: np.add.at(out.hidden, stand_in.plain(i), v.hidden)
        )
        bits = lambda n, seed, offset: stand_in.on_gpu(philox.random_bits(n, seed, offset))  # noqa: E731
        monkeypatch.setattr(cupy_backend, "random_bits", bits)
        known = set(vars(cupy_backend))
        cupy_backend.register(stand_in.GPUArray)
        dispatch.FORWARD_KERNELS[stand_in.GPUArray] = {}  # printed CUDA code needs a GPU
        dispatch.GRADIENT_KERNELS[stand_in.GPUArray] = {}
        yield "cupy"
        dispatch.PLAIN_TYPES.discard(stand_in.GPUArray)
        for name in set(vars(cupy_backend)) - known:
            delattr(cupy_backend, name)
    else:
        cupy_backend.require()
        yield "cupy"


def gradients(f: Any, inputs: list[Any], device: str) -> list[np.ndarray]:
    """Value, first and second derivatives, brought to the CPU."""
    leaves = [tn.tensor(a).to(device).detach().requires_grad_() for a in inputs]
    y = f(*leaves)
    found = [y]
    if y.node is not None:
        first = [g for g in tn.grad(y.sum(), leaves, create_graph=True, allow_unused=True) if g is not None]
        found += first
        deeper = [g for g in first if g.node is not None]
        if deeper:
            total = deeper[0].sum()
            for g in deeper[1:]:
                total = total + (g * g).sum()
            if total.node is not None:
                found += [g for g in tn.grad(total, leaves, allow_unused=True) if g is not None]
    assert all(t.device.startswith("cuda") == (device == "cupy") for t in found)
    return [t.detach().numpy() for t in found]


@pytest.mark.parametrize("case", [*UNARY, *BINARY], ids=str)
def test_elementwise_operations(case: Any, gpu: str) -> None:
    rng = np.random.default_rng(0)
    inputs = [draw(rng, (3, 4)) for draw in case.domains]
    for a, b in zip(gradients(case.f, inputs, gpu), gradients(case.f, inputs, "cpu"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


MODELS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(6, 8), nn.SELU(), nn.LayerNorm(8), nn.Linear(8, 3)), (5, 6)),
    "dropout": (lambda: nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Dropout(0.3), nn.Linear(8, 3)), (5, 6)),
    "lenet": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1),
            nn.BatchNorm2d(2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(2, 3, 3),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(3, 3),
        ),
        (4, 1, 8, 8),
    ),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("optimizer", [lambda p: optim.SGD(p, lr=0.1, momentum=0.9), lambda p: optim.Adam(p, lr=0.01)])
def test_training_is_the_same(name: str, optimizer: Any, gpu: str) -> None:
    make, shape = MODELS[name]
    losses = {}
    for device in ("cpu", gpu):
        tn.manual_seed(3)
        model = make().to(device)
        rng = np.random.default_rng(1)
        x = tn.tensor(rng.normal(size=shape)).to(device)
        labels = tn.tensor(rng.integers(0, 3, shape[0])).to(device)
        steps = optimizer(model.parameters())
        losses[device] = []
        for _ in range(4):
            steps.zero_grad()
            loss = nn.functional.cross_entropy(model(x), labels)
            loss.backward()
            steps.step()
            losses[device].append(loss.item())
        assert all(p.device.startswith("cuda") == (device == gpu) for p in model.parameters())
    np.testing.assert_allclose(losses[gpu], losses["cpu"], rtol=1e-10)


def test_state_goes_back_to_the_cpu(gpu: str, tmp_path: Any) -> None:
    model = nn.Linear(3, 2).to(gpu)
    tn.save(tmp_path / "model.safetensors", model.state_dict())
    other = nn.Linear(3, 2)
    other.load_state_dict(tn.load(tmp_path / "model.safetensors"))
    np.testing.assert_array_equal(other.weight.detach().numpy(), model.weight.to("cpu").detach().numpy())


@pytest.mark.gpu
def test_random_bits_on_the_gpu() -> None:
    cupy_backend.require()
    for n in (0, 1, 5, 4096, 100_003):
        np.testing.assert_array_equal(cupy_backend.random_bits(n, 7, 11).get(), philox.random_bits(n, 7, 11))
