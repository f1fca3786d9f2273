"""The v1 layout: five bands in one dataset, spectra padded to one length."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mmu.schema import arrow_schema
from mmu.shards.hdf5 import _block
from surveys.sdss import SURVEY
from surveys.sdss.spectrum import Pixels, lists, trimmed


def test_bands_are_stacked_and_spectra_padded() -> None:
    release = SURVEY.release("segue1")
    plane = np.ones((2, 5), ">f4")
    bits = np.zeros((2, 5), ">i4")
    ivar = np.array([[0, 1, 1, 1, 0], [1, 1, 1, 1, 1]], ">f4")
    spectrum = lists(trimmed(Pixels(35800, plane, ivar, bits, bits, plane)))
    columns = {}
    for field in arrow_schema(release.schema):
        if field.name == "spectrum":
            columns[field.name] = pa.StructArray.from_arrays(
                [spectrum[part.name] for part in field.type], fields=list(field.type)
            )
        elif pa.types.is_string(field.type):
            columns[field.name] = pa.array(["a", "b"])
        else:
            columns[field.name] = pa.array(np.zeros(2)).cast(field.type)
    for place, band in enumerate("UGRIZ"):
        columns[f"SPECTROFLUX_{band}"] = pa.array(np.array([place, 10 + place], np.float32))
    table = pa.Table.from_arrays(list(columns.values()), schema=arrow_schema(release.schema))
    block = _block(table, 7, list(release.hdf5))
    np.testing.assert_array_equal(block["SPECTROFLUX"], [np.arange(5), 10 + np.arange(5)])
    assert block["SPECTROFLUX_IVAR"].shape == (2, 5)
    assert block["spectrum_lambda"].shape == block["spectrum_mask"].shape == (2, 4000)
    assert (block["spectrum_lambda"][0, 3:] == -1).all()
    assert (block["spectrum_lambda"][1, :5] > 3700).all()
    assert block["spectrum_mask"][0, 3:].all()
    assert not block["spectrum_mask"][0, :3].any()
    assert block["object_id"].dtype == np.dtype("S22")
