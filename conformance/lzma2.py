"""Raw LZMA2 streams made by hand (section 6.1), chunk by chunk and match by match, right or wrong.

`Stream` writes them; encoders of the usual libraries only write what they find best.
`decode` reads them, strictly or with one of the `WRONG_READINGS` of the text: a vector
for such a reading is one on which the two differ. Python's lzma is the reference. (That
the position begins to count at a dictionary reset can't be seen: the probabilities are
fresh there, and another beginning only exchanges them.)

An operation is ("literal", byte), ("match", distance, length), ("repeat", index,
length) of one of the last four distances, or ("short",), one byte at the last of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

DICTIONARY = 1 << 20
END_MARKER = ("match", 1 << 32, 2)  # what marks the end in LZMA outside LZMA2
WRONG_READINGS = {
    "first-byte": "the first byte of a chunk's range-coded data has any value",
    "final-code": "the code of the range decoder after a chunk has any value",
    "no-last-normalisation": "the range decoder is not normalised after the last symbol of a chunk",
    "unread-bytes": "bytes of a chunk may be left over",
    "reads-beyond": "the range decoder may read on beyond the chunk",
    "zeros-beyond": "the range decoder reads zeros beyond the chunk",
    "lc-lp": "lc and lp may exceed 4 together",
    "pb": "properties may exceed 224",
    "distance": "a match may reach beyond 2^20 bytes",
    "distance-short": "a match may not reach back 2^20 bytes, only less",
    "before-reset": "a match may reach beyond the last dictionary reset",
    "zeros-before": "before the content there are zeros that a match may reach",
    "match-cut": "a match is cut at the end of its chunk",
    "match-whole": "a match may go on beyond the end of its chunk",
    "end-marker": "an end marker of LZMA ends a chunk",
    "end-marker-last": "an end marker of LZMA may follow the last symbol of a chunk",
    "no-properties": "properties never given are those of most encoders",
    "old-properties": "properties outlive a dictionary reset by a stored chunk",
    "reserved-control": "reserved control bytes are those of stored chunks",
    "no-dictionary-reset": "the first chunk need not reset the dictionary",
    "position-of-chunk": "the position counts from the beginning of the chunk",
    "position-without-stored": "the position does not count stored bytes",
    "byte-before-reset": "the byte before the first one is the last one before the dictionary reset, not 0",
    "stored-resets-state": "a stored chunk resets the state",
    "stored-are-literals": "a stored chunk leaves the state as literals would",
    "state-kept": "control bytes 0xA0 to 0xBF do not reset the state",
    "distances-kept": "a reset of the state keeps the last four distances",
    "state-kept-with-properties": "new properties do not reset the state",
    "state-always-reset": "every chunk resets the state",
    "code-unbounded": "the code of the range decoder may outgrow 32 bits",
}


class Lzma2Error(ValueError):
    """The data break R-OCC-02."""


class _RangeEncoder:
    def __init__(self):
        self.low, self.range, self.count = 0, 0xFFFFFFFF, 0

    def normalise(self) -> None:
        if self.range < 1 << 24:
            self.low, self.range, self.count = self.low << 8, self.range << 8, self.count + 1

    def bit(self, chances: dict, key: tuple, bit: int) -> int:
        self.normalise()
        chance = chances.get(key, 1024)
        bound = (self.range >> 11) * chance
        if bit:
            self.low, self.range = self.low + bound, self.range - bound
        else:
            self.range = bound
        chances[key] = _adapted(chance, bit)
        return bit

    def direct(self, bit: int) -> int:
        self.normalise()
        self.range >>= 1
        self.low += self.range * bit
        return bit

    def bytes(self) -> bytes:
        self.normalise()
        return self.low.to_bytes(self.count + 5, "big")


class _RangeDecoder:
    def __init__(self, data: bytes, at: int, size: int, wrong: str | None):
        """The range-coded data of a chunk are `size` bytes of `data` from `at` on."""
        self.data, self.at, self.end, self.wrong = data, at, at + size, wrong
        if self._byte() and wrong != "first-byte":
            raise Lzma2Error("first byte")
        self.range, self.code = 0xFFFFFFFF, 0
        for _ in range(4):
            self.code = self.code << 8 | self._byte()

    def _byte(self) -> int:
        self.at += 1
        if self.at > self.end and self.wrong == "zeros-beyond":
            return 0
        if self.at > len(self.data) or self.at > self.end and self.wrong != "reads-beyond":
            raise Lzma2Error("range-coded data too short")
        return self.data[self.at - 1]

    def normalise(self) -> None:
        if self.range < 1 << 24:
            self.range, self.code = self.range << 8, self.code << 8 | self._byte()
            if self.wrong != "code-unbounded":
                self.code &= 0xFFFFFFFF

    def bit(self, chances: dict, key: tuple, _=None) -> int:
        self.normalise()
        chance = chances.get(key, 1024)
        bound = (self.range >> 11) * chance
        bit = int(self.code >= bound)
        if bit:
            self.code, self.range = self.code - bound, self.range - bound
        else:
            self.range = bound
        chances[key] = _adapted(chance, bit)
        return bit

    def direct(self, _=None) -> int:
        self.normalise()
        self.range >>= 1
        bit = int(self.code >= self.range)
        self.code -= self.range * bit
        return bit

    def finish(self) -> int:
        """Where the next chunk begins."""
        if self.wrong != "no-last-normalisation":
            self.normalise()
        if self.code and self.wrong != "final-code":
            raise Lzma2Error("final code")
        if self.at < self.end and self.wrong != "unread-bytes":
            raise Lzma2Error("bytes left")
        return self.at if self.wrong == "reads-beyond" else self.end


def _adapted(chance: int, bit: int) -> int:
    return chance - (chance >> 5) if bit else chance + ((2048 - chance) >> 5)


class _Model:
    """State of the LZMA coder. Its methods encode a value, or decode one where it is None."""

    def __init__(self, lc: int, lp: int, pb: int):
        self.lc, self.lp, self.pb = lc, lp, pb
        self.state, self.distances, self.chances = 0, [1, 1, 1, 1], {}

    def reset(self, wrong: str | None = None) -> _Model:
        fresh = _Model(self.lc, self.lp, self.pb)
        if wrong == "distances-kept":
            fresh.distances = self.distances
        return fresh

    def code(self, coder, position: int, before: int, history: bytearray, operation: tuple | None = None) -> tuple:
        """("literal", byte) or ("copy", distance, length). before: the byte before this one."""
        kind, state, place = operation and operation[0], self.state, position & ((1 << self.pb) - 1)

        def bit(name: str, value: bool | None, *more: int) -> int:
            return coder.bit(self.chances, (name, state, *more), None if value is None else int(value))

        def asked(value):
            return None if operation is None else value

        if not bit("match", asked(kind != "literal"), place):
            byte = self._literal(coder, position, before, history, operation and operation[1])
            self.state = 0 if state < 4 else state - 3 if state < 10 else state - 6
            return "literal", byte
        if not bit("repeat", asked(kind != "match")):
            length = self._length(coder, "match", place, operation and operation[2])
            self.distances = [self._distance(coder, length, operation and operation[1]), *self.distances[:3]]
            self.state = 7 if state < 7 else 10
            return "copy", self.distances[0], length
        index = operation and (operation[1] if kind == "repeat" else 0)
        if not bit("repeat-0", asked(index != 0)):
            if not bit("long", asked(kind != "short"), place):
                self.state = 9 if state < 7 else 11
                return "copy", self.distances[0], 1
            index = 0
        elif not bit("repeat-1", asked(index != 1)):
            index = 1
        else:
            index = 2 + bit("repeat-2", asked(index == 3))
        self.distances.insert(0, self.distances.pop(index))
        self.state = 8 if state < 7 else 11
        return "copy", self.distances[0], self._length(coder, "repeat", place, operation and operation[2])

    def _literal(self, coder, position, before, history, value):
        context = (position & ((1 << self.lp) - 1)) << self.lc | before >> (8 - self.lc)
        symbol, same = 1, self.state >= 7
        match = history[-self.distances[0]] if same and self.distances[0] <= len(history) else 0
        for i in reversed(range(8)):
            expected = match >> i & 1
            key = ("literal", context, same and 1 + expected, symbol)
            bit = coder.bit(self.chances, key, None if value is None else value >> i & 1)
            symbol, same = symbol << 1 | bit, same and bit == expected
        return symbol & 255

    def _tree(self, coder, key, bits, value, reverse=False):
        at = 1
        decoded = 0
        for i in range(bits):
            shift = i if reverse else bits - 1 - i
            bit = coder.bit(self.chances, (*key, at), None if value is None else value >> shift & 1)
            at, decoded = at << 1 | bit, decoded | bit << shift
        return decoded

    def _length(self, coder, name, place, value):
        rest = None if value is None else value - 2
        if not coder.bit(self.chances, (name, "choice"), None if rest is None else int(rest >= 8)):
            return 2 + self._tree(coder, (name, "low", place), 3, rest)
        if not coder.bit(self.chances, (name, "choice-2"), None if rest is None else int(rest >= 16)):
            return 10 + self._tree(coder, (name, "middle", place), 3, rest and rest - 8)
        return 18 + self._tree(coder, (name, "high"), 8, rest and rest - 16)

    def _distance(self, coder, length, value):
        rest = slot = None
        if value is not None:
            rest = slot = value - 1
            if rest >= 4:
                bits = rest.bit_length() - 2
                slot = 2 * bits + 2 | rest >> bits & 1
        slot = self._tree(coder, ("slot", min(length - 2, 3)), 6, slot)
        if slot < 4:
            return slot + 1
        bits, distance = slot // 2 - 1, (2 | slot & 1) << (slot // 2 - 1)
        if slot < 14:
            return 1 + distance + self._tree(coder, ("special", slot), bits, rest, reverse=True)
        for i in reversed(range(4, bits)):
            distance |= coder.direct(None if rest is None else rest >> i & 1) << i
        return 1 + distance + self._tree(coder, ("align",), 4, rest, reverse=True)


@dataclass(slots=True)
class Chunk:
    """One chunk; its fields can be changed before its bytes are made."""

    control: int
    size: int
    payload: bytes
    properties: int = 0

    def bytes(self) -> bytes:
        size = (self.size - 1).to_bytes(3, "big")
        if self.control < 0x80:
            return bytes([self.control]) + size[1:] + self.payload
        head = bytes([self.control | size[0]]) + size[1:] + (len(self.payload) - 1).to_bytes(2, "big")
        return head + (bytes([self.properties]) if self.control >= 0xC0 else b"") + self.payload


@dataclass(slots=True)
class Stream:
    """A raw LZMA2 stream that grows by chunks. `content`: what a decoder makes of them."""

    chunks: list[Chunk] = field(default_factory=list)
    content: bytearray = field(default_factory=bytearray)
    start: int = 0
    _model: _Model = field(default_factory=lambda: _Model(3, 0, 2))

    def stored(self, data: bytes, control: int = 2) -> Stream:
        """A stored chunk; control 1 resets the dictionary."""
        if control == 1:
            self.start = len(self.content)
        self.content += data
        self.chunks.append(Chunk(control, len(data), bytes(data)))
        return self

    def lzma(self, control: int, operations: Iterable[tuple], properties: tuple[int, int, int] = (3, 0, 2)) -> Stream:
        """An LZMA chunk. control: 0x80, 0xA0 (reset of the state), 0xC0 (and properties lc, lp, pb) or 0xE0 (and
        of the dictionary)."""
        if control == 0xE0:
            self.start = len(self.content)
        lc, lp, pb = properties
        if control >= 0xC0:
            self._model = _Model(lc, lp, pb)
        elif control >= 0xA0:
            self._model = self._model.reset()
        coder, before = _RangeEncoder(), len(self.content)
        for operation in operations:
            position = len(self.content) - self.start
            last = self.content[-1] if position else 0
            found = self._model.code(coder, position, last, self.content, operation)
            if operation != END_MARKER:
                _apply(self.content, found)
        self.chunks.append(Chunk(control, len(self.content) - before, coder.bytes(), (pb * 5 + lp) * 9 + lc))
        return self

    def bytes(self) -> bytes:
        return b"".join(chunk.bytes() for chunk in self.chunks) + b"\0"


def _apply(history: bytearray, operation: tuple) -> None:
    if operation[0] == "literal":
        history.append(operation[1])
        return
    _, distance, length = operation
    window = bytes(max(0, distance - len(history))) + history[-distance:]
    history += (window * (length // distance + 1))[:length]


def decode(data: bytes, size: int, wrong: str | None = None) -> bytes:
    """The content of a stream, `size` bytes; Lzma2Error where the data break R-OCC-02.

    wrong: one of `WRONG_READINGS`, which the decoder shares.
    """
    history, at, start, skipped = bytearray(), 0, 0, 0
    model, need_reset, need_properties = _Model(3, 0, 2), wrong != "no-dictionary-reset", wrong != "no-properties"
    given = False

    def take(count: int) -> bytes:
        nonlocal at
        at += count
        if at > len(data):
            raise Lzma2Error("data end early")
        return data[at - count : at]

    while control := take(1)[0]:
        if control == 1 or control >= 0xE0:
            start, skipped, need_reset = len(history), 0, False
            if wrong != "no-properties" and not (wrong == "old-properties" and given):
                need_properties = True
        elif need_reset:
            raise Lzma2Error("first chunk without dictionary reset")
        if control < 0x80:
            if control > 2 and wrong != "reserved-control":
                raise Lzma2Error("reserved control byte")
            stored = take(int.from_bytes(take(2), "big") + 1)
            history += stored
            skipped += len(stored) if wrong == "position-without-stored" else 0
            if wrong == "stored-resets-state":
                model = model.reset()
            elif wrong == "stored-are-literals":
                model.state = 0
        else:
            length = (control & 31) << 16 | int.from_bytes(take(2), "big")
            packed = int.from_bytes(take(2), "big") + 1
            if control >= 0xC0:
                properties, old = take(1)[0], model
                pb, lp, lc = properties // 45, properties // 9 % 5, properties % 9
                if (lc + lp > 4 and wrong != "lc-lp") or (properties > 224 and wrong != "pb"):
                    raise Lzma2Error("properties")
                model, need_properties, given = _Model(lc, lp, pb), False, True
                if wrong == "state-kept-with-properties":
                    model.state, model.distances, model.chances = old.state, old.distances, old.chances
                elif wrong == "distances-kept" and control < 0xE0:
                    model.distances = old.distances
            elif need_properties:
                raise Lzma2Error("no properties")
            elif control >= 0xA0 and wrong != "state-kept" or wrong == "state-always-reset":
                model = model.reset(wrong)
            coder, first = _RangeDecoder(data, at, packed, wrong), len(history)
            end = first + length + 1
            while len(history) < end:
                position = len(history) - start
                last = history[-1] if history and (position or wrong == "byte-before-reset") else 0
                counted = len(history) - first if wrong == "position-of-chunk" else position - skipped
                found = model.code(coder, counted, last, history)
                if found[0] == "copy":
                    _, distance, count = found
                    if distance == END_MARKER[1] and wrong == "end-marker":
                        break
                    reach = {"before-reset": len(history), "zeros-before": DICTIONARY}.get(wrong, position)
                    window = DICTIONARY - (wrong == "distance-short")
                    if distance > reach or (distance > window and wrong != "distance"):
                        raise Lzma2Error("distance")
                    if len(history) + count > end and wrong not in ("match-cut", "match-whole"):
                        raise Lzma2Error("match beyond its chunk")
                _apply(history, found)
            if wrong == "match-cut":
                del history[end:]
            if wrong == "end-marker-last" and coder.at < coder.end:
                model.code(coder, len(history) - start, history[-1], history)
            at = coder.finish()
        if len(history) > size:
            raise Lzma2Error("content too long")
    if len(history) != size or at != len(data):
        raise Lzma2Error("wrong size")
    return bytes(history)
