"""PSNR, SSIM and the render tolerance."""
import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from refcodec.errors import UsageError
from refcodec.evaluation.metrics import RENDER_MAX_ERROR, mask_box, psnr, render_difference, ssim


def pair(seed, shape=(16, 21, 3)):
    return np.random.default_rng(seed).random((2, *shape))


def test_psnr_of_known_errors():
    black = np.zeros((8, 9, 3))
    assert psnr(black + 0.1, black) == pytest.approx(20.0)
    assert psnr(black + 0.001, black) == pytest.approx(60.0)
    assert psnr(black, black) == math.inf
    assert psnr(np.full((8, 9, 3), 255, np.uint8), black) == pytest.approx(0.0)


def test_masked_psnr_counts_the_bounding_box_only():
    reference = np.zeros((10, 12, 3))
    image = reference.copy()
    image[2:5, 3:9] = 0.1  # the box
    mask = np.zeros((10, 12))
    mask[2, 3] = mask[4, 8] = 0.5
    assert mask_box(mask) == (slice(2, 5), slice(3, 9))
    assert psnr(image, reference, mask) == pytest.approx(20.0)
    whole = psnr(image, reference)
    image[0, 0] = 1  # outside: changes the whole picture's value only
    assert psnr(image, reference, mask) == pytest.approx(20.0)
    assert psnr(image, reference) < whole


def ssim_by_definition(a, b):
    """Wang et al. 2004, window by window."""
    grid = np.arange(11) - 5
    window = np.exp(-(grid[:, None] ** 2 + grid**2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for y in range(a.shape[0] - 10):
        for x in range(a.shape[1] - 10):
            for c in range(a.shape[2]):
                p, q = a[y : y + 11, x : x + 11, c], b[y : y + 11, x : x + 11, c]
                mp, mq = (window * p).sum(), (window * q).sum()
                vp = (window * (p - mp) ** 2).sum()
                vq = (window * (q - mq) ** 2).sum()
                cov = (window * (p - mp) * (q - mq)).sum()
                values.append(
                    (2 * mp * mq + 1e-4)
                    * (2 * cov + 9e-4)
                    / ((mp**2 + mq**2 + 1e-4) * (vp + vq + 9e-4))
                )
    return np.mean(values)


@settings(max_examples=10)
@given(st.integers(0, 2**32), st.floats(0, 1))
def test_ssim_follows_its_definition(seed, mix):
    a, b = pair(seed, (13, 12, 2))
    b = mix * a + (1 - mix) * b
    assert ssim(a, b) == pytest.approx(ssim_by_definition(a, b), abs=1e-12)
    assert ssim(a, b) == pytest.approx(ssim(b, a))
    assert -1 <= ssim(a, b) <= 1
    assert ssim(a, a) == pytest.approx(1)


def test_ssim_of_flat_pictures():
    a, b = np.full((11, 11, 1), 0.2), np.full((11, 11, 1), 0.7)
    assert ssim(a, b) == pytest.approx((2 * 0.2 * 0.7 + 1e-4) / (0.2**2 + 0.7**2 + 1e-4))


def test_ssim_agrees_with_scikit_image():
    # structural_similarity(a, b, gaussian_weights=True, sigma=1.5,
    #   use_sample_covariance=False, data_range=1, channel_axis=-1) of scikit-image
    y, x = np.mgrid[0:40, 0:56]
    a = np.stack(
        [0.5 + 0.5 * np.sin(0.3 * x + 0.1 * y), (x * y % 17) / 16, (x + 2 * y) % 11 / 10], -1
    )
    b = np.clip(a * 0.8 + 0.1 + 0.1 * np.cos(0.7 * x - 0.2 * y)[..., None], 0, 1)
    assert ssim(a, b) == pytest.approx(0.90442384116963, abs=1e-12)


@pytest.mark.parametrize("metric", [psnr, ssim, render_difference])
def test_pictures_that_cannot_be_compared(metric):
    a, b = pair(0)
    with pytest.raises(UsageError, match="different shapes"):
        metric(a, b[:-1])
    for bad in (math.nan, math.inf):
        broken = a.copy()
        broken[3, 4, 1] = bad
        with pytest.raises(UsageError, match="not finite"):
            metric(broken, b)
        with pytest.raises(UsageError, match="not finite"):
            metric(b, broken)
    with pytest.raises(UsageError, match="empty"):
        metric(a[:0], b[:0])


def test_other_misuse():
    a, b = pair(0)
    with pytest.raises(UsageError, match="11 x 11"):
        ssim(a[:10], b[:10])
    with pytest.raises(UsageError, match="mask is empty"):
        psnr(a, b, np.zeros(a.shape[:2]))
    with pytest.raises(UsageError, match="the mask is"):
        psnr(a, b, np.ones((3, 3)))


def test_render_tolerance_has_two_limits():
    reference = np.full((100, 100, 3), 0.5)
    assert render_difference(reference, reference).conforms
    assert render_difference(reference + 0.00099, reference).conforms
    assert not render_difference(reference + 0.00101, reference).conforms  # PSNR below 60
    one_pixel = reference.copy()
    one_pixel[4, 5, 0] += RENDER_MAX_ERROR * 1.01
    difference = render_difference(one_pixel, reference)
    assert difference.psnr > 60 and not difference.conforms
