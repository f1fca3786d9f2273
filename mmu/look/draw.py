"""The pictures: a sheet of objects, a page of one, one object across datasets, or the distributions of a catalogue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mmu.dataset import Dataset
from mmu.look.choose import first_ids, known
from mmu.look.coefficients import coefficient_panels
from mmu.look.cube import cube_panels, map_panels
from mmu.look.labels import label_panels, value_panel
from mmu.look.lightcurve import lightcurve_panels
from mmu.look.panel import COLUMNS, Panel, lay_out, places
from mmu.look.spectrum import pretty, spectrum_panels
from mmu.look.stamp import picture_panels, stamp_panels
from mmu.look.style import WIDTH_INCH, figure
from mmu.look.subject import Subject, modality, name_of, read

Maker = Callable[[Subject, str, str, bool], list[Panel]]

_MAKERS: dict[str, Maker] = {
    "image": stamp_panels,
    "picture": picture_panels,
    "cube": cube_panels,
    "map": lambda subject, name, title, large: [],  # all maps of an object are chosen from together
    "spectrum": spectrum_panels,
    "coefficients": coefficient_panels,
    "lightcurve": lightcurve_panels,
}
_TELLING = ("cube", "image", "spectrum", "lightcurve", "coefficients", "picture")
"""What a sheet shows of a dataset that has several modalities: the first of these that it has."""
EVERYTHING = tuple(_MAKERS)
"""All modalities that are drawn."""
_SIDE_BY_SIDE = ("image", "picture")
_CUBES = 4


def draw(dataset: Dataset, path: Path, count: int = 12, ids: Sequence[str] | None = None) -> Path | None:
    """The picture that suits a dataset: a sheet of objects, a page of one, or distributions if it has only labels.

    Args:
        path: where it goes; its ending (.png, .pdf, .svg) says what it is.
        count: how many objects, the first ones in the order of the sky.
        ids: these objects rather than the first.

    Returns:
        The path; None if there is nothing to show.

    Raises:
        UsageError: an id is not in the dataset, matplotlib is missing, or the ending is unknown.
    """
    if not len(dataset) or (ids is not None and not ids):
        return None
    present = {modality(field) for field in dataset.schema}
    kinds = [kind for kind in _TELLING if kind in present] + (["cube"] if "width" in dataset.columns else [])
    if not kinds:
        return draw_labels(dataset, path, list(ids or ()))
    chosen = list(ids) if ids is not None else first_ids(dataset, count)
    if len(chosen) == 1:
        return draw_page(read(dataset, chosen, EVERYTHING)[0], path)
    principal = "cube" if "cube" in kinds else kinds[0]
    chosen = chosen[:_CUBES] if principal == "cube" and ids is None else chosen
    return draw_sheet(read(dataset, chosen, (principal, *_context(principal))), principal, len(dataset), path)


def draw_object(records: Mapping[str, tuple[Dataset, str]], path: Path) -> Path:
    """One object as several datasets have it, side by side.

    Args:
        records: name -> dataset, and the object_id that the object has in it.
        path: where the picture goes.

    Raises:
        UsageError: an id is not in its dataset, matplotlib is missing, or the path's ending is unknown.
    """
    return draw_subjects([read(dataset, [one], EVERYTHING, name)[0] for name, (dataset, one) in records.items()], path)


def draw_subjects(subjects: Sequence[Subject], path: Path) -> Path:
    """One object as several datasets have it: images first, then cubes, spectra, and the labels in words."""
    if len(subjects) == 1:
        return draw_page(subjects[0], path)
    images = [panel for kind in _SIDE_BY_SIDE for one in subjects for panel in _across(one, kind)]
    spare = -len(images) % (COLUMNS // 3)
    images += [panel for one in subjects for panel in _bands(one)][:spare]
    panels = images + [
        panel for kind in _MAKERS if kind not in _SIDE_BY_SIDE for one in subjects for panel in _across(one, kind)
    ]
    panels += [value_panel(one, _title(one, True)) for one in subjects if not set(one.kinds.values()) & set(_MAKERS)]
    first = subjects[0]
    heading = f"{' · '.join(one.survey for one in subjects)}\n{position(first)}   {_best_words(subjects)}"
    return _write(panels, heading, path)


def draw_page(subject: Subject, path: Path) -> Path:
    """Everything that can be drawn of one object."""
    panels = [panel for kind in _MAKERS for panel in _of_kind(subject, kind, True)]
    heading = f"{subject.survey} {subject.release}   {subject.id}\n{position(subject)}   {subject.words}"
    return _write(panels or [value_panel(subject, "")], heading, path)


def draw_sheet(subjects: Sequence[Subject], kind: str, of: int, path: Path) -> Path:
    """One modality of several objects."""
    panels = [panel for one in subjects for panel in _of_kind(one, kind, False)]
    if len(subjects) <= 6:
        panels = [replace(panel, width=12) if panel.width == 6 else panel for panel in panels]
    first = subjects[0]
    heading = f"{first.survey} {first.release}: {len(subjects)} of {of:,} objects"
    if kind == "spectrum":
        heading += (
            f"   flux in {pretty(first.facts(first.of(kind)[0], 'flux').get('unit', ''))}" if first.of(kind) else ""
        )
    return _write(panels, heading, path)


def draw_labels(dataset: Dataset, path: Path, ids: Sequence[str] = ()) -> Path | None:
    """How the columns of a catalogue are distributed; None if it has no numbers but positions and errors."""
    if ids:
        known(dataset, ids, [dataset.id_column])
    panels = label_panels(dataset, ids)
    if not panels:
        return None
    marked = f"; lines: {', '.join(ids)}" if ids else ""
    heading = f"{name_of(dataset)} {dataset.release}: {len(dataset):,} objects{marked}"
    return _write(panels, heading, path)


def _context(kind: str) -> Iterable[str]:
    """Modalities that tell something of another: an image has the scale of the cube's spaxels."""
    return ("image",) if kind == "cube" else ()


