"""Compression of real trained models: points of accuracy lost, and the written file in ONNX Runtime against compiled code;
and a search inside of a budget.

Calibrated with the first thousand items without their labels, scored on the others. The models and the data are not part of the
repository: they are looked for in ../shared, or in $SINTER_SHARED; without them everything is skipped. Names as arguments measure
the rows that have one of them.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

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
BUDGET = "resnet20 budget of 1 point"
UNIFORM = ["int8", "int4", "int3", "uint2", "int2", "ternary", "power_of_two"]  # weights, all with activations of 8 bits
SEARCH_SECONDS, STOPPED_AFTER, PATIENCE = 480, 60, 600
ENDS = '"/conv1/Conv" weights=int8\n"/linear/Gemm" weights=int8\n'  # first and last layer, of rows that say so
NAIVE = "default rounding=nearest score=magnitude\n"


def search(out, options, seconds):
    """The search, stopped after so many seconds (0: never); how long it took, and what it printed, None where it was stopped."""
    command = [accuracy.SINTER, "compress", SHARED / "models" / "cifar10_resnet20_f32.onnx", "-o", out, *options]
    begin = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            said, complained = process.communicate(timeout=seconds or None)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
            return time.monotonic() - begin, None
    if process.returncode != 0:
        raise RuntimeError(f"exit status {process.returncode}: {complained[-500:]}")
    return time.monotonic() - begin, said


def measure_budget(folder):
    """Problems of a search that is stopped and goes on, against one setting for all layers, and of its replay."""
    inputs, labels = cifar()
    np.save(folder / "images.npy", inputs["input"])
    np.save(folder / "labels.npy", labels)
    data = ["--calibrate=1000", "-i", f"input={folder}/images.npy", f"--labels={folder}/labels.npy"]
    budget = ["--max-drop=1%", f"--work={folder}/work", f"--write-recipe={folder}/found.recipe", "--jobs=2"]
    budget += [f"--seconds={SEARCH_SECONDS}", f"--report={folder}/report.html"]
    out = folder / "budget.onnx"
    first, said = search(out, [*data, *budget], STOPPED_AFTER)
    assert said is None and not out.exists(), "the search was not stopped"
    second, said = search(out, [*data, *budget], 0)
    lost = -float(re.search(r"^top1 .* ([-+][\d.e-]+) on", said, re.MULTILINE).group(1))
    search(folder / "again.onnx", [*data, f"--recipe={folder}/found.recipe"], 0)
    problems = [] if lost <= 1 else [f"lost {lost:.2f} points"]
    problems += [] if out.read_bytes() == (folder / "again.onnx").read_bytes() else ["the replay differs"]
    problems += [f"took {first + second:.0f} s"] if first + second > PATIENCE else []
    best = None
    for grid in UNIFORM:
        uniform = folder / "uniform.onnx"
        options = ["--calibrate=1000", f"--quantize={grid}", "--activations=u8"]
        rows = compression.compress(SHARED / "models" / "cifar10_resnet20_f32.onnx", uniform, inputs, options, labels)
        if -rows["top1"][2] <= 1 and (best is None or uniform.stat().st_size < best[1]):
            best = grid, uniform.stat().st_size, -rows["top1"][2]
    size = out.stat().st_size
    problems += [f"{size} bytes, {best[0]} for all has {best[1]}"] if best and size >= best[1] else []
    table = " ".join(said.split())
    print(
        f"{BUDGET}: {size} bytes, lost {lost:.2f}; the best setting for all layers is {best}; "
        f"stopped after {first:.0f} s, {second:.0f} s more; {table}",
        flush=True,
    )
    return problems


def check_budget(tally):
    if sys.argv[1:] and not any(word in BUDGET for word in sys.argv[1:]):
        return
    if not (SHARED / "models" / "cifar10_resnet20_f32.onnx").exists():
        tally.skipped(BUDGET, f"{SHARED / 'models'} has no cifar10_resnet20_f32.onnx")
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            tally.check(BUDGET, measure_budget(pathlib.Path(folder)))
        except Exception as error:
            tally.failed(BUDGET, str(error))


def main():
    tally = Tally()
    check_budget(tally)
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
                differ = compression.disagreement(out, input_name, items, 100)
            except Exception as error:
                tally.failed(name, str(error))
                continue
            drop = -rows["top1"][2]
            print(
                f"{name}: {rows['top1'][0]:.2f} -> {rows['top1'][1]:.2f} %, lost {drop:.2f} (at most {lost}; "
                f"naively {-naive['top1'][2]:.2f}); "
                f"{rows['size'][2]:.2f} x smaller, {rows['latency'][0]:.3f} -> {rows['latency'][1]:.3f} ms; "
                f"{100 - 100 * differ:.2f} % as ONNX Runtime; {rows['seconds']:.0f} s",
                flush=True,
            )
            problems = [f"lost {drop:.2f} points, at most {lost}"] if drop > lost else []
            problems += [f"{100 * differ:.2f} % of the answers are not those of ONNX Runtime"] if differ > SAME else []
            tally.check(name, problems)
    tally.finish()


if __name__ == "__main__":
    main()
