"""Tables of others as sources: every form gives the same places, and what is wrong with one is said in a sentence."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import astropy.units as u
import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table

from crossmatch.api import crossmatch
from crossmatch.places import SKY
from crossmatch.roles import split
from crossmatch.sources import Memory, Wanted, named, open_source
from crossmatch.tables import from_file, from_memory, is_table
from mmu.errors import FormatError, MmuError, UsageError

ROWS = 300
WANTED = Wanted(motion=True, errors=("pos_error",))
UNITS = {"ra": "deg", "dec": "deg", "pmra": "mas / yr", "pmdec": "mas / yr", "pos_error": "mas"}


def values() -> dict[str, np.ndarray[Any, Any]]:
    """A catalogue as it may come: ids of 18 digits, in no order, and a column that is not needed."""
    rng = np.random.default_rng(7)
    return {
        "source_id": 10**17 + 2 * rng.permutation(ROWS) + 1,
        "ra": rng.uniform(0, 360, ROWS),
        "dec": np.degrees(np.arcsin(rng.uniform(-1, 1, ROWS))),
        "pmra": rng.normal(0, 5, ROWS),
        "pmdec": rng.normal(0, 5, ROWS),
        "pos_error": rng.uniform(50, 200, ROWS),
        "name": np.array([f"star {row}" for row in range(ROWS)]),
    }


def quantities() -> QTable:
    return QTable(values(), units=UNITS)


def arrow() -> pa.Table:
    facts = {name: {"unit": unit} for name, unit in UNITS.items()}
    columns = {name: pa.array(column) for name, column in values().items()}
    return pa.table(
        list(columns.values()), pa.schema([pa.field(n, c.type, metadata=facts.get(n)) for n, c in columns.items()])
    )


def write_parquet(path: Path) -> None:
    pq.write_table(arrow(), path, row_group_size=100)


def write_feather(path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, arrow().schema) as writer:
        writer.write_table(arrow(), 100)


def write_stream(path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, arrow().schema) as writer:
        writer.write_table(arrow(), 100)


def write_csv(path: Path) -> None:
    """Without units, and so with errors in the ones that are assumed."""
    frame = pd.DataFrame(values() | {"pos_error": values()["pos_error"] / 1e3})
    frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")


def write_bulk(path: Path) -> None:
    """As Gaia's: ECSV, called CSV, and packed."""
    with gzip.open(path, "wt") as file:
        quantities().write(file, format="ascii.ecsv", delimiter=",")


def write_astropy_parquet(path: Path) -> None:
    table = arrow().replace_schema_metadata(None)
    header = ["datatype:", *(f"- {{name: {n}, unit: {x}, datatype: float64}}" for n, x in UNITS.items())]
    plain = pa.table({name: table[name] for name in table.column_names})
    pq.write_table(plain.replace_schema_metadata({"table_meta_yaml": "\n".join(header)}), path)


FILES: dict[str, Callable[[Path], object]] = {
    "a.parquet": write_parquet,
    "astropy.parquet": write_astropy_parquet,
    "a.feather": write_feather,
    "a.arrow": write_stream,
    "a.fits": lambda path: quantities().write(path),
    "a.fits.gz": lambda path: quantities().write(path),
    "a.csv": write_csv,
    "a.tsv": write_csv,
    "a.CSV.gz": write_csv,
    "bulk.csv.gz": write_bulk,
    "a.ecsv": lambda path: quantities().write(path, format="ascii.ecsv"),
    "a.vot": lambda path: Table(quantities()).write(path, format="votable"),
    "a.vot.gz": lambda path: path.write_bytes(gzip.compress(votable())),
}


def votable() -> bytes:
    import io

    out = io.BytesIO()
    Table(quantities()).write(out, format="votable")
    return out.getvalue()


def structured() -> np.ndarray[Any, Any]:
    columns = values() | {"pos_error": values()["pos_error"] / 1e3}
    kinds = [(name, column.dtype.newbyteorder(">")) for name, column in columns.items()]
    out = np.empty(ROWS, dtype=kinds)
    for name, column in columns.items():
        out[name] = column
    return out


