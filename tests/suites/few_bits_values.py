"""Products of quantized rows with weights of few bits, both dequantized with scales of a row, a tensor, a column or blocks of several lengths,
and convolutions of quantized images with such weights: every pair of ways, with zero points or without, has what the evaluator has on every
instruction set. So have products of rows of floats, whose blocks differ in size by many powers of two, or have infinities and NaN.

    tests/suites/few_bits_values.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import itertools
import pathlib
import subprocess
import tempfile

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from support import onnx_cases
from tally import Tally

STEPS, COLUMNS = 192, 40
ROW_SCALES = ("row", "tensor", "step", 32, 64, 24)  # of the rows: one for each row, for all, for each step of the sum, for blocks of it
WEIGHT_SCALES = ("column", "tensor", 32, 64)
ROW_TYPES = (TensorProto.INT8, TensorProto.INT8, TensorProto.UINT8)
WEIGHT_BITS = {TensorProto.UINT4: 4, TensorProto.INT4: 4, TensorProto.UINT2: 2, TensorProto.INT2: 2}
ROWS = (3, 1, 40)
FEW_ROWS, WIDE = (1, 2, 4, 5), (128, 200, 161, 96)  # of floats
TARGETS = {"x86-64-v2": "ssse3", "x86-64-v3": "avx2", "x86-64-v4": "avx512vl", "x86-64-v4+avx512vnni": "avx512_vnni"}
CHANNELS, OUTPUTS, KERNELS, SIZE = (8, 16, 36, 24, 32), (16, 10, 64), ((3, 1), (3, 2), (1, 1)), 9  # of convolutions; kernels: taps and stride
PLACES = {"row": {"axis": 0}, "tensor": {}, "step": {"axis": 1}, "column": {"axis": 1}}


def packed(name, dtype, shape, rng):
    bits = WEIGHT_BITS[dtype]
    values = rng.integers(0, 1 << bits, int(np.prod(shape))).astype(np.uint8)
    values = np.append(values, np.zeros(-len(values) % (8 // bits), np.uint8)).reshape(-1, 8 // bits)
    joined = np.bitwise_or.reduce(values << (bits * np.arange(8 // bits, dtype=np.uint8)), axis=1)
    return helper.make_tensor(name, dtype, shape, joined.astype(np.uint8).tobytes(), raw=True)


def model_of(index, row_way, weight_way):
    rng, rows = np.random.default_rng(index), ROWS[index % len(ROWS)]
    row_type, weight_type, has_zero = ROW_TYPES[index // 2 % len(ROW_TYPES)], list(WEIGHT_BITS)[index % len(WEIGHT_BITS)], index // 3 % 2
    row_shape = {"row": (rows,), "tensor": (), "step": (STEPS,)}.get(row_way) if row_way in PLACES else (rows, STEPS // row_way)
    shape = {"column": (COLUMNS,), "tensor": ()}.get(weight_way) if weight_way in PLACES else (STEPS // weight_way, COLUMNS)
    constants = [packed("w", weight_type, (STEPS, COLUMNS), rng), numpy_helper.from_array(rng.uniform(0.5, 1.5, shape).astype("f4"), "s")]
    constants += [packed("z", weight_type, shape, rng)] * has_zero
    nodes = [helper.make_node("DequantizeLinear", ["x", "t"], ["rows"], **PLACES.get(row_way, {"axis": 1, "block_size": row_way})),
             helper.make_node("DequantizeLinear", [constant.name for constant in constants], ["weights"],
                              **PLACES.get(weight_way, {"axis": 0, "block_size": weight_way})),
             helper.make_node("MatMul", ["rows", "weights"], ["y"])]
    inputs = [helper.make_tensor_value_info("x", row_type, (rows, STEPS)), helper.make_tensor_value_info("t", TensorProto.FLOAT, row_shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, (rows, COLUMNS))]
    graph = helper.make_graph(nodes, "few_bits", inputs, outputs, constants)
    what = f"{rows} rows, {TensorProto.DataType.Name(row_type)} by {row_way}, {TensorProto.DataType.Name(weight_type)} by {weight_way}"
    return what + (", zero points" if has_zero else ""), helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=11)


def convolution_of(index, weight_type, channels, kernel):
    rng, (taps, stride) = np.random.default_rng(index), kernel
    outputs, has_zero, image_type = OUTPUTS[index % len(OUTPUTS)], index % 5 == 0, ROW_TYPES[-1 - index % 2]
    shape, image = (outputs, channels, taps, taps), (2, channels, SIZE, SIZE)
    constants = [packed("w", weight_type, shape, rng), numpy_helper.from_array(rng.uniform(0.5, 1.5, outputs).astype("f4"), "s")]
    constants += [packed("z", weight_type, (outputs,), rng)] * has_zero
    scale = numpy_helper.from_array(np.float32(0.25), "t")
    zero = numpy_helper.from_array(np.array(rng.integers(0, 100), helper.tensor_dtype_to_np_dtype(image_type)), "o")
    nodes = [helper.make_node("DequantizeLinear", ["x", "t", "o"], ["image"]),
             helper.make_node("DequantizeLinear", [constant.name for constant in constants], ["weights"], axis=0),
             helper.make_node("Conv", ["image", "weights"], ["y"], pads=[taps // 2] * 4, strides=[stride] * 2)]
    inputs = [helper.make_tensor_value_info("x", image_type, image)]
    results = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "few_bits", inputs, results, [*constants, scale, zero])
    what = f"{taps} x {taps} taps, stride {stride}, over {channels} channels of {TensorProto.DataType.Name(image_type)}, {TensorProto.DataType.Name(weight_type)}"
    return what + (", zero points" if has_zero else ""), helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=11)


def floats_of(index, rows, weight_type, weight_way):
    """Rows that one instruction of four products makes digits of, and rows that have too many columns for it or too few."""
    rng, has_zero, columns = np.random.default_rng(index), index % 3 != 0, WIDE[index % len(WIDE)]
    shape = {"column": (columns,)}.get(weight_way) if weight_way in PLACES else (STEPS // weight_way, columns)
    constants = [packed("w", weight_type, (STEPS, columns), rng), numpy_helper.from_array(rng.uniform(0.5, 1.5, shape).astype("f4"), "s")]
    constants += [packed("z", weight_type, shape, rng)] * has_zero
    nodes = [helper.make_node("DequantizeLinear", [constant.name for constant in constants], ["weights"],
                              **PLACES.get(weight_way, {"axis": 0, "block_size": weight_way})),
             helper.make_node("MatMul", ["x", "weights"], ["y"])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (rows, STEPS))]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, (rows, columns))]
    graph = helper.make_graph(nodes, "few_bits", inputs, outputs, constants)
    x = rng.standard_normal((rows, STEPS)).astype("f4")
    kinds = {"plain": x, "powers": x * np.exp2(rng.integers(-12, 13, (rows, STEPS // 8)).repeat(8, 1)).astype("f4"),
             "tiny": x * np.float32(2.0**-120), "huge": x * np.float32(2.0**115), "zero": x * 0,
             "infinite": np.where(np.arange(STEPS) == 77, np.float32(-np.inf), x), "nan": np.where(np.arange(STEPS) == 5, np.float32(np.nan), x)}
    what = f"{rows} rows of floats, {columns} columns, {TensorProto.DataType.Name(weight_type)} by {weight_way}"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=11)
    return what + (", zero points" if has_zero else ""), model, kinds


def run_diff(tally, what, path, target, *options):
    done = subprocess.run([str(onnx_cases.SINTER), "diff", path, f"cpu:{target}", "eval", *options], capture_output=True, text=True)
    tally.check(f"{what}, {target}", [done.stdout[-300:] + done.stderr[-300:]] if done.returncode else [])


def main():
    tally = Tally()
    flags = pathlib.Path("/proc/cpuinfo").read_text().split()
    targets = [target for target, feature in TARGETS.items() if feature in flags]
    for target in TARGETS.keys() - set(targets):
        tally.skipped(target, f"this machine has no {TARGETS[target]}")
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "model.onnx"
        models = [model_of(index, *ways) for index, ways in enumerate(itertools.product(ROW_SCALES, WEIGHT_SCALES))]
        models += [convolution_of(index, *ways) for index, ways in enumerate(itertools.product(WEIGHT_BITS, CHANNELS, KERNELS))]
        for what, model in models:
            save(model, path)
            for target in targets:
                run_diff(tally, what, path, target)
        for index, ways in enumerate(itertools.product(FEW_ROWS, WEIGHT_BITS, WEIGHT_SCALES[:1] + WEIGHT_SCALES[2:])):
            what, model, kinds = floats_of(index, *ways)
            save(model, path)
            kind = list(kinds)[index % len(kinds)]
            np.save(path.with_suffix(".npy"), kinds[kind])
            for target in targets:
                run_diff(tally, f"{what}, {kind}", path, target, "-i", f"x={path.with_suffix('.npy')}")
    tally.finish()


if __name__ == "__main__":
    main()
