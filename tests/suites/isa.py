"""Whole models on every instruction set, through their own schedules: objects for the targets, emitted C with and
without a heap, on this machine and as 64-bit Arm under qemu. Integer models and what is made element by element give the same bits
everywhere, other floats agree within 1e-5; an object or C text emitted twice has the same bytes.

    tests/suites/isa.py     with PYTHONPATH=tests/suites and SINTER_BUILD

Each is linked with tests/unit/isa_driver.c. What a machine lacks is skipped.
"""

import concurrent.futures
import os
import pathlib
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from support import linked, sanitizers
from support.linked import ARM_CC, ARM_RUN, WARNINGS, run
from tally import Tally

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SINTER_BUILD", ROOT / "build" / "dev"))
SINTER = BUILD / "bin" / "sinter"
MODELS = ROOT / "tests" / "models"
# name: (target of the compiler, or None for C; flags of cc; what the machine must have in /proc/cpuinfo, or "arm")
WAYS = {
    "x86-64-v2": ("cpu:x86-64-v2", [], "sse4_2"),
    "x86-64-v3": ("cpu:x86-64-v3", [], "avx2"),
    "x86-64-v4": ("cpu:x86-64-v4", [], "avx512vl"),
    "x86-64-v4+avx512vnni": ("cpu:x86-64-v4+avx512vnni", [], "avx512_vnni"),
    "aarch64": ("cpu:aarch64", [], "arm"),
    "neoverse-n1": ("cpu:neoverse-n1", [], "arm"),  # products of bytes are of signed ones
    "neoverse-v1": ("cpu:neoverse-v1", [], "arm"),
    "c": (None, ["-O1", *sanitizers.flags(BUILD)], ""),
    "c, a board": (None, ["-O1", "-DSINTER_BOARD"], ""),
    "c, x86-64-v3": (None, ["-O3", "-march=x86-64-v3", "-ffp-contract=fast"], "avx2"),
    "c, aarch64": (None, ["-O1"], "arm"),
}
HEAP_AND_THREADS = ("alloc", "free", "print", "abort", "pthread", "sinter")


