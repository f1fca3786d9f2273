"""Maps: counts, areas and overlaps are those of the positions; the view follows the extent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmu.dataset import Dataset
from mmu.errors import UsageError
from mmu.look import draw_sky
from mmu.look.sky import SPHERE_SQ_DEG, Density, View, cell_area, coverage_of, density_of, view_of
from mmu.look.sphere import draw_cells, polygons
from mmu.look.style import figure
from mmu.sky import healpix
from mmu.sky.projection import gnomonic, mollweide
from tests.crossmatch.catalogues import table_of, write_hats


def disc(folder: Path, ra: float, dec: float, radius: float, count: int = 4000, sky: bool = True) -> Dataset:
    """Objects evenly over a disc."""
    random = np.random.default_rng(7)
    away, turn = radius * np.sqrt(random.random(count)), 2 * np.pi * random.random(count)
    decs = dec + away * np.cos(turn)
    return Dataset(
        write_hats(folder, table_of((ra + away * np.sin(turn) / np.cos(np.radians(decs)), decs), "o"), (4,), sky=sky)
    )


@pytest.mark.parametrize("sky", [True, False])
def test_counts_and_area(tmp_path: Path, sky: bool) -> None:
    coverage = coverage_of({"a": disc(tmp_path / "a", 150.0, 2.0, 1.0, sky=sky)})
    one = coverage.densities["a"]
    assert one.objects == 4000
    assert one.area == pytest.approx(np.pi, rel=0.1)
    assert not coverage.view.wide
    assert (coverage.view.ra, coverage.view.dec) == pytest.approx((150.0, 2.0), abs=0.1)
    assert coverage.view.extent == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize(("dec", "radius"), [(0.0, 0.01), (-45.0, 0.3), (87.0, 2.0), (10.0, 20.0)])
def test_fields_of_any_size_have_their_axes_told_and_no_cell_cut(tmp_path: Path, dec: float, radius: float) -> None:
    coverage = coverage_of({"a": disc(tmp_path / "a", 150.0, dec, radius, 300)})
    one = coverage.densities["a"]
    with figure(tmp_path / "sky.png", 5, 4) as made_figure:
        axis = draw_cells(
            made_figure, made_figure.add_gridspec(1, 1)[0], coverage.view, one.order, one.pixels, one.counts, ""
        )
        low, high = axis.get_xlim()
        assert low > high  # east is left
        inside = [at for at in axis.get_xticks() if high <= at <= low]
        assert len(inside) >= 2 or dec > 80  # meridians meet at the pole
        assert len([at for at in axis.get_yticks() if high <= at <= low]) >= 1
        points = np.concatenate([path.vertices for path in axis.collections[0].get_paths()])
        assert np.abs(points).max() < low
        assert (low, high) == (-high, -low)
        assert np.abs(points).max() > 0.6 * low  # ticks beyond its edge do not widen the map


def test_overlap_of_two_discs(tmp_path: Path) -> None:
    """Half a diameter apart: a lens of 2 r^2 (pi/3 - sqrt(3)/4)."""
    discs = {name: disc(tmp_path / name, ra, 0.0, 1.0, 20_000) for name, ra in (("a", 0.0), ("b", 1.0))}
    coverage = coverage_of(discs)
    assert coverage.shared("a", "b") == pytest.approx(2 * (np.pi / 3 - np.sqrt(3) / 4), rel=0.15)
    pixels, depth = coverage.depth()
    assert (depth == 2).sum() * cell_area(coverage.order) == pytest.approx(coverage.shared("a", "b"))
    assert len(pixels) == len(np.union1d(coverage.densities["a"].pixels, coverage.densities["b"].pixels))


def test_the_order_that_is_asked_for(tmp_path: Path) -> None:
    dataset = disc(tmp_path / "a", 10.0, -45.0, 3.0)
    assert coverage_of({"a": dataset}, 5).order == 5
    with pytest.raises(UsageError, match="0 to 14"):
        coverage_of({"a": dataset}, 15)


def test_nothing_at_all_is_said(tmp_path: Path) -> None:
    empty = Dataset(write_hats(tmp_path / "e", table_of((np.empty(0), np.empty(0)), "o"), (4,)))
    with pytest.raises(UsageError, match="nothing to show"):
        draw_sky({"e": empty}, tmp_path / "sky.png")


def test_one_of_several_may_be_empty(tmp_path: Path) -> None:
    empty = Dataset(write_hats(tmp_path / "e", table_of((np.empty(0), np.empty(0)), "o"), (4,)))
    assert draw_sky({"a": disc(tmp_path / "a", 0.0, 89.5, 0.3), "e": empty}, tmp_path / "sky.png").is_file()


@pytest.mark.parametrize(
    ("ra", "dec", "wide"),
    [([359.9, 0.1], [0.0, 0.0], False), ([0.0, 180.0], [89.0, 89.0], False), ([0.0, 120.0, 240.0], [0.0] * 3, True)],
)
def test_the_view_knows_of_ra_0_and_of_poles(ra: list[float], dec: list[float], wide: bool) -> None:
    pixels = np.unique(healpix.pixel(ra, dec, 14))
    view = view_of([Density(14, pixels, np.ones(len(pixels), dtype=np.int64))])
    assert view.wide == wide
    if not wide:
        assert view.extent < 3


def test_the_whole_sky_is_drawn_as_such(tmp_path: Path) -> None:
    random = np.random.default_rng(8)
    ra, dec = 360 * random.random(3000), np.degrees(np.arcsin(random.uniform(-1, 1, 3000)))
    dataset = Dataset(write_hats(tmp_path / "a", table_of((ra, dec), "o"), (2,)))
    coverage = coverage_of({"a": dataset})
    assert coverage.view.wide
    assert coverage.densities["a"].area > 0.9 * SPHERE_SQ_DEG
    path = draw_sky({"a": dataset}, tmp_path / "sky.png")
    first = path.read_bytes()
    draw_sky({"a": dataset}, tmp_path / "sky.png")
    assert path.read_bytes() == first


def test_cells_are_where_they_should_be() -> None:
    """Their polygons on the tangent plane hold their centres, and cover their area."""
    pixels = np.unique(healpix.pixel(200 + np.linspace(-1, 1, 30), 40 + np.linspace(-1, 1, 30), 8))
    view = view_of([Density(8, pixels, np.ones(len(pixels), dtype=np.int64))])
    shapes, kept = polygons(view, 8, pixels)
    np.testing.assert_array_equal(kept, np.arange(len(pixels)))
    x, y = gnomonic(*healpix.centres(8, pixels), view.ra, view.dec)
    np.testing.assert_allclose(shapes.mean(axis=1), np.stack([x, y], axis=1), atol=0.01)
    across, up = shapes[..., 0], shapes[..., 1]
    area = np.abs((across * np.roll(up, -1, 1) - up * np.roll(across, -1, 1)).sum(axis=1)) / 2
    np.testing.assert_allclose(area, cell_area(8), rtol=0.01)


def test_gnomonic_distances() -> None:
    x, y = gnomonic([150.0, 151.0, 150.0, 330.0], [20.0, 20.0, 21.0, -20.0], 150.0, 20.0)
    np.testing.assert_allclose([x[0], y[0]], 0.0, atol=1e-12)
    assert x[1] == pytest.approx(np.cos(np.radians(20.0)), rel=1e-3)  # east grows with RA
    assert y[2] == pytest.approx(1.0, rel=1e-3)
    assert np.isnan(x[3])


def test_densities_add_up_at_every_order(tmp_path: Path) -> None:
    fine = density_of(disc(tmp_path / "a", 30.0, 30.0, 2.0, 500))
    assert all(fine.at(order).objects == 500 for order in range(15))


def test_mollweide_keeps_areas_and_fills_its_ellipse() -> None:
    x, y = mollweide([180.0, 180.0, 180.0, 0.001], [0.0, 90.0, -90.0, 0.0], 180.0)
    np.testing.assert_allclose(x, [0.0, 0.0, 0.0, np.sqrt(8)], atol=1e-4)
    np.testing.assert_allclose(y, [0.0, np.sqrt(2), -np.sqrt(2), 0.0], atol=1e-4)
    pixels = np.arange(12 * 4**4)
    shapes, kept = polygons(View(180.0, 0.0, 360.0), 4, pixels)
    across, up = shapes[..., 0], shapes[..., 1]
    area = np.abs((across * np.roll(up, -1, 1) - up * np.roll(across, -1, 1)).sum(axis=1)) / 2
    whole = np.bincount(kept, area)  # those that the edge cuts are there in two parts
    away = np.abs(healpix.centres(4, pixels)[1]) < 80
    np.testing.assert_allclose(whole[away], 4 * np.pi / len(pixels), rtol=0.03)
    assert whole.sum() == pytest.approx(4 * np.pi, rel=0.01)
    assert 1.0 < len(kept) / len(pixels) < 1.05
