"""Pages and records of the compiled benchmarks: as `_common.report`, with the threads and packages used here."""

from __future__ import annotations

import importlib.metadata
import json
import math
from collections.abc import Sequence
from typing import Any

import _common as common

from . import COLUMNS
from .cases import Case
from .elementwise import Layer
from .measure import Measured, best, threads_for

COMPILED = ("tinynn-compiled", "tinynn-epoch")
JAX = ("jax", "jax-scan")


def machine(options: Any) -> dict[str, str]:
    """What a number was measured on."""
    here = common.machine()
    here["threads"] = (
        "one for small cases, all cores for those marked" if options.threads == "auto" else options.threads
    )
    here["load average"] = here.get("load average", "").split(" ")[0] + " (workers run one at a time)"
    packages = {"sklearn": "scikit-learn"}
    for package in dict.fromkeys(column.package for column in COLUMNS.values()):
        if package not in ("tinynn", *here):
            try:
                here[package] = importlib.metadata.version(packages.get(package, package))
            except importlib.metadata.PackageNotFoundError:
                here[package] = "not installed"
    return here


def write(name: str, title: str, text: str, numbers: Any, options: Any) -> None:
    """Print the page, and write page and record where the options ask for it."""
    here = machine(options)
    described = "\n".join(f"- {key}: {value}" for key, value in here.items())
    missing = "".join(f"\n{column}: not installed.\n" for column in options.missing)
    how = "Quick run: the numbers mean little.\n\n" if options.quick else ""
    page = f"# {title}\n\n{how}{text}\n{missing}\n## Machine\n\n{described}\n"
    print(page)
    record = {"benchmark": name, "quick": options.quick, "machine": here, "results": numbers}
    record_text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    if options.json:
        options.json.write_text(record_text, encoding="utf-8")
    if options.save:
        common.RESULTS.mkdir(exist_ok=True)
        (common.RESULTS / f"{name}.md").write_text(page, encoding="utf-8")
        (common.RESULTS / f"{name}.json").write_text(record_text, encoding="utf-8")


def times_table(rows: Sequence[tuple[str, Measured]], columns: Sequence[str]) -> str:
    """One row per case, one column per framework; empty columns are left out."""
    return common.table(["step", *columns], [[title, *(found.words(c) for c in columns)] for title, found in rows])


def bars_table(rows: Sequence[tuple[str, Any, Measured]]) -> str:
    """Every bar of every case, with what was measured: ratios to PyTorch as it comes, and to JAX's best form."""
    lines = []
    for title, bars, found in rows:
        fused = best(found, ("torch", "torch-fused", "torch-foreach"))
        for column, bar in zip(COMPILED, (bars.step, bars.epoch)):
            if bar is None:
                continue
            ratio = found.ratio("torch", column)
            fastest = found.ratio(fused, column) if fused else None
            words = f"{common.duration(found.seconds(fused))} ({fused})" if fused else "–"
            lines.append([
                title, "one call per step" if column == COMPILED[0] else "epoch", times(ratio), f"≥ {bar:g}×",
                common.verdict(ratio, bar), times(fastest), words,
            ])  # fmt: skip
        if bars.jax is not None:
            fast, peer = best(found, COMPILED), best(found, JAX)
            ratio = found.ratio(peer, fast) if fast and peer else None
            words = f"{common.duration(found.seconds(peer))} ({peer})" if peer else "–"
            lines.append([
                title, "against JAX's best form", times(ratio), f"≥ {bars.jax:g}×",
                common.verdict(ratio, bars.jax), "–", words,
            ])  # fmt: skip
    header = ["step", "bar", "ratio", "", "", "ratio to PyTorch's fastest form", "fastest form of the peer"]
    return common.table(header, lines)


def times(ratio: float | None) -> str:
    """``12.3×``."""
    return "–" if ratio is None else f"{common.three_digits(ratio)}×"


def peak_line(case: Case, found: Measured) -> str:
    """A step's time against the time of its matrix products alone at the best rate measured in the same run."""
    if found.limit is None:
        return ""
    products = case.product_flops / found.limit
    rate = f"{found.limit / 1e9:.0f} GFLOP/s, NumPy, 1024×1024, float32, measured in the same rounds"
    title = f"{case.title}{', on all cores' * case.all_cores}"
    return (
        f"**{title}**: the matrix products of a step are {case.product_flops / 1e6:.1f} MFLOP, which take "
        f"{common.duration(products)} at the best rate of the machine ({rate}). A step takes, of that time: "
        f"{_shares(found, products)}. Bar for tinynn compiled: ≤ 1.8×."
    )


def memory_line(layer: Layer, found: Measured) -> str:
    """A layer's time against what it takes to read its input and cotangent and to write its results."""
    if found.limit is None:
        return ""
    moved = 4 * 4 * math.prod(layer.shape)
    least = moved / found.limit
    rate = f"{found.limit / 1e9:.0f} GB/s, measured in the same rounds"
    return (
        f"**{layer.title}**: input, cotangent, output and gradient are {moved / 1e6:.0f} MB, which are read or "
        f"written in {common.duration(least)} at the best rate of the machine ({rate}). A step takes, of that time: "
        f"{_shares(found, least)}."
    )


def _shares(found: Measured, least: float) -> str:
    """Each column's time in units of the least that there can be."""
    times_ = ((name, found.seconds(name)) for name in found.timings.rounds)
    return ", ".join(f"{name} {times(seconds / least)}" for name, seconds in times_ if seconds is not None)


def notes(rows: Sequence[tuple[str, Measured]]) -> str:
    """Which form of a framework was used where."""
    seen: dict[str, list[str]] = {}
    for title, found in rows:
        for column, note in found.notes.items():
            seen.setdefault(f"{column}: {note}", []).append(title)
    return "\n".join(f"- {note} ({len(titles)} of {len(rows)} cases)" for note, titles in seen.items())


def numbers(name: str, title: str, found: Measured, options: Any, all_cores: bool) -> dict[str, Any]:
    """The record of one case."""
    return {
        "case": name,
        "title": title,
        "threads": threads_for(options, all_cores),
        "seconds": found.timings.rounds,
        "losses": found.losses,
        "built in": found.built,
        "notes": found.notes,
        "absent": found.absent,
        "void": found.void,
        "limit": found.limit,
    }
