"""What the commands of `training` share: how they are read, how they speak, how they end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from mmu.errors import MmuError, UsageError


def parser(name: str, words: str | None) -> argparse.ArgumentParser:
    """Of `python -m training.NAME`; whatever is asked of it has a `run`, see `main`."""
    return argparse.ArgumentParser(
        prog=f"python -m training.{name}", description=words, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def main(made: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    """Run what is asked; 0 if all is well, 2 if it cannot be done, which one line on stderr tells."""
    asked = made.parse_args(arguments)
    try:
        asked.run(asked)
    except MmuError as problem:
        print(f"{made.prog.rpartition('.')[2]}: {problem}", file=sys.stderr)  # noqa: T201
        return problem.exit_code
    return 0


def say(words: str) -> None:
    """A line on stdout, at once: logs of jobs are read while they run."""
    print(words, flush=True)  # noqa: T201


def add_share(made: argparse.ArgumentParser) -> None:
    """The options `--split` and `--splits`; see `share`."""
    made.add_argument("--split", help="train, validation or test: only that share of the sky")
    made.add_argument(
        "--splits", type=splits, metavar="NAME=SHARE,...", help="of the sky; train=0.8,validation=0.1,test=0.1"
    )


def share(asked: argparse.Namespace) -> dict[str, Any]:
    """What these say, as `split` and `splits`.

    Raises:
        UsageError: the sky is shared out, and no share of it asked for.
    """
    if asked.splits is not None and asked.split is None:
        raise UsageError(f"--splits without --split: say which of {', '.join(asked.splits)} is meant.")
    return {"split": asked.split, "splits": asked.splits}


def splits(words: str) -> dict[str, float]:
    """The shares of the sky that an option names."""
    try:
        return {name: float(share) for name, share in (part.split("=") for part in words.split(","))}
    except ValueError as problem:
        msg = f"{words!r}: give names and shares, such as train=0.8,test=0.2."
        raise argparse.ArgumentTypeError(msg) from problem
