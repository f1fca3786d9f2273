"""Spectra: only good pixels are drawn, marks stand at (1 + z) times the rest wavelength, names do not overlap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmu.look.lines import LINES
from mmu.look.spectrum import Spectrum, draw_spectrum, smoothed, spectrum_of
from mmu.look.style import figure
from mmu.look.subject import read
from tests.look.made import Z, made, spectra, spectrum_column

WAVE = 3600.0 + 2.0 * np.arange(3000, dtype=np.float64)


def drawn(axis: Any, gid: str) -> Any:
    return next(one for one in (*axis.lines, *axis.collections) if one.get_gid() == gid)


def flat(**more: Any) -> Spectrum:
    one = {"flux": np.ones(3000), "sigma": np.full(3000, 0.1), "good": np.ones(3000, dtype=bool), **more}
    return Spectrum(WAVE, unit="", wavelength_unit=one.pop("wavelength_unit", "Angstrom"), **one)


def test_masked_pixels_are_not_drawn(tmp_path: Path) -> None:
    flux = np.ones(3000)
    flux[1000:1010] = np.nan  # masked; the archive's value there is 99
    dataset = made(tmp_path / "s", (spectrum_column(), Z), {"spectrum": spectra([flux]), "Z": [0.1]})
    spectrum = spectrum_of(read(dataset, ["obj-000"], ["spectrum"])[0], "spectrum")
    assert spectrum is not None
    assert (~spectrum.good).sum() == 10
    with figure(tmp_path / "s.png", 8, 3) as made_figure:
        axis = made_figure.add_subplot()
        draw_spectrum(axis, spectrum, 0.1)
        for gid in ("pixels", "mean"):
            values = drawn(axis, gid).get_ydata()
            assert np.isnan(values[1000:1010]).all()
            np.testing.assert_allclose(np.delete(values, slice(1000, 1010)), 1.0, rtol=1e-6)
        assert axis.get_ylim()[1] < 2
        for path in drawn(axis, "sigma").get_paths():
            inside = (path.vertices[:, 0] > WAVE[1000]) & (path.vertices[:, 0] < WAVE[1009])
            assert not inside.any()


def test_the_band_is_one_standard_deviation_wide(tmp_path: Path) -> None:
    with figure(tmp_path / "s.png", 8, 3) as made_figure:
        axis = made_figure.add_subplot()
        draw_spectrum(axis, flat(sigma=np.full(3000, 0.25)))
        edges = np.concatenate([path.vertices[:, 1] for path in drawn(axis, "sigma").get_paths()])
        assert (edges.min(), edges.max()) == pytest.approx((0.75, 1.25))


@pytest.mark.parametrize(("unit", "per_angstrom"), [("Angstrom", 1.0), ("nm", 0.1)])
def test_marks_stand_at_one_plus_z_times_the_wavelength(tmp_path: Path, unit: str, per_angstrom: float) -> None:
    spectrum = Spectrum(WAVE * per_angstrom, np.ones(3000), np.full(3000, 0.1), np.ones(3000, dtype=bool), "", unit)
    with figure(tmp_path / "s.png", 8, 3) as made_figure:
        axis = made_figure.add_subplot()
        draw_spectrum(axis, spectrum, 0.35)
        marks = sorted(line.get_xdata()[0] for line in axis.lines if line.get_gid() == "line")
        names = {text.get_text(): text.get_position()[0] for text in axis.texts if text.get_gid() == "name"}
    expected = sorted(one * 1.35 for line in LINES for one in line.vacuum if WAVE[0] < one * 1.35 < WAVE[-1])
    np.testing.assert_allclose(marks, np.array(expected) * per_angstrom)
    assert names["Hα"] == pytest.approx(6564.61 * 1.35 * per_angstrom)
    assert names["[O II]"] == pytest.approx((3727.09 + 3729.88) / 2 * 1.35 * per_angstrom)


@pytest.mark.parametrize("redshift", [0.0, 0.1, 0.5, 2.5])
def test_names_do_not_overlap_on_paper(tmp_path: Path, redshift: float) -> None:
    with figure(tmp_path / "s.png", 11, 4) as made_figure:
        grid = made_figure.add_gridspec(1, 12)
        axis = made_figure.add_subplot(grid[0, :])
        draw_spectrum(axis, flat(), redshift)
        made_figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in axis.texts if text.get_gid() == "name"]
    assert boxes
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


def test_without_a_redshift_there_are_no_marks_and_no_pixel_is_said(tmp_path: Path) -> None:
    with figure(tmp_path / "s.png", 8, 3) as made_figure:
        axis = made_figure.add_subplot()
        draw_spectrum(axis, flat(good=np.zeros(3000, dtype=bool)))
        assert [text.get_text() for text in axis.texts] == ["no good pixel"]
        assert not [line for line in axis.lines if line.get_gid() == "line"]


@pytest.mark.parametrize("level", [0.0, 0.4, 0.6, 1.0, 50.0])
def test_the_mean_is_not_biased_whatever_the_signal_to_noise_ratio(level: float) -> None:
    flux = np.random.default_rng(4).normal(level, 0.1, 3000)
    curve, width = smoothed(flat(flux=flux))
    assert np.mean(curve) == pytest.approx(level, abs=0.01)
    assert np.std(curve) == pytest.approx(0.1 / np.sqrt(width), rel=0.2)


def test_a_line_keeps_its_height(tmp_path: Path) -> None:
    flux = np.random.default_rng(3).normal(0, 0.1, 3000)
    flux[1500:1503] = [4.0, 8.0, 4.0]
    with figure(tmp_path / "s.png", 8, 3) as made_figure:
        axis = made_figure.add_subplot()
        draw_spectrum(axis, flat(flux=flux))
        mean = drawn(axis, "mean").get_ydata()
        assert mean.max() == 8.0
        assert np.std(np.delete(mean, slice(1500, 1503))) < 0.05
        assert axis.get_ylim()[1] > 8.0
