"""What imports what: nothing heavy at the start, and no room imports from a floor above its own."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tinynn"
HEAVY = (
    "numba",
    "scipy",
    "cupy",
    "matplotlib",
    "safetensors",
    "torch",
    "llvmlite",
    "tqdm",
    "ase",
    "tensorboardX",
    "mpi4py",
)
LONGEST = 420


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imported(path: Path, everywhere: bool = False) -> Iterator[str]:
    """The modules that a file imports when it is itself imported (or anywhere, also inside functions)."""

    def walk(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) and not everywhere:
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            yield child
            yield from walk(child)

    for node in walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield f"tinynn.{path.parent.relative_to(PACKAGE).as_posix().replace('/', '.')}.{node.module}"
                continue
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms(path: Path, everywhere: bool = False) -> set[str]:
    """Which rooms and files of the library itself a file imports from."""
    names = {name.split(".")[1] for name in imported(path, everywhere) if name.startswith("tinynn.")}
    return names | {"tinynn" for name in imported(path, everywhere) if name == "tinynn"}


def test_import_brings_numpy_only() -> None:
    check = f"import sys, tinynn; print([m for m in {HEAVY!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert run.stdout.strip() == "[]", run.stdout
    assert not run.stderr


def test_training_in_numpy_brings_nothing_heavy_either() -> None:
    code = f"""
import sys, tinynn as tn
with tn.use("numpy"):
    net = tn.nn.Sequential(tn.nn.Linear(2, 4), tn.nn.Tanh(), tn.nn.Linear(4, 1))
    optimizer = tn.optim.Adam(net.parameters(), lr=0.1)
    for x, y in tn.data.DataLoader(tn.data.TensorDataset(tn.ones(8, 2), tn.zeros(8, 1)), batch_size=4):
        optimizer.zero_grad()
        tn.nn.functional.mse_loss(net(x), y).backward()
        optimizer.step()
print([m for m in {HEAVY!r} if m in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert run.stdout.strip() == "[]", run.stdout + run.stderr


def test_kernels_know_only_kernels() -> None:
    for path in (PACKAGE / "kernels").glob("*.py"):
        assert rooms(path, everywhere=True) <= {"kernels"}, path


def test_ops_stand_on_autodiff_and_backends() -> None:
    for path in (PACKAGE / "ops").glob("*.py"):
        assert rooms(path) <= {"autodiff", "ops", "backends"}, path


def test_the_engine_knows_nothing_of_what_stands_on_it() -> None:
    above = {"nn", "optim", "data", "io", "compiler", "debug", "potentials", "sklearn", "distributed"}
    engine = [
        *PACKAGE.glob("ops/*.py"),
        *PACKAGE.glob("backends/*.py"),
        PACKAGE / "tensor.py",
        PACKAGE / "autodiff.py",
    ]
    for path in engine:
        assert not rooms(path, everywhere=True) & above, path


@pytest.mark.parametrize(
    ("room", "not_above"),
    [
        (
            "backends",
            {
                "nn",
                "optim",
                "data",
                "io",
                "compiler",
                "debug",
                "potentials",
                "tensor",
                "func",
                "functional",
            },
        ),
        ("optim", {"nn", "compiler", "debug", "potentials", "sklearn", "distributed"}),
        ("data", {"optim", "compiler", "debug", "potentials", "sklearn", "distributed"}),
        ("io", {"nn", "optim", "debug", "potentials", "sklearn", "distributed"}),
        ("compiler", {"nn", "optim", "debug", "potentials", "sklearn", "distributed"}),
        ("debug", {"nn", "optim", "potentials", "sklearn", "distributed"}),
        ("nn", {"potentials", "debug", "sklearn", "distributed"}),
        ("potentials", {"sklearn", "distributed", "debug"}),
        ("sklearn", {"potentials", "distributed", "debug"}),
        ("distributed", {"potentials", "sklearn", "debug"}),
    ],
)
def test_floors(room: str, not_above: set[str]) -> None:
    for path in (PACKAGE / room).rglob("*.py"):
        assert not rooms(path) & not_above, path


def test_no_file_is_long() -> None:
    lengths = {path.relative_to(PACKAGE): len(path.read_text(encoding="utf-8").splitlines()) for path in modules()}
    assert not {str(path): n for path, n in lengths.items() if n > LONGEST}


def test_heavy_modules_are_imported_where_they_are_needed() -> None:
    for path in modules():
        if path.parent.name == "kernels" or path.stem.startswith("kernel") or path.stem == "calculator":
            continue  # themselves imported when needed
        heavy = {name.split(".")[0] for name in imported(path)} & set(HEAVY)
        assert not heavy, f"{path} imports {heavy} when it is imported"
