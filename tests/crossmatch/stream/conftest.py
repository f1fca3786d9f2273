"""Three small surveys of one sky: images of all objects, spectra of half, spectra of other lengths of a third."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.crossmatch.stream.skies import ARCSEC, field, images, spectra

COUNT = 240


@pytest.fixture(scope="session")
def sky(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """ls, desi and sdss; object n has 10 n in its pixels. Its id is the survey and its row among the survey's."""
    root = tmp_path_factory.mktemp("sky")
    ra, dec = field(COUNT)
    number = np.arange(COUNT) * 10.0
    half, third = slice(None, None, 2), slice(None, None, 3)
    return {
        "ls": images(root / "ls", number, ra, dec, missing=True),
        "desi": spectra(root / "desi", number[half], ra[half] + 0.1 * ARCSEC, dec[half], order=2, group=30),
        "sdss": spectra(root / "sdss", number[third], ra[third], dec[third], order=1, group=50, length=None),
    }
