"""`MolecularNetwork`: one network on a descriptor of the whole system."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynn.nn.activations import SiLU
from tinynn.potentials.potential import Potential
from tinynn.potentials.system import System

PART = "molecule"


class MolecularNetwork(Potential):
    """The energy from one network that sees a descriptor of the whole system, such as inverse distances.

    It is fitted to one system: the number of features belongs to the number of atoms. The fit has the
    symmetries of the descriptor; atoms of an element are not exchangeable with most of them.

    Parameters
    ----------
    descriptor : a descriptor of whole systems, such as `InverseDistances`
    hidden : widths of the hidden layers
    activation : a class of `tinynn.nn`, or its name

    Examples
    --------
    >>> from tinynn.potentials import InverseDistances
    >>> potential = MolecularNetwork(InverseDistances(3), hidden=(16, 16))
    >>> potential.num_parameters()
    353
    """

    def __init__(self, descriptor: Any, hidden: Sequence[int] = (64, 64), activation: Any = SiLU) -> None:
        super().__init__({PART: descriptor}, hidden, activation)

    @property
    def descriptor(self) -> Any:
        """The descriptor of the whole system."""
        return self.descriptors[PART]

    def centers(self, system: System) -> dict[str, NDArray[np.int64] | None]:
        """There is one center: the whole system, which must have the elements that the potential was fitted to."""
        if self.systems and system.numbers != self.systems[0].numbers:
            raise ValueError(f"the potential was fitted to {self.systems[0]}; it cannot describe {system}")
        return {PART: None}

    def check_systems(self, systems: Sequence[System]) -> None:
        """Refuse more than one molecule."""
        super().check_systems(systems)
        different = {system.numbers: system for system in systems}
        if len(different) > 1:
            one, other, *_ = different.values()
            raise ValueError(f"a MolecularNetwork is fitted to one molecule, not to {one} and {other}")

    def settings(self) -> dict[str, Any]:
        """Return what is needed to make this potential again, as plain values."""
        return {"hidden": list(self.hidden), "activation": self.activation}

    def extra_repr(self) -> str:
        """What stands between the parentheses in ``repr``."""
        return f"{self.descriptor!r}, hidden={self.hidden}, activation={self.activation}"
