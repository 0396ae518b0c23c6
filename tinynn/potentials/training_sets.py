"""What `fit` is given: settings and sets, checked before anything is changed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynn.data.split import random_split
from tinynn.potentials.configurations import Configurations
from tinynn.potentials.described import Described
from tinynn.potentials.loss import EnergyForceLoss
from tinynn.potentials.potential import Potential


def check_settings(epochs: Any, seconds: Any, batch_size: Any, lr: Any, patience: Any, dtype: Any) -> None:
    if (epochs is None) == (seconds is None):
        raise ValueError("fit: say how long to train, by epochs= or by seconds=, and not by both")
    for name, value, kind in (
        ("epochs", epochs, int), ("seconds", seconds, float), ("batch_size", batch_size, int),
        ("lr", lr, float), ("patience", patience, int),
    ):  # fmt: skip
        if value is not None and not (value > 0 and math.isfinite(value) and kind(value) == value):
            raise ValueError(
                f"fit: {name} must be {'a whole number, ' if kind is int else ''}more than 0, got {value!r}"
            )
    if dtype not in ("float32", "float64"):
        raise ValueError(f"fit: dtype must be 'float32' or 'float64', got {dtype!r}")


def sets_of(
    potential: Potential, data: Any, energy: Any, forces: Any, system: Any, validation: Any,
    loss: EnergyForceLoss, seed: int, dtype: str,
) -> tuple[Described, Described]:  # fmt: skip
    """Describe the training and the validation set; whatever is wrong with them shows here."""
    whole = _configurations("data", data, energy, forces, system)
    fraction = isinstance(validation, (float, int, np.floating)) and not isinstance(validation, bool)
    if fraction:
        if not 0.0 < validation < 1.0:
            raise ValueError(f"fit: validation is a fraction between 0 and 1, a set, or None; got {validation!r}")
        parts = random_split(range(len(whole)), [1.0 - validation, validation], seed=seed)
        rest, held = (np.sort(part.indices) for part in parts)
        train, held_out = whole[rest], whole[held]
    elif validation is None:
        train, held_out = whole, whole[: min(len(whole), 1000)]
    else:
        given = validation if isinstance(validation, tuple) else (validation, None, None)
        if len(given) != 3:
            raise ValueError("fit: validation as a tuple is (positions, energy, forces)")
        train, held_out = whole, _configurations("validation", *given, system)
    systems = [system for one in (train, held_out) for system in _set(one).systems]
    potential.check_systems(systems)
    learns_forces = loss.force_weight > 0.0
    described = []
    for name, one in (("data", train), ("validation", held_out)):
        configurations = _set(one)
        if learns_forces and not configurations.has_forces:
            raise ValueError(
                f"fit: {name} has no forces; to learn energies alone give loss=EnergyForceLoss(force_weight=0)"
            )
        if isinstance(one, Described):
            if learns_forces and one.features[0].jacobian is None:
                raise ValueError(
                    f"fit: {name} was described without Jacobians; forces need Described(..., jacobian=True)"
                )
            check_described(potential, name, one)
            described.append(one)
        else:
            described.append(Described(potential, one, learns_forces, dtype))
    return described[0], described[1]


def _configurations(name: str, data: Any, energy: Any, forces: Any, system: Any) -> Any:
    if isinstance(data, (Configurations, Described)):
        if energy is not None or forces is not None:
            raise TypeError(
                f"fit: {name} holds energies and forces already; give positions, energy and forces, or a set"
            )
        return data
    if energy is None:
        raise TypeError(
            f"fit: {name} are positions; their energies are missing: fit(potential, positions, energy, forces)"
        )
    if system is None:
        raise ValueError("fit: say which system the positions are of: system=System(numbers, cell, ...)")
    return Configurations(system, data, energy, forces)


def _set(one: Configurations | Described) -> Configurations:
    return one.configurations if isinstance(one, Described) else one


def check_described(potential: Potential, name: str, described: Described) -> None:
    """Refuse features that are not those of this potential."""
    for system, features in zip(described.configurations.systems, described.features):
        wanted = {part: len(potential.descriptors[part]) for part in potential.centers(system)}
        found = {part: G.shape[-1] for part, G in features.values.items()}
        if wanted != found:
            raise ValueError(
                f"fit: {name} was described by another potential: it has features {found}, this one sees {wanted}"
            )
        for part in wanted:
            own, other = potential.descriptors[part], described.descriptors[part]
            equality: Any = type(own).__eq__
            comparable = type(own) is not type(other) or equality is not object.__eq__
            if own is not other and comparable and own != other:
                raise ValueError(
                    f"fit: {name} was described by another potential: its descriptor for {part} has other functions or "
                    f"other parameters ({other!r}; this one: {own!r})"
                )
