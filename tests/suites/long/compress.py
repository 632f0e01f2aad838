"""Compression of real trained models: points of accuracy lost, and the written file in ONNX Runtime against compiled code.

Calibrated with the first thousand items without their labels, scored on the others. The models and the data are not part of the
repository: they are looked for in ../shared, or in $SINTER_SHARED; without them everything is skipped. Names as arguments measure
the rows that have one of them.
"""

import os
import pathlib
import sys
import tempfile

import numpy as np

from support import accuracy, compression
from tally import Tally

SHARED = pathlib.Path(os.environ.get("SINTER_SHARED", accuracy.ROOT.parent / "shared"))
SAME = 0.001  # of the answers may differ from ONNX Runtime's


def cifar():
    images = np.load(SHARED / "data" / "cifar10_test_images_u8_nchw.npy")
    mean = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
    deviation = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)
    items = ((images.astype(np.float32) / 255 - mean) / deviation).astype(np.float32)
    return {"input": items}, np.load(SHARED / "data" / "cifar10_test_labels.npy")


RESNETS = {
    "W8A8": (["--quantize=int8"], 0.15, 0.15),
    "W4A8": (["--quantize=int4", "--activations=u8"], 0.3, 0.3),
    "W3A8": (["--quantize=int3", "--activations=u8"], 0.5, 0.5),
    "power of two": (["--quantize=power_of_two", "--activations=u8"], 0.5, 0.4),
    "ternary": (["--quantize=ternary", "--activations=u8"], 2.5, 2.5),
    "binary but for the ends": (["--quantize=binary", "--activations=u8"], 6, 5.5),
    "50 %": (["--prune=0.5"], 0.6, 0.6),
    "70 %": (["--prune=0.7"], 1.3, 1.1),
    "80 %": (["--prune=0.8"], 4, 2.8),
    "2:4 W8A8": (["--quantize=int8", "--prune=2:4"], 0.6, 0.5),
    "channels, 30 % fewer multiply-adds": (["--prune=macs:0.3"], 1.1, 0.5),
    "channels, 50 % fewer multiply-adds": (["--prune=macs:0.5"], 5, 1.8),
}
# name, model, data, options, points that may be lost
ROWS = [
    (f"resnet{size} {name}", f"cifar10_resnet{size}_f32.onnx", cifar, row[0], row[1 + at])
    for at, size in enumerate((20, 56))
    for name, row in RESNETS.items()
]
NOT_IN_ONNX_RUNTIME = ("ternary", "binary")  # weights of type int2 in convolutions
ENDS = '"/conv1/Conv" weights=int8\n"/linear/Gemm" weights=int8\n'  # first and last layer, of rows that say so
NAIVE = "default rounding=nearest score=magnitude\n"


def main():
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        for name, model, data, options, lost in ROWS:
            if sys.argv[1:] and not any(word in name for word in sys.argv[1:]):
                continue
            if not (SHARED / "models" / model).exists():
                tally.skipped(name, f"{SHARED / 'models' / model} is not there")
                continue
            out = pathlib.Path(folder) / "out.onnx"
            inputs, labels = data()
            rules = ENDS if "ends" in name else ""
            recipe = pathlib.Path(folder) / "rules.recipe"
            options = ["--calibrate=1000", *options, f"--recipe={recipe}"]
            try:
                recipe.write_text(rules)
                rows = compression.compress(SHARED / "models" / model, out, inputs, options, labels)
                ((input_name, items),) = inputs.items()
                recipe.write_text(rules + NAIVE)
                naive_out = pathlib.Path(folder) / "naive.onnx"
                naive = compression.compress(SHARED / "models" / model, naive_out, inputs, options, labels)
                beside = not any(word in name for word in NOT_IN_ONNX_RUNTIME)
                differ = compression.disagreement(out, input_name, items, 100) if beside else 0
            except Exception as error:
                tally.failed(name, str(error))
                continue
            drop = -rows["top1"][2]
            print(
                f"{name}: {rows['top1'][0]:.2f} -> {rows['top1'][1]:.2f} %, lost {drop:.2f} (at most {lost}; "
                f"naively {-naive['top1'][2]:.2f}); "
                f"{rows['size'][2]:.2f} x smaller, {rows['latency'][0]:.3f} -> {rows['latency'][1]:.3f} ms; "
                f"{f'{100 - 100 * differ:.2f} % as' if beside else 'not for'} ONNX Runtime; {rows['seconds']:.0f} s",
                flush=True,
            )
            problems = [f"lost {drop:.2f} points, at most {lost}"] if drop > lost else []
            problems += [f"{100 * differ:.2f} % of the answers are not those of ONNX Runtime"] if differ > SAME else []
            tally.check(name, problems)
    tally.finish()


if __name__ == "__main__":
    main()
