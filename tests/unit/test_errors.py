"""Errors travel between processes, and have codes that are documented."""
from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil

import pytest

import refcodec
from refcodec.entropy.coder import EntropyError
from refcodec.errors import BitstreamError, DatasetError, RefcodecError
from refcodec.requirements import REQUIREMENTS

ARGUMENTS = {BitstreamError: ("R-UNIT-03", 17, "unit_crc", "Damaged."), EntropyError: ("R-ENT-01", "Nothing fits."),
             DatasetError: ("D101", "It is empty.", "a/b.json")}


def kinds() -> list[type[Exception]]:
    for module in pkgutil.walk_packages(refcodec.__path__, "refcodec."):
        if module.name != "refcodec.__main__":
            try:
                importlib.import_module(module.name)
            except ImportError as e:  # optional: dask, the compiled kernels
                assert module.name == "refcodec.kernels.native" or not (e.name or "refcodec").startswith("refcodec")
    found: list[type[Exception]] = [EntropyError, RefcodecError]
    for kind in found:
        found += [k for k in kind.__subclasses__() if k not in found]
    return found


def arguments(kind: type[Exception]) -> tuple[object, ...]:
    base = next((b for b in kind.__mro__ if b in ARGUMENTS), None)
    if base is not None:
        return ARGUMENTS[base]
    if "__init__" not in vars(kind):
        return ("It went wrong.",)
    needed = [p for p in inspect.signature(kind).parameters.values() if p.kind == p.POSITIONAL_OR_KEYWORD]
    return tuple(7 if p.annotation == "int" else "It went wrong." for p in needed)


def test_every_error_pickles():
    assert {BitstreamError, DatasetError, refcodec.UsageError} < set(kinds())
    for kind in kinds():
        error = kind(*arguments(kind))
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is kind and str(again) == str(error) and again.__dict__ == error.__dict__


@pytest.mark.parametrize("requirement", REQUIREMENTS)
def test_every_requirement_has_an_error_that_pickles(requirement):
    error = BitstreamError(requirement, None, "file")
    again = pickle.loads(pickle.dumps(error))
    assert (again.requirement, again.code, again.section, again.detail, again.offset) == (
        requirement, error.code, error.section, error.detail, None) and str(again) == str(error)
