"""A sky without noise: the same objects under the same errors, their pixels as they truly are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmu.simulate import Field, Sky
from surveys.desi import simulate as desi
from surveys.desi.simulate_targets import RELEASES, pairs
from surveys.sdss import simulate_plates as sdss

SKY = Sky(fields=(Field("half", 185.7, 0.2, 0.1),))


def test_noise_must_be_a_number_from_nothing_up() -> None:
    for noise in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="noise"):
            Sky(noise=noise)


def test_spectra_without_noise_differ_by_it_and_in_nothing_else() -> None:
    spec = RELEASES["dr1_main"]
    program, pixel = pairs(spec, SKY)[0]
    (seen, ivar, mask, _), (true, same, alike, _) = (
        desi._arm(spec, sky, program, pixel, "R") for sky in (SKY, replace(SKY, noise=0.0))
    )
    assert np.array_equal(ivar, same)
    assert np.array_equal(mask, alike)
    pulls = ((seen - true) * np.sqrt(ivar))[ivar > 0]
    assert pulls.std() == pytest.approx(1, abs=0.02)
    half = desi._arm(spec, replace(SKY, noise=0.5), program, pixel, "R")[0]
    np.testing.assert_allclose(half - true, 0.5 * (seen - true), atol=1e-4 * np.abs(seen).max())


def test_fibres_without_noise() -> None:
    plate = sdss.plates("sdss")[0]
    seen, true = (sdss.fibre(plate, sky, 3) for sky in (SKY, replace(SKY, noise=0.0)))
    assert np.array_equal(seen["ivar"], true["ivar"])
    good = seen["ivar"] > 0
    assert ((seen["flux"] - true["flux"]) * np.sqrt(seen["ivar"]))[good].std() == pytest.approx(1, abs=0.1)
