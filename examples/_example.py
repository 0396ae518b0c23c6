"""What every example shares: its command line, the numbers against their bars, and how pictures are saved."""

from __future__ import annotations

import argparse
import json
import math
import operator
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"

# Okabe and Ito's colours, told apart by everybody; in the order in which a picture should use them.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#222222",
)  # fmt: skip
GREY = "#808080"
STYLE = {
    "figure.dpi": 110,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "image.cmap": "viridis",
}
_COMPARISONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt, "==": operator.eq}


def parser(doc: str | None, *, compiles: bool = False) -> argparse.ArgumentParser:
    """The options of every example; ``compiles`` adds ``--no-compile``."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seed", type=int, default=0, help="of weights, batches and random data (default %(default)s)")
    made.add_argument("--quick", action="store_true", help="a few seconds, to see that it works; bars to match")
    made.add_argument("--out", type=Path, default=HERE / "output", help="folder for pictures (default examples/output)")
    made.add_argument("--show", action="store_true", help="open the pictures in windows as well")
    if compiles:
        made.add_argument(
            "--compile", action=argparse.BooleanOptionalAction, default=True,
            help="run the training step as one compiled program (the default); without, step through it",
        )  # fmt: skip
    return made


def start(options: argparse.Namespace) -> Any:
    """Prepare pictures (no window unless ``--show``) and the output folder; returns ``matplotlib.pyplot``."""
    import matplotlib as mpl

    if not options.show and "MPLBACKEND" not in os.environ:
        mpl.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update(STYLE)
    options.out.mkdir(parents=True, exist_ok=True)
    return plt


@dataclass(frozen=True)
class Number:
    """A number that was reached, and its bar, such as ``<= 50``; ``None``: reported, without a bar."""

    row: int
    what: str
    value: float
    bar: str | None
    unit: str

    @property
    def held(self) -> bool:
        if self.bar is None:
            return True
        sign, limit = self.bar.split()
        return bool(_COMPARISONS[sign](self.value, float(limit)))

    def __str__(self) -> str:
        bar = "" if self.bar is None else f"{self.bar:<11}{'OK' if self.held else 'MISSED'}"
        whole = self.value == int(self.value) if math.isfinite(self.value) else False
        value = f"{self.value:.0f}" if whole and abs(self.value) < 1e9 else f"{self.value:.4g}"
        return f"  {self.what:<62} {value:>10} {self.unit:<9} {bar}".rstrip()


def _shrink(path: Path) -> None:
    """Write a picture again with 256 colours: a third of the size, and no difference to see."""
    from PIL import Image  # matplotlib brings it

    with Image.open(path) as image:
        small = image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


class Report:
    """Collects the numbers and pictures of a run; `finish` prints them and writes them down beside the pictures.

    ``report.number(row, what, value, bar, unit, quick)``: ``row`` is the row of the syllabus (docs/syllabus.md).
    With ``--quick`` the bar ``quick`` holds in place of ``bar``, or none where it is not given.
    """

    def __init__(self, script: str, options: argparse.Namespace) -> None:
        self.name = Path(script).stem
        self.options = options
        self.numbers: list[Number] = []
        self.pictures: list[Path] = []

    def number(
        self, row: int, what: str, value: float, bar: str | None = None, unit: str = "", quick: str | None = None
    ) -> None:
        """Note a number. The bar is a comparison and a limit: ``"<= 50"``."""
        self.numbers.append(Number(row, what, float(value), quick if self.options.quick else bar, unit))

    def picture(self, figure: Any, part: str = "") -> Path:
        """Save a figure as ``<script>.png``, or ``<script>_<part>.png``."""
        path = self.options.out / f"{self.name}{'_' if part else ''}{part}.png"
        figure.savefig(path, bbox_inches="tight")
        _shrink(path)
        self.pictures.append(path)
        return path

    def finish(self) -> int:
        """Print all numbers beside their bars and what was written; returns the exit status (1: a bar was missed)."""
        print()
        for number in self.numbers:
            print(number)
        record = {
            "script": f"examples/{self.name}.py",
            "quick": self.options.quick,
            "seed": self.options.seed,
            "pictures": [path.name for path in self.pictures],
            "numbers": [asdict(number) | {"held": number.held} for number in self.numbers],
        }
        path = self.options.out / f"{self.name}.json"
        path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print("\nwrote " + ", ".join(str(p) for p in [*self.pictures, path]))
        if self.options.show:
            import matplotlib.pyplot as plt

            plt.show()
        missed = [number.what for number in self.numbers if not number.held]
        print("every number as expected" if not missed else f"MISSED: {'; '.join(missed)}")
        return 1 if missed else 0
