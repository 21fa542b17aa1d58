"""All decoders on the same mutated files: they must come to the same frames, and to the same error at their end.

    python fuzz/differential.py --runs 1000000 --report differential.json

Compared are Python with the compiled kernels and with numpy (also the offset and wording of errors), the JavaScript
decoder in node with its kernels in WebAssembly and in JavaScript, and for a few files the decoder in the
specification's text. Files that go beyond LIMITS, which the others have none of, are left out.
"""
from __future__ import annotations

import argparse
import contextlib
import json
import random
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import targets
from mutate import mutate, pick_seed
from refcodec.kernels import choose

HERE = Path(__file__).parent
TEXT_SHARE = 500  # of so many mutants the text decodes one
TELL_EVERY = 30.0  # seconds
Lists = dict[str, list[str]]  # digest list by decoder


class Node:
    """The JavaScript decoder, in one process for all files."""

    def __init__(self, program: str):
        self.process = subprocess.Popen([program, HERE / "differential.mjs"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def send(self, data: bytes) -> None:
        self.process.stdin.write(struct.pack("<I", len(data)) + data)
        self.process.stdin.flush()

    def answer(self) -> Lists:
        """Of the file that was sent last."""
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"node ended with exit code {self.process.wait()}")
        return dict(zip(("WebAssembly", "JavaScript"), json.loads(line)))

    def close(self) -> None:
        with self.process:
            self.process.stdin.close()


class Disagreement(AssertionError):
    """Decoders that come to different results."""


class Comparison:
    """Decoders that are given the same files. counts: of agreements, by what they came to."""

    def __init__(self, node: Node | None):
        self.node, self.counts, self.text = node, Counter[str](), 0
        self.native, self.numpy = (targets.RememberingKernels(choose(name)) for name in ("native", "numpy"))

    def __call__(self, data: bytes, *, text: bool = False) -> str:
        """What all came to: the requirement, or `decoded`. Raises Disagreement."""
        found: Lists = {}
        found["native"], error = targets.digests(data, kernels=self.native)
        beyond = error is not None and error.requirement == "R-LIM-01"
        if self.node is not None and not beyond:
            self.node.send(data)
        found["numpy"], other = targets.digests(data, kernels=self.numpy)
        if self.node is not None and not beyond:
            found |= self.node.answer()
        if text and not beyond and (lines := targets.text_lines(data)) is not None:
            found["text"], self.text = lines, self.text + 1
        if len({tuple(lines) for lines in found.values()}) > 1:
            raise Disagreement("; ".join(f"{name}: {lines[-1]} after {len(lines)} lines"
                                         for name, lines in found.items()))
        if repr(error) != repr(other) or error and (error.offset, error.element) != (other.offset, other.element):
            raise Disagreement(f"native: {error!r}; numpy: {other!r}")
        outcome = error.requirement if error is not None else "decoded"
        self.counts[outcome] += 1
        return outcome


def mutant(number: int) -> bytes:
    """A file that was changed, once to three times, its checksums right."""
    rng = random.Random(number)
    data = pick_seed(rng)
    for _ in range(rng.randint(1, 3)):
        data = mutate(data, rng)
    return data


@contextlib.contextmanager
def comparison(program: str | None) -> Iterator[Comparison]:
    """Decoders, with those of JavaScript where a node is given."""
    node = Node(program) if program else None
    try:
        yield Comparison(node)
    finally:
        if node is not None:
            node.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=0, help="mutants (default: until --seconds are over)")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--seed", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--node", default="node", help="program; empty: without JavaScript")
    parser.add_argument("--disagreements", type=Path, default=HERE / "crashes", help="folder for files that show one")
    parser.add_argument("--report", type=Path, help="write the summary there as JSON, also while the run lasts")
    arguments = parser.parse_args()
    if not arguments.runs and arguments.seconds == float("inf"):
        parser.error("give --runs or --seconds")
    targets.remember()
    started = told = time.monotonic()
    disagreements: list[dict] = []
    with comparison(arguments.node) as compare:
        number = arguments.seed

        def summary() -> dict:
            done = number - arguments.seed
            seconds = time.monotonic() - started
            return dict(mutants=done, first=arguments.seed, seconds=round(seconds), a_second=round(done / seconds, 1),
                        agreements=sum(compare.counts.values()), outcomes=len(compare.counts), by_text=compare.text,
                        disagreements=disagreements, counts=dict(compare.counts.most_common()))

        def tell() -> None:
            state = summary()
            print("{mutants} mutants, {agreements} agreements of {outcomes} outcomes, {by_text} with the text, "
                  "{a_second}/s".format(**state), f"{len(disagreements)} disagreements", sep=", ", flush=True)
            if arguments.report:
                arguments.report.write_text(json.dumps(state, indent=1) + "\n")

        while (not arguments.runs or number < arguments.seed + arguments.runs) \
                and time.monotonic() - started < arguments.seconds:
            data = mutant(number)
            try:
                compare(data, text=zlib.crc32(data) % TEXT_SHARE == 0 and len(data) <= targets.TEXT_SIZE)
            except (Disagreement, targets.Defect) as e:
                arguments.disagreements.mkdir(parents=True, exist_ok=True)
                (arguments.disagreements / f"mutant-{number}.rfv").write_bytes(data)
                disagreements.append(dict(mutant=number, what=str(e)))
                print(f"mutant {number}: {e}", flush=True)
            number += 1
            if time.monotonic() - told > TELL_EVERY:
                told = time.monotonic()
                tell()
        tell()
    return 2 if disagreements else 0


if __name__ == "__main__":
    sys.exit(main())
