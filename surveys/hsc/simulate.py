"""The simulated sky as the HSC-SSP archive would serve it: patches, and the answers of its two services.

The survey sees a few square arcminutes of the equator field, where four patches meet. Besides its patches the archive
has the answers for the whole of it, so that a folder of these files is an archive too.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from astropy.io import fits

from mmu.simulate import Sky
from mmu.simulate.files import records, table_hdu, write_fits
from mmu.survey import Release
from surveys.hsc import archive
from surveys.hsc.catalogue import Columns
from surveys.hsc.columns import BANDS, PLANES, SCALE, ZERO_POINT
from surveys.hsc.cutouts import HALF_WIDTH_DEG, parse_question, write_tar
from surveys.hsc.simulate_catalogue import rows_for, write_answer
from surveys.hsc.simulate_field import (
    FIRST,
    SIDE,
    TRACT,
    Patch,
    coadd,
    header,
    patches,
    survey_window,
    tract_wcs,
)

_CALEXP = re.compile(r".*/filetree/(\w+)/.*/calexp-HSC-([GRIZY])-(\d+)-(\d),(\d)\.fits")
Window = tuple[tuple[int, int], tuple[int, int]]


def files(release: str, sky: Sky) -> dict[str, int]:
    """Every file of a release in the simulated archive, with its approximate size in bytes."""
    declared = _release(release)
    found = dict.fromkeys(_answers(declared, sky), 20_000)
    found |= {path: 380_000 * query.count("\n") for path, query in _answers(declared, sky).items() if "\n" in query}
    for patch in patches(sky):
        (left, right), (bottom, top) = patch.window
        for band in BANDS:
            path = archive.calexp_path(declared.facts, f"{TRACT:05d}-{patch.code:03d}", band)
            found[path] = 12 * (right - left) * (top - bottom) + 40_000
    return found


def write(path: str, sky: Sky, destination: Path) -> None:
    """Write one file of the simulated archive, named as in `files`."""
    match = _CALEXP.fullmatch(path)
    patch = Patch(int(match[4]), int(match[5])) if match else None
    if match and int(match[3]) == TRACT and patch in patches(sky):
        write_fits(destination, _hdus(sky, match[1], match[2].lower(), patch.window, whole=True))
        return
    for release in _releases():
        if path in (answers := _answers(release, sky)):
            answer(path, answers[path], sky, destination)
            return
    msg = f"{path!r} is not in the simulated HSC archive; allowed are the paths files() lists"
    raise FileNotFoundError(msg)


def answer(path: str, query: str, sky: Sky, destination: Path) -> None:
    """Answer a question that was put to a service, in the form in which it is kept."""
    if not path.endswith(".tar"):
        write_answer(query, sky, destination)
        return
    lines = parse_question(query)

    def cutouts() -> Iterator[tuple[str, bytes]]:
        for line in lines:
            content = cutout(sky, line.rerun, line.filter, line.ra, line.dec, HALF_WIDTH_DEG)
            if content is not None:
                yield line.name, content

    write_tar(destination, cutouts(), [line.name for line in lines])


def cutout(sky: Sky, rerun: str, filter_name: str, ra: float, dec: float, half_deg: float) -> bytes | None:
    """A cutout as the service makes it, trimmed where the survey ends; None where it has nothing."""
    x, y = (float(v) for v in tract_wcs().all_world2pix(ra, dec, 0))
    half = half_deg * 3600 / SCALE
    window = tuple(
        (max(int(np.floor(place - half + 0.5)), first), min(int(np.floor(place + half + 0.5)) + 1, first + SIDE))
        for place, first in ((x, FIRST[0]), (y, FIRST[1]))
    )
    if any(low >= high for low, high in window) or not patches(sky):
        return None
    buffer = io.BytesIO()
    hdus = _hdus(sky, rerun, filter_name[-1].lower(), (window[0], window[1]), whole=False)
    fits.HDUList(hdus).writeto(buffer)
    return buffer.getvalue()


def _hdus(sky: Sky, rerun: str, band: str, window: Window, *, whole: bool) -> list[Any]:
    """Image, mask and variance of a window of the tract; `whole` ones have names, and tables that follow."""
    primary = fits.PrimaryHDU()
    primary.header["FILTER"] = band
    primary.header["FLUXMAG0"] = (10 ** (0.4 * ZERO_POINT), "AB mag = 2.5*log(fluxMag0/flux)")
    if not whole:
        primary.header["COMMENT"] = "DAS Cutout version 200424"
    hdus: list[Any] = [primary]
    cut = survey_window(*window)
    for kind, plane in zip(("IMAGE", "MASK", "VARIANCE"), coadd(sky, rerun, band), strict=True):
        cards = header((window[0][0], window[1][0]))
        cards["EXTTYPE"] = kind
        if whole:
            cards["EXTNAME"] = kind
        if kind == "MASK":
            for name in sorted(PLANES):
                key = f"MP_{name}"
                cards[key if len(key) <= 8 else f"HIERARCH {key}"] = PLANES[name]
        hdus.append(fits.ImageHDU(np.ascontiguousarray(plane[cut]), cards))
    if whole:
        hdus.append(table_hdu(records([("id", "i4"), ("cat.archive", "i4")], {"id": [1, 2]}, 2), "ARCHIVE_INDEX"))
    return hdus


@functools.lru_cache(maxsize=8)
def _questions(name: str, sky: Sky) -> dict[str, str]:
    """Path -> query of everything that a build of the whole release asks."""
    release = _release(name)
    listed = archive.patches_file(release.facts)
    group = archive.objects_group(release, TRACT, TRACT, None)
    found = {listed.path: listed.query, group.files[0].path: group.files[0].query}
    objects = _objects(rows_for(sky, group.files[0].query))
    unit = archive.plan_units(release, objects) if len(objects) else np.zeros(0, "U1")
    for one in np.unique(unit).tolist():
        rows = objects.filter(pa.array(unit == one))
        found |= {file.path: file.query for file in archive.files_for(release, one, rows) if file.query}
    return found


def _answers(release: Release, sky: Sky) -> dict[str, str]:
    return _questions(release.name, sky) if patches(sky) else {}


def _objects(table: Columns) -> pa.Table:
    names = table["object_id"].astype(np.str_).astype(object)
    unit = archive.unit_names(table["tract"], table["patch"]).astype(object)
    return pa.table({"object_id": names, "ra": table["ra"], "dec": table["dec"], "unit": unit})


def _releases() -> tuple[Release, ...]:
    from surveys.hsc import SURVEY

    return SURVEY.releases


def _release(name: str) -> Release:
    known = {release.name: release for release in _releases()}
    if name not in known:
        msg = f"hsc has no simulated release {name!r}; allowed are {', '.join(known)}"
        raise ValueError(msg)
    return known[name]


__all__ = ["answer", "cutout", "files", "write"]
