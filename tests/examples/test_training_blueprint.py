"""The training loop: the same lines run with tinynn and with PyTorch, and reach the same losses."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import nn, optim

SCRIPT = Path(__file__).parents[2] / "examples" / "training_blueprint.py"
TORCH_IMPORTS = {
    "from tinynn import": "from torch import",
    "from tinynn.data import": "from torch.utils.data import",
    "from tinynn.nn import": "from torch.nn import",
}


def blueprint() -> str:
    """The part of the script between its two ruled lines."""
    _, _, after = SCRIPT.read_text(encoding="utf-8").partition("- the blueprint\n")
    section, found, _ = after.partition("# ----")
    assert found
    return section


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((70, 3))
    return x, np.sin(x.sum(axis=1, keepdims=True))


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "0.weight": 0.5 * rng.standard_normal((8, 3)), "0.bias": 0.1 * rng.standard_normal(8),
        "2.weight": 0.5 * rng.standard_normal((1, 8)), "2.bias": np.zeros(1),
    }  # fmt: skip


def train_with(
    names: dict[str, Any], as_tensor: Any, optimizers: Any, scalars: Any, path: Path, compiler: Any = lambda step: step
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the blueprint on the same data and weights; the scalars that it wrote and the best weights."""
    x, y = (as_tensor(array) for array in data())
    model = names["Sequential"](names["Linear"](3, 8), names["Tanh"](), names["Linear"](8, 1))
    model.load_state_dict({key: as_tensor(value) for key, value in weights().items()})
    loaders = [
        names["DataLoader"](names["TensorDataset"](x[rows], y[rows]), batch_size=8)
        for rows in (slice(0, 50), slice(50, 70))
    ]
    optimizer = optimizers.Adam(model.parameters(), lr=0.02)
    scheduler = optimizers.lr_scheduler.CosineAnnealingLR(optimizer, T_max=30)
    step = compiler(names["training_step"](model, names["MSELoss"](), optimizer))
    names["train"](model, *loaders, step, names["MSELoss"](), scheduler, 30, scalars, path)
    return scalars.series, {key: value.detach().numpy() for key, value in model.state_dict().items()}


@pytest.mark.peers
def test_the_same_lines_train_with_pytorch(example: ModuleType, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    section = blueprint()
    for ours, theirs in TORCH_IMPORTS.items():
        assert section.count(ours) == 1
        section = section.replace(ours, theirs)
    assert "tinynn" not in section
    names: dict[str, Any] = {}
    exec(compile(section, "blueprint with torch", "exec"), names)

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        losses, state = train_with(names, torch.tensor, torch.optim, example.Scalars(), tmp_path / "best.pt")
    finally:
        torch.set_default_dtype(before)
    ours, our_state = train_with(vars(example), tinynn.tensor, optim, example.Scalars(), tmp_path / "best.safetensors")

    assert ours.keys() == losses.keys() == {"Loss/train", "Loss/val"}
    for tag, series in losses.items():
        np.testing.assert_allclose(np.array(ours[tag]), np.array(series), rtol=1e-9)
    for key, value in state.items():
        np.testing.assert_allclose(our_state[key], value, rtol=1e-8, atol=1e-10)
    assert losses["Loss/val"][-1][1] < 0.5 * losses["Loss/val"][0][1]


@pytest.mark.peers
def test_the_tutorials_function_trains_with_both(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """1000 batches of one sample: the mean that it reports, and its return value, are the same."""
    torch = pytest.importorskip("torch")
    section = blueprint()
    for ours, theirs in TORCH_IMPORTS.items():
        section = section.replace(ours, theirs)
    names: dict[str, Any] = {}
    exec(compile(section, "blueprint with torch", "exec"), names)
    x = np.linspace(-1, 1, 1000)[:, None]
    losses = []
    for space, as_tensor, optimizers in (
        (vars(example), tinynn.tensor, optim),
        (names, lambda a: torch.tensor(a, dtype=torch.float64), torch.optim),
    ):
        model = space["Sequential"](space["Linear"](3, 8), space["Tanh"](), space["Linear"](8, 1))
        model = model.double() if space is names else model
        model.load_state_dict({key: as_tensor(value) for key, value in weights().items()})
        loader = space["DataLoader"](space["TensorDataset"](as_tensor(x * [1, 2, 3]), as_tensor(x**2)))
        optimizer = optimizers.SGD(model.parameters(), lr=0.01)
        space |= {"model": model, "loss_fn": space["MSELoss"](), "optimizer": optimizer, "training_loader": loader}
        scalars = example.Scalars()
        losses.append([space["train_one_epoch"](epoch, scalars) for epoch in range(2)])
        assert scalars.series == {"Loss/train": [(1000, losses[-1][0]), (2000, losses[-1][1])]}
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)
    assert losses[0][1] < losses[0][0]
    assert capsys.readouterr().out.count("  batch 1000 loss: ") == 4


def test_tensorboard_reads_what_the_tutorials_function_wrote(example: ModuleType, tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with example.SummaryWriter(tmp_path) as writer:
        means = example.follow_the_tutorial(1, writer)
    reader = events.EventAccumulator(str(tmp_path)).Reload()
    found = [(event.step, event.value) for event in reader.Scalars("Loss/train")]
    assert [step for step, _ in found] == [1000, 2000]
    assert found[-1][1] == pytest.approx(means[-1], rel=1e-6)
    assert found[1][1] < found[0][1]


def test_the_blueprint_needs_nothing_but_its_imports() -> None:
    tree = ast.parse(blueprint())
    known = set(dir(builtins)) | {"model", "optimizer", "loss_fn", "training_loader"}  # found by name, as in a notebook
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            known |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef):
            known |= {node.name, *(argument.arg for argument in node.args.args)}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            known.add(node.id)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert used <= known
    calls = """
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = loss_fn(outputs, labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        model.train()
        model.eval()
        with no_grad():
    """.strip().splitlines()
    for call in calls:
        assert call.strip() in blueprint()


def test_the_running_mean_is_the_mean_of_the_batches(example: ModuleType) -> None:
    """With a learning rate of 0 the model stays: each reported mean is that of its batches' losses."""
    x, y = (tinynn.tensor(array) for array in data())
    model = nn.Linear(3, 1)
    loader = example.DataLoader(example.TensorDataset(x, y), batch_size=10)
    scalars = example.Scalars()
    step = example.training_step(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.0))
    last = example.train_by_steps(4, scalars, step, loader, 3)
    losses = [nn.MSELoss()(model(a), b).item() for a, b in loader]
    steps, means = zip(*scalars.series["Loss/train"], strict=True)
    assert steps == (4 * 7 + 3, 4 * 7 + 6)
    np.testing.assert_allclose(means, [np.mean(losses[:3]), np.mean(losses[3:6])])
    assert last == means[-1]


