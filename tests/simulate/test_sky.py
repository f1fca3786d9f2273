"""The truth: the same whatever way it is asked for, and plausible."""

from __future__ import annotations

import healpy as hp
import numpy as np
import pytest

from mmu.simulate import DEFAULT, Field, Sky
from mmu.simulate.bricks import brick_at, bricks, members
from mmu.simulate.noise import uniform
from mmu.simulate.sky import healpix

SKY = Sky()


def test_same_seed_same_sky_other_seed_other_sky() -> None:
    assert np.array_equal(Sky(7).in_cone(185.6, 0.0, 0.02)["ra"], Sky(7).in_cone(185.6, 0.0, 0.02)["ra"])
    assert not np.array_equal(Sky(7).in_cone(185.6, 0.0, 0.02)["ra"], Sky(8).in_cone(185.6, 0.0, 0.02)["ra"])


def test_an_object_does_not_depend_on_the_query_or_the_field() -> None:
    cone = SKY.in_cone(185.6, 0.02, 0.03)
    box = SKY.in_box(185.5, 185.7, -0.05, 0.1)
    pixel = SKY.in_healpix(11, np.unique(healpix(cone, 11)))
    smaller = Sky(fields=(Field("part", 185.62, 0.02, 0.1),)).in_cone(185.6, 0.02, 0.03)
    for other in (box, pixel, smaller, SKY.objects()):
        rows = np.searchsorted(other["true_id"], cone["true_id"])
        for name in ("ra", "mag_z", "teff"):
            np.testing.assert_array_equal(other[name][rows], cone[name])


def test_queries_hold_what_they_should_and_nothing_else() -> None:
    every = SKY.objects()
    assert len(np.unique(every["true_id"])) == len(every) > 10_000
    box = SKY.in_box(185.4, 185.6, -0.1, 0.2)
    inside = (every["ra"] >= 185.4) & (every["ra"] < 185.6) & (every["dec"] >= -0.1) & (every["dec"] < 0.2)
    assert set(box["true_id"]) == set(every["true_id"][inside])
    for order in (4, 6, 10):
        pixel = int(healpix(every[:1], order)[0])
        found = SKY.in_healpix(order, [pixel])
        assert set(found["true_id"]) == set(every["true_id"][healpix(every, order) == pixel])
    assert len(SKY.in_cone(10.0, -60.0, 1.0)) == 0


def test_nothing_lies_outside_the_fields() -> None:
    every = SKY.objects()
    assert np.all(DEFAULT[0].contains(every["ra"], every["dec"]) | DEFAULT[1].contains(every["ra"], every["dec"]))


@pytest.mark.parametrize("field", DEFAULT)
def test_fields_sit_on_a_corner_of_four_order_4_pixels_and_on_brick_edges(field: Field) -> None:
    around = [(1e-4, 0.0), (-1e-4, 0.0), (0.0, 1e-4), (0.0, -1e-4)]
    pixels = {int(hp.ang2pix(16, field.ra + a, field.dec + d, nest=True, lonlat=True)) for a, d in around}
    assert len(pixels) == 4
    assert len({int(pixel) for pixel in healpix(Sky(fields=(field,)).objects(), 4)}) == 4
    assert len(bricks(Sky(fields=(field,)))) > 1


def test_a_full_brick_has_the_expected_number_of_objects() -> None:
    brick = brick_at(185.625, 0.0)
    objects, _, _ = members(SKY, brick)
    objects = objects[brick.contains(objects["ra"], objects["dec"])]
    galaxy = objects["kind"] == "galaxy"
    bright = galaxy & (objects["mag_z"] - 1.211 * objects["ebv"] < 21)
    assert 350 < bright.sum() < 450
    assert 1000 < (galaxy & ~bright).sum() < 1600
    assert 180 < (~galaxy).sum() < 320


def test_scaling_relations() -> None:
    objects = SKY.objects()
    galaxies = objects[objects["kind"] == "galaxy"]
    ssfr = galaxies["log_sfr"] - galaxies["log_stellar_mass"]
    quiescent = ssfr < -11
    assert 0.1 < quiescent.mean() < 0.6
    assert galaxies["log_stellar_mass"][quiescent].mean() > galaxies["log_stellar_mass"][~quiescent].mean()
    near = np.abs(galaxies["z"] - 0.3) < 0.1
    colour = galaxies["mag_g"] - galaxies["mag_r"]
    assert np.median(colour[near & quiescent]) > np.median(colour[near & ~quiescent]) + 0.4
    assert np.median(galaxies["sersic_n"][quiescent]) > 3 > 2 > np.median(galaxies["sersic_n"][~quiescent])
    stars = objects[objects["kind"] == "star"]
    hot, cool = stars["teff"] > 6000, stars["teff"] < 3500
    assert np.median((stars["mag_BP"] - stars["mag_RP"])[cool]) > np.median((stars["mag_BP"] - stars["mag_RP"])[hot])


def test_truth_table_has_units_and_every_object() -> None:
    table = Sky(fields=(Field("small", 185.625, 0.0, 0.05),)).truth_table()
    assert table.num_rows > 100
    assert table.schema.field("ra").metadata[b"unit"] == b"deg"


def test_brick_names_and_numbers_are_those_of_the_archive() -> None:
    for ra, dec, name, number in ((105.4156, 56.75, "1054p567", 607466), (95.95, 80.5, "0959p805", 657438)):
        brick = brick_at(ra, dec)
        assert (brick.name, brick.id) == (name, number)
    np.testing.assert_allclose(brick_at(95.95, 80.5).bounds[:2], (95.2066115702, 96.6942148760), atol=1e-9)


def test_draws_of_an_object_are_its_own() -> None:
    together = uniform(np.arange(1000), 1, "key")
    assert uniform(np.array([17]), 1, "key")[0] == together[17]
    assert abs(together.mean() - 0.5) < 0.03


@pytest.mark.parametrize("field", [{"ra": 400.0}, {"dec": -91.0}, {"radius_deg": 0.0}])
def test_a_bad_field_says_what_is_allowed(field: dict[str, float]) -> None:
    values: dict[str, float] = {"ra": 10.0, "dec": 0.0, "radius_deg": 0.1, **field}
    with pytest.raises(ValueError, match="allowed are"):
        Field("bad", **values)
