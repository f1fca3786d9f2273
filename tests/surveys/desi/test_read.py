"""Coadd files to records: the merge of the arms, the line-spread function, and what is told when a file is bad."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

from mmu.archive import rendering
from mmu.errors import FormatError
from mmu.fits import open_fits
from mmu.simulate import Sky
from mmu.survey import File, Group
from surveys.desi import DR1_MAIN, EDR_SV3, archive, simulate
from surveys.desi.coadd import ARMS, PIXELS, Arm, lattice, lsf_variance, merge
from surveys.desi.read import merged_spectra, read
from surveys.desi.simulate_targets import RELEASES, observe

SKY = Sky()


@pytest.fixture(scope="session")
def unit(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The smallest unit of a release: (name, paths)."""
    root = tmp_path_factory.mktemp("desi")

    def make(release: Any) -> tuple[str, dict[str, Path]]:
        sizes = {path: size for path, size in simulate.files(release.name, SKY).items() if "/coadd-" in path}
        _, survey, program, pixel = Path(min(sizes, key=lambda path: sizes[path])).stem.split("-")
        name = archive.unit_name(pixel, survey, program)
        paths = {file.path: root / file.path for file in archive.files(release, name)}
        for path, place in paths.items():
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                rendering.render("surveys.desi", path, SKY, place)
        return name, paths

    return make


def _targets(paths: dict[str, Path]) -> np.ndarray:
    return np.asarray(fits.getdata(next(iter(paths.values())), "FIBERMAP")["TARGETID"]).astype(np.int64)


def _rows(target: np.ndarray) -> pa.Table:
    return pa.table({"object_id": target.astype(str)})


def _arms(count: int, rng: np.random.Generator) -> dict[str, Arm]:
    arms = {}
    for name, (_, pixels) in ARMS.items():
        shape = (count, pixels)
        flux, ivar = rng.normal(1, 1, shape).astype("f4"), rng.uniform(0.5, 2, shape).astype("f4")
        mask = np.where(rng.random(shape) < 0.1, 4, 0).astype("i4")
        ivar[rng.random(shape) < 0.05] = 0
        arms[name] = Arm(flux, ivar, mask, rng.uniform(0.5, 1, shape).astype("f4"))
    return arms


def _plain_merge(arms: dict[str, Arm], row: int, pixel: int) -> tuple[float, float, int]:
    """One pixel by the rules of `coadd_cameras`, in the plainest words."""
    seen = []
    for name, (start, pixels) in ARMS.items():
        if start <= pixel < start + pixels:
            arm, at = arms[name], pixel - start
            seen.append((float(arm.flux[row, at]), float(arm.ivar[row, at]), int(arm.mask[row, at])))
    clean = [(flux, ivar) for flux, ivar, bits in seen if bits == 0]
    total = sum(ivar for _, ivar in clean)
    bits = 0
    if total == 0:
        clean = [(flux, ivar) for flux, ivar, _ in seen]
        total = sum(ivar for _, ivar in clean)
        bits = int(np.bitwise_or.reduce([mask for _, _, mask in seen]))
    return (sum(f * i for f, i in clean) / total if total else 0.0), total, bits


def test_merging_follows_the_plain_rules() -> None:
    rng = np.random.default_rng(1)
    arms = _arms(3, rng)
    merged = merge(arms, 3)
    overlap = [*range(2690, 2760), *range(4890, 5035)]
    for row in range(3):
        for pixel in [0, 7780, *overlap, *rng.integers(0, PIXELS, 200).tolist()]:
            flux, ivar, bits = _plain_merge(arms, row, pixel)
            assert merged.flux[row, pixel] == pytest.approx(flux, rel=1e-5, abs=1e-6)
            assert merged.ivar[row, pixel] == pytest.approx(ivar, rel=1e-5)
            assert merged.maskbits[row, pixel] == bits
            assert merged.mask[row, pixel] == (bits != 0 or ivar <= 1e-6)


def test_the_grid_is_the_archives() -> None:
    assert lattice()[[0, -1]] == pytest.approx([3600.0, 9824.0])
    assert max(start + pixels for start, pixels in ARMS.values()) == PIXELS == 7781