def test_validation_counts_every_sample_once_and_changes_nothing(example: ModuleType) -> None:
    x, y = (tinynn.tensor(array) for array in data())
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))
    loader = example.DataLoader(example.TensorDataset(x, y), batch_size=16)  # the last batch has 6
    loss = example.validation_loss(model, loader, nn.MSELoss())
    assert not model.training
    assert loss == pytest.approx(nn.MSELoss()(model(x), y).item(), rel=1e-12)
    assert all(p.grad is None for p in model.parameters())


def test_the_best_model_is_the_one_that_remains(example: ModuleType, tmp_path: Path) -> None:
    """A learning rate that grows until the loss explodes: what remains is from before."""
    x, y = (tinynn.tensor(array) for array in data())
    model, loss_fn, scalars = nn.Linear(3, 1), nn.MSELoss(), example.Scalars()
    loader = example.DataLoader(example.TensorDataset(x, y), batch_size=70)
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, gamma=1.3)
    step = example.training_step(model, loss_fn, optimizer)
    best = example.train(model, loader, loader, step, loss_fn, scheduler, 25, scalars, tmp_path / "best")
    losses = [value for _, value in scalars.series["Loss/val"]]
    assert best == min(losses) < losses[-1]
    assert example.validation_loss(model, loader, loss_fn) == pytest.approx(best, rel=1e-12)


def test_compiled_it_reaches_the_same_losses(example: ModuleType, tmp_path: Path) -> None:
    losses, states, compiled = [], [], []

    def compiler(step: Any) -> Any:
        compiled.append(tinynn.compile(step))
        return compiled[0]

    for more in ({}, {"compiler": compiler}):
        path = tmp_path / "best.safetensors"
        series, state = train_with(vars(example), tinynn.tensor, optim, example.Scalars(), path, **more)
        losses.append(series)
        states.append(state)
    assert [one.stage for one in compiled[0].specialisations] == [2, 2]  # batches of 8, and a last one of 2
    for tag, values in losses[0].items():
        np.testing.assert_allclose(np.array(losses[1][tag]), np.array(values), rtol=1e-8)
    for key, value in states[0].items():
        np.testing.assert_allclose(states[1][key], value, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kind", ["compiled", "eager"])
def test_the_script_prints_every_number_as_expected_and_draws(run_script: Callable[..., str], kind: str) -> None:
    printed = run_script("--compile" if kind == "compiled" else "--no-compile")
    assert printed.count(f" {kind} steps in ") == 3
    assert printed.count("  batch 1000 loss: ") == 1
