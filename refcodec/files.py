"""Files that appear under their name only when they are complete."""
from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from refcodec.errors import UsageError


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path that becomes `path` if the block succeeds, and is removed if not.

    Keeps the suffix, by which writers choose the format. OSError becomes UsageError.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UsageError(f"can't write {path}: there is no such folder")
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror or error}") from error
