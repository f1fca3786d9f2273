"""The verbs: pair the objects of several datasets, write the pairs out, describe them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from crossmatch.association import Association
from crossmatch.card import describe
from crossmatch.materialize import materialize
from crossmatch.pairs import whole_rows
from crossmatch.plan import tiles
from crossmatch.rule import Rule, with_motion
from crossmatch.run import run_in_memory, run_on_disk
from crossmatch.sources import Source, Wanted, named, open_source
from crossmatch.work import Where
from mmu.build.progress import Progress
from mmu.errors import unknown
from mmu.sky.region import parse_region


def crossmatch(
    *datasets: Any,
    out: str | Path | None = None,
    radius_arcsec: float = 1.0,
    how: str = "inner",
    mode: str = "nearest",
    k: int = 1,
    required: Iterable[str] = (),
    region: str = "all",
    epochs: bool | Mapping[str, float] = False,
    errors: Mapping[str, str | tuple[str, ...]] | None = None,
    n_sigma: float = 3.0,
    renew: bool = False,
    where: Where | None = None,
    progress: Progress | None = None,
) -> Association:
    """Find which records of several datasets are one object. Exact: no border and no pole loses a pair.

    The first dataset is the anchor: the others are matched to its objects, never to one another's matches. With
    `how="outer"` records that are nobody's become objects in their turn, in the order named.

    Args:
        datasets: two or more folders, `NAME[:release]` addresses, open datasets, `ORG/NAME[:release]` on the Hub or
            catalogues at hf://, https:// or s3://, of which only the columns needed are fetched; or one mapping of
            names to those, or to tables in memory or in a file (Parquet, FITS, CSV, VOTable;
            `"FILE#ra=COL,dec=COL,id=COL"` says which columns), or to a Multimodal Universe v1 folder.
            `"NAME=ADDRESS"` names one.
        out: folder for the result, a HATS catalogue; in memory only if not given.
        radius_arcsec: the largest distance of a match, up to 3600.
        how: "inner" (objects that all have), "left" (all objects of the anchor) or "outer" (all of all).
        mode: "nearest"; "mutual" (nearest both ways); "all" within the radius or the "knn" `k` nearest (two datasets).
        required: names of datasets that an object must be in.
        region: part of the sky, as `mmu build --region` takes it.
        epochs: follow proper motions (columns pmra, pmdec) to the epoch of the other dataset; or name -> Julian year
            where a dataset does not say its own.
        errors: name -> column, or columns of both axes, with positional errors; a pair must then lie within `n_sigma`
            of both together as well as within the radius.
        renew: replace a match of datasets that changed since.
        where: which processes do it.

    Raises:
        UsageError: it cannot be done as asked, in a sentence.
        MmuError: parts of the sky failed; the others are kept, and the same call goes on.
    """
    asked = (radius_arcsec, how, mode, k, required, region, epochs, errors, n_sigma)
    rule, sources = _asked(datasets, *asked)
    where, progress = where or Where(), progress or Progress(quiet=True)
    if out is None:
        return run_in_memory(rule, sources, where, progress)
    return run_on_disk(rule, sources, Path(out).expanduser().absolute(), where, progress, renew)


def estimate(*datasets: Any, **asked: Any) -> str:
    """What `crossmatch` would do with these arguments, in words."""
    rule, sources = _asked(datasets, **asked)
    leaves = tiles(rule, sources)
    sizes = ", ".join(f"{source.name} {source.rows:,}" for source in sources)
    return (
        f"{' x '.join(rule.names)} ({rule.how}, {rule.mode}, within {rule.radius_arcsec:g} arcsec): {sizes} objects; "
        f"at most {len(leaves):,} parts of the sky, each with what lies within {rule.halo_arcsec:g} arcsec of it."
    )


def check_pairs(*datasets: Any) -> None:
    """Can the records of these datasets be written out, once they are matched?

    Raises:
        UsageError: one is a table, or has several rows an object.
    """
    for name, one in named(datasets).items():
        whole_rows(name, str(one))


def _asked(
    datasets: Sequence[Any],
    radius_arcsec: float = 1.0,
    how: str = "inner",
    mode: str = "nearest",
    k: int = 1,
    required: Iterable[str] = (),
    region: str = "all",
    epochs: bool | Mapping[str, float] = False,
    errors: Mapping[str, str | tuple[str, ...]] | None = None,
    n_sigma: float = 3.0,
) -> tuple[Rule, list[Source]]:
    """The rule and the open datasets, checked before anything is read."""
    given = named(datasets[0] if len(datasets) == 1 and isinstance(datasets[0], Mapping) else datasets)
    years = dict(epochs) if isinstance(epochs, Mapping) else {}
    columns = {name: (c,) if isinstance(c, str) else tuple(c) for name, c in (errors or {}).items()}
    for name in {*years, *columns} - set(given):
        raise unknown("dataset", name, given)
    parse_region(region)
    rule = Rule(
        tuple(given), radius_arcsec, how, mode, k, frozenset(required), region=region,
        n_sigma=n_sigma if columns else None,
        errors=tuple(columns.get(name, ()) for name in given) if columns else (),
    )  # fmt: skip
    sources = [
        open_source(name, one, Wanted(bool(epochs), years.get(name), columns.get(name, ())))
        for name, one in given.items()
    ]
    return with_motion(rule, sources) if epochs else rule, sources


__all__ = ["check_pairs", "crossmatch", "describe", "estimate", "materialize"]