def test_a_missing_arm_leaves_the_others() -> None:
    arms = _arms(2, np.random.default_rng(2))
    whole = merge(arms, 2)
    del arms["R"]
    merged = merge(arms, 2)
    gap = slice(2751, 4900)
    assert merged.mask[:, gap].all()
    assert not merged.ivar[:, gap].any()
    assert not merged.flux[:, gap].any()
    np.testing.assert_array_equal(merged.flux[:, :2700], whole.flux[:, :2700])
    assert np.isfinite(merged.lsf_sigma).all()


def test_values_that_are_no_numbers_become_missing_pixels() -> None:
    arms = _arms(1, np.random.default_rng(3))
    arms["B"].flux[0, 10], arms["B"].ivar[0, 20], arms["B"].ivar[0, 30] = np.nan, np.inf, -1
    arms["B"].flux[0, 2720] = np.nan
    merged = merge(arms, 1)
    assert merged.mask[0, [10, 20, 30]].all()
    assert np.isfinite(merged.flux).all()
    assert np.isfinite(merged.ivar).all()
    assert (merged.ivar >= 0).all()


def _kernel(sigma: np.ndarray) -> np.ndarray:
    """Diagonals of the matrix whose row i is a Gaussian of sigma[i] pixels: (1, 11, L)."""
    offset = 5 - np.arange(11)[:, None]
    row = np.arange(len(sigma))[None, :] - offset
    width = sigma[np.clip(row, 0, len(sigma) - 1)]
    data = np.exp(-0.5 * (offset / width) ** 2)
    return np.where((row >= 0) & (row < len(sigma)), data / 2.5066 / width, 0)[None].astype("f4")


def test_the_width_is_that_of_each_pixels_own_row() -> None:
    sigma = np.linspace(0.7, 1.4, 300)
    sigma[150:] += 0.1  # a step shows whether columns are taken for rows
    found = np.sqrt(lsf_variance(_kernel(sigma)))[0]
    np.testing.assert_allclose(found[10:-10], sigma[10:-10], rtol=0.005)
    np.testing.assert_allclose(found, sigma, rtol=0.03)


def test_a_pixel_without_a_kernel_takes_its_spectrums_width() -> None:
    data = _kernel(np.full(300, 0.9))
    data[:, :, 100:130] = 0
    variance = lsf_variance(data)
    assert variance[0, 115] == 0
    arms = _arms(1, np.random.default_rng(4))
    full = {name: Arm(arm.flux, arm.ivar, arm.mask, np.full_like(arm.flux, 0.81)) for name, arm in arms.items()}
    full["B"].variance[0, 50:60] = 0
    np.testing.assert_allclose(merge(full, 1).lsf_sigma, 0.9 * 0.8, rtol=1e-4)


def test_an_arm_with_no_kernel_at_all_is_unknown() -> None:
    assert not lsf_variance(np.zeros((2, 11, 50), dtype="f4")).any()


@pytest.mark.parametrize("release", [DR1_MAIN, EDR_SV3], ids=lambda release: release.name)
def test_a_unit_becomes_records(release: Any, unit: Any) -> None:
    name, paths = unit(release)
    target = _targets(paths)[::-1][:20]
    records = read(release, name, paths, _rows(target))
    assert records.excluded == {}
    table = records.table
    assert table.schema.names == release.schema.names
    assert sorted(table["object_id"].to_pylist()) == sorted(target.astype(str).tolist())
    listed = fits.getdata(next(iter(paths.values())), "FIBERMAP")
    order = {int(one): index for index, one in enumerate(listed["TARGETID"])}
    rows = [order[one] for one in table["TARGETID"].to_pylist()]
    np.testing.assert_array_equal(table["EBV"].to_numpy(), listed["EBV"][rows])
    np.testing.assert_array_equal(table["ra"].to_numpy(), listed["TARGET_RA"][rows])
    assert table["MORPHTYPE"].to_pylist() == [str(text).strip() for text in listed["MORPHTYPE"][rows]]
    redshifts = fits.getdata(list(paths.values())[1], "REDSHIFTS")
    np.testing.assert_array_equal(table["ZWARN"].to_numpy(), redshifts["ZWARN"][rows])
    assert (table["HEALPIX"].to_numpy() == int(name[:5])).all()
    spectrum = table["spectrum"].to_pylist()[0]
    assert {key: len(value) for key, value in spectrum.items()} == dict.fromkeys(spectrum, PIXELS)


