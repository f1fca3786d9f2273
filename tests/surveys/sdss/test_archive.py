"""SDSS's archive: the selection from one catalogue, names of units, and the route by which spectra are fetched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.lib.recfunctions
import pyarrow as pa
import pytest
from astropy.io import fits

from mmu.errors import FormatError
from mmu.simulate import Sky
from mmu.sky.region import AllSky, Cone
from mmu.survey import Candidates, Group, cut_reasons
from surveys.sdss import SURVEY, archive
from surveys.sdss.simulate_plates import PLATES, drilled
from surveys.sdss.simulate_tables import DTYPE, spec_obj, spec_obj_id

Served = Callable[[str], Path]
RELEASES = {release.name: release for release in SURVEY.releases}
CUTS = ("not a science target", "the plate is not good", "not the object's primary spectrum")


def _selected(release: str, paths: dict[str, Path]) -> list[Candidates]:
    kind = RELEASES[release]
    return [archive.select(kind, group, paths) for group in archive.groups(kind, paths, AllSky(), False)]


@pytest.fixture(scope="module")
def catalogue(served: Served) -> dict[str, Path]:
    return {archive.SPECOBJ.path: served(archive.SPECOBJ.path)}


@pytest.mark.parametrize("release", RELEASES)
def test_every_spectrum_of_the_survey_is_listed_and_science_is_selected(
    release: str, catalogue: dict[str, Path], sky: Sky
) -> None:
    (found,) = _selected(release, catalogue)
    table = spec_obj(sky)
    own = table[np.char.strip(table["SURVEY"], b" \0") == release.encode()]
    assert found.object_id.tolist() == [text.decode().strip() for text in own["SPECOBJID"].tolist()]
    assert tuple(found.cuts) == CUTS
    kept = cut_reasons(found.cuts, len(own)) < 0
    wanted = [np.char.strip(own[name], b" \0") for name in ("TARGETTYPE", "PLATEQUALITY")]
    np.testing.assert_array_equal(kept, (wanted[0] == b"SCIENCE") & (wanted[1] == b"good") & (own["SPECPRIMARY"] == 1))
    assert 0 < kept.sum() < len(kept)
    np.testing.assert_array_equal(found.ra, own["PLUG_RA"])
    assert found.ra.dtype == np.dtype("f8")


def test_rows_are_listed_the_same_whatever_the_stretches(
    catalogue: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = _selected("sdss", catalogue)
    monkeypatch.setattr(archive, "ROWS", 1000)
    parts = _selected("sdss", catalogue)
    assert len(parts) > 5
    for name in ("object_id", "ra", "unit"):
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name))


def test_units_are_plate_night_and_reduction(catalogue: dict[str, Path]) -> None:
    (sdss,) = _selected("sdss", catalogue)
    assert set(sdss.unit.tolist()) == {"00288-52000-26", "00288-51959-26", "00289-51990-26", "00290-51941-26"}
    (segue,) = _selected("segue1", catalogue)
    assert set(segue.unit.tolist()) == {"02393-54156-26", "02333-53682-103"}
    assert archive.files(RELEASES["segue1"], "02333-53682-103")[0].path == (
        "sdss/spectro/redux/103/2333/spPlate-2333-53682.fits"
    )
    assert archive.files(RELEASES["eboss"], "10245-58160-v5_13_2-0007")[0].path == (
        "eboss/spectro/redux/v5_13_2/spectra/lite/10245/spec-10245-58160-0007.fits"
    )


@pytest.mark.parametrize("pad", [b" ", b"\0"], ids=["blanks", "NULs"])
def test_text_is_found_whatever_it_is_padded_with(pad: bytes, sky: Sky, tmp_path: Path) -> None:
    table = spec_obj(sky)[:50].copy()
    for name, code in DTYPE:
        if code.startswith("S"):
            width = int(code[1:])
            table[name] = [value.strip(b" \0").ljust(width, pad) for value in table[name].tolist()]
    path = tmp_path / "specObj-dr17.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(table)]).writeto(path)
    raw = path.read_bytes()
    where = raw.index(table.astype(table.dtype.newbyteorder(">"))["MJD"][:1].tobytes())  # the file holds our rows
    assert where > 0
    start = len(raw) - -(-table.nbytes // 2880) * 2880
    path.write_bytes(raw[:start] + table.astype(table.dtype.newbyteorder(">")).tobytes().ljust(len(raw) - start, b"\0"))
    (found,) = _selected("sdss", {archive.SPECOBJ.path: path})
    assert len(found.object_id) == 50
    assert all(text.isdigit() for text in found.object_id.tolist())
    assert set(found.unit.tolist()) == {"00288-52000-26"}
    assert not found.cuts["the plate is not good"].any()


def test_the_catalogues_columns_are_carried(catalogue: dict[str, Path], sky: Sky) -> None:
    (found,) = _selected("boss", catalogue)
    assert found.carried is not None
    kept = np.array([3, 700, 12])
    columns = found.carried(kept)
    table = spec_obj(sky)
    own = table[np.char.strip(table["SURVEY"], b" \0") == b"boss"][kept]
    np.testing.assert_array_equal(columns["Z"], own["Z"])
    np.testing.assert_array_equal(columns["SPECTROFLUX_G"], own["SPECTROFLUX"][:, 1])
    np.testing.assert_array_equal(columns["SPECTROSYNFLUX_IVAR_Z"], own["SPECTROSYNFLUX_IVAR"][:, 4])
    assert columns["RUN2D"].tolist() == ["v5_13_2"] * 3
    assert columns["ZWARNING"].dtype.kind == "i"
    assert all(np.asarray(values).dtype.isnative for values in columns.values())
    names = {column.name for column in SURVEY.default_release.schema} - {"object_id", "ra", "dec", "spectrum"}
    assert set(columns) == names
    assert {len(values) for values in found.carried(np.empty(0, np.intp)).values()} == {0}


def _objects(counts: dict[str, int]) -> pa.Table:
    units = [unit for unit, count in counts.items() for _ in range(count)]
    fibres = [fibre for count in counts.values() for fibre in range(1, count + 1)]
    return pa.table({"unit": units, "FIBERID": pa.array(fibres, pa.int32())})


def test_a_plate_is_fetched_whole_where_that_is_fewer_bytes() -> None:
    counts = {"00288-52000-26": 341, "00288-51959-26": 340, "03850-55575-v5_13_2": 341, "03850-55568-v5_13_2": 507}
    release = RELEASES["sdss"]
    units = archive.plan_units(release, _objects(counts)).tolist()
    found = Counter(unit if archive.parse(unit).fibre == 0 else unit.rpartition("-")[0] + "-*" for unit in units)
    assert found == {
        "00288-52000-26": 341,
        "00288-51959-26-*": 340,
        "03850-55575-v5_13_2-*": 341,
        "03850-55568-v5_13_2": 507,
    }
    for name, count in counts.items():
        one = archive.files(release, f"{name}-0001")[0].bytes
        whole = archive.files(release, name)[0].bytes
        assert (found[name] > 0) == (count * one > whole)
    words = archive.route(release, set(units))
    assert words.startswith("2 plates whole, 681 spectra one by one")
    assert len(set(units)) == 683


def test_units_of_no_objects() -> None:
    assert len(archive.plan_units(RELEASES["sdss"], _objects({}))) == 0


def test_the_catalogue_is_read_whole_for_any_region(catalogue: dict[str, Path]) -> None:
    (group,) = archive.groups(RELEASES["sdss"], catalogue, Cone(10.0, 10.0, 0.1), True)
    assert group == Group(f"rows-00000000-{sum(plate.fibres for plate in PLATES):08d}", (archive.SPECOBJ,))


def test_ids_are_the_archives() -> None:
    """SPECOBJID of two real spectra, of either spectrograph."""
    legacy = PLATES[0].__class__(358, 51818, "26", "sdss", "legacy", 0, 0, 0)
    boss = PLATES[0].__class__(3655, 55240, "v5_13_0", "boss", "boss", 0, 0, 0)
    assert spec_obj_id(legacy, np.array([504])).tolist() == [403210735615764480]
    assert spec_obj_id(boss, np.array([104])).tolist() == [4115192834726055936]


def test_a_simulated_plate_has_its_nights_apart(sky: Sky) -> None:
    first, second = (drilled(plate, sky).objects["true_id"] for plate in PLATES[:2])
    assert (PLATES[0].plate, PLATES[0].mjd) != (PLATES[1].plate, PLATES[1].mjd)
    assert not set(first[first >= 0].tolist()) & set(second[second >= 0].tolist())


def _carried(paths: dict[str, Path]) -> None:
    for found in _selected("sdss", paths):
        assert found.carried is not None
        found.carried(np.arange(3))


@pytest.mark.parametrize("damage", ["truncated", "no column", "five", "empty"])
def test_a_damaged_catalogue_is_told(damage: str, catalogue: dict[str, Path], sky: Sky, tmp_path: Path) -> None:
    bad: Any = tmp_path / "specObj-dr17.fits"
    table = spec_obj(sky)[:20]
    if damage == "truncated":
        raw = catalogue[archive.SPECOBJ.path].read_bytes()
        bad.write_bytes(raw[: len(raw) // 2])
    else:
        names = [name for name in table.dtype.names or () if damage != "no column" or name != "PLUG_RA"]
        cut = table[names] if damage != "empty" else table[:0]
        if damage == "five":
            kept = [name for name in names if name != "SPECTROFLUX"]
            cut = np.lib.recfunctions.append_fields(table[kept], "SPECTROFLUX", np.zeros(20, "f4"), usemask=False)
        fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(np.ascontiguousarray(cut))]).writeto(bad)
    words = {"no column": "no column PLUG_RA", "five": "SPECTROFLUX", "empty": "lists no spectrum"}
    with pytest.raises(FormatError, match=rf"specObj-dr17\.fits: .*{words.get(damage, '')}"):
        _carried({archive.SPECOBJ.path: bad})


def test_the_declaration_holds_together() -> None:
    assert list(RELEASES) == ["sdss", "segue1", "segue2", "boss", "eboss"]
    for release in SURVEY.releases:
        names = {name for column in release.hdf5 for name in (column.source.partition(".")[0], *column.stack)}
        assert names <= set(release.schema.names)
        assert {"object_id", "spectrum_flux", "spectrum_lambda", "ZWARNING", "SPECTROFLUX", "VDISP"} <= {
            column.name for column in release.hdf5
        }
        assert {"VDISP", "VDISP_ERR", "Z", "Z_ERR", "SPECTROFLUX_U", "SPECTROSYNFLUX_IVAR_Z"} <= set(
            release.schema.names
        )
        assert release.schema["ZWARNING"].dtype == "int32"
    assert "Acknowledgement" in SURVEY.text("card.md")
