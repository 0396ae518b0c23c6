"""`Calculator`: a fitted potential for ASE, for relaxation, vibrations and dynamics.

This module may be imported without ASE; making a `Calculator` is what needs it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynn.potentials.inference import Inference
from tinynn.potentials.layout import Layout
from tinynn.potentials.prediction import ExtrapolationWarning, extrapolation_message
from tinynn.potentials.system import System

_Base: Any
try:
    from ase.calculators.calculator import Calculator as _Base
    from ase.calculators.calculator import all_changes
except ImportError:
    _Base, all_changes = object, []

ON_EXTRAPOLATION = ("warn", "always", "raise", "ignore")


class ExtrapolationError(ValueError):
    """Features lie outside of their range in training, and the calculator was told to stop there."""


class Calculator(_Base):
    """Energies and forces of an `ase.Atoms` from a potential, or from a committee of potentials.

    Parameters
    ----------
    potential : `Potential` or `Committee`
    on_extrapolation : "warn", "always", "raise" or "ignore"
        What to do where features lie outside of their range in training: warn once, warn in every calculation,
        raise `ExtrapolationError`, or nothing. How many they are is in ``results["outside"]`` in any case.
    moving : sequence of int, optional
        Which of the atoms the potential moves, in its order. By default they are found: see the notes.
    compiled : bool, optional
        Whether to run as a compiled program from the first calculation on, or never. By default from the 50th of the
        same atoms on, because compiling takes up to some seconds.

    Attributes
    ----------
    results : dict
        ``energy`` in eV, ``free_energy`` (the same), ``forces`` (atoms, 3) in eV/Å, and ``outside``. Of a committee
        these are means, and there are ``energy_std``, ``forces_std`` (atoms,): its `Committee.spread`.

    Raises
    ------
    ImportError
        Without ASE.
    ValueError
        In a calculation, if the potential does not know an element, or is made for other atoms.

    Notes
    -----
    Nothing is computed again as long as positions, elements, cell and periodicity are the same. If the potential is
    trained on, ``reset()`` forgets the results of before.

    An `AtomicNetwork` takes atoms in any number and order, a `MolecularNetwork` those of its training, in their order.

    A potential may have been fitted with atoms that stand still, such as those of a slab. Then it takes either the
    atoms that move, and adds the others where they were in training; or all of them. In the latter case those stand
    still that are of an element that never moved in training; and where an element did both, those that
    `ase.constraints.FixAtoms` holds. There are no forces on them.

    Examples
    --------
    >>> from ase.build import molecule  # doctest: +SKIP
    >>> from ase.optimize import BFGS  # doctest: +SKIP
    >>> water = molecule("H2O")  # doctest: +SKIP
    >>> water.calc = Calculator(Potential.load("water.safetensors"))  # doctest: +SKIP
    >>> BFGS(water).run(fmax=0.01)  # doctest: +SKIP
    """

    name = "tinynn"
    implemented_properties: Any = ("energy", "free_energy", "forces")
    atoms: Any
    results: dict[str, Any]

    def __init__(
        self,
        potential: Any,
        *,
        on_extrapolation: str = "warn",
        moving: Sequence[int] | None = None,
        compiled: bool | None = None,
    ) -> None:
        if _Base is object:
            raise ImportError(
                "Calculator needs ASE, the atomic simulation environment: pip install 'tinynn[potentials]'"
            )
        if not hasattr(potential, "predict"):
            raise TypeError(
                f"Calculator: potential must be a Potential or a Committee, not a {type(potential).__name__}"
            )
        if on_extrapolation not in ON_EXTRAPOLATION:
            raise ValueError(
                f"Calculator: on_extrapolation must be one of {ON_EXTRAPOLATION}, got {on_extrapolation!r}"
            )
        super().__init__()
        self.potential = potential
        self.on_extrapolation = on_extrapolation
        self.moving = None if moving is None else tuple(int(i) for i in moving)
        self.compiled = compiled
        self.warned = False
        spread = ["energy_std", "forces_std"] if self.is_committee else []
        self.implemented_properties = [*type(self).implemented_properties, *spread]
        self._inference = Inference(potential, compiled)
        self._layout: Layout | None = None

    @property
    def is_committee(self) -> bool:
        """Whether there are several potentials, whose spread is known."""
        return hasattr(self.potential, "potentials")

    def check_state(self, atoms: Any, tol: float = 0.0) -> list[str]:
        """Name what has changed since the last calculation: ``positions``, ``numbers``, ``cell``, ``pbc``.

        Exactly, and in a few microseconds: ASE's own comparison takes longer than a small network.
        """
        if self.atoms is None or self._layout is None:
            return list(all_changes)
        changes = self._layout.changes(atoms)
        if "positions" not in changes and not np.array_equal(self.atoms.positions, atoms.positions):
            changes.append("positions")
        return changes

    def calculate(
        self, atoms: Any = None, properties: Sequence[str] = ("energy",), system_changes: Sequence[str] = all_changes
    ) -> None:
        """Compute all properties at once. ASE calls this when something has changed."""
        atoms = self.atoms if atoms is None else atoms
        self.results, self.atoms = {}, atoms.copy()
        if self._layout is None or self._layout.changes(atoms):
            self._layout = Layout(atoms, self.potential, self.moving)
        system, moving = self._layout.system, self._layout.moving
        energy, forces, outside = self._inference(atoms.positions[moving], system)
        self._extrapolated(int(outside.max()), system)
        results: dict[str, Any] = {"energy": float(energy.mean()), "forces": np.zeros((len(atoms), 3))}
        results["forces"][moving] = forces.mean(axis=0)
        results["free_energy"], results["outside"] = results["energy"], int(outside.max())
        if self.is_committee:
            results["energy_std"], results["forces_std"] = float(energy.std(ddof=1)), np.zeros(len(atoms))
            results["forces_std"][moving] = np.sqrt(forces.var(axis=0, ddof=1).sum(axis=-1))
        self.results = results

    def export_properties(self) -> Any:
        """Return the results that ASE has names for, as `ase.outputs.Properties`."""
        from ase.outputs import Properties, all_outputs

        return Properties({name: value for name, value in self.results.items() if name in all_outputs})

    def _extrapolated(self, outside: int, system: System) -> None:
        """Warn or raise, as was asked for, if features are outside of their range in training."""
        if not outside or self.on_extrapolation == "ignore" or (self.on_extrapolation == "warn" and self.warned):
            return
        one = self.potential.potentials[0] if self.is_committee else self.potential
        message = extrapolation_message(np.array([outside]), one.feature_count(system))
        if self.on_extrapolation == "raise":
            raise ExtrapolationError(message)
        warnings.warn(message, ExtrapolationWarning, stacklevel=2)
        self.warned = True

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and pickles take along: all but the compiled programs, which are made again."""
        return {name: value for name, value in vars(self).items() if name not in ("_inference", "_layout")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _inference=Inference(state["potential"], state["compiled"]), _layout=None)
