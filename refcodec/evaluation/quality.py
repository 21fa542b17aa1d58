"""Picture quality of a comparison: PSNR, SSIM, MS-SSIM and, where it is available, LPIPS.

MS-SSIM is computed by pytorch-msssim. LPIPS needs its package and AlexNet's weights, which
are taken from torch's cache and never fetched.
"""
from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .metrics import SSIM_WINDOW, mask_box, psnr, ssim

if TYPE_CHECKING:
    import torch

NAMES = ("psnr", "psnr_box", "ssim", "ms_ssim", "lpips")
BEST_PSNR = 100.0  # dB, of pictures that are equal: a number that JSON knows
_MS_SSIM_SIDE = 160  # pictures must be larger: five scales of an 11 x 11 window
_ALEXNET = "alexnet-owt-*.pth"
_Metric = Callable[[np.ndarray, np.ndarray], float]


def bounded_psnr(picture: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> float:
    """`metrics.psnr`, at most `BEST_PSNR`."""
    return min(psnr(picture, truth, mask), BEST_PSNR)


class Metrics:
    """The metrics that this machine has. missing: why others are not measured, by name."""

    def __init__(self) -> None:
        self.missing: dict[str, str] = {}
        self._ms_ssim, self._lpips = self._load_ms_ssim(), self._load_lpips()
        # What measurements depend on besides pictures.
        self.identity = [sorted(self.missing), _version("pytorch-msssim"), _version("lpips")]

    def expect(self, height: int, width: int) -> None:
        """Notes in `missing` what pictures of this size can't have."""
        if min(height, width) <= _MS_SSIM_SIDE:
            self.missing.setdefault("ms_ssim", f"pictures of {width}x{height} are too small for its five scales")

    def of(self, picture: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> dict[str, float | None]:
        """All metrics of a picture (h, w, 3), sRGB in [0, 1]; None for those that it can't have.

        mask: (h, w) alpha; `psnr_box` is the PSNR inside its bounding box.
        """
        side = min(picture.shape[:2])
        boxed = mask is not None and mask_box(mask) is not None
        return dict(
            psnr=bounded_psnr(picture, truth),
            psnr_box=bounded_psnr(picture, truth, mask) if boxed else None,
            ssim=ssim(picture, truth) if side >= SSIM_WINDOW else None,
            ms_ssim=self._ms_ssim(picture, truth) if self._ms_ssim and side > _MS_SSIM_SIDE else None,
            lpips=self._lpips(picture, truth) if self._lpips else None)

    def _load_ms_ssim(self) -> _Metric | None:
        try:
            from pytorch_msssim import ms_ssim
        except ImportError:
            self.missing["ms_ssim"] = 'the package pytorch-msssim is missing: pip install "refcodec[evaluate]"'
            return None
        return lambda a, b: float(ms_ssim(_batch(a), _batch(b), data_range=1.0))

    def _load_lpips(self) -> _Metric | None:
        try:
            import lpips
            import torch
        except (ImportError, RuntimeError) as e:  # torchvision raises RuntimeError beside another torch
            self.missing["lpips"] = f"the package lpips can't be used: {str(e).splitlines()[0]}"
            return None
        if not list((Path(torch.hub.get_dir()) / "checkpoints").glob(_ALEXNET)):
            self.missing["lpips"] = "AlexNet's weights are not in torch's cache, and nothing is downloaded"
            return None
        network = lpips.LPIPS(net="alex", verbose=False).eval()

        def distance(a: np.ndarray, b: np.ndarray) -> float:
            with torch.no_grad():
                return float(network(2 * _batch(a) - 1, 2 * _batch(b) - 1))

        return distance


def means(measured: Sequence[Sequence[dict[str, float | None]]]) -> dict[str, Any]:
    """Means over the pictures of each frame, then over frames; `psnr_frames` before the second.

    measured: by frame and picture. A metric is None where some picture lacks it, but
    `psnr_box`, which is of the pictures that have a mask.
    """
    out: dict[str, Any] = {}
    for name in NAMES:
        known = [[v for p in pictures if (v := p[name]) is not None] for pictures in measured]
        if name == "psnr_box":
            known = [frame for frame in known if frame]
        elif sum(map(len, known)) < sum(map(len, measured)):
            known = []
        values = [float(np.mean(frame)) for frame in known] or None
        out[name] = None if values is None else float(np.mean(values))
        if name == "psnr":
            out["psnr_frames"] = values
    return out


def _batch(picture: np.ndarray) -> torch.Tensor:
    """(h, w, 3) -> (1, 3, h, w) tensor."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(picture, np.float32)).permute(2, 0, 1)[None]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
