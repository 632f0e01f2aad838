"""Products of matrices beside OpenBLAS, and the share of what the cores can do: squares with a constant operand and without, rows
against a large constant matrix, batches of small ones, transposed operands."""
import ctypes.util

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

import turns

COMPARED = "sinter_us"
# Name, dims of the operands as they are stored, which are transposed, whether the second is a constant of the model.
PRODUCTS = [
    ("1024 x 1024 x 1024, constant", (1024, 1024), (1024, 1024), "NN", True),
    ("1024 x 1024 x 1024", (1024, 1024), (1024, 1024), "NN", False),
    ("1024 x 1024 x 1024, first transposed", (1024, 1024), (1024, 1024), "TN", False),
    ("1024 x 1024 x 1024, second transposed", (1024, 1024), (1024, 1024), "NT", False),
    ("256 x 256 x 256", (256, 256), (256, 256), "NN", False),
    ("512 x 512 x 512", (512, 512), (512, 512), "NN", False),
    ("2048 x 2048 x 2048", (2048, 2048), (2048, 2048), "NN", False),
    ("64 x 1024 x 1024", (64, 1024), (1024, 1024), "NN", False),
    ("1 x 4096 x 4096, constant", (1, 4096), (4096, 4096), "NN", True),
    ("4 x 4096 x 4096, constant", (4, 4096), (4096, 4096), "NN", True),
    ("16 x 4096 x 4096, constant", (16, 4096), (4096, 4096), "NN", True),
    ("1 x 4096 x 4096", (1, 4096), (4096, 4096), "NN", False),
    ("48 of 128 x 64 x 128", (48, 128, 64), (48, 64, 128), "NN", False),
]


def make_model(path, a, b, form, constant):
    """`a` and `b` are arrays; a constant `b` becomes part of the model."""
    if "T" in form:
        node = helper.make_node("Gemm", ["a", "b"], ["c"], transA=int(form[0] == "T"), transB=int(form[1] == "T"))
    else:
        node = helper.make_node("MatMul", ["a", "b"], ["c"])
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in (("a", a), ("b", b))]
    graph = helper.make_graph([node], "product", inputs[:1] if constant else inputs,
                              [helper.make_tensor_value_info("c", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(b, "b")] if constant else [])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)


def find_openblas():
    """Its name for the loader."""
    name = ctypes.util.find_library("openblas")
    if not name:
        raise RuntimeError("no OpenBLAS here (libopenblas-dev)")
    return name


def measure(bench):
    library, random, rows = find_openblas(), numpy.random.default_rng(0), {}
    for threads in bench.options.threads:
        peak, memory = bench.roofline(threads)
        table = turns.Table(f"Products beside OpenBLAS, {threads} thread(s); at most {peak:.1f} GFLOP/s, {memory:.1f} GB/s from memory",
                            "product", "GFLOP/s", "OpenBLAS", "OpenBLAS time / Sinter time", "share of peak", "OpenBLAS", "GB/s", "relative error")
        for name, shape_a, shape_b, form, constant in PRODUCTS:
            a, b = (random.standard_normal(shape).astype("f4") for shape in (shape_a, shape_b))
            model = bench.folder / "product.onnx"
            make_model(model, a, b, form, constant)
            times = bench.beside(bench.compile(model), f"openblas:{library}:{form}", bench.save([a, b]), threads)
            operations = 2e-3 * a.size * (shape_b[-1] if form[1] == "N" else shape_b[-2])  # / us: GFLOP/s
            own, peer = operations / times["sinter_us"], operations / times["peer_us"]
            row = {**times, "gflops": own, "peer_gflops": peer, "ratio": own / peer, "share": own / peak, "peak_gflops": peak}
            rows[f"{name}, {threads} thread(s)"] = row
            table.row(name, f"{own:.1f}", f"{peer:.1f}", f"{own / peer:.2f}", f"{own / peak:.0%}", f"{peer / peak:.0%}",
                      f"{4e-3 * b.size / times['sinter_us']:.1f}", f"{times['error']:.0e}")
    return rows
