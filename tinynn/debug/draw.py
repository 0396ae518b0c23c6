"""A picture of the recorded graph: Graphviz text, or drawn by Matplotlib."""

from __future__ import annotations

import os
from typing import Any

from tinynn.debug.explain import name_leaves, reachable
from tinynn.graph import GraphError, Node
from tinynn.tensor import Tensor

PICTURES = (".png", ".svg", ".pdf")
TEXTS = (".dot", ".gv")


def draw(loss: Tensor, path: str | os.PathLike[str] | None = None, names: Any = None) -> str:
    """The graph behind a tensor, from its leaves (boxes) through its operations (ellipses) to itself.

    Parameters
    ----------
    loss : the tensor
    path : where to write it: ``.dot`` or ``.gv`` for the text, ``.png``, ``.svg`` or ``.pdf`` for a picture
        (by Matplotlib: good for some dozens of operations; for more, give the text to Graphviz). None:
        nowhere.
    names : a module, or a dict from name to tensor: what to call the leaves

    Returns
    -------
    The graph in Graphviz's language, DOT.

    Raises
    ------
    GraphError
        If the tensor has no graph.
    ValueError
        If the ending of ``path`` is none of those above.

    Examples
    --------
    >>> import tinynn
    >>> w = tinynn.tensor([1.0, 2.0], requires_grad=True)
    >>> print(tinynn.debug.draw((w * w).sum(), names={"w": w}))
    digraph backward {
      rankdir=LR; node [fontname="Helvetica"];
      n0 [label="w\\n(2,)", shape=box, style=filled, fillcolor="#cfe8cf"];
      n1 [label="Mul\\n(2,)", shape=ellipse];
      n2 [label="Sum\\n()", shape=ellipse, style=filled, fillcolor="#f4d9c6"];
      n0 -> n1 [label="a"];
      n0 -> n1 [label="b"];
      n1 -> n2;
    }
    """
    if loss.node is None:
        raise GraphError(
            f"draw: {loss.describe()} does not depend on anything with requires_grad=True, there is no graph"
        )
    nodes = reachable(loss.node)[::-1]
    leaves = name_leaves(nodes, names)
    text = _dot(nodes, leaves, loss.node)
    if path is not None:
        ending = os.path.splitext(os.fspath(path))[1].lower()
        if ending in TEXTS:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text + "\n")
        elif ending in PICTURES:
            _picture(nodes, leaves, loss.node, path)
        else:
            raise ValueError(
                f"draw: {os.fspath(path)!r} ends in {ending!r}; choose one of {', '.join(TEXTS + PICTURES)}"
            )
    return text


def _label(node: Node, leaves: dict[Node, str]) -> str:
    return f"{leaves.get(node) or type(node.op).__name__}\n{node.shape}"


def _edges(nodes: list[Node]) -> list[tuple[Node, Node, str]]:
    """(from, to, name of the input): the name only where there is a choice."""
    edges = []
    for node in nodes:
        for i, parent in enumerate(node.parents):
            if parent is not None:
                names = node.op.inputs
                edges.append((parent, node, names[min(i, len(names) - 1)] if len(node.parents) > 1 else ""))
    return edges


def _dot(nodes: list[Node], leaves: dict[Node, str], end: Node) -> str:
    number = {node: f"n{k}" for k, node in enumerate(nodes)}
    lines = ["digraph backward {", '  rankdir=LR; node [fontname="Helvetica"];']
    for node in nodes:
        look = "shape=ellipse"
        if node in leaves:
            look = 'shape=box, style=filled, fillcolor="#cfe8cf"'
        elif node is end:
            look += ', style=filled, fillcolor="#f4d9c6"'
        label = _label(node, leaves).replace('"', '\\"').replace("\n", "\\n")
        lines.append(f'  {number[node]} [label="{label}", {look}];')
    for start, stop, name in _edges(nodes):
        lines.append(f"  {number[start]} -> {number[stop]}" + (f' [label="{name}"];' if name else ";"))
    return "\n".join([*lines, "}"])


def _places(nodes: list[Node]) -> dict[Node, tuple[float, float]]:
    """Columns by distance from the leaves; in a column, each node near the middle of its inputs."""
    column: dict[Node, int] = {}
    for node in nodes:  # inputs come before their users
        column[node] = max((column[parent] + 1 for parent in node.parents if parent is not None), default=0)
    users: dict[Node, list[Node]] = {}
    for start, stop, _ in _edges(nodes):
        users.setdefault(start, []).append(stop)
    for node in nodes:  # a leaf stands just before its first user
        if not node.parents and node in users:
            column[node] = min(column[user] for user in users[node]) - 1
    columns: dict[int, list[Node]] = {}
    for node in nodes:
        columns.setdefault(column[node], []).append(node)
    height: dict[Node, float] = {}
    for _, members in sorted(columns.items()):

        def wish(node: Node) -> float:
            inputs = [height[parent] for parent in node.parents if parent in height]
            return sum(inputs) / len(inputs) if inputs else 1.0  # leaves below the path they join

        members.sort(key=wish)
        for k, node in enumerate(members):
            height[node] = k - (len(members) - 1) / 2
    return {node: (float(column[node]), height[node]) for node in nodes}


def _picture(nodes: list[Node], leaves: dict[Node, str], end: Node, path: Any) -> None:
    """Draw with Matplotlib's object interface: no window, no global figure."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "draw: pictures need Matplotlib (pip install matplotlib); the .dot text needs nothing"
        ) from error
    places = _places(nodes)
    width = 1 + max(x for x, _ in places.values())
    rows = 1 + 2 * max(abs(y) for _, y in places.values())
    figure = Figure(figsize=(min(1.5 * width + 0.5, 60), min(0.9 * rows + 0.6, 40)), layout="tight")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_xlim(-0.6, width - 0.4)
    axes.set_ylim(-rows / 2 - 0.2, rows / 2 + 0.2)
    joined: dict[tuple[Node, Node], list[str]] = {}  # x * x has two edges between the same two nodes: one arrow
    for start, stop, name in _edges(nodes):
        joined.setdefault((start, stop), []).append(name)
    for (start, stop), labels in joined.items():
        (x0, y0), (x1, y1), name = places[start], places[stop], ", ".join(labels)
        axes.annotate(
            "",
            (x1, y1),
            (x0, y0),
            arrowprops={"arrowstyle": "->", "color": "0.5", "shrinkA": 22, "shrinkB": 22, "lw": 0.9},
        )
        if name:
            axes.text(
                0.4 * x0 + 0.6 * x1,
                0.4 * y0 + 0.6 * y1,
                name,
                fontsize=7,
                color="0.35",
                ha="center",
                va="center",
                bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none"},
            )
    for node, (x, y) in places.items():
        colour = "#cfe8cf" if node in leaves else "#f4d9c6" if node is end else "white"
        shape = "square" if node in leaves else "round"
        axes.text(
            x,
            y,
            _label(node, leaves),
            fontsize=8,
            ha="center",
            va="center",
            bbox={"boxstyle": f"{shape},pad=0.35", "facecolor": colour, "edgecolor": "0.3"},
        )
    figure.savefig(path, dpi=150)
