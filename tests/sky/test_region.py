"""Regions: exact inside, supersets for choosing pixels and files, and words for what cannot be one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given
from hypothesis import strategies as st
from mocpy import MOC

from mmu.errors import UsageError
from mmu.sky import healpix
from mmu.sky.region import AllSky, Box, Cone, Moc, Pixels, Region, parse_region

Positions = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]

RA = st.floats(0, 360) | st.sampled_from([0.0, 360.0, 359.9999999, 1e-9, 45.0, 185.625])
DEC = st.floats(-90, 90) | st.sampled_from([-90.0, 90.0, 89.99999, -89.99999, 0.0, 41.8103])
ORDER = st.integers(0, 8)
SEED = st.integers(0, 1_000_000)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    ra1, width = draw(RA), draw(st.floats(1e-3, 359.9))
    dec1 = draw(st.floats(-90, 89.9) | st.sampled_from([-90.0, -0.5, 89.0]))
    dec2 = draw(st.floats(min(dec1 + 1e-3, 89.99), 90) | st.just(90.0))
    return Box(ra1, (ra1 + width) % 360, dec1, dec2)


CONES = st.builds(Cone, RA, DEC, st.floats(1e-4, 180) | st.sampled_from([1e-4, 0.01, 90.0, 180.0]))
PIXELS = st.builds(
    lambda order, at: Pixels(order, [at % (12 * 4**order)]), st.integers(0, 12), st.integers(0, 12 * 4**12)
)
REGIONS = CONES | boxes() | PIXELS


def positions(region: Region, seed: int, count: int = 200) -> Positions:
    """Positions that lie mostly in the region, many of them at its border."""
    random = np.random.default_rng(seed)
    pull = random.choice([0.0, 1e-9, 0.5, 1.0 - 1e-9, 1.0], count) * random.choice([1.0, random.uniform()], count)
    if isinstance(region, Cone):
        centre = SkyCoord(region.ra, region.dec, unit="deg")
        there = centre.directional_offset_by(random.uniform(0, 360, count) * u.deg, pull * region.radius * u.deg)
        return there.ra.deg, there.dec.deg
    if isinstance(region, Box):
        wide = (region.ra2 - region.ra1) % 360 or 360
        other = random.permutation(pull)
        return (region.ra1 + wide * pull) % 360, region.dec1 + (region.dec2 - region.dec1) * other
    assert isinstance(region, Pixels)
    deep = min(29, region.order + 8)
    first = region.wanted[0] << 2 * (deep - region.order)
    return healpix.centres(deep, first + random.integers(0, 4 ** (deep - region.order), count))


def everywhere(seed: int, count: int = 200) -> Positions:
    random = np.random.default_rng(seed)
    return random.uniform(0, 360, count), np.degrees(np.arcsin(random.uniform(-1, 1, count)))


@given(region=REGIONS, order=ORDER, seed=SEED)
def test_every_position_inside_is_in_one_of_its_pixels(region: Region, order: int, seed: int) -> None:
    ra, dec = (np.concatenate(both) for both in zip(positions(region, seed), everywhere(seed), strict=True))
    inside = region.contains(ra, dec)
    pixels = region.pixels(order)
    assert np.all(np.diff(pixels) > 0), "sorted and distinct"
    assert pixels.size == 0 or 0 <= pixels[0] <= pixels[-1] < 12 * 4**order
    assert np.isin(healpix.pixel(ra, dec, order)[inside], pixels).all()


@given(region=REGIONS, seed=SEED, radius=st.floats(0, 60) | st.sampled_from([0.0, 0.18, 180.0]))
def test_a_disc_that_holds_a_position_of_the_region_touches_it(region: Region, seed: int, radius: float) -> None:
    random = np.random.default_rng(seed)
    ra, dec = positions(region, seed, 50)
    ra, dec = ra[(inside := region.contains(ra, dec))], dec[inside]
    away = SkyCoord(ra, dec, unit="deg").directional_offset_by(
        random.uniform(0, 360, len(ra)) * u.deg, radius * random.uniform(0, 0.999, len(ra)) * u.deg
    )
    assert region.touches(away.ra.deg, away.dec.deg, radius).all()


def test_a_box_near_a_pole_has_all_its_pixels() -> None:
    """Large pixels whose centres are far away in RA, as circles of declination are short there."""
    random = np.random.default_rng(1)
    for _ in range(300):
        ra1, dec1 = random.uniform(0, 360), random.uniform(50, 89)
        box = Box(ra1, (ra1 + random.uniform(1, 90)) % 360, dec1, min(dec1 + random.uniform(0.1, 20), 90.0))
        ra, dec = positions(box, int(random.integers(1000)), 50)
        inside = box.contains(ra, dec)
        for order in range(5):
            assert np.isin(healpix.pixel(ra, dec, order)[inside], box.pixels(order)).all()


@pytest.mark.parametrize(
    "region",
    [Cone(185.6, 0.1, 0.3), Cone(10, 89.9, 0.3), Box(359.8, 0.2, -1, 1), Box(10, 20, 88, 90), Pixels(6, [19456, 5])],
)
def test_supersets_are_not_the_whole_sky(region: Region) -> None:
    ra, dec = everywhere(1, 20_000)
    near = region.touches(ra, dec, 0.2)
    assert near.sum() <= region.contains(ra, dec).sum() + 30
    assert len(region.pixels(6)) < 120


@given(cone=CONES, seed=SEED)
def test_a_cone_is_what_astropy_says(cone: Cone, seed: int) -> None:
    ra, dec = everywhere(seed)
    separation = SkyCoord(cone.ra, cone.dec, unit="deg").separation(SkyCoord(ra, dec, unit="deg")).deg
    clear = np.abs(separation - cone.radius) > 1e-9
    assert np.array_equal(cone.contains(ra, dec)[clear], (separation <= cone.radius)[clear])


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("cone:0,0,1", [(359.5, 0), (0.5, 0), (360, 0.9), (1, 0)], [(358.9, 0), (180, 0), (1.0001, 0)]),
        ("cone:10,90,1", [(0, 90), (200, 89.5)], [(10, 88.9), (10, -90)]),
        ("cone:0,0,180", [(180, 0), (90, 90), (12, -80)], []),
        (
            "box:350,10,-5,5",
            [(355, 0), (0, 0), (360, 5), (350, -5), (10, 5)],
            [(349.9, 0), (10.1, 0), (180, 0), (0, 5.1)],
        ),
        ("box:10,20,-5,5", [(10, -5), (20, 5), (370, 0)], [(9.9, 0), (20.1, 0), (355, 0)]),
        ("box:0,360,-90,90", [(0, -90), (360, 90), (123, 4)], []),
        ("box:10,360,0,1", [(360, 0), (0, 0), (10, 1)], [(5, 0)]),
        ("healpix:4/1216,1173", [(0, 0), (359.9999, 0)], [(180, 0)]),
        ("all", [(0, 90), (360, -90), (12, 3)], []),
    ],
)
def test_borders_belong_and_ra_wraps(
    text: str, inside: list[tuple[float, float]], outside: list[tuple[float, float]]
) -> None:
    region = parse_region(text)
    given = [region.contains(np.array([ra]), np.array([dec])).item() for ra, dec in inside + outside]
    assert given == [True] * len(inside) + [False] * len(outside)


@pytest.fixture(params=["all", "cone:10,20,180", "box:0,360,-90,90", "healpix:0/0,1,2,3,4,5,6,7,8,9,10,11", "moc"])
def wide(request: pytest.FixtureRequest, tmp_path: Path) -> Region:
    if request.param == "moc":
        MOC.from_healpix_cells(np.arange(12), depth=0, max_depth=0).save(tmp_path / "all.fits", format="fits")
        return Moc(tmp_path / "all.fits")
    return parse_region(request.param)


def test_what_is_no_position_is_nowhere(wide: Region) -> None:
    ra = np.array([np.nan, 1.0, np.inf, 1.0, 1.0, 1.0, -np.inf, 1.0])
    dec = np.array([1.0, np.nan, 1.0, np.inf, -999.0, 90.1, 1.0, 1.0])
    assert wide.contains(ra, dec).tolist() == [False] * 7 + [True]


def test_single_numbers_are_positions_too(wide: Region) -> None:
    assert bool(wide.contains(10.0, 20.0))
    assert wide.touches(10.0, 20.0, 0.1).tolist() == [True]


@pytest.mark.parametrize("whole", [True, False])
def test_only_all_is_whole(whole: bool) -> None:
    region: Region = AllSky() if whole else Cone(0, 0, 180)
    assert region.whole is whole


@pytest.mark.parametrize("suffix", ["fits", "json"])
def test_a_moc_comes_back_from_its_file(tmp_path: Path, suffix: str) -> None:
    moc = MOC.from_cone(185.6 * u.deg, 35.7 * u.deg, radius=2 * u.deg, max_depth=12)
    file = tmp_path / f"cover.{suffix}"
    moc.save(file, format=suffix)
    region = parse_region(f"moc:{file}")
    assert isinstance(region, Moc)
    assert region.moc == moc
    assert str(region) == f"moc:{file}"
    ra, dec = positions(Cone(185.6, 35.7, 2.5), 1, 2000)
    inside = region.contains(ra, dec)
    assert 0 < inside.sum() < 2000
    for order in (3, 8, 12, 14):
        assert np.isin(healpix.pixel(ra, dec, order)[inside], region.pixels(order)).all()
    assert region.touches(ra, dec, 0.0)[inside].all()
    assert not region.touches(5.0, -35.0, 1.0).any()


def test_an_empty_moc_holds_nothing(tmp_path: Path) -> None:
    MOC.new_empty(8).save(tmp_path / "none.fits", format="fits")
    region = Moc(tmp_path / "none.fits")
    assert not region.contains(np.array([1.0]), np.array([2.0])).any()
    assert region.pixels(5).size == 0
    assert not region.touches(np.array([1.0]), np.array([2.0]), 180.0).any()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("circle:1,2,3", "Unknown region"),
        ("", "Unknown region"),
        ("cone:1,2", "needs 3 numbers"),
        ("cone:1,2,3,4", "needs 3 numbers"),
        ("cone:a,b,c", "needs 3 numbers"),
        ("cone:nan,0,1", "needs 3 numbers"),
        ("cone:0,0,inf", "needs 3 numbers"),
        ("cone:-1,0,1", "A cone needs"),
        ("cone:361,0,1", "A cone needs"),
        ("cone:0,91,1", "A cone needs"),
        ("cone:0,0,0", "A cone needs"),
        ("cone:0,0,181", "A cone needs"),
        ("box:1,2,3", "needs 4 numbers"),
        ("box:1,1,0,1", "A box needs"),
        ("box:0,1,1,1", "A box needs"),
        ("box:0,1,2,1", "A box needs"),
        ("box:0,361,0,1", "A box needs"),
        ("box:0,1,-91,1", "A box needs"),
        ("healpix:5", "not healpix:ORDER/PIX"),
        ("healpix:5/", "not healpix:ORDER/PIX"),
        ("healpix:x/1", "not healpix:ORDER/PIX"),
        ("healpix:5/1.5", "not healpix:ORDER/PIX"),
        ("healpix:0/12", r"pixels of 0\.\.11"),
        ("healpix:5/-1", "pixels of 0"),
        ("healpix:-1/0", r"order of 0\.\.29"),
        ("healpix:30/0", r"order of 0\.\.29"),
        ("healpix:29/99999999999999999999999", "pixels of 0"),
        ("moc:/nowhere/x.fits", "no such file"),
        ("moc:", "no such file"),
    ],
)
def test_bad_regions_say_what_is_allowed(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_region(text)


@pytest.mark.parametrize("name", ["x.fits", "x.json"])
def test_a_file_that_is_no_moc_is_said_so(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("words")
    with pytest.raises(UsageError, match="not a MOC"):
        Moc(tmp_path / name)


@given(region=REGIONS)
def test_the_text_gives_the_same_region_again(region: Region) -> None:
    again = parse_region(region.text)
    assert again.text == region.text
    assert {**vars(again), "wanted": 0} == {**vars(region), "wanted": 0}
