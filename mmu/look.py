"""Pictures of a dataset: stamps and spectra, as people would rather see them. Needs matplotlib (the `plot` extra)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mmu.dataset import Dataset
from mmu.errors import UsageError


def _pyplot() -> Any:
    try:
        import matplotlib as mpl
    except ImportError as problem:
        msg = "Pictures need matplotlib; install it with `pip install 'multimodal-universe[plot]'`."
        raise UsageError(msg) from problem
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def lupton_rgb(planes: np.ndarray[Any, Any], q: float = 8.0, stretch: float = 0.05) -> np.ndarray[Any, Any]:
    """An (H, W, 3) picture in 0..1 from three planes (red first), asinh-stretched at constant colour (Lupton et al. 2004)."""
    clean = np.nan_to_num(planes.astype(np.float64))
    intensity = np.maximum(clean.mean(axis=0), 1e-9)
    scaled = clean * (np.arcsinh(q * intensity / stretch) / q / intensity)
    return np.asarray(np.clip(np.moveaxis(scaled / max(np.percentile(scaled, 99.7), 1e-6), 0, -1), 0, 1))


def draw_stamps(dataset: Dataset, path: Path, count: int = 12) -> Path:
    """A sheet of colour stamps, north up and east left, with a 10 arcsec bar."""
    plt = _pyplot()
    rows = next(dataset.batches(columns=["object_id", "image"], batch_rows=count))
    wide = 4
    high = -(-len(rows["object_id"]) // wide)
    figure, axes = plt.subplots(high, wide, figsize=(2.4 * wide, 2.6 * high), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, name, flux, scale in zip(
        axes.flat, rows["object_id"], rows["image"]["flux"], rows["image"]["scale"], strict=False
    ):
        red, green, blue = flux[-1], flux[1], flux[0]
        axis.imshow(lupton_rgb(np.stack([red, green, blue])), origin="lower")
        axis.plot([8, 8 + 10 / scale[0]], [8, 8], color="white", lw=2)
        axis.set_title(name, fontsize=7)
    figure.suptitle(f"{dataset.survey} {dataset.release}: images (bar: 10 arcsec)", fontsize=10)
    return _save(plt, figure, path)


def draw_spectra(dataset: Dataset, path: Path, count: int = 5) -> Path:
    """Spectra one below the other, bad pixels left out, the noise as a band."""
    plt = _pyplot()
    rows = next(dataset.batches(columns=["object_id", "spectrum", "Z"], batch_rows=count))
    figure, axes = plt.subplots(
        len(rows["object_id"]), 1, figsize=(9, 1.7 * len(rows["object_id"])), sharex=True, squeeze=False
    )
    for index, axis in enumerate(axes[:, 0]):
        spectrum = {name: np.asarray(values[index], dtype=np.float64) for name, values in rows["spectrum"].items()}
        good = (spectrum["mask"] == 0) & (spectrum["ivar"] > 0)
        flux = np.where(good, spectrum["flux"], np.nan)
        sigma = np.where(good, 1 / np.sqrt(np.where(good, spectrum["ivar"], 1)), np.nan)
        axis.fill_between(spectrum["lambda"], flux - sigma, flux + sigma, color="0.85", lw=0)
        axis.plot(spectrum["lambda"], flux, lw=0.4, color="C0")
        axis.set_title(f"{rows['object_id'][index]}   z = {rows['Z'][index]:.4f}", fontsize=8, loc="left")
        low, high = np.nanpercentile(flux, [0.5, 99.7]) if good.any() else (0, 1)
        axis.set_ylim(low - 0.2 * (high - low), high + 0.3 * (high - low))
    axes[-1, 0].set_xlabel("wavelength (vacuum, Angstrom)")
    figure.supylabel("flux (1e-17 erg/s/cm2/A)", fontsize=9)
    return _save(plt, figure, path)


def draw_coefficients(dataset: Dataset, path: Path, count: int = 6) -> Path:
    """Gaia XP coefficients: BP and RP, scaled to their first one."""
    plt = _pyplot()
    rows = next(dataset.batches(columns=["object_id", "coeff"], batch_rows=count))
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    for name, coeff in zip(rows["object_id"], rows["coeff"], strict=True):
        for axis, part in zip(axes, (coeff[:55], coeff[55:]), strict=True):
            axis.plot(np.asarray(part) / part[0], lw=0.8, label=name)
    for axis, title in zip(axes, ("BP", "RP"), strict=True):
        axis.set(title=f"{title} coefficients / the first", xlabel="basis function", yscale="symlog")
    axes[1].legend(fontsize=6)
    return _save(plt, figure, path)


def _save(plt: Any, figure: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path
