"""Run the code of a page, and write what it prints into the page.

    python docs/printed.py docs/compile.md

Blocks of Python run in order, in one namespace. Where a block of text follows directly, it shows what the block of
Python printed, or the exception that it raised. A test holds page and code to each other.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from pathlib import Path
from typing import Any

BLOCK = re.compile(r"```python\n(?P<code>.*?)```(?P<after>\n\n```text\n(?P<text>.*?)```)?", re.DOTALL)


def run(page: str, file: str = "train.py") -> str:
    """The page with what its code prints now; ``file`` is the name that lines of code are known by."""
    names: dict[str, Any] = {"__name__": "__main__"}

    def one(match: re.Match[str]) -> str:
        printed = _output(match["code"], names, file, match["text"] is not None)
        return match[0] if match["text"] is None else f"```python\n{match['code']}```\n\n```text\n{printed}```"

    return BLOCK.sub(one, page)


def _output(code: str, names: dict[str, Any], file: str, may_raise: bool) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            exec(compile(code, file, "exec"), names)
        except Exception as error:
            if not may_raise:
                raise
            print(f"{type(error).__name__}: {error}")
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().rstrip().split("\n"))


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(run(path.read_text("utf-8")), "utf-8")
