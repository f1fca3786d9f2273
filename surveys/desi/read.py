"""One coadd file and its redshifts -> records. Rows are matched by TARGETID, never by their order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmu.fits import SIGN, FitsFile, open_fits, text
from mmu.rows import missing
from mmu.rows import positions as rows_of
from mmu.schema import table_of
from mmu.survey import Paths, Records, Release
from surveys.desi import FIBERMAP, REDSHIFTS, TSNR2
from surveys.desi.archive import files, refuse_other
from surveys.desi.coadd import ARMS, BLOCK, NDIAG, PIXELS, Arm, Merged, lattice, lsf_variance, merge_into

PLANES = ("FLUX", "IVAR", "MASK", "RESOLUTION")
Ids = NDArray[np.int64]
Columns = dict[str, NDArray[Any]]


def read(release: Release, unit: str, paths: Paths, rows: pa.Table) -> Records:
    """Records of one coadd file."""
    coadd_path, redrock_path = (paths[file.path] for file in files(release, unit))
    wanted = rows["object_id"].to_numpy(zero_copy_only=False).astype(np.str_).astype(np.int64)
    with open_fits(coadd_path) as coadd, open_fits(redrock_path) as redrock:
        refuse_other(coadd, unit)
        refuse_other(redrock, unit)
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
            "spectrum": _packed(spectra(coadd, target)),
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
    members: Columns = dict(vars(merged_spectra(coadd, target)))
    members["lambda"] = np.broadcast_to(lattice().astype(np.float32), (len(target), PIXELS))
    return members


def _packed(members: Columns) -> dict[str, Any]:
    """The members with the mask as Arrow has it, eight to a byte: Arrow's own way there takes 20 times longer."""
    mask = members["mask"]
    bits = np.packbits(mask.reshape(-1), bitorder="little")
    flat = pa.Array.from_buffers(pa.bool_(), mask.size, [None, pa.py_buffer(bits)])
    offsets = pa.array(np.arange(len(mask) + 1, dtype=np.int32) * np.int32(PIXELS))
    kind = pa.list_(pa.field("element", pa.bool_(), nullable=False))
    return members | {"mask": pa.ListArray.from_arrays(offsets, flat, type=kind)}


def merged_spectra(coadd: FitsFile, target: Ids) -> Merged:
    """The merged spectra of the targets given and in their order.

    Raises:
        FormatError: no arm, an arm that lacks an HDU, wrong shapes or wavelengths, or a target that is not there.
    """
    rows = positions(coadd, "FIBERMAP", target)
    _refuse_shifted(coadd)
    present = [arm for arm in ARMS if any(name.startswith(f"{arm}_") for name in coadd.names)]
    if not present:
        raise coadd.error(f"no HDU B_FLUX, R_FLUX or Z_FLUX; it has {', '.join(coadd.names)}")
    if len(present) < len(ARMS) and not coadd.has("SCORES"):  # the last HDU: an arm may be missing, not the rest
        raise coadd.error(f"no HDU SCORES and arms {', '.join(present)} only: it is cut short between HDUs")
    planes = {arm: _planes(coadd, arm) for arm in present}
    count = len(targets(coadd, "FIBERMAP"))
    for arm, (flux, *_) in planes.items():
        if len(flux) != count:
            raise coadd.error(f"{arm}_FLUX has {len(flux)} spectra, FIBERMAP {count} targets")
    flips = {arm: coadd.flips_sign(f"{arm}_MASK") for arm in present}
    out = Merged.empty(len(target))
    for here, there in _runs(rows):  # a few rows at a time: no second copy of the file
        arms = {arm: _arm(planes[arm], there, flips[arm]) for arm in present}
        merge_into(Merged(**{name: values[here] for name, values in vars(out).items()}), arms)
    return out


def _refuse_shifted(coadd: FitsFile) -> None:
    """Spectra know their targets by the rows of FIBERMAP alone; SCORES lists the same ones, in the same order."""
    names = coadd.table("SCORES").dtype.names if coadd.has("SCORES") else None
    if "TARGETID" in (names or ()) and not np.array_equal(targets(coadd, "SCORES"), targets(coadd, "FIBERMAP")):
        raise coadd.error("FIBERMAP and SCORES list different targets")


def positions(file: FitsFile, table: str, target: Ids) -> NDArray[np.intp]:
    """Row of each target in a table.

    Raises:
        FormatError: a target is not there.
    """
    try:
        return rows_of(target, targets(file, table))
    except KeyError as problem:
        raise file.error(f"a target asked for is not listed in {table}") from problem


def _place(unit: str, count: int) -> Columns:
    pixel, survey, program = unit.split("-")
    return {
        "SURVEY": np.full(count, survey),
        "PROGRAM": np.full(count, program),
        "HEALPIX": np.full(count, int(pixel), dtype=np.int32),
    }


def _planes(file: FitsFile, arm: str) -> tuple[NDArray[Any], ...]:
    """Flux, ivar, mask and resolution of an arm as stored, their shapes and wavelengths checked."""
    start, pixels = ARMS[arm]
    wave, *planes = (file.plane(f"{arm}_{kind}") for kind in ("WAVELENGTH", *PLANES))
    if wave.shape != (pixels,) or not np.allclose(wave, lattice(start, pixels), rtol=0, atol=1e-3):
        raise file.error(f"{arm}_WAVELENGTH is not {pixels} pixels of 0.8 Angstrom from {lattice(start, 1)[0]:.1f}")
    for kind, plane in zip(PLANES, planes, strict=True):
        shape = (len(planes[0]), NDIAG, pixels) if kind == "RESOLUTION" else (len(planes[0]), pixels)
        if plane.shape != shape:
            raise file.error(f"{arm}_{kind} has shape {plane.shape}, not {shape}")
    return tuple(planes)


def _arm(planes: tuple[NDArray[Any], ...], rows: slice, flips_sign: bool) -> Arm:
    """Some rows of an arm; the diagonals, most of a file, become widths."""
    flux, ivar, bits, resolution = (plane[rows] for plane in planes)
    bits = bits.astype(np.int32)
    if flips_sign:
        bits ^= SIGN
    return Arm(flux, ivar, bits, lsf_variance(resolution))


def _runs(rows: Ids) -> Iterator[tuple[slice, slice]]:
    """Rows as stretches that follow one another in the file, at most a block long: (where they go, where they are)."""
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    for start, stop in pairwise([0, *breaks.tolist(), len(rows)]):
        for first in range(start, stop, BLOCK):
            last = min(first + BLOCK, stop)
            yield slice(first, last), slice(int(rows[first]), int(rows[last - 1]) + 1)
