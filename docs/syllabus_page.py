"""Write docs/syllabus.md, docs/gallery.md and the table of examples/README.md from what the examples have written.

    python examples/NAME.py --out docs/gallery     # a run in full: pictures, and the numbers as NAME.json
    python docs/syllabus_page.py                   # all three anew

A test holds the pages to the files.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES, GALLERY = ROOT / "examples", ROOT / "docs" / "gallery"
README = EXAMPLES / "README.md"
BEGIN, END = "<!-- examples -->\n", "<!-- end of examples -->\n"
SYLLABUS, PICTURES = ROOT / "docs" / "syllabus.md", ROOT / "docs" / "gallery.md"

# What five courses teach, row by row: (course, system or exercise, the examples that show it, first the main one).
ROWS: dict[int, tuple[str, str, tuple[str, ...]]] = {
    1: ("A", "Lennard-Jones curve: 10 points, 311 parameters, 7-10-10-10-1, many seeds", ("lennard_jones",)),
    2: ("A", "validation and early stopping", ("lennard_jones",)),
    3: ("A", "learning curve, variance, bias and variance, weight decay", ("bias_variance",)),
    4: ("A", "hyperparameters, TensorBoard", ("hyperparameters",)),
    5: ("A", "gradient descent, momentum, mini-batches", ("optimizers",)),
    6: ("A", "good practice: overfit a batch, fake data, short screenings", ("overfit_a_batch", "hyperparameters")),
    7: ("A", "message passing on a molecule", ("message_passing",)),
    8: ("B", "linear regression on element counts", ("element_counts",)),
    9: ("B", "a model of counts gives H2 a flat line; the curve of a network", ("element_counts", "h2_curve")),
    10: ("B", "one hidden layer; universal approximation", ("universal_approximation",)),
    11: ("B", "backpropagation: loss against one weight, updates per epoch", ("derivatives", "optimizers")),
    12: ("B", "the training loop of the courses, line for line", ("training_blueprint",)),
    13: ("B", "two models without training error: choose by validation", ("choosing_a_model",)),
    14: ("B", "45 combinations of depth, width and learning rate", ("hyperparameters",)),
    15: ("B", "cross-validation, test set, data efficiency", ("malonaldehyde", "hyperparameters")),
    16: ("B", "advice: Adam, small networks, batches of 8 to 32", ("training_blueprint", "pes_o2_pd100")),
    17: (
        "B",
        "features of a molecule: coordinates, distances, inverse distances, symmetry functions",
        ("malonaldehyde",),
    ),
    18: ("C", "preparing data: 60-20-20, scaling by the training part, a vault", ("structure_types",)),
    19: ("C", "linear separability; the perceptron", ("perceptron", "structure_types")),
    20: ("C", "structure type from a pair distribution function", ("structure_types",)),
    21: ("C", "linear regression: normal equations", ("regression",)),
    22: ("C", "logistic regression by gradient descent", ("regression",)),
    23: ("C", "chain rule forwards and backwards", ("derivatives",)),
    24: ("C", "unsupervised: clusters of pair distribution functions", ("clustering",)),
    25: ("D", "gradient of the mean squared error of two features", ("derivatives",)),
    26: ("D", "momentum in its two forms", ("optimizers",)),
    27: ("D", "Adam as printed, and as published", ("optimizers",)),
    28: ("D", "optimizers racing", ("optimizers",)),
    29: ("D", "f = (a + b) c by hand", ("derivatives",)),
    30: ("D", "a linear activation by hand", ("derivatives",)),
    31: ("D", "vanishing gradients", ("derivatives",)),
    32: ("D", "activation functions", ("activations",)),
    33: ("D", "batch norm", ("initialisation",)),
    34: ("D", "Xavier initialisation", ("initialisation",)),
    35: ("D", "L1 and L2 penalties", ("derivatives",)),
    36: ("D", "dropout", ("initialisation",)),
    37: ("D", "two-dimensional classification with regions and the warped hidden plane", ("classify2d",)),
    38: ("D", "universal potentials of 400,000 parameters (CHGNet)", ()),
    39: ("E", "forward propagation, the worked example", ("forward_propagation",)),
    40: ("E", "the same in matrix form", ("forward_propagation",)),
    41: ("E", "a network as a graph: connectivity matrix", ("forward_propagation",)),
    42: ("E", "drawing an architecture; activation functions", ("forward_propagation", "activations")),
    43: ("E", "hands-on: train a simple network", ("training_blueprint", "lennard_jones")),
    44: ("E", "O2 on Pd(100): the potential-energy surface", ("pes_o2_pd100",)),
    45: ("E", "gas–surface dynamics: trajectories and sticking", ("o2_pd100_dynamics",)),
    46: ("E", "digits with every layer visible", ("digits",)),
    47: ("E", "a dream of a digit", ("dream", "digits")),
    48: ("E", "training: solvers, momentum, step size, epochs", ("optimizers", "derivatives")),
}
CITED = {38: "A citation only: B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023). Too large for this library."}

# Rows that ask for no number.
NOTES = {
    16: "The examples follow it: Adam, two or three hidden layers, batches of about 32, rates from sweeps by factors.",
    42: "`plot_network` draws the architecture with its numbers; the functions have a picture of their own.",
    48: "The rows 5, 11 and 28 in other words.",
}


def records() -> dict[str, dict[str, Any]]:
    """What each example has written last, by its name."""
    found = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(GALLERY.glob("*.json"))}
    return {name: record for name, record in found.items() if "numbers" in record}


def summary(name: str) -> str:
    """The first sentence of an example's text."""
    text = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text("utf-8"))) or ""
    return re.sub(r" \(rows? [\d, to and]+( of the syllabus)?\)", "", " ".join(text.split("\n\n")[0].split()))


