"""The published best fit and labels of a real galaxy, through the package's own basis tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from surveys.desi_provabgs import BASIS_SFH, BASIS_TIME, BASIS_ZH
from surveys.desi_provabgs.histories import derive, load_basis

# TARGETID 39633448888962529 as Multimodal Universe v1 publishes it: parameters, then redshift and labels.
THETA = [10.353157997131348, 0.07835225760936737, 0.020508969202637672, 0.02301291935145855, 0.8781258463859558,
         0.20111322402954102, 11.260528564453125, 0.0003878374700434506, 0.0008679933380335569, 0.033934954553842545,
         0.42833054065704346, 0.22433339059352875, 0.5377200841903687]  # fmt: skip
Z_HP, Z_MW, TAGE_MW, AVG_SFR = 0.162813, 0.001594, 9.682904, 0.426873


def test_published_labels_come_out(real_data: Path) -> None:
    """Ages agree to 2e-4: the age of the Universe is not the same to the last digit in every version of astropy."""
    paths = [real_data / "provabgs" / name for name in (BASIS_TIME, BASIS_SFH, BASIS_ZH)]
    if not all(path.exists() for path in paths):
        pytest.skip("MMU_REAL_DATA lacks provabgs/: the basis tables of the provabgs package's folder dat")
    got = derive(load_basis(*paths), np.array([THETA]), np.array([Z_HP]))
    assert got["Z_MW"][0] == pytest.approx(Z_MW, abs=5e-7)
    assert got["TAGE_MW"][0] == pytest.approx(TAGE_MW, rel=2e-4)
    assert got["AVG_SFR"][0] == pytest.approx(AVG_SFR, rel=2e-4)
