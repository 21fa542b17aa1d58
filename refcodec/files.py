"""Output files: where they go, what they may replace, when they appear (docs/cli.md, "Outputs").

A file appears under its name only when it is complete. Links are followed to what they name, devices and pipes are
written to, and nothing else than a file is ever replaced. `Outputs` holds what one command reads and writes: it
refuses an output that is an input, by identity and not by name, and asks before anything is replaced.
"""
from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TextIO

from refcodec.errors import UsageError

PathLike = str | os.PathLike[str]
Identity = tuple[int, int]  # st_dev, st_ino

_LINKS = 40  # in a chain, as Linux has it
_DESCRIPTOR = re.compile(r"/proc/(self|\d+)(/task/\d+)?/fd|/dev/fd")
_OURS = (b"\x89RFV", b'{"event": ')  # how files begin that the commands write beside a dataset
_LEFT_OVER = re.compile(r"\.[\w-]*\.\d+\.[0-9a-f]{8}\.part(\.\w+)?")
_STEM, _SUFFIX, _LONGEST = 40, 16, 200


@dataclass(frozen=True, slots=True)
class Destination:
    """The target of an output. path: as given. target: behind all links. identity: of what is there, None for nothing.
    through: it is a device, a pipe or an open descriptor, which is written to and never replaced.
    """

    path: str
    target: Path
    identity: Identity | None = None
    through: bool = False

    @property
    def exists(self) -> bool:
        """Whether a file is there, which writing would replace."""
        return self.identity is not None and not self.through


def resolve(path: PathLike) -> Destination:
    """The destination of a file of that name. Raises UsageError for what can't be or must not be a file."""
    name = os.fspath(path)
    if not name or name.endswith(("/", os.sep)):
        raise _refused(name, "it names a folder" if name else "the name is empty")
    try:
        target, through = _follow(name)
        try:
            found = os.stat(name)
        except FileNotFoundError:
            if not target.parent.is_dir():
                raise _refused(name, "there is no such folder") from None
            return Destination(name, target)
    except (OSError, ValueError) as e:
        raise _refused(name, _reason(e)) from None
    identity, kind = (found.st_dev, found.st_ino), found.st_mode
    if stat.S_ISDIR(kind):
        raise _refused(name, "it is a folder")
    if through or stat.S_ISCHR(kind) or stat.S_ISFIFO(kind):
        return Destination(name, Path(name), identity, through=True)
    if not stat.S_ISREG(kind):
        raise _refused(name, f"it is a {'socket' if stat.S_ISSOCK(kind) else 'block device'}")
    return Destination(name, target, identity)


def _follow(name: str) -> tuple[Path, bool]:
    """(what a chain of links ends at, which need not exist; whether that is an open descriptor)."""
    at = name
    for _ in range(_LINKS):
        folder, last = os.path.split(at)
        folder = os.path.realpath(folder or ".")
        at = os.path.join(folder, last)
        if _DESCRIPTOR.fullmatch(folder):
            return Path(at), True
        try:
            at = os.path.join(folder, os.readlink(at))
        except OSError as e:
            if e.errno in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):  # no link, or nothing
                return Path(at), False
            raise
    raise OSError(errno.ELOOP, "it is a link to itself")


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        return "it is a link to itself"
    return str(getattr(error, "strerror", None) or error)


def _refused(name: str, why: str) -> UsageError:
    return UsageError(f"can't write {name or 'the output'}: {why}")


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """A temporary path whose content goes to `path` if the block succeeds, and is removed if not.

    Keeps the suffix, by which writers choose the format. A file is replaced at once, with its permissions; a device
    or pipe gets the content at the end. OSError becomes UsageError.
    """
    there = resolve(path)
    with contextlib.ExitStack() as stack:
        try:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) if there.through else there.target.parent
            temporary = folder / _temporary_name(Path(there.path))
            stack.callback(temporary.unlink, missing_ok=True)
            yield temporary
            put(temporary, there)
        except (OSError, UnicodeError) as e:
            raise _refused(there.path, _reason(e)) from e


