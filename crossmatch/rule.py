"""What counts as the same object: the rule of a match, checked once, and how far it reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from crossmatch.matcher import MODES
from crossmatch.sources import Source
from mmu.errors import UsageError, unknown

HOWS = ("inner", "left", "outer")
"""Objects that every dataset has; all objects of the first; all objects of all."""

LARGEST_ARCSEC = 3600.0


@dataclass(frozen=True)
class Rule:
    """How records are paired. Every dataset is matched to the first one's objects, never to one another's matches.

    Attributes:
        names: of the datasets, the anchor first.
        required: those an object must be in to be kept; "inner" requires all.
        k: how many neighbours "knn" takes.
        epochs: of each dataset's positions, where known; moves: whether its proper motions are followed.
        n_sigma: a pair must lie within so many sigma of the positional errors too; None if they are not asked for.
        errors: the columns with those, of each dataset.
        region: text of the part of the sky, "all" for all of it.
    """

    names: tuple[str, ...]
    radius_arcsec: float = 1.0
    how: str = "inner"
    mode: str = "nearest"
    k: int = 1
    required: frozenset[str] = frozenset()
    epochs: tuple[float | None, ...] = ()
    moves: tuple[bool, ...] = ()
    n_sigma: float | None = None
    errors: tuple[tuple[str, ...], ...] = ()
    region: str = "all"
    drift_arcsec: float = field(default=0.0)

    def __post_init__(self) -> None:
        if not 0 < self.radius_arcsec <= LARGEST_ARCSEC:
            raise UsageError(
                f"A radius of {self.radius_arcsec} arcsec: it must be above 0 and at most {LARGEST_ARCSEC:g}."
            )
        if self.how not in HOWS:
            raise unknown("way to join", self.how, HOWS)
        if self.mode not in MODES:
            raise unknown("mode of a match", self.mode, MODES)
        if self.k < 1 or (self.k > 1 and self.mode != "knn"):
            raise UsageError(f"k = {self.k} is for mode 'knn', which takes 1 neighbour or more.")
        if self.several and len(self.names) > 2:
            raise UsageError(
                f"Mode {self.mode!r} gives several rows an object, so it takes two datasets, not {len(self.names)}."
            )
        for name in self.required - set(self.names):
            raise unknown("dataset to require", name, self.names)

    @property
    def several(self) -> bool:
        """True if an object may have several rows: one for each of its neighbours."""
        return self.mode in ("all", "knn")

    @property
    def needed(self) -> frozenset[str]:
        """The datasets that every object kept is in."""
        if self.how == "inner":
            return frozenset(self.names)
        return self.required | ({self.names[0]} if self.how == "left" else frozenset())

    @property
    def halo_arcsec(self) -> float:
        """How far round a part of the sky records may matter to its objects.

        An object's match lies within a reach; whether that is shared, or mutual, with what lies within another; in an
        outer match each further dataset's objects depend on what the datasets before it left over.
        """
        levels = len(self.names) if self.how == "outer" else 1
        return (2 * levels + 1) * (self.radius_arcsec + self.drift_arcsec)

    def meeting_epoch(self, index: int) -> float | None:
        """When the positions of a dataset and of the objects before it are compared; None if nothing moves."""
        if not any(self.moves):
            return None
        return self.epochs[0] if self.moves[index] else self.epochs[index]


def with_motion(rule: Rule, sources: Sequence[Source]) -> Rule:
    """The rule, with the epochs and the reach that following the sources' proper motions takes.

    Raises:
        UsageError: no source has proper motions, or an epoch that is needed is not known.
    """
    moves, epochs = tuple(source.moves for source in sources), tuple(source.epoch for source in sources)
    if not any(moves):
        raise UsageError("No dataset has proper motions (columns pmra and pmdec), so no positions can be moved.")
    moved = Rule(**{**rule.__dict__, "moves": moves, "epochs": epochs})
    times = [moved.meeting_epoch(index) for index in range(1, len(sources))]
    for source, epoch in zip(sources, epochs, strict=True):
        if epoch is None and (source.moves or any(moves)):
            raise UsageError(
                f"The epoch of {source.name}'s positions is not known; give it: --epoch {source.name}=2016.0."
            )
    drift = 0.0
    for source, epoch in zip(sources, epochs, strict=True):
        if source.moves and epoch is not None:
            drift += source.fastest() * max(abs(time - epoch) for time in times if time is not None)
    return Rule(**{**moved.__dict__, "drift_arcsec": drift})
