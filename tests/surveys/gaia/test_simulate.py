"""The simulated Gaia archive: files like the real ones, stars that are the sky's."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table, vstack

from mmu.simulate import Field, Sky
from mmu.simulate.sky import source_id
from surveys.gaia.simulate import SOURCE, XP, files, write

SKY = Sky()


def _real(name: str) -> Path:
    root = os.environ.get("MMU_REAL_DATA")
    if not root or not (Path(root) / "gaia" / name).exists():
        pytest.skip("MMU_REAL_DATA is not set, or lacks the file: no real file to compare with")
    return Path(root) / "gaia" / name


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every file of the archive, by its path."""
    root = tmp_path_factory.mktemp("archive")
    found = {path: root / path.replace("/", "-") for path in files("gaia_dr3", SKY)}
    for path, destination in found.items():
        write(path, SKY, destination)
    return found


def _read(archive: dict[str, Path], folder: str) -> dict[str, Table]:
    return {
        path: Table.read(archive[path], format="ascii.ecsv", fill_values=("null", "0"))
        for path in archive
        if path.startswith(f"{folder}/") and path.endswith(".csv.gz")
    }


@pytest.fixture(scope="module")
def sources(archive: dict[str, Path]) -> dict[str, Table]:
    return _read(archive, SOURCE)


@pytest.fixture(scope="module")
def spectra(archive: dict[str, Path]) -> dict[str, Table]:
    return _read(archive, XP)


def _range(path: str) -> tuple[int, int]:
    first, last = path.rpartition("_")[2].removesuffix(".csv.gz").split("-")
    return int(first), int(last)


def test_ranges_are_contiguous_unequal_and_hold_their_stars(sources: dict[str, Table]) -> None:
    ranges = [_range(path) for path in sources]
    assert len(ranges) >= 4
    assert (ranges[0][0], ranges[-1][1]) == (0, 786431)
    assert all(before[1] + 1 == after[0] for before, after in itertools.pairwise(ranges))
    assert len({len(table) for table in sources.values()}) > 2
    for path, table in sources.items():
        cells = np.asarray(table["source_id"]) >> 35 + 8
        first, last = _range(path)
        assert np.all((cells >= first) & (cells <= last))
        assert np.all(np.diff(table["source_id"]) > 0)


