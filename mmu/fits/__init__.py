"""FITS files as surveys need them: headers without their cost, tables and planes mapped, sizes bounded."""

from mmu.fits.file import AGAIN, SIGN, FitsFile, fits_of_bytes, open_fits, same_text, text
from mmu.fits.headers import Hdu, read_headers

__all__ = ["AGAIN", "SIGN", "FitsFile", "Hdu", "fits_of_bytes", "open_fits", "read_headers", "same_text", "text"]
