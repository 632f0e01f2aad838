"""Whole models beside ONNX Runtime, as its users run it (from Python): medians and their ratio. Both engines take turns, each turn a
process of its own, so that a slow minute of the machine hits both; the number is the median of the turns' medians."""
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

import numpy

import turns

COMPARED = "sinter_ms"
PEER = """
import json, sys, time, numpy, onnxruntime
path, inputs, threads, seconds, outputs = sys.argv[1:6]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(threads)
options.inter_op_num_threads = 1
options.log_severity_level = 4
start = time.perf_counter()
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
load = time.perf_counter() - start
feeds = dict(numpy.load(inputs))
results = session.run(None, feeds)
numpy.savez(outputs, **{output.name: result for output, result in zip(session.get_outputs(), results)})
times, end = [], time.perf_counter() + float(seconds)
while time.perf_counter() < end or len(times) < 3:
    start = time.perf_counter()
    session.run(None, feeds)
    times.append(time.perf_counter() - start)
print(json.dumps({"median_ms": 1e3 * sorted(times)[len(times) // 2], "min_ms": 1e3 * min(times), "load_ms": 1e3 * load}))
"""


def input_options(folder, names):
    return [part for i, name in enumerate(names) for part in ("-i", f"{name}={folder / 'feeds' / (str(i) + '.npy')}")]


def sinter_turn(bench, model, folder, names, threads):
    result = folder / "sinter.json"
    bench.run(bench.sinter, "bench", model, f"--threads={threads}", f"--seconds={bench.options.seconds}", f"--json={result}",
              *input_options(folder, names))
    return json.loads(result.read_text())


def peer_turn(bench, model, folder, threads):
    return json.loads(bench.run(sys.executable, "-c", PEER, model, folder / "feeds.npz", threads, bench.options.seconds,
                                folder / "expected.npz"))


def error_of(bench, model, folder, names):
    """Of Sinter's outputs to the peer's."""
    subprocess.run([bench.sinter, "run", model, "-o", folder / "got", *input_options(folder, names)], check=True,
                   stdout=subprocess.DEVNULL)
    expected = dict(numpy.load(folder / "expected.npz"))
    files = {name: folder / "got" / (name.replace("/", "_") + ".npy") for name in expected}
    return turns.relative_error({name: numpy.load(file) for name, file in files.items() if file.exists()}, expected)


def multiply_adds(bench, model, sizes):
    """Of one run, as the model defines it: Winograd's fewer ones count as those that it replaces. 0 where a size has a name."""
    text = bench.run(bench.sinter, "inspect", model, *sizes).splitlines()[0]
    found = re.search(r"([\d.]+) ?([kMGT]?) multiply-adds", text)
    return float(found[1]) * 1000 ** " kMGT".index(found[2] or " ") if found else 0


def measure_model(bench, model, threads):
    sizes = [f"--dim={name}={size}" for name, size in bench.options.dims.items()]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        feeds = turns.make_feeds(model, bench.options.dims)
        numpy.savez(folder / "feeds.npz", **feeds)
        (folder / "feeds").mkdir()
        for i, array in enumerate(feeds.values()):
            numpy.save(folder / "feeds" / f"{i}.npy", array)
        own, peer = [], []
        for _ in range(bench.options.rounds):
            peer.append(peer_turn(bench, model, folder, threads))
            own.append(sinter_turn(bench, model, folder, list(feeds), threads))
        median = statistics.median
        return {
            "sinter_ms": median(turn["median_ms"] for turn in own),
            "peer_ms": median(turn["median_ms"] for turn in peer),
            "sinter_min_ms": min(turn["min_ms"] for turn in own),
            "peer_min_ms": min(turn["min_ms"] for turn in peer),
            "compile_ms": median(turn["compile_ms"] for turn in own),
            "peer_load_ms": median(turn["load_ms"] for turn in peer),
            "run_rss_bytes": median(turn["run_rss_bytes"] for turn in own),
            "multiply_adds": multiply_adds(bench, model, sizes),
            "error": error_of(bench, model, folder, list(feeds)),
        }


def measure(bench):
    models = bench.options.models or sorted(turns.EMBEDDED.glob("*.onnx"))
    rows = {}
    for threads in bench.options.threads:
        table = turns.Table(f"Models beside ONNX Runtime, {threads} thread(s)", "model", "Sinter ms", "ONNX Runtime ms",
                            "Sinter / ONNX Runtime", "fastest: Sinter ms", "ONNX Runtime ms", "GFLOP/s", "share of the f32 peak",
                            "compile ms", "load ms (ONNX Runtime)", "relative error")
        peak, _ = bench.roofline(threads)
        ratios = []
        for model in models:
            try:
                row = measure_model(bench, model, threads)
            except (RuntimeError, subprocess.CalledProcessError) as error:
                bench.fail(f"{model.stem}: {error}")
                continue
            row["gflops"] = 2e-6 * row["multiply_adds"] / row["sinter_min_ms"]
            row["share"] = row["gflops"] / peak
            rows[f"{model.stem}, {threads} thread(s)"] = row
            ratios.append(row["sinter_ms"] / row["peer_ms"])
            table.row(model.stem, f"{row['sinter_ms']:.3f}", f"{row['peer_ms']:.3f}", f"{ratios[-1]:.2f}", f"{row['sinter_min_ms']:.3f}",
                      f"{row['peer_min_ms']:.3f}", f"{row['gflops']:.1f}" if row["gflops"] else "-",
                      f"{row['share']:.0%}" if row["share"] else "-", f"{row['compile_ms']:.0f}", f"{row['peer_load_ms']:.0f}", f"{row['error']:.1e}")
        if ratios:
            print(f"\ngeometric mean of the ratios: {statistics.geometric_mean(ratios):.2f}")
    return rows
