"""`SymmetryFunctions`: descriptors of atomic environments, and their Jacobians by the positions."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynn.potentials import reference
from tinynn.potentials.cutoffs import Cosine
from tinynn.potentials.functions import G2, G5, Species
from tinynn.potentials.neighbors import Images, images, neighbors
from tinynn.potentials.tables import Tables, tables_of

Array = NDArray[np.float64]
_COINCIDENT = "configuration {}: an atom lies at the place of another one, or of its image"


class SymmetryFunctions:
    """A list of symmetry functions, computed for the environments of chosen atoms in many configurations.

    The functions see distances and angles only, and sum over neighbours: they do not change when the system
    is translated, rotated or reflected, when atoms of a species are exchanged, or when an atom is replaced by
    a periodic image. All images within the cutoffs are neighbours, an atom's own images included.

    Parameters
    ----------
    functions : sequence of `G2`, `G4`, `G5`
        In the order of the features.
    cutoff_function : `Cosine` (the default) or `Polynomial`

    Raises
    ------
    ValueError
        If there are no functions.
    TypeError
        If one of them is something else.

    Notes
    -----
    J. Behler, J. Chem. Phys. 134, 074106 (2011). Every pair of neighbours counts once in `G4` and `G5`.

    Examples
    --------
    Two oxygen atoms 1.21 apart, above a fixed palladium atom:

    >>> import numpy as np
    >>> functions = SymmetryFunctions([G2("O", eta=1.0), G2("Pd", eta=0.1), G5(("O", "Pd"), eta=0.1)])
    >>> o2 = np.array([[[0.0, 0.0, 2.0], [0.5, 0.0, 3.1]]])
    >>> surface = {"frozen_positions": np.zeros((1, 3)), "frozen_species": ["Pd"]}
    >>> values, jacobian = functions.compute(o2, ["O", "O"], **surface)
    >>> values.shape, jacobian.shape
    ((1, 2, 3), (1, 2, 3, 2, 3))
    >>> values[0].round(4)
    array([[0.2098, 0.5027, 0.0352],
           [0.2098, 0.1729, 0.2651]])
    """

    def __init__(self, functions: Iterable[G2 | G5], cutoff_function: Any = None) -> None:
        self.functions = tuple(functions)
        self.cutoff_function = Cosine() if cutoff_function is None else cutoff_function
        if not self.functions:
            raise ValueError("SymmetryFunctions: give at least one of G2, G4, G5")
        for k, f in enumerate(self.functions):
            if not isinstance(f, (G2, G5)):
                raise TypeError(f"SymmetryFunctions: functions[{k}] is {f!r}; it must be one of G2, G4, G5")
        named = [s for f in self.functions for s in ((f.neighbor,) if isinstance(f, G2) else f.neighbors)]
        self.species: tuple[Species, ...] = tuple(dict.fromkeys(named))
        self.cutoff = max(f.cutoff for f in self.functions)
        self._tables: Tables = tables_of(self.functions, self.species)

    def __len__(self) -> int:
        """Return the number of features per atom."""
        return len(self.functions)

    def __repr__(self) -> str:
        kinds = [type(f).__name__ for f in self.functions]
        counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        species = ", ".join(map(str, self.species))
        return f"SymmetryFunctions({counts}; species {species}; cutoff {self.cutoff:g})"

    def compute(
        self,
        positions: ArrayLike,
        species: Sequence[Species],
        *,
        cell: ArrayLike | None = None,
        pbc: Any = True,
        frozen_positions: ArrayLike | None = None,
        frozen_species: Sequence[Species] = (),
        centers: ArrayLike | None = None,
        backend: str | None = None,
    ) -> tuple[Array, Array]:
        """Compute the functions and their derivatives by the positions of the moving atoms.

        Parameters
        ----------
        positions : (n, moving, 3)
            The atoms that move, in n configurations.
        species : moving labels
            Symbols or numbers, as named in the functions. An atom of a species that no function names is not
            seen as a neighbour.
        cell : (3, 3), optional
            Lattice vectors as rows. Without a cell nothing is periodic.
        pbc : bool, or three
            Which lattice vectors are periodic.
        frozen_positions : (frozen, 3), optional
            Atoms that are the same in all configurations: neighbours without derivatives.
        frozen_species : frozen labels
        centers : indices into ``positions``, optional
            The atoms whose environments are described; by default all that move.
        backend : "numba" or "numpy", optional
            The compiled loops, or the plain formulas (a hundred times slower); by default Numba where it is
            installed.

        Returns
        -------
        values : (n, centers, features)
        jacobian : (n, centers, features, moving, 3)
            d values / d positions.

        Raises
        ------
        ValueError
            If shapes do not fit, positions are not finite, or two atoms lie at the same place.

        Examples
        --------
        >>> import numpy as np
        >>> wire = np.array([[[0.1, 0.0, 0.0], [2.0, 0.0, 0.0]]])
        >>> functions = SymmetryFunctions([G2("Pd", eta=0.5, cutoff=3.0)])
        >>> values, jacobian = functions.compute(wire, ["Pd", "Pd"], cell=np.diag([4.0, 9.0, 9.0]))
        >>> values[0, :, 0].round(4)
        array([0.0715, 0.0715])
        >>> jacobian[0, 0, 0].round(4)
        array([[ 0.0769,  0.    ,  0.    ],
               [-0.0769,  0.    ,  0.    ]])
        """
        values, jacobian = self._compute(
            positions, species, cell, pbc, frozen_positions, frozen_species, centers, backend, wanted=True
        )
        assert jacobian is not None
        return values, jacobian

    def values(self, positions: ArrayLike, species: Sequence[Species], **settings: Any) -> Array:
        """Compute the functions alone, (n, centers, features); parameters as for `compute`.

        Examples
        --------
        >>> functions = SymmetryFunctions([G2("H", eta=1.0)])
        >>> functions.values([[[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]]], ["H", "H"]).round(4).tolist()
        [[[0.5569], [0.5569]]]
        """
        given = {
            "cell": None,
            "pbc": True,
            "frozen_positions": None,
            "frozen_species": (),
            "centers": None,
            "backend": None,
        }
        unknown = settings.keys() - given.keys()
        if unknown:
            raise TypeError(f"values: unknown arguments {sorted(unknown)}; there are {sorted(given)}")
        return self._compute(positions, species, **{**given, **settings}, wanted=False)[0]

    def _compute(
        self,
        positions: Any,
        species: Any,
        cell: Any,
        pbc: Any,
        frozen_positions: Any,
        frozen_species: Any,
        centers: Any,
        backend: str | None,
        wanted: bool,
    ) -> tuple[Array, Array | None]:
        x = np.ascontiguousarray(positions, np.float64)
        if x.ndim != 3 or x.shape[2] != 3:
            raise ValueError(f"positions must have shape (n, atoms, 3), got {x.shape}; for one: positions[None]")
        frozen = np.ascontiguousarray(np.zeros((0, 3)) if frozen_positions is None else frozen_positions, np.float64)
        if frozen.ndim != 2 or frozen.shape[1] != 3:
            raise ValueError(f"frozen_positions must have shape (atoms, 3), got {frozen.shape}")
        for name, labels, count in (
            ("species", species, x.shape[1]),
            ("frozen_species", frozen_species, len(frozen)),
        ):
            if len(labels) != count:
                raise ValueError(f"{name} has {len(labels)} labels for {count} atoms")
        if not (np.isfinite(x).all() and np.isfinite(frozen).all()):
            raise ValueError("positions must be finite; NaN or infinity was found")
        chosen = np.arange(x.shape[1]) if centers is None else np.asarray(centers, np.int64).reshape(-1)
        if chosen.size and not (chosen.min() >= 0 and chosen.max() < x.shape[1]):
            raise ValueError(f"centers must be indices of the {x.shape[1]} moving atoms, got {chosen.tolist()}")
        lattice = images(cell, pbc, self.cutoff)
        labels = [*species, *frozen_species]
        if backend not in (None, "numba", "numpy"):
            raise ValueError(f"backend must be 'numba' or 'numpy', got {backend!r}")
        if backend is None:
            backend = "numba" if importlib.util.find_spec("numba") else "numpy"
        run = self._in_numpy if backend == "numpy" else self._compiled
        return run(x, frozen, labels, chosen, lattice, wanted)

    def _compiled(
        self, x: Array, frozen: Array, labels: list[Species], centers: Any, lattice: Images, wanted: bool
    ) -> tuple[Array, Array | None]:
        from tinynn.kernels.threads import share
        from tinynn.potentials import kernel

        number = {name: i for i, name in enumerate(self.species)}
        kinds = np.array([number.get(label, -1) for label in labels], np.int64)
        seen = np.flatnonzero(kinds[x.shape[1] :] >= 0)  # frozen atoms that no function names need not be looked at
        frozen, kinds = frozen[seen], np.concatenate([kinds[: x.shape[1]], kinds[x.shape[1] :][seen]])
        room, where = kernel.most_neighbors(x, frozen, centers, lattice, self.cutoff)
        if where >= 0:
            raise ValueError(_COINCIDENT.format(where))
        n, moving = x.shape[:2]
        values = np.zeros((n, len(centers), len(self)))
        jacobian = np.zeros((n, len(centers), len(self), moving, 3) if wanted else (1, 1, 1, 1, 3))
        # about 1 ns per pair of neighbours and function
        estimate = n * len(centers) * (0.5 * room * room + room) * len(self)
        share(
            kernel.symmetry_functions, n, estimate, x, frozen, kinds, centers, lattice, room, self.cutoff,
            self.cutoff_function.code(), self._tables, values, jacobian, wanted,
        )  # fmt: skip
        return values, jacobian if wanted else None

    def _in_numpy(
        self, x: Array, frozen: Array, labels: list[Species], centers: Any, lattice: Images, wanted: bool
    ) -> tuple[Array, Array | None]:
        n, moving = x.shape[:2]
        values = np.zeros((n, len(centers), len(self)))
        jacobian = np.zeros((n, len(centers), len(self), moving, 3))
        names = np.empty(len(labels), object)
        names[:] = labels
        for c in range(n):
            atoms = np.concatenate([x[c], frozen])
            if any((neighbors(int(i), atoms, lattice, self.cutoff)[2] < 1e-10).any() for i in centers):
                raise ValueError(_COINCIDENT.format(c))
            values[c], jacobian[c] = reference.symmetry_functions(
                self.functions, self.cutoff_function, atoms, names, centers, lattice, moving
            )
        return values, jacobian if wanted else None
