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
_NAME = "refcodec.kernels._native"


def compiler() -> str:
    """A C compiler; the test is skipped where there is none."""
    names = [os.environ.get("CC"), (sysconfig.get_config_var("CC") or "").split(" ")[0], "cc", "gcc", "clang"]
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("there is no C compiler")
    return found


@functools.cache
def _built() -> Path:
    """The extension module, built anew where the checkout has none or an old one."""
    newest = max(path.stat().st_mtime for path in SOURCES.iterdir())
    for path in SOURCES.parent.glob("_native.*"):
        if path.suffix in (".so", ".pyd") and path.stat().st_mtime >= newest:
            return path
    folder = tempfile.mkdtemp(prefix="refcodec-kernels-")
    subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--build-lib", folder, "--build-temp", folder],
                   cwd=ROOT, check=True, capture_output=True, timeout=300)
    (built,) = (p for p in Path(folder).rglob("_native.*") if p.suffix in (".so", ".pyd"))
    return built


@functools.cache
def native():
    """`NativeKernels()`."""
    compiler()
    if _NAME not in sys.modules:
        spec = importlib.util.spec_from_file_location(_NAME, _built())
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[_NAME] = module
    from refcodec.kernels.native import NativeKernels

    return NativeKernels()
