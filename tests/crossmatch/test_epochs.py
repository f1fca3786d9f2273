"""Stars that move from one partition to another between two surveys are found again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crossmatch.api import crossmatch
from crossmatch.association import Association, open_association
from crossmatch.motion import moved
from crossmatch.work import Where
from mmu.errors import UsageError
from tests.crossmatch.catalogues import Floats, Positions, names, scattered, vertices, write_hats
from tests.crossmatch.catalogues import table_of as table_in_order

HERE = Where(0, tile_rows=80)
COUNT = 120


class Stars:
    """Fast stars round corners of partitions, where they were in 2016."""

    def __init__(self, fastest_mas: float = 9000.0) -> None:
        random = np.random.default_rng(21)
        self.random = random
        self.ra, self.dec = scattered(vertices(3, 8, random), 200.0, COUNT, random)
        speed, way = random.uniform(0.3, 1.0, COUNT) * fastest_mas, random.uniform(0, 2 * np.pi, COUNT)
        self.pmra, self.pmdec = speed * np.cos(way), speed * np.sin(way)

    def at(self, year: float) -> Positions:
        return moved(self.ra, self.dec, self.pmra, self.pmdec, year - 2016.0)

    def seen(self, year: float, **more: Any) -> pa.Table:
        """As a survey of that year has them."""
        return table_in_order(scattered(self.at(year), 0.1, COUNT, self.random), "star", **more)

    @property
    def motion(self) -> dict[str, Floats]:
        return {"pmra": self.pmra, "pmdec": self.pmdec}


def of_2016(folder: Path, table: pa.Table) -> Path:
    return write_hats(folder, table, [6, 0, 3], hats_coordinate_epoch="J2016.0")


def of_1990(folder: Path, table: pa.Table) -> Path:
    return write_hats(folder, table, [2, 8], hats_coordinate_epoch="1990")


def right(found: Association, first: str, second: str) -> int:
    """Stars paired with themselves."""
    pairs = found.table([f"{first}_id", f"{second}_id"]).to_pydict()
    return sum(one == other for one, other in zip(*pairs.values(), strict=True))


@pytest.mark.parametrize("first", ["gaia", "plates"])
def test_fast_stars_are_found_with_epochs_and_lost_without(tmp_path: Path, first: str) -> None:
    stars = Stars()
    paths = {
        "gaia": of_2016(tmp_path / "gaia", stars.seen(2016.0, **stars.motion)),
        "plates": of_1990(tmp_path / "plates", stars.seen(1990.0)),
    }
    order = [first, *({*paths} - {first})]
    given = {name: paths[name] for name in order}
    found = crossmatch(given, radius_arcsec=2.0, epochs=True, where=HERE)
    assert right(found, *order) == len(found) == COUNT
    assert (found.table()[f"{order[1]}_sep_arcsec"].to_numpy() < 1.0).all()
    assert right(crossmatch(given, radius_arcsec=2.0, where=HERE), *order) == 0


def test_the_cut_of_the_sky_does_not_matter_to_moving_stars(tmp_path: Path) -> None:
    stars = Stars()
    paths = {
        "gaia": of_2016(tmp_path / "gaia", stars.seen(2016.0, **stars.motion)),
        "plates": of_1990(tmp_path / "plates", stars.seen(1950.0)),
    }
    how: dict[str, Any] = {"radius_arcsec": 20.0, "how": "outer", "epochs": {"plates": 1950.0}}
    tables = [crossmatch(paths, where=Where(0, tile_rows=rows), **how).table() for rows in (30, 100, 10_000)]
    assert tables[0] == tables[1] == tables[2]
    assert len(tables[0]) > COUNT / 2


def test_both_sides_may_move(tmp_path: Path) -> None:
    """Each knows its own motions; places are compared at the anchor's epoch."""
    stars = Stars()
    paths = {
        "gaia": of_2016(tmp_path / "gaia", stars.seen(2016.0, **stars.motion)),
        "plates": of_1990(tmp_path / "plates", stars.seen(1990.0, **stars.motion)),
    }
    away_from_poles = {name for name, dec in zip(names(COUNT, "star"), stars.dec, strict=True) if abs(dec) < 80}
    for order in (["gaia", "plates"], ["plates", "gaia"]):
        found = crossmatch({name: paths[name] for name in order}, radius_arcsec=2.0, epochs=True, where=HERE)
        assert right(found, *order) == len(found)  # round a pole the direction of a motion is another in 1990
        assert set(found.table()["gaia_id"].to_pylist()) >= away_from_poles


def test_three_surveys_of_three_epochs(tmp_path: Path) -> None:
    stars = Stars()
    paths = {
        "gaia": of_2016(tmp_path / "gaia", stars.seen(2016.0, **stars.motion)),
        "plates": of_1990(tmp_path / "plates", stars.seen(1990.0)),
        "new": write_hats(tmp_path / "new", stars.seen(2026.0), [5], hats_coordinate_epoch="2026.0"),
    }
    found = crossmatch(paths, radius_arcsec=2.0, epochs=True, where=HERE)
    assert right(found, "gaia", "plates") == right(found, "gaia", "new") == len(found) == COUNT


