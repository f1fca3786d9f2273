"""Cubes from datasets with a row a spaxel: every column of arrays back in its place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from mmu.decoding import decode
from mmu.errors import UsageError

Cube = dict[str, np.ndarray[Any, Any]]


def assembled(table: pa.Table, column: str) -> Cube:
    """The rows of one object as a cube.

    Args:
        table: a row a spaxel, in any order: x, y (from 0), `column`, and where known width, height (of the cube, in
            spaxels) and coeff0, coeff1 (log10 of the first wavelength in Angstrom, and the step).
        column: a struct whose members are arrays along the wavelength, (L,) a row.

    Returns:
        Each member as (L, height, width); `covered` (height, width), True where there is a spaxel; `lambda` (L,) in
        Angstrom. Elsewhere numbers are 0, and masks say bad: flags by their polarity, mask bits all set (-1).

    Raises:
        UsageError: two rows are of the same spaxel, or the column is no struct of spectra of one length.
    """
    values = decode(table)
    x, y = (np.asarray(values[name], dtype=np.intp) for name in ("x", "y"))
    sides = (("width", x), ("height", y))
    width, height = (int(values[name][0]) if name in values else int(at.max()) + 1 for name, at in sides)
    covered = np.zeros((height, width), dtype=bool)
    covered[y, x] = True
    if covered.sum() != len(x):
        msg = f"The rows hold {len(x) - covered.sum()} spaxels twice; give the rows of one object."
        raise UsageError(msg)
    out: Cube = {}
    for member in table.schema.field(column).type:
        spectra = values[column][member.name]
        if spectra.dtype == object or spectra.ndim != 2:
            msg = f"{column}.{member.name} is no array of one length in every row; give a column of spectra."
            raise UsageError(msg)
        cube = np.full((spectra.shape[1], height, width), _elsewhere(member), dtype=spectra.dtype)
        cube[:, y, x] = spectra.T
        out[member.name] = cube
    if {"coeff0", "coeff1"} <= values.keys():
        length = next(iter(out.values())).shape[0]
        out["lambda"] = 10 ** (values["coeff0"][0] + values["coeff1"][0] * np.arange(length))
    return out | {"covered": covered}


def _elsewhere(member: pa.Field) -> int:
    """What a member holds where there is no spaxel: 0, or bad."""
    polarity = (member.metadata or {}).get(b"polarity", b"").decode()
    if pa.types.is_boolean(member.type.value_type):
        return int(polarity.endswith("bad"))
    return -1 if polarity else 0
