"""`Potential`: what models of energy and forces have in common."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

import tinynn
from tinynn import nn
from tinynn.potentials.feature_range import FeatureRange
from tinynn.potentials.prediction import ExtrapolationWarning, Prediction, extrapolation_message
from tinynn.potentials.system import System
from tinynn.tensor import Tensor

Array = NDArray[np.float64]
CHUNK = 256  # configurations that are described and predicted at once


class Features(NamedTuple):
    """Features of n configurations of a system, and their Jacobians, by the part of the model that sees them.

    Attributes
    ----------
    values : dict from part to (n, centers, features)
    jacobian : dict from part to (n, centers, features, atoms, 3), or None
    """

    values: dict[str, NDArray[Any]]
    jacobian: dict[str, NDArray[Any]] | None


class Potential(nn.Module):
    """Energy and forces of configurations, from features of them and neural networks.

    A potential has one or several *parts*, each with a descriptor and a network: in `AtomicNetwork` they are
    the elements, in `MolecularNetwork` there is one. A part has *centers*, and every center a share of the energy:

    .. math::

        E = \\sum_{p} \\sum_{c \\in p} \\bigl( e_p + \\sigma\\, N_p(g_c) \\bigr), \\qquad
        g = (G - \\mu) / s, \\qquad
        F = -\\frac{\\partial E}{\\partial x}
          = -\\sigma \\sum_{p, c, k} \\frac{1}{s_k} \\frac{\\partial N_p}{\\partial g_{ck}}
            \\frac{\\partial G_{ck}}{\\partial x}.

    G are the features with mean μ and standard deviation s in training, :math:`e_p` the offsets by least squares,
    and σ the standard deviation of the energies that remain. They are buffers of the model, and saved with it.
    Lengths are in Å, energies in eV.

    Attributes
    ----------
    parts : names of the parts
    networks, ranges : `nn.ModuleDict` by part
        The networks, and the `FeatureRange` that scales what they see.
    offsets : Tensor (parts,)
    scale : Tensor ()
    systems : tuple of the `System` that it was fitted to
    tolerance : float
        A feature counts as outside of the range of training from so many standard deviations beyond it.
    """

    offsets: Tensor
    scale: Tensor
    ranges: Any  # an nn.ModuleDict of FeatureRange
    tolerance: float = 0.1

    def __init__(self, descriptors: Mapping[str, Any], hidden: Sequence[int], activation: Any) -> None:
        super().__init__()
        self.descriptors = dict(descriptors)
        self.parts = tuple(descriptors)
        self.hidden = _widths(hidden)
        self.activation = activation_named(activation)
        self.systems: tuple[System, ...] = ()
        self.networks = nn.ModuleDict(
            {part: perceptron((len(d), *self.hidden, 1), self.activation) for part, d in self.descriptors.items()}
        )
        self.networks.to("float64")
        self.ranges = nn.ModuleDict({part: FeatureRange(len(d)) for part, d in self.descriptors.items()})
        self.register_buffer("offsets", Tensor(np.zeros(len(self.parts))))
        self.register_buffer("scale", Tensor(np.ones(())))

    # ------------------------------------------------------------------------------------- what subclasses say

    def centers(self, system: System) -> dict[str, NDArray[np.int64] | None]:
        """Say which atoms are centers of which part; None for a descriptor of the whole system.

        Raises
        ------
        ValueError
            If the potential is not made for such a system.
        """
        raise NotImplementedError

    def counts(self, system: System) -> Array:
        """Return the number of centers of every part, (parts,)."""
        centers = self.centers(system)
        found = [centers.get(part, np.zeros(0)) for part in self.parts]
        return np.array([1.0 if c is None else len(c) for c in found])

    def check_systems(self, systems: Sequence[System]) -> None:
        """Refuse systems that one potential cannot be fitted to."""
        for system in systems:
            self.centers(system)

    def feature_count(self, system: System) -> int:
        """Return how many features a configuration has, of all centers together."""
        return sum(int(c) * len(self.descriptors[part]) for part, c in zip(self.parts, self.counts(system)))

    # ---------------------------------------------------------------------------------------------- the model

    def forward(self, values: Any, jacobian: Any = None, mask: Mapping[str, Any] | None = None) -> Any:
        """Compute energies and forces from scaled features, in scaled units.

        Parameters
        ----------
        values : Tensor (n, centers, features), or a dict of them by part
            Scaled, as by `scaled`.
        jacobian : Tensor (n, centers, features, atoms, 3), or a dict; optional
            Without it, energies alone are computed.
        mask : dict of Tensors (n, centers), optional
            1 for centers, 0 for places that are empty because this configuration has fewer atoms than others.

        Returns
        -------
        energy : Tensor (n,)
            Less the offsets, in units of ``scale``.
        forces : Tensor (n, atoms, 3)
            In units of ``scale`` per Å, if there is a Jacobian.

        Notes
        -----
        In training mode, forces are part of the graph and can be differentiated by the parameters.
        """
        if isinstance(values, Mapping) is False:
            values, jacobian = {self.parts[0]: values}, jacobian if jacobian is None else {self.parts[0]: jacobian}
        inputs, energy = [], []
        for part, g in values.items():
            n, centers, features = g.shape
            rows = g.reshape((n * centers, features))
            inputs.append(rows if rows.requires_grad or jacobian is None else rows.requires_grad_())
            shares = self.networks[part](inputs[-1]).reshape((n, centers))
            energy.append((shares if mask is None else shares * mask[part]).sum(axis=1))
        total = sum(energy[1:], energy[0])
        if jacobian is None:
            return total
        slopes = tinynn.grad(total.sum(), inputs, create_graph=self.training)
        forces = []
        for slope, J in zip(slopes, [jacobian[part] for part in values]):
            n, centers, features, atoms, _ = J.shape
            along = slope.reshape((n, 1, centers * features)) @ J.reshape((n, centers * features, atoms * 3))
            forces.append(along.reshape((n, atoms, 3)))
        return total, -sum(forces[1:], forces[0])

    def forward_positions(self, positions: Any, system: System | None = None) -> tuple[Tensor, Tensor]:
        """Compute what `forward` does from positions, through the descriptors: no Jacobian is made.

        Parameters
        ----------
        positions : Tensor (n, atoms, 3)
        system : `System`, optional
            By default the one that the potential was fitted to.

        Returns
        -------
        energy : Tensor (n,), less the offsets, in units of ``scale``
        forces : Tensor (n, atoms, 3), in units of ``scale`` per Å
        """
        system = self.system(system)
        x = positions if isinstance(positions, Tensor) else Tensor(system.check(positions))
        x = x if x.requires_grad else x.detach().requires_grad_()
        values: dict[str, Tensor] = {}
        for descriptor, centers, rows in self._seen(system):
            G = descriptor(x, system, **centers)
            values |= {part: self.ranges[part](G[:, some]) for part, some in rows.items()}
        total = self.forward(values)
        return total, -tinynn.grad(total.sum(), x, create_graph=self.training)

    # ------------------------------------------------------------------------------------ features and scaling

    def describe(self, positions: ArrayLike, system: System | None = None, jacobian: bool = True) -> Features:
        """Compute the features of configurations, not scaled, and their Jacobians.

        Parameters
        ----------
        positions : (n, atoms, 3), in Å
        system : `System`, optional
        jacobian : whether it is wanted
        """
        system = self.system(system)
        x = system.check(positions)
        values: dict[str, NDArray[Any]] = {}
        jacobians: dict[str, NDArray[Any]] = {}
        for descriptor, centers, rows in self._seen(system):
            if jacobian or not hasattr(descriptor, "values"):
                G, J = descriptor.compute(x, system, **centers)
                jacobians |= {part: J[:, some] for part, some in rows.items()}
            else:
                G = descriptor.values(x, system, **centers)
            values |= {part: G[:, some] for part, some in rows.items()}
        order = self.centers(system)
        return Features({p: values[p] for p in order}, {p: jacobians[p] for p in order} if jacobian else None)

    def _seen(self, system: System) -> list[tuple[Any, dict[str, Any], dict[str, slice]]]:
        """Each descriptor once, with the centers that it is asked for, and which of them are those of which part."""
        found: list[tuple[Any, dict[str, Any], dict[str, slice]]] = []
        for part, centers in self.centers(system).items():
            descriptor = self.descriptors[part]
            if centers is None:
                found.append((descriptor, {}, {part: slice(None)}))
                continue
            same = [one for one in found if one[0] is descriptor]
            if same:
                _, asked, rows = same[0]
                start = len(asked["centers"])
                asked["centers"] = np.concatenate([asked["centers"], centers])
                rows[part] = slice(start, start + len(centers))
            else:
                found.append((descriptor, {"centers": centers}, {part: slice(0, len(centers))}))
        return found

    def scaled(self, features: Features) -> Features:
        """Scale features and Jacobians for `forward`."""
        values = {part: self.ranges[part].transform(G) for part, G in features.values.items()}
        if features.jacobian is None:
            return Features(values, None)
        per_feature = {part: self.ranges[part].scale.numpy()[:, None, None] for part in values}
        return Features(values, {part: J / per_feature[part] for part, J in features.jacobian.items()})

    def fit_scaling(self, groups: Sequence[tuple[System, Mapping[str, Array], ArrayLike]]) -> Potential:
        """Take scales, ranges and offsets from data for training.

        Parameters
        ----------
        groups : sequence of (system, values, energy)
            For each system: features as in `Features.values`, and energies (n,) in eV.

        Returns
        -------
        The potential itself. Its networks are left as they are.

        Raises
        ------
        ValueError
            If no configuration has a center of some part.
        """
        self.check_systems([system for system, _, _ in groups])
        seen = {}
        for part in self.parts:
            rows = [v[part].reshape(-1, v[part].shape[-1]) for _, v, _ in groups if part in v]
            if not rows:
                raise ValueError(f"there is a network for {part}, but no configuration for training has such an atom")
            seen[part] = np.concatenate(rows)
        energy = np.concatenate([np.asarray(e, np.float64) for _, _, e in groups])
        counts = np.concatenate([np.tile(self.counts(system), (len(e), 1)) for system, _, e in groups])  # type: ignore[arg-type]
        offsets = least_squares_offsets(counts, energy)
        spread = float(np.std(energy - counts @ offsets))
        for part, rows_of_part in seen.items():
            self.ranges[part].fit(rows_of_part)
        self.offsets = Tensor(offsets)
        self.scale = Tensor(np.asarray(spread if spread > 1e-12 * (1.0 + np.abs(energy).max()) else 1.0))
        self.systems = tuple(dict.fromkeys(system for system, _, _ in groups))
        return self

    def system(self, system: System | None = None) -> System:
        """Return the given system; or if None, the only one that the potential was fitted to."""
        if system is not None:
            if not isinstance(system, System):
                raise TypeError(f"system must be a tinynn.potentials.System, not a {type(system).__name__}")
            return system
        if len(self.systems) == 1:
            return self.systems[0]
        known = f"it was fitted to {len(self.systems)}" if self.systems else "it was fitted to none yet"
        raise ValueError(f"say which system the positions are of ({known}): system=System(numbers, cell, ...)")

    # --------------------------------------------------------------------------------------------- predictions

    def predict(
        self, positions: ArrayLike, system: System | None = None, forces: bool = True, warn: bool = True
    ) -> Prediction:
        """Compute energies and forces of configurations, in eV and eV/Å.

        Parameters
        ----------
        positions : (n, atoms, 3), in Å
        system : `System`, optional
            By default the one that the potential was fitted to.
        forces : whether they are wanted
        warn : whether to warn (`ExtrapolationWarning`) where features are outside of their range in training

        Returns
        -------
        `Prediction`, with energy (n,), forces (n, atoms, 3) or None, and outside (n,).
        """
        system = self.system(system)
        x = system.check(positions)
        parts = [self._predict(x[k : k + CHUNK], system, forces) for k in range(0, max(len(x), 1), CHUNK)]
        energy, outside = (np.concatenate([p[k] for p in parts]) for k in (0, 2))
        if warn and outside.any():
            warnings.warn(
                extrapolation_message(outside, self.feature_count(system)), ExtrapolationWarning, stacklevel=2
            )
        return Prediction(energy, np.concatenate([p.forces for p in parts]) if forces else None, outside)

    def _predict(self, x: Array, system: System, forces: bool) -> Prediction:
        return self.predict_features(self.describe(x, system, jacobian=forces), system)

    def predict_features(self, features: Features, system: System) -> Prediction:
        """Compute energies, and with a Jacobian forces, from features that `describe` has computed."""
        outside = sum(self.ranges[part].outside(G, self.tolerance) for part, G in features.values.items())
        g = self.scaled(features)
        values = {part: Tensor(v) for part, v in g.values.items()}
        at_rest = float(self.counts(system) @ self.offsets.numpy())
        scale = float(self.scale.item())
        if g.jacobian is None:
            with tinynn.no_grad():
                return Prediction(self.forward(values).numpy() * scale + at_rest, None, outside)
        training, jacobian = self.training, {part: Tensor(J) for part, J in g.jacobian.items()}
        try:
            energy, force = self.eval().forward(values, jacobian)
        finally:
            self.train(training)
        return Prediction(energy.detach().numpy() * scale + at_rest, force.detach().numpy() * scale, outside)

    # ----------------------------------------------------------------------------------------------- files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the potential to one safetensors file: descriptors, networks, scales, systems and units."""
        from tinynn.potentials import files

        files.save(path, self)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Any:
        """Read a potential that `save` has written; no other information is needed.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        CheckpointError
            It is damaged, or holds no potential.
        """
        from tinynn.potentials import files

        return files.load(path, cls)

    def describes_like(self, other: Potential) -> bool:
        """Return whether the features are the same as those of another potential."""
        if self.parts != other.parts:
            return False
        return all(self.descriptors[part] == other.descriptors[part] for part in self.parts)

    def settings(self) -> dict[str, Any]:
        """Return what is needed to make this potential again, as plain values."""
        raise NotImplementedError


