"""Evaluate what was trained: `python -m training.evaluate codecs --codecs codecs --data data/legacysurvey`.

codecs    reconstructions against the noiseless truth, beside a blank and principal components in as many bits
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmu.errors import MmuError, UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 if all is well, 2 if what was asked cannot be done."""
    asked = _parser().parse_args(arguments)
    try:
        asked.run(asked)
    except MmuError as problem:
        print(f"evaluate: {problem}", file=sys.stderr)  # noqa: T201
        return problem.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True, metavar="WHAT")
    _add_codecs(verbs)
    return parser


def _add_codecs(verbs: Any) -> None:
    parser = verbs.add_parser("codecs", help="scores of image and spectrum codecs")
    parser.add_argument("--codecs", type=Path, required=True, metavar="DIR", help="folder of codecs")
    parser.add_argument("--data", nargs="+", required=True, metavar="PATH", help="datasets to score them on")
    parser.add_argument("--truth", nargs="+", default=[], metavar="PATH", help="the same without noise (see mmu build)")
    parser.add_argument("--train", nargs="+", default=[], metavar="PATH", help="what components are fitted to")
    parser.add_argument("--most", type=int, default=1000, metavar="N", help="objects of each dataset")
    parser.add_argument("--shuffle-bands", action="store_true", help="also tell image codecs the wrong bands")
    parser.add_argument("--threads", type=int, help="of torch; its own choice if left out")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the scores as JSON")
    parser.set_defaults(run=_codecs)


def _codecs(asked: argparse.Namespace) -> None:
    import torch

    from mmu.build.files import write_bytes
    from training.score_codecs import score_folder

    if asked.most < 1:
        raise UsageError(f"--most {asked.most}: give a number of objects from 1 up.")
    if asked.threads is not None:
        torch.set_num_threads(asked.threads)
    found = score_folder(
        asked.codecs, asked.data, asked.truth, asked.train, most=asked.most, shuffle=asked.shuffle_bands
    )
    for line in lines(found):
        print(line)  # noqa: T201
    if asked.out is not None:
        write_bytes(asked.out, (json.dumps(found, indent=2) + "\n").encode())


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The scores as text: a block for each codec, dataset and set of bands, a line for each method."""
    for codec, datasets in found.items():
        for name, several in datasets.items():
            for one in several:
                codes, bands = one["codes"], " ".join(one["bands"])
                yield (
                    f"{codec} on {name} {bands}: {one['objects']:,} objects against the {one['against']}, "
                    f"{one['bits']:,} bits each, perplexity {codes['perplexity']:,.0f}, "
                    f"{codes['used']:,} codes used ({codes['share']:.1%})"
                )
                for method, told in one.items():
                    if isinstance(told, dict) and "chi_square" in told:
                        yield from _method(method, told)


def _method(method: str, told: dict[str, Any]) -> Iterator[str]:
    """Median chi-square by signal to noise, then bias and scatter of each measure."""
    cells = [
        f"S/N {row['from']:.0f}{'-' + format(row['to'], '.0f') if row['to'] else '+'} ({row['objects']}) "
        f"{row['median']:.3g}"
        for row in told["chi_square"]
    ]
    yield f"  {method:<22} chi-square: {', '.join(cells)}"
    measures = {f"flux {band}": value for band, value in told.get("flux", {}).items()}
    measures |= {name: value for name, value in told.items() if name not in ("chi_square", "flux")}
    parts = [f"{name} {v['bias']:+.3f} ± {v['scatter']:.3f}" for name, v in measures.items() if v["number"]]
    if parts:
        yield f"  {'':<22} {', '.join(parts)}"


if __name__ == "__main__":
    sys.exit(main())
