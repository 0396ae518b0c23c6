"""`GlobalDescriptor`: what descriptors of a whole configuration have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynn.backends import convert
from tinynn.modes import mode
from tinynn.ops.shape import reshape
from tinynn.potentials.environments import checked_positions
from tinynn.potentials.system import System
from tinynn.tensor import Tensor

Array = NDArray[np.float64]


class GlobalDescriptor:
    """Features of a configuration as a whole: one center, where descriptors of atoms have many.

    A subclass is a frozen dataclass of its settings, and has the number of moving ``atoms`` that it is made for,
    `__len__`, `features`, `values_and_jacobian`, and perhaps `check`.
    """

    atoms: int

    def __len__(self) -> int:
        """Return the number of features."""
        raise NotImplementedError

    def features(self, x: Any, system: System | None) -> Any:
        """Compute the features (n, F) of positions (n, atoms, 3), by the library's operations on tensors."""
        raise NotImplementedError

    def values_and_jacobian(self, x: Array, system: System | None) -> tuple[Array, Array]:
        """Compute the features (n, F) and their Jacobian (n, F, atoms, 3)."""
        raise NotImplementedError

    def check(self, x: Array, system: System | None) -> None:
        """Refuse systems and positions that there are no features of."""

    # ------------------------------------------------------------------------------------- what users call

    def compute(self, positions: ArrayLike, system: System | None = None) -> tuple[Array, Array]:
        """Compute the features and their derivatives by the positions.

        Parameters
        ----------
        positions : (n, atoms, 3)
        system : `System`, optional
            Its cell says which images of atoms are equal; without it, or without a cell, nothing is periodic.

        Returns
        -------
        values : (n, 1, features)
        jacobian : (n, 1, features, atoms, 3)

        Raises
        ------
        ValueError
            If shapes do not fit, positions are not finite, or there are none of them.
        """
        x = self._checked(positions, system)
        values, jacobian = self.values_and_jacobian(x, system)
        return values[:, None], jacobian[:, None]

    def values(self, positions: ArrayLike, system: System | None = None) -> Array:
        """Compute the features alone, (n, 1, features); parameters as for `compute`."""
        return np.asarray(self.features(self._checked(positions, system), system))[:, None]

    def __call__(self, positions: Any, system: System | None = None) -> Any:
        """Compute the features of a tensor, in operations that can be differentiated any number of times.

        Parameters
        ----------
        positions : Tensor (n, atoms, 3)
        system : `System`, optional

        Returns
        -------
        Tensor (n, 1, features)
        """
        if not isinstance(positions, Tensor):
            positions = Tensor(self._checked(positions, system))
        elif positions.dtype.kind != "f":
            raise TypeError(f"positions must be floating-point numbers, got {positions.dtype}")
        elif mode.recorder is None:  # what is recorded is looked at in the eager runs alone
            self._checked(positions.array, system)
        return reshape(self.features(positions, system), (positions.shape[0], 1, len(self)))

    def settings(self) -> dict[str, Any]:
        """Return what is needed to make this descriptor again, as plain values."""
        return asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Make the descriptor that `settings` describes."""
        return cls(**settings)

    def _checked(self, positions: Any, system: System | None) -> Array:
        if system is not None and not isinstance(system, System):
            raise TypeError(f"{type(self).__name__}: system must be a System, got {type(system).__name__}")
        if system is not None and len(system) != self.atoms:
            raise ValueError(f"{self!r} is made for {self.atoms} atoms that move; {system!r} has {len(system)}")
        x = checked_positions(convert.to_host(positions), self.atoms)
        self.check(x, system)
        return x


def beside(array: NDArray[Any], x: Any, dtype: Any = None) -> Any:
    """A constant on the device of ``x``, in its dtype or the one given."""
    model = getattr(x, "array", x)
    return convert.to_device(array.astype(dtype or model.dtype), convert.device_of(model).split(":")[0])


def check_count(name: str, atoms: Any, least: int) -> None:
    """Refuse a number of atoms that is no number, or too small."""
    if isinstance(atoms, bool) or not isinstance(atoms, int):
        raise TypeError(f"{name}: atoms is the number of atoms, an int; got {atoms!r}")
    if atoms < least:
        raise ValueError(f"{name}: there must be at least {least} atom{'s' if least > 1 else ''}, got {atoms}")