def test_the_same_file_is_the_same_bytes_and_its_checksum_is_published(
    archive: dict[str, Path], tmp_path: Path
) -> None:
    for folder in (SOURCE, XP):
        lines = archive[f"{folder}/_MD5SUM.txt"].read_text().splitlines()
        listed = {name: digest for digest, name in (line.split() for line in lines)}
        paths = [path for path in archive if path.startswith(f"{folder}/") and path.endswith(".gz")]
        assert set(listed) == {path.rpartition("/")[2] for path in paths}
        for path in paths:
            assert hashlib.md5(archive[path].read_bytes()).hexdigest() == listed[path.rpartition("/")[2]]
    path = next(iter(archive))
    write(path, Sky(2026, (*SKY.fields,)), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == archive[path].read_bytes()
    assert any(archive[path].read_bytes()[4:8] == bytes(4) for path in archive if path.endswith(".gz"))


def test_sizes_are_about_right(archive: dict[str, Path]) -> None:
    for path, size in files("gaia_dr3", SKY).items():
        assert 0.4 < archive[path].stat().st_size / size < 2.5, path


def test_columns_are_those_of_the_archive(sources: dict[str, Table]) -> None:
    real = Table.read(_real("astroquery_1710099405832VAL-result.vot"))
    table = next(iter(sources.values()))
    assert table.colnames == [name.lower() for name in real.colnames]
    for ours, theirs in zip(table.colnames, real.colnames, strict=True):
        if real[theirs].dtype.kind != "O":
            assert table[ours].dtype == real[theirs].dtype, ours


def test_xp_columns_are_those_of_the_archive(spectra: dict[str, Table]) -> None:
    real = fits.open(_real("XP_CONTINUOUS_RAW.fits"))
    table = next(iter(spectra.values()))
    with real:
        assert table.colnames == real[1].columns.names
        codes = {"I": "int16", "K": "int64", "E": "float32", "D": "float64"}
        for column in real[1].columns:
            assert table[column.name].dtype == codes[column.format.removeprefix("P")[0]], column.name
            assert table[column.name].shape[1:] == np.shape(real[1].data[column.name][0])


def test_header_is_ecsv_and_missing_values_are_null(archive: dict[str, Path]) -> None:
    path = next(path for path in archive if path.startswith(SOURCE) and path.endswith(".gz"))
    text = gzip.decompress(archive[path].read_bytes()).decode()
    assert text.startswith("# %ECSV 1.0\n# ---\n# delimiter: ','\n# datatype:\n")
    body = [line for line in text.splitlines() if not line.startswith("#")]
    assert body[0].startswith("solution_id,designation,source_id,random_index,ref_epoch,ra,ra_error,dec,")
    assert len(body[0].split(",")) == 152
    assert ",null," in body[1]
    assert "nan" not in text


def test_stars_are_those_of_the_sky(sources: dict[str, Table]) -> None:
    table = vstack([*sources.values()], metadata_conflicts="silent")
    truth = SKY.objects()
    truth = truth[truth["kind"] == "star"]
    assert len(table) == len(truth)
    truth = truth[np.argsort(source_id(truth))]
    np.testing.assert_array_equal(np.asarray(table["source_id"]), source_id(truth))
    for name in ("ra", "dec"):
        assert np.abs(np.asarray(table[name]) - truth[name]).max() * 3.6e6 < 20
    bright = truth["mag_G"] < 18
    np.testing.assert_allclose(np.asarray(table["phot_g_mean_mag"])[bright], truth["mag_G"][bright], atol=0.02)
    pull = (table["parallax"] - truth["parallax_mas"]) / table["parallax_error"]
    assert np.ma.std(pull) == pytest.approx(1.0, abs=0.08)
    assert 0 < np.ma.getmaskarray(table["parallax"]).sum() < 0.1 * len(table)
    assert np.ma.count(table["radial_velocity"]) > 10


def test_xp_flags_and_files_agree(sources: dict[str, Table], spectra: dict[str, Table]) -> None:
    total = 0
    for path, table in sources.items():
        xp = spectra[path.replace(SOURCE, XP).replace("GaiaSource", "XpContinuousMeanSpectrum")]
        flagged = np.asarray(table["source_id"])[np.asarray(table["has_xp_continuous"])]
        np.testing.assert_array_equal(np.asarray(xp["source_id"]), flagged)
        total += len(xp)
    magnitudes = np.concatenate([np.asarray(table["phot_g_mean_mag"]) for table in sources.values()])
    assert 300 < total < 0.5 * len(magnitudes)


def test_coefficients_fall_off_and_their_errors_fit(spectra: dict[str, Table]) -> None:
    table = max(spectra.values(), key=len)
    for arm in ("bp", "rp"):
        values: Any = np.asarray(table[f"{arm}_coefficients"])
        errors: Any = np.asarray(table[f"{arm}_coefficient_errors"])
        size = np.median(np.abs(values), axis=0)
        assert size[0] > 20 * size[20]
        assert np.all(size[50:] < 5 * np.median(errors, axis=0)[50:])
        assert np.all(errors > 0)
        assert np.all(np.abs(np.asarray(table[f"{arm}_coefficient_correlations"])) <= 1)
        assert np.all(table[f"{arm}_n_relevant_bases"] <= 55)


def test_colour_shows_in_the_spectra(sources: dict[str, Table], spectra: dict[str, Table]) -> None:
    table = vstack([*sources.values()], metadata_conflicts="silent")
    xp = vstack([*spectra.values()], metadata_conflicts="silent")
    colour = np.asarray(table["bp_rp"])[np.asarray(table["has_xp_continuous"])]
    ratio = np.asarray(xp["rp_coefficients"])[:, 0] / np.asarray(xp["bp_coefficients"])[:, 0]
    red, blue = colour > np.quantile(colour, 0.8), colour < np.quantile(colour, 0.2)
    assert np.median(ratio[red]) > 1.5 * np.median(ratio[blue])


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="files\\(\\)"):
        write("gaia_source/GaiaSource_000000-003111.csv.gz", SKY, tmp_path / "x")
    with pytest.raises(ValueError, match="allowed is gaia_dr3"):
        files("gaia_dr2", SKY)


def test_a_field_without_stars_still_has_files(tmp_path: Path) -> None:
    sky = Sky(fields=(Field("dot", 10.0, -60.0, 0.001),))
    path = next(path for path in files("gaia_dr3", sky) if path.startswith("Spectroscopy") and path.endswith(".gz"))
    write(path, sky, tmp_path / "xp.csv.gz")
    text = io.BytesIO(gzip.decompress((tmp_path / "xp.csv.gz").read_bytes())).read().decode()
    assert text.rstrip().splitlines()[-1].startswith("source_id,solution_id,bp_basis_function_id")
