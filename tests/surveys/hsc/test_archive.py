"""What is asked of the database, what its answers select, and which of the two routes is planned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

from mmu.errors import FormatError
from mmu.simulate import Field, Sky
from mmu.sky.region import Region, parse_region
from mmu.survey import Group, get_survey
from surveys.hsc import SURVEY, archive, simulate
from surveys.hsc.archive import bounding_box, plan_units, route, unit_names
from surveys.hsc.catalogue import COUNT, check_count, read_objects, read_patches
from surveys.hsc.columns import BANDS, CATALOGUE
from surveys.hsc.cutouts import coordlist, parse_question

DUD, WIDE = SURVEY.releases
SKY = Sky()


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The catalogue's answers for the whole simulated survey."""
    root, found = tmp_path_factory.mktemp("archive"), {}
    for release in SURVEY.releases:
        for path in simulate.files(release.name, SKY):
            if path.startswith("catalogue/"):
                found[path] = root / path.replace("/", "_")
                simulate.write(path, SKY, found[path])
    return found


@pytest.fixture(scope="module")
def group(paths: dict[str, Path]) -> Group:
    (found,) = groups(paths)
    return found


def groups(paths: dict[str, Path], region: str = "all", walk: bool = False) -> list[Group]:
    return list(archive.groups(DUD, paths, parse_region(region), walk))


def sql(group: Group) -> str:
    return str(json.loads(group.files[0].query)["sql"])


def test_the_survey_is_found_by_name() -> None:
    assert get_survey("hsc") is SURVEY
    assert [release.name for release in SURVEY.releases] == ["pdr3_dud_22.5", "pdr3_wide_21"]
    assert len(SURVEY.default_release.schema) == 70 + 2, "the query's 70 columns, the images and their bits"
    assert SURVEY.login is not None
    assert (SURVEY.login.user, SURVEY.login.password) == ("SSP_PDR_USR", "SSP_PDR_PWD")


def test_the_whole_survey_is_asked_for_by_tract(paths: dict[str, Path], group: Group) -> None:
    assert group.files[0].path == "catalogue/pdr3_dud_rev/pdr3_dud_22.5-09594-09594.fits"
    text = sql(group)
    assert "FROM pdr3_dud_rev.forced AS forced LEFT JOIN pdr3_dud_rev.forced2 USING (object_id)" in text
    assert "tractSearch(object_id, 9594, 9594) AND forced.isprimary AND i_cmodel_flux > mag_to_flux(22.5)" in text
    assert "boxSearch" not in text
    assert text.count("_inputcount_value >= 3") == 5
    assert text.count("AND NOT ") == 6 * 5
    assert groups(paths, walk=True)[0].files == group.files


def test_v1_columns_in_v1_order(group: Group) -> None:
    names = [name.rpartition(".")[2] for name in sql(group).partition("SELECT ")[2].partition(", COUNT")[0].split(", ")]
    assert len(names) == 70
    assert names[:7] == ["object_id", "ra", "dec", "tract", "patch", "a_g", "a_r"]
    assert names[10:12] == ["g_extendedness_value", "r_extendedness_value"]
    assert names[20:24] == ["g_cmodel_mag", "g_cmodel_magerr", "r_cmodel_mag", "r_cmodel_magerr"]
    assert names[40:43] == [f"g_sdssshape_psf_shape{which}" for which in (11, 22, 12)]
    assert names[-1] == "y_sdssshape_shape12"
    assert [column.name for column in DUD.hdf5][:70] == names


def test_the_wide_query_has_its_own_cuts(paths: dict[str, Path]) -> None:
    (group,) = archive.groups(WIDE, paths, parse_region("all"), False)
    for words in (
        "pdr3_wide.forced3",
        "z_cmodel_mag - a_z < 21 AND i_extendedness_value > 0.5",
        "y_pixelflags_crcenter",
    ):
        assert words in sql(group)
    assert sql(group).count("AND NOT ") == 8 * 5


def test_a_region_puts_its_box_into_the_query(paths: dict[str, Path]) -> None:
    (group,) = groups(paths, "cone:185.65,0.09,0.01")
    edges = [float(word) for word in sql(group).partition("boxSearch(coord, ")[2].partition(")")[0].split(", ")]
    assert 185.5 < edges[0] < 185.64 < 185.66 < edges[1] < 185.8
    assert 0 < edges[2] < 0.08 < 0.10 < edges[3] < 0.2
    assert "_".join(f"{edge:.4f}" for edge in edges) in group.files[0].path
    assert groups(paths, "cone:10,40,1") == []


