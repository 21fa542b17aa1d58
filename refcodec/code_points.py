"""Code points of the format whose members are registered objects, each defined by the module that implements it.

A class of code points behaves like an `IntEnum` (`Transform(1)`, `Transform.BLOCK_DCT`, `1 in Transform`, iteration
in ascending order), but is open: a module adds a member with `add`, and the member carries what the tool does.
"""
from __future__ import annotations

import importlib
import threading
from abc import ABCMeta
from collections.abc import Iterator
from typing import Any, ClassVar, Self, TypeVar

_Member = TypeVar("_Member", bound="CodePoint")
_loading = threading.RLock()


class _CodePoints(ABCMeta):
    def __call__(cls: type[_Member], code: int) -> _Member:  # type: ignore[misc]
        return cls.of(code)

    def __iter__(cls: type[_Member]) -> Iterator[_Member]:  # type: ignore[misc]
        return iter([member for _, member in sorted(cls.members().items())])

    def __len__(cls: type[_Member]) -> int:  # type: ignore[misc]
        return len(cls.members())

    def __contains__(cls: type[_Member], code: object) -> bool:  # type: ignore[misc]
        return code in cls.members()

    def __getitem__(cls: type[_Member], name: str) -> _Member:  # type: ignore[misc]
        return cls.named(name)

    def __getattr__(cls: type[_Member], name: str) -> _Member:  # type: ignore[misc]
        if name.isupper() and not name.startswith("_"):
            try:
                return cls[name]
            except KeyError:
                pass
        raise AttributeError(f"{cls.__name__} has no member {name}")


class CodePoint(int, metaclass=_CodePoints):
    """A value of a syntax element, with what it stands for.

    name: in capitals, as in the specification. A subclass that is given `modules` is a class of code
    points; they are imported when a member is first asked for, and each adds its members.
    """

    _loaded: ClassVar[bool] = True
    _pending: ClassVar[tuple[str, ...]] = ()
    _members: ClassVar[dict[int, Any]]
    name: str

    def __init_subclass__(cls, modules: tuple[str, ...] = (), **options: Any):
        super().__init_subclass__(**options)
        if modules:
            cls._loaded, cls._pending, cls._members = False, modules, {}

    @classmethod
    def members(cls) -> dict[int, Self]:
        """All members by code point."""
        home = _home(cls)
        if not home._loaded:
            with _loading:
                modules, home._pending = home._pending, ()  # a module that is being imported may ask itself
                try:
                    for module in modules:
                        importlib.import_module(module)
                except BaseException:
                    home._pending = modules
                    raise
                home._loaded = home._loaded or bool(modules)
        return cls._members

    @classmethod
    def of(cls, code: int) -> Self:
        """The member of this code point. Raises ValueError."""
        try:
            return cls.members()[code]
        except KeyError:
            raise ValueError(f"{code} is not a registered {cls.__name__}") from None

    @classmethod
    def named(cls, name: str) -> Self:
        """The member of this name. Raises KeyError."""
        for member in cls.members().values():
            if member.name == name:
                return member
        raise KeyError(name)

    @classmethod
    def add(cls, code: int, name: str, **attributes: Any) -> Self:
        """Registers a new member; attributes: of the member. Raises ValueError for a code point or name in use, and
        TypeError where the class leaves a method open."""
        if cls.__abstractmethods__:
            raise TypeError(f"{cls.__name__} lacks {', '.join(sorted(cls.__abstractmethods__))}")
        if code in cls._members or any(m.name == name for m in cls._members.values()):
            raise ValueError(f"{name} ({code}) is registered already")
        member = int.__new__(cls, code)
        vars(member).update(attributes, name=name)
        cls._members[code] = member
        return member

    def remove(self) -> None:
        """Takes the member out of the registry."""
        del self._members[self]

    @property
    def value(self) -> int:
        return int(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _member, (_home(type(self)), int(self))

    def __repr__(self) -> str:
        return f"<{_home(type(self)).__name__}.{self.name}: {int(self)}>"

    __str__ = int.__repr__


def _home(cls: type[CodePoint]) -> type[CodePoint]:
    """The class of code points that a class of members belongs to."""
    return next(c for c in reversed(cls.__mro__) if "_members" in vars(c))


def _member(cls: type[CodePoint], code: int) -> CodePoint:
    return cls(code)
