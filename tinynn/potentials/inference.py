"""One configuration after another, as in dynamics: energies and forces by a compiled program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import tinynn
from tinynn.potentials.environments import environments, has_numba, values_and_jacobian
from tinynn.potentials.symmetry_functions import SymmetryFunctions
from tinynn.potentials.system import System
from tinynn.tensor import Tensor

Array = NDArray[np.float64]

PAYS_AFTER = 50  # calls of a system: what a step saves must make up for the second that compiling takes
MOST_SYSTEMS = 8  # that are remembered


class Answer(NamedTuple):
    """What the members of a committee say of one configuration; a single potential is a committee of one.

    Attributes
    ----------
    energy : (members,), in eV
    forces : (members, atoms, 3), in eV/Å
    outside : (members,) int, the number of features outside of their range in training
    """

    energy: Array
    forces: Array
    outside: NDArray[np.int64]


Run = Callable[[Array], Answer]


class Inference:
    """Predicts configurations one at a time; from the 50th of a system on, by a compiled program.

    The results are those of ``predict``, to rounding. Weights that change later are noticed.

    Parameters
    ----------
    potential : `Potential` or `Committee`
    compiled : bool, optional
        Whether to compile at once, or never; by default after 50 configurations.

    Examples
    --------
    >>> import numpy as np
    >>> from tinynn.potentials import AtomicNetwork, G2, SymmetryFunctions, System
    >>> potential = AtomicNetwork(SymmetryFunctions([G2("O", eta=1.0)]), ["O"], hidden=(8,))
    >>> inference = Inference(potential)
    >>> inference(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.2]]), System("OO")).forces.shape
    (1, 2, 3)
    """

    def __init__(self, potential: Any, compiled: bool | None = None) -> None:
        self.potential = potential
        self.compiled = compiled
        self._calls: dict[System, int] = {}
        self._runs: dict[System, Run] = {}

    def __call__(self, positions: Array, system: System) -> Answer:
        """Predict one configuration (atoms, 3)."""
        x = system.check(positions[None])
        run = self._runs.get(system)
        if run is None:
            if not self._is_worth_it(system):
                return self._eagerly(x, system)
            members = getattr(self.potential, "potentials", [self.potential])
            run = self._runs[system] = compiled_run(members, system)
        answer = run(x)
        if not (np.isfinite(answer.energy).all() and np.isfinite(answer.forces).all()):
            self._eagerly(x, system)  # says which atoms are too close, if that is the reason
            raise FloatingPointError(f"the energy or a force of {system} is infinite or NaN at these positions")
        return answer

    def _is_worth_it(self, system: System) -> bool:
        if self.compiled is False:
            return False
        calls = self._calls.pop(system, 0) + 1
        self._calls[system] = calls  # the last one is the youngest
        if len(self._calls) > MOST_SYSTEMS:
            oldest = next(iter(self._calls))
            del self._calls[oldest]
            self._runs.pop(oldest, None)
        return self.compiled is True or calls > PAYS_AFTER

    def _eagerly(self, x: Array, system: System) -> Answer:
        if hasattr(self.potential, "potentials"):
            energy, forces, outside = self.potential.members(x, system)
        else:
            energy, forces, outside = (a[None] for a in self.potential.predict(x, system, warn=False))
        return Answer(energy[:, 0], forces[:, 0], outside[:, 0])


def compiled_run(members: Sequence[Any], system: System) -> Run:
    """Compile the members of a committee for one system; what they have in common is computed once."""
    first = members[0]
    if any(not member.describes_like(first) for member in members):
        runs = [compiled_run([member], system) for member in members]
        return lambda x: Answer(*(np.concatenate(several) for several in zip(*(run(x) for run in runs))))
    if all(centers is None for centers in first.centers(system).values()):
        return through_the_descriptor(members, system)
    return through_the_jacobian(members, system)


def through_the_descriptor(members: Sequence[Any], system: System) -> Run:
    """Compile the way from positions to forces as one program: for descriptors that are made of tensor operations."""
    descriptors, counts = members[0].descriptors, members[0].counts(system)

    @tinynn.compile
    def answer(x: Tensor) -> Any:
        x = x.detach().requires_grad_()
        values = {part: descriptor(x, system) for part, descriptor in descriptors.items()}
        found = []
        for member in members:
            energy = _scaled_energy(member, values)
            slopes = tinynn.grad(energy.sum(), x, retain_graph=True)
            found.append((_in_ev(member, energy, counts), -member.scale * slopes[0], _outside(member, values)))
        return [tinynn.stack(list(several)) for several in zip(*found)]

    return lambda x: Answer(*(t.array for t in answer(x)))


def through_the_jacobian(members: Sequence[Any], system: System) -> Run:
    """Compile the way from features and their Jacobian to forces: for descriptors with kernels of their own."""
    counts, parts, atoms = members[0].counts(system), tuple(members[0].centers(system)), len(system)

    @tinynn.compile
    def answer(*features: Tensor) -> Any:
        found = []
        for member in members:
            values = {part: G.detach().requires_grad_() for part, G in zip(parts, features)}
            energy = _scaled_energy(member, values)
            slopes = tinynn.grad(energy.sum(), list(values.values()))
            rows = zip(slopes, features[len(parts) :])
            along = [slope.reshape((1, -1)) @ J.reshape((-1, 3 * atoms)) for slope, J in rows]
            forces = -member.scale * sum(along[1:], along[0]).reshape((atoms, 3))
            found.append((_in_ev(member, energy, counts), forces, _outside(member, values)))
        return [tinynn.stack(list(several)) for several in zip(*found)]

    described = [_describing(members[0].descriptors[p], system, c) for p, c in members[0].centers(system).items()]

    def run(x: Array) -> Answer:
        values, jacobians = zip(*(describe(x) for describe in described))
        return Answer(*(t.array for t in answer(*values, *jacobians)))

    return run


def _describing(descriptor: Any, system: System, centers: Any) -> Callable[[Array], tuple[Array, Array]]:
    """Return the descriptor's ``compute`` for one system; what belongs to the system is looked up once."""
    if not isinstance(descriptor, SymmetryFunctions):
        return partial(descriptor.compute, system=system, **({} if centers is None else {"centers": centers}))
    given = environments(descriptor, np.zeros((1, len(system), 3)), system, centers=centers)
    backend = "numba" if has_numba() else "numpy"
    return lambda x: values_and_jacobian(descriptor, given._replace(positions=x), backend, True)


def _scaled_energy(potential: Any, values: dict[str, Tensor]) -> Tensor:
    """Energies (n,) less the offsets, in units of the scale, of features as they come from descriptors."""
    return potential.forward({part: potential.ranges[part](G) for part, G in values.items()})


def _in_ev(potential: Any, energy: Tensor, counts: Array) -> Tensor:
    """The energy of one configuration in eV, of the (1,) that the networks say."""
    return energy.detach()[0] * potential.scale + (potential.offsets * counts).sum()


def _outside(potential: Any, values: dict[str, Tensor]) -> Tensor:
    """How many features lie outside of their range in training, as `FeatureRange.outside` counts them."""
    total: Any = 0
    for part, G in values.items():
        seen = potential.ranges[part]
        room = potential.tolerance * seen.scale
        total = total + ((seen.lowest - G > room) | (G - seen.highest > room)).sum()
    return total
