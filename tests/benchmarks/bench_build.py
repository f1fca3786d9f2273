"""Cost per object as a build grows: 1 000 and 5 000 DESI objects through the whole engine, from local raw files.

Run as `python tests/benchmarks/bench_build.py`. The raw files are one simulated coadd copied under other pixels'
names with other ids and positions, so the reader, the spool, the shards and the ledger do real work.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits

sys.path.insert(0, str(Path(__file__).parents[2]))

from mmu.build.run import build
from mmu.build.spec import BuildSpec
from mmu.simulate import Sky
from mmu.sky import healpix
from mmu.survey import get_survey

PER_COADD = 100


def write_archive(folder: Path, coadds: int) -> None:
    """`coadds` coadd/redrock pairs of the same 100 targets, each at its own pixel with its own ids."""
    survey = get_survey("desi")
    sky = Sky()
    listed = survey.simulator.files("dr1_main", sky)
    name = max((n for n in listed if "/coadd-main-dark" in n), key=lambda n: listed[n])
    pixel = int(name.rsplit("-", 1)[1].removesuffix(".fits"))
    sources = {}
    for kind in ("coadd", "redrock"):
        path = folder / f"{kind}.fits"
        survey.simulator.write(name.replace("coadd-main", f"{kind}-main"), sky, path)
        sources[kind] = path
    tiles = []
    for number in range(coadds):
        wanted = pixel + 7 + number
        tiles.append(wanted)
        for kind, path in sources.items():
            target = folder / "dr1/spectro/redux/iron/healpix/main/dark" / str(wanted // 100) / str(wanted)
            target.mkdir(parents=True, exist_ok=True)
            _moved(path, target / f"{kind}-main-dark-{wanted}.fits", wanted, number)
    table = np.array([(1, "main", "dark", 0, tile) for tile in tiles], dtype="i4,S7,S6,i2,i4")
    table.dtype.names = ("TILEID", "SURVEY", "PROGRAM", "PETAL_LOC", "HEALPIX")
    header = fits.Header({"HPXNSIDE": 64, "HPXNEST": True})
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(table, header, "TILEPIX")]).writeto(
        folder / "dr1/spectro/redux/iron/healpix/tilepix.fits"
    )
    for path in sources.values():
        path.unlink()


def _moved(source: Path, target: Path, pixel: int, number: int) -> None:
    """The same spectra as other targets: ids shifted, positions spread over the pixel, all good targets."""
    children = healpix.at_order([pixel], 6, 12)[:: 4096 // PER_COADD][:PER_COADD]
    ra, dec = healpix.centres(12, children)
    with fits.open(source) as hdus:
        out = fits.HDUList()
        first = np.flatnonzero(hdus["FIBERMAP"].data["OBJTYPE"] == "TGT")
        chosen = np.resize(first, PER_COADD)
        for hdu in hdus:
            if hdu.data is None or hdu.name.endswith("WAVELENGTH"):
                out.append(hdu.copy())
                continue
            if hdu.name == "EXP_FIBERMAP":
                continue
            data = hdu.data[chosen].copy()
            if data.dtype.names:
                for key, values in (("TARGETID", 10**12 * (number + 1) + np.arange(PER_COADD)), ("TARGET_RA", ra),
                                    ("TARGET_DEC", dec), ("OBJTYPE", "TGT"), ("COADD_FIBERSTATUS", 0)):  # fmt: skip
                    if key in data.dtype.names:
                        data[key] = values
            out.append(type(hdu)(data, hdu.header))
        out.writeto(target)


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "archive"
        folder.mkdir()
        write_archive(folder, 50)
        rates = {}
        for objects in (1000, 5000):
            spec = BuildSpec(
                "desi", Path(scratch) / f"out-{objects}", source=str(folder), max_objects=objects, workers=0,
                partition_bytes=100_000_000,
            )  # fmt: skip
            started = time.perf_counter()
            report = build(spec)
            seconds = time.perf_counter() - started
            written = report.counts["written"]
            rates[objects] = seconds / written
            print(  # noqa: T201
                f"build {written} DESI objects, one process: {seconds:.1f} s, {written / seconds:.0f} objects/s, "
                f"{1e3 * rates[objects]:.2f} ms each, {report.shards} shards"
            )
        print(f"cost per object, 5000 against 1000: {rates[5000] / rates[1000]:.2f}x")  # noqa: T201
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"peak memory {peak:.2f} GB")  # noqa: T201


if __name__ == "__main__":
    main()
