"""LZMA2 streams made by hand as occupancy, right and wrong: every sentence of R-OCC-02."""

from __future__ import annotations

import numpy as np

import lzma2
from cases import Collection
from crafting import FRAME, Dice, Draft, header
from lzma2 import END_MARKER, Chunk, Stream


def add_all(cases: Collection) -> None:
    _valid(cases)
    _broken(cases)
    _window(cases)


def occupied(raw: bytes, content: bytes, dims: tuple[int, int, int] | None = None, level: int = 1) -> bytes:
    """A file of one frame whose occupancy is coded by `raw` and means `content`.

    dims: by default those that make `content` eight voxels for each byte.
    """
    if dims is None:
        rows = -(-len(content) // 512)
        dims = (8 * len(content) // (512 * rows), 512, rows) if rows > 1 else (8, len(content), 1)
    x, y, z = dims
    assert (x * y * z + 7) // 8 == len(content) and x <= 512
    voxels = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")[: x * y * z].reshape(z, y, x)
    dice, draft = Dice(60), Draft(header(occupancy=dims), level)
    draft.group(0, 1)
    draft.frame(dice, occupancy=voxels.astype(bool))
    return draft.set(FRAME, 0, {"occupancy_size": len(raw), "occupancy_data": raw}).finish().bytes()


def operations(dice: Dice, position: int, count: int, literals: bytes = b"\0\1\x80\xff\x10\x11\x7f") -> list[tuple]:
    """Random literals, matches and repeats; position: bytes since the last dictionary reset."""
    made: list[tuple] = []
    for _ in range(count):
        kind = int(dice.integers(0, 9)) if position else 0
        length = int(dice.integers(2, (9, 17, 40)[int(dice.integers(0, 2))]))
        if kind < 5:
            made.append(("literal", literals[int(dice.integers(0, len(literals) - 1))]))
        elif kind < 7:
            made.append(("match", int(dice.integers(1, position)), length))
        elif kind < 8:
            made.append(("short",))
        else:
            made.append(("repeat", int(dice.integers(0, 3)), length))
        position += length if made[-1][0] in ("match", "repeat") else 1
    return made


def _literals(data: bytes) -> list[tuple]:
    return [("literal", byte) for byte in data]


def _filled(stream: Stream) -> Stream:
    """A stored chunk that makes the content one of occupancy_dims 512 x 1 x n."""
    missing = -len(stream.content) % 512 if len(stream.content) > 512 else 0
    return stream.stored(bytes(missing)) if missing else stream


def _valid(cases: Collection) -> None:
    def add(name: str, description: str, stream: Stream) -> None:
        raw, content = _filled(stream).bytes(), bytes(stream.content)
        assert lzma2.decode(raw, len(content)) == content
        cases.add(f"lzma-{name}", "occupancy", description, occupied(raw, content))

    def some(stream: Stream, control: int, count: int, properties=(3, 0, 2), **more) -> Stream:
        """An LZMA chunk of random operations."""
        position = 0 if control == 0xE0 else len(stream.content) - stream.start
        return stream.lzma(control, operations(dice, position, count, **more), properties)

    dice = Dice(61)
    for properties in ((0, 0, 0), (4, 0, 1), (0, 4, 4), (1, 3, 3), (2, 2, 2)):
        add(
            "properties-{}-{}-{}".format(*properties),
            "lc {}, lp {}, pb {}.".format(*properties),
            some(Stream(), 0xE0, 60, properties),
        )

    # Every distance slot up to 27, and lengths of all three kinds.
    made, position = _literals(bytes(dice.integers(0, 255, 4).tolist())), 4
    while position < 1 << 14:
        length = (2, 3, 4, 5, 9, 10, 17, 18, 100, 272, 273)[len(made) % 11]
        slot = len(made) % 28
        bits = max(slot // 2 - 1, 0)
        distance = slot if slot < 4 else (2 | slot & 1) << bits | int(dice.integers(0, (1 << bits) - 1))
        made.append(("match", distance + 1, length) if distance < position else ("literal", slot))
        position += length if distance < position else 1
    add("distances", "Matches of every distance slot up to 27, with lengths from 2 to 273.", Stream().lzma(0xE0, made))

    for name, properties in (("", (3, 0, 2)), ("-lp", (1, 3, 0)), ("-pb", (0, 0, 4))):
        stream = some(some(Stream(), 0xE0, 37, properties), 0xE0, 60, properties)
        add(
            f"dictionary-reset{name}",
            f"A chunk that resets the dictionary in the middle, properties {properties}: "
            "position 0 and a byte 0 before it again.",
            stream,
        )
    stream = some(Stream(), 0xE0, 30, (0, 2, 2)).stored(b"\1\2\3\4\5\6\7", 1)
    add(
        "dictionary-reset-stored",
        "A stored chunk that resets the dictionary, then new properties: positions count from the stored chunk.",
        some(stream, 0xC0, 60, (0, 2, 2)),
    )
    for last, name in ((("match", 3, 4), "match"), (("repeat", 1, 2), "repeat"), (("short",), "short")):
        stream = Stream().lzma(0xE0, [*operations(dice, 0, 30, b"abcdefgh"), last]).stored(b"stored!", 2)
        add(
            f"state-after-{name}",
            f"A stored chunk after a {name}, then a chunk that goes on with the state: its first "
            "literal is coded against the byte at the last distance.",
            stream.lzma(0x80, [*_literals(b"az"), *operations(dice, len(stream.content), 40, b"abcdefgh")]),
        )
    stream = some(Stream(), 0xE0, 50).lzma(0xA0, [("repeat", 2, 5), ("repeat", 1, 3), *operations(dice, 99, 40)])
    add(
        "state-reset",
        "A chunk that resets the state: probabilities, and the last distances, which it uses at once.",
        stream,
    )
    stream = some(Stream(), 0xE0, 50, (3, 0, 2)).lzma(0xC0, [("repeat", 3, 4), *operations(dice, 99, 40)], (0, 2, 1))
    add("new-properties", "A chunk with other properties, which resets the state but not the dictionary.", stream)
    stream = some(Stream(), 0xE0, 50, (3, 0, 2)).lzma(0xC0, [("repeat", 3, 4), *operations(dice, 99, 40)], (3, 0, 2))
    add("same-properties", "A chunk with the same properties again: it resets the state, too.", stream)
    add(
        "chunks-continue",
        "Three chunks, the second and third of which go on with the state of the one before.",
        some(some(some(Stream(), 0xE0, 31), 0x80, 33), 0x80, 35),
    )
    stream = Stream().stored(b"\1\2\3", 1).stored(b"\4", 2)
    stream = some(some(some(stream, 0xC0, 40, (2, 1, 1)).stored(b"\5\6", 2), 0x80, 40), 0xA0, 40)
    stream = some(some(stream.stored(b"\7", 2).stored(b"\x08\x09", 2), 0xC0, 40, (0, 0, 4)), 0x80, 20)
    stream = some(some(stream, 0xE0, 40, (1, 1, 3)).stored(b"\1", 1), 0xE0, 30, (4, 0, 0))
    add("chunks-mixed", "Chunks of every kind one after the other.", some(stream.stored(b"end", 2), 0x80, 9))
    for byte, name in ((True, "needed"), (False, "not-needed")):
        add(
            f"last-normalisation-{name}",
            "A chunk after whose last symbol the range decoder "
            + ("takes one byte more." if byte else "needs no byte."),
            Stream().lzma(0xE0, _ending(byte)),
        )
    # A code that equals the range makes every bit a 1; three bytes later it wraps to 0, which makes every bit a 0.
    stream = Stream().stored(b"ab", 1)
    stream.chunks.append(Chunk(0xC0, 548, bytes.fromhex("00 ffffffff 51cd20 00")))
    stream.content += lzma2.decode(stream.bytes(), 550)[2:]
    add("code-above-range", "A chunk whose code is not below its range, as no encoder writes it: modulo 2^32.", stream)


def _ending(normalised: bool) -> list[tuple]:
    """Literals after which the range is below 2^24, so that a byte follows, or is not."""
    made = _literals(b"x")
    while True:
        stream = Stream().lzma(0xE0, made)
        if (content_or_none(stream.bytes(), len(made), "no-last-normalisation") is None) == normalised:
            return made
        made.append(("literal", (7 * len(made)) & 255))


def content_or_none(raw: bytes, size: int, wrong: str | None = None) -> bytes | None:
    """What a reading makes of a stream; None where it refuses it."""
    try:
        return lzma2.decode(raw, size, wrong)
    except lzma2.Lzma2Error:
        return None


def _broken(cases: Collection) -> None:
    def add(name: str, reading: str, description: str, s: Stream, raw: bytes | None = None, size: int | None = None):
        """A stream that only the wrong reading takes; the rest of the file agrees with what it makes of it.

        raw, size: its bytes and the size of its content, if not as `s` says.
        """
        raw = s.bytes() if raw is None else raw
        content = lzma2.decode(raw, len(s.content) if size is None else size, reading)
        assert content_or_none(raw, len(content)) is None
        cases.add(f"lzma-{name}", "occupancy", description, occupied(raw, content), "R-OCC-02")

    dice = Dice(62)
    text = _literals(b"abcdefgh")

    def stream(count: int = 40, properties=(3, 0, 2)) -> Stream:
        return Stream().lzma(0xE0, operations(dice, 0, count), properties)

    s = stream()
    s.chunks[0].payload = b"\1" + s.chunks[0].payload[1:]
    add("first-byte", "first-byte", "The first byte of the range-coded data is 1.", s)
    s = stream().lzma(0x80, operations(dice, 40, 20))
    s.chunks[1].payload = b"\xff" + s.chunks[1].payload[1:]
    add("first-byte-second-chunk", "first-byte", "The first byte of the second chunk's range-coded data is 255.", s)
    for n, where in ((0, "first"), (1, "last")):
        s = stream().lzma(0x80, operations(dice, 40, 20))
        *start, last = s.chunks[n].payload
        s.chunks[n].payload = bytes([*start, last ^ 1])
        assert not last & 1
        add(f"final-code-{where}", "final-code", f"The code is 1 after the {where} of two chunks.", s)
    for extra, name in ((b"\0", "zero"), (b"\xaa\xbb\xcc", "bytes")):
        s = stream()
        s.chunks[0].payload += extra
        add(f"unread-{name}", "unread-bytes", f"{len(extra)} bytes of the chunk are left over.", s)
    s = stream()
    raw = bytearray(s.bytes())
    raw[4] -= 1  # compressed size
    add(
        "reads-beyond",
        "reads-beyond",
        "The range decoder needs one byte more than the chunk has; the byte follows it.",
        s,
        bytes(raw),
    )
    s = Stream().lzma(0xE0, _ending(True))
    s.chunks[0].payload = s.chunks[0].payload[:-1]
    for reading in ("zeros-beyond", "no-last-normalisation"):
        assert lzma2.decode(s.bytes(), len(s.content), reading) == s.content
    short = Stream()
    short.chunks.append(Chunk(0xE0, 8, bytes(4), 93))
    add("four-bytes", "zeros-beyond", "An LZMA chunk of four bytes, one less than the range decoder takes first.", short,
        size=8)
    add("last-byte-missing", "no-last-normalisation", "The byte that the last normalisation takes is missing.", s)
    for properties in ((3, 2, 2), (4, 1, 0), (8, 4, 4)):
        s = stream(40, properties)
        add(
            "properties-{}-{}-{}".format(*properties),
            "lc-lp",
            "lc {}, lp {} (pb {}): more than 4 together.".format(*properties),
            s,
        )
    s = stream(40, (0, 0, 5))
    add("properties-225", "pb", "Properties 225.", s)
    s = stream().lzma(0xC0, operations(dice, 40, 20), (3, 2, 0))
    add("properties-second-chunk", "lc-lp", "New properties of the second chunk with lc 3 and lp 2.", s)

    s = Stream().lzma(0xE0, text).lzma(0xE0, [*_literals(b"ij"), ("match", 3, 4)])
    add("match-before-reset", "before-reset", "A match that reaches the last byte before a dictionary reset.", s)
    s = Stream().lzma(0xE0, text).stored(b"ij", 1).lzma(0xC0, [("match", 3, 4)])
    add("match-before-stored-reset", "before-reset", "The same after a reset by a stored chunk.", s)
    s = Stream().lzma(0xE0, text).lzma(0xE0, [("short",), *_literals(b"xyz")])
    add("short-after-reset", "before-reset", "A repeated byte right after a dictionary reset.", s)
    for first, name in ((("short",), "short"), (("repeat", 2, 3), "repeat"), (("match", 1, 3), "match")):
        s = Stream().lzma(0xE0, [first, *_literals(b"xyz")])
        add(f"{name}-first", "zeros-before", f"The content begins with a {name}, before which there is nothing.", s)
    s = Stream().lzma(0xE0, [*_literals(b"abc"), ("match", 4, 2)])
    add("match-before-content", "zeros-before", "A match that reaches one byte before the content.", s)

    for name, end in (("match", ("match", 3, 12)), ("repeat", ("repeat", 0, 273))):
        s = Stream().lzma(0xE0, [*text, ("match", 2, 3), end])
        whole = s.chunks[0].size
        s.chunks[0].size -= 5
        add(
            f"{name}-cut",
            "match-cut",
            f"A {name} goes on for 5 bytes after its chunk's end; the content is what the chunk sizes say.",
            s,
            size=whole - 5,
        )
        add(
            f"{name}-beyond-chunk",
            "match-whole",
            f"A {name} goes on for 5 bytes after its chunk's end; the content is what it copies.",
            s,
            size=whole,
        )
    s = Stream().lzma(0xE0, [*text, END_MARKER])
    s.chunks[0].size += 4
    add("end-marker", "end-marker", "An LZMA end marker, four bytes before the chunk's end.", s)
    s = Stream().lzma(0xE0, [*text, END_MARKER])
    add("end-marker-after-content", "end-marker-last", "An LZMA end marker after the chunk's last byte.", s)

    for control, name in ((0x80, "80"), (0xA0, "a0")):
        s = Stream().stored(b"abcd", 1).lzma(control, operations(dice, 4, 30))
        add(
            f"properties-never-{name}",
            "no-properties",
            f"After a stored chunk, one with control byte 0x{name.upper()}, although properties have never been given.",
            s,
        )
        s = stream(20).stored(b"abcd", 1).lzma(control, operations(dice, 4, 30))
        add(
            f"properties-before-reset-{name}",
            "old-properties",
            "After a stored chunk that resets the dictionary, one with control byte "
            f"0x{name.upper()}: properties were given only before the reset.",
            s,
        )
    for control in (3, 4, 0x40, 0x7F):
        s = Stream().stored(b"abcd", 1).stored(b"ef", control)
        add(f"control-{control:02x}", "reserved-control", f"A chunk with control byte 0x{control:02X}.", s)
    s = Stream().lzma(0xC0, operations(dice, 0, 30))
    add(
        "no-dictionary-reset-c0",
        "no-dictionary-reset",
        "The first chunk has properties, but does not reset the dictionary.",
        s,
    )
    s = Stream().stored(b"abcd", 2).lzma(0xE0, operations(dice, 0, 30))
    add(
        "no-dictionary-reset-then-reset",
        "no-dictionary-reset",
        "A stored chunk without dictionary reset, then one with it.",
        s,
    )


def at_distance(distance: int, size: int) -> Stream:
    """A stream of `size` bytes with a match of this distance to the first two of them."""
    runs, rest = divmod(distance - 3, 273)
    made = [*_literals(b"\xc3\x5a\1"), ("match", 1, 273), *[("repeat", 0, 273)] * (runs - 1), *[("short",)] * rest]
    stream = Stream().lzma(0xE0, [*made, ("match", distance, 2)])
    while len(stream.content) + 273 <= size:
        count = min((size - len(stream.content)) // 273, 4000)
        stream.lzma(0x80, [("match", 1, 273), *[("repeat", 0, 273)] * (count - 1)])
    return stream.lzma(0x80, [("short",)] * (size - len(stream.content))) if len(stream.content) < size else stream


def _window(cases: Collection) -> None:
    """Files of level 2 with more than 2^23 voxels, whose occupancy is larger than the dictionary."""
    dims = (511, 511, 33)
    size = (511 * 511 * 33 + 7) // 8
    stream = at_distance(lzma2.DICTIONARY + 1, size)
    raw = stream.bytes()
    content = lzma2.decode(raw, size, "distance")
    cases.add(
        "lzma-distance-beyond",
        "occupancy",
        "A match with distance 2^20 + 1.",
        occupied(raw, content, dims, 2),
        "R-OCC-02",
    )
    stream = at_distance(lzma2.DICTIONARY, size)
    assert stream.content[-1] >> 1  # bits after voxel V - 1, which is the lowest of its byte
    cases.add(
        "lzma-distance-full",
        "occupancy order-of-checks",
        "A match with distance 2^20, the largest; only the bits after the last voxel are wrong.",
        occupied(stream.bytes(), bytes(stream.content), dims, 2),
        "R-OCC-03",
    )
