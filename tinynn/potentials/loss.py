"""`EnergyForceLoss`: mean squared errors of energies and forces, weighted."""

from __future__ import annotations

import math
from typing import Any

from tinynn.nn.module import Module


class EnergyForceLoss(Module):
    """w_E · mean (E - E')² + w_F · mean (F - F')².

    Parameters
    ----------
    energy_weight : w_E, not negative
    force_weight : w_F, not negative
        The mean is over all components of all atoms. With energies in eV and forces in eV/Å, the quotient of the
        weights is an area: with w_F / w_E = 1 Å², an error of 1 eV/Å counts as much as one of 1 eV. Both errors are
        in units of the energy's standard deviation while `fit` trains, which does not change the quotient.
    per_atom : bool
        For sets of systems of several sizes: `fit` divides the error of an energy by the number of atoms (in
        units of the mean number), so that large systems do not dominate.

    Examples
    --------
    >>> import tinynn
    >>> loss = EnergyForceLoss(energy_weight=1.0, force_weight=0.1)
    >>> loss(tinynn.ones(4), tinynn.ones(4, 2, 3), tinynn.zeros(4), tinynn.zeros(4, 2, 3)).item()
    1.1
    """

    def __init__(self, energy_weight: float = 1.0, force_weight: float = 1.0, per_atom: bool = False) -> None:
        super().__init__()
        for name, weight in (("energy_weight", energy_weight), ("force_weight", force_weight)):
            if not (math.isfinite(weight) and weight >= 0.0):
                raise ValueError(f"EnergyForceLoss: {name} must not be negative, got {weight}")
        if energy_weight == force_weight == 0.0:
            raise ValueError("EnergyForceLoss: both weights are zero; nothing would be learnt")
        self.energy_weight = float(energy_weight)
        self.force_weight = float(force_weight)
        self.per_atom = bool(per_atom)

    def forward(self, energy: Any, forces: Any, energy_reference: Any, forces_reference: Any) -> Any:
        """Compute the loss; without ``forces`` (None), the energies' part alone."""
        of_energy = self.energy_weight * ((energy - energy_reference) ** 2).mean()
        if forces is None:
            return of_energy
        return of_energy + self.force_weight * ((forces - forces_reference) ** 2).mean()

    def score(self, energy_rmse: float, force_rmse: float | None) -> float:
        """Compute the same from root mean square errors; by it the best weights are chosen."""
        return self.energy_weight * energy_rmse**2 + self.force_weight * (force_rmse or 0.0) ** 2

    def extra_repr(self) -> str:
        """What stands between the parentheses in ``repr``."""
        text = f"energy_weight={self.energy_weight:g}, force_weight={self.force_weight:g}"
        return f"{text}, per_atom=True" if self.per_atom else text
