"""The real file, where it is: its digest, and the numbers of galaxies that its authors give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmu.archive.part import digests
from mmu.sky.region import AllSky
from surveys.gz10 import PATH, SHA256, SURVEY, archive
from surveys.gz10.file import open_galaxies

COUNTS = [1081, 1853, 2645, 2027, 334, 2043, 1829, 2628, 1423, 1873]


def test_the_file_is_as_published(real_data: Path) -> None:
    path = real_data / "gz10" / PATH
    if not path.exists():
        pytest.skip(f"MMU_REAL_DATA lacks gz10/{PATH} (2.5 GB)")
    assert digests(path, ["sha256"])["sha256"] == SHA256
    release = SURVEY.default_release
    group = next(iter(archive.groups(release, {}, AllSky(), False)))
    assert len(archive.select(release, group, {PATH: path}).object_id) == release.objects
    with open_galaxies(path) as file:
        assert np.bincount(file["ans"][:]).tolist() == COUNTS
