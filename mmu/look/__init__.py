"""Look at datasets: pictures of their objects, and of where they are on the sky. Needs matplotlib (the `plot` extra).

    draw(dataset, path)              a sheet of a dataset's first objects, or of those named; one of them fills a page
    draw_object(records, path)       one object as several datasets have it, side by side
    draw_sky(datasets, path)         density maps, and where the datasets overlap

What is drawn, and how, follows from the metadata of the columns: modality, units, zero point, bands, noise. The path's
ending says what is written: .png, .pdf or .svg; the same data give the same bytes.
"""

from mmu.look.draw import draw, draw_object, draw_subjects
from mmu.look.sky import draw_sky

__all__ = ["draw", "draw_object", "draw_sky", "draw_subjects"]
