"""The simulated spectroscopic archive: files like the real ones, spectra that agree with the sky."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from mmu.simulate import Field, Sky
from mmu.simulate.photometry import band_flux
from mmu.simulate.sky import healpix
from surveys.desi.simulate import files, write

SKY = Sky()
MAIN, SV3 = "dr1_main", "edr_sv3"
ROOT = "dr1/spectro/redux/iron"
SKY_HALF = Sky(fields=(Field("half", 185.7, 0.2, 0.1),))


def _real(name: str) -> Path:
    root = os.environ.get("MMU_REAL_DATA")
    if not root or not (Path(root) / "desi" / name).exists():
        pytest.skip("MMU_REAL_DATA is not set, or lacks the file: no real file to compare with")
    return Path(root) / "desi" / name


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Writes a file of the archive once and returns where it is."""
    root = tmp_path_factory.mktemp("archive")
    done: dict[str, Path] = {}

    def get(path: str) -> Path:
        if path not in done:
            done[path] = root / path.rpartition("/")[2]
            write(path, SKY, done[path])
        return done[path]

    return get


def _coadd(release: str, program: str) -> str:
    """The smallest coadd of a release and program."""
    sizes = {path: size for path, size in files(release, SKY).items() if f"/{program}/" in path and "coadd" in path}
    return min(sizes, key=lambda path: sizes[path])


@pytest.fixture(scope="module")
def zcatalog(archive: Any) -> Any:
    return fits.getdata(archive(f"{ROOT}/zcatalog/v1/zall-pix-iron.fits"), 1)


