"""`SurfaceCoordinates`: symmetry-adapted coordinates of a diatomic molecule on a surface with square symmetry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynn.func import gradients
from tinynn.modes import enable_grad
from tinynn.ops.elementwise import cos, exp, sin, sqrt
from tinynn.ops.joining import stack
from tinynn.potentials.global_descriptor import GlobalDescriptor, beside
from tinynn.potentials.system import System
from tinynn.tensor import Tensor

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SurfaceCoordinates(GlobalDescriptor):
    """Sixteen functions of two equal atoms that have the symmetry of a square surface (plane group p4mm).

    They are smooth everywhere, do not change under what the surface does not notice, and are different for any two
    configurations that differ otherwise. What it does not notice is translation by the lattice constant a along x or y,
    the mirrors x → -x and x ↔ y (which make the other mirrors and the rotations), and exchange of the atoms.

    Parameters
    ----------
    lattice_constant : a, of the square lattice of the surface, in Å
    decay : λ; how fast the surface is forgotten above it, in Å
    length : ℓ; bonds are told apart best around this length, in Å
    origin : (x, y, z)
        A point where the fourfold axis and the mirrors meet (a surface atom or a hollow), at the height where the
        damping is 1.

    Notes
    -----
    With k = 2π/a, atoms at (x_i, y_i, z_i) from the origin, their centre (x, y, z), the bond b = r_2 - r_1, and ::

        n = b / √(ℓ² + b²)        D = exp(-z/λ)                    p = n_x sin kx         q = n_y sin ky
        D_i = exp(-z_i/λ)         γ_i = cos kx_i + cos ky_i        χ_i = cos kx_i cos ky_i

    the functions are ::

        1  n²                                     9   D n_z (p + q)
        2  D                                      10  D n_z (p - q) (cos kx - cos ky)
        3  D (cos kx + cos ky)                    11  D n_z (p - q) (n_x² - n_y²)
        4  D cos kx cos ky                        12  D_1 + D_2
        5  D n_z²                                 13  D_1 γ_1 + D_2 γ_2
        6  D n_x² n_y²                            14  D_1 χ_1 + D_2 χ_2
        7  D (n_x² - n_y²) (cos kx - cos ky)      15  D_1 D_2 γ_1 γ_2
        8  D p q                                  16  D_1 D_2 χ_1 χ_2

    *Complete.* The group acts on (cos kx, sin kx, cos ky, sin ky, n, z), which determine a configuration up to the
    translations. The mirrors of the axes and the exchange of the atoms only change signs, and what they leave alone are
    polynomials in z, n_z², pq and the triples (cos kx, n_x², n_z p) and (cos ky, n_y², n_z q). The mirror x ↔ y
    exchanges the triples. Two triples without an order are known by their sums and by the products of their
    differences, two by two. 1 to 11 say what these are; (n_z (p - q))² can be left out, as it is
    (n_z (p + q))² - 4 n_z² pq, and the other squares follow from sums and products in the same way.

    12 to 16 say nothing new, but in the terms of dissociated atoms: each is on its own lattice.

    Fourier series of atoms and centre, damped by exp(-z), with factors for the orientation, were used for H2 on Pd(100)
    by S. Lorenz, A. Gross and M. Scheffler, Chem. Phys. Lett. 395, 210 (2004), for O2 on Al(111) by J. Behler,
    S. Lorenz and K. Reuter, J. Chem. Phys. 127, 014705 (2007), and for O2 on Ag(111) by I. Goikoetxea et al., New J.
    Phys. 14, 013050 (2012). The list here is not theirs.

    Atoms are taken to be where the positions say: that one of them may be replaced by an image in a supercell is
    not known to the functions. The system's cell and frozen atoms are not looked at.

    Examples
    --------
    >>> import numpy as np
    >>> coordinates = SurfaceCoordinates(lattice_constant=2.75)
    >>> o2 = np.array([[[0.1, 0.3, 2.0], [0.9, 0.8, 2.6]]])
    >>> mirrored = o2[:, ::-1, [1, 0, 2]] + [2.75, 0.0, 0.0]
    >>> np.allclose(coordinates.values(o2), coordinates.values(mirrored), rtol=0, atol=1e-12)
    True
    >>> coordinates.compute(o2)[1].shape
    (1, 1, 16, 2, 3)
    """

    lattice_constant: float
    decay: float = 1.0
    length: float = 1.5
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)

    atoms = 2

    def __post_init__(self) -> None:
        for name in ("lattice_constant", "decay", "length"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and math.isfinite(value) and value > 0.0):
                raise ValueError(f"SurfaceCoordinates: {name} must be a positive length, got {value!r}")
        place = tuple(map(float, self.origin))
        if len(place) != 3 or not all(map(math.isfinite, place)):
            raise ValueError(f"SurfaceCoordinates: origin must be a point (x, y, z), got {self.origin!r}")
        object.__setattr__(self, "origin", place)

    def __len__(self) -> int:
        return 16

    def features(self, x: Any, system: System | None = None) -> Any:
        """The functions (n, 16), by the library's operations."""
        k, decay = 2.0 * math.pi / self.lattice_constant, self.decay
        x = x - beside(np.array(self.origin), x)
        first, second = x[:, 0], x[:, 1]
        centre, bond = (first + second) * 0.5, second - first
        square = (bond * bond).sum(axis=1)
        inverse = 1.0 / sqrt(square + self.length**2)
        nx, ny, nz = (bond[:, i] * inverse for i in range(3))
        cx, sx, cy, sy = (f(k * centre[:, i]) for i in range(2) for f in (cos, sin))
        p, q = nx * sx, ny * sy
        D = exp(centre[:, 2] * (-1.0 / decay))
        across, along = cx - cy, nx * nx - ny * ny
        tilt = D * nz
        molecule = [
            square * inverse * inverse, D, D * (cx + cy), D * cx * cy, tilt * nz, D * (nx * ny) ** 2,
            D * along * across, D * p * q, tilt * (p + q), tilt * (p - q) * across, tilt * (p - q) * along,
        ]  # fmt: skip
        D1, gamma1, chi1 = _of_atom(first, k, decay)
        D2, gamma2, chi2 = _of_atom(second, k, decay)
        both = D1 * D2
        atoms = [
            D1 + D2, D1 * gamma1 + D2 * gamma2, D1 * chi1 + D2 * chi2, both * gamma1 * gamma2, both * chi1 * chi2,
        ]  # fmt: skip
        return stack([*molecule, *atoms], axis=1)

    def values_and_jacobian(self, x: Array, system: System | None = None) -> tuple[Array, Array]:
        """The functions, and their derivatives by automatic differentiation: one walk back per function."""
        with enable_grad():
            positions = Tensor(x).requires_grad_()
            values = self.features(positions, system)
            slopes = [gradients(values[:, k].sum(), positions, retain_graph=True) for k in range(len(self))]
        return values.numpy().copy(), np.stack([slope.numpy() for slope in slopes], axis=1)

    def check(self, x: Array, system: System | None) -> None:
        """Refuse two different atoms, which must not be exchanged."""
        if system is not None and len(set(system.numbers)) != 1:
            raise ValueError(
                f"SurfaceCoordinates do not change when the two atoms are exchanged; {system!r} has two elements"
            )


def _of_atom(x: Any, k: float, decay: float) -> tuple[Any, Any, Any]:
    """The damping of an atom (n, 3), and the sum and the product of its cosines."""
    cx, cy = cos(k * x[:, 0]), cos(k * x[:, 1])
    return exp(x[:, 2] * (-1.0 / decay)), cx + cy, cx * cy
