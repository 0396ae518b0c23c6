"""`AtomicNetwork`: one network per element, and energies of atoms that add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynn.nn.activations import SiLU
from tinynn.potentials.elements import SYMBOLS, atomic_number, symbol_of
from tinynn.potentials.potential import Potential
from tinynn.potentials.system import System


class AtomicNetwork(Potential):
    """The energy as a sum over atoms, each from a network of its element that sees the atom's surroundings.

    Parameters
    ----------
    descriptor : a descriptor of atoms such as `SymmetryFunctions`, or a dict of them by element
    elements : sequence of chemical symbols or atomic numbers
        Those that have networks.
    hidden : widths of the hidden layers, the same for all elements
    activation : a class of `tinynn.nn`, or its name
        `nn.SiLU` and `nn.Tanh` are smooth; with `nn.ReLU` the forces jump.
    environment : sequence of elements
        Whose atoms may move, but have no network: the energies of the others answer for them. (Atoms that
        stand still need not be named.)

    Raises
    ------
    ValueError
        For unknown elements, or a dict of descriptors that does not name each of ``elements``.

    Notes
    -----
    J. Behler and M. Parrinello, Phys. Rev. Lett. 98, 146401 (2007). What the descriptor does not notice does not
    change the energy: with `SymmetryFunctions` translations, rotations, reflections, and the exchange of atoms of an
    element. The energy is extensive: two systems far from each other have the sum of their energies.

    Examples
    --------
    >>> import numpy as np
    >>> import tinynn
    >>> from tinynn.potentials import G2, SymmetryFunctions, System
    >>> _ = tinynn.manual_seed(0)
    >>> functions = SymmetryFunctions([G2("O", eta=1.0, shift=s) for s in (0.8, 1.2, 1.6)])
    >>> potential = AtomicNetwork(functions, elements=["O"], hidden=(8, 8))
    >>> o2 = np.array([[[0.0, 0.0, 0.0], [0.0, 0.0, 1.2]]])
    >>> energy, forces, outside = potential.predict(o2, System("OO"))
    >>> bool(np.allclose(forces.sum(axis=1), 0.0))
    True
    """

    def __init__(
        self,
        descriptor: Any,
        elements: Sequence[int | str],
        hidden: Sequence[int] = (40, 40),
        activation: Any = SiLU,
        *,
        environment: Sequence[int | str] = (),
    ) -> None:
        symbols = _distinct("elements", elements)
        if not symbols:
            raise ValueError("AtomicNetwork: name at least one element that has a network, such as elements=['O']")
        if isinstance(descriptor, Mapping):
            given = {symbol_of(element): d for element, d in descriptor.items()}
            if given.keys() != set(symbols):
                raise ValueError(
                    f"AtomicNetwork: there are descriptors for {sorted(given)}, but elements are {sorted(symbols)}"
                )
        else:
            given = dict.fromkeys(symbols, descriptor)
        super().__init__({symbol: given[symbol] for symbol in symbols}, hidden, activation)
        self.one_descriptor = not isinstance(descriptor, Mapping)
        self.environment = _distinct("environment", environment)
        self._numbers = tuple(atomic_number(symbol) for symbol in symbols)

    @property
    def elements(self) -> tuple[str, ...]:
        """The elements that have networks."""
        return self.parts

    def centers(self, system: System) -> dict[str, NDArray[np.int64] | None]:
        """Say which of the atoms that move are of which element."""
        known = {*self.parts, *self.environment}
        unknown = sorted({symbol for symbol in system.symbols if symbol not in known})
        if unknown:
            raise ValueError(
                f"{system} has atoms of {', '.join(unknown)} that move; there are networks for "
                f"{', '.join(self.parts)}. Give them networks (elements=), or say that they have none (environment=)"
            )
        numbers = np.array(system.numbers)
        where: dict[str, NDArray[np.int64] | None] = {
            SYMBOLS[z]: np.flatnonzero(numbers == z) for z in self._numbers if z in system.numbers
        }
        if not where:
            raise ValueError(f"{system} has no atom that moves of {', '.join(self.parts)}")
        return where

    def settings(self) -> dict[str, Any]:
        """Return what is needed to make this potential again, as plain values."""
        return {
            "elements": list(self.parts),
            "hidden": list(self.hidden),
            "activation": self.activation,
            "environment": list(self.environment),
        }

    def extra_repr(self) -> str:
        """What stands between the parentheses in ``repr``."""
        return f"elements={list(self.parts)}, hidden={self.hidden}, activation={self.activation}"


def _distinct(name: str, elements: Sequence[int | str]) -> tuple[str, ...]:
    if isinstance(elements, str):
        elements = [elements]
    symbols = tuple(symbol_of(element) for element in elements)
    if len(set(symbols)) < len(symbols):
        raise ValueError(f"AtomicNetwork: {name} names an element twice: {list(symbols)}")
    return symbols
