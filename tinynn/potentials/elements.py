"""Chemical symbols and atomic numbers."""

from __future__ import annotations

import operator
from typing import Any

_SYMBOLS = (
    "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr "
    "Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt "
    "Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv "
    "Ts Og"
)
SYMBOLS = tuple(_SYMBOLS.split())  # by atomic number; X is a site without an atom
_NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS)}


def atomic_number(element: Any) -> int:
    """Return the atomic number of an element that is given by its symbol or its number.

    Raises
    ------
    ValueError
        If there is no such element.
    TypeError
        If it is neither a string nor an integer.

    Examples
    --------
    >>> atomic_number("Pd"), atomic_number(8)
    (46, 8)
    """
    if isinstance(element, str):
        if element not in _NUMBERS:
            raise ValueError(f"there is no element {element!r}; symbols are written as in 'H', 'Pd'")
        return _NUMBERS[element]
    try:
        number = operator.index(element)
    except TypeError:
        kind = type(element).__name__
        raise TypeError(f"an element is a symbol such as 'Pd' or an atomic number, got {element!r} ({kind})") from None
    if not 0 <= number < len(SYMBOLS):
        raise ValueError(f"there is no element with the atomic number {number}")
    return number


def symbol_of(element: Any) -> str:
    """Return the chemical symbol of an element that is given by its symbol or its number.

    Examples
    --------
    >>> symbol_of(46)
    'Pd'
    """
    return SYMBOLS[atomic_number(element)]
