"""The models of tests/models, compiled: their accuracy is the recorded one, and what is quantized gives the same bytes on
every instruction set that this machine has, for every number of threads, and as emitted C.

    tests/suites/embedded_models.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import json
import platform

import numpy as np

from support import accuracy
from tally import Tally

MODELS = accuracy.ROOT / "tests" / "models"
QUANTIZED = "cnn_int8"
# Targets whose code must agree to the bit: multiply-adds of 16 bits in three widths, and dot products of 8 bits.
INSTRUCTION_SETS = {
    "x86_64": [
        "cpu:x86-64-v2",
        "cpu:x86-64-v3",
        "cpu:x86-64-v4",
        "cpu:x86-64-v3+avxvnni",
        "cpu:x86-64-v4+avx512vnni",
    ],
    "aarch64": ["cpu:aarch64", "cpu:aarch64+dotprod", "cpu:aarch64+i8mm"],
}


def check_accuracy(tally, images, labels):
    for name, recorded in json.loads((MODELS / "accuracy.json").read_text()).items():
        # one image more or less is rounding where results are quantized, a mistake elsewhere
        allowed = 1.01 / len(labels) if name == QUANTIZED else 1e-6
        try:
            measured = accuracy.measure(MODELS / f"{name}.onnx", recorded["input"], images, labels, batch=len(images))
        except RuntimeError as error:
            tally.failed(name, str(error))
            continue
        wrong = abs(measured - recorded["accuracy"]) > allowed
        tally.check(name, [f"accuracy {measured:.6f}, recorded {recorded['accuracy']:.6f}"] if wrong else [])


def check_bytes(tally, images):
    model, stacked = MODELS / f"{QUANTIZED}.onnx", {"pixels": images[None]}
    expected = accuracy.run(model, stacked)["logits"]
    runs = [(target, ()) for target in INSTRUCTION_SETS.get(platform.machine(), [])]
    runs += [("cpu", ("--threads=3",)), ("c", ()), ("loops", ())]
    for target, options in runs:
        name = " ".join([QUANTIZED, target, *options])
        few = len(images) if target != "loops" else 2  # the interpreter is slow
        try:
            logits = accuracy.run(model, {"pixels": images[None, :few]}, target, options)["logits"]
        except RuntimeError as error:
            if "this machine" in str(error) or "CPU lacks" in str(error):
                tally.skipped(name, "this machine lacks it")
            else:
                tally.failed(name, str(error))
            continue
        differ = np.flatnonzero((logits[0] != expected[0, :few]).any(axis=1))
        problem = f"{len(differ)} of {few} rows differ from the native target's, the first is {differ[:1]}"
        tally.check(name, [problem] if len(differ) else [])


def main():
    tally = Tally()
    images, labels = np.load(MODELS / "digits_test_images.npy"), np.load(MODELS / "digits_test_labels.npy")
    check_accuracy(tally, images, labels)
    check_bytes(tally, images)
    tally.finish()


if __name__ == "__main__":
    main()
