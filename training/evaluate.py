"""Evaluate what was trained: `python -m training.evaluate codecs --codecs codecs --data data/legacysurvey`.

codecs        reconstructions against the noiseless truth, beside nothing at all and principal components in as many
              bits; of light curves beside the mean of each band and lines from point to point
heldout       what a model knows of objects in another part of the sky, beside two controls; redshifts beside neighbours
agree         the same logits as the published package (polymathic-aion), of weights in its layout or ours
agree-codecs  the same ids and decoded values as that package's codecs, of files in its layout
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmu.errors import UsageError
from training import command
from training.command import say


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 if all is well, 2 if what was asked cannot be done."""
    return command.main(_parser(), arguments)


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("evaluate", __doc__)
    verbs = parser.add_subparsers(required=True, metavar="WHAT")
    _add_codecs(verbs)
    _add_heldout(verbs)
    _add_agree(verbs)
    _add_agree_codecs(verbs)
    return parser


def _add_codecs(verbs: Any) -> None:
    parser = verbs.add_parser("codecs", help="scores of codecs of images, spectra and light curves")
    parser.add_argument("--codecs", type=Path, required=True, metavar="DIR", help="folder of codecs")
    parser.add_argument("--data", nargs="+", required=True, metavar="PATH", help="datasets to score them on")
    parser.add_argument("--truth", nargs="+", default=[], metavar="PATH", help="the same without noise (see mmu build)")
    parser.add_argument("--train", nargs="+", default=[], metavar="PATH", help="what components are fitted to")
    command.add_share(parser)
    parser.add_argument("--most", type=int, default=1000, metavar="N", help="objects of each dataset")
    parser.add_argument("--shuffle-bands", action="store_true", help="also tell image codecs the wrong bands")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="draw some reconstructions beside what was given")
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
    how = {"most": asked.most, **command.share(asked)}
    found = score_folder(asked.codecs, asked.data, asked.truth, asked.train, shuffle=asked.shuffle_bands, **how)
    for line in lines(found):
        say(line)
    if asked.out is not None:
        write_bytes(asked.out, (json.dumps(found, indent=2) + "\n").encode())
    if asked.pictures is not None:
        from training.pictures import draw_codecs

        for path in draw_codecs(asked.codecs, asked.data, asked.pictures, **how):
            say(f"wrote {path}")


def _add_heldout(verbs: Any) -> None:
    parser = verbs.add_parser("heldout", help="nats a token of objects that a model has not seen")
    parser.add_argument("--model", required=True, metavar="PATH", help="folder of a model, or ORG/NAME on the Hub")
    parser.add_argument("--codecs", type=Path, metavar="DIR", help="folder of codecs; needed for redshifts")
    parser.add_argument("--data", type=Path, required=True, metavar="PATH", help="folder of token shards")
    parser.add_argument(
        "--ask", nargs="+", required=True, metavar="TARGET=GIVEN,...", help="tok_redshift=tok_spectrum_desi ..."
    )
    parser.add_argument("--splits", type=command.splits, metavar="NAME=SHARE,...", help="as the model was trained with")
    parser.add_argument("--train", default="train", metavar="SPLIT", help="what is counted for the unigram")
    parser.add_argument("--split", default="test", help="what is judged by")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="draw numbers and spectra beside the true ones")
    parser.add_argument("--threads", type=int, help="of torch; its own choice if left out")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the scores as JSON")
    parser.set_defaults(run=_heldout)


def _heldout(asked: argparse.Namespace) -> None:
    import torch

    from training.heldout import judge
    from training.model import Model
    from training.sources import Shards

    if asked.threads is not None:
        torch.set_num_threads(asked.threads)
    pairs = [words.partition("=") for words in asked.ask]
    if any(not given for _, _, given in pairs):
        raise UsageError(f"--ask {' '.join(asked.ask)}: give TARGET=GIVEN,... such as tok_redshift=tok_spectrum_desi.")
    questions = [(target, given.split(",")) for target, _, given in pairs]
    model = Model.from_pretrained(asked.model, asked.codecs)
    train, test = (
        Shards(asked.data, asked.codecs, None, split, asked.splits).whole() for split in (asked.train, asked.split)
    )
    _told(judge(model, train, test, questions), asked.out)
    if asked.pictures is not None:
        from training.pictures import predictions

        for target, given in questions:
            path = asked.pictures / f"{target}-from-{'-'.join(given)}.png"
            if predictions(model, test, target, given, path) is not None:
                say(f"wrote {path}")


