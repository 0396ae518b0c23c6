"""The environments that symmetry functions are computed for: positions and species, checked and put into arrays."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinynn.potentials import reference
from tinynn.potentials.checks import require_finite
from tinynn.potentials.elements import SYMBOLS, atomic_number
from tinynn.potentials.functions import Species
from tinynn.potentials.neighbors import TOO_CLOSE, Images, images, neighbors
from tinynn.potentials.system import System

if TYPE_CHECKING:
    from tinynn.potentials.symmetry_functions import SymmetryFunctions

Array = NDArray[np.float64]
LARGEST = 1 << 34  # bytes of a Jacobian


class Environments(NamedTuple):
    """What the functions are computed for.

    Attributes
    ----------
    positions : (n, moving, 3)
    frozen : (frozen, 3), without atoms that no function names
    kinds : (moving + frozen,) int, the species as numbers; -1 for those that no function names
    centers : indices of moving atoms
    lattice : `Images`
    frozen_places : (frozen,) int, the numbers that the frozen atoms had
    """

    positions: Array
    frozen: Array
    kinds: NDArray[np.int64]
    centers: NDArray[np.int64]
    lattice: Images
    frozen_places: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of configurations and of centers."""
        return len(self.positions), len(self.centers)


def canonical(label: Species) -> Species:
    """Return the atomic number of a chemical symbol; other labels as they are."""
    return atomic_number(label) if isinstance(label, str) and label in SYMBOLS else label


def environments(
    functions: SymmetryFunctions,
    positions: Any,
    system: Any,
    cell: Any = None,
    pbc: Any = True,
    frozen_positions: Any = None,
    frozen_species: Any = (),
    centers: Any = None,
) -> Environments:
    """Check everything; parameters as for `SymmetryFunctions.compute`.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, and the configuration where it is about one.
    """
    if isinstance(system, System):
        if not (cell is None and frozen_positions is None and len(frozen_species) == 0):
            raise TypeError("a System knows its cell and its frozen atoms: do not give them besides")
        species: Sequence[Species] = system.numbers
        cell, pbc = system.cell, system.pbc
        frozen_positions, frozen_species = system.frozen_positions, system.frozen_numbers
    else:
        species = system
    x = checked_positions(positions, None)
    frozen = np.ascontiguousarray(np.zeros((0, 3)) if frozen_positions is None else frozen_positions, np.float64)
    if frozen.ndim != 2 or frozen.shape[1] != 3:
        raise ValueError(f"frozen_positions must have shape (atoms, 3), got {frozen.shape}")
    if not np.isfinite(frozen).all():
        raise ValueError("frozen_positions must be finite; NaN or infinity was found")
    number = {name: i for i, name in enumerate(functions.species)}
    kinds = [
        _numbers(name, labels, count, number)
        for name, labels, count in (
            ("species", species, x.shape[1]),
            ("frozen_species", frozen_species, len(frozen)),
        )
    ]
    chosen = np.arange(x.shape[1]) if centers is None else np.asarray(centers)
    if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
        raise TypeError(f"centers must be a list of indices of moving atoms, got {centers!r}")
    if chosen.size and not (chosen.min() >= 0 and chosen.max() < x.shape[1]):
        raise ValueError(f"centers must be indices of the {x.shape[1]} moving atoms, got {chosen.tolist()}")
    seen = np.flatnonzero(kinds[1] >= 0)  # frozen atoms that no function names need not be looked at
    return Environments(
        x, np.ascontiguousarray(frozen[seen]), np.concatenate([kinds[0], kinds[1][seen]]), chosen.astype(np.int64),
        images(cell, pbc, functions.cutoff), seen,
    )  # fmt: skip


def checked_positions(positions: Any, atoms: int | None) -> Array:
    """Return positions as an array (n, atoms, 3), or say what is wrong with them."""
    x = np.ascontiguousarray(positions, np.float64)
    if x.ndim != 3 or x.shape[2] != 3 or (atoms is not None and x.shape[1] != atoms):
        one = "; for one configuration give positions[None]" if x.ndim == 2 else ""
        raise ValueError(f"positions must have shape (n, {atoms or 'atoms'}, 3), got {x.shape}{one}")
    if 0 in x.shape:
        missing = "configurations" if x.shape[0] == 0 else "atoms"
        raise ValueError(f"positions of shape {x.shape} hold no {missing}")
    require_finite("positions", x)
    return x


def _numbers(name: str, labels: Any, count: int, number: dict[Species, int]) -> NDArray[np.int64]:
    """The species of atoms as the numbers that they have in the tables."""
    if isinstance(labels, str):
        raise TypeError(f"{name} must be a list with a label per atom, such as ['O', 'O'], got {labels!r}")
    if len(labels) != count:
        raise ValueError(f"{name} has {len(labels)} labels for {count} atoms")
    kinds = np.full(count, -1, np.int64)
    for i, label in enumerate(labels):
        known = canonical(label)
        if known in number:
            kinds[i] = number[known]
        elif isinstance(label, str) and label not in SYMBOLS:
            raise ValueError(f"{name}[{i}] is {label!r}, which is no chemical element, and in no function")
    return kinds


# ---------------------------------------------------------------------------------------------------- computing


def has_numba() -> bool:
    """Say whether loops can be compiled."""
    return importlib.util.find_spec("numba") is not None


