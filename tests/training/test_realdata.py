"""Real images, spectra and a light curve through the scores: against the noisy data, so that without a threshold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training import codecs
from training.inputs import pieces
from training.modalities import Source
from training.score_codecs import score
from training.score_samples import Sample


def the(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"MMU_REAL_DATA lacks {path.name}")
    return path


def of_rows(rows: list[dict[str, Any]]) -> Sample:
    """Spectra of different lengths, columns as the builder's."""
    column = {name: [row[name] for row in rows] for name in ("flux", "ivar", "lambda", "mask")}
    ((_, given),) = pieces("spectrum", column, Source("", "spectrum"))
    return Sample("spectrum", given, (), given["flux"])


def desi(real_data: Path) -> Sample:
    from astropy.io import fits

    from mmu.fits import open_fits
    from surveys.desi import read

    rows = []
    for name in ("coadd-4-80613-thru20210324.fits", "coadd-1-80693-thru20210204.fits"):
        path = the(real_data / "desi" / name)
        with open_fits(path) as file:
            found = read.spectra(file, np.asarray(fits.getdata(path, "FIBERMAP")["TARGETID"], np.int64))
        rows += [{column: values[row] for column, values in found.items()} for row in range(len(found["flux"]))]
    return of_rows(rows)


def sdss(real_data: Path) -> Sample:
    """Of the first spectrographs, and longer ones of BOSS's."""
    from surveys.sdss.read import one_spectrum
    from tests.surveys.sdss.test_realdata import SPECTRA

    return of_rows(
        [
            one_spectrum(the(real_data / "sdss" / name), unit, np.array([unit.fibre]))[1]
            for name, unit in SPECTRA.items()
        ]
    )


def legacysurvey(real_data: Path) -> Sample:
    from astropy.io import fits

    with fits.open(the(real_data / "legacysurvey" / "pysersic_cutout_59.1067_-30.4848.fits")) as hdus:
        planes = np.stack([np.asarray(hdu.data, np.float32)[80:176, 80:176] for hdu in hdus[1:]])
    return of_planes(planes[0::2], planes[1::2], ("des-g", "des-r", "des-z"))


def hsc(real_data: Path) -> Sample:
    file = np.load(the(real_data / "hsc" / "scarlet_hsc_cosmos_35.npz"), allow_pickle=False)
    return of_planes(file["images"], 1 / file["variance"], tuple(f"hsc-{name}" for name in file["filters"]))


def jwst(real_data: Path) -> Sample:
    """One galaxy, from MJy/sr to the 10 nJy of the builder's images."""
    from astropy.io import fits

    bands = ("f090w", "f115w", "f150w", "f200w", "f277w", "f356w", "f444w")
    flux, error = [], []
    for band in bands:
        with fits.open(the(real_data / "jwst" / "derived_jof_cutouts" / f"jof36_{band}_i2d_cutout.fits")) as hdus:
            unit = 1e14 * hdus["SCI"].header["PIXAR_SR"]
            flux.append(unit * np.asarray(hdus["SCI"].data, np.float32))
            error.append(unit * np.asarray(hdus["ERR"].data, np.float32))
    known = np.isfinite(error) & (np.nan_to_num(error) > 0)
    return of_planes(np.stack(flux), np.where(known, 1 / np.where(known, error, 1) ** 2, 0), bands)


def of_planes(flux: Any, ivar: Any, bands: tuple[str, ...]) -> Sample:
    given = {"flux": np.asarray(flux, np.float32)[None], "ivar": np.asarray(ivar, np.float32)[None]}
    return Sample("image", given, bands, given["flux"])


def tess(real_data: Path) -> Sample:
    """Every tenth of its points; what the file has no value of is 0, with an error of 0."""
    from astropy.io import fits

    path = the(real_data / "other" / "hlsp_tess-data-alerts_tess_phot_00025155310-s01_tess_v1_lc.fits")
    with fits.open(path) as hdus:
        data = hdus["LIGHTCURVE"].data
        names = {"time": "TIME", "flux": "PDCSAP_FLUX", "flux_err": "PDCSAP_FLUX_ERR"}
        given = {name: np.array(data[theirs], np.float64)[None, ::10] for name, theirs in names.items()}
    given["band"] = np.zeros(given["time"].shape, np.int64)
    return Sample("light_curve", given, ("tess",), given["flux"])


SAMPLES: dict[Callable[[Path], Sample], tuple[str, int]] = {
    desi: ("spectrum", 6),
    sdss: ("spectrum", 4),
    legacysurvey: ("image_universal", 1),
    hsc: ("image_universal", 1),
    jwst: ("image_universal", 1),
    tess: ("light_curve", 1),
}
"""Reader -> codec, and objects."""


@pytest.mark.parametrize("make", SAMPLES)
def test_real_objects_have_scores(
    make: Callable[[Path], Sample], real_data: Path, codecs_folder: Path, tmp_path: Path
) -> None:
    (name, objects), sample, folder = SAMPLES[make], make(real_data), codecs_folder
    if name == "light_curve":
        codecs.make(name, hidden=8, units=1).save(tmp_path / name)
        folder = tmp_path
    told = score(codecs.load(folder / name), sample)
    assert told["objects"] == objects
    assert sample.valid.any(axis=tuple(range(1, sample.truth.ndim))).all()
    methods = {"spectrum": {"level", "pca"}, "image_universal": {"blank", "pca"}, "light_curve": {"mean", "linear"}}
    for method in ("codec", *methods[name]):
        rows = told[method]["chi_square"]
        assert sum(row["objects"] for row in rows) == objects
        assert all(np.isfinite(row["median"]) for row in rows)
    assert 1 <= told["codes"]["perplexity"] <= told["codes"]["used"]
