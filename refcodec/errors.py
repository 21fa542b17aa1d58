"""Every error that refcodec raises on purpose.

`BitstreamError` carries a code of the register in spec chapter 11; the others
concern what surrounds a bitstream (datasets, arguments, files).
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

EXIT_OK, EXIT_USAGE, EXIT_NOT_CONFORMING, EXIT_DEFECT = 0, 1, 2, 3


class RefcodecError(Exception):
    """Base of all documented errors; `exit_code` is what the command line returns."""

    exit_code = EXIT_USAGE

    def __reduce__(self) -> tuple[object, ...]:
        # Not by calling the class again: what it is called with is not what the message says.
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[RefcodecError], args: tuple[object, ...], members: dict[str, object]) -> RefcodecError:
    """An unpickled error."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(members)
    return error


class UsageError(RefcodecError):
    """Arguments or files that do not fit together."""


class DatasetError(RefcodecError):
    """A dataset that can't be used. `code` is stable (docs/datasets.md), `path` names the file."""

    def __init__(self, code: str, message: str, path: str | os.PathLike[str] | None = None):
        self.code, self.path = code, path
        super().__init__(f"{code}: {message}" + (f" [{path}]" if path else ""))


class BitstreamError(RefcodecError):
    """A bitstream that breaks a requirement of the specification.

    requirement: identifier, e.g. `R-UNIT-03`; code: its error code, e.g. `E0203`.
    offset: byte offset in the stream of the element (None when it has none).
    element: path of the syntax element, e.g. `frame.tensor[3].value_size`.
    section: section of the specification.
    """

    exit_code = EXIT_NOT_CONFORMING

    def __init__(self, requirement: str, offset: int | None, element: str, detail: str = ""):
        from .requirements import ERROR_CODES, REQUIREMENTS

        rule = REQUIREMENTS[requirement]
        entry = ERROR_CODES[rule.code]
        self.requirement, self.code, self.section = requirement, rule.code, rule.section
        self.name, self.kind = entry.name, entry.kind
        self.offset, self.element = offset, element
        self.detail = detail or entry.summary
        where = f"at byte {offset}" if offset is not None else "at an unknown offset"
        super().__init__(
            f"{self.code} {self.name}: {self.detail} ({element} {where}; {requirement}, section {self.section})"
        )
