"""`Cartesian`: the positions as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynn.ops.shape import reshape
from tinynn.potentials.global_descriptor import GlobalDescriptor, check_count
from tinynn.potentials.system import System

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Cartesian(GlobalDescriptor):
    """The Cartesian coordinates x_1, y_1, z_1, x_2, ... as features.

    They know nothing of symmetry: when a molecule turns, all of them change and its energy does not, which a network
    has to learn from examples. So this is what other descriptors are compared with.

    Parameters
    ----------
    atoms : number of atoms

    Examples
    --------
    >>> import numpy as np
    >>> values, jacobian = Cartesian(2).compute(np.arange(6.0).reshape(1, 2, 3))
    >>> values
    array([[[0., 1., 2., 3., 4., 5.]]])
    >>> jacobian.shape
    (1, 1, 6, 2, 3)
    """

    atoms: int

    def __post_init__(self) -> None:
        check_count("Cartesian", self.atoms, 1)

    def __len__(self) -> int:
        return 3 * self.atoms

    def features(self, x: Any, system: System | None = None) -> Any:
        """The positions (n, atoms, 3) as (n, 3 atoms)."""
        return reshape(x, (x.shape[0], len(self)))

    def values_and_jacobian(self, x: Array, system: System | None = None) -> tuple[Array, Array]:
        """The positions, and ones."""
        jacobian = np.eye(len(self)).reshape(len(self), self.atoms, 3)
        return x.reshape(len(x), -1).copy(), np.repeat(jacobian[None], len(x), axis=0)
