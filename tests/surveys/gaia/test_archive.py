"""Gaia's archive: which files a region needs, and which sources are listed and cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmu.errors import FormatError
from mmu.simulate import Field, Sky
from mmu.simulate.sky import source_id
from mmu.sky.region import AllSky, Cone, Pixels
from mmu.survey import File, cut_reasons
from surveys.gaia import SURVEY, archive, simulate

SKY = Sky(fields=(Field("equator", 185.625, 0.0, 0.22),))
DR3 = SURVEY.default_release


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Writes files of the archive once."""
    root = tmp_path_factory.mktemp("gaia")

    def paths(files: tuple[File, ...]) -> dict[str, Path]:
        found = {file.path: root / file.path for file in files}
        for path, place in found.items():
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                simulate.write(path, SKY, place)
        return found

    return paths


def _listed(ranges: list[tuple[int, int]], tmp_path: Path) -> dict[str, Path]:
    """MD5 lists that name such ranges."""
    paths = {}
    for kind, file in zip(archive.KINDS, archive.bootstrap(DR3), strict=True):
        stem = DR3.facts[kind][1]
        paths[file.path] = tmp_path / f"{kind}.txt"
        lines = [f"{'0' * 32}  {stem}_{first:06d}-{last:06d}.csv.gz" for first, last in ranges]
        paths[file.path].write_text("\n".join(lines) + "\n")
    return paths


def test_all_files_in_the_order_of_their_cells(simulated: Any) -> None:
    groups = list(archive.groups(DR3, simulated(archive.bootstrap(DR3)), AllSky(), False))
    assert [group.name for group in groups] == sorted(group.name for group in groups)
    listed = simulate.files("gaia_dr3", SKY)
    assert all(file.path in listed and file.checksums in listed for group in groups for file in group.files)
    assert sum(len(group.files) for group in groups) + 2 == len(listed)


def test_a_region_takes_the_ranges_it_touches(tmp_path: Path) -> None:
    paths = _listed([(0, 999), (1000, 1999), (5000, archive.CELLS - 1)], tmp_path)

    def names(region: Any) -> list[str]:
        return [group.name for group in archive.groups(DR3, paths, region, True)]

    assert names(AllSky()) == ["000000-000999", "001000-001999", "005000-786431"]
    assert names(Pixels(8, [1500])) == ["001000-001999"]
    assert "001000-001999" in names(Pixels(8, [999]))  # a source's cell may be the neighbour's
    assert "000000-000999" in names(Pixels(8, [1000]))
    assert names(Pixels(8, [3000])) == []
    assert names(Cone(45.0, 0.0, 0.01))[0] == "000000-000999"


def test_a_position_arcseconds_over_the_border_is_found(tmp_path: Path) -> None:
    """The cell in a source_id is that of an early position; the record's may lie in the next one."""
    from mmu.sky import healpix

    ra, dec = healpix.centres(11, np.arange(64 * 1000, 64 * 1000 + 64))
    paths = _listed([(0, 999), (1000, 1999)], tmp_path)
    for one, other in zip(ra[::9], dec[::9], strict=True):
        wanted = [group.name for group in archive.groups(DR3, paths, Cone(float(one), float(other), 0.001), False)]
        assert "001000-001999" in wanted


def test_every_source_is_listed_and_those_without_a_spectrum_are_cut(simulated: Any) -> None:
    groups = list(archive.groups(DR3, simulated(archive.bootstrap(DR3)), AllSky(), False))[:3]
    cells = [tuple(map(int, group.name.split("-"))) for group in groups]
    for group, (first, last) in zip(groups, cells, strict=True):
        found = archive.select(DR3, group, simulated(group.files))
        stars = simulate._stars(SKY, first, last)
        assert found.object_id.tolist() == source_id(stars).astype(str).tolist()
        kept = cut_reasons(found.cuts, len(found.ra)) < 0
        np.testing.assert_array_equal(kept, simulate._has_xp(SKY, stars))
        assert set(found.unit.tolist()) == {group.name}
        assert found.ra.dtype == np.float64
    assert list(found.cuts) == ["no XP continuous spectrum"]


@pytest.mark.parametrize(
    "text", ["", "<html>busy</html>", "0  GaiaSource_000000-000010.csv.gz\n0  GaiaSource_000005-000020.csv.gz"]
)
def test_a_list_that_names_no_separate_files_is_told(text: str, tmp_path: Path) -> None:
    paths = _listed([(0, 1)], tmp_path)
    next(iter(paths.values())).write_text(text)
    with pytest.raises(FormatError, match=r"_MD5SUM\.txt"):
        list(archive.groups(DR3, paths, AllSky(), False))


def test_the_declaration_holds_together() -> None:
    assert {column.source for column in DR3.hdf5} <= set(DR3.schema.names)
    assert {"object_id", "source_id", "coeff", "coeff_error", "ra", "dec", "ruwe"} <= {c.name for c in DR3.hdf5}
    assert DR3.schema.modalities == ["coefficients"]
    assert (DR3.schema["ra_error"].unit, DR3.schema["phot_g_mean_flux"].unit) == ("mas", "e-/s")
    assert (DR3.schema["pmra"].unit, DR3.schema["pmra_pmdec_corr"].unit) == ("mas/yr", "")
    assert "Acknowledgement" in SURVEY.text("card.md")
    assert "@article" in SURVEY.text("cite.bib")


def test_the_source_table_is_whole() -> None:
    from surveys.gaia.columns import SOURCE

    assert len(SOURCE) == 152
