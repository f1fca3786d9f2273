"""Which columns tell what, on datasets of no survey; and samples that stay small."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmu.dataset import Dataset
from mmu.report import sample as sampling
from mmu.report import write_report
from mmu.report.chart import decades, histogram, number, ticks
from mmu.report.measures import magnitude_columns, measures, redshift_column
from mmu.report.sample import sample
from mmu.report.sky import sky_chart
from mmu.schema import IDENTITY, MODALITIES, Column, Schema, table_of
from mmu.schema.arrow import arrow_schema
from mmu.sky import healpix

ROWS = 50


def catalogue(folder: Path, columns: tuple[Column, ...], values: Mapping[str, Any], groups: int = 5) -> Dataset:
    """A HATS catalogue of one shard, with no ledger: as others make them."""
    random = np.random.default_rng(3)
    ra, dec = 10 + random.normal(0, 0.1, ROWS), random.normal(0, 0.1, ROWS)
    schema = Schema((*IDENTITY, *columns))
    own = {"object_id": np.array([f"o{i}" for i in range(ROWS)]), "ra": ra, "dec": dec}
    table = table_of(schema, own | dict(values)).add_column(0, "_healpix_29", pa.array(healpix.pixel(ra, dec)))
    shard = folder / "dataset" / "Norder=0" / "Dir=0" / "Npix=4.parquet"
    shard.parent.mkdir(parents=True)
    pq.write_table(table.cast(arrow_schema(schema)), shard, row_group_size=ROWS // groups)
    pq.write_metadata(arrow_schema(schema), folder / "dataset" / "_common_metadata")
    (folder / "partition_info.csv").write_text("Norder,Npix\n0,4\n")
    (folder / "hats.properties").write_text(f"dataproduct_type=object\nhats_nrows={ROWS}\nobs_title=Theirs <b>\n")
    return Dataset(folder)


def test_a_column_without_anything_to_draw_is_left_out(tmp_path: Path) -> None:
    """Zero has no place on a logarithmic axis; the page tells of the rest."""
    columns = (Column("SNR"), Column("FLUX_G", unit="nanomaggy"))
    dataset = catalogue(tmp_path / "v1", columns, {"SNR": np.zeros(ROWS), "FLUX_G": np.ones(ROWS)})
    assert [one.title for one in measures(dataset)] == ["Magnitudes"]
    page = write_report([dataset.path], tmp_path / "r.html").read_text()
    assert "could not all be read" not in page
    assert "Magnitudes" in page


def test_magnitudes_come_from_fluxes_with_their_zero_point(tmp_path: Path) -> None:
    flux = np.linspace(-1, 100, ROWS).astype(np.float32)
    columns = (
        Column("FLUX_IVAR_G", unit="1/nanomaggy^2"),
        Column("FLUX_G", unit="nanomaggy"),
        Column("FLUX_R", unit="nanomaggy"),
        Column("FIBERFLUX_G", unit="nanomaggy"),
        Column("EBV", unit="mag"),
    )
    dataset = catalogue(tmp_path / "v1", columns, {column.name: flux for column in columns})
    assert magnitude_columns(dataset.schema) == [("FLUX_G", 22.5), ("FLUX_R", 22.5)]
    (found,) = measures(dataset)
    positive = flux > 0
    drawn = found.series["FLUX_G"]
    np.testing.assert_allclose(np.sort(drawn)[: positive.sum()], np.sort(22.5 - 2.5 * np.log10(flux[positive])), 1e-6)
    assert np.isnan(drawn).sum() == (~positive).sum()
    assert "2 fluxes are not positive" in found.notes


def test_a_declared_zero_point_is_taken_before_the_units(tmp_path: Path) -> None:
    columns = (Column("flux_auto", unit="adu", zero_point=27.0),)
    dataset = catalogue(tmp_path / "v1", columns, {"flux_auto": np.full(ROWS, 10.0, np.float32)})
    (found,) = measures(dataset)
    np.testing.assert_allclose(found.series["flux_auto"], 24.5)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("Z", True),
        ("redshift", True),
        ("Z_HP", True),
        ("z_spec", True),
        ("ZERR", False),
        ("ZWARN", False),
        ("zone", False),
    ],
)
def test_what_is_called_like_a_redshift(name: str, is_one: bool) -> None:
    schema = pa.schema([pa.field(name, pa.float64())])
    assert (redshift_column(schema) == name) is is_one


def test_the_mask_is_read_by_its_polarity(tmp_path: Path) -> None:
    flux = np.full((ROWS, 8), 3.0, np.float32)
    flux[:, :4] = 100.0
    bad = np.zeros((ROWS, 8), bool)
    bad[:, :4] = True
    one = np.ones_like(flux)
    spectrum = {"flux": flux, "ivar": 4 * one, "lsf_sigma": one, "lambda": one, "mask": bad}
    column = MODALITIES["spectrum"].column(axes={"wavelength": 8}, flux="1")
    (found,) = measures(catalogue(tmp_path / "a", (column,), {"spectrum": spectrum}))
    np.testing.assert_allclose(found.series["spectrum"], 6.0)
    planes = {
        "band": [["g", "r"]] * ROWS,
        "flux": np.full((ROWS, 2, 16, 16), 2.0, np.float32),
        "ivar": np.full((ROWS, 2, 16, 16), 0.25, np.float32),
        "mask": np.ones((ROWS, 2, 16, 16), bool),
        "psf_fwhm": np.ones((ROWS, 2), np.float32),
        "scale": np.ones((ROWS, 2), np.float32),
    }
    column = MODALITIES["image"].column(axes={"band": None, "y": 16, "x": 16}, flux="nanomaggy", zero_point=22.5)
    (found,) = measures(catalogue(tmp_path / "b", (column,), {"image": planes}))
    assert set(found.series) == {"g", "r"}
    np.testing.assert_allclose(found.series["g"], 4 * 2.0 / np.sqrt(4 / 0.25))  # four pixels in the middle


def test_a_sample_is_spread_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = catalogue(tmp_path / "v1", (Column("index", "int64"),), {"index": np.arange(ROWS)}, groups=10)
    assert sample(dataset, ["index"]).words == "all 50 rows"
    some = sample(dataset, ["index"], 20)
    assert some.words == "20 of 50 rows"
    assert np.ptp(some.table["index"].to_numpy()) > 30
    monkeypatch.setattr(sampling, "_MOST_BYTES", 1)
    assert len(sample(dataset, ["index"]).table) == 0


def test_a_catalogue_of_others_has_a_report(tmp_path: Path) -> None:
    catalogue(tmp_path / "v1", (Column("z", "float64"),), {"z": np.linspace(0, 1, ROWS)})
    text = write_report([tmp_path / "v1"], tmp_path / "page.html").read_text()
    assert "no ledger" in text
    assert "Theirs &lt;b&gt;" in text
    assert "Redshifts" in text


def test_skies_of_all_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = catalogue(tmp_path / "v1", (), {})
    chart = sky_chart(dataset)
    assert chart is not None
    assert chart.svg.count("h0") == ROWS
    random = np.random.default_rng(1)
    ra, dec = random.uniform(0, 360, 5000), np.degrees(np.arcsin(random.uniform(-1, 1, 5000)))
    everywhere = (ra, dec, np.ones(5000), "a test")
    monkeypatch.setattr("mmu.report.sky._positions", lambda dataset: everywhere)
    chart = sky_chart(dataset)
    assert chart is not None
    assert "Mollweide" in chart.caption
    assert "nan" not in chart.svg


def test_charts_count_everything(tmp_path: Path) -> None:
    values = np.r_[np.linspace(1, 10, 2000), 1e9]
    chart = histogram("T", "x <i>", {"a": values})
    counted = int(re.search(r"(\d+) values lie beyond", chart.caption)[1])  # type: ignore[index]
    assert 1 <= counted <= 0.011 * len(values)
    assert "x &lt;i&gt;" in chart.svg
    assert histogram("T", "x", {"a": np.array([5.0])}).svg.startswith("<svg")


def test_ticks_are_round() -> None:
    assert ticks(0.0, 10.0, 5) == [0, 2, 4, 6, 8, 10]
    assert number(-0.0) == "0"
    assert number(-1.5) == "−1.5"
    assert [round(10**value, 9) for value in decades(0.0, 3.0)] == [1, 10, 100, 1000]
