"""`SymmetryFunctions`: descriptors of atomic environments, and their derivatives by the positions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynn.potentials import cutoffs
from tinynn.potentials.cutoffs import Cosine, Polynomial
from tinynn.potentials.environments import canonical, environments, values_and_jacobian
from tinynn.potentials.functions import G2, G4, G5, Species
from tinynn.potentials.system import System
from tinynn.potentials.tables import Tables, tables_of

Array = NDArray[np.float64]


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

    Attributes
    ----------
    functions, cutoff_function : as given
    species : the species that the functions name; elements as atomic numbers
    cutoff : the largest of the cutoffs

    Raises
    ------
    ValueError
        If there are no functions.
    TypeError
        If one of them is something else, or the cutoff function is.

    Notes
    -----
    J. Behler, J. Chem. Phys. 134, 074106 (2011). Every pair of neighbours counts once in `G4` and `G5`. An element may
    be named by its symbol or by its atomic number, here and there.

    dscribe's ACSF with ``r_cut`` and the same parameters has the same values: (η, r_s) of its G2 are ``eta, shift``;
    (η, ζ, λ) of its G4 and G5 are ``eta, zeta, lambda_``, and ``shift`` is 0; its G1 is `G2` with ``eta=0``. It has one
    cutoff, and all functions for all species: per species G1 and G2, then per pair of species (1-1, 2-1, 2-2, 3-1, ...,
    by atomic number) G4 and G5.

    Examples
    --------
    Two oxygen atoms 1.21 apart, above a fixed palladium atom:

    >>> import numpy as np
    >>> functions = SymmetryFunctions([G2("O", eta=1.0), G2("Pd", eta=0.1), G5(("O", "Pd"), eta=0.1)])
    >>> system = System("OO", frozen_numbers=["Pd"], frozen_positions=np.zeros((1, 3)))
    >>> o2 = np.array([[[0.0, 0.0, 2.0], [0.5, 0.0, 3.1]]])
    >>> values, jacobian = functions.compute(o2, system)
    >>> values.shape, jacobian.shape
    ((1, 2, 3), (1, 2, 3, 2, 3))
    >>> values[0].round(4)
    array([[0.2098, 0.5027, 0.0352],
           [0.2098, 0.1729, 0.2651]])

    On a tensor they are an operation like others, which can be differentiated twice:

    >>> import tinynn
    >>> x = tinynn.tensor(o2, requires_grad=True)
    >>> functions(x, system).sum().backward()
    >>> np.allclose(x.grad, jacobian.sum(axis=(1, 2)))
    True
    """

    def __init__(self, functions: Iterable[G2 | G5], cutoff_function: Any = None) -> None:
        self.functions = tuple(functions)
        self.cutoff_function = Cosine() if cutoff_function is None else cutoff_function
        if not self.functions:
            raise ValueError("SymmetryFunctions: give at least one of G2, G4, G5")
        for k, f in enumerate(self.functions):
            if not isinstance(f, (G2, G5)):
                raise TypeError(f"SymmetryFunctions: functions[{k}] is {f!r}; it must be one of G2, G4, G5")
        if not isinstance(self.cutoff_function, (Cosine, Polynomial)):
            raise TypeError(f"SymmetryFunctions: cutoff_function must be Cosine or Polynomial, got {cutoff_function!r}")
        self.named = tuple(map(_canonical, self.functions))  # with elements as numbers
        species = [s for f in self.named for s in ((f.neighbor,) if isinstance(f, G2) else f.neighbors)]
        self.species: tuple[Species, ...] = tuple(dict.fromkeys(species))
        self.cutoff = max(f.cutoff for f in self.functions)
        self.tables: Tables = tables_of(self.named, self.species)

    def __len__(self) -> int:
        """Return the number of features per atom."""
        return len(self.functions)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SymmetryFunctions):
            return NotImplemented
        return (self.named, self.cutoff_function) == (other.named, other.cutoff_function)

    def __hash__(self) -> int:
        return hash((self.named, self.cutoff_function))

    def __repr__(self) -> str:
        kinds = [type(f).__name__ for f in self.functions]
        counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        named = [s for f in self.functions for s in ((f.neighbor,) if isinstance(f, G2) else f.neighbors)]
        species = ", ".join(map(str, dict.fromkeys(named)))
        return f"SymmetryFunctions({counts}; species {species}; cutoff {self.cutoff:g})"

    def compute(
        self,
        positions: ArrayLike,
        system: System | Sequence[Species],
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
        system : `System`, or moving labels
            The system, which has a cell and frozen atoms. Or the species of the moving atoms alone, and the rest in
            the arguments that follow; then labels may be anything that the functions name. An atom of an element that
            no function names is not seen as a neighbour.
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
            If shapes do not fit, positions are not finite, there are none, or two atoms lie at the same place.
        MemoryError
            If the Jacobian would take more than 16 GiB.

        Examples
        --------
        >>> import numpy as np
        >>> wire = np.array([[[0.1, 0.0, 0.0], [2.0, 0.0, 0.0]]])
        >>> functions = SymmetryFunctions([G2("Pd", eta=0.5, cutoff=3.0)])
        >>> values, jacobian = functions.compute(wire, System(["Pd", "Pd"], cell=np.diag([4.0, 9.0, 9.0]), pbc=True))
        >>> values[0, :, 0].round(4)
        array([0.0715, 0.0715])
        >>> jacobian[0, 0, 0].round(4)
        array([[ 0.0769,  0.    ,  0.    ],
               [-0.0769,  0.    ,  0.    ]])
        """
        given = environments(self, positions, system, cell, pbc, frozen_positions, frozen_species, centers)
        return values_and_jacobian(self, given, backend, wanted=True)

    def values(
        self, positions: ArrayLike, system: System | Sequence[Species], *, backend: str | None = None, **settings: Any
    ) -> Array:
        """Compute the functions alone, (n, centers, features); parameters as for `compute`.

        Examples
        --------
        >>> functions = SymmetryFunctions([G2("H", eta=1.0)])
        >>> functions.values([[[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]]], System("HH")).round(4).tolist()
        [[[0.5569], [0.5569]]]
        """
        return values_and_jacobian(self, environments(self, positions, system, **settings), backend, wanted=False)[0]

    def __call__(self, positions: Any, system: System, centers: ArrayLike | None = None) -> Any:
        """Compute the functions of a tensor, as an operation that can be differentiated twice.

        No Jacobian is kept: the derivatives by the positions are computed when they are asked for, contracted with what
        they are multiplied by. So it suits systems of thousands of atoms, and forces in a loss.

        Parameters
        ----------
        positions : Tensor (n, moving, 3)
            Computed in float64, returned in the dtype of the positions.
        system : `System`
        centers : indices of atoms, optional

        Returns
        -------
        Tensor (n, centers, features)

        Raises
        ------
        GraphError
            When third derivatives are asked for.

        Examples
        --------
        >>> import tinynn
        >>> functions = SymmetryFunctions([G2("H", eta=1.0)])
        >>> x = tinynn.tensor([[[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]]], requires_grad=True)
        >>> tinynn.grad(functions(x, System("HH")).sum(), x).numpy().round(2)
        array([[[ 0.  ,  0.  ,  1.76],
                [ 0.  ,  0.  , -1.76]]])
        """
        from tinynn.potentials.symmetry_operations import apply_functions

        return apply_functions(self, positions, system, centers)

    def settings(self) -> dict[str, Any]:
        """Return what is needed to make these functions again, as plain values.

        Examples
        --------
        >>> functions = SymmetryFunctions([G2("H", eta=1.0)])
        >>> functions.settings()["cutoff_function"]
        {'kind': 'Cosine'}
        >>> SymmetryFunctions.from_settings(functions.settings()) == functions
        True
        """
        return {
            "functions": [_plain(f) for f in self.functions],
            "cutoff_function": _plain(self.cutoff_function),
        }

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> SymmetryFunctions:
        """Make the functions that `settings` describes."""
        functions = []
        for written in settings["functions"]:
            values = {name: tuple(v) if isinstance(v, list) else v for name, v in written.items() if name != "kind"}
            functions.append({"G2": G2, "G4": G4, "G5": G5}[written["kind"]](**values))
        cutoff = dict(settings["cutoff_function"])
        return cls(functions, getattr(cutoffs, cutoff.pop("kind"))(**cutoff))


def _canonical(f: Any) -> Any:
    """The same function with elements as atomic numbers."""
    if isinstance(f, G2):
        return replace(f, neighbor=canonical(f.neighbor))
    return replace(f, neighbors=tuple(map(canonical, f.neighbors)))


def _plain(part: Any) -> dict[str, Any]:
    values = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(part).items()}
    return {"kind": type(part).__name__, **values}