def scripts_of(row: int, found: dict[str, dict[str, Any]]) -> list[str]:
    """The examples of a row: those named above, then all others that report a number for it."""
    named = list(ROWS[row][2])
    others = [name for name, record in found.items() if any(n["row"] == row for n in record["numbers"])]
    return named + [name for name in others if name not in named]


def rows_of(name: str, found: dict[str, dict[str, Any]]) -> str:
    """The rows of an example."""
    return ", ".join(str(row) for row in ROWS if name in scripts_of(row, found))


def _value(number: dict[str, Any]) -> str:
    value = number["value"]
    digits = f"{value:.0f}" if value == round(value) and abs(value) < 1e6 else f"{value:.4g}"
    text = f"{digits} {number['unit']}".strip()
    if number["bar"] is None:
        return text
    return f"**{text}**" if number["held"] else f"**{text}** (missed)"


def _asked(number: dict[str, Any]) -> str:
    return (number["bar"] or "–").replace("<=", "≤").replace(">=", "≥").replace("==", "=")


def syllabus(found: dict[str, dict[str, Any]]) -> str:
    """The page of all rows, each with its numbers."""
    parts = [
        "# The syllabus\n",
        "Five courses on machine learning for chemistry are behind the examples: A, a jump-start into machine "
        "learning; B, neural-network potentials; C, from the perceptron to the multilayer perceptron; D, deep "
        "learning; E, machine learning in computational chemistry. Every system and exercise of them is a row here, "
        "with the script that reproduces it, the number asked for and the number that the script reached. "
        "(`python docs/syllabus_page.py` writes this page from the runs in `docs/gallery`.)\n",
    ]
    shown: set[str] = set()
    for row, (course, title, _) in ROWS.items():
        scripts = scripts_of(row, found)
        parts.append(f"## {row}. {title}\n")
        links = ", ".join(f"[`examples/{name}.py`](gallery.md#{name.replace('_', '-')})" for name in scripts)
        parts.append(
            " ".join([f"Course {course}.", (f"{links}." if links else CITED[row]), NOTES.get(row, "")]).rstrip() + "\n"
        )
        numbers = [n for name in scripts if name in found for n in found[name]["numbers"] if n["row"] == row]
        if numbers:
            lines = [f"| {n['what'].replace('|', chr(92) + '|')} | {_asked(n)} | {_value(n)} |" for n in numbers]
            parts.append("\n".join(["| what | asked for | reached |", "| --- | --- | --- |", *lines]) + "\n")
        for name in scripts:
            if name in found and name not in shown:
                parts += [f"![{_title(name)}](gallery/{picture})\n" for picture in found[name]["pictures"][:1]]
                shown.add(name)
    return "\n".join(parts)


def _title(name: str) -> str:
    words = name.replace("_", " ").replace("pes o2 pd100", "O2 on Pd(100)").replace("o2 pd100", "O2 on Pd(100):")
    return words[0].upper() + words[1:]


def gallery(found: dict[str, dict[str, Any]]) -> str:
    """The page of all pictures."""
    parts = [
        "# Gallery\n",
        "Every picture is made by the example above it, in seconds to minutes on one core: "
        "`python examples/NAME.py`. `--quick` shows that it works, `--help` what can be changed.\n",
    ]
    for name, record in found.items():
        rows = rows_of(name, found)
        where = f" Rows {rows} of [the syllabus](syllabus.md)." if rows else ""
        parts.append(
            f"({name.replace('_', '-')})=\n## {_title(name)}\n\n{summary(name)} `examples/{name}.py`.{where}\n"
        )
        parts += [f"![{_title(name)}](gallery/{picture})\n" for picture in record["pictures"]]
    return "\n".join(parts)


def readme(found: dict[str, dict[str, Any]]) -> str:
    """The README of the examples, with their table anew."""
    rows = ["| script | what it shows | rows of [the syllabus](../docs/syllabus.md) |", "| --- | --- | --- |"]
    rows += [f"| `{name}.py` | {summary(name)} | {rows_of(name, found)} |" for name in found]
    before, rest = README.read_text("utf-8").split(BEGIN)
    return before + BEGIN + "\n".join(rows) + "\n" + END + rest.split(END)[1]


def pages() -> dict[Path, str]:
    """Every page that is written here, with its text."""
    found = records()
    return {SYLLABUS: syllabus(found), PICTURES: gallery(found), README: readme(found)}


def main() -> None:
    for path, text in pages().items():
        path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
