"""Where the archive keeps what, which files to read for a region, and which objects are selected."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmu.sky.region import Region
from mmu.stamps import bit_mask
from mmu.survey import Candidates, File, Group, Paths, Release
from surveys.legacysurvey.fitsfile import read_columns

Facts = Mapping[str, Any]
Columns = dict[str, npt.NDArray[Any]]
Cuts = dict[str, npt.NDArray[np.bool_]]

BRICK_RADIUS_DEG = 0.18
"""Half the diagonal of a brick's unique area, 0.25 x 0.25 degrees, and a little."""

BYTES = {
    "image": 12_000_000,
    "invvar": 1_100_000,
    "maskbits.fits.fz": 270_000,
    "image.jpg": 5_000_000,
    "blobmodel.jpg": 450_000,
}
"""Typical sizes of the files of a brick."""

NOT_PRIMARY = "not primary in its brick"
NO_BRICK = "in a brick outside the survey's area, or without exposures in a band"
FAINT = "no flux, or dereddened z magnitude 21 or fainter"
UNOBSERVED = "not observed in every band"
POINT = "point source"
MASKED = "masked"


def bricks_path(facts: Facts) -> str:
    """The table of bricks."""
    return f"{facts['folder']}/{facts['bricks_file']}"


def tractor_path(facts: Facts, brick: str) -> str:
    """The Tractor catalogue of a brick."""
    return f"{facts['folder']}/tractor/{brick[:3]}/tractor-{brick}.fits"


def coadd_path(facts: Facts, brick: str, kind: str) -> str:
    """A coadd file of a brick; `kind` is the end of its name, such as "image-g.fits.fz"."""
    return f"{facts['folder']}/coadd/{brick[:3]}/{brick}/legacysurvey-{brick}-{kind}"


def bootstrap(release: Release) -> tuple[File, ...]:
    """The table of bricks."""
    return (_bricks_file(release.facts),)


def files(release: Release, unit: str) -> tuple[File, ...]:
    """The files of one brick: its catalogue and mask bits, without which nothing can be read, planes and pictures."""
    facts = release.facts
    found = [File(tractor_path(facts, unit), facts["tractor_row_bytes"] * facts["rows_per_brick"])]
    for kind in facts["kinds"]:
        size = BYTES.get(kind) or BYTES[kind.partition("-")[0]]
        found.append(File(coadd_path(facts, unit, kind), size, required=kind == "maskbits.fits.fz"))
    return tuple(found)


def groups(release: Release, paths: Paths, region: Region, walk: bool) -> Iterator[Group]:
    """One group a brick (its Tractor file) where that is less to read, else one a sweep file; in the order of names."""
    facts = release.facts
    table = survey_bricks(paths[bricks_path(facts)], facts["bands"])
    touched = region.touches(table["RA"], table["DEC"], BRICK_RADIUS_DEG)
    names, rows = table["BRICKNAME"], table["NOBJS"]
    tractor_bytes = int(rows[touched].sum()) * facts["tractor_row_bytes"]
    sweeps = {} if walk else _sweep_rows(table, touched)
    if walk or tractor_bytes <= sum(sweeps.values()) * facts["sweep_row_bytes"]:
        for index in np.flatnonzero(touched):
            size = max(1, int(rows[index])) * facts["tractor_row_bytes"]
            yield Group(str(names[index]), (File(tractor_path(facts, str(names[index])), size),))
        return
    for name in sorted(sweeps):
        file = File(f"{facts['folder']}/{facts['sweep']}/{name}.fits", max(1, sweeps[name]) * facts["sweep_row_bytes"])
        yield Group(name, (file, _bricks_file(facts)))


def select(release: Release, group: Group, paths: Paths) -> Candidates:
    """All sources of a Tractor or sweep file, and which are cut.

    A sweep lists the primary sources of every brick; those of bricks that `groups` would not choose are cut here,
    so that both routes select the same objects.
    """
    facts = release.facts
    needed = ["BRICKID", "BRICKNAME", "OBJID", "RA", "DEC", "TYPE", "FLUX_Z", "MW_TRANSMISSION_Z", "MASKBITS"]
    counts = [f"NOBS_{band.upper()}" for band in facts["bands"]]
    table = read_columns(paths[group.files[0].path], [*needed, *counts], optional=["BRICK_PRIMARY"])
    cuts: Cuts = {}
    if "BRICK_PRIMARY" in table:
        cuts[NOT_PRIMARY] = ~table["BRICK_PRIMARY"].astype(bool)
    if len(group.files) > 1:
        known = survey_bricks(paths[bricks_path(facts)], facts["bands"])["BRICKID"]
        cuts[NO_BRICK] = ~np.isin(table["BRICKID"], known)
    cuts |= quality_cuts(table, facts["bands"], facts["faintest"], facts["masked"])
    return Candidates(object_ids(table), table["RA"], table["DEC"], table["BRICKNAME"], cuts)


