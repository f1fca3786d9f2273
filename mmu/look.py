"""Pictures of a dataset: stamps and spectra, as people would rather see them. Needs matplotlib (the `plot` extra)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mmu.dataset import Dataset
from mmu.decoding import decode
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


def asinh_rgb(planes: np.ndarray[Any, Any], q: float = 20.0, stretch: float = 0.03) -> np.ndarray[Any, Any]:
    """An (H, W, 3) picture in 0..1 from three planes, red first, stretched at constant colour (Lupton et al. 2004).

    The defaults suit planes in nanomaggy scaled as the Legacy Surveys' viewer does.
    """
    clean = np.nan_to_num(planes.astype(np.float64))
    intensity = np.maximum(clean.mean(axis=0), 1e-9)
    scaled = clean * (np.arcsinh(q * stretch * intensity / stretch) / (np.sqrt(q) * intensity))
    return np.asarray(np.clip(np.moveaxis(scaled, 0, -1), 0, 1))


def _first(dataset: Dataset, columns: list[str], count: int) -> dict[str, list[Any]]:
    """The first `count` rows, whatever row groups and shards they are in; struct columns as dicts of arrays."""
    rows: dict[str, list[Any]] = {name: [] for name in columns}
    for batch in dataset.batches(columns=columns, batch_rows=count):
        for name in columns:
            values = batch[name]
            size = len(batch[columns[0]])
            rows[name] += (
                [{key: part[i] for key, part in values.items()} for i in range(size)]
                if isinstance(values, dict)
                else list(values)
            )
        if len(rows[columns[0]]) >= count:
            break
    return {name: values[:count] for name, values in rows.items()}


# Brightness of each plane in a colour picture, by the letter of its band (the Legacy Surveys viewer's choice).
_PLANE_SCALE = {"g": 6.0, "r": 3.4, "i": 3.0, "z": 2.2, "y": 2.0}
_SKY = 0.02
"""What one standard deviation of the sky becomes in a picture where the viewer's scale does not apply."""


def draw(dataset: Dataset, path: Path, count: int = 12) -> Path | None:
    """The picture that suits a dataset: stamps, cubes, spectra, coefficients, or colour pictures; None for labels."""
    kinds = {field.name: (field.metadata or {}).get(b"modality", b"").decode() for field in dataset.schema}
    if "cube" in kinds.values():
        return draw_cubes(dataset, path, min(count, 4))
    if "image" in kinds.values():
        return draw_stamps(dataset, path, count)
    if "spectrum" in kinds.values():
        return draw_spectra(dataset, path, min(count, 5))
    if "coefficients" in kinds.values():
        return draw_coefficients(dataset, path, min(count, 6))
    pictures = [name for name, kind in kinds.items() if kind == "picture"]
    return draw_pictures(dataset, path, pictures[0], count) if pictures else None


