"""Records of a range of rows: the file's numbers, matched by id, with the derived labels or nulls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest

from mmu.errors import FormatError, UsageError
from mmu.schema import arrow_type
from mmu.simulate import Field, Sky
from surveys.desi_provabgs import BASIS, SURVEY, simulate
from surveys.desi_provabgs.histories import derive, load_basis
from surveys.desi_provabgs.read import read

SKY = Sky(fields=(Field("equator", 185.625, 0.0, 0.2),))
EDR = SURVEY.default_release
PATH = EDR.facts["path"]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("provabgs")
    simulate.write(PATH, SKY, root / "catalogue.hdf5")
    return {PATH: root / "catalogue.hdf5"}


@pytest.fixture(scope="module")
def supplied(paths: dict[str, Path]) -> dict[str, Path]:
    folder = simulate.write_basis(paths[PATH].parent / "basis")
    return paths | {f"{BASIS}/{name}": folder / name for name in SURVEY.supplements[0].files}


def _rows(table: Any) -> pa.Table:
    return pa.table({"object_id": table["TARGETID"].astype(str), "ra": table["RA"], "dec": table["DEC"]})


def test_numbers_are_the_files(paths: dict[str, Path]) -> None:
    table = simulate.catalogue(SKY)
    order = np.random.default_rng(0).permutation(len(table))[:20]
    records = read(EDR, "0000000", paths, _rows(table[order]))
    assert records.excluded == {}
    assert records.table.schema.names == EDR.schema.names
    assert [field.type for field in records.table.schema] == [arrow_type(column) for column in EDR.schema]
    got = records.table.to_pydict()
    assert got["object_id"] == table["TARGETID"][order].astype(str).tolist()
    for ours, theirs in (("ra", "RA"), ("LOG_MSTAR", "PROVABGS_LOGMSTAR_BF"), ("HPIX_64", "HPIX_64"), ("ZERR", "ZERR")):
        assert got[ours] == table[theirs][order].tolist(), ours
    np.testing.assert_array_equal(got["PROVABGS_THETA_BF"], table["PROVABGS_THETA_BF"][order])
    np.testing.assert_array_equal(got["PROVABGS_MCMC"], table["PROVABGS_MCMC"][order].astype(np.float32))
    assert got["IS_BGS_BRIGHT"] == table["IS_BGS_BRIGHT"][order].tolist()


def test_without_basis_tables_the_labels_are_null(paths: dict[str, Path]) -> None:
    table = read(EDR, "0000000", paths, _rows(simulate.catalogue(SKY)[:5])).table
    for name in ("Z_MW", "TAGE_MW", "AVG_SFR", "AVG_SSFR"):
        assert table[name].null_count == 5


def test_with_basis_tables_the_labels_follow(supplied: dict[str, Path]) -> None:
    rows = simulate.catalogue(SKY)
    rows = rows[rows["PROVABGS_LOGMSTAR_BF"] > 0]
    table = read(EDR, "0000000", supplied, _rows(rows)).table
    basis = load_basis(*(supplied[f"{BASIS}/{name}"] for name in SURVEY.supplements[0].files))
    for name, values in derive(basis, rows["PROVABGS_THETA_BF"], rows["Z_HP"]).items():
        np.testing.assert_array_equal(table[name].to_numpy(), values)
    specific = table["AVG_SFR"].to_numpy() / 10 ** table["LOG_MSTAR"].to_numpy()
    np.testing.assert_allclose(table["AVG_SSFR"].to_numpy(), specific)


def test_byte_order_and_float32_columns_do_not_matter(tmp_path: Path) -> None:
    table = simulate.catalogue(SKY)[:4]
    swapped = np.zeros(4, [(name, kind.replace("f8", ">f8"), *rest) for name, kind, *rest in simulate.DTYPE])
    for name in table.dtype.names or ():
        swapped[name] = table[name]
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["data"] = swapped
    got = read(EDR, "0000000", {PATH: tmp_path / "a.hdf5"}, _rows(table)).table
    assert got["Z_HP"].to_pylist() == table["Z_HP"].tolist()


def test_an_object_not_in_the_range_is_excluded(paths: dict[str, Path]) -> None:
    rows = _rows(simulate.catalogue(SKY)[:2]).set_column(0, "object_id", pa.array(["5", "7"]))
    records = read(EDR, "0000000", paths, rows)
    assert len(records.table) == 0
    assert records.excluded == dict.fromkeys(["5", "7"], "not in the catalogue file")


def test_a_range_reads_its_own_rows_only(paths: dict[str, Path]) -> None:
    rows = _rows(simulate.catalogue(SKY)[:3])
    assert set(read(EDR, "0004096", paths, rows).excluded) == set(rows["object_id"].to_pylist())


def test_a_missing_column_or_shape_is_told(tmp_path: Path) -> None:
    short = [(name, kind, (50, 13)) if name == "PROVABGS_MCMC" else (name, kind, *rest)
             for name, kind, *rest in simulate.DTYPE]  # fmt: skip
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["data"] = np.zeros(3, short)
    with pytest.raises(FormatError, match=r"PROVABGS_MCMC is float64 \(50, 13\)"):
        read(EDR, "0000000", {PATH: tmp_path / "a.hdf5"}, _rows(simulate.catalogue(SKY)[:1]))


def test_bad_basis_tables_are_the_users_to_mend(supplied: dict[str, Path], tmp_path: Path) -> None:
    name = f"{BASIS}/{SURVEY.supplements[0].files[1]}"
    for text in ("no numbers\n", "1 2 3\n", "", "nan nan\n" * 4, "1 2\n" * 4):
        (tmp_path / "sfh.txt").write_text(text)
        with pytest.raises(UsageError):
            read(EDR, "0000000", supplied | {name: tmp_path / "sfh.txt"}, _rows(simulate.catalogue(SKY)[:1]))
