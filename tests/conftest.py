"""Shared set-up of the tests."""
import os
import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores: threads of several would wait for each other
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def pytest_collection_modifyitems(items):
    """By far the longest test is the first, so that no worker waits for it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("longest") is None)


# How long an example takes says more about the machine than about the code.
settings.register_profile("refcodec", deadline=None)
settings.load_profile("refcodec")
