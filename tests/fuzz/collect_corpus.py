#!/usr/bin/env python3
"""Adds seeds to the corpora of the fuzzers out of what the tests are made of: text IR and loops of the text tests, small
models and tensors of the ONNX backend suite. The files go to build/fuzz/corpus/TARGET/, which is not checked in.

    tests/fuzz/collect_corpus.py FOLDER     FOLDER/onnx_fuzz/... are written; called by `tools/dev fuzz`
"""

import pathlib
import shutil
import sys

import onnx

TESTS = pathlib.Path(__file__).resolve().parent.parent
DATA = pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data"
LARGEST = 4096  # bytes: small seeds make quick runs

SEEDS = {
    "onnx_fuzz": DATA.glob("*/*/model.onnx"),
    "tensor_fuzz": DATA.glob("*/*/test_data_set_0/*.pb"),
    "sir_fuzz": TESTS.rglob("*.sir"),
    "loop_parse_fuzz": TESTS.rglob("*.loops"),
}


def main():
    top = pathlib.Path(sys.argv[1])
    for target, paths in SEEDS.items():
        folder = top / target
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(paths):
            if path.stat().st_size <= LARGEST:
                shutil.copyfile(path, folder / "-".join(path.parts[-3:]))


if __name__ == "__main__":
    main()
