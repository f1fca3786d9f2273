"""`hats.properties` of catalogues, and the older name that it had."""

from __future__ import annotations

from pathlib import Path

from mmu.errors import UsageError


def is_release(folder: Path) -> bool:
    """True for the folder of a catalogue of objects."""
    properties = properties_file(folder)
    return properties.is_file() and properties_in(properties).get("dataproduct_type") in ("object", "source")


def properties_file(folder: Path) -> Path:
    """`hats.properties`, or its older name."""
    older = folder / "properties"
    return older if older.is_file() and not (folder / "hats.properties").is_file() else folder / "hats.properties"


def properties_in(path: Path) -> dict[str, str]:
    """What a file of properties says.

    Raises:
        UsageError: there is none.
    """
    if not path.is_file():
        msg = f"{path.parent} is no HATS catalogue: {path.name} is missing."
        raise UsageError(msg)
    lines = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines())
    return {key.strip(): value.strip() for key, equals, value in lines if equals and not key.startswith("#")}
