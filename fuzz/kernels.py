"""The compiled kernels against numpy on mutated files: the same digests, the same error at the same place.

    python fuzz/kernels.py --runs 100000 [--seed 0]
"""
from __future__ import annotations

import argparse
import io
import random
import sys
import time
from collections import Counter

from mutate import mutate, pick_seed
from refcodec.decoding import Limits, open_stream
from refcodec.errors import BitstreamError
from refcodec.export import digest_lines
from refcodec.kernels import Kernels, choose

LIMITS = Limits(tensor_elements=1 << 14, occupancy_voxels=1 << 18, unit_size=1 << 16, frames=64, steps=1 << 14)


def outcome(data: bytes, kernels: Kernels) -> tuple[list[str], tuple | None]:
    """Digest lines of the frames of a file, and what ended its decoding."""
    lines: list[str] = []
    try:
        for frame in open_stream(io.BytesIO(data), LIMITS, kernels):
            lines += digest_lines(frame)
    except BitstreamError as e:
        return lines, (e.requirement, e.offset, e.element, str(e))
    return lines, None


def mutant(number: int) -> bytes:
    """A file that was changed, once to three times, its checksums right."""
    rng = random.Random(number)
    data = pick_seed(rng)
    for _ in range(rng.randint(1, 3)):
        data = mutate(data, rng)
    return data


def compare(number: int) -> str:
    """What both came to for a mutant: the requirement, or `decoded`. Raises AssertionError."""
    data = mutant(number)
    native, numpy = (outcome(data, choose(name)) for name in ("native", "numpy"))
    if native != numpy:
        raise AssertionError(f"mutant {number}: native {native[1]} after {len(native[0])} lines, "
                             f"numpy {numpy[1]} after {len(numpy[0])}")
    return native[1][0] if native[1] else "decoded"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started, found, defects = time.monotonic(), Counter[str](), 0
    for number in range(arguments.seed, arguments.seed + arguments.runs):
        try:
            found[compare(number)] += 1
        except AssertionError as e:
            defects += 1
            print(e, flush=True)
        if number % 1000 == 999:
            print(f"{sum(found.values())} mutants, {found['decoded']} decoded, {len(found)} outcomes, "
                  f"{defects} defects, {time.monotonic() - started:.0f} s", flush=True)
    return 2 if defects else 0


if __name__ == "__main__":
    sys.exit(main())
