"""Which catalogue an address leads to, where it is a collection or a dataset of several releases."""

from __future__ import annotations

import re

from mmu.errors import FormatError, UsageError, unknown
from mmu.remote.addresses import Address
from mmu.remote.ranges import AbsentError, RefusedError, file_system, insist, small

PROPERTIES = ("hats.properties", "properties")
SMALL = 1 << 20
_MOST_RELEASES = 100


def catalogue_at(at: Address, release: str | None) -> Address:
    """The catalogue at an address: itself, the main one of a collection, or a release of a dataset.

    Raises:
        UsageError: there is none, no such release, or it may not be read.
        FormatError: it is a catalogue of something else than objects.
    """
    collection = _facts(at, ("collection.properties",))
    if collection is not None:
        at = at.child(collection.get("hats_primary_table_url", ""))
    facts = _facts(at, PROPERTIES)
    if facts is not None:
        if facts.get("dataproduct_type", "object") not in ("object", "source"):
            raise FormatError(f"{at.shown} is a catalogue of {facts['dataproduct_type']!r}, not of objects.")
        if release in (None, at.name):
            return at
        raise UsageError(f"{at.shown} has no release {release!r}: it is one catalogue, not a folder of releases.")
    names = names_at(at)
    for name in names[:_MOST_RELEASES] if release is None else [release]:
        if _facts(at.child(name), PROPERTIES, ("object", "source")) is not None:
            return at.child(name)
    if release is not None and names:
        raise unknown(f"release of {at.shown}", release, names)
    what = "no HATS catalogue, neither hats.properties nor a card that names releases"
    advice = "" if at.listable else "; give the folder of a release"
    raise UsageError(f"{at.shown} holds {what}{advice}.")


def releases_at(at: Address) -> list[str]:
    """The releases of a dataset: all that its card or its folder names, and that are catalogues of objects."""
    names = names_at(at)[:_MOST_RELEASES]
    return sorted(name for name in names if _facts(at.child(name), PROPERTIES, ("object", "source")) is not None)


def _facts(at: Address, names: tuple[str, ...], kinds: tuple[str, ...] = ()) -> dict[str, str] | None:
    """The first properties file that is there, and of one of these kinds, read."""
    refused: RefusedError | None = None
    for name in names:
        try:
            text = small(f"{at.url}/{name}", SMALL).decode("utf-8", "replace")
        except AbsentError:
            continue
        except RefusedError as problem:  # some servers say so of what is not there, too
            refused = problem
            continue
        lines = (line.partition("=") for line in text.splitlines())
        facts = {key.strip(): value.strip() for key, equals, value in lines if equals and not key.startswith("#")}
        return facts if not kinds or facts.get("dataproduct_type") in kinds else None
    if refused is not None and names == PROPERTIES:
        raise refused
    return None


def names_at(at: Address) -> list[str]:
    """Configurations the card names, the default one first; the folders that are there, where they can be listed."""
    import yaml

    card = if_there(f"{at.url}/README.md", SMALL)
    head = card.decode("utf-8", "replace").split("---")[1:2] if card else []
    try:
        said = (yaml.safe_load(head[0]) or {}).get("configs") or [] if head else []
        configs = [config for config in said if isinstance(config, dict) and "config_name" in config]
    except (yaml.YAMLError, AttributeError, TypeError):
        configs = []
    configs.sort(key=lambda config: not config.get("default"))
    names = [str(config["config_name"]) for config in configs]
    if at.listable:
        system = file_system(at.url)
        listed = insist(lambda: system.ls(at.url, detail=True), at.url)
        names += sorted(str(one["name"]).rpartition("/")[2] for one in listed if one["type"] == "directory")
    return [name for name in dict.fromkeys(names) if re.fullmatch(r"\w[\w.+-]*", name)]


def if_there(url: str, most: int) -> bytes | None:
    """A small file that need not be there."""
    try:
        return small(url, most)
    except (AbsentError, RefusedError):
        return None
