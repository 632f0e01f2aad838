"""Quantized products whose depth is cut over ranks: every integer is that of one device, whatever says the quantization, as sums over ranks are
those of integers. Scales are such that many results lie beside a tie, where a sum of rounded products would be another integer.

    tests/suites/shard_quantized.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import os
import pathlib
import re
import subprocess
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tally import Tally

BUILD = pathlib.Path(os.environ.get("SINTER_BUILD", "build/dev"))
SINTER = BUILD / "bin" / "sinter"
ROWS, DEPTH, COLUMNS = 256, 64, 32
SCALES = {"x_scale": 0.1, "w_scale": 0.01, "y_scale": 0.5, "b_scale": np.float32(0.1) * np.float32(0.01)}


def dequantize(name):
    return helper.make_node("DequantizeLinear", [name, f"{name}_scale", f"{name}_zero"], [f"{name}_float"])


def body(kind):
    """Nodes from the integers x to the integers y."""
    if kind == "qlinear":
        inputs = [f"{name}{part}" for name in "xw" for part in ("", "_scale", "_zero")]
        return [helper.make_node("QLinearMatMul", [*inputs, "y_scale", "y_zero"], ["y"])]
    if kind == "gemm":
        product = [helper.make_node("Gemm", ["x_float", "w_float", "b_float"], ["product"])]
    elif kind == "clamped":
        product = [
            helper.make_node("MatMul", ["x_float", "w_float"], ["sum"]),
            helper.make_node("Add", ["sum", "b_float"], ["shifted"]),
            helper.make_node("Relu", ["shifted"], ["product"]),
        ]
    else:
        product = [helper.make_node("MatMul", ["x_float", "w_float"], ["product"])]
    return [*map(dequantize, "xwb"), *product, helper.make_node("QuantizeLinear", ["product", "y_scale", "y_zero"], ["y"])]


def write(path, kind, x_zero, w_zero, seed):
    """The model and its input of seed; w_zero 0: weights are i8, otherwise u8."""
    rng = np.random.default_rng(seed)
    least, beyond, dtype = (0, 256, np.uint8) if w_zero else (-127, 128, np.int8)
    constants = {name: np.float32(scale) for name, scale in SCALES.items()}
    constants |= {"x_zero": np.uint8(x_zero), "w_zero": dtype(w_zero), "y_zero": np.uint8(128), "b_zero": np.int32(0)}
    constants["w"] = rng.integers(least, beyond, (DEPTH, COLUMNS)).astype(dtype)
    constants["b"] = rng.integers(-3000, 3000, COLUMNS).astype(np.int32)
    graph = helper.make_graph(
        [helper.make_node("QuantizeLinear", ["pixels", "x_scale", "x_zero"], ["x"]), *body(kind)],
        "quantized",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [ROWS, DEPTH])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [ROWS, COLUMNS])],
        [numpy_helper.from_array(np.asarray(data), name) for name, data in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    np.save(path.with_suffix(".npy"), (rng.standard_normal((ROWS, DEPTH)) * 4).astype(np.float32))


def sinter(*arguments):
    done = subprocess.run([SINTER, *arguments], capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(done.stderr)


def answer(program, model, folder):
    sinter("run", program, "-i", f"pixels={model.with_suffix('.npy')}", "-o", folder)
    return np.load(folder / "y.npy")


def compare(work, model, ranks, one):
    """Problems of this many ranks."""
    folder = work / "ranks"
    sinter("shard", model, f"--mesh=model:{ranks}", "--shard=w=model,_", "-o", folder)
    if re.search("^program 0x[0-9a-f]+ of", (folder / "ranks.txt").read_text(), re.MULTILINE):
        return ["ranks have the same weights: nothing was cut"]
    wrong = int((answer(folder, model, work / "out") != one).sum())
    return [f"{wrong} of {one.size} integers differ"] if wrong else []


def main():
    tally = Tally()
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        model = work / "quantized.onnx"
        for seed in range(3):
            for kind in ("product", "gemm", "clamped", "qlinear"):
                for x_zero, w_zero in ((128, 0), (3, 100)):
                    write(model, kind, x_zero, w_zero, seed)
                    one = answer(model, model, work / "one")
                    for ranks in (2, 4):
                        tally.check(f"{kind}, zero points {x_zero} and {w_zero}, seed {seed}, {ranks} ranks", compare(work, model, ranks, one))
    tally.finish()


if __name__ == "__main__":
    main()
