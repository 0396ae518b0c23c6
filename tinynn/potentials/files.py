"""Potentials as files: one safetensors file, which says all that is needed to use it.

Its metadata are the JSON text of a `tinynn.save` checkpoint: the kind of the potential, its descriptors with all
parameters, the widths of its networks, the systems that it was fitted to, and the units. Its arrays are the weights,
the scales and the ranges. Nothing in it is code.
"""

from __future__ import annotations

import os
from typing import Any

import tinynn
from tinynn.io.checkpoint import CheckpointError
from tinynn.io.checkpoint import load as load_checkpoint
from tinynn.io.checkpoint import save as save_checkpoint
from tinynn.potentials.system import System

FORMAT, VERSION = "tinynn potential", 1
UNITS = {"length": "Å", "energy": "eV", "forces": "eV/Å"}


def save(path: str | os.PathLike[str], potential: Any) -> None:
    """Write a potential or a committee; the file appears complete or not at all."""
    save_checkpoint(path, {"format": FORMAT, "version": VERSION, "library": tinynn.__version__, **_written(potential)})


def load(path: str | os.PathLike[str], wanted: type) -> Any:
    """Read what `save` has written, and check that it is of the class ``wanted``."""
    name = os.fspath(path)
    document = load_checkpoint(path)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        kind = (
            f"its keys are {list(document)[:6]}" if isinstance(document, dict) else f"it is a {type(document).__name__}"
        )
        raise CheckpointError(f"{name!r} holds no potential: {kind}. Its arrays can be read by tinynn.load({name!r})")
    version = document.get("version")
    if not isinstance(version, int):
        raise CheckpointError(f"{name!r} is not complete, or was changed: its version of the format is {version!r}")
    if version > VERSION:
        raise CheckpointError(
            f"{name!r} was written by tinynn {document.get('library')} in version {version} of the format; "
            f"this tinynn ({tinynn.__version__}) reads versions up to {VERSION}: take a newer one"
        )
    try:
        made = _made(document)
    except CheckpointError as error:
        raise CheckpointError(f"{name!r}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{name!r} is not complete, or was changed: {type(error).__name__}: {error}") from error
    if not isinstance(made, wanted):
        kind = type(made).__name__
        raise TypeError(f"{name!r} holds a {kind}, not a {wanted.__name__}; read it by {kind}.load({name!r})")
    return made


# -------------------------------------------------------------------------------------------------------- potentials


def _written(potential: Any) -> dict[str, Any]:
    kind = type(potential).__name__
    if type(potential) not in _classes().values():
        raise TypeError(
            f"cannot save a {kind}: a file says how to make {', '.join(_classes())}; "
            "for a class of your own use tinynn.save(path, potential.state_dict())"
        )
    if kind == "Committee":
        return {"class": kind, "members": [_written(member) for member in potential.potentials]}
    one = getattr(potential, "one_descriptor", True)
    descriptors = {part: written_descriptor(d) for part, d in potential.descriptors.items()}
    return {
        "class": kind,
        "descriptor": next(iter(descriptors.values())) if one else descriptors,
        "one_descriptor": one,
        "settings": potential.settings(),
        "tolerance": potential.tolerance,
        "systems": [_written_system(system) for system in potential.systems],
        "units": UNITS,
        "state": potential.state_dict(),
    }


def _made(document: dict[str, Any]) -> Any:
    kind = _classes().get(document["class"])
    if kind is None:
        raise CheckpointError(f"it holds a {document['class']!r}, which this version of tinynn does not know")
    if document["class"] == "Committee":
        return kind([_made(member) for member in document["members"]])
    if document["units"] != UNITS:
        raise CheckpointError(f"its units are {document['units']}; this version of tinynn computes in {UNITS}")
    given = document["descriptor"]
    if document["one_descriptor"]:
        descriptor = made_descriptor(given)
    else:
        descriptor = {part: made_descriptor(d) for part, d in given.items()}
    potential = kind(descriptor, **document["settings"])
    potential.load_state_dict(document["state"])
    potential.tolerance = document["tolerance"]
    potential.systems = tuple(_made_system(system) for system in document["systems"])
    return potential


def _classes() -> dict[str, Any]:
    from tinynn.potentials.atomic_network import AtomicNetwork
    from tinynn.potentials.committee import Committee
    from tinynn.potentials.molecular_network import MolecularNetwork

    return {"AtomicNetwork": AtomicNetwork, "MolecularNetwork": MolecularNetwork, "Committee": Committee}


# ----------------------------------------------------------------------------------------------- descriptors, systems


def written_descriptor(descriptor: Any) -> dict[str, Any]:
    """Return the class of a descriptor and its settings, as plain values."""
    if not hasattr(descriptor, "settings"):
        kind = type(descriptor).__name__
        raise TypeError(
            f"cannot save a potential with a {kind}: a descriptor needs a method settings(), which returns plain "
            "values, and a class method from_settings(values)"
        )
    return {"class": type(descriptor).__name__, **descriptor.settings()}


def made_descriptor(written: dict[str, Any]) -> Any:
    """Make a descriptor from its class and settings."""
    import tinynn.potentials as known

    settings = dict(written)
    name = settings.pop("class")
    kind = getattr(known, name, None)
    if not hasattr(kind, "from_settings"):
        raise CheckpointError(f"its descriptor is a {name!r}, which this version of tinynn does not know")
    return kind.from_settings(settings)  # type: ignore[union-attr]


def _written_system(system: System) -> dict[str, Any]:
    return {
        "numbers": list(system.numbers),
        "cell": None if system.cell is None else system.cell.tolist(),
        "pbc": list(system.pbc),
        "frozen_numbers": list(system.frozen_numbers),
        "frozen_positions": system.frozen_positions.tolist(),
    }


def _made_system(written: dict[str, Any]) -> System:
    places = written["frozen_positions"] or None  # [] has no second axis
    return System(**{**written, "frozen_positions": places})
