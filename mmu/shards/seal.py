"""A text file that carries the checksum of itself, in its last line: an edit is found without a second file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import xxhash

CARD = ("\n<!-- xxh3 of the text above: ", " -->\n")
JSON = (',\n "xxh3": "', '"\n}\n')

Seal = tuple[str, str]
"""What stands before and after the checksum."""


def sealed(text: str, seal: Seal) -> str:
    """The text with its checksum at the end."""
    return text + seal[0] + xxhash.xxh3_128_hexdigest(text.encode()) + seal[1]


def sealed_json(value: dict[str, Any]) -> str:
    """A JSON object whose last entry is the checksum of all before it."""
    return sealed(json.dumps(value, indent=1).removesuffix("\n}"), JSON)


def unbroken(path: Path, seal: Seal) -> bool:
    """True if a sealed file is as it was written."""
    text, _, _ = path.read_bytes().rpartition(seal[0].encode())
    try:
        return path.read_bytes() == sealed(text.decode(), seal).encode()
    except UnicodeDecodeError:
        return False
