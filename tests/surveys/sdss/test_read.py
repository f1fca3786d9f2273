"""Plates' files and spectra's own to records: the same by both routes, and what is told when a file is bad."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

from mmu.errors import FormatError
from mmu.simulate import Field, Sky
from mmu.simulate.files import write_fits
from surveys.sdss import SURVEY, archive, simulate
from surveys.sdss.read import NO_DATA, read
from surveys.sdss.simulate_plates import EMPTY, PLATES, SKY, Plate, drilled, fibre
from surveys.sdss.simulate_tables import rows_of
from surveys.sdss.spectrum import BAD_BITS, Pixels, lattice_index, trimmed, wavelength

Served = Callable[[str], Path]
SMALL = Sky(fields=(Field("equator", 185.625, 0.0, 0.09), Field("north", 213.75, 35.685, 0.06)))  # as in conftest.py


def _some(plate: Plate) -> np.ndarray:
    drill = drilled(plate, SMALL)
    real = np.flatnonzero(drill.objects["true_id"] >= 0)[[0, 1, 2, 10, 11, 20, -1]]
    return np.concatenate([real, [np.flatnonzero(drill.target == kind)[0] for kind in (SKY, EMPTY)]]) + 1


BY_KIND = {"legacy": PLATES[0], "boss": PLATES[8], "five digits": PLATES[11]}
# Of each plate: fibres with objects, one on blank sky, one that stayed empty, in the file's order.
FIBRES = {kind: np.sort(_some(plate)) for kind, plate in BY_KIND.items()}


def _unit(plate: Plate, number: int = 0) -> str:
    return f"{plate.plate:05d}-{plate.mjd}-{plate.run2d}" + (f"-{number:04d}" if number else "")


def _release(plate: Plate) -> Any:
    return SURVEY.release(plate.survey)


@pytest.fixture(scope="session")
def listed(served: Served) -> Callable[[Plate, Any], pa.Table]:
    """The rows that the engine hands to the reader for some fibres."""

    def rows(plate: Plate, fibres: Any) -> pa.Table:
        paths = {archive.SPECOBJ.path: served(archive.SPECOBJ.path)}
        release = _release(plate)
        (group,) = archive.groups(release, paths, None, False)  # type: ignore[arg-type]
        found = archive.select(release, group, paths)
        here = np.flatnonzero(found.unit == _unit(plate))[np.asarray(fibres, np.intp) - 1]
        columns = {"object_id": found.object_id[here].astype(object), "ra": found.ra[here], "dec": found.dec[here]}
        return pa.table(columns | found.carried(here))  # type: ignore[misc]

    return rows


@pytest.fixture(scope="session")
def plate_file(tmp_path_factory: pytest.TempPathFactory, sky: Sky) -> Callable[..., Path]:
    """A plate's file with some of its fibres, in any order."""
    root = tmp_path_factory.mktemp("plates")

    def make(plate: Plate, fibres: np.ndarray) -> Path:
        path = (
            root / f"{plate.survey}-{plate.mjd}-{zlib.crc32(fibres.tobytes())}" / Path(simulate.plate_path(plate)).name
        )
        if not path.exists():
            path.parent.mkdir()
            write_fits(path, simulate.plate_hdus(plate, sky, fibres))
        return path

    return make


def _whole(plate: Plate, path: Path, rows: pa.Table) -> Any:
    return read(_release(plate), _unit(plate), {simulate.plate_path(plate): path}, rows)


def _by_id(records: Any) -> pa.Table:
    return records.table.sort_by("object_id")


@pytest.mark.parametrize("kind", BY_KIND)
def test_a_record_does_not_depend_on_the_route(kind: str, served: Served, listed: Any, plate_file: Any) -> None:
    plate = BY_KIND[kind]
    rows = listed(plate, FIBRES[kind])
    whole = _whole(plate, plate_file(plate, FIBRES[kind]), rows)
    tables: list[pa.Table] = []
    excluded: dict[str, str] = {}
    for place, number in enumerate(FIBRES[kind].tolist()):
        path = simulate.spectrum_path(plate, number)
        one = read(_release(plate), _unit(plate, number), {path: served(path)}, rows.slice(place, 1))
        tables.append(one.table)
        excluded |= one.excluded
    assert whole.excluded == excluded
    assert len(whole.table) > 4
    singles = pa.concat_tables(tables).sort_by("object_id")
    assert singles.schema == whole.table.schema
    assert singles.equals(_by_id(whole))


