"""libFuzzer entry of the entropy decoder's target. Built by build.sh."""
import sys

import atheris

with atheris.instrument_imports(include=["refcodec"]):
    import targets

if __name__ == "__main__":
    atheris.Setup(sys.argv, targets.entropy)
    atheris.Fuzz()
