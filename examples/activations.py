"""All activation functions of the courses in one picture, with their derivatives (row 32).

Each is a module of `tinynn.nn`. Beside it stand its formula and that of its derivative, once more in NumPy; the largest
difference over the whole line, infinity's neighbourhood included, is printed. At corners, where a derivative jumps, the
choice is PyTorch's (docs/corners.md).

ReLU and its relatives (LeakyReLU, PReLU with a slope that is learned, RReLU with a random one, ReLU6) are cheap and do
not saturate on the right; ELU, CELU, SELU, GELU, SiLU and softplus do the same without a corner, so that forces,
derivatives of an energy, are smooth; sigmoid, tanh, softsign and hardtanh saturate on both sides; the shrink functions
pull small numbers to zero; softmax and its relatives take a whole vector, here (x, 0, 0), of which the first element is
drawn.

After the list of the NYU Deep Learning course, week 11 (Canziani and LeCun, 2020).

    python examples/activations.py
"""

from __future__ import annotations

import numpy as np
from _example import BLACK, BLUE, ORANGE, Report, parser, start
from scipy.special import erf, expit, log_expit

import tinynn
from tinynn import nn

SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772  # of SELU
exp, log, tanh, where = np.exp, np.log, np.tanh, np.where


def phi(x):
    """The density of the normal distribution, and Phi its integral."""
    return exp(-x * x / 2) / np.sqrt(2 * np.pi)


def Phi(x):
    return (1 + erf(x / np.sqrt(2))) / 2


def low(x):
    """min(x, 0): the argument of an exponential that is used for x <= 0 only."""
    return np.minimum(x, 0)


# name: (module, its formula, the formula of its derivative). RReLU is drawn as in evaluation, with its mean slope.
FUNCTIONS = {
    "ReLU": (nn.ReLU(), lambda x: np.maximum(x, 0), lambda x: where(x > 0, 1, 0)),
    "LeakyReLU(0.1)": (nn.LeakyReLU(0.1), lambda x: where(x > 0, x, 0.1 * x), lambda x: where(x > 0, 1, 0.1)),
    "PReLU, w = 0.25": (nn.PReLU(), lambda x: where(x > 0, x, 0.25 * x), lambda x: where(x > 0, 1, 0.25)),
    "RReLU": (nn.RReLU().eval(), lambda x: where(x > 0, x, 11 / 48 * x), lambda x: where(x > 0, 1, 11 / 48)),
    "ReLU6": (nn.ReLU6(), lambda x: np.clip(x, 0, 6), lambda x: where((x > 0) & (x < 6), 1, 0)),
    "Softplus": (nn.Softplus(), lambda x: np.logaddexp(x, 0), expit),
    "ELU": (nn.ELU(), lambda x: where(x > 0, x, np.expm1(low(x))), lambda x: where(x > 0, 1, exp(low(x)))),
    "CELU(2)": (nn.CELU(2), lambda x: where(x > 0, x, 2 * np.expm1(low(x) / 2)),
                lambda x: where(x > 0, 1, exp(low(x) / 2))),
    "SELU": (nn.SELU(), lambda x: SCALE * where(x > 0, x, ALPHA * np.expm1(low(x))),
             lambda x: SCALE * where(x > 0, 1, ALPHA * exp(low(x)))),
    "GELU": (nn.GELU(), lambda x: x * Phi(x), lambda x: Phi(x) + x * phi(x)),
    "SiLU": (nn.SiLU(), lambda x: x * expit(x), lambda x: expit(x) * (1 + x * expit(-x))),
    "Threshold(1, 0)": (nn.Threshold(1, 0), lambda x: where(x > 1, x, 0), lambda x: where(x > 1, 1, 0)),
    "Sigmoid": (nn.Sigmoid(), expit, lambda x: expit(x) * expit(-x)),
    "Tanh": (nn.Tanh(), tanh, lambda x: 1 - tanh(x) ** 2),
    "Softsign": (nn.Softsign(), lambda x: x / (1 + abs(x)), lambda x: (1 + abs(x)) ** -2.0),
    "Hardtanh": (nn.Hardtanh(), lambda x: np.clip(x, -1, 1), lambda x: where(abs(x) < 1, 1, 0)),
    "LogSigmoid": (nn.LogSigmoid(), log_expit, lambda x: expit(-x)),
    "Tanhshrink": (nn.Tanhshrink(), lambda x: x - tanh(x), lambda x: tanh(x) ** 2),
    "Softshrink(1)": (nn.Softshrink(1), lambda x: np.sign(x) * np.maximum(abs(x) - 1, 0),
                      lambda x: where(abs(x) > 1, 1, 0)),
    "Hardshrink(1)": (nn.Hardshrink(1), lambda x: where(abs(x) > 1, x, 0), lambda x: where(abs(x) > 1, 1, 0)),
    "Softmax": (nn.Softmax(), lambda x: expit(x - log(2)), lambda x: expit(x - log(2)) * expit(log(2) - x)),
    "Softmin": (nn.Softmin(), lambda x: expit(-x - log(2)), lambda x: -expit(-x - log(2)) * expit(log(2) + x)),
    "LogSoftmax": (nn.LogSoftmax(), lambda x: log_expit(x - log(2)), lambda x: expit(log(2) - x)),
}  # fmt: skip