@pytest.mark.parametrize("kind", BY_KIND)
def test_pixels_are_the_plates_own(kind: str, listed: Any, plate_file: Any, sky: Sky) -> None:
    plate = BY_KIND[kind]
    table = _whole(plate, plate_file(plate, FIBRES[kind]), listed(plate, FIBRES[kind])).table
    assert table.schema.names == SURVEY.default_release.schema.names
    for number, spectrum in zip(table["FIBERID"].to_pylist(), table["spectrum"].to_pylist(), strict=True):
        truth = fibre(plate, sky, number)
        data = np.flatnonzero(truth["ivar"] > 0)
        here = slice(data[0], data[-1] + 1)
        assert {len(values) for values in spectrum.values()} == {here.stop - here.start}
        wave = 10 ** ((plate.first + np.arange(plate.pixels)[here]) / 1e4)
        np.testing.assert_array_equal(np.array(spectrum["flux"], np.float32), truth["flux"][here])
        np.testing.assert_array_equal(np.array(spectrum["ivar"], np.float32), truth["ivar"][here])
        np.testing.assert_array_equal(spectrum["maskbits"], truth["and_mask"][here])
        np.testing.assert_array_equal(spectrum["maskbits_or"], truth["or_mask"][here])
        np.testing.assert_allclose(spectrum["lambda"], wave, rtol=1e-7)
        width = truth["wdisp"][here] * 1e-4 * np.log(10) * wave
        np.testing.assert_allclose(spectrum["lsf_sigma"], width, rtol=1e-6)
        assert 0.5 < np.min(spectrum["lsf_sigma"]) < np.max(spectrum["lsf_sigma"]) < 4
        bright = (truth["and_mask"][here] & (1 << 23)) != 0
        np.testing.assert_array_equal(spectrum["mask"], bright | (truth["ivar"][here] == 0))


def test_rows_are_matched_by_fibre_in_whatever_order_they_are_asked_for(listed: Any, plate_file: Any) -> None:
    kind = "legacy"
    plate, fibres = BY_KIND[kind], FIBRES[kind]
    straight = _whole(plate, plate_file(plate, FIBRES[kind]), listed(plate, FIBRES[kind]))
    turned = _whole(plate, plate_file(plate, FIBRES[kind]), listed(plate, fibres[[5, 2, 8, 0, 1, 3, 4, 6, 7]]))
    assert _by_id(straight).equals(_by_id(turned))


def test_a_plate_whose_fibres_are_not_in_order_is_refused(listed: Any, plate_file: Any) -> None:
    """Nothing but the order of PLUGMAP says whose spectrum a row is, and the archive's is that of the fibres."""
    plate, fibres = BY_KIND["legacy"], FIBRES["legacy"]
    with pytest.raises(FormatError, match="PLUGMAP does not list its fibres in their order"):
        _whole(plate, plate_file(plate, fibres[::-1].copy()), listed(plate, fibres))


