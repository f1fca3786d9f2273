"""Bulk CSV files to records: exact integers, missing values, arrays, and what is told when a file is bad."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from astropy.table import Table

from mmu.errors import FormatError, UsageError
from mmu.simulate import Sky
from surveys.gaia import SURVEY, archive, sample, simulate
from surveys.gaia.ecsv import parse_arrays, read_blocks, read_table
from surveys.gaia.read import XP_TYPES, read, read_sources, read_xp, xp_columns

SKY = Sky()
DR3 = SURVEY.default_release


@pytest.fixture(scope="session")
def unit(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Path]]:
    """The smallest unit that has spectra: (name, paths)."""
    root = tmp_path_factory.mktemp("gaia")
    sizes = {path: size for path, size in simulate.files("gaia_dr3", SKY).items() if "Xp" in path and size > 20_000}
    name = min(sizes, key=lambda path: sizes[path]).rpartition("_")[2].partition(".")[0]
    paths = {file.path: root / Path(file.path).name for file in archive.files(DR3, name)}
    for path, place in paths.items():
        simulate.write(path, SKY, place)
    return name, paths


def _plain(path: Path) -> Table:
    return Table.read(path, format="ascii.ecsv", fill_values=("null", "0"))


def _write(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()))
    return path


def test_a_unit_becomes_records(unit: Any) -> None:
    name, paths = unit
    source, xp = (_plain(path) for path in paths.values())
    wanted = np.asarray(xp["source_id"])[::-1]
    records = read(DR3, name, paths, pa.table({"object_id": wanted.astype(str)}))
    table = records.table
    assert records.excluded == {}
    assert table.schema.names == DR3.schema.names
    assert table["source_id"].to_pylist() == sorted(wanted.tolist())
    assert table["object_id"].to_pylist() == [str(one) for one in sorted(wanted.tolist())]
    rows = np.searchsorted(np.asarray(source["source_id"]), table["source_id"].to_numpy())
    for column in source.colnames:
        _same(table[column], source[column][rows])
    spectra = xp[np.argsort(np.asarray(xp["source_id"]))]
    coeff = np.stack(table["coeff"].to_numpy(zero_copy_only=False))
    np.testing.assert_allclose(coeff[:, :55], np.stack(spectra["bp_coefficients"]), rtol=1e-6)
    np.testing.assert_allclose(coeff[:, 55:], np.stack(spectra["rp_coefficients"]), rtol=1e-6)
    error = np.stack(table["coeff_error"].to_numpy(zero_copy_only=False))
    np.testing.assert_allclose(error[:, 55:], np.stack(spectra["rp_coefficient_errors"]), rtol=1e-6)
    correlation = np.stack(table["bp_coefficient_correlations"].to_numpy(zero_copy_only=False))
    np.testing.assert_allclose(correlation, np.stack(spectra["bp_coefficient_correlations"]), rtol=1e-6)
    np.testing.assert_array_equal(table["rp_n_relevant_bases"].to_numpy(), spectra["rp_n_relevant_bases"])


def _same(mine: pa.ChunkedArray, plain: Any) -> None:
    """Value for value; a missing number is NaN, a missing integer, flag or text is null."""
    missing = np.ma.getmaskarray(plain) if hasattr(plain, "mask") else np.zeros(len(plain), dtype=bool)
    if pa.types.is_floating(mine.type):
        expected = np.ma.filled(plain.astype(float), np.nan) if missing.any() else np.asarray(plain, dtype=float)
        np.testing.assert_allclose(mine.to_numpy(), expected.astype(mine.type.to_pandas_dtype()), rtol=1e-6)
        return
    listed = [None if bad else value for value, bad in zip(np.asarray(plain).tolist(), missing.tolist(), strict=True)]
    assert [value for value in mine.to_pylist() if value is not None] == [v for v in listed if v not in (None, "null")]


def test_sources_that_a_file_lacks_are_told(unit: Any) -> None:
    name, paths = unit
    source, xp = (_plain(path) for path in paths.values())
    without = sorted(set(source["source_id"].tolist()) - set(xp["source_id"].tolist()))[0]
    rows = [str(xp["source_id"][0]), str(without), "5"]
    records = read(DR3, name, paths, pa.table({"object_id": rows}))
    assert records.table.num_rows == 1
    assert records.excluded == {str(without): "not in the XP file", "5": "not in the XP file"}


def test_integers_are_exact_and_flags_are_read(unit: Any) -> None:
    _, paths = unit
    table = read_sources(next(iter(paths.values())))
    assert table["solution_id"].to_pylist()[0] == 1636148068921376768
    assert table["designation"].to_pylist()[0] == f"Gaia DR3 {table['source_id'].to_pylist()[0]}"
    assert set(table["has_xp_continuous"].to_pylist()) <= {True, False}
    assert table["libname_gspphot"].null_count > 0
    assert table.num_columns == 152


def test_a_file_without_rows(tmp_path: Path) -> None:
    header = "# %ECSV 1.0\n# ---\n"
    empty = _write(tmp_path / "x.csv.gz", header + ",".join(XP_TYPES) + "\n")
    assert list(read_blocks(empty, XP_TYPES)) == []
    assert read_xp(empty).num_rows == 0
    assert read_table(empty, {"source_id": "int64"}).num_rows == 0


def test_null_and_nothing_are_both_missing(tmp_path: Path) -> None:
    text = '# a comment\nid,a,b,c,d\n9007199254740993,null,,"null",null\n2,1.5,7,"x",True\n'
    path = _write(tmp_path / "x.csv.gz", text)
    types = {"id": "int64", "a": "float32", "b": "int16", "c": "string", "d": "bool"}
    assert read_table(path, types).to_pylist() == [
        {"id": 9007199254740993, "a": None, "b": None, "c": None, "d": None},
        {"id": 2, "a": 1.5, "b": 7, "c": "x", "d": True},
    ]


def test_arrays_in_either_bracket() -> None:
    cells = pa.array(["[1, 2.5, -3e-2]", "(4,5,6)", None, "", "[]", "[ null, NaN, 1 ]"])
    expected = np.full((6, 3), np.nan, dtype=np.float32)
    expected[0], expected[1], expected[5, 2] = [1, 2.5, -0.03], [4, 5, 6], 1
    np.testing.assert_array_equal(parse_arrays(cells, 3), expected)
    np.testing.assert_array_equal(parse_arrays(cells.slice(1, 3), 3), expected[1:4])
    assert parse_arrays(cells.slice(2, 3), 3).shape == (3, 3)


@pytest.mark.parametrize("cell", ["[1, 2]", "[1, 2, 3, 4]", "[1, b, 3]"])
def test_arrays_of_another_length_or_kind_are_told(cell: str) -> None:
    with pytest.raises(FormatError):
        parse_arrays(pa.array(["[1, 2, 3]", cell]), 3)
    with pytest.raises(FormatError):  # as many numbers in all, yet not in each
        parse_arrays(pa.array(["[1, 2]", "[1, 2, 3, 4]"]), 3)


def test_a_missing_band_is_nan() -> None:
    row: dict[str, list[Any]] = {name: [None] for name in XP_TYPES}
    row |= {
        f"rp_{name}": ["[" + ",".join(["1"] * n) + "]"]
        for name, n in (("coefficients", 55), ("coefficient_errors", 55), ("coefficient_correlations", 1485))
    }
    row |= {"source_id": [1], "bp_n_relevant_bases": [None], "rp_n_relevant_bases": [3]}
    table = xp_columns(
        pa.table({name: pa.array(row[name], type=pa.type_for_alias(kind)) for name, kind in XP_TYPES.items()})
    )
    coeff = np.array(table["coeff"].to_pylist()[0])
    assert np.isnan(coeff[:55]).all()
    assert (coeff[55:] == 1).all()


@pytest.mark.parametrize("damage", ["truncated", "html", "no column", "a word for a number", "bomb"])
def test_bad_files_are_told_in_a_sentence(damage: str, unit: Any, tmp_path: Path) -> None:
    _, paths = unit
    good = next(iter(paths.values()))
    bad = tmp_path / "GaiaSource_bad.csv.gz"
    if damage == "truncated":
        bad.write_bytes(good.read_bytes()[:-2000])
    elif damage == "html":
        bad.write_text("<html>busy</html>")
    elif damage == "no column":
        _write(bad, "source_id,ra\n1,2\n")
    elif damage == "a word for a number":
        _write(bad, gzip.decompress(good.read_bytes()).decode().replace("2016.0", "soon"))
    else:
        _write(bad, "source_id\n" + "1\n" * 3_000_000)
    with pytest.raises(FormatError, match=r"GaiaSource_bad\.csv\.gz: .*fetch it again"):
        read_sources(bad)


def test_sampling_gives_the_simulated_stars_a_flux(unit: Any) -> None:
    pytest.importorskip("gaiaxpy", reason="the optional library GaiaXPy is not installed", exc_type=ImportError)
    name, paths = unit
    ids = np.asarray(_plain(list(paths.values())[1])["source_id"])[:3]
    table = read(DR3, name, paths, pa.table({"object_id": ids.astype(str)})).table
    flux, error = sample.sample(table, [400.0, 500.0, 700.0])
    assert flux.shape == error.shape == (3, 3)
    assert np.isfinite(flux).all()
    assert (error > 0).all()
    assert sample.sample(table.slice(0, 0))[0].shape == (0, 343)


def test_sampling_needs_its_library_and_columns(unit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    name, paths = unit
    ids = np.asarray(_plain(list(paths.values())[1])["source_id"])[:1]
    table = read(DR3, name, paths, pa.table({"object_id": ids.astype(str)})).table
    with pytest.raises(UsageError, match=r"330\.\.1050"):
        sample.sample(table, [100.0])
    with pytest.raises(UsageError, match="coeff_error"):
        sample.sample(table.drop_columns(["coeff_error"]))
    monkeypatch.setitem(__import__("sys").modules, "gaiaxpy", None)
    with pytest.raises(UsageError, match=r"multimodal-universe\[xp\]"):
        sample.sample(table)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [("[", '["', "column"), ("[", "[1,", "cells of .* numbers, not"), ("[", "[1\0", "not a number")],
)
def test_a_bad_array_is_told_in_a_line_that_names_the_file(
    unit: Any, tmp_path: Path, old: str, new: str, said: str
) -> None:
    lines = gzip.decompress(list(unit[1].values())[1].read_bytes()).decode().splitlines()
    lines[-1] = lines[-1].replace(old, new, 1)
    bad = _write(tmp_path / "XpContinuousMeanSpectrum_bad.csv.gz", "\n".join([*lines, ""]))
    with pytest.raises(FormatError, match=rf"XpContinuousMeanSpectrum_bad\.csv\.gz: .*{said}") as told:
        read_xp(bad)
    assert str(told.value).isprintable()
    assert len(str(told.value)) < 500
