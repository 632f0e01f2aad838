"""What runs on several threads: made to be run under the thread sanitizer, `SINTER_PRESET=tsan tools/dev test threads`.

The programs of tests/unit that start threads; the embedded models, and models of one layer large enough to be divided, on
every back end that has threads: their outputs are to the bit those of one thread. Emitted C is compiled with the
sanitizer too, so that its loops are watched as well as the runtime.

    tests/suites/long/threads.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import os
import pathlib
import subprocess
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper

from tally import Tally

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("SINTER_BUILD", ROOT / "build" / "dev"))
MODELS = ROOT / "tests" / "models"
PROGRAMS = ("op_test", "pool_test", "collectives_test", "loader_test", "executable_test", "sinter_test")
TARGETS = ("cpu", "so", "c")
COUNTS = (2, 5)  # threads; five do not divide the work evenly
EMBEDDED = {
    "mlp": ["batch=64"],
    "cnn": ["batch=8"],
    "cnn_int8": ["batch=8"],
    "lstm": ["batch=16", "length=8"],
    "transformer": ["batch=4", "length=8"],
}
# name: (shapes of the operands, nodes); the first operand is `a`, the next `b` ..., the result `y`.
node = helper.make_node
LAYERS = {
    "product": (([4, 65, 70], [4, 70, 90]), [node("MatMul", ["a", "b"], ["y"])]),
    "tall product": (([4096, 40], [40, 32]), [node("MatMul", ["a", "b"], ["y"])]),
    "row times matrix": (([1, 1000], [1000, 2048]), [node("MatMul", ["a", "b"], ["y"])]),
    "convolution": (([2, 5, 30, 32], [12, 5, 3, 3]), [node("Conv", ["a", "b"], ["c"], pads=[1] * 4), node("Relu", ["c"], ["y"])]),
    "depthwise": (([1, 24, 32, 32], [24, 1, 3, 3]), [node("Conv", ["a", "b"], ["y"], group=24, pads=[1] * 4)]),
    "pooling": (([1, 64, 130, 129],), [node("MaxPool", ["a"], ["y"], kernel_shape=[3, 3], strides=[2, 2])]),
    "rows": (([320, 192], [192]), [node("Softmax", ["a"], ["s"]), node("LayerNormalization", ["s", "b"], ["y"])]),
    "columns": (([64, 300, 96],), [node("ReduceMean", ["a"], ["y"], axes=[1])]),
    "elements": (([3, 200, 208], [208]), [node("Add", ["a", "b"], ["s"]), node("Sigmoid", ["s"], ["y"])]),
    "turned": (([40, 50, 60],), [node("Transpose", ["a"], ["y"], perm=[2, 0, 1])]),
    "means of rows": (([320, 320],), [node("Sin", ["a"], ["s"]), node("ReduceMean", ["s"], ["y"], axes=[1])]),
}  # fmt: skip


def write_layer(name, folder):
    shapes, nodes = LAYERS[name]
    inputs = [helper.make_tensor_value_info(value, TensorProto.FLOAT, shape) for value, shape in zip("ab", shapes)]
    graph = helper.make_graph(nodes, "layer", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    path = folder / f"{name.replace(' ', '_')}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def outputs_of(model, options, target, threads):
    """{name: array}; RuntimeError with what sinter said."""
    with tempfile.TemporaryDirectory() as folder:
        command = [BUILD / "bin" / "sinter", "run", model, *options, f"--target={target}", f"--threads={threads}", "-o", folder]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if done.returncode:
            raise RuntimeError(f"status {done.returncode}: {done.stderr[-3000:]}")
        return {path.stem: np.load(path) for path in pathlib.Path(folder).glob("*.npy")}


def is_divided(model):
    command = [BUILD / "bin" / "sinter", "compile", model, "--emit=loops", "-o", "-"]
    return " parallel" in subprocess.run(command, capture_output=True, text=True, errors="replace").stdout


def check_model(tally, name, model, options):
    for target in TARGETS:
        try:
            alone = outputs_of(model, options, target, 1)
            for threads in COUNTS:
                found = outputs_of(model, options, target, threads)
                same = found.keys() == alone.keys() and all(found[key].tobytes() == alone[key].tobytes() for key in alone)
                tally.check(f"{name}, {target}, {threads} threads", [] if same and alone else ["not the answer of one thread"])
        except RuntimeError as error:
            tally.failed(f"{name}, {target}", str(error))


def main():
    tally = Tally()
    for program in PROGRAMS:
        done = subprocess.run([BUILD / "tests" / program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        tally.check(program, [] if done.returncode == 0 else [f"status {done.returncode}: {done.stdout[-3000:]}"])
    for name, dims in EMBEDDED.items():
        check_model(tally, name, MODELS / f"{name}.onnx", [part for dim in dims for part in ("--dim", dim)])
    with tempfile.TemporaryDirectory() as folder:
        for name in LAYERS:
            path = write_layer(name, pathlib.Path(folder))
            tally.check(f"{name} is divided", [] if is_divided(path) else ["no parallel loop: it tests nothing here"])
            check_model(tally, name, path, [])
    tally.finish()


if __name__ == "__main__":
    main()
