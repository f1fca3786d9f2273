"""Which galaxies the catalogue lists, in which units, and why some are cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from mmu.errors import FormatError
from mmu.simulate import Field, Sky
from mmu.simulate.files import records
from mmu.sky.region import AllSky, Cone
from mmu.survey import cut_reasons
from surveys.desi_provabgs import SURVEY, archive, simulate

SKY = Sky(fields=(Field("equator", 185.625, 0.0, 0.2),))
EDR = SURVEY.default_release
GROUP = next(iter(archive.groups(EDR, {}, AllSky(), False)))


def _catalogue(path: Path, rows: int = 9000) -> Any:
    """A catalogue of galaxies that all pass, with one of each kind that does not."""
    columns: dict[str, Any] = {"TARGETID": np.arange(rows) + (1 << 60), "RA": 10.0, "DEC": np.linspace(-1, 1, rows)}
    table = records(simulate.DTYPE, {**columns, **{f"MAG_{band}": 18.0 for band in "GRZ"}}, rows)
    table["PROVABGS_LOGMSTAR_BF"] = 10.0
    table["PROVABGS_LOGMSTAR_BF"][:3] = 0.0, -999.0, np.nan
    for row, name in ((3, "MAG_G"), (4, "MAG_R"), (5, "MAG_Z")):
        table[name][row] = -99.0
    table["MAG_G"][6], table["MAG_R"][6] = np.nan, 0.0
    with h5py.File(path, "w") as file:
        file[simulate.TABLE] = table
    return table


def test_one_file_is_asked_for_whatever_the_region() -> None:
    assert archive.bootstrap(EDR) == ()
    for walk in (False, True):
        groups = list(archive.groups(EDR, {}, Cone(10, 10, 0.1), walk))
        assert [file.path for group in groups for file in group.files] == [EDR.facts["path"]]
    assert archive.files(EDR, "0004096") == GROUP.files


def test_cuts_are_counted_each_under_its_reason(tmp_path: Path) -> None:
    _catalogue(tmp_path / "a.hdf5")
    found = archive.select(EDR, GROUP, {EDR.facts["path"]: tmp_path / "a.hdf5"})
    reasons = cut_reasons(found.cuts, len(found.object_id))
    assert reasons[:8].tolist() == [0, 0, 0, 1, 2, 3, 1, -1]
    assert list(found.cuts) == ["no PROVABGS fit", "no g magnitude", "no r magnitude", "no z magnitude"]
    assert (reasons[7:] == -1).all()


def test_ids_are_exact_and_units_are_ranges_of_rows(tmp_path: Path) -> None:
    table = _catalogue(tmp_path / "a.hdf5")
    found = archive.select(EDR, GROUP, {EDR.facts["path"]: tmp_path / "a.hdf5"})
    assert found.object_id[-1] == str((1 << 60) + 8999)
    assert found.ra.dtype == found.dec.dtype == np.float64
    np.testing.assert_array_equal(found.dec, table["DEC"])
    names, counts = np.unique(found.unit, return_counts=True)
    assert names.tolist() == ["0000000", "0004096", "0008192"]
    assert counts.tolist() == [4096, 4096, 808]


def test_an_empty_catalogue(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file[simulate.TABLE] = np.zeros(0, simulate.DTYPE)
    found = archive.select(EDR, GROUP, {EDR.facts["path"]: tmp_path / "a.hdf5"})
    assert len(found.object_id) == 0


def test_another_data_model_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    paths = {EDR.facts["path"]: path}
    with h5py.File(path, "w") as file:
        file[simulate.TABLE] = np.zeros(3, [("TARGETID", "i8"), ("RA", "f8")])
    with pytest.raises(FormatError, match=r"a\.hdf5: expected a column DEC"):
        archive.select(EDR, GROUP, paths)
    wrong = [(name, "S8") if name == "RA" else (name, *rest) for name, *rest in simulate.DTYPE]
    with h5py.File(path, "w") as file:
        file[simulate.TABLE] = np.zeros(3, wrong)
    with pytest.raises(FormatError, match="column RA is"):
        archive.select(EDR, GROUP, paths)
    with h5py.File(path, "w") as file:
        file["a"], file["b"] = np.zeros(3), np.zeros(3)
    with pytest.raises(FormatError, match="expected one table"):
        archive.select(EDR, GROUP, paths)
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(FormatError, match="not a whole HDF5 file"):
        archive.select(EDR, GROUP, paths)


def test_declaration() -> None:
    assert {"TARGETID", "ra", "dec", "PROVABGS_LOGMSTAR_BF", "PROVABGS_MCMC", "Z_MW"} <= {c.name for c in EDR.hdf5}
    assert EDR.schema["PROVABGS_MCMC"].shape == (100, 13)
    assert EDR.schema["HPIX_64"].dtype == "int64"
    assert {name for name in EDR.schema.names if EDR.schema[name].nullable} == {
        "Z_MW",
        "TAGE_MW",
        "AVG_SFR",
        "AVG_SSFR",
    }
    assert "Acknowledgement" in SURVEY.text("card.md")