def integer_model(path):
    """Quantized products and windows, with zero points and uneven sizes."""
    random = np.random.default_rng(7)
    u8 = lambda *shape: random.integers(0, 256, shape).astype(np.uint8)
    i8 = lambda *shape: random.integers(-128, 128, shape).astype(np.int8)
    constants = {
        "w": i8(5, 3, 3, 3), "wz": np.int8(-3), "xz": np.uint8(131), "b": i8(45, 19), "bz": i8(19),
        "scale": np.float32(0.031), "wscale": np.float32(0.007), "yscale": np.float32(0.11), "yz": np.uint8(120),
        "shape": np.array([-1, 45]),
    }  # fmt: skip
    nodes = [
        helper.make_node("ConvInteger", ["x", "w", "xz", "wz"], ["sums"], pads=[1, 1, 1, 1]),
        helper.make_node("QLinearConv", ["x", "scale", "xz", "w", "wscale", "wz", "yscale", "yz"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Reshape", ["conv", "shape"], ["rows"]),
        helper.make_node("MatMulInteger", ["rows", "b", "yz", "bz"], ["product"]),
        helper.make_node("MatMulInteger", ["signed", "b"], ["signed_product"]),
    ]
    inputs = [("x", TensorProto.UINT8, [1, 3, 9, 9]), ("signed", TensorProto.INT8, [7, 45])]
    outputs = [("sums", TensorProto.INT32, [1, 5, 9, 9]), ("conv", TensorProto.UINT8, [1, 5, 9, 9]),
               ("product", TensorProto.INT32, [9, 19]), ("signed_product", TensorProto.INT32, [7, 19])]  # fmt: skip
    graph = helper.make_graph(
        nodes, "integers", [helper.make_tensor_value_info(*entry) for entry in inputs],
        [helper.make_tensor_value_info(*entry) for entry in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return [u8(1, 3, 9, 9), i8(7, 45)], [np.zeros(shape, np.uint8 if kind == TensorProto.UINT8 else np.int32) for _, kind, shape in outputs]


def narrow_model(path):
    """Products with weights of 4 bits whose blocks share scales: one row and many, zero points and none, scales that f16
    holds and others, uneven columns."""
    random = np.random.default_rng(8)
    nodes, constants, inputs, outputs = [], [], [], []
    for name, rows, columns, zeros in (("one", 1, 150, True), ("many", 13, 37, False)):
        packed = random.integers(0, 256, 128 * columns // 2).astype(np.uint8).tobytes()
        constants.append(helper.make_tensor(f"{name}_w", TensorProto.UINT4, [128, columns], packed, raw=True))
        scales = random.random((4, columns), np.float32) + np.float32(0.1)
        half = scales.astype(np.float16).astype(np.float32)
        constants.append(numpy_helper.from_array(scales if zeros else half, f"{name}_s"))
        constants.append(helper.make_tensor(f"{name}_z", TensorProto.UINT4, [4, columns], packed[: 2 * columns], raw=True))
        operands = [f"{name}_{part}" for part in ("wsz" if zeros else "ws")]
        nodes.append(helper.make_node("DequantizeLinear", operands, [f"{name}_weight"], axis=0, block_size=32))
        nodes.append(helper.make_node("MatMul", [f"{name}_x", f"{name}_weight"], [f"{name}_y"]))
        inputs.append(random.standard_normal((rows, 128), np.float32))
        outputs.append(np.zeros((rows, columns), np.float32))
    describe = lambda kind: lambda node, array: helper.make_tensor_value_info(f"{node}_{kind}", TensorProto.FLOAT, array.shape)
    names = ("one", "many")
    graph = helper.make_graph(nodes, "narrow", list(map(describe("x"), names, inputs)), list(map(describe("y"), names, outputs)), constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return inputs, outputs


def bytes_model(path):
    """Products with weights of 4 and 2 bits whose operands are rounded to 8 bits in blocks as long: one row and many, zero points
    and none, blocks of zeros, uneven columns."""
    random = np.random.default_rng(9)
    nodes, constants, inputs, outputs = [], [], [], []
    ways = {"one": (1, 150, 4, 32, True), "many": (13, 37, 4, 64, False), "few": (2, 40, 2, 16, True), "all": (128, 48, 4, 32, False)}
    for name, (rows, columns, bits, block, zeros) in ways.items():
        blocks = 128 // block
        packed = lambda *shape: random.integers(0, 256, shape).astype(np.uint8)
        constants.append(numpy_helper.from_array(packed(columns, blocks, block * bits // 8), f"{name}_w"))
        constants.append(numpy_helper.from_array(random.random(columns * blocks, np.float32) + np.float32(0.1), f"{name}_s"))
        constants.append(numpy_helper.from_array(packed(columns * ((blocks * bits + 7) // 8)), f"{name}_z"))
        operands = [f"{name}_{part}" for part in ("xwsz" if zeros else "xws")]
        attributes = {"K": 128, "N": columns, "bits": bits, "block_size": block, "accuracy_level": 4}
        nodes.append(helper.make_node("MatMulNBits", operands, [f"{name}_y"], domain="com.microsoft", **attributes))
        x = random.standard_normal((rows, 128), np.float32)
        x[:, block : 2 * block] = 0
        inputs.append(x)
        outputs.append(np.zeros((rows, columns), np.float32))
    describe = lambda kind: lambda node, array: helper.make_tensor_value_info(f"{node}_{kind}", TensorProto.FLOAT, array.shape)
    graph = helper.make_graph(nodes, "bytes", list(map(describe("x"), ways, inputs)), list(map(describe("y"), ways, outputs)), constants)
    domains = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=10), path)
    return inputs, outputs


def elements_model(path):
    """Products and sums that cancel to the last digit or lie at the edge of a whole number: what rounds them once has other signs and
    whole numbers than what rounds twice. Floats, and bytes with a scale."""
    random = np.random.default_rng(10)
    shape = (7, 53)
    x, w = (random.standard_normal(shape, np.float32) for _ in range(2))
    bias = -(x * w)
    q = random.integers(0, 256, shape).astype(np.uint8)
    scale = np.float32(0.0371)
    q_bias = -((q.astype(np.float32) - np.float32(100)) * scale)
    third = np.float32(1 / 3)
    edge = random.integers(-40, 40, shape).astype(np.float32) * 3
    constants = {"w": w, "scale": scale, "zero": np.uint8(100), "third": third, "half": np.float32(0.5)}
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
        helper.make_node("Sign", ["sum"], ["sign"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["real"]),
        helper.make_node("Add", ["real", "q_bias"], ["real_sum"]),
        helper.make_node("Sign", ["real_sum"], ["real_sign"]),
        helper.make_node("Mul", ["edge", "third"], ["thirds"]),
        helper.make_node("Floor", ["thirds"], ["floor"]),
        helper.make_node("Sub", ["thirds", "half"], ["shifted"]),
        helper.make_node("Ceil", ["shifted"], ["ceil"]),
        helper.make_node("Round", ["shifted"], ["round"]),
        helper.make_node("Mul", ["x", "x"], ["square"]),
        helper.make_node("Mul", ["w", "w"], ["other_square"]),
        helper.make_node("Sub", ["square", "other_square"], ["difference"]),
    ]  # fmt: skip
    inputs = {"x": x, "bias": bias, "q": q, "q_bias": q_bias, "edge": edge}
    outputs = ["sum", "sign", "real_sum", "real_sign", "floor", "ceil", "round", "difference"]
    kinds = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.uint8): TensorProto.UINT8}
    graph = helper.make_graph(
        nodes, "elements", [helper.make_tensor_value_info(name, kinds[value.dtype], shape) for name, value in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return list(inputs.values()), [np.zeros(shape, np.float32) for _ in outputs]


def recurrent_model(path):
    """Steps that make the products of later inputs: two products a step, directions that begin at both ends."""
    random = np.random.default_rng(11)
    draw = lambda *shape: random.uniform(-0.1, 0.1, shape).astype(np.float32)
    weights = {"w": draw(2, 384, 64), "r": draw(2, 384, 128), "b": draw(2, 768)}
    node = helper.make_node("GRU", ["x", "w", "r", "b"], ["y", "y_h"], hidden_size=128, direction="bidirectional")
    shapes = {"y": [37, 2, 1, 128], "y_h": [2, 1, 128]}
    graph = helper.make_graph(
        [node], "recurrent", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [37, 1, 64])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return [random.uniform(-1, 1, (37, 1, 64)).astype(np.float32)], [np.zeros(shape, np.float32) for shape in shapes.values()]


def cases(work):
    """{name: (model, options, inputs, what the outputs look like, exact)}"""
    image = np.load(MODELS / "digits_test_images.npy")[:1]
    logits = [np.zeros((1, 10), np.float32)]
    found = {
        name: (MODELS / f"{name}.onnx", ["--dim", "batch=1", *more], [image], logits, False)
        for name, more in (("cnn", []), ("lstm", ["--dim", "length=8"]), ("transformer", ["--dim", "length=8"]))
    }
    path = work / "integers.onnx"
    inputs, outputs = integer_model(path)
    found["integers"] = (path, [], inputs, outputs, True)
    path = work / "elements.onnx"
    found["elements"] = (path, [], *elements_model(path), True)
    path = work / "narrow.onnx"
    found["narrow"] = (path, [], *narrow_model(path), False)
    path = work / "bytes.onnx"
    found["bytes"] = (path, [], *bytes_model(path), False)
    path = work / "recurrent.onnx"
    found["recurrent"] = (path, [], *recurrent_model(path), False)
    return found


def reference(work, model, options, inputs, outputs):
    """The evaluator's answer."""
    folder = work / "reference"
    folder.mkdir()
    arguments = []
    names = [value.name for value in onnx.load(model).graph.input]
    for name, array in zip(names, inputs):
        np.save(folder / f"in_{name}.npy", array)
        arguments += ["-i", f"{name}={folder}/in_{name}.npy"]
    run([SINTER, "run", model, "--target=eval", *options, *arguments, "-o", folder])
    return [np.load(folder / f"{value.name}.npy") for value in onnx.load(model).graph.output]


def answer(work, way, model, options, inputs, outputs):
    """What the model says when it is compiled that way; RuntimeError where a step fails."""
    target, flags, machine = WAYS[way]
    compiler = ["--target", target, "--emit=obj"] if target else ["--emit=c"]
    files = [work / f"{turn}.{'o' if target else 'c'}" for turn in ("model", "again")]
    for file in files:
        run([SINTER, "compile", model, *options, *compiler, "-o", file])
    if files[0].read_bytes().replace(b"again", b"model") != files[1].read_bytes().replace(b"again", b"model"):
        raise RuntimeError("compiled twice, different bytes")
    cc = [ARM_CC, "-static"] if machine == "arm" else ["cc"]
    objects = files[0]
    if "-DSINTER_BOARD" in flags:
        objects = work / "board.o"
        run([*cc, *WARNINGS, *flags, "-c", files[0], "-o", objects])
        wanted = [line for line in run(["nm", "-u", objects]).split() if any(word in line for word in HEAP_AND_THREADS)]
        if wanted:
            raise RuntimeError(f"a board has no {' '.join(wanted)}")
    symbol = [f"-Dsinter_artifact={symbol_of(objects, machine)}"] if target else []
    run([*cc, *WARNINGS, *flags, *symbol, f"-I{ROOT}", linked.DRIVER, objects, "-lm", "-o", work / "run"])
    protos = [numpy_helper.from_array(array) for array in inputs]
    found = linked.answer(work / "run", protos, [array.nbytes for array in outputs], work, [ARM_RUN] if machine == "arm" else [])
    return [numpy_helper.to_array(tensor) for tensor in found]


def symbol_of(path, machine):
    """The artifact function that the object exports."""
    tool = "aarch64-linux-gnu-nm" if machine == "arm" else "nm"
    return next(line.split()[-1] for line in run([tool, path]).splitlines() if line.endswith("_artifact") and " T " in line)


def check(work, name, way, case, expected):
    """None, or what is wrong."""
    model, options, inputs, outputs, exact = case
    folder = work / f"{name}-{way.replace(' ', '').replace(',', '-')}"
    folder.mkdir()
    try:
        found = answer(folder, way, model, options, inputs, outputs)
    except RuntimeError as error:
        return str(error)
    for a, b in zip(found, expected, strict=True):
        if a.dtype != b.dtype or a.shape != b.shape:
            return f"{a.dtype}{list(a.shape)}, expected {b.dtype}{list(b.shape)}"
        if exact and not np.array_equal(a, b):
            return f"{np.count_nonzero(a != b)} of {a.size} elements differ"
        if not exact and not np.abs(a - b).max() <= 1e-5 * np.abs(b).max():
            return f"off by {np.abs(a - b).max() / np.abs(b).max():.2g}"
    return None


def can_run(machine):
    if machine == "arm":
        return not linked.missing_for_arm()
    return machine in pathlib.Path("/proc/cpuinfo").read_text().split() if machine else True


def main():
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        work = pathlib.Path(folder)
        jobs = {}
        for name, case in cases(work).items():
            (work / name).mkdir()
            expected = reference(work / name, *case[:4])
            for way, (_, _, machine) in WAYS.items():
                if can_run(machine):
                    jobs[name, way] = pool.submit(check, work, name, way, case, expected)
                else:
                    tally.skipped(f"{name}: {way}", "this machine cannot run it")
        for (name, way), job in jobs.items():
            problem = job.result()
            tally.check(f"{name}: {way}", [problem] if problem else [])
    tally.finish()


if __name__ == "__main__":
    main()