def test_a_motion_that_is_not_known_is_none(tmp_path: Path) -> None:
    stars = Stars()
    still = {name: np.where(np.arange(COUNT) % 2, pm, np.nan) for name, pm in stars.motion.items()}
    seen = stars.seen(2016.0, **still)
    nulls = {name: pa.array([None if np.isnan(pm) else pm for pm in seen[name].to_pylist()]) for name in still}
    for kind, columns in (("NaN", {}), ("null", nulls)):
        table = seen
        for name, column in columns.items():
            table = table.set_column(table.column_names.index(name), name, column)
        paths = {"gaia": of_2016(tmp_path / kind, table), "plates": of_1990(tmp_path / f"p{kind}", stars.seen(1990.0))}
        found = crossmatch(paths, radius_arcsec=2.0, epochs=True, where=HERE)
        moving = {name for index, name in enumerate(names(COUNT, "star")) if index % 2}
        assert set(found.table()["gaia_id"].to_pylist()) == moving


def test_stars_without_statistics_are_found_as_well(tmp_path: Path) -> None:
    stars = Stars()
    paths = {
        "gaia": of_2016(tmp_path / "gaia", stars.seen(2016.0, **stars.motion)),
        "plates": of_1990(tmp_path / "plates", stars.seen(1990.0)),
    }
    for path in paths["gaia"].rglob("Npix=*.parquet"):
        pq.write_table(pq.ParquetFile(path).read(), path, row_group_size=9, write_statistics=False)
    assert right(crossmatch(paths, radius_arcsec=2.0, epochs=True, where=HERE), "gaia", "plates") == COUNT


def test_an_epoch_that_is_not_known_is_asked_for(tmp_path: Path) -> None:
    stars = Stars()
    gaia, plates = stars.seen(2016.0, **stars.motion), stars.seen(1990.0)
    known = {"gaia": of_2016(tmp_path / "gaia", gaia), "plates": of_1990(tmp_path / "plates", plates)}
    unknown = {
        name: write_hats(tmp_path / f"u{name}", table, [3]) for name, table in (("gaia", gaia), ("plates", plates))
    }
    for name in known:
        paths = {**known, name: unknown[name]}
        with pytest.raises(UsageError, match=rf"epoch of {name}'s positions is not known; give it: --epoch {name}="):
            crossmatch(paths, epochs=True, where=HERE)
    found = crossmatch(unknown, radius_arcsec=2.0, epochs={"gaia": 2016.0, "plates": 1990.0}, where=HERE)
    assert right(found, "gaia", "plates") == COUNT


def test_the_command_that_renews_a_match_says_what_was_asked(tmp_path: Path) -> None:
    stars = Stars()
    table = stars.seen(2016.0, sigma=np.full(COUNT, 0.2), **stars.motion)
    paths = {"gaia": write_hats(tmp_path / "gaia", table, [3]), "plates": of_1990(tmp_path / "p", stars.seen(1990.0))}
    how: dict[str, Any] = {"out": tmp_path / "out", "radius_arcsec": 2.0, "where": HERE, "epochs": {"gaia": 2016.0}}
    crossmatch(paths, errors={"gaia": "sigma"}, n_sigma=4.0, **how)
    command = open_association(tmp_path / "out").command
    for words in ("--epochs", "--epoch gaia=2016", "--error gaia=sigma", "--sigma 4"):
        assert words in command
    open_association(tmp_path / "out").check()
    with pytest.raises(UsageError, match="holds another match"):
        crossmatch(paths, **how)


def test_other_errors_are_another_match(tmp_path: Path) -> None:
    stars = Stars()
    table = stars.seen(2016.0, sigma=np.full(COUNT, 0.2), wide=np.full(COUNT, 9.0))
    paths = {name: write_hats(tmp_path / name, table, [3]) for name in ("a", "b")}
    how: dict[str, Any] = {"out": tmp_path / "out", "where": HERE}
    crossmatch(paths, errors={"a": "sigma"}, **how)
    with pytest.raises(UsageError, match="holds another match"):
        crossmatch(paths, errors={"a": "wide"}, **how)
    assert len(crossmatch(paths, errors={"a": "sigma"}, **how)) == COUNT


def test_errors_are_a_radius_of_each_pair(tmp_path: Path) -> None:
    """In arcsec whatever the column's unit; of one column, or of one for each axis."""
    ra, dec = np.full(4, 10.0), np.arange(4) / 10
    offset = np.array([0.5, 1.5, 0.5, 1.5]) / 3600
    first = table_in_order((ra, dec), "a", err=np.array([200.0, 200.0, 1000.0, 1000.0]))
    first = first.cast(first.schema.set(4, pa.field("err", pa.float64(), metadata={"unit": "mas"})))
    second = table_in_order((ra, dec + offset), "b", x=np.full(4, 0.1), y=np.full(4, 0.1))
    paths = {"a": write_hats(tmp_path / "a", first, [3]), "b": write_hats(tmp_path / "b", second, [1])}

    def objects(**how: Any) -> list[str]:
        return list(crossmatch(paths, radius_arcsec=2.0, where=HERE, **how).table()["a_id"].to_pylist())

    assert sorted(objects()) == names(4, "a")
    given: dict[str, Any] = {"errors": {"a": "err", "b": ("x", "y")}}
    assert sorted(objects(**given)) == ["a0000000", "a0000002", "a0000003"]
    assert sorted(objects(**given, n_sigma=1.0)) == ["a0000002"]
