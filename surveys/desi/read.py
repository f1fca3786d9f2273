"""One coadd file and its redshifts -> records. Rows are matched by TARGETID, never by their order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmu.schema import table_of
from mmu.survey import Paths, Records, Release
from surveys.desi import FIBERMAP, REDSHIFTS, TSNR2
from surveys.desi.archive import files
from surveys.desi.coadd import ARMS, BLOCK, NDIAG, PIXELS, Arm, Merged, lattice, lsf_variance, merge
from surveys.desi.tables import SIGN, FitsFile, open_fits, text

Ids = NDArray[np.int64]
Columns = dict[str, NDArray[Any]]


def read(release: Release, unit: str, paths: Paths, rows: pa.Table) -> Records:
    """Records of one coadd file."""
    coadd_path, redrock_path = (paths[file.path] for file in files(release, unit))
    wanted = rows["object_id"].to_numpy(zero_copy_only=False).astype(np.str_).astype(np.int64)
    with open_fits(coadd_path) as coadd, open_fits(redrock_path) as redrock:
        listed = targets(coadd, "FIBERMAP")
        excluded = missing(wanted, listed, "coadd") | missing(wanted, targets(redrock, "REDSHIFTS"), "redrock")
        keep = np.array([str(target) not in excluded for target in wanted.tolist()], dtype=bool)
        target = listed[np.isin(listed, wanted[keep])]  # in the file's order: read front to back
        bits = [column.name for column in release.schema if column.meaning == "targeting bits"]
        values: dict[str, Any] = {
            "object_id": target.astype(np.str_),
            "TARGETID": target,
            **_place(unit, len(target)),
            **columns(
                coadd, "FIBERMAP", target, ["TARGET_RA", "TARGET_DEC", *(column.name for column in FIBERMAP), *bits]
            ),
            **columns(redrock, "REDSHIFTS", target, [column.name for column in REDSHIFTS]),
            **columns(redrock, "TSNR2", target, [column.name for column in TSNR2]),
            "spectrum": spectra(coadd, target),
        }
    values["ra"], values["dec"] = values.pop("TARGET_RA"), values.pop("TARGET_DEC")
    return Records(table_of(release.schema, values), excluded)


def targets(file: FitsFile, table: str) -> Ids:
    """TARGETIDs of a table, (N,)."""
    return np.asarray(file.column(table, "TARGETID").astype(np.int64))


def columns(file: FitsFile, table: str, target: Ids, names: Iterable[str]) -> Columns:
    """Those columns of a table, for the targets given and in their order; text without its padding."""
    rows = positions(file, table, target)
    stored = {name: file.column(table, name)[rows] for name in names}
    return {name: text(v) if v.dtype.kind == "S" else v.astype(v.dtype.newbyteorder("=")) for name, v in stored.items()}


def spectra(coadd: FitsFile, target: Ids) -> Columns:
    """Members of the `spectrum` struct, each (N, 7781), for the targets given and in their order."""
    members: Columns = asdict(merged_spectra(coadd, target))
    members["lambda"] = np.broadcast_to(lattice().astype(np.float32), (len(target), PIXELS))
    return members


def merged_spectra(coadd: FitsFile, target: Ids) -> Merged:
    """The merged spectra of the targets given and in their order.

    Raises:
        FormatError: no arm, an arm that lacks an HDU, wrong shapes or wavelengths, or a target that is not there.
    """
    rows = positions(coadd, "FIBERMAP", target)
    present = [arm for arm in ARMS if any(name.startswith(f"{arm}_") for name in coadd.names)]
    if not present:
        raise coadd.error(f"no HDU B_FLUX, R_FLUX or Z_FLUX; it has {', '.join(coadd.names)}")
    return merge({arm: _read_arm(coadd, arm, rows) for arm in present}, len(target))


def positions(file: FitsFile, table: str, target: Ids) -> Ids:
    """Row of each target in a table.

    Raises:
        FormatError: a target is not there.
    """
    listed = targets(file, table)
    order = np.argsort(listed, kind="stable")
    place = np.searchsorted(listed, target, sorter=order)
    rows = order[np.minimum(place, len(listed) - 1)] if len(listed) else np.empty(0, dtype=np.int64)
    if len(rows) != len(target) or not np.array_equal(listed[rows], target):
        raise file.error(f"a target asked for is not listed in {table}")
    return rows


def missing(target: Ids, listed: Ids, kind: str) -> dict[str, str]:
    """Targets that a file does not list, or lists more than once -> why they cannot be had."""
    distinct, count = np.unique(listed, return_counts=True)
    absent, twice = ~np.isin(target, distinct), np.isin(target, distinct[count > 1])
    gone = dict.fromkeys(target[absent].astype(np.str_).tolist(), f"not in the {kind} file")
    return gone | dict.fromkeys(target[twice].astype(np.str_).tolist(), f"more than once in the {kind} file")


def _place(unit: str, count: int) -> Columns:
    pixel, survey, program = unit.split("-")
    return {
        "SURVEY": np.full(count, survey),
        "PROGRAM": np.full(count, program),
        "HEALPIX": np.full(count, int(pixel), dtype=np.int32),
    }


def _read_arm(file: FitsFile, arm: str, rows: Ids) -> Arm:
    """Flux, ivar, mask bits and line-spread function of an arm, for some rows, in this machine's byte order.

    A block of rows at a time stays in the processor's cache; the diagonals are most of a file and are not kept.
    """
    start, pixels = ARMS[arm]
    wave, *planes = (file.plane(f"{arm}_{kind}") for kind in ("WAVELENGTH", "FLUX", "IVAR", "MASK", "RESOLUTION"))
    if wave.shape != (pixels,) or not np.allclose(wave, lattice(start, pixels), rtol=0, atol=1e-3):
        raise file.error(f"{arm}_WAVELENGTH is not {pixels} pixels of 0.8 Angstrom from {lattice(start, 1)[0]:.1f}")
    for kind, plane in zip(("FLUX", "IVAR", "MASK", "RESOLUTION"), planes, strict=True):
        shape = (len(planes[0]), NDIAG, pixels) if kind == "RESOLUTION" else (len(planes[0]), pixels)
        if plane.shape != shape:
            raise file.error(f"{arm}_{kind} has shape {plane.shape}, not {shape}")
    flux, ivar, variance = (np.empty((len(rows), pixels), dtype=np.float32) for _ in range(3))
    mask = np.empty((len(rows), pixels), dtype=np.int32)
    for first in range(0, len(rows), BLOCK):
        here, block = slice(first, first + BLOCK), rows[first : first + BLOCK]
        for out, plane in zip((flux, ivar, mask), planes, strict=False):
            out[here] = plane[block]
        variance[here] = lsf_variance(planes[3][block].astype(np.float32))
    if file.flips_sign(f"{arm}_MASK"):
        mask ^= SIGN
    return Arm(flux, ivar, mask, variance)
