"""Elements below a byte between ranks: models over values of 4 and 2 bits, whose sizes fill no bytes, on random meshes with random shardings -
views, pieces put together and taken apart, weights of few bits - evaluated on all ranks together and compiled, against the evaluator on the
whole model.

    tests/suites/shard_bits.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import pathlib
import tempfile

import ml_dtypes
import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

import shard_recurrent
from tally import Tally

TYPES = {
    "int4": (TensorProto.INT4, ml_dtypes.int4, (-8, 8)),
    "uint4": (TensorProto.UINT4, ml_dtypes.uint4, (0, 16)),
    "int2": (TensorProto.INT2, ml_dtypes.int2, (-2, 2)),
    "uint2": (TensorProto.UINT2, ml_dtypes.uint2, (0, 4)),
    "float4": (TensorProto.FLOAT4E2M1, ml_dtypes.float4_e2m1fn, (-6, 7)),
}
SIZES = ((5, 7, 3), (1, 9, 2), (6, 3, 11), (8, 4, 5))


def model(rng, name, rows, columns, depth):
    """The model, and its inputs by name."""
    code, dtype, (least, beyond) = TYPES[name]

    def draw(*shape):
        return rng.integers(least, beyond, shape).astype(np.float32).astype(dtype)

    inputs = {"x": draw(rows, columns), "z": draw(depth, rows, columns)}
    constants = {
        "w": draw(columns, depth),
        "scale": np.linspace(0.25, 1.5, depth, dtype=np.float32),
        "picked": rng.integers(0, rows, 4),
        "flat": np.array([-1]),
        "first": np.array([columns // 3]),
        "end": np.array([columns]),
        "axis": np.array([1]),
    }
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"]),
        helper.make_node("Concat", ["x", "x"], ["twice"], axis=1),
        helper.make_node("Gather", ["x", "picked"], ["rows"], axis=0),
        helper.make_node("Slice", ["twice", "first", "end", "axis"], ["part"]),
        helper.make_node("Reshape", ["z", "flat"], ["line"]),
        helper.make_node("Transpose", ["z"], ["cube"], perm=[1, 2, 0]),
        helper.make_node("DequantizeLinear", ["w", "scale"], ["weights"], axis=1),
        helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["wide", "weights"], ["product"]),
    ]
    few = ("turned", "rows", "part", "line", "cube")
    outputs = [helper.make_tensor_value_info(value, code, None) for value in few]
    outputs += [helper.make_tensor_value_info("product", TensorProto.FLOAT, None)]
    graph = helper.make_graph(
        nodes,
        "bits",
        [helper.make_tensor_value_info(value, code, data.shape) for value, data in inputs.items()],
        outputs,
        [numpy_helper.from_array(data, value) for value, data in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=12), inputs


def write_models(work):
    """Folders of the ONNX backend layout."""
    rng, folders = np.random.default_rng(11), []
    for name in TYPES:
        for sizes in SIZES:
            made, inputs = model(rng, name, *sizes)
            folder = work / f"{name}_{'_'.join(map(str, sizes))}"
            (folder / "test_data_set_0").mkdir(parents=True)
            save(made, folder / "model.onnx")
            for place, (value, data) in enumerate(inputs.items()):
                (folder / "test_data_set_0" / f"input_{place}.pb").write_bytes(numpy_helper.from_array(data, value).SerializeToString())
            folders.append(folder)
    return folders


def run(tally, folders, seed, tries, *options):
    """So many shardings of each."""
    counts = shard_recurrent.drive(tally, folders, seed, tries, *options)
    if not counts:
        return
    tally.check(f"{counts['collectives']} collectives", [] if counts["collectives"] > counts["passed"] else ["hardly any value was cut"])
    if "evaluated only" in counts:
        tally.check(f"{counts['evaluated only']} evaluated only", [] if not counts["evaluated only"] else ["ranks could not exchange"])


def main():
    tally = Tally()
    with tempfile.TemporaryDirectory() as work:
        folders = write_models(pathlib.Path(work))
        run(tally, folders, 1, 40)
        run(tally, folders, 2, 5, "--compiled")
    tally.finish()


if __name__ == "__main__":
    main()
