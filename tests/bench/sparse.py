"""Products of bytes with weights that are zero in blocks of 4 x 4: 192 rows, 768 steps, 768 columns, quantized before and after, beside
Sinter's and OpenVINO's (SINTER_BENCH_PYTHON) time for weights without zeros. The models are made on the spot."""
import json
import pathlib
import tempfile

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

import turns

COMPARED = "min_ms"
ROWS, STEPS, COLUMNS, SIDE = 192, 768, 768, 4
SHARES = (0, 70, 80, 90)


def make_model(path, percent):
    """QDQ product of u8[192,768] (as f32) with i8[768,768]: `percent` of the blocks, drawn from a seed, are zero."""
    random = numpy.random.default_rng(7)
    weights = random.integers(-127, 128, (STEPS, COLUMNS)).astype(numpy.int8)
    blocks = random.permutation(STEPS * COLUMNS // SIDE**2) < STEPS * COLUMNS // SIDE**2 * percent // 100
    zero = numpy.repeat(numpy.repeat(blocks.reshape(STEPS // SIDE, COLUMNS // SIDE), SIDE, 0), SIDE, 1)
    weights[zero] = 0
    constants = {"weights": weights, "zero": numpy.zeros(COLUMNS, numpy.int8), "middle": numpy.array(128, numpy.uint8),
                 "fine": numpy.array(0.02, numpy.float32), "scales": numpy.full(COLUMNS, 0.01, numpy.float32),
                 "coarse": numpy.array(0.9, numpy.float32)}
    nodes = [helper.make_node("DequantizeLinear", ["x", "fine", "middle"], ["a"]),
             helper.make_node("DequantizeLinear", ["weights", "scales", "zero"], ["b"], axis=1),
             helper.make_node("MatMul", ["a", "b"], ["product"]),
             helper.make_node("QuantizeLinear", ["product", "coarse", "middle"], ["y"])]
    graph = helper.make_graph(nodes, "sparse", [helper.make_tensor_value_info("x", TensorProto.UINT8, [ROWS, STEPS])],
                              [helper.make_tensor_value_info("y", TensorProto.UINT8, [ROWS, COLUMNS])],
                              [numpy_helper.from_array(array, name) for name, array in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def turn(bench, model, feeds, threads, report):
    bench.run(bench.sinter, "bench", model, "-i", feeds, f"--threads={threads}", f"--seconds={bench.options.seconds}", f"--json={report}")
    return json.loads(report.read_text())


def measure(bench):
    rows, has_peer = {}, turns.has_openvino()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        models = {percent: folder / f"{percent}.onnx" for percent in SHARES}
        for percent, path in models.items():
            make_model(path, percent)
        feeds = folder / "feeds.npz"
        numpy.savez(feeds, **turns.make_feeds(models[0], {}))
        for threads in bench.options.threads:
            times = {percent: [] for percent in SHARES}
            peer = []
            for _ in range(bench.options.rounds):
                for percent, path in models.items():
                    times[percent].append(turn(bench, path, feeds, threads, folder / "report.json")["min_ms"])
                if has_peer:
                    peer.append(bench.openvino(models[0], feeds, threads, "f32", folder / "peer.npz")["min_ms"])
            table = turns.Table(f"Zeros in blocks of {SIDE} x {SIDE}, {threads} thread(s); fastest runs", "zeros", "ms", "Sinter dense / sparse",
                                "OpenVINO dense ms", "OpenVINO dense / sparse")
            for percent in SHARES:
                own = min(times[percent])
                row = rows[f"{percent} %, {threads} thread(s)"] = {"min_ms": own, "dense_ms": min(times[0])}
                cells = ["", ""]
                if peer:
                    row["peer_ms"] = min(peer)
                    cells = [f"{min(peer):.3f}", f"{min(peer) / own:.2f}"]
                table.row(f"{percent} %", f"{own:.3f}", f"{min(times[0]) / own:.2f}", *cells)
    return rows
