"""The simulated sky seen by two surveys: what is matched against what is true."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crossmatch.api import crossmatch
from crossmatch.work import Where
from mmu.simulate.sky import Field, Sky
from tests.crossmatch.catalogues import scattered, table_of, write_hats

SCATTER_ARCSEC = 0.2
SEEN = 0.8


def test_a_simulated_sky_is_recovered(tmp_path: Path) -> None:
    """Each survey misses a fifth of the objects; where one is missed, a neighbour may be taken for it."""
    truth = Sky(fields=(Field("corner", 185.625, 0.0, 0.25), Field("zero", 0.0, -30.0, 0.15))).objects()
    random = np.random.default_rng(2026)
    seen, paths = {}, {}
    true_id: dict[str, int] = {}
    for name, orders in (("a", [3, 5]), ("b", [9])):
        seen[name] = np.flatnonzero(random.random(len(truth)) < SEEN)
        here = truth[seen[name]]
        at = scattered((here["ra"], here["dec"]), SCATTER_ARCSEC, len(here), random)
        table = table_of(at, name)
        paths[name] = write_hats(tmp_path / name, table, orders, 500)
        true_id |= {f"{name}{index:07d}": int(one) for index, one in enumerate(here["true_id"])}
    there = len(np.intersect1d(seen["a"], seen["b"]))
    for mode in ("nearest", "mutual"):
        found = crossmatch(paths, radius_arcsec=1.0, mode=mode, where=Where(0, tile_rows=2000))
        pairs = found.table(["a_id", "b_id"]).to_pydict()
        right = sum(true_id[a] == true_id[b] for a, b in zip(*pairs.values(), strict=True))
        completeness, purity = right / there, right / len(found)
        said = f"{there:,} of {len(truth):,} objects in both; completeness {completeness:.4f}, purity {purity:.4f}"
        print(f"\n{mode}: {said}; {found.tallies[1].chance:.0f} pairs by chance")  # noqa: T201
        assert completeness > 0.98
        assert purity > (0.98 if mode == "nearest" else 0.985)