MEMORY: dict[str, Callable[[], Any]] = {
    "arrow": arrow,
    "batch": lambda: arrow().combine_chunks().to_batches()[0],
    "pandas": lambda: pd.DataFrame(values() | {"pos_error": values()["pos_error"] / 1e3}),
    "pandas, indexed": lambda: pd.DataFrame(structured().astype(structured().dtype.newbyteorder("="))).set_index(
        "source_id"
    ),
    "astropy": lambda: Table(quantities()),
    "quantities": quantities,
    "masked": lambda: Table(quantities(), masked=True),
    "mapping": lambda: {**values(), "ra": values()["ra"] * u.deg, "pos_error": values()["pos_error"] * u.mas},
    "hours": lambda: {
        **values(),
        "dec": np.radians(values()["dec"]) * u.rad,
        "pmra": pa.array(values()["pmra"]),
        "ra": (values()["ra"] / 15) * u.hourangle,
        "pos_error": values()["pos_error"] * u.mas,
    },
    "structured": structured,
}


def same(found: Memory) -> None:
    """The places are those of `values`, in the order of the sky."""
    wanted, places = values(), found.places
    rows = places["row"].to_numpy()
    assert sorted(rows.tolist()) == list(range(ROWS))
    assert places["object_id"].type == pa.string()
    assert places["object_id"].to_pylist() == [str(one) for one in wanted["source_id"][rows]]
    for name in ("ra", "dec", "pmra", "pmdec"):
        np.testing.assert_allclose(places[name].to_numpy(), wanted[name][rows], rtol=1e-14, err_msg=name)
    np.testing.assert_allclose(places["error"].to_numpy(), wanted["pos_error"][rows] / 1e3, rtol=1e-12)
    assert (np.diff(places[SKY].to_numpy()) >= 0).all()
    assert places["order"].to_pylist() == places["pixel"].to_pylist() == [-1] * ROWS
    assert found.moves
    assert found.rows == ROWS


@pytest.mark.parametrize("name", FILES)
def test_every_file_gives_the_same_places(tmp_path: Path, name: str) -> None:
    FILES[name](tmp_path / name)
    found = open_source("stars", str(tmp_path / name), WANTED)
    assert isinstance(found, Memory)
    assert found.address == str(tmp_path / name)
    same(found)


@pytest.mark.parametrize("form", MEMORY)
def test_every_table_in_memory_gives_the_same_places(form: str) -> None:
    found = open_source("stars", MEMORY[form](), WANTED)
    assert isinstance(found, Memory)
    assert found.address == ""
    same(found)


def test_coordinates_have_row_numbers_as_ids() -> None:
    wanted = values()
    motion = {"pm_ra_cosdec": wanted["pmra"] * u.mas / u.yr, "pm_dec": wanted["pmdec"] * u.mas / u.yr}
    places = SkyCoord(wanted["ra"], wanted["dec"], unit="deg", frame="icrs", **motion)
    found = from_memory("stars", places, Wanted(motion=True)).places
    rows = found["row"].to_numpy()
    assert found["object_id"].to_pylist() == rows.astype(str).tolist()
    for name in ("ra", "dec", "pmra", "pmdec"):
        np.testing.assert_allclose(found[name].to_numpy(), wanted[name][rows], rtol=1e-9)


def test_coordinates_of_another_frame_are_turned_into_icrs() -> None:
    wanted = values()
    galactic = SkyCoord(wanted["ra"], wanted["dec"], unit="deg").galactic
    found = from_memory("stars", galactic, Wanted(motion=True))
    np.testing.assert_allclose(found.places["dec"].to_numpy(), wanted["dec"][found.places["row"].to_numpy()], atol=1e-9)
    assert not found.moves


