"""Compressed models of tests/models: a standard file that ONNX Runtime computes as compiled code does, smaller by its bits, and
an accuracy that holds.

    tests/suites/compressed_models.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import os
import pathlib
import tempfile

import numpy as np

from support import accuracy, compression
from tally import Tally

MODELS = accuracy.ROOT / "tests" / "models"
# model, options, times smaller at least, points of accuracy lost at most
ROWS = [
    ("cnn", ["--quantize=int8"], 3, 1.0),
    ("cnn", ["--quantize=int8", "--observe=entropy"], 3, 1.0),
    ("cnn", ["--quantize=int8", "--activations=i8", "--observe=percentile:99.9"], 3, 1.0),
    ("cnn", ["--quantize=int4", "--activations=u8"], 3.5, 4.0),
    ("cnn", ["--quantize=power_of_two"], 3, 4.0),
    ("mlp", ["--quantize=int8", "--activations=u16"], 3, 1.0),
    ("mlp", ["--quantize=int8", "--activations=dynamic"], 3, 1.0),
    ("mlp", ["--quantize=uint4", "--per=group:16", "--activations=none"], 3.5, 2.0),
    ("mlp", ["--quantize=bf16"], 1.8, 0.5),
    ("transformer", ["--quantize=int8", "--activations=dynamic"], 1.5, 2.0),
    # int4 for all layers makes it 3.8 times smaller
    ("cnn", ["--max-drop=1.5%", "--settings=int8,int4,int4_channels"], 4.5, 1.5),
]


def main():
    tally = Tally()
    images, labels = np.load(MODELS / "digits_test_images.npy"), np.load(MODELS / "digits_test_labels.npy")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SINTER_CACHE"] = folder + "/kernels"
        for model, options, smaller, lost in ROWS:
            name = " ".join([model, *options])
            out = pathlib.Path(folder) / "out.onnx"
            try:
                rows = compression.compress(MODELS / f"{model}.onnx", out, {"pixels": images}, options, labels)
                differ = compression.disagreement(out, "pixels", images, len(images))
            except Exception as error:
                tally.failed(name, str(error))
                continue
            problems = []
            if rows["size"][2] < smaller:
                problems.append(f"{rows['size'][2]} times smaller, expected {smaller}")
            if rows["top1"][2] < -lost:
                problems.append(f"accuracy {rows['top1'][:2]}, {lost} points may be lost")
            if differ > 0.004:
                problems.append(f"{100 * differ:.2f} % of the answers are not those of ONNX Runtime")
            tally.check(name, problems)
    tally.finish()


if __name__ == "__main__":
    main()
