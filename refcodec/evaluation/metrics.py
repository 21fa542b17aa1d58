"""Picture quality: PSNR and SSIM (spec chapter 9.5 uses the PSNR).

Pictures are (h, w, c) arrays of sRGB values in [0, 1]; uint8 pictures are divided
by 255. Values are compared as they are: nothing is clipped or rounded first.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from refcodec.errors import UsageError

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
_C1, _C2 = 0.01**2, 0.03**2


def _pair(image: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pair = []
    for name, picture in (("picture", image), ("reference", reference)):
        picture = np.asarray(picture)
        scale = 255.0 if picture.dtype == np.uint8 else 1.0
        picture = picture.astype(np.float64) / scale
        # A NaN would pass every "error > limit" comparison further on.
        if not np.isfinite(picture).all():
            raise UsageError(f"the {name} holds values that are not finite")
        pair.append(picture)
    if pair[0].shape != pair[1].shape:
        raise UsageError(
            f"pictures of different shapes can't be compared: {pair[0].shape} and {pair[1].shape}"
        )
    if pair[0].size == 0:
        raise UsageError("an empty picture can't be compared")
    return pair[0], pair[1]


def mask_box(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the smallest rectangle that holds every pixel with mask > 0.

    mask: (h, w), bool or alpha. Raises UsageError where no pixel is set.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise UsageError(f"a mask has the shape (h, w), not {mask.shape}")
    rows, columns = (np.flatnonzero((mask > 0).any(axis=axis)) for axis in (1, 0))
    if rows.size == 0:
        raise UsageError("the mask is empty: there is no bounding box")
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def psnr(image: np.ndarray, reference: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB for a peak of 1: -10 log10(mean squared error).

    image, reference: (h, w, c). mask: (h, w); when given, only its bounding box counts.
    Returns inf for equal pictures. Raises UsageError for shapes that differ, values
    that are not finite, or an empty mask.
    """
    image, reference = _pair(image, reference)
    if mask is not None:
        if np.shape(mask) != image.shape[:2]:
            raise UsageError(f"the mask is {np.shape(mask)}, the picture {image.shape[:2]}")
        box = mask_box(mask)
        image, reference = image[box], reference[box]
    error = float(np.mean((image - reference) ** 2))
    return -10.0 * math.log10(error) if error > 0 else math.inf


def _gaussian_mean(picture: np.ndarray) -> np.ndarray:
    """Local means under the Gaussian window; only where the window fits: (h-10, w-10, c)."""
    offset = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    weights = np.exp(-0.5 * (offset / SSIM_SIGMA) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        size = picture.shape[axis] - SSIM_WINDOW + 1
        picture = sum(
            weight * picture.take(range(start, start + size), axis=axis)
            for start, weight in enumerate(weights)
        )
    return picture


def ssim(image: np.ndarray, reference: np.ndarray) -> float:
    """Mean structural similarity (Wang et al. 2004, eq. 13), in [-1, 1].

    image, reference: (h, w, c), at least 11 x 11. Window: Gaussian, 11 x 11, sigma 1.5;
    K1 = 0.01, K2 = 0.03, peak 1; population covariance; averaged over all windows that
    lie inside the picture and over the channels. Raises UsageError as `psnr` does.
    """
    image, reference = _pair(image, reference)
    if image.ndim != 3 or min(image.shape[:2]) < SSIM_WINDOW:
        raise UsageError(f"SSIM needs pictures (h, w, c) of at least 11 x 11, not {image.shape}")
    mean_a, mean_b = _gaussian_mean(image), _gaussian_mean(reference)
    variance_a = _gaussian_mean(image * image) - mean_a * mean_a
    variance_b = _gaussian_mean(reference * reference) - mean_b * mean_b
    covariance = _gaussian_mean(image * reference) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    structure = (2 * covariance + _C2) / (variance_a + variance_b + _C2)
    return float(np.mean(luminance * structure))


# Spec 9.5: what a conforming render may differ from the defined picture.
RENDER_MIN_PSNR = 60.0
RENDER_MAX_ERROR = 1 / 64


@dataclass(frozen=True, slots=True)
class RenderDifference:
    """A render against the defined picture: PSNR in dB and the largest error of a channel."""

    psnr: float
    max_error: float

    @property
    def conforms(self) -> bool:
        """Whether R-RND-16 and R-RND-17 hold."""
        return self.psnr >= RENDER_MIN_PSNR and self.max_error <= RENDER_MAX_ERROR


def render_difference(image: np.ndarray, reference: np.ndarray) -> RenderDifference:
    """Compare a render, not yet rounded to 8 bits, with the defined picture (spec 9.5).

    image, reference: (h, w, 3). Raises UsageError as `psnr` does; NaN never conforms.
    """
    image, reference = _pair(image, reference)
    return RenderDifference(psnr(image, reference), float(np.abs(image - reference).max()))
