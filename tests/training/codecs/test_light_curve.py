"""The light curve codec: learned curves against the truth, order, bands, and what is no point."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from astropy.io import fits

from mmu.errors import UsageError
from tests.training import skies
from training import codecs
from training.codecs import ABSENT
from training.codecs.light_curve import LightCurveCodec
from training.codecs.passbands import PASSBANDS, facts

BANDS = list(skies.LIGHT)


def given(count: int = 6, seed: int = 1) -> dict[str, Any]:
    return {name: values for name, values in skies.curves(count, seed).items() if name != "truth"}


@pytest.fixture(scope="module")
def codec() -> LightCurveCodec:
    """Trained for some seconds."""
    torch.manual_seed(1)
    made, sky = LightCurveCodec().train(), given(600, 2)
    optimiser = torch.optim.Adam(made.parameters(), 6e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=500)
    for step in range(500):
        random = np.random.default_rng(step)
        rows = random.permutation(600)[:8]
        hidden = random.random((8, 60)) < random.uniform(0, 0.6, (8, 1))
        optimiser.zero_grad()
        loss = made.loss(**{name: values[rows] for name, values in sky.items()}, bands=BANDS, hidden=hidden)
        loss.value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return made.eval()


def days(sky: dict[str, Any]) -> Any:
    return sky["time"] - sky["time"].min(1, keepdims=True)


@pytest.mark.parametrize("which", [0, 1])
def test_curves_come_back_better_than_their_mean_and_than_noisy_points(codec: LightCurveCodec, which: int) -> None:
    """Sinusoids and supernovae, at points that were given and at such that were not."""
    made = skies.curves(100, 3)
    sky = {name: values[which::2] for name, values in made.items()}
    truth, unseen = sky.pop("truth"), np.random.default_rng(4).random((50, 60)) < 0.33
    unseen[np.arange(50), sky["time"].argmin(1)] = unseen[np.arange(50), sky["time"].argmax(1)] = False
    shown = {**sky, "flux_err": np.where(unseen, np.nan, sky["flux_err"])}
    back = codec.decode(codec.encode(**shown, bands=BANDS), days(sky), band=sky["band"], bands=BANDS).flux.numpy()
    linear, mean = np.empty_like(truth), np.empty_like(truth)
    for row in range(50):
        for band in (0, 1):
            own = sky["band"][row] == band
            points = np.flatnonzero(own & ~unseen[row])[np.argsort(sky["time"][row][own & ~unseen[row]])]
            time, flux, error = (sky[name][row][points] for name in ("time", "flux", "flux_err"))
            linear[row, own] = np.interp(sky["time"][row][own], time, flux)
            mean[row, own] = np.average(flux, weights=error**-2)
    for asked in (~unseen, unseen):
        ours, theirs, flat = (
            np.mean((((model - truth) / sky["flux_err"])[asked]) ** 2) for model in (back, linear, mean)
        )
        assert ours < 0.5 * flat, (ours, theirs, flat)
        assert ours < theirs, (ours, theirs, flat)


def test_the_order_of_points_does_not_matter(codec: LightCurveCodec) -> None:
    sky = given()
    sky["time"][:, 10:20] = sky["time"][:, :10]
    sky["flux_err"][:, 15] = np.nan
    ids = codec.encode(**sky, bands=BANDS)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(60)
        assert torch.equal(codec.encode(**{n: v[:, order] for n, v in sky.items()}, bands=BANDS), ids)
    assert torch.equal(codec.encode(**{**sky, "band": 1 - sky["band"]}, bands=BANDS[::-1]), ids)


def test_bands_matter(codec: LightCurveCodec) -> None:
    sky = given()
    ids = codec.encode(**sky, bands=BANDS)
    assert not torch.equal(codec.encode(**sky, bands=["ztf-r", "ztf-g"]), ids)
    blue, red = (codec.decode(ids, days(sky), band=band, bands=BANDS).flux for band in (0, 1))
    assert not torch.allclose(blue, red, rtol=0.01)
    told = [PASSBANDS[name] for name in BANDS]
    assert torch.equal(codec.encode(**sky, bands=told), ids)
    assert facts(["DES-g", (5000, 900)])[1] == (5000.0, 900.0)


def test_bands_of_a_survey_are_in_their_order_and_narrower_than_they_are_far() -> None:
    for survey, letters in (("", "ugrizy"), ("ps1-", "grizy"), ("ztf-", "gri"), ("des-", "griz"), ("hsc-", "grizy")):
        places = [PASSBANDS[survey + letter][0] for letter in letters]
        assert places == sorted(places)
    assert PASSBANDS["gaia-bp"] < PASSBANDS["gaia-g"] < PASSBANDS["gaia-rp"]
    assert all(0.05 < width / wavelength < 0.75 for wavelength, width in PASSBANDS.values())


def test_precise_points_count_more(codec: LightCurveCodec) -> None:
    sky = given()
    poor = (np.arange(60) % 2 == 0) & (sky["time"] > sky["time"].min(1, keepdims=True))
    sky["flux"] += np.where(poor, 50 * sky["flux_err"], 0)
    sky["flux_err"] *= np.where(poor, 1000, 1)
    vague = codec.decode(codec.encode(**sky, bands=BANDS), days(sky), band=sky["band"], bands=BANDS).flux.numpy()
    sky["flux_err"][poor] = np.nan
    gone = codec.decode(codec.encode(**sky, bands=BANDS), days(sky), band=sky["band"], bands=BANDS).flux.numpy()
    scatter = given()["flux"].std(1, keepdims=True)
    assert np.median(np.abs(vague - gone) / scatter) < 0.1


@pytest.mark.parametrize("how", ["nan", "error", "band", "masked", "time"])
def test_what_is_no_point_tells_nothing(codec: LightCurveCodec, how: str) -> None:
    ids = []
    for value in (1e3, -1e3):
        sky = given()
        sky["flux"][:, 5:9] = np.nan if how == "nan" else value
        if how == "error":
            sky["flux_err"][:, 5:9] = 0
        if how == "band":
            sky["band"][:, 5:9] = -1
        if how == "masked":
            mask = np.zeros((6, 60), bool)
            mask[:, 5:9] = True
            sky["flux"] = np.ma.MaskedArray(sky["flux"], mask)
        if how == "time":
            sky["time"][:, 5:9] = np.inf
        ids.append(codec.encode(**sky, bands=BANDS))
    assert torch.equal(*ids)
    assert int(ids[0].min()) >= 0
    short = {name: np.delete(values, range(5, 9), axis=1) for name, values in given().items()}
    assert torch.equal(codec.encode(**short, bands=BANDS), ids[0])


@pytest.mark.parametrize("points", [0, 1, 2])
def test_few_points_are_enough_and_none_are_absent(codec: LightCurveCodec, points: int) -> None:
    sky = {name: values[:, :points] for name, values in given().items()}
    ids = codec.encode(**sky, bands=BANDS)
    assert ids.shape == (6, 64)
    assert bool((ids == ABSENT).all()) == (points == 0)
    decoded = codec.decode(ids, bands=BANDS, band=0)
    assert decoded.flux.shape == decoded.time.shape == (6, 60)
    assert bool(torch.isfinite(decoded.flux).all()) == (points > 0)


@pytest.mark.parametrize(("scale", "level"), [(1e-6, 0.0), (1e6, 0.0), (1.0, 1e4)])
def test_any_unit_and_level_do(codec: LightCurveCodec, scale: float, level: float) -> None:
    sky, time = given(), days(given())
    scatter = sky["flux"].std(1, keepdims=True)
    plain = codec.decode(codec.encode(**sky, bands=BANDS), time, band=sky["band"], bands=BANDS).flux.numpy()
    sky["flux"], sky["flux_err"] = scale * sky["flux"] + level, scale * sky["flux_err"]
    other = codec.decode(codec.encode(**sky, bands=BANDS), time, band=sky["band"], bands=BANDS).flux.numpy()
    assert np.median(np.abs((other - level) / scale - plain) / scatter) < 0.2


def test_the_loss_has_gradients_and_passes_over_what_is_no_point(codec: LightCurveCodec) -> None:
    torch.manual_seed(2)
    fresh, sky = LightCurveCodec(hidden=16, units=1).train(), given()
    sky["flux"][0], sky["flux_err"][1, :5] = np.nan, 0
    hidden = np.zeros((6, 60), bool)
    hidden[2] = True
    loss = fresh.loss(**sky, bands=BANDS, hidden=hidden)
    assert torch.isfinite(loss.value)
    loss.value.backward()  # type: ignore[no-untyped-call]
    assert all(torch.isfinite(values.grad).all() for values in fresh.parameters() if values.grad is not None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"flux": np.ones((6, 59))}, "have the shapes"),
        ({"band": np.full((6, 60), 2)}, "below 2"),
        ({"band": np.zeros((6, 60))}, "whole numbers"),
        ({"band": np.zeros((6, 59), int)}, "band has the shape"),
        ({"band": None}, "give band"),
        ({"bands": ["ztf-g", "ztf-q"]}, "Did you mean"),
        ({"bands": ["ztf-g", (0, 10)]}, "two positive"),
        ({"bands": []}, "name at least one"),
        ({"time": np.full((6, 60), "a")}, "give numbers"),
    ],
)
def test_what_cannot_be_encoded_is_refused(codec: LightCurveCodec, change: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        codec.encode(**{**given(), "bands": BANDS, **change})


def test_a_config_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="must be equal"):
        LightCurveCodec(levels=(4, 4))


def test_a_real_light_curve_of_tess() -> None:
    """Of the archive's own file: its missing cadences are left out, and what is decoded is finite and of its level."""
    folder = os.environ.get("MMU_REAL_DATA", "")
    path = Path(folder) / "other/hlsp_tess-data-alerts_tess_phot_00025155310-s01_tess_v1_lc.fits"
    if not folder or not path.is_file():
        pytest.skip("MMU_REAL_DATA has no light curve of TESS")
    with fits.open(path) as file:
        table = file["LIGHTCURVE"].data
        time, flux, error = (np.array(table[name], np.float64) for name in ("TIME", "PDCSAP_FLUX", "PDCSAP_FLUX_ERR"))
    good = error > 0  # what the file has no value of is 0, with an error of 0
    assert len(flux) / 2 < good.sum() < len(flux)
    codec = codecs.make("light_curve").eval()
    ids = codec.encode(time[None], flux[None], error[None], bands=["tess"])
    assert ids.shape == (1, 64)
    assert 0 <= int(ids.min()) <= int(ids.max()) < 1024
    assert torch.equal(codec.encode(time[good][None], flux[good][None], error[good][None], bands=["tess"]), ids)
    decoded = codec.decode(ids, bands=["tess"]).flux
    assert torch.isfinite(decoded).all()
    assert float(decoded.mean()) == pytest.approx(float(np.median(flux[good])), rel=0.05)
