"""The compiled kernels for tests, from the sources as they are now."""
from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

from checkout import ROOT

SOURCES = ROOT / "refcodec" / "kernels" / "src"


def compiler() -> str:
    """A C compiler; the test is skipped where there is none."""
    names = [os.environ.get("CC"), (sysconfig.get_config_var("CC") or "").split(" ")[0], "cc", "gcc", "clang"]
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("there is no C compiler")
    return found


def _built(name: str, sources: Path) -> Path:
    """The extension module of sources, built where the checkout has none or an old one."""
    newest = max(path.stat().st_mtime for path in sources.iterdir())
    for path in sources.parent.glob(f"{name}.*"):
        if path.suffix in (".so", ".pyd") and path.stat().st_mtime >= newest:
            return path
    folder = tempfile.mkdtemp(prefix="refcodec-kernels-")
    subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--build-lib", folder, "--build-temp", folder],
                   cwd=ROOT, check=True, capture_output=True, timeout=300)
    (built,) = (p for p in Path(folder).rglob(f"{name}.*") if p.suffix in (".so", ".pyd"))
    return built


def _load(name: str, sources: Path) -> None:
    compiler()
    full = f"refcodec.kernels.{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, _built(name, sources))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[full] = module


@functools.cache
def native():
    """`NativeKernels()`."""
    _load("_native", SOURCES)
    from refcodec.kernels.native import NativeKernels

    return NativeKernels()


def load_training() -> None:
    """Makes the compiled training step available to `refcodec.encoder.fused`."""
    _load("_training", SOURCES.parent / "training")
