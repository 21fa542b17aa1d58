"""libFuzzer entry of the file targets of `fuzz/targets.py`, mutated behind right checksums. Built by build.sh."""
import random
import sys

import atheris

with atheris.instrument_imports(include=["refcodec"]):
    import targets
import mutate


def _mutator(data: bytes, max_size: int, seed: int) -> bytes:
    rng = random.Random(seed)
    for _ in range(8):
        if len(out := mutate.mutate(data if rng.randrange(2) else mutate.pick_seed(rng), rng)) <= max_size:
            return out
    return data


if __name__ == "__main__":
    atheris.Setup(sys.argv, targets.check, custom_mutator=_mutator)
    atheris.Fuzz()
