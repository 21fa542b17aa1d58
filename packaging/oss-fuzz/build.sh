#!/bin/bash -eu
# Runs in the builder image of the service: $SRC, $OUT and compile_python_fuzzer are its own.
cd "$SRC/refcodec"
pip3 install -c constraints.txt .
for target in packaging/oss-fuzz/fuzz_*.py; do
    compile_python_fuzzer "$target" --paths fuzz:tests:conformance --add-data conformance/vectors:conformance/vectors \
        --add-data spec:spec
done
(cd conformance/vectors/valid && zip -q "$OUT/fuzz_file_seed_corpus.zip" */stream.rfv)
