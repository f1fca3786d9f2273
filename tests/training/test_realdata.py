"""Real spectra and images through the scores: against the noisy data, so that without a threshold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training import codecs
from training.score_codecs import score
from training.score_samples import Sample


def spectra(real_data: Path) -> Sample:
    from mmu.fits import open_fits
    from surveys.desi import read

    path = real_data / "desi" / "coadd-4-80613-thru20210324.fits"
    if not path.is_file():
        pytest.skip("MMU_REAL_DATA lacks the DESI coadd")
    with open_fits(path) as file:
        found = read.spectra(file, np.array([39633345008634465]))
    names = {"flux": "flux", "ivar": "ivar", "mask": "mask", "wavelength": "lambda"}
    given = {name: np.asarray(found[theirs]) for name, theirs in names.items()}
    given["mask"] = given["mask"].astype(bool)
    return Sample("spectrum", given, (), given["flux"])


def images(real_data: Path) -> Sample:
    from astropy.io import fits

    path = real_data / "legacysurvey" / "pysersic_cutout_59.1067_-30.4848.fits"
    if not path.is_file():
        pytest.skip("MMU_REAL_DATA lacks the Legacy Surveys cutout")
    with fits.open(path) as hdus:
        planes = np.stack([np.asarray(hdu.data, np.float32)[80:176, 80:176] for hdu in hdus[1:]])
    flux, ivar = planes[0::2][None], planes[1::2][None]
    return Sample("image", {"flux": flux, "ivar": ivar}, ("des-g", "des-r", "des-z"), flux)


@pytest.mark.parametrize(("make", "codec"), [(spectra, "spectrum"), (images, "image_universal")])
def test_real_objects_have_scores(make: Any, codec: str, real_data: Path, codecs_folder: Path) -> None:
    told = score(codecs.load(codecs_folder / codec), make(real_data))
    assert told["objects"] == 1
    for method in ("codec", "level" if codec == "spectrum" else "blank", "pca"):
        (row,) = told[method]["chi_square"]
        assert np.isfinite(row["median"])
        assert row["median"] > 0 or method == "pca"
    assert 1 <= told["codes"]["perplexity"] <= told["codes"]["used"]
