"""Which records of several datasets are one object: tables in, a table out. No files and no scheduler here.

The anchor's records are the objects. Each other dataset in turn is matched to them; in an outer match the records that
are nobody's become objects of their own, to which the datasets after it are matched too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from crossmatch.columns import association_rows
from crossmatch.level import Found, Level, Objects, Tally
from crossmatch.places import SKY
from crossmatch.rule import Rule
from mmu.sky.halo import Cover
from mmu.sky.region import parse_region


def associate(rule: Rule, places: Sequence[pa.Table], cover: Cover, threads: int = 1) -> tuple[pa.Table, list[Tally]]:
    """The objects of a part of the sky, and the counts of each dataset there.

    Args:
        places: of each dataset, the anchor first, all those in the cover.
        cover: the part, with a surrounding at least `rule.halo_arcsec` wide.

    Returns:
        A row for each object that lies in the part (several, one a neighbour, in modes "all" and "knn") with the
        columns of `association_schema`, in the order of the sky; and a tally of each dataset.
    """
    objects = Objects(np.zeros(len(places[0]), np.int64), np.arange(len(places[0])))
    homes = [_home(rule, table, cover) for table in places]
    found: list[Found] = []
    tallies = [Tally(records=int(homes[0].sum()))]
    for index in range(1, len(places)):
        level = Level(rule, index, places, homes, objects, threads)
        one, tally = level.match()
        tally.chance = level.chance(one, cover)
        found, tallies = [*found, one], [*tallies, tally]
        if rule.how == "outer":
            left = np.setdiff1d(np.arange(len(places[index])), one.row)
            objects = objects.plus(index, left)
            found = [earlier.extended(len(left)) for earlier in found]
    return association_rows(rule, places, homes, objects, found), tallies


def _home(rule: Rule, places: pa.Table, cover: Cover) -> np.ndarray[Any, Any]:
    """True for records that stand in the part of the sky itself, and in the region asked for."""
    home = cover.inside(places[SKY].to_numpy())
    if rule.region != "all":
        home &= parse_region(rule.region).contains(places["ra"].to_numpy(), places["dec"].to_numpy())
    return home