def values_and_jacobian(
    functions: SymmetryFunctions, given: Environments, backend: str | None, wanted: bool
) -> tuple[Array, Array]:
    """Values (n, centers, features), and the Jacobian (n, centers, features, moving, 3): a small one if unwanted."""
    if backend not in (None, "numba", "numpy"):
        raise ValueError(f"backend must be 'numba' or 'numpy', got {backend!r}")
    values = np.zeros((*given.shape, len(functions)))
    shape = (*values.shape, given.positions.shape[1], 3) if wanted else (1, 1, 1, 1, 3)
    if 8 * np.prod(shape, dtype=float) > LARGEST:
        raise MemoryError(
            f"a Jacobian of shape {shape} (configurations, centers, features, atoms, 3) takes "
            f"{8e-9 * np.prod(shape, dtype=float):.0f} GB; give fewer configurations at once, or call the descriptor "
            "on a tensor, which differentiates without a Jacobian"
        )
    jacobian = np.zeros(shape)
    if backend == "numpy" or (backend is None and not has_numba()):
        _in_numpy(functions, given, values, jacobian, wanted)
    else:
        from tinynn.potentials import kernel

        _run(kernel.symmetry_functions, functions, given, values, jacobian, wanted)
    return values, jacobian


def product(kind: str, functions: SymmetryFunctions, given: Environments, g: Any = None, w: Any = None) -> Array:
    """Compute a product with derivatives, without a Jacobian in memory.

    Parameters
    ----------
    kind : "pulled", g · dG/dx, of the shape of positions; "pushed", dG/dx · w, (n, centers, features); "bent",
        g · d²G/dx² · w, of the shape of positions
    g : (n, centers, features)
    w : (n, moving, 3)
    """
    if not has_numba():
        return _product_in_numpy(kind, functions, given, g, w)
    from tinynn.potentials import kernel_products as kernels

    none = np.zeros((0, 0, 0))
    g = none if g is None else np.ascontiguousarray(g, np.float64)
    w = none if w is None else np.ascontiguousarray(w, np.float64)
    out = np.zeros((*given.shape, len(functions)) if kind == "pushed" else given.positions.shape)
    if kind == "bent":
        _run(kernels.second_order, functions, given, g, w, out)
    else:
        pulled, pushed = (none, out) if kind == "pushed" else (out, none)
        _run(kernels.first_order, functions, given, g, w, pulled, pushed)
    return out


def _product_in_numpy(kind: str, functions: SymmetryFunctions, given: Environments, g: Any, w: Any) -> Array:
    """The same from the Jacobian."""
    if kind == "bent":
        raise ImportError("second derivatives of symmetry functions need Numba: pip install numba")
    _, jacobian = values_and_jacobian(functions, given, "numpy", wanted=True)
    if kind == "pushed":
        return np.einsum("nax,ncfax->ncf", w, jacobian)
    return np.einsum("ncf,ncfax->nax", g, jacobian)


def _run(loop: Any, functions: SymmetryFunctions, given: Environments, *rest: Any) -> None:
    """Call a compiled loop over configurations, on several threads if it is long."""
    from tinynn.kernels.threads import share
    from tinynn.potentials import kernel

    x, frozen, kinds, centers, lattice, _ = given
    if not len(centers):
        return
    first = np.concatenate([x[0], frozen])
    count = kernel.count_neighbors(first, int(centers[0]), lattice, functions.cutoff)
    nanoseconds = len(x) * len(centers) * (0.5 * count + 1.0) * count * len(functions)  # 1 per pair and function
    close = np.full((len(x), 2), -1)
    share(
        loop, len(x), nanoseconds, x, frozen, kinds, centers, lattice, functions.cutoff,
        functions.cutoff_function.code(), functions.tables, *rest, close,
    )  # fmt: skip
    refuse_close(close, given)


def refuse_close(close: NDArray[np.int64], given: Environments) -> None:
    """Say which atoms are at the same place, if there are any."""
    bad = np.flatnonzero(close[:, 0] >= 0)
    if bad.size:
        c, moving = int(bad[0]), given.positions.shape[1]
        i, j = map(int, close[c])
        other = "an image of itself" if i == j else f"atom {j}"
        if j >= moving:
            other = f"frozen atom {given.frozen_places[j - moving]}"
        more = f"; so it is in {bad.size} configurations" if bad.size > 1 else ""
        raise ValueError(
            f"positions: in configuration {c}, atom {i} lies at the place of {other} (nearer than {TOO_CLOSE:g}){more}"
        )


def _in_numpy(functions: SymmetryFunctions, given: Environments, values: Array, jacobian: Array, wanted: bool) -> None:
    x, frozen, kinds, centers, lattice, _ = given
    labels = [functions.species[kind] if kind >= 0 else None for kind in kinds]
    for c in range(len(x)):
        atoms = np.concatenate([x[c], frozen])
        for i in centers:
            index, _, distances = neighbors(int(i), atoms, lattice, functions.cutoff)
            if (distances < TOO_CLOSE).any():
                close = np.full((len(x), 2), -1)
                close[c] = i, index[distances.argmin()]
                refuse_close(close, given)
        values[c], slopes = reference.symmetry_functions(
            functions.named, functions.cutoff_function, atoms, labels, centers, lattice, x.shape[1]
        )
        if wanted:
            jacobian[c] = slopes
