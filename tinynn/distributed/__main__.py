"""``python -m tinynn.distributed -n 2 train.py --epochs 10``: run a script on several ranks of this machine."""

from __future__ import annotations

import argparse

from tinynn.distributed.launch import launch


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tinynn.distributed", description=__doc__)
    parser.add_argument("-n", "--ranks", type=int, required=True, help="number of processes")
    parser.add_argument("script", help="a Python script")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its own arguments")
    options = parser.parse_args()
    return launch([options.script, *options.arguments], options.ranks, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