def _of_kind(subject: Subject, kind: str, large: bool) -> list[Panel]:
    """The panels of a modality of an object."""
    if kind == "map":
        return map_panels(subject)
    names = subject.of(kind)
    title = _title(subject, False, narrow=kind in (*_SIDE_BY_SIDE, "cube"))
    return [panel for name in names for panel in _MAKERS[kind](subject, name, _named(title, name, names, large), large)]


def _named(title: str, name: str, names: list[str], large: bool) -> str:
    """A page's panels are called by their columns, a sheet's by the object."""
    return name if large else (f"{title}\n{name}" if len(names) > 1 else title)


def _bands(subject: Subject) -> list[Panel]:
    """Single bands of an object's first image."""
    made = [panel for name in subject.of("image")[:1] for panel in stamp_panels(subject, name, "", True)[1:]]
    return [replace(panel, width=3, height=3) for panel in made]


def _across(subject: Subject, kind: str) -> list[Panel]:
    """The panels of a modality of one of several subjects."""
    if kind == "map":
        return map_panels(subject)
    aside = kind in _SIDE_BY_SIDE
    names = subject.of(kind)[: 1 if aside else None]
    if kind == "picture" and subject.of("image"):
        return []
    panels = [p for name in names for p in _MAKERS[kind](subject, name, _title(subject, True, aside), not aside)]
    return [replace(panel, height=min(panel.height, 3)) for panel in panels]


def _title(subject: Subject, across: bool, narrow: bool = True) -> str:
    """Id, redshift and magnitude; across datasets also which one, and how far from the object."""
    if not across:
        gap = "\n" if narrow and len(subject.words) > 13 else "   "
        return f"{subject.id}{gap}{subject.words}"
    apart = f'   {subject.separation:.2f}" apart' if subject.separation else ""
    gap = "\n" if narrow else "   "
    return f"{subject.survey} {subject.release}   {subject.id}{gap}{subject.words}{apart}"


def position(subject: Subject) -> str:
    """Right ascension and declination in words."""
    return f"RA {subject.number('ra'):.5f}°   Dec {subject.number('dec'):+.5f}°"


def _best_words(subjects: Sequence[Subject]) -> str:
    """Redshift and magnitude as the dataset that knows most of them has it."""
    return max((one.words for one in subjects), key=len)


def _write(panels: Sequence[Panel], heading: str, path: Path) -> Path:
    _, rows = places(panels)
    with figure(path, WIDTH_INCH, 0.98 * max(rows, 1) + 0.6) as made:
        made.suptitle(heading)
        lay_out(made, panels)
    return path
