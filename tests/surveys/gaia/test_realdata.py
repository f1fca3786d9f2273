"""Real XP spectra through the same functions, and sampled against GaiaXPy's published reference."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from surveys.gaia import sample
from surveys.gaia.read import read_xp


def _real(name: str) -> Path:
    root = os.environ.get("MMU_REAL_DATA")
    if not root or not (Path(root) / "gaia" / name).exists():
        pytest.skip("MMU_REAL_DATA is not set, or lacks the file")
    return Path(root) / "gaia" / name


def _rows(name: str, columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """source_id and array columns of a small CSV."""
    with _real(name).open() as file:
        return [
            (int(row["source_id"]), *(np.array(row[c].strip("()[]").split(","), dtype=float) for c in columns))
            for row in csv.DictReader(file)
        ]


def test_csv_and_fits_give_the_same() -> None:
    text, binary = read_xp(_real("XP_CONTINUOUS_RAW.csv")), read_xp(_real("XP_CONTINUOUS_RAW.fits"))
    assert text.num_rows == 2
    assert text.equals(binary)
    assert text["source_id"].to_pylist()[0] == 5853498713190525696
    assert text["coeff"].to_pylist()[0][:2] == pytest.approx([56947.03696840172, 13812.466168611605])
    assert text["coeff"].to_pylist()[0][55] == pytest.approx(735186.216)


def test_only_the_sources_wanted() -> None:
    wanted = np.array([5762406957886626816])
    assert read_xp(_real("XP_CONTINUOUS_RAW.csv"), wanted)["source_id"].to_pylist() == wanted.tolist()


def test_a_missing_band() -> None:
    table = read_xp(_real("XP_CONTINUOUS_RAW_missing_BP_dr3int6.fits"))
    coeff = np.array(table["coeff"].to_pylist()[0])
    assert np.isnan(coeff[:55]).all()
    assert np.isfinite(coeff[55:]).all()
    assert np.isnan(table["bp_coefficient_correlations"].to_pylist()[0]).all()
    assert table["bp_n_relevant_bases"].to_pylist() == [None]
    assert table["rp_n_relevant_bases"].to_pylist() == [47]


def test_sampled_spectra_are_the_references() -> None:
    """Within 3 % of their errors: what storing coefficients as float32 costs."""
    pytest.importorskip("gaiaxpy", reason="the optional library GaiaXPy is not installed", exc_type=ImportError)
    table = read_xp(_real("XP_CONTINUOUS_RAW.csv"))
    flux, error = sample.sample(table)
    reference = {one: rest for one, *rest in _rows("calibrator_solution_default.csv", ("flux", "flux_error"))}
    for index, one in enumerate(table["source_id"].to_pylist()):
        expected, scatter = reference[one]
        assert (np.abs(flux[index] - expected) < 0.03 * scatter).all()
        np.testing.assert_allclose(error[index], scatter, rtol=1e-3)


def test_the_archives_own_sampled_spectra() -> None:
    pytest.importorskip("gaiaxpy", reason="the optional library GaiaXPy is not installed", exc_type=ImportError)
    flux, error = sample.sample(read_xp(_real("XP_CONTINUOUS_RAW.csv")))
    for index, (_, expected, scatter) in enumerate(_rows("XP_SAMPLED_RAW_dr3int6.csv", ("flux", "flux_error"))):
        assert (np.abs(flux[index] - expected) < 0.05 * scatter).all()
        np.testing.assert_allclose(error[index], scatter, rtol=0.01)


def test_sampling_keeps_the_order_and_marks_what_is_missing() -> None:
    pytest.importorskip("gaiaxpy", reason="the optional library GaiaXPy is not installed", exc_type=ImportError)
    whole, part = read_xp(_real("XP_CONTINUOUS_RAW.csv")), read_xp(_real("XP_CONTINUOUS_RAW_missing_BP_dr3int6.fits"))
    straight, _ = sample.sample(whole)
    mixed, _ = sample.sample(pa.concat_tables([part, whole.take([1, 0])]))
    np.testing.assert_allclose(mixed[1:], straight[::-1], rtol=1e-9)
    seen = sample.DEFAULT_NM[np.isfinite(mixed[0])]
    assert (seen[0], seen[-1]) == (636.0, 1020.0)