@pytest.mark.parametrize("release", [DR1_MAIN, EDR_SV3], ids=lambda release: release.name)
def test_pixels_are_the_files_own(release: Any, unit: Any) -> None:
    """Signed and unsigned masks alike: outside the overlaps, what the file says."""
    _, paths = unit(release)
    coadd = next(iter(paths.values()))
    target = _targets(paths)
    with open_fits(coadd) as file:
        merged = merged_spectra(file, target)
    with fits.open(coadd) as hdus:
        for arm, lattice_pixels, own in (
            ("B", slice(0, 2700), slice(0, 2700)),
            ("Z", slice(5026, None), slice(126, None)),
        ):
            mask = hdus[f"{arm}_MASK"].data[:, own]
            ivar = hdus[f"{arm}_IVAR"].data[:, own]
            np.testing.assert_array_equal(merged.maskbits[:, lattice_pixels], mask)
            np.testing.assert_array_equal(merged.ivar[:, lattice_pixels], ivar)
            np.testing.assert_array_equal(merged.mask[:, lattice_pixels], (mask != 0) | (ivar <= 1e-6))
            good = ivar > 0
            np.testing.assert_array_equal(merged.flux[:, lattice_pixels][good], hdus[f"{arm}_FLUX"].data[:, own][good])


def test_the_simulated_width_comes_back(unit: Any) -> None:
    name, paths = unit(DR1_MAIN)
    coadd, target = next(iter(paths.values())), _targets(paths)
    _, survey, program, pixel = coadd.stem.split("-")
    spec = RELEASES["dr1_main"]
    observed = observe(spec, SKY, program, int(pixel))
    with open_fits(coadd) as file:
        merged = merged_spectra(file, target)
    for arm, (start, pixels) in ARMS.items():
        truth = simulate._lsf(arm, observed.fibre) * 0.8
        own = slice(200, pixels - 200)
        here = slice(start + 200, start + pixels - 200)
        np.testing.assert_allclose(merged.lsf_sigma[:, here], truth[:, own], rtol=0.01)
    assert (name, survey) == (archive.unit_name(pixel, survey, program), "main")


def test_rows_are_matched_by_target_whatever_the_order(unit: Any, tmp_path: Path) -> None:
    name, paths = unit(DR1_MAIN)
    target = _targets(paths)[:6]
    coadd, redrock = paths
    shuffled = tmp_path / "redrock.fits"
    with fits.open(paths[redrock]) as hdus:
        for table in ("REDSHIFTS", "TSNR2"):
            hdus[table].data = hdus[table].data[::-1].copy()
        hdus.writeto(shuffled)
    straight = read(DR1_MAIN, name, paths, _rows(target)).table
    turned = read(DR1_MAIN, name, {coadd: paths[coadd], redrock: shuffled}, _rows(target[::-1])).table
    assert straight.equals(turned)


def test_targets_that_a_file_lacks_or_repeats_are_told(unit: Any, tmp_path: Path) -> None:
    name, paths = unit(DR1_MAIN)
    coadd, redrock = paths
    target = _targets(paths)[:4]
    short = tmp_path / "redrock.fits"
    with fits.open(paths[redrock]) as hdus:
        hdus["REDSHIFTS"].data = hdus["REDSHIFTS"].data[np.r_[0, 0, 2 : len(hdus["REDSHIFTS"].data)]]
        hdus.writeto(short)
    rows = _rows(np.append(target, 7))
    records = read(DR1_MAIN, name, {coadd: paths[coadd], redrock: short}, rows)
    assert records.excluded == {
        "7": "not in the redrock file",
        str(target[0]): "more than once in the redrock file",
        str(target[1]): "not in the redrock file",
    }
    assert records.table.num_rows == 2


def test_no_rows_give_an_empty_table(unit: Any) -> None:
    name, paths = unit(DR1_MAIN)
    records = read(DR1_MAIN, name, paths, _rows(np.empty(0, dtype=np.int64)))
    assert records.table.num_rows == 0
    assert records.table.schema.names == DR1_MAIN.schema.names


