"""One rank: starts MPI, then runs a script as Python would. So an error in its first lines ends all ranks, too."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from tinynn.distributed.failure import guard
from tinynn.distributed.mpi import import_mpi


def main() -> None:
    script = sys.argv[1]
    del sys.argv[0]
    sys.path[0] = str(Path(script).resolve().parent)
    guard(import_mpi())
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
