"""`System`: what all configurations of a set have in common: elements, cell, and atoms that stand still."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynn.potentials.checks import require_finite
from tinynn.potentials.elements import SYMBOLS, atomic_number

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, init=False, repr=False)
class System:
    """The atoms that move, by their elements; the cell; and atoms that stand still in all configurations.

    A configuration is then an array of positions (atoms, 3), and many are one array (n, atoms, 3).

    Parameters
    ----------
    numbers : sequence of atomic numbers or chemical symbols
        Of the atoms that move, in the order of the positions. Kept as numbers.
    cell : (3, 3), optional
        Lattice vectors as rows, in Å. Without a cell nothing is periodic.
    pbc : bool, or three
        Which lattice vectors are periodic.
    frozen_numbers : sequence of atomic numbers or chemical symbols
    frozen_positions : (frozen, 3), optional
        Atoms that are seen by the others but never move, such as those of a slab, in Å.

    Attributes
    ----------
    numbers, frozen_numbers : tuples of int
    cell : (3, 3) array that cannot be written to, or None
    pbc : three bools
    frozen_positions : (frozen, 3) array that cannot be written to

    Raises
    ------
    ValueError
        For an unknown element, wrong shapes, values that are not finite, or periodic directions without a cell.

    Notes
    -----
    Systems are compared by value, and can be keys of a dict.

    Examples
    --------
    >>> import numpy as np
    >>> slab = {"frozen_numbers": ["Pd"], "frozen_positions": np.zeros((1, 3))}
    >>> o2 = System(["O", "O"], cell=np.diag([2.75, 2.75, 20.0]), pbc=(True, True, False), **slab)
    >>> o2
    System(O2 on frozen Pd, periodic along a and b)
    >>> o2.numbers, len(o2)
    ((8, 8), 2)
    >>> o2 == System([8, 8], cell=np.diag([2.75, 2.75, 20.0]), pbc=[1, 1, 0], **slab)
    True
    """

    numbers: tuple[int, ...]
    cell: Array | None
    pbc: tuple[bool, bool, bool]
    frozen_numbers: tuple[int, ...]
    frozen_positions: Array

    def __init__(
        self,
        numbers: Sequence[int | str] | str,
        cell: ArrayLike | None = None,
        pbc: Any = False,
        frozen_numbers: Sequence[int | str] = (),
        frozen_positions: ArrayLike | None = None,
    ) -> None:
        moving, frozen = _elements("numbers", numbers), _elements("frozen_numbers", frozen_numbers)
        if not moving:
            raise ValueError("System: numbers is empty; name at least one atom that moves")
        places = _finite("frozen_positions", np.zeros((0, 3)) if frozen_positions is None else frozen_positions)
        if places.shape != (len(frozen), 3):
            raise ValueError(
                f"System: frozen_positions must have shape ({len(frozen)}, 3), a row for each of the "
                f"{len(frozen)} frozen_numbers; got {places.shape}"
            )
        periodic = np.asarray(pbc)
        if periodic.shape not in ((), (3,)) or periodic.dtype.kind not in "bi":
            raise ValueError(f"System: pbc must be a bool or three, got {pbc!r}")
        directions = np.broadcast_to(periodic.astype(bool), (3,))
        if directions.any() and cell is None:
            raise ValueError("System: pbc says that the system is periodic, but there is no cell")
        vectors = None if cell is None else _cell(cell, directions)
        values = (moving, vectors, tuple(map(bool, directions)), frozen, places)
        for name, value in zip(("numbers", "cell", "pbc", "frozen_numbers", "frozen_positions"), values):
            object.__setattr__(self, name, value)

    @classmethod
    def from_atoms(cls, atoms: Any, frozen: ArrayLike | None = None) -> System:
        """Make the system of an `ase.Atoms`.

        Parameters
        ----------
        atoms : ase.Atoms
        frozen : indices, or one bool per atom; optional
            The atoms that stand still; by default those that `ase.constraints.FixAtoms` holds. All others
            move, and are in the order that they have in ``atoms`` (`moving_atoms`).

        Examples
        --------
        >>> from ase.build import molecule  # doctest: +SKIP
        >>> System.from_atoms(molecule("H2O"))  # doctest: +SKIP
        System(OH2)
        """
        moving = moving_atoms(atoms, frozen)
        still = np.setdiff1d(np.arange(len(atoms)), moving)
        numbers, positions = atoms.get_atomic_numbers(), atoms.get_positions()
        cell = np.asarray(atoms.cell)
        pbc = tuple(bool(p) for p in atoms.pbc)
        return cls(
            [int(z) for z in numbers[moving]], cell if any(pbc) else None, pbc,
            [int(z) for z in numbers[still]], positions[still],
        )  # fmt: skip

    @property
    def symbols(self) -> tuple[str, ...]:
        """Chemical symbols of the atoms that move."""
        return tuple(SYMBOLS[z] for z in self.numbers)

    @property
    def frozen_symbols(self) -> tuple[str, ...]:
        """Chemical symbols of the atoms that stand still."""
        return tuple(SYMBOLS[z] for z in self.frozen_numbers)

    def composition(self, elements: Sequence[int]) -> Array:
        """Return how many of the atoms that move are of each element.

        Examples
        --------
        >>> System("OHH").composition([1, 8])
        array([2., 1.])
        """
        return np.array([self.numbers.count(z) for z in elements], np.float64)

    def check(self, positions: ArrayLike) -> Array:
        """Return positions as an array (n, atoms, 3) of this system's atoms, or say what is wrong with them.

        Raises
        ------
        ValueError
            If the shape is another, or a value is NaN or infinite.
        """
        x = np.asarray(positions, np.float64)
        if x.ndim != 3 or x.shape[1:] != (len(self), 3):
            one = "; for one configuration give positions[None]" if x.ndim == 2 else ""
            raise ValueError(
                f"positions of {self} must have shape (n, {len(self)}, 3), a row for each atom that moves; "
                f"got {x.shape}{one}"
            )
        require_finite("positions", x)
        return x

    def __len__(self) -> int:
        """Return the number of atoms that move."""
        return len(self.numbers)

    def _key(self) -> tuple[Any, ...]:
        cell = None if self.cell is None else self.cell.tobytes()
        return self.numbers, cell, self.pbc, self.frozen_numbers, self.frozen_positions.tobytes()

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, System) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __reduce__(self) -> Any:
        return System, (self.numbers, self.cell, self.pbc, self.frozen_numbers, self.frozen_positions)

    def __repr__(self) -> str:
        text = _formula(self.symbols)
        if self.frozen_numbers:
            text += f" on frozen {_formula(self.frozen_symbols)}"
        along = [name for name, periodic in zip("abc", self.pbc) if periodic]
        if along:
            text += f", periodic along {' and '.join([', '.join(along[:-1]), along[-1]] if along[1:] else along)}"
        return f"System({text})"


def moving_atoms(atoms: Any, frozen: ArrayLike | None = None) -> NDArray[np.int64]:
    """Return the indices of the atoms of an `ase.Atoms` that move.

    Parameters
    ----------
    atoms : ase.Atoms
    frozen : indices, or one bool per atom; optional
        The others; by default those that `ase.constraints.FixAtoms` holds.
    """
    if frozen is None:
        held = [c.get_indices() for c in atoms.constraints if type(c).__name__ == "FixAtoms"]
        still = np.concatenate(held) if held else np.zeros(0, np.int64)
    else:
        still = np.asarray(frozen)
        if still.dtype == bool:
            if still.shape != (len(atoms),):
                raise ValueError(f"frozen has {still.size} bools for {len(atoms)} atoms")
            still = np.flatnonzero(still)
    mask = np.ones(len(atoms), bool)
    try:
        mask[still.astype(np.int64)] = False
    except IndexError:
        raise ValueError(f"frozen must be indices of the {len(atoms)} atoms, got {still.tolist()}") from None
    return np.flatnonzero(mask)


def _elements(name: str, given: Any) -> tuple[int, ...]:
    if isinstance(given, str):
        given = _symbols_in(given)
    try:
        return tuple(atomic_number(one) for one in given)
    except (TypeError, ValueError) as error:
        raise type(error)(f"System: {name}: {error}") from None


def _symbols_in(text: str) -> list[str]:
    """Cut "OHH" into symbols; each begins with a capital letter."""
    starts = [i for i, letter in enumerate(text) if letter.isupper()]
    if text and (not starts or starts[0] != 0):
        raise ValueError(f"System: {text!r} is no row of chemical symbols")
    return [text[i:j] for i, j in zip(starts, [*starts[1:], len(text)])]


def _finite(name: str, values: ArrayLike) -> Array:
    array = np.array(values, np.float64) + 0.0  # systems are compared by their bytes, and -0.0 is 0.0
    if not np.isfinite(array).all():
        raise ValueError(f"System: {name} must be finite; NaN or infinity was found")
    array.flags.writeable = False
    return array


def _cell(cell: ArrayLike, periodic: Any) -> Array:
    vectors = _finite("cell", cell)
    if vectors.shape != (3, 3):
        raise ValueError(f"System: cell must be three lattice vectors as rows, shape (3, 3), got {vectors.shape}")
    along = vectors[periodic]
    if len(along) and np.linalg.matrix_rank(along) < len(along):
        raise ValueError(f"System: the periodic lattice vectors\n{along}\nare not independent")
    return vectors


def _formula(symbols: Sequence[str]) -> str:
    return "".join(symbol + (str(count) if count > 1 else "") for symbol, count in Counter(symbols).items())