def test_the_archive_lists_pairs_and_leaves_one_out(archive: Any) -> None:
    for release, root, survey in ((MAIN, ROOT, "main"), (SV3, "edr/spectro/redux/fuji", "sv3")):
        paths = files(release, SKY)
        table = fits.getdata(archive(f"{root}/healpix/tilepix.fits"), 1)
        table = table[table["SURVEY"] == survey]
        listed = {(str(row["PROGRAM"]), int(row["HEALPIX"])) for row in table}
        there = {(path.split("/")[-4], int(path.split("/")[-2])) for path in paths if "coadd" in path}
        assert len(listed - there) == 1
        assert there < listed
        assert {path.replace("coadd", "redrock") for path in paths if "coadd" in path} < set(paths)
    assert len({pixel // 16 for _, pixel in there}) == 4  # order-4 pixels


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    for path in (f"{ROOT}/healpix/main/dark/1/100/coadd-main-dark-100.fits", "dr2/x", f"{ROOT}/nothing"):
        with pytest.raises(FileNotFoundError, match="files\\(\\)"):
            write(path, SKY, tmp_path / "x")
    with pytest.raises(ValueError, match="allowed are dr1_main"):
        files("dr2_main", SKY)


def test_the_same_file_is_the_same_bytes(archive: Any, tmp_path: Path) -> None:
    coadd = _coadd(MAIN, "bright")
    for path in (coadd, coadd.replace("coadd", "redrock"), f"{ROOT}/zcatalog/v1/zall-pix-iron.fits"):
        write(path, Sky(2026), tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == archive(path).read_bytes()


@pytest.mark.parametrize(("release", "real"), [(MAIN, "coadd-4-80613-thru20210324.fits"),
                                           (SV3, "coadd-1-80693-thru20210204.fits")])  # fmt: skip
def test_coadds_have_the_hdus_and_types_of_real_ones(archive: Any, release: str, real: str) -> None:
    with fits.open(_real(real)) as theirs, fits.open(archive(_coadd(release, "bright"))) as ours:
        names = [hdu.name for hdu in theirs]
        assert [hdu.name for hdu in ours if hdu.name in names] == names
        for hdu in theirs[1:]:
            mine = ours[hdu.name]
            if isinstance(hdu, fits.BinTableHDU):
                for name in set(hdu.columns.names) & set(mine.columns.names):
                    assert mine.columns[name].format == hdu.columns[name].format, name
            else:
                assert mine.data.dtype == hdu.data.dtype, hdu.name
                assert mine.data.shape[1:] == hdu.data.shape[1:] or hdu.data.ndim == 1
                if "BUNIT" in hdu.header and "BUNIT" in mine.header:
                    assert mine.header["BUNIT"] == hdu.header["BUNIT"]


def test_redrock_tables_have_the_columns_of_a_real_one(archive: Any) -> None:
    path = _coadd(MAIN, "bright").replace("coadd", "redrock")
    with fits.open(_real("redrock-4-80613-thru20210324.fits")) as theirs, fits.open(archive(path)) as ours:
        assert [hdu.name for hdu in ours] == [hdu.name for hdu in theirs]
        for name in ("REDSHIFTS", "TSNR2", "EXP_FIBERMAP"):
            mine, real = ours[name].columns, theirs[name].columns
            assert [(c.name, c.format) for c in mine] == [(c.name, c.format) for c in real]


def test_coadd_tables_and_grids(archive: Any) -> None:
    with fits.open(archive(_coadd(MAIN, "dark"))) as hdus:
        header, n = hdus[0].header, len(hdus["FIBERMAP"].data)
        assert (header["SURVEY"], header["PROGRAM"], header["HPXNSIDE"], header["HPXNEST"]) == (
            "main",
            "dark",
            64,
            True,
        )
        lattice = np.unique(np.round(np.concatenate([hdus[f"{arm}_WAVELENGTH"].data for arm in "BRZ"]), 3))
        assert (len(lattice), lattice[0], lattice[-1]) == (7781, 3600.0, 9824.0)
        for arm in "BRZ":
            resolution = hdus[f"{arm}_RESOLUTION"].data
            assert resolution.shape == (n, 11, len(hdus[f"{arm}_WAVELENGTH"].data))
            np.testing.assert_allclose(resolution.sum(axis=1), 1.0, atol=1e-5)
            width = np.sqrt((resolution * (np.arange(11) - 5)[None, :, None] ** 2).sum(axis=1))
            assert width[:, 100].std() > 0.003
            assert np.all(width[:, 50] > width[:, -50])
            bad, ivar = hdus[f"{arm}_MASK"].data != 0, hdus[f"{arm}_IVAR"].data
            assert 0.0005 < bad.mean() < 0.02
            assert np.any(bad & (ivar > 0))
            assert np.any(bad & (ivar == 0))
        fibermap = hdus["FIBERMAP"].data
        assert np.all(np.diff(fibermap["TARGETID"]) > 0)
        assert len(hdus["EXP_FIBERMAP"].data) == fibermap["COADD_NUMEXP"].sum()
        target = fibermap[fibermap["OBJTYPE"] == "TGT"]
        number = target["TARGETID"].astype(np.int64)
        np.testing.assert_array_equal(number >> 42, target["RELEASE"])
        np.testing.assert_array_equal((number >> 22) & 0xFFFFF, target["BRICKID"])
        np.testing.assert_array_equal(number & 0x3FFFFF, target["BRICK_OBJID"])
        blank = fibermap["OBJTYPE"] == "SKY"
        assert blank.sum() >= 2
        assert np.all(fibermap["TARGETID"][blank] >> 59 & 1 == 1)


def _truth_of(table: Any, sky: Sky = SKY) -> tuple[Any, Any]:
    """Targets of a FIBERMAP and the truth at the same positions."""
    objects = sky.objects()
    key = {(float(o["ra"]), float(o["dec"])): i for i, o in enumerate(objects)}
    target = np.flatnonzero(table["OBJTYPE"] == "TGT")
    return target, objects[[key[float(table["TARGET_RA"][i]), float(table["TARGET_DEC"][i])] for i in target]]


def test_spectra_agree_with_truth_and_ivar(archive: Any) -> None:
    with fits.open(archive(_coadd(MAIN, "dark"))) as hdus:
        fibermap = hdus["FIBERMAP"].data
        rows, truth = _truth_of(fibermap)
        good = fibermap["COADD_FIBERSTATUS"][rows] == 0
        wave, flux, ivar = (hdus[f"R_{name}"].data for name in ("WAVELENGTH", "FLUX", "IVAR"))
        blank = (fibermap["OBJTYPE"] == "SKY") & (fibermap["COADD_FIBERSTATUS"] == 0)
        chi = (flux * np.sqrt(ivar))[blank]
        assert chi[ivar[blank] > 0].std() == pytest.approx(1.0, abs=0.03)
        # r-band flux of the spectrum against FIBERFLUX: the light that enters the fibre
        synthetic = band_flux(flux[rows].astype(float), wave, "r")
        fibre = fibermap["FIBERFLUX_R"][rows] / 0.77
        bright = good & (fibre > 3)
        assert bright.sum() > 5
        ratio = synthetic[bright] / fibre[bright]
        assert np.median(ratio) == pytest.approx(1.0, abs=0.06)  # the arm covers almost all of the band
        assert np.all(healpix(truth, 6) == hdus[0].header["HPXPIXEL"])


def test_redshifts_are_the_truth_s(archive: Any) -> None:
    with fits.open(archive(_coadd(SV3, "dark").replace("coadd", "redrock"))) as hdus:
        rows, truth = _truth_of(hdus["FIBERMAP"].data)
        found = hdus["REDSHIFTS"].data[rows]
        galaxy, sure = truth["kind"] == "galaxy", found["ZWARN"] == 0
        error = np.abs(found["Z"] - truth["z"])[galaxy & sure]
        assert error.max() < 1e-3
        assert np.mean(error < 3 * found["ZERR"][galaxy & sure]) > 0.98
        assert 0 < np.mean(~sure) < 0.25
        assert set(found["SPECTYPE"][galaxy]) == {"GALAXY"}


def test_primary_is_the_best_spectrum_of_a_target(zcatalog: Any) -> None:
    main = zcatalog[zcatalog["SURVEY"] == "main"]
    assert len(main) < len(zcatalog)
    ids, count = np.unique(main["TARGETID"], return_counts=True)
    assert np.all(main["MAIN_NSPEC"] == count[np.searchsorted(ids, main["TARGETID"])])
    assert np.sum(count == 2) > 50
    decided_by_zwarn = 0
    for target in ids[count == 2]:
        rows = main[main["TARGETID"] == target]
        best = min(rows, key=lambda row: (row["ZWARN"] != 0, -row["TSNR2_LRG"]))
        assert rows["MAIN_PRIMARY"].sum() == 1
        assert bool(best["MAIN_PRIMARY"])
        decided_by_zwarn += best["TSNR2_LRG"] < rows["TSNR2_LRG"].max()
    assert main["MAIN_PRIMARY"].sum() == len(ids)
    assert decided_by_zwarn > 0
    kept = main["MAIN_PRIMARY"] & (main["OBJTYPE"] == "TGT") & (main["COADD_FIBERSTATUS"] == 0)
    assert 800 < kept.sum() < len(main)


def test_zcatalog_is_the_sum_of_the_redrock_files(archive: Any, zcatalog: Any) -> None:
    main = zcatalog[zcatalog["SURVEY"] == "main"]
    total = 0
    for path in (path for path in files(MAIN, SKY) if "redrock" in path):
        with fits.open(archive(path)) as hdus:
            table, pixel, program = (
                hdus["REDSHIFTS"].data,
                hdus[0].header["HPXPIXEL"],
                hdus[0].header["PROGRAM"],
            )
            rows = main[(main["HEALPIX"] == pixel) & (main["PROGRAM"] == program)]
            for name in ("TARGETID", "Z", "ZWARN"):
                np.testing.assert_array_equal(rows[name], table[name])
            np.testing.assert_array_equal(rows["TSNR2_LRG"], hdus["TSNR2"].data["TSNR2_LRG"])
            total += len(rows)
    assert total == len(main)


def test_sv3_marks_its_own_primary(archive: Any) -> None:
    table = fits.getdata(archive("edr/spectro/redux/fuji/zcatalog/zall-pix-fuji.fits"), 1)
    assert table["SV_PRIMARY"].sum() == len(np.unique(table["TARGETID"][table["SURVEY"] == "sv3"]))
    assert not table["MAIN_PRIMARY"].any()
    assert np.any(table["SV3_DESI_TARGET"] != 0)


def test_a_small_field_needs_few_files() -> None:
    assert len([path for path in files(MAIN, SKY_HALF) if "coadd" in path]) in (2, 3)
