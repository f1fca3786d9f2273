"""Pictures of datasets: every modality, the endings, the same bytes again, what there is nothing of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import rcParams
from PIL import Image

from mmu.dataset import Dataset
from mmu.errors import UsageError
from mmu.look import draw, draw_object
from mmu.look.choose import first_ids, near_ids, random_ids
from mmu.look.cube import cube_of, cube_panels, draw_map, map_panels
from mmu.look.labels import draw_distribution, telling
from mmu.look.lightcurve import draw_lightcurve
from mmu.look.panel import Panel, places
from mmu.look.style import figure
from mmu.look.subject import Subject, magnitude_column, read, redshift_column
from mmu.schema import MODALITIES, Column, arrow_field
from tests.look.made import Z, image_column, images, made, spectra, spectrum_column, spot


@pytest.fixture
def spectra_of(tmp_path: Path) -> Dataset:
    flux = [np.ones(300), np.full(300, 2.0), np.full(250, 3.0)]
    values = {"spectrum": spectra(flux), "Z": [0.1, None, np.nan]}
    return made(tmp_path / "survey" / "dr1", (spectrum_column(), Z), values, 3)


def test_a_sheet_a_page_and_the_same_bytes_again(spectra_of: Dataset, tmp_path: Path) -> None:
    sheet, page = tmp_path / "sheet.png", tmp_path / "deep" / "page.png"
    assert draw(spectra_of, sheet) == sheet
    assert draw(spectra_of, page, ids=["obj-001"]) == page
    with Image.open(sheet) as whole, Image.open(page) as one:
        assert whole.height > one.height
    before = sheet.read_bytes()
    draw(spectra_of, sheet)
    assert sheet.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"survey", "sheet.png", "deep"}  # no leftovers


@pytest.mark.parametrize(("ending", "start"), [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_the_ending_says_what_is_written(spectra_of: Dataset, tmp_path: Path, ending: str, start: bytes) -> None:
    path = tmp_path / f"page.{ending}"
    draw(spectra_of, path, ids=["obj-000"])
    first = path.read_bytes()
    assert first.startswith(start)
    assert b"CreationDate" not in first
    assert b"dc:date" not in first
    draw(spectra_of, path, ids=["obj-000"])
    assert path.read_bytes() == first


def test_another_ending_is_refused_before_anything_is_written(spectra_of: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.png, \.pdf, \.svg"):
        draw(spectra_of, tmp_path / "page.jpeg")
    assert [path.name for path in tmp_path.iterdir()] == ["survey"]


def test_settings_of_others_neither_come_in_nor_are_changed(spectra_of: Dataset, tmp_path: Path) -> None:
    draw(spectra_of, tmp_path / "a.png", ids=["obj-000"])
    before = rcParams["font.size"]
    rcParams["font.size"] = 31.0
    try:
        draw(spectra_of, tmp_path / "b.png", ids=["obj-000"])
        assert rcParams["font.size"] == 31.0
    finally:
        rcParams["font.size"] = before
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_an_object_that_is_not_there(spectra_of: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no object 'obj-0011'; the ids most like it: obj-001"):
        draw(spectra_of, tmp_path / "page.png", ids=["obj-0011"])


def test_an_empty_dataset_gives_no_picture(tmp_path: Path) -> None:
    empty = made(tmp_path / "s", (image_column(),), {"image": images([])}, 0)
    assert draw(empty, tmp_path / "page.png") is None
    assert not (tmp_path / "page.png").exists()


def test_an_object_across_datasets(spectra_of: Dataset, tmp_path: Path) -> None:
    stamps = made(tmp_path / "t", (image_column(),), {"image": images([{"g": spot(9, 9), "r": spot(9, 9)}])})
    labels = made(tmp_path / "l", (Column("mass", "float64", "solMass", "stellar mass"),), {"mass": [1e10]})
    records = {"a": (spectra_of, "obj-001"), "b": (stamps, "obj-000"), "c": (labels, "obj-000")}
    assert draw_object(records, tmp_path / "all.png").is_file()
    assert draw_object({"b": records["b"]}, tmp_path / "one.png").is_file()


def test_choosing(spectra_of: Dataset) -> None:
    assert first_ids(spectra_of, 2) == spectra_of.table(["object_id"])["object_id"].to_pylist()[:2]
    assert sorted(random_ids(spectra_of, 9)) == ["obj-000", "obj-001", "obj-002"]
    assert random_ids(spectra_of, 2, 5) == random_ids(spectra_of, 2, 5)
    assert len({tuple(random_ids(spectra_of, 2, seed)) for seed in range(20)}) > 1
    assert near_ids("39627787841", ["1", "39627787842", "9"]) == ["39627787842"]
    assert near_ids("x", []) == []


def test_panels_fill_a_page_without_overlap() -> None:
    sizes = [(6, 6), (3, 3), (3, 3), (3, 3), (3, 3), (12, 4), (3, 3), (9, 3), (20, 1)]
    found, rows = places([Panel(*size, draw=lambda axis: None) for size in sizes])
    assert found[:6] == [(0, 0), (0, 6), (0, 9), (3, 6), (3, 9), (6, 0)]
    assert rows == 14
    assert places([]) == ([], 0)


def told(unit: str = "", meaning: str = "", dtype: str = "float32") -> Any:
    return lambda name: arrow_field(Column(name, dtype, unit, meaning))


@pytest.mark.parametrize(
    ("columns", "redshift", "magnitude"),
    [
        ({"Z": told(), "ZERR": told(), "MAG_R": told("mag")}, "Z", "MAG_R"),
        ({"FLUX_Z": told("nanomaggy"), "FLUX_R": told("nanomaggy"), "MW_TRANSMISSION_Z": told()}, None, "FLUX_R"),
        ({"z": told("pixel"), "redshift": told(meaning="redshift; NaN where unknown")}, "redshift", None),
        ({"Z_HP": told(meaning="redshift and its error"), "g_cmodel_mag": told("mag")}, "Z_HP", "g_cmodel_mag"),
        ({"z": told(dtype="int32"), "a_r": told("mag"), "g_cmodel_magerr": told("mag")}, None, None),
    ],
)
def test_redshift_and_magnitude_are_found_by_name_unit_and_meaning(
    columns: dict[str, Any], redshift: str | None, magnitude: str | None
) -> None:
    fields = [make(name) for name, make in columns.items()]
    assert redshift_column(fields) == redshift
    assert magnitude_column(fields) == magnitude


def test_what_is_said_of_an_object() -> None:
    columns = {
        "Z": told(), "ZWARN": told(dtype="int64"), "FLUX_R": told("nanomaggy"),
        "label": told(meaning="class: 0 round, 1 spiral", dtype="int32"),
    }  # fmt: skip
    fields = {name: make(name) for name, make in columns.items()}
    record = {"object_id": "1", "Z": 0.25, "ZWARN": 4, "FLUX_R": 10.0, "label": 1}
    assert Subject("s", "r", fields, record).words == "z = 0.2500 (flagged)   r = 20.00   spiral"
    nothing = {"object_id": "1", "Z": None, "ZWARN": np.ma.masked, "FLUX_R": -1.0, "label": np.ma.masked}
    assert Subject("s", "r", fields, nothing).words == ""


def test_light_curves_by_band(tmp_path: Path) -> None:
    column = MODALITIES["lightcurve"].column(axes={"time": None}, flux="e-/s", with_=("band",))
    times = {"time": [[1.0, 2.0, 3.0, 4.0]], "flux": [[1.0, 2.0, np.nan, 4.0]], "flux_err": [[0.1, 0.2, 0.3, np.nan]]}
    dataset = made(tmp_path / "s", (column,), {"lightcurve": {**times, "band": [["r", "g", "g", "g"]]}})
    assert draw(dataset, tmp_path / "page.png") is not None
    with figure(tmp_path / "l.png", 5, 3) as made_figure:
        axis = made_figure.add_subplot()
        draw_lightcurve(axis, read(dataset, ["obj-000"], ["lightcurve"])[0], "lightcurve")
        assert axis.get_legend_handles_labels()[1] == ["g", "r"]
        green = axis.containers[0].lines[0]
        assert (list(green.get_xdata()), list(green.get_ydata())) == ([2.0, 4.0], [2.0, 4.0])


def test_coefficients(tmp_path: Path) -> None:
    coeff, error = (
        replace(member, modality="coefficients")
        for member in MODALITIES["coefficients"].column(axes={"basis": 8}, flux="e-/s").members
    )
    values = {"coeff": np.arange(8.0)[None], "coeff_error": np.ones((1, 8))}
    dataset = made(tmp_path / "s", (coeff, error), values)
    assert read(dataset, ["obj-000"], ["coefficients"])[0].of("coefficients") == ["coeff"]
    assert draw(dataset, tmp_path / "page.png") is not None


CUBE = MODALITIES["cube"].column(
    axes={"wavelength": 60, "y": None, "x": None}, flux="1e-17 erg/(s cm2 Angstrom spaxel)"
)
MAP = MODALITIES["map"].column("line_gvel", axes={"channel": None, "y": None, "x": None}, flux="see unit")


def test_cubes_and_maps(tmp_path: Path) -> None:
    flux = np.ones((60, 5, 4))
    flux[:, 3, 1] = 9.0
    ivar, mask = np.ones((60, 5, 4)), np.zeros((60, 5, 4), dtype=np.int32)
    ivar[:, 0, 0], mask[:, 0, 1] = 0.0, 1024
    value = np.stack([np.full((5, 4), 7.0), np.linspace(-50, 100, 20).reshape(5, 4)])
    bad = np.zeros((2, 5, 4), dtype=np.int32)
    bad[1, 2, 2] = 1
    cube = {"flux": flux, "ivar": ivar, "mask": mask, "lambda": 4000.0 + np.arange(60), "lsf_sigma": flux}
    maps = {
        "label": ["Hb-4862", "Ha-6564"],
        "unit": ["km/s"] * 2,
        "value": value,
        "ivar": np.ones((2, 5, 4)),
        "mask": bad,
    }
    listed = [
        {name: [np.asarray(one).tolist()] for name, one in values.items() if name != "lsf_sigma"}
        for values in (cube, maps)
    ]
    dataset = made(tmp_path / "s", (CUBE, MAP), {"cube": listed[0], "line_gvel": listed[1]})
    subject = read(dataset, ["obj-000"], ["cube", "map"])[0]
    found = cube_of(subject, "cube")
    assert found is not None
    assert found.white[3, 1] == 9.0
    assert np.isnan(found.white[0, :2]).all()
    assert [panel.width for panel in cube_panels(subject, "cube", "", True)] == [3, 9]
    assert len(map_panels(subject)) == 1
    assert draw(dataset, tmp_path / "page.png") is not None
    with figure(tmp_path / "m.png", 3, 3) as made_figure:
        axis = made_figure.add_subplot()
        draw_map(axis, subject, "line_gvel", "velocity")
        shown, (low, high) = axis.images[0].get_array(), axis.images[0].get_clim()
        assert low == -high  # no velocity is white
        assert np.ma.getmaskarray(np.ma.masked_invalid(shown))[2, 2]
        np.testing.assert_allclose(np.delete(np.asarray(shown).ravel(), 10), np.delete(value[1].ravel(), 10))
        assert "Ha-6564" in axis.get_title()


def test_labels_are_shown_as_distributions(tmp_path: Path) -> None:
    columns = (
        Column("mass", "float64", "solMass", "stellar mass"),
        Column("mass_err", "float64", "solMass", "its error"),
        Column("kind", "int32", meaning="class: 0 round, 1 spiral"),
        Column("TARGETID", "int64", meaning="an id"),
    )
    random = np.random.default_rng(6)
    values = {
        "mass": 10 ** random.uniform(7, 12, 50), "mass_err": np.ones(50),
        "kind": random.integers(0, 2, 50), "TARGETID": np.arange(50),
    }  # fmt: skip
    dataset = made(tmp_path / "s", columns, values, 50)
    assert telling(dataset.schema) == ["mass", "kind"]
    assert draw(dataset, tmp_path / "all.png") is not None
    assert draw(dataset, tmp_path / "one.png", ids=["obj-003"]) is not None
    with figure(tmp_path / "d.png", 6, 3) as made_figure:
        left, right = made_figure.subplots(1, 2)
        draw_distribution(left, dataset.schema.field("mass"), values["mass"], values["mass"][3:4])
        draw_distribution(right, dataset.schema.field("kind"), values["kind"].astype(float))
        assert left.get_xscale() == "log"
        assert [line.get_xdata()[0] for line in left.lines] == [values["mass"][3]]
        assert sum(bar.get_height() for bar in left.patches) == 50
        assert [label.get_text() for label in right.get_yticklabels()] == ["round", "spiral"]
