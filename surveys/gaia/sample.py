"""XP coefficients -> flux on a wavelength grid, through the GaiaXPy library (extra `xp`).

What a record keeps (coefficients, errors, correlations, standard deviations) is all that the calibration needs; this
module hands it to GaiaXPy in the archive's form. GaiaXPy is imported when called.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from mmu.errors import UsageError
from surveys.gaia import BANDS, BASES, CORRELATIONS

INSTALL = "sampling XP spectra needs the GaiaXPy library: pip install 'multimodal-universe[xp]'"
DEFAULT_NM = np.arange(336.0, 1021.0, 2.0)
"""GaiaXPy's own grid, nm, (343,)."""

Floats = NDArray[np.float64]


def sample(records: pa.Table | Mapping[str, Any], wavelength_nm: ArrayLike | None = None) -> tuple[Floats, Floats]:
    """Externally calibrated flux and its error, W m-2 nm-1, each (N, L), in the records' order.

    Args:
        records: rows of a gaia dataset: source_id, coeff, coeff_error, the correlations and bp/rp_standard_deviation.
        wavelength_nm: increasing, within 330..1050; GaiaXPy's grid by default.

    Raises:
        UsageError: GaiaXPy is not installed, a column is missing, or a wavelength lies outside.
    """
    grid = DEFAULT_NM if wavelength_nm is None else np.asarray(wavelength_nm, dtype=np.float64)
    if grid.ndim != 1 or len(grid) == 0 or grid.min() < 330 or grid.max() > 1050 or np.any(np.diff(grid) <= 0):
        raise UsageError("wavelength_nm must be increasing and within 330..1050 nm.")
    frame = archive_frame(records)
    if len(frame) == 0:
        return np.empty((0, len(grid))), np.empty((0, len(grid)))
    quiet = io.StringIO()  # GaiaXPy reports its progress
    with warnings.catch_warnings(), redirect_stdout(quiet), redirect_stderr(quiet):
        warnings.simplefilter("ignore")  # GaiaXPy's and its libraries' own; nothing here depends on them
        try:
            from gaiaxpy import calibrate
        except ImportError as problem:
            raise UsageError(INSTALL) from problem
        found, _ = calibrate(frame, sampling=grid, save_file=False)
    found = found.set_index("source_id").loc[frame["source_id"]]
    flux, error = (np.stack(found[name].to_list()).astype(np.float64) for name in ("flux", "flux_error"))
    return flux, error


def archive_frame(records: pa.Table | Mapping[str, Any]) -> Any:
    """The records as a pandas table with the archive's columns, as GaiaXPy reads them."""
    import pandas as pd

    try:
        columns: dict[str, Any] = {"source_id": _column(records, "source_id").astype(np.int64)}
        for index, band in enumerate(BANDS):
            here = slice(index * BASES, (index + 1) * BASES)
            arrays = {
                f"{band}_coefficients": _matrix(records, "coeff", 2 * BASES)[:, here],
                f"{band}_coefficient_errors": _matrix(records, "coeff_error", 2 * BASES)[:, here],
                f"{band}_coefficient_correlations": _matrix(records, f"{band}_coefficient_correlations", CORRELATIONS),
            }
            there = ~np.isnan(arrays[f"{band}_coefficients"][:, 0])
            columns[f"{band}_n_parameters"] = np.where(there, BASES, 0)
            columns[f"{band}_standard_deviation"] = _column(records, f"{band}_standard_deviation").astype(np.float64)
            for name, values in arrays.items():
                columns[name] = [row if ok else np.nan for row, ok in zip(values, there, strict=True)]
    except KeyError as problem:
        msg = f"Sampling needs the column {problem} of a gaia dataset."
        raise UsageError(msg) from problem
    return pd.DataFrame(columns)


def _column(records: pa.Table | Mapping[str, Any], name: str) -> NDArray[Any]:
    values = records[name]
    return values.to_numpy() if isinstance(values, pa.ChunkedArray) else np.asarray(values)


def _matrix(records: pa.Table | Mapping[str, Any], name: str, length: int) -> Floats:
    values = records[name]
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=np.float64).reshape(-1, length)
