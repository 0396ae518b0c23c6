"""The same numbers as PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import tinynn
from tests.optim.networks import loss_of, parameters
from tinynn import optim
from tinynn.nn.utils import clip_grad_norm_
from tinynn.optim import lr_scheduler as schedules

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch")

SETTINGS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.001, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "weight_decay": 0.1, "amsgrad": True}),
    ("AdamW", {"lr": 0.02}),
    ("AdamW", {"lr": 0.02, "amsgrad": True, "maximize": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.2, "weight_decay": 0.01}),
    ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.3, "eps": 1e-3, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.003, "momentum": 0.9, "centered": True, "weight_decay": 0.01}),
]


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_optimizers(name, settings, backend, monkeypatch) -> None:
    monkeypatch.setattr(optim.update, "PLAIN_STEPS", 20)
    ours = parameters()
    theirs = [torch.tensor(p.array, requires_grad=True) for p in ours]
    optimizer, peer = getattr(optim, name)(ours, **settings), getattr(torch.optim, name)(theirs, **settings)
    with tinynn.use(backend):
        for step in range(60):
            optimizer.zero_grad()
            peer.zero_grad()
            loss_of(ours, step).backward()
            for p, q in zip(ours, theirs, strict=True):  # the same gradients, so that roundings do not grow
                if step % 7 == 3 and p.ndim == 2:
                    p.grad = None
                else:
                    q.grad = torch.tensor(p.grad.array)
            if step % 5 == 0:
                norm = clip_grad_norm_(ours, 0.5)
                assert norm.item() == pytest.approx(torch.nn.utils.clip_grad_norm_(theirs, 0.5).item(), rel=1e-12)
            optimizer.step()
            peer.step()
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.array, q.detach().numpy(), rtol=1e-12, atol=1e-13)


def test_a_state_dict_of_pytorch_can_be_loaded() -> None:
    ours = parameters()
    theirs = [torch.tensor(p.array, requires_grad=True) for p in ours]
    peer = torch.optim.AdamW(theirs, lr=0.02)

    def step(optimizer, params, k):
        for i, p in enumerate(params):
            g = np.sin(np.arange(p.detach().numpy().size) + i + k).reshape(tuple(p.shape))
            p.grad = torch.tensor(g) if isinstance(p, torch.Tensor) else tinynn.tensor(g)
        optimizer.step()

    for k in range(3):
        step(peer, theirs, k)
    for p, q in zip(ours, theirs, strict=True):
        p.assign_(q.detach().numpy())
    optimizer = optim.AdamW(ours)
    optimizer.load_state_dict(peer.state_dict())
    for k in range(3, 6):
        step(peer, theirs, k)
        step(optimizer, ours, k)
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.array, q.detach().numpy(), rtol=1e-13)


def lbfgs(library, start, calls, **settings):
    x = library.tensor(start, requires_grad=True)
    optimizer = library.optim.LBFGS([x], **settings)
    evaluations = 0

    def closure():
        nonlocal evaluations
        evaluations += 1
        optimizer.zero_grad()
        loss = (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(calls)]
    return x.detach().numpy(), losses, evaluations


@pytest.mark.parametrize(
    "settings", [{"lr": 0.01}, {"lr": 0.02, "history_size": 3, "max_iter": 7}, {"lr": 0.01, "max_eval": 4}]
)
def test_lbfgs_with_fixed_steps(settings) -> None:
    start = [-0.3, 0.4, 0.2]
    (x, losses, n), (y, peer_losses, m) = (lbfgs(lib, start, 6, **settings) for lib in (tinynn, _double(torch)))
    np.testing.assert_allclose(losses, peer_losses, rtol=1e-8)
    np.testing.assert_allclose(x, y, rtol=1e-8)
    assert n == m


@pytest.mark.parametrize("size", [2, 10])
def test_lbfgs_with_line_search_needs_no_more_evaluations(size) -> None:
    settings = {"max_iter": 200, "max_eval": 400, "tolerance_change": 1e-14, "line_search_fn": "strong_wolfe"}
    start = [-1.2, 1.0] * (size // 2)
    (x, _, n), (y, _, m) = (lbfgs(lib, start, 1, **settings) for lib in (tinynn, _double(torch)))
    np.testing.assert_allclose(x, y, atol=1e-7)
    assert n <= 1.3 * m


class _double:
    """PyTorch, with tensors of float64."""

    def __init__(self, library) -> None:
        self.optim = library.optim
        self._library = library

    def tensor(self, data, requires_grad):
        return self._library.tensor(data, requires_grad=requires_grad, dtype=self._library.float64)


SCHEDULES = [
    ("StepLR", {"step_size": 3, "gamma": 0.3}),
    ("MultiStepLR", {"milestones": [2, 5, 5, 9], "gamma": 0.3}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("LambdaLR", {"lr_lambda": lambda t: 0.95**t + 0.1 * t}),
    ("CosineAnnealingLR", {"T_max": 7, "eta_min": 1e-3}),
    ("LinearLR", {"start_factor": 0.2, "end_factor": 0.9, "total_iters": 6}),
    ("OneCycleLR", {"max_lr": [0.5, 0.7], "total_steps": 31}),
    ("OneCycleLR", {"max_lr": 0.5, "epochs": 4, "steps_per_epoch": 8, "anneal_strategy": "linear"}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 31, "three_phase": True, "cycle_momentum": False}),
]


@pytest.mark.parametrize(("name", "settings"), SCHEDULES)
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.filterwarnings("ignore")
def test_schedules(name, settings, kind) -> None:
    def groups(library):
        make = getattr(library.optim, kind)
        zero = library.zeros
        params = [{"params": [zero(1).requires_grad_()], "lr": lr} for lr in (0.1, 0.03)]
        return make(params, **({"momentum": 0.9} if kind == "SGD" else {}))

    ours, theirs = groups(tinynn), groups(torch)
    a = getattr(schedules, name)(ours, **settings)
    b = getattr(torch.optim.lr_scheduler, name)(theirs, **settings)
    for _ in range(30):
        for p, q in zip(ours.param_groups, theirs.param_groups, strict=True):
            for key in ("lr", "momentum", "betas"):
                if key in p:
                    assert p[key] == pytest.approx(q[key], rel=1e-11)
        a.step()
        b.step()


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_plateau(mode, threshold_mode) -> None:
    settings = {
        "mode": mode,
        "threshold_mode": threshold_mode,
        "patience": 2,
        "cooldown": 2,
        "threshold": 0.1,
        "min_lr": 1e-4,
    }
    ours, theirs = (lib.optim.SGD([lib.zeros(1).requires_grad_()], lr=0.1) for lib in (tinynn, torch))
    a, b = (
        schedules.ReduceLROnPlateau(ours, **settings),
        torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **settings),
    )
    for metric in np.random.default_rng(0).normal(size=60).cumsum():
        a.step(metric)
        b.step(metric)
        assert ours.param_groups[0]["lr"] == theirs.param_groups[0]["lr"]
        assert a.num_bad_epochs == b.num_bad_epochs


@pytest.mark.filterwarnings("ignore")
def test_sequence() -> None:
    def make(library, module):
        optimizer = library.optim.SGD([library.zeros(1).requires_grad_()], lr=0.1)
        parts = [
            module.LinearLR(optimizer, 0.2, total_iters=3),
            module.CosineAnnealingLR(optimizer, 6),
            module.ExponentialLR(optimizer, 0.5),
        ]
        return optimizer, module.SequentialLR(optimizer, parts, [3, 9])

    (ours, a), (theirs, b) = make(tinynn, schedules), make(torch, torch.optim.lr_scheduler)
    for _ in range(15):
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-11)
        a.step()
        b.step()
