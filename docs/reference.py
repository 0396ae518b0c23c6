"""Write the reference pages: one per room of the package, with a section per module.

The pages follow the files, so a new module appears by itself.
"""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "tinynn"

# The rooms in the order in which a reader needs them; what is not named here comes after, by name.
ORDER = [
    "tensor",
    "autodiff",
    "ops",
    "functional",
    "func",
    "creation",
    "random",
    "nn",
    "optim",
    "data",
    "io",
    "train",
]

INDEX = """# Reference

One page per room of the source tree. The functions of `tinynn.ops`, `tinynn.functional` and `tinynn.creation`
are all available as `tinynn.NAME`, and where NumPy has a method of that name, as a method of `Tensor`.

```{toctree}
:maxdepth: 1

%s
```
"""


def write_pages(folder: Path) -> None:
    """Write ``index.md`` and a page per room to `folder`; files that would not change are left alone."""
    folder.mkdir(exist_ok=True)
    rooms = sorted(_rooms(), key=lambda room: (ORDER.index(room) if room in ORDER else len(ORDER), room))
    pages = {room: _page(room) for room in rooms} | {"index": INDEX % "\n".join(rooms)}
    for old in folder.glob("*.md"):
        if old.stem not in pages:
            old.unlink()
    for name, text in pages.items():
        target = folder / f"{name}.md"
        # Sphinx rebuilds what is newer than its last output.
        if not target.exists() or target.read_text() != text:
            target.write_text(text)


def _rooms() -> list[str]:
    modules = [path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("_")]
    packages = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    return modules + packages


def _page(room: str) -> str:
    package = PACKAGE / room
    if not package.is_dir():
        return f"# tinynn.{room}\n\n{_automodule(f'tinynn.{room}', members=True)}"
    parts = [f"# tinynn.{room}\n", _automodule(f"tinynn.{room}", members=False)]
    for path in sorted(package.rglob("*.py")):
        if path.name == "__init__.py" or not ast.get_docstring(ast.parse(path.read_text())):
            continue
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        parts += [f"## {module}\n", _automodule(module, members=True)]
    return "\n".join(parts)


def _automodule(module: str, *, members: bool) -> str:
    option = "members" if members else "no-members"
    return f"```{{eval-rst}}\n.. automodule:: {module}\n   :{option}:\n```\n"