@pytest.mark.parametrize(
    "text",
    ["cone:0.01,0.5,0.3", "cone:359.9,-30,2", "box:350,12,-3,4", "cone:150,2,1.5", "healpix:6/9000", "cone:20,89.5,1",
     "box:10,200,-60,60", "healpix:11/12345678,12345679"],
)  # fmt: skip
def test_the_box_holds_the_region(text: str) -> None:
    region = parse_region(text)
    ra1, ra2, dec1, dec2 = bounding_box(region)
    rng = np.random.default_rng(1)
    dec = np.degrees(
        np.arcsin(rng.uniform(np.sin(np.radians(dec1 - 1)), np.sin(np.radians(min(90, dec2 + 1))), 40_000))
    )
    ra = rng.uniform(ra1 - 1, ra2 + 1, 40_000) % 360.0
    inside = region.contains(ra, dec)
    held = ((ra - ra1) % 360.0 <= ra2 - ra1) & (dec >= dec1) & (dec <= dec2)
    assert not (inside & ~held).any()
    assert 0 <= ra1 < 360
    assert ra2 - ra1 <= 360


def test_a_box_round_nothing_is_empty() -> None:
    class Nothing(Region):
        def contains(self, ra: Any, dec: Any) -> Any:
            return np.zeros(np.shape(ra), bool)

        def pixels(self, order: int) -> Any:
            return np.empty(0, np.int64)

    assert bounding_box(Nothing()) == (0, 0, 0, 0)


def test_objects_have_text_ids_units_and_carried_columns(paths: dict[str, Path], group: Group) -> None:
    found = archive.select(DUD, group, paths)
    assert 80 < len(found.ra) < 130
    assert found.cuts == {}
    assert set(found.unit.tolist()) == {"09594-100", "09594-101", "09594-200", "09594-201"}
    assert all((int(name) >> 42) == 9594 for name in found.object_id.tolist())
    assert len(set(found.object_id.tolist())) == len(found.ra)
    assert found.carried is not None
    carried = found.carried(np.array([3, 1]))
    assert list(carried) == [column.name for column in CATALOGUE]
    table = fits.getdata(paths[group.files[0].path], 1)
    assert carried["g_cmodel_mag"].tolist() == table["g_cmodel_mag"][[3, 1]].tolist()
    assert carried["patch"].dtype == np.int32


def test_null_is_nan(paths: dict[str, Path], group: Group) -> None:
    table = read_objects(paths[group.files[0].path])
    null = np.isnan(table["y_sdssshape_psf_shape11"])
    assert null.tolist() == (np.arange(len(null)) % 37 == 5).tolist()
    assert np.isfinite(table["g_sdssshape_psf_shape11"]).all()


def rewritten(path: Path, to: Path, change: Any) -> Path:
    """The answer with another table."""
    with fits.open(path, memmap=False) as hdus:
        change(hdus[1]).writeto(to)
    return to


def without(hdu: Any, *names: str) -> Any:
    return fits.BinTableHDU.from_columns([column for column in hdu.columns if column.name not in names])


def test_answers_that_are_not_whole_are_errors(paths: dict[str, Path], group: Group, tmp_path: Path) -> None:
    path = paths[group.files[0].path]
    size = len(fits.getdata(path, 1))
    short = rewritten(path, tmp_path / "short.fits", lambda hdu: fits.BinTableHDU(hdu.data[:-1]))
    with pytest.raises(FormatError, match=rf"short\.fits: the service selected {size} rows and sent {size - 1}"):
        archive.select(DUD, group, {group.files[0].path: short})
    with pytest.raises(FormatError, match="selected"):
        check_count(short)
    lacking = rewritten(path, tmp_path / "lacking.fits", lambda hdu: without(hdu, "z_cmodel_mag"))
    with pytest.raises(FormatError, match=r"lacking\.fits: no column Z_CMODEL_MAG"):
        archive.select(DUD, group, {group.files[0].path: lacking})
    uncounted = rewritten(path, tmp_path / "uncounted.fits", lambda hdu: without(hdu, COUNT))
    with pytest.raises(FormatError, match=COUNT.upper()):
        check_count(uncounted)

    def no_patch(hdu: Any) -> Any:
        hdu.data["patch_isnull"][3] = True
        return hdu

    with pytest.raises(FormatError, match="column patch is NULL for 1 rows"):
        read_objects(rewritten(path, tmp_path / "null.fits", no_patch))
    (tmp_path / "page.fits").write_text("<html>Please log in</html>")
    with pytest.raises(FormatError, match="not a whole FITS file"):
        check_count(tmp_path / "page.fits")