def test_compressed_planes_are_read_by_name(unit: Any, tmp_path: Path) -> None:
    _, paths = unit(EDR_SV3)
    coadd, target = next(iter(paths.values())), _targets(paths)[3:7]
    packed = tmp_path / "coadd.fits"
    with fits.open(coadd) as hdus:
        kept: list[Any] = [hdus[0], hdus["FIBERMAP"]]
        for arm in ARMS:
            kept += [hdus[f"{arm}_{kind}"] for kind in ("WAVELENGTH", "FLUX", "IVAR", "RESOLUTION")]
            kept.append(fits.CompImageHDU(hdus[f"{arm}_MASK"].data, name=f"{arm}_MASK"))
        fits.HDUList(kept).writeto(packed)
    with open_fits(coadd) as plain, open_fits(packed) as tight:
        first, second = merged_spectra(plain, target), merged_spectra(tight, target)
    np.testing.assert_array_equal(first.maskbits, second.maskbits)
    np.testing.assert_array_equal(first.flux, second.flux)


@pytest.mark.parametrize("damage", ["truncated", "no HDU", "wrong grid", "wrong shape", "no column"])
def test_bad_files_are_told_in_a_sentence(damage: str, unit: Any, tmp_path: Path) -> None:
    name, paths = unit(DR1_MAIN)
    coadd, redrock = paths
    bad = tmp_path / "coadd-bad.fits"
    if damage == "truncated":
        shutil.copy(paths[coadd], bad)
        with bad.open("r+b") as file:
            file.truncate(bad.stat().st_size // 2)
    else:
        with fits.open(paths[coadd]) as hdus:
            if damage == "no HDU":
                del hdus["Z_RESOLUTION"]
            elif damage == "wrong grid":
                hdus["B_WAVELENGTH"].data = hdus["B_WAVELENGTH"].data + 0.4
            elif damage == "wrong shape":
                hdus["B_IVAR"].data = hdus["B_IVAR"].data[:, :-1]
            else:
                hdus["FIBERMAP"].columns.del_col("EBV")
            hdus.writeto(bad)
    with pytest.raises(FormatError, match=r"coadd-bad\.fits: .*fetch it again"):
        read(DR1_MAIN, name, {coadd: bad, redrock: paths[redrock]}, _rows(_targets(paths)[:2]))


@pytest.mark.parametrize("how", ["one less", "another order"])
def test_spectra_that_are_not_beside_their_targets_are_refused(how: str, unit: Any, tmp_path: Path) -> None:
    """Rows of FIBERMAP alone say whose spectrum is whose: one row off, and every object has its neighbour's."""
    name, paths = unit(DR1_MAIN)
    coadd, redrock = paths
    bad = tmp_path / "coadd-bad.fits"
    with fits.open(paths[coadd]) as hdus:
        rows = hdus["FIBERMAP"].data
        hdus["FIBERMAP"].data = rows[1:] if how == "one less" else rows[::-1].copy()
        if how == "one less":
            hdus["SCORES"].data = hdus["SCORES"].data[1:]
        hdus.writeto(bad)
    said = "spectra, FIBERMAP .* targets" if how == "one less" else "FIBERMAP and SCORES list different targets"
    with pytest.raises(FormatError, match=rf"coadd-bad\.fits: .*{said}"):
        read(DR1_MAIN, name, {coadd: bad, redrock: paths[redrock]}, _rows(_targets(paths)[1:3]))


@pytest.mark.parametrize("kind", ["coadd", "redrock"])
def test_a_file_of_another_pixel_is_refused(kind: str, unit: Any, tmp_path: Path) -> None:
    name, paths = unit(DR1_MAIN)
    path = next(path for path in paths if kind in path)
    bad = tmp_path / Path(path).name
    with fits.open(paths[path]) as hdus:
        hdus[0].header["SPGRPVAL"] = 12345
        hdus.writeto(bad)
    with pytest.raises(FormatError, match=rf"{kind}-.* it is of the pixel, survey and program 12345-main-"):
        read(DR1_MAIN, name, {**paths, path: bad}, _rows(_targets(paths)[:2]))
    if kind == "redrock":
        with pytest.raises(FormatError, match="it is of the pixel"):
            archive.select(DR1_MAIN, Group(name[:5], (File(path, 1),)), {path: bad})