@pytest.mark.parametrize(
    ("ids", "read"),
    [
        (pa.array([b"a", b"b"]), ["a", "b"]),
        (pa.array([b"a\0", b"b "], pa.binary(2)), ["a", "b"]),
        (pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
        (pa.array(["a", "b"], pa.string_view()), ["a", "b"]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.array([10**18 + 1, 2]).dictionary_encode(), [str(10**18 + 1), "2"]),
        (np.array([b" 482", b"5"]), ["482", "5"]),
        (np.array([2**64 - 1, 5], dtype=">u8"), [str(2**64 - 1), "5"]),
        (np.array([101122866.0, 5.0]), ["101122866", "5"]),
        (["a", "b"], ["a", "b"]),
    ],
)
def test_ids_of_every_type_become_text(ids: Any, read: list[str]) -> None:
    found = from_memory("x", {"object_id": ids, "ra": [1.0, 1.5], "dec": [0.0, 0.0]}, Wanted()).places
    assert found["object_id"].type == pa.string()
    assert found.sort_by("row")["object_id"].to_pylist() == read


@pytest.mark.parametrize(
    ("columns", "read"),
    [
        ("RA DEC", "RA DEC"),
        ("RAJ2000 DEJ2000 e_RAJ2000", "RAJ2000 DEJ2000"),
        ("RA_ICRS DE_ICRS", "RA_ICRS DE_ICRS"),
        ("ALPHA_J2000 DELTA_J2000", "ALPHA_J2000 DELTA_J2000"),
        ("TARGET_RA TARGET_DEC FIBER_RA", "TARGET_RA TARGET_DEC"),
        ("PLUG_RA PLUG_DEC RA DEC", "RA DEC"),
        ("RA DEC ra dec", "ra dec"),
        ("ra decl", "ra decl"),
    ],
)
def test_the_usual_names_of_positions_are_known(columns: str, read: str) -> None:
    table = {name: [float(at)] for at, name in enumerate(columns.split())}
    found = from_memory("x", table, Wanted()).places
    assert [found["ra"][0].as_py(), found["dec"][0].as_py()] == [table[name][0] for name in read.split()]


ONE = {"object_id": [5], "ra": [1.0], "dec": [2.0]}
WRONG: dict[str, tuple[Any, Wanted, str]] = {
    "no table": (5, Wanted(), "x is a int, which cannot be matched; give an Arrow table"),
    "no positions": ({"a": [1], "b": [2]}, Wanted(), "none has a usual name of RA and Dec.*It has: a, b"),
    "two positions": (
        {"RAJ2000": [1], "DEJ2000": [2], "RA_ICRS": [3], "DE_ICRS": [4]},
        Wanted(),
        "several may be the position .RA_ICRS, DE_ICRS or RAJ2000, DEJ2000.; call the ones meant ra, dec",
    ),
    "not a number": ({**ONE, "ra": [np.nan]}, Wanted(), "1 of 1 rows have no position .the first is row 0: ra nan"),
    "masked position": (Table({**ONE, "ra": MaskedColumn([1.0], mask=[True])}), Wanted(), "have no position"),
    "masked id": (Table({**ONE, "object_id": MaskedColumn([5], mask=[True])}), Wanted(), "1 of 1 rows have no 'object"),
    "empty id": ({**ONE, "object_id": [""]}, Wanted(), "1 of 1 rows have no 'object_id'"),
    "rounded ids": ({**ONE, "object_id": [1e17]}, Wanted(), "floating-point numbers, which are not exact"),
    "hours": ({**ONE, "ra": ["12:00:00"]}, Wanted(), "The column 'ra' of x holds string, not numbers"),
    "unit": ({**ONE, "dec": [1.0] * u.m}, Wanted(), "The column 'dec' of x is in 'm', which cannot be turned into deg"),
    "no error": (ONE, Wanted(errors=("ra_err",)), "Unknown column of x 'ra_err'"),
    "error's unit": (
        {**ONE, "e": [1.0] / u.deg**2},
        Wanted(errors=("e",)),
        "is in '1 / deg2', which cannot be turned into arcsec",
    ),
    "repeated": ({"id": [5, 5], "ra": [1, 2], "dec": [1, 2]}, Wanted(), "'id' of x has 1 different ids in 2 rows"),
    "lengths": ({**ONE, "dec": [2.0, 3.0]}, Wanted(), "differ in length"),
    "shape": ({**ONE, "dec": [[2.0]]}, Wanted(), "shape .1, 1., not one value a row"),
    "one place": (SkyCoord(1, 2, unit="deg"), Wanted(), "one-dimensional list of coordinates"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_a_sentence(case: str) -> None:
    given, wanted, said = WRONG[case]
    with pytest.raises(UsageError, match=said) as caught:
        from_memory("x", given, wanted)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", ["parquet", "feather", "fits", "fits.gz", "csv", "csv.gz", "ecsv", "vot", "vot.gz"])
@pytest.mark.parametrize("content", [b"", b"<html>not here</html>\n" * 100, b"\x1f\x8b\x08garbage"])
def test_a_damaged_file_is_said_in_a_sentence(tmp_path: Path, ending: str, content: bytes) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_bytes(content)
    with pytest.raises(MmuError, match=rf"a\.{ending}") as caught:
        from_file("x", path, Wanted())
    assert "\n" not in str(caught.value)


def test_a_file_cut_short_is_said(tmp_path: Path) -> None:
    for name, write in FILES.items():
        write(tmp_path / name)
        if name.endswith((".parquet", ".fits", ".gz", ".feather", ".vot")):
            data = (tmp_path / name).read_bytes()
            (tmp_path / name).write_bytes(data[: len(data) // 2])
            with pytest.raises(FormatError):
                from_file("x", tmp_path / name, Wanted())


def test_an_address_says_which_columns_are_meant(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("# object_id,ira,idec,number\n007,10.5,-3,1\n008,11,-4,2\n")
    address = f"{path}#ra=ira,dec=idec,id=# object_id"
    with pytest.raises(UsageError, match="none has a usual name"):
        from_file("x", path, Wanted())
    found = from_file("x", f"{path}#ra=ira,dec=idec,id=object_id", Wanted())
    assert found.places.sort_by("row")["object_id"].to_pylist() == ["007", "008"]
    counted = from_file("x", f"{path}#ra=ira,dec=idec,id=", Wanted()).places
    assert counted.sort_by("row")["object_id"].to_pylist() == ["0", "1"]
    assert split(address)[1].id == "# object_id"
    assert is_table(address)
    assert list(named([address, f"other={address}"])) == ["odd", "other"]
    assert named([address, f"other={address}"])["other"] == address


@pytest.mark.parametrize(
    ("suffix", "said"),
    [
        ("#ra=a", "give both"),
        ("#ra=a,dec=b,name=c", "Unknown word in .*'name'; the known ones are: dec, id, ra"),
        ("#ra=a,ra=b,dec=c", "one column for ra"),
        ("#ra=,dec=c", "one column for ra"),
        ("#ra=a,dec=nope", "Unknown column of .*'nope'"),
    ],
)
def test_an_address_that_says_it_wrongly_is_refused(tmp_path: Path, suffix: str, said: str) -> None:
    (tmp_path / "a.csv").write_text("a,b,c\n1,2,3\n")
    with pytest.raises(UsageError, match=said):
        from_file("x", f"{tmp_path / 'a.csv'}{suffix}", Wanted())


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no file"):
        open_source("x", tmp_path / "a.csv", Wanted())


def test_the_table_with_positions_is_found_among_others(tmp_path: Path) -> None:
    other = fits.BinTableHDU(Table({"wave": [1.0, 2.0]}))
    table = Table({"TARGETID": [10**18 + 1, 10**18 + 3], "RA": [1.0, 2.0], "DEC": [3.0, 4.0]})
    hdu = fits.BinTableHDU(table, name="SPECOBJ")
    fits.HDUList([fits.PrimaryHDU(), other, hdu]).writeto(tmp_path / "a.fits")
    found = from_file("x", tmp_path / "a.fits", Wanted()).places
    assert found["object_id"].to_pylist() == [str(10**18 + 1), str(10**18 + 3)]
    hdu.columns["TARGETID"].null = 10**18 + 3
    fits.HDUList([fits.PrimaryHDU(), other, hdu]).writeto(tmp_path / "b.fits")
    with pytest.raises(UsageError, match="1 of 2 rows have no 'TARGETID'"):
        from_file("x", tmp_path / "b.fits", Wanted())


def test_missing_values_of_a_csv_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\ufeffid,ra,dec\n1,2,3\n,4,5\n")
    (tmp_path / "b.csv").write_text("id,ra,dec\r\n1,2,3\r\n2,null,5\r\n")
    (tmp_path / "c.csv").write_text("id,ra,dec\n1,12:30:00,3\n")
    for name, said in (("a", "1 of 2 rows have no 'id'"), ("b", "row 1: ra nan"), ("c", "12:30:00")):
        with pytest.raises(MmuError, match=said):
            from_file("x", tmp_path / f"{name}.csv", Wanted())


def test_what_is_not_needed_of_a_csv_may_be_anything(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'ra,dec,"who, when"\n1,2,Bj\xf6rk\n3,4,"a, b"\n')
    assert from_file("x", tmp_path / "a.csv", Wanted()).rows == 2


def test_an_error_that_stands_for_none_known_allows_everything() -> None:
    table = {"ra": [1.0], "dec": [2.0], "e": [np.finfo(float).max] * u.deg}
    assert from_memory("x", table, Wanted(errors=("e",))).places["error"].to_pylist() == [np.inf]


def test_a_header_that_is_not_of_ecsv_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.ecsv").write_text("# %ECSV 1.0\n# ---\n# datatype: [\nra dec\n1 2\n")
    with pytest.raises(FormatError, match="its header is not the YAML of ECSV"):
        from_file("x", tmp_path / "a.ecsv", Wanted())


def test_a_table_without_rows_is_a_source_without_places(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,ra,dec\n")
    assert from_file("x", tmp_path / "a.csv", Wanted()).rows == 0
    assert from_memory("x", arrow().slice(0, 0), WANTED).fastest() == 0


def test_the_fingerprint_follows_the_records(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv")
    before = from_file("x", tmp_path / "a.csv", Wanted()).fingerprint
    assert from_file("y", tmp_path / "a.csv", Wanted()).fingerprint == before
    (tmp_path / "a.csv").write_text((tmp_path / "a.csv").read_text().replace("star 5,", "star 6,").upper())
    assert from_file("x", tmp_path / "a.csv", Wanted()).fingerprint != before
    table = {"object_id": ["a", "bc"], "ra": [1.0, 2.0], "dec": [3.0, 4.0]}
    prints = {
        from_memory("x", table | change, Wanted()).fingerprint
        for change in ({}, {"object_id": ["ab", "c"]}, {"ra": [1.0, 2.5]}, {"dec": [3.5, 4.0]}, {"other": [1, 2]})
    }
    assert len(prints) == 4


def test_of_an_object_that_is_listed_again_the_first_row_counts() -> None:
    table = {"TARGETID": [7, 8, 7, 9], "ra": [1.0, 5.0, 1.0, 1.0], "dec": [1.0, 5.0, 1.0, 1.0]}
    places = from_memory("x", table, Wanted()).places.sort_by("row")
    assert places.select(["object_id", "row"]).to_pylist() == [
        {"object_id": "7", "row": 0},
        {"object_id": "8", "row": 1},
        {"object_id": "9", "row": 3},
    ]


def test_tables_and_v1_are_matched_with_one_another(tmp_path: Path) -> None:
    write_parquet(tmp_path / "stars.parquet")
    folder = tmp_path / "old" / "healpix=0000"
    folder.mkdir(parents=True)
    with h5py.File(folder / "001-of-001.hdf5", "w") as file:
        file["source_id"], file["ra"], file["dec"] = (values()[name] for name in ("source_id", "ra", "dec"))
    shifted = {**values(), "dec": values()["dec"] + 0.1 / 3600}
    given = {"stars": tmp_path / "stars.parquet", "old": tmp_path / "old", "mine": shifted}
    for out in (None, tmp_path / "out"):
        found = crossmatch(given, out=out, radius_arcsec=1.0)
        assert found.rows == ROWS
    table = found.table()
    assert table["stars_id"].to_pylist() == table["old_id"].to_pylist()
    assert table["stars_id"].to_pylist() == table["mine_id"].to_pylist()
    assert set(table["old_order"].to_pylist()) == {4}
    assert table["stars_row"].to_pylist() == table["old_row"].to_pylist()


def test_real_catalogues_open(real_data: Path) -> None:
    """Each as its archive made it: (rows, the first row's id, whether there are proper motions)."""
    wanted = {
        "gaia/astroquery_1710099405832VAL-result.vot": (2, "4583627001381815936", True),
        "gaia/desitarget-gaia-healpix-04669.fits": (25, None, True),
        "desi/coadd-1-80693-thru20210204.fits": (5, None, False),
        "legacysurvey/sweep-310m005-320p000.fits#id=": (6, "0", True),
        "legacysurvey/survey-bricks-dr6.fits.gz": (1, "0", False),
        "sdss/spAll-plate3655.fits#id=SPECOBJID": (93, None, False),
        "manga/drpcomplete_v2_7_1.fits": (8405, "0", False),
        "jwst/expanse_JOF_psfmatched_MASTER_v11_total_selected.fits": (223, "0", False),
        "gaia/XP_SAMPLED_RAW_dr3int6.csv": (2, "6", False),
        "hsc/hyrax_star_cat_correct.csv#ra=ira,dec=idec,id=# object_id": (10, None, False),
    }
    for address, (rows, first, moves) in wanted.items():
        found = from_file("x", real_data / address, Wanted(motion=True))
        ids = found.places.sort_by("row")["object_id"]
        assert (found.rows, found.moves) == (rows, moves), address
        assert first in (None, ids[0].as_py()), address


def test_an_id_that_counts_within_a_field_is_not_taken_for_one(real_data: Path) -> None:
    with pytest.raises(UsageError, match=r"'ID' of .* has 76 different ids in 93 rows, so it is no id; say NAME=PATH#"):
        from_file("x", real_data / "sdss/spAll-plate3655.fits", Wanted())