def test_an_empty_answer_is_an_answer(tmp_path: Path) -> None:
    empty = archive.objects_group(DUD, 1, 5, None)
    simulate.answer(empty.files[0].path, empty.files[0].query, SKY, tmp_path / "empty.fits")
    found = archive.select(DUD, empty, {empty.files[0].path: tmp_path / "empty.fits"})
    assert len(found.ra) == 0
    assert found.unit.shape == (0,)


def test_the_list_of_patches(paths: dict[str, Path]) -> None:
    table = read_patches(paths[archive.patches_file(DUD.facts).path])
    assert table["tract"].tolist() == [9594] * 4
    assert np.abs(table["ra"] - 185.65).max() < 0.05
    nowhere = Sky(fields=(Field("elsewhere", 10.0, 10.0, 0.1),))
    assert simulate.files(DUD.name, nowhere) == {}


def objects(counts: dict[str, int]) -> pa.Table:
    unit = [name for name, count in counts.items() for _ in range(count)]
    ids = [str(10_000 - row) for row in range(len(unit))]
    return pa.table({"object_id": ids, "unit": unit, "ra": [1.0] * len(unit), "dec": [2.0] * len(unit)})


def test_whole_patches_are_fetched_where_that_is_less() -> None:
    table = objects({"09594-100": 289, "09594-101": 290, "09594-200": 3})
    units = plan_units(DUD, table)
    assert set(units[289:579].tolist()) == {"09594-101"}
    assert set(units[579:].tolist()) == {"09594-200-cutouts-00"}
    lists, sizes = np.unique(units[:289], return_counts=True)
    assert lists.tolist() == ["09594-100-cutouts-00", "09594-100-cutouts-01"]
    assert sizes.tolist() == [198, 91]
    ids = np.array(table["object_id"].to_pylist())
    assert max(ids[:289][units[:289] == lists[0]]) < min(ids[:289][units[:289] == lists[1]]), "lists go by object"
    words = route(DUD, set(units.tolist()))
    assert words.startswith("1 patches whole, cutouts of the objects of 2 others: whichever moves fewer bytes")
    assert plan_units(DUD, objects({})).tolist() == []


def test_files_of_both_routes() -> None:
    rows = objects({"x": 2})
    whole = archive.files_for(DUD, "09594-101", rows)
    assert [file.path for file in whole] == [
        f"archive/filetree/pdr3_dud_rev/deepCoadd-results/HSC-{band}/9594/1,1/calexp-HSC-{band}-9594-1,1.fits"
        for band in "GRIZY"
    ]
    assert not any(file.required or file.query for file in whole)
    (cutouts,) = archive.files_for(DUD, "09594-200-cutouts-00", rows)
    assert cutouts.path.startswith("cutouts/pdr3_dud_rev/9594/2,0/")
    lines = parse_question(cutouts.query)
    assert [(line.object_id, line.filter) for line in lines[:3]] == [
        ("10000", "HSC-G"),
        ("9999", "HSC-G"),
        ("10000", "HSC-R"),
    ]
    assert len(lines) == 2 * len(BANDS)
    heading, first, *_ = coordlist(lines).splitlines()
    assert heading == "#? rerun type filter tract ra dec sw sh image mask variance"
    assert first.split()[:6] == ["pdr3_dud_rev", "coadd", "HSC-G", "9594", "1.000000000000deg", "2.000000000000deg"]
    reversed_rows = archive.files_for(DUD, "09594-200-cutouts-00", rows.take(pa.array([1, 0])))
    assert reversed_rows == (cutouts,), "the order of rows does not make another question"
    assert unit_names(np.array([9594]), np.array([1])).tolist() == ["09594-001"]
