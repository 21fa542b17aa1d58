"""Modules that are imported when they are first used: headers are read without numpy."""
from __future__ import annotations

import importlib


class Deferred:
    """Stands for a module until one of its attributes is asked for."""

    def __init__(self, module: str):
        self._module = module

    def __getattr__(self, name: str) -> object:
        value = getattr(importlib.import_module(self._module), name)
        vars(self)[name] = value
        return value
