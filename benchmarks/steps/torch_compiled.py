"""``torch.compile`` on the whole step: gradients by ``torch.func``, the update in the same function.

Compiled this way the step is one graph without breaks. Written with ``loss.backward()`` and
``optimizer.step()`` it is several (425 µs instead of 84 µs for 1-20-10-5-1 with 10 points), and forces
inside a loss are refused. Small networks keep all parameters in one vector, which spares the check of
each at every call.
"""

from __future__ import annotations

import math
from typing import Any

from . import cases
from .cases import Case, Runner
from .same_lines import load

SMALL = 100_000


def build(column: str, case: Case) -> Runner:
    """One step per call."""
    torch = load(column)
    dtype = getattr(torch, case.dtype)
    torch.set_default_dtype(dtype)
    import torch._inductor.config as settings

    settings.cpp_wrapper = True  # a C++ caller for the kernels instead of a Python one
    form = cases.shapes(case)
    weights = [torch.tensor(w) for w in cases.initial_weights(case).values()]
    flat = case.parameters <= SMALL
    state = [torch.cat([w.reshape(-1) for w in weights])] if flat else weights
    first = [torch.zeros_like(w) for w in state]
    second = [torch.zeros_like(w) for w in state]
    count = torch.zeros(1, dtype=torch.float64)  # not 0-d: torch 2.13 forgets an in-place change of those

    def unpack(state: list[Any]) -> list[Any]:
        if not flat:
            return state
        parts, start = [], 0
        for shape in form.values():
            parts.append(state[0][start : start + math.prod(shape)].view(shape))
            start += math.prod(shape)
        return parts

    loss_of = _loss(torch, case, unpack)

    def step(state: Any, first: Any, second: Any, count: Any, *batch: Any) -> Any:
        gradients, loss = torch.func.grad_and_value(loss_of)(state, *batch)
        t = count + 1.0
        for p, g, m, v in zip(state, gradients, first, second):
            if case.optimizer == "adam":
                new_m, new_v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
                rate = (case.learning_rate / (1.0 - 0.9**t)).to(dtype)
                p.copy_(p - rate * new_m / ((new_v / (1.0 - 0.999**t).to(dtype)).sqrt() + 1e-8))
                v.copy_(new_v)
            else:
                new_m = 0.9 * m + g
                p.copy_(p - case.learning_rate * new_m)
            m.copy_(new_m)
        count.copy_(t)
        return loss

    fast = torch.compile(step, fullgraph=True)
    several = [[torch.tensor(a) for a in batch.values()] for batch in cases.batches(case, cases.epoch_data(case))]
    torch.set_grad_enabled(False)
    losses, moments = cases.first_losses(lambda batch: float(fast(state, first, second, count, *batch)), several)
    batch = several[0]
    note = "one vector of parameters" if flat else ""
    return Runner(losses, lambda: fast(state, first, second, count, *batch), note=note, moments=moments)


def _loss(torch: Any, case: Case, unpack: Any) -> Any:
    """The loss as a function of the parameters and a batch."""
    functional = torch.nn.functional
    activation = {
        "GELU": functional.gelu, "SELU": functional.selu, "Tanh": torch.tanh, "ReLU": functional.relu,
    }[case.activation]  # fmt: skip

    def dense(p: list[Any], x: Any) -> Any:
        for i in range(0, len(p), 2):
            x = functional.linear(x, p[i], p[i + 1])
            x = activation(x) if i + 2 < len(p) else x
        return x

    def lenet(p: list[Any], x: Any) -> Any:
        x = functional.max_pool2d(torch.relu(functional.conv2d(x, p[0], p[1], padding=2)), 2)
        x = functional.max_pool2d(torch.relu(functional.conv2d(x, p[2], p[3])), 2)
        return dense(p[4:], x.flatten(1))

    network = dense if case.layers else lenet

    def cross_entropy(state: Any, x: Any, y: Any) -> Any:
        return functional.cross_entropy(network(unpack(state), x), y)

    def squares(state: Any, x: Any, y: Any) -> Any:
        return functional.mse_loss(network(unpack(state), x), y)

    def with_forces(state: Any, x: Any, y: Any, f: Any) -> Any:
        p = unpack(state)
        energies, pull_back = torch.func.vjp(lambda positions: network(p, positions), x)
        (slopes,) = pull_back(torch.ones_like(energies))
        return functional.mse_loss(energies, y) + functional.mse_loss(-slopes, f)

    return {"cross-entropy": cross_entropy, "mse": squares, "energies and forces": with_forces}[case.loss]