# --------------------------------------------------------------------------------------------------------- parts


def least_squares_offsets(counts: Array, energy: Array) -> Array:
    """Solve min Σ (E - counts · e)² for the offsets e; of several solutions, the one with the smallest norm.

    Examples
    --------
    H2, O2 and H2O, with -0.5 and -75 per atom and no bonds:

    >>> counts = np.array([[2.0, 0.0], [0.0, 2.0], [2.0, 1.0]])
    >>> least_squares_offsets(counts, np.array([-1.0, -150.0, -76.0])).round(9).tolist()
    [-0.5, -75.0]
    """
    return np.asarray(np.linalg.lstsq(counts, energy, rcond=None)[0], np.float64)


def perceptron(widths: Sequence[int], activation: str) -> nn.Sequential:
    """Make linear layers of the given widths with activations between them."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, n_out), getattr(nn, activation)()]
    return nn.Sequential(*layers[:-1])


def activation_named(activation: str | Callable[[], nn.Module]) -> str:
    """Return the name of an activation that is given by its name or its class."""
    name = activation if isinstance(activation, str) else getattr(activation, "__name__", repr(activation))
    made = getattr(nn, name, None)
    if not (isinstance(made, type) and issubclass(made, nn.Module)) or made in (nn.Module, nn.Sequential):
        raise ValueError(f"activation must be one of tinynn.nn's, such as nn.SiLU or 'Tanh'; got {activation!r}")
    return name


def _widths(hidden: Sequence[int]) -> tuple[int, ...]:
    widths = tuple(int(w) for w in hidden)
    if any(w < 1 for w in widths):
        raise ValueError(f"hidden must be the widths of the hidden layers, such as (40, 40); got {tuple(hidden)}")
    return widths