def _add_agree(verbs: Any) -> None:
    parser = verbs.add_parser("agree", help="with the published package")
    parser.add_argument("weights", metavar="PATH", help="folder of a model, or ORG/NAME on the Hub")
    parser.add_argument("--subsets", type=int, default=200, metavar="N", help="random subsets of modalities")
    parser.set_defaults(run=_agree)


def _agree(asked: argparse.Namespace) -> None:
    from training.model.agreement import CLOSE, agree

    found = agree(asked.weights, asked.subsets, lambda one: say(f"{one.question:<40} {one.difference:.1e}"))
    worst = max(one.difference for one in found)
    if worst > CLOSE:
        raise UsageError(f"They do not agree: some logits differ by {worst:.1e}, more than {CLOSE:.0e}.")
    say(f"{len(found)} questions, the largest difference of a logit is {worst:.1e}")


def _add_agree_codecs(verbs: Any) -> None:
    parser = verbs.add_parser("agree-codecs", help="with the published package's")
    parser.add_argument("codecs", type=Path, metavar="DIR", help="folder of codecs in the published layout")
    parser.set_defaults(run=_agree_codecs)


def _agree_codecs(asked: argparse.Namespace) -> None:
    from training.codecs.agreement import CLOSE, agree

    found = agree(asked.codecs, lambda one: say(f"{one.name:<24} {one.differ} of {one.ids:,} ids, {one.apart:.1e}"))
    wrong = [one for one in found if not one.agrees]
    if wrong:
        told = ", ".join(f"{one.name} ({one.differ:,} of {one.ids:,} ids, values by {one.apart:.1e})" for one in wrong)
        raise UsageError(f"They do not agree: {told} differ; no id may, and values by no more than {CLOSE:.0e}.")
    say(f"{len(found)} codecs, {sum(one.ids for one in found):,} ids, none differs")


def _told(found: list[dict[str, Any]], out: Path | None) -> None:
    from mmu.build.files import write_bytes

    for one in found:
        say(" ".join(f"{name} {_short(value)}" for name, value in one.items()))
    if out is not None:
        write_bytes(out, (json.dumps(found, indent=2) + "\n").encode())


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_short, value))
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The scores as text: a block for each codec, dataset and set of bands, a few lines for each method."""
    for codec, datasets in found.items():
        for name, several in datasets.items():
            for one in several:
                codes, what = one["codes"], " ".join([name, one["release"], *one["bands"]])
                yield (
                    f"{codec} on {what}: {one['objects']:,} objects against the {one['against']}, "
                    f"{one['bits']:,} bits each, perplexity {codes['perplexity']:,.0f}, "
                    f"{codes['used']:,} codes used ({codes['share']:.1%})"
                )
                for method, told in one.items():
                    if isinstance(told, dict) and "chi_square" in told:
                        yield from _method(method, told)


def _method(method: str, told: dict[str, Any]) -> Iterator[str]:
    """Median chi-square by signal to noise, then bias and scatter of each measure."""
    yield f"  {method:<22} chi-square: {_cells(told['chi_square'])}"
    if "not_shown" in told:
        yield f"  {'':<22} of points not shown: {_cells(told['not_shown'])}"
    measures: dict[str, Any] = {}
    for name, value in told.items():
        if isinstance(value, dict):
            measures |= {name: value} if "bias" in value else {f"{name} {own}": one for own, one in value.items()}
    parts = [f"{name} {v['bias']:+.3f} ± {v['scatter']:.3f}" for name, v in measures.items() if v["number"]]
    if parts:
        yield f"  {'':<22} {', '.join(parts)}"


def _cells(rows: Sequence[dict[str, Any]]) -> str:
    return ", ".join(
        f"S/N {row['from']:.0f}{'-' + format(row['to'], '.0f') if row['to'] else '+'} ({row['objects']}) "
        f"{row['median']:.3g}"
        for row in rows
    )


if __name__ == "__main__":
    sys.exit(main())
