"""Every error that refcodec raises on purpose.

`BitstreamError` carries a code of the register in spec chapter 11; the others
concern what surrounds a bitstream (datasets, arguments, files).
"""
from __future__ import annotations

EXIT_OK, EXIT_USAGE, EXIT_NOT_CONFORMING, EXIT_DEFECT = 0, 1, 2, 3


class RefcodecError(Exception):
    """Base of all documented errors; `exit_code` is what the command line returns."""

    exit_code = EXIT_USAGE


class UsageError(RefcodecError):
    """Arguments or files that do not fit together."""


class DatasetError(RefcodecError):
    """A dataset that can't be used. `code` is stable (docs/datasets.md), `path` names the file."""

    def __init__(self, code: str, message: str, path=None):
        self.code, self.path = code, path
        super().__init__(f"{code}: {message}" + (f" [{path}]" if path else ""))