@contextlib.contextmanager
def writing(path: PathLike) -> Iterator[BinaryIO]:
    """A binary stream to `path`: a file appears if the block succeeds, a device or pipe gets every byte at once.

    OSError becomes UsageError.
    """
    there = resolve(path)
    if not there.through:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            yield file
        return
    try:
        with _opened(there) as file:
            yield file
    except OSError as e:
        raise _refused(there.path, _reason(e)) from e


@contextlib.contextmanager
def writing_text(path: PathLike) -> Iterator[TextIO]:
    """As `writing`, for text in UTF-8 with line feeds."""
    import io

    with writing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="\n")
        try:
            yield text
            text.flush()
        finally:
            text.detach()


@contextlib.contextmanager
def log_file(path: PathLike, append: bool) -> Iterator[TextIO]:
    """A text file that others read while it grows: it is there at once, and stays when the block fails.

    append: behind what it holds already.
    """
    there = resolve(path)
    try:
        file = open(there.path, "a" if append and not there.through else "w", encoding="utf-8",
                    errors="backslashreplace", newline="\n")
    except OSError as e:
        raise _refused(there.path, _reason(e)) from None
    with file:
        yield file


def _temporary_name(path: Path) -> str:
    """Hidden and of its own. Short and of plain letters, for the name itself may be as long as names can be."""
    suffix = path.suffix if re.fullmatch(r"\.[A-Za-z0-9]+", path.suffix) and len(path.suffix) <= _SUFFIX else ""
    return f".{_plain(path.stem)}.{os.getpid()}.{secrets.token_hex(4)}.part{suffix}"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:_STEM]


def _opened(there: Destination) -> BinaryIO:
    """A device or pipe, opened for writing, if it still is what it was. Waits for a pipe's reader."""
    target, descriptor = _follow(there.path)
    if descriptor and target.name.isdecimal() and target.parts[2:3] == (str(os.getpid()),):
        return open(os.dup(int(target.name)), "wb")  # where it stands, maybe behind what others wrote
    file = open(os.open(there.path, os.O_WRONLY), "wb")
    found = os.fstat(file.fileno())
    if (found.st_dev, found.st_ino) != there.identity:
        file.close()
        raise OSError(errno.EBUSY, "it has become something else")
    return file


def put(complete: Path, there: Destination) -> None:
    """Gives a complete file, in the same folder, its place and the permissions of what it replaces; or its content to a
    device or pipe. Raises OSError.
    """
    if there.through:
        with open(complete, "rb") as file, _opened(there) as out:
            shutil.copyfileobj(file, out)
        return
    with contextlib.suppress(OSError):
        os.chmod(complete, stat.S_IMODE(os.stat(there.target).st_mode))
    os.replace(complete, there.target)


def stem_of(path: Path) -> Path:
    """A path beside it from which names can be made by adding a short ending, however long its own name is."""
    name = os.fsencode(path.name)
    if len(name) <= _LONGEST:
        return path
    return path.with_name(f"{_plain(path.name)}.{hashlib.sha256(name).hexdigest()[:16]}")