def curve(module, x):
    """The function and its derivative at each x, by tinynn."""
    x = tinynn.tensor(x, requires_grad=True)
    if isinstance(module, nn.Softmax):  # of a vector: (x, 0, 0)
        y = module(tinynn.pad(x.reshape(-1, 1), ((0, 0), (0, 2))))[:, 0]
    else:
        y = module(x)
    return y.detach().numpy(), tinynn.grad(y.sum(), x).numpy()


def largest_difference(ours, formula):
    """In units of the value where that is large."""
    return float((abs(ours - formula) / np.maximum(1, abs(formula))).max())


def draw(plt):
    """One panel per function, and a last one with the names of the lines."""
    figure, axes = plt.subplots(4, 6, figsize=(11.0, 6.8), layout="constrained")
    for ax, (name, (module, *_)) in zip(axes.flat, FUNCTIONS.items(), strict=False):
        wide = name == "ReLU6"  # its upper corner is far out
        x = np.linspace(-4, 10 if wide else 4, 1601)
        y, slope = curve(module, x)
        ax.axhline(0, color="0.85", lw=0.8, zorder=0)
        ax.axvline(0, color="0.85", lw=0.8, zorder=0)
        for values, colour, width in ((slope, ORANGE, 1.4), (y, BLUE, 2.0)):
            jumps = np.abs(np.diff(values)) > 0.05  # where the line jumps it is drawn with a gap
            ax.plot(x, np.where(np.append(jumps, False), np.nan, values), color=colour, lw=width)
        ax.set(title=name, xlim=(x[0], x[-1]), ylim=(-2.6, 7.2 if wide else 3.2))
        ax.set(xticks=(0, 6) if wide else (-3, 0, 3), yticks=(0, 6) if wide else (-2, 0, 2))
        if ax not in axes[:, 0] and not wide:
            ax.set_yticklabels([])
        if ax not in axes[-1] and not wide:
            ax.set_xticklabels([])
    last = axes.flat[-1]
    last.axis("off")
    last.plot([], [], color=BLUE, lw=2.0, label="f(x)")
    last.plot([], [], color=ORANGE, lw=1.4, label="f′(x)")
    last.legend(loc="center", fontsize=13, labelcolor=BLACK)
    for ax in axes[-1, :-1]:
        ax.set_xlabel("x")
    return figure


def main(arguments=None):
    options = parser(__doc__).parse_args(arguments)
    plt, report = start(options), Report(__file__, options)
    far = np.array([1e-300, 1e-12, 0.1, 40.0, 800.0, 1e4, 1e15])
    x = np.concatenate([np.linspace(-8, 8, 2001), far, -far])  # with the corners 0, 1 and 6
    for name, (module, value, slope) in FUNCTIONS.items():
        y, derivative = curve(module, x)
        wrong = max(largest_difference(y, value(x)), largest_difference(derivative, slope(x)))
        report.number(32, f"{name}: value and derivative - formula", wrong, "<= 1e-12", quick="<= 1e-12")
    report.picture(draw(plt))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