def quality_cuts(table: Columns, bands: str, faintest: float, masked: tuple[int, ...]) -> Cuts:
    """Reason -> True where a source is cut, in the order in which they are counted.

    Args:
        table: catalogue columns by upper-case name.
        bands: those in which a source must have been observed.
        faintest: dereddened z magnitude (AB) at which the sample ends; a flux that is not positive has none.
        masked: the MASKBITS that a source may not have.
    """
    flux = table["FLUX_Z"].astype(np.float64) / np.maximum(table["MW_TRANSMISSION_Z"].astype(np.float64), 1e-30)
    observed = np.all([table[f"NOBS_{band.upper()}"] > 0 for band in bands], axis=0)
    return {
        FAINT: ~(flux > 10 ** (0.4 * (22.5 - faintest))),
        UNOBSERVED: ~observed,
        POINT: table["TYPE"] == "PSF",
        MASKED: (table["MASKBITS"].astype(np.int64) & bit_mask(masked)) != 0,
    }


def object_ids(table: Columns) -> npt.NDArray[np.str_]:
    """`<BRICKNAME>-<OBJID>` of each row."""
    number = table["OBJID"].astype(f"U{max(1, len(str(table['OBJID'].max(initial=0))))}")
    return np.char.add(np.char.add(table["BRICKNAME"].astype("U8"), "-"), number)


def survey_bricks(path: Path, bands: str) -> Columns:
    """The bricks with exposures in all bands, in the survey's area where the table says so, sorted by name."""
    return _survey_bricks(path, bands, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _survey_bricks(path: Path, bands: str, version: int) -> Columns:
    exposures = [f"NEXP_{band.upper()}" for band in bands]
    bounds = ["RA1", "RA2", "DEC1", "DEC2"]
    table = read_columns(path, ["BRICKNAME", "BRICKID", "RA", "DEC", *exposures], ["SURVEY_PRIMARY", "NOBJS", *bounds])
    keep = np.all([table[name] > 0 for name in exposures], axis=0) & table.get("SURVEY_PRIMARY", True)
    order = np.flatnonzero(keep)[np.argsort(table["BRICKNAME"][keep], kind="stable")]
    found = {name: values[order] for name, values in table.items()}
    found.setdefault("NOBJS", np.full(len(order), 1))
    for name, centre, side in zip(bounds, ("RA", "RA", "DEC", "DEC"), (-1, 1, -1, 1), strict=True):
        found.setdefault(name, found[centre] + side * 0.125)
    return found


def _bricks_file(facts: Facts) -> File:
    return File(bricks_path(facts), facts["bricks_bytes"])


def _sweep_rows(table: Columns, touched: npt.NDArray[np.bool_]) -> dict[str, int]:
    """Sweep files that the touched bricks' unique areas fall in -> sources that each may hold, roughly."""
    corners = [_sweep_tile(table[a][touched] - s, table[d][touched] - t) for a, s in _EAST for d, t in _NORTH]
    tiles, tile = np.unique(np.concatenate(corners), axis=0), _sweep_tile(table["RA"], table["DEC"])
    held = [int(table["NOBJS"][np.all(tile == one, axis=1)].sum()) for one in tiles]
    return {sweep_name(*one): rows for one, rows in zip(tiles.tolist(), held, strict=True)}


_EAST = (("RA1", 0.0), ("RA2", 1e-9))  # areas are half open
_NORTH = (("DEC1", 0.0), ("DEC2", 1e-9))


def _sweep_tile(ra: Any, dec: Any) -> npt.NDArray[np.int64]:
    """South-western corners (N, 2) of the 10 x 5 degree tiles that hold positions (degrees)."""
    return np.stack([10 * np.floor(ra / 10), 5 * np.floor(dec / 5)], axis=1).astype(np.int64)


def sweep_name(west: int, south: int) -> str:
    """The sweep file of a tile, by its south-western corner in degrees."""

    def edge(ra: int, dec: int) -> str:
        return f"{ra:03d}{'m' if dec < 0 else 'p'}{abs(dec):03d}"

    return f"sweep-{edge(west, south)}-{edge(west + 10, south + 5)}"