@dataclass(slots=True)
class Outputs:
    """Inputs and outputs of one command.

    force: replace what is there. ask: puts a question to whoever sits at the terminal; None: nobody does.
    """

    force: bool = False
    ask: Callable[[str], bool] | None = None
    _inputs: dict[Identity, str] = field(default_factory=dict)
    _folders: list[Path] = field(default_factory=list)
    _claimed: dict[Path, str] = field(default_factory=dict)
    _former: dict[str, list[Path]] = field(default_factory=dict)

    def reads(self, path: PathLike | int) -> bool:
        """Registers an input: a file, a folder with all that is in it, or an open descriptor. False: not there."""
        try:
            found = os.stat(path)
        except (OSError, ValueError):
            return isinstance(path, int)
        if not stat.S_ISCHR(found.st_mode):  # a terminal, say, is no worse for being written to
            self._inputs[found.st_dev, found.st_ino] = str(path)
        if stat.S_ISDIR(found.st_mode) and not isinstance(path, int):
            self._folders.append(Path(os.path.realpath(path)))
        return True

    def file(self, path: PathLike, *, later: bool = False) -> Destination:
        """Claims a file. later: the caller looks at what is there first, and then calls `may_replace`.

        Raises UsageError for what can't be written, an input, another output, and a file that must not be replaced.
        """
        there = resolve(path)
        if there.identity in self._inputs or there.exists and self._in_folder(there.target):
            raise _refused(there.path, "it is an input of the same command")
        if not there.through:
            if there.target in self._claimed:
                raise _refused(there.path, "it is also another output of the same command")
            self._claimed[there.target] = there.path
            if not os.access(there.target.parent, os.W_OK | os.X_OK):
                raise _refused(there.path, "the folder can't be written to")
        if there.exists and not later:
            self.may_replace(there.path)
        return there

    def descriptor(self, number: int) -> None:
        """Claims an open descriptor, such as standard output. Raises UsageError for an input."""
        with contextlib.suppress(OSError):  # closed: writing says so
            found = os.fstat(number)
            if stat.S_ISREG(found.st_mode) and (found.st_dev, found.st_ino) in self._inputs:
                raise UsageError("the output is an input of the same command")

    def folder(self, path: PathLike, made: re.Pattern[str] | None) -> None:
        """Claims a folder. made: the names of files that the command writes there; None: the command goes on
        from what it finds there. Raises UsageError.
        """
        name = os.fspath(path)
        try:
            found = os.stat(name)
            entries = list(os.scandir(name)) if stat.S_ISDIR(found.st_mode) else None
        except FileNotFoundError:
            if os.path.lexists(name):
                raise UsageError(f"can't make the folder {name}: it is a link to nothing") from None
            return
        except (OSError, ValueError) as e:
            raise UsageError(f"can't make the folder {name}: {_reason(e)}") from None
        if entries is None:
            raise UsageError(f"can't make the folder {name}: there is a file of that name")
        if (found.st_dev, found.st_ino) in self._inputs:
            raise UsageError(f"can't write to {name}: it is an input of the same command")
        former = [e for e in entries if made is not None and made.fullmatch(e.name)]
        for entry in former:
            if not entry.is_symlink() and not entry.is_file():
                raise UsageError(f"can't replace {entry.path}: it is no file")
            if (i := entry.stat(follow_symlinks=False)) and (i.st_dev, i.st_ino) in self._inputs:
                raise UsageError(f"can't replace {entry.path}: it is an input of the same command")
        if former:
            first, more = min(e.name for e in former), len(former) > 1
            self.may_replace(name, f"{name} holds {len(former)} file{'s' * more} of a former run ({first}"
                             f"{', …' * more})", "them" if more else "it")
            self._former[name] = [Path(e.path) for e in (*former, *(e for e in entries if _left_over(e)))]

    def open_folder(self, path: PathLike) -> Path:
        """The folder that was claimed, made where it was not there, without what a former run left in it."""
        folder = Path(path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for old in self._former.pop(os.fspath(path), ()):
                old.unlink(missing_ok=True)
        except OSError as e:
            raise UsageError(f"can't make the folder {folder}: {_reason(e)}") from None
        return folder

    def exists(self, path: PathLike) -> bool:
        """Whether there is a file that would be replaced."""
        return resolve(path).exists

    def may_replace(self, path: PathLike, what: str | None = None, it: str = "it") -> None:
        """Raises UsageError unless what is there may be replaced."""
        what = what or f"{os.fspath(path)} exists"
        if self.force:
            return
        if self.ask is None:
            raise UsageError(f"{what}; --force replaces {it}")
        if not self.ask(f"{what}. Replace {it}?"):
            raise UsageError(f"{os.fspath(path)} was left as it is")

    def _in_folder(self, target: Path) -> bool:
        """Whether an existing file belongs to what is read from a folder: all there does, but what we write."""
        if not any(folder in target.parents for folder in self._folders):
            return False
        try:
            with open(target, "rb") as file:
                return not file.read(16).startswith(_OURS)
        except OSError:
            return True


def _left_over(entry: os.DirEntry[str]) -> bool:
    """Whether a file of a temporary name was left by a process that was killed."""
    return bool(_LEFT_OVER.fullmatch(entry.name)) and entry.is_file(follow_symlinks=False)