def _sheet(plt: Any, count: int, wide: int = 4) -> tuple[Any, Any]:
    """A figure of empty square panels."""
    high = max(1, -(-count // wide))
    figure, axes = plt.subplots(high, wide, figsize=(2.4 * wide, 2.6 * high), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    return figure, axes.flat


def draw_stamps(dataset: Dataset, path: Path, count: int = 12) -> Path:
    """A sheet of colour stamps, north up and east left, with a bar."""
    plt = _pyplot()
    rows = _first(dataset, ["object_id", "image"], count)
    figure, axes = _sheet(plt, len(rows["object_id"]))
    bar = 10
    for axis, name, image in zip(axes, rows["object_id"], rows["image"], strict=False):
        alike = np.flatnonzero(np.asarray(image["scale"]) == image["scale"][-1])  # bands on one grid
        red, green, blue = alike[-1], alike[len(alike) // 2 if len(alike) < 4 else 1], alike[0]
        planes = np.stack([image["flux"][i] * _brightness(image, i) for i in (red, green, blue)])
        axis.imshow(asinh_rgb(planes), origin="lower")
        scale, side = float(image["scale"][-1]), planes.shape[-1]
        bar = 10 if scale * side > 20 else 1
        axis.plot([0.05 * side, 0.05 * side + bar / scale], [0.05 * side] * 2, color="white", lw=2)
        axis.set_title(name, fontsize=7)
    figure.suptitle(f"{dataset.path.parent.name} {dataset.release}: images (bar: {bar} arcsec)", fontsize=10)
    return _save(plt, figure, path)


def _brightness(image: dict[str, Any], index: int) -> float:
    """What a plane is multiplied by: the viewer's choice for nanomaggies of known bands, else by its noise."""
    band = str(image["band"][index])
    if band.startswith(("des-", "bass-", "mzls-")):
        return _PLANE_SCALE.get(band[-1], 1.0)
    good = np.asarray(image["ivar"][index])[np.asarray(image["ivar"][index]) > 0]
    return _SKY * float(np.sqrt(np.median(good))) if len(good) else 1.0


def draw_pictures(dataset: Dataset, path: Path, column: str, count: int = 12) -> Path:
    """A sheet of the colour pictures that a dataset holds."""
    plt = _pyplot()
    rows = decode(dataset.table(["object_id", column]).slice(0, count), pictures=True)
    figure, axes = _sheet(plt, len(rows["object_id"]))
    for axis, name, picture in zip(axes, rows["object_id"], rows[column], strict=False):
        axis.imshow(picture)
        axis.set_title(name, fontsize=7)
    figure.suptitle(f"{dataset.path.parent.name} {dataset.release}: {column}", fontsize=10)
    return _save(plt, figure, path)


def draw_cubes(dataset: Dataset, path: Path, count: int = 4) -> Path:
    """For each galaxy its white light, and the spectrum of its brightest spaxel."""
    plt = _pyplot()
    rows = _first(dataset, ["object_id", "cube"], count)
    high = max(1, len(rows["object_id"]))
    shape = {"width_ratios": [1, 3]}
    figure, axes = plt.subplots(high, 2, figsize=(9, 2.3 * high), squeeze=False, gridspec_kw=shape)
    for (left, right), name, cube in zip(axes, rows["object_id"], rows["cube"], strict=False):
        flux, ivar = np.asarray(cube["flux"]), np.asarray(cube["ivar"])
        white = np.where(ivar.any(axis=0), flux.mean(axis=0), np.nan)
        y, x = np.unravel_index(int(np.nanargmax(white)), white.shape)
        left.imshow(white, origin="lower", cmap="magma")
        left.plot(x, y, "+", color="white")
        left.axis("off")
        left.set_title(name, fontsize=7)
        wave = np.asarray(cube["lambda"])
        right.plot(wave, np.where(ivar[:, y, x] > 0, flux[:, y, x], np.nan), lw=0.5)
    axes[-1, 1].set_xlabel("wavelength (vacuum, Angstrom)")
    figure.suptitle(f"{dataset.path.parent.name} {dataset.release}: white light, brightest spaxel", fontsize=10)
    return _save(plt, figure, path)


def draw_spectra(dataset: Dataset, path: Path, count: int = 5) -> Path:
    """Spectra one below the other: good pixels in grey, their weighted mean over 9 pixels on top."""
    plt = _pyplot()
    rows = _first(dataset, ["object_id", "spectrum", "Z"], count)
    high = max(1, len(rows["object_id"]))
    figure, axes = plt.subplots(high, 1, figsize=(9, 1.7 * high), sharex=True, squeeze=False)
    for axis, name, spectrum, z in zip(axes[:, 0], rows["object_id"], rows["spectrum"], rows["Z"], strict=False):
        weight = np.where(np.asarray(spectrum["mask"]) == 0, np.asarray(spectrum["ivar"], dtype=np.float64), 0)
        flux = np.asarray(spectrum["flux"], dtype=np.float64)
        box = np.ones(9)
        total = np.convolve(weight, box, "same")
        mean = np.convolve(weight * flux, box, "same") / np.where(total > 0, total, np.nan)
        axis.plot(spectrum["lambda"], np.where(weight > 0, flux, np.nan), lw=0.3, color="0.8")
        axis.plot(spectrum["lambda"], mean, lw=0.7, color="C0")
        axis.set_title(f"{name}   z = {z:.4f}", fontsize=8, loc="left")
        low, high_flux = np.nanpercentile(mean, [0.5, 99.8]) if (total > 0).any() else (0, 1)
        axis.set_ylim(low - 0.3 * (high_flux - low), high_flux + 0.3 * (high_flux - low))
    axes[-1, 0].set_xlabel("wavelength (vacuum, Angstrom)")
    figure.supylabel("flux (1e-17 erg/s/cm2/A)", fontsize=9)
    return _save(plt, figure, path)


def draw_coefficients(dataset: Dataset, path: Path, count: int = 6) -> Path:
    """Gaia XP coefficients: BP and RP, scaled to their first one."""
    plt = _pyplot()
    rows = _first(dataset, ["object_id", "coeff"], count)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    for name, coeff in zip(rows["object_id"], rows["coeff"], strict=True):
        for axis, part in zip(axes, (coeff[:55], coeff[55:]), strict=True):
            axis.plot(np.asarray(part) / part[0], lw=0.8, label=name)
    for axis, title in zip(axes, ("BP", "RP"), strict=True):
        axis.set(title=f"{title} coefficients / the first", xlabel="basis function")
    axes[1].legend(fontsize=6)
    return _save(plt, figure, path)


def _save(plt: Any, figure: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path