def test_many_spectra_are_read_in_blocks(listed: Any, plate_file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = "legacy"
    plate = BY_KIND[kind]
    whole = _whole(plate, plate_file(plate, FIBRES[kind]), listed(plate, FIBRES[kind]))
    monkeypatch.setattr("surveys.sdss.read.BLOCK", 2)
    assert _whole(plate, plate_file(plate, FIBRES[kind]), listed(plate, FIBRES[kind])).table.equals(whole.table)


def test_the_same_plate_on_another_night_is_another(listed: Any, plate_file: Any, served: Served) -> None:
    """Upstream took the spectra of one night for all: here the wrong night's file is refused."""
    first, second = PLATES[0], PLATES[1]
    assert first.plate == second.plate
    with pytest.raises(FormatError, match=r"of plate and night \(288, 51959\), not \(288, 52000\)"):
        _whole(first, plate_file(second, FIBRES["legacy"]), listed(first, FIBRES["legacy"]))
    path = served(simulate.spectrum_path(second, 5))
    with pytest.raises(FormatError, match=r"of plate, night and fibre \[\(288, 51959, 5\)\], not \(288, 52000, 5\)"):
        read(_release(first), _unit(first, 5), {simulate.spectrum_path(first, 5): path}, listed(first, [5]))


def test_fibres_without_data_or_not_there_are_told(listed: Any, plate_file: Any, sky: Sky, served: Served) -> None:
    plate = BY_KIND["legacy"]
    empty = int(np.flatnonzero(drilled(plate, sky).target == EMPTY)[0]) + 1
    blank = int(np.flatnonzero(drilled(plate, sky).target == SKY)[0]) + 1
    fibres = np.array([empty, blank])
    rows = listed(plate, [empty, blank, 9])
    records = _whole(plate, plate_file(plate, fibres), rows)
    ids = rows["object_id"].to_pylist()
    assert records.excluded == {ids[0]: NO_DATA, ids[2]: "not in the plate file"}
    assert records.table["object_id"].to_pylist() == [ids[1]]
    path = simulate.spectrum_path(plate, empty)
    one = read(_release(plate), _unit(plate, empty), {path: served(path)}, rows.slice(0, 1))
    assert one.excluded == {ids[0]: NO_DATA}
    assert len(one.table) == 0


@pytest.mark.parametrize("number", [0, 7])
def test_no_rows_give_an_empty_table(number: int, listed: Any, plate_file: Any, served: Served) -> None:
    plate = BY_KIND["legacy"]
    path = served(simulate.spectrum_path(plate, 7)) if number else plate_file(plate, FIBRES["legacy"])
    name = simulate.spectrum_path(plate, 7) if number else simulate.plate_path(plate)
    records = read(_release(plate), _unit(plate, number), {name: path}, listed(plate, []))
    assert records.table.num_rows == 0
    assert records.table.schema.names == SURVEY.default_release.schema.names


def _pixels(**given: Any) -> Pixels:
    size = len(next(iter(given.values())))
    planes = {
        "flux": np.ones(size, ">f4"),
        "ivar": np.ones(size, ">f4"),
        "and_mask": np.zeros(size, ">i4"),
        "or_mask": np.zeros(size, ">i4"),
        "wdisp": np.ones(size, ">f4"),
    }
    return Pixels(35500, **{name: np.asarray(values)[None] for name, values in (planes | given).items()})


def test_only_the_ends_are_cut() -> None:
    found = trimmed(_pixels(ivar=np.array([0, 0, 1, 0, 2, 0], ">f4")))
    assert found["length"].tolist() == [3]
    assert found["ivar"].tolist() == [1, 0, 2]
    assert found["mask"].tolist() == [False, True, False]
    np.testing.assert_allclose(found["lambda"], wavelength(35502 + np.arange(3)), rtol=1e-7)
    assert trimmed(_pixels(ivar=np.zeros(4, ">f4")))["length"].tolist() == [0]


def test_which_bits_make_a_pixel_bad() -> None:
    bits = np.array([1 << bit for bit in range(29)], ">i4")
    found = trimmed(_pixels(and_mask=bits))
    assert np.flatnonzero(found["mask"]).tolist() == sorted(BAD_BITS.values())
    assert {10, 16, 17, 19, 20, 25} & set(BAD_BITS.values()) == set()
    assert not trimmed(_pixels(or_mask=bits))["mask"].any()
    np.testing.assert_array_equal(found["maskbits"], bits)


def test_values_that_are_no_numbers_become_missing_pixels() -> None:
    flux, ivar, wdisp = np.ones(9, ">f4"), np.ones(9, ">f4"), np.ones(9, ">f4")
    flux[2], ivar[3], ivar[4], ivar[5], wdisp[6], wdisp[7] = np.nan, np.nan, np.inf, -1, np.nan, -1
    found = trimmed(_pixels(flux=flux, ivar=ivar, wdisp=wdisp))
    assert np.flatnonzero(found["mask"]).tolist() == [2, 3, 4, 5]
    assert np.flatnonzero(found["lsf_sigma"] == 0).tolist() == [6, 7]
    assert all(np.isfinite(found[name]).all() for name in ("flux", "ivar", "lsf_sigma"))
    assert {values.dtype.isnative for values in found.values()} == {True}


def test_the_lattice() -> None:
    assert lattice_index(float(np.float32(3.5515)), 1e-4) == 35515
    assert lattice_index(float(np.float32(4.0136)), 1e-4) == 40136
    assert lattice_index(3.55153, 1e-4) is None
    assert lattice_index(3.5515, 2e-4) is None


def _damaged_spectrum(damage: str, source: Path, bad: Path) -> None:
    with fits.open(source) as hdus:
        if damage == "no table":
            fits.HDUList(hdus[:1]).writeto(bad)
            return
        if damage == "no column":
            hdus[1].columns.del_col("wdisp")
        elif damage == "off the lattice":
            hdus[1].data["loglam"] += 4e-5
        elif damage == "a gap":
            hdus[1].data["loglam"][100:] += 1e-4
        elif damage == "no pixels":
            hdus[1].data = hdus[1].data[:0]
        hdus.writeto(bad)


@pytest.mark.parametrize("damage", ["truncated", "no table", "no column", "off the lattice", "a gap", "no pixels"])
def test_bad_spectra_are_told_in_a_sentence(damage: str, served: Served, listed: Any, tmp_path: Path) -> None:
    plate = BY_KIND["legacy"]
    source, bad = served(simulate.spectrum_path(plate, 7)), tmp_path / "spec-bad.fits"
    if damage == "truncated":
        bad.write_bytes(source.read_bytes()[:90_000])
    else:
        _damaged_spectrum(damage, source, bad)
    with pytest.raises(FormatError, match=r"spec-bad\.fits: .*fetch it again"):
        read(_release(plate), _unit(plate, 7), {simulate.spectrum_path(plate, 7): bad}, listed(plate, [7]))


@pytest.mark.parametrize("kind", ["legacy", "boss"])
@pytest.mark.parametrize("damage", ["truncated", "no HDU", "wrong shape", "wrong step", "no header", "fewer fibres"])
def test_bad_plates_are_told_in_a_sentence(
    damage: str, kind: str, listed: Any, plate_file: Any, tmp_path: Path
) -> None:
    plate = BY_KIND[kind]
    source, bad = plate_file(plate, FIBRES[kind]), tmp_path / "spPlate-bad.fits"
    if damage == "truncated":
        bad.write_bytes(source.read_bytes()[:200_000])
    else:
        with fits.open(source) as hdus:
            if damage == "no HDU":
                del hdus[2]
            elif damage == "wrong shape":
                hdus[3].data = hdus[3].data[:, :-1]
            elif damage == "wrong step":
                hdus[0].header["CD1_1"] = 2e-4
            elif damage == "no header":
                del hdus[0].header["MJD"]
            else:
                hdus[5].data = hdus[5].data[:-1]
            hdus.writeto(bad)
    with pytest.raises(FormatError, match=r"spPlate-bad\.fits: .*fetch it again"):
        _whole(plate, bad, listed(plate, FIBRES[kind]))


def test_catalogue_columns_come_with_the_spectrum(listed: Any, plate_file: Any, sky: Sky) -> None:
    kind = "boss"
    plate = BY_KIND[kind]
    table = _whole(plate, plate_file(plate, FIBRES[kind]), listed(plate, FIBRES[kind])).table
    truth = rows_of(plate, sky)[np.asarray(table["FIBERID"]) - 1]
    np.testing.assert_array_equal(table["ZWARNING"], truth["ZWARNING"])
    np.testing.assert_array_equal(table["SPECTROFLUX_R"], truth["SPECTROFLUX"][:, 2])
    assert table["object_id"].to_pylist() == [text.decode().strip() for text in truth["SPECOBJID"].tolist()]
    assert set(table["INSTRUMENT"].to_pylist()) == {"BOSS"}
