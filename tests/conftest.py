"""Shared set-up of the tests.

A test's folder is its marker: `pytest -m "not training and not browser"` leaves two folders out.
"""
import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

TESTS = Path(__file__).parent
sys.path.insert(0, str(TESTS))

if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores: threads of several would wait for each other
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def pytest_addoption(parser):
    parser.addoption("--fail-on-skip", action="store_true",
                     help="a skipped test fails, unless its reason starts with 'not here:'")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Under --fail-on-skip a test that is skipped for want of a tool fails: CI installs all of them."""
    report = yield
    if report.skipped and item.config.getoption("--fail-on-skip") and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
        if not reason.startswith("not here:"):
            report.outcome, report.longrepr = "failed", f"{item.nodeid} was skipped: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """The same for a module that is skipped as a whole."""
    report = yield
    if report.skipped and collector.config.getoption("--fail-on-skip"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome, report.longrepr = "failed", f"{collector.nodeid} was skipped: {reason}"
    return report


def pytest_collection_modifyitems(items):
    """By far the longest test is the first, so that no worker waits for it at the end."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        item.add_marker(folder)
        if folder == "browser":  # software draws the pictures, and browsers start in what time the machine leaves
            item.add_marker(pytest.mark.flaky(reruns=2))
    items.sort(key=lambda item: item.get_closest_marker("longest") is None)


# How long an example takes says more about the machine than about the code.
settings.register_profile("refcodec", deadline=None)
settings.load_profile("refcodec")
