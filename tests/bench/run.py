#!/usr/bin/env python3
"""Latency beside ONNX Runtime: run.py [MODEL.onnx]... prints a table of medians and their ratio.

Both engines take turns, each turn a process of its own, so that a slow minute of the machine hits both; the number is the
median of the turns' medians. Inputs are the same arrays: NAME.in.npz beside NAME.onnx where there is one, otherwise made from
a seed, symbolic dims 1 (--dim NAME=N sets them). Outputs are compared: max|a-b| / max|b|. Without models: the embedded ones."""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy
import onnxruntime

root = pathlib.Path(__file__).resolve().parent.parent.parent
numpy_types = {"tensor(float)": "f4", "tensor(float16)": "f2", "tensor(double)": "f8", "tensor(int64)": "i8", "tensor(int32)": "i4",
               "tensor(uint8)": "u1", "tensor(int8)": "i1", "tensor(bool)": "?"}
peer_program = """
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
print(json.dumps({"median_ms": 1e3 * sorted(times)[len(times) // 2], "load_ms": 1e3 * load}))
"""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=pathlib.Path)
    parser.add_argument("--build", default="release", help="the build whose sinter is measured (release)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dim", action="append", default=[], help="NAME=N for symbolic dims")
    parser.add_argument("--json", type=pathlib.Path, help="file for the figures")
    return parser.parse_args()


def make_feeds(model, dims):
    """Arrays for the model's inputs, by name."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    stored = model.with_suffix(".in.npz")
    if stored.exists():
        return dict(numpy.load(stored))
    random = numpy.random.default_rng(0)
    feeds = {}
    for value in session.get_inputs():
        shape = [d if isinstance(d, int) else dims.get(d, 1) for d in value.shape]
        kind = numpy_types[value.type]
        made = random.standard_normal(shape) if kind.startswith("f") else random.integers(0, 2, shape)
        feeds[value.name] = made.astype(kind)
    return feeds


def sinter_turn(sinter, model, folder, names, threads, seconds):
    """One turn of sinter; its JSON."""
    result = folder / "sinter.json"
    inputs = [part for name in names for part in ("-i", f"{name}={folder / 'feeds' / (str(names.index(name)) + '.npy')}")]
    subprocess.run([sinter, "bench", model, f"--threads={threads}", f"--seconds={seconds}", f"--json={result}", *inputs],
                   check=True, stdout=subprocess.DEVNULL)
    return json.loads(result.read_text())


def peer_turn(model, folder, threads, seconds):
    command = [sys.executable, "-c", peer_program, model, folder / "feeds.npz", str(threads), str(seconds), folder / "expected.npz"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def error_of(sinter, model, folder, names):
    """Largest relative error over the outputs."""
    inputs = [part for i, name in enumerate(names) for part in ("-i", f"{name}={folder / 'feeds' / (str(i) + '.npy')}")]
    subprocess.run([sinter, "run", model, "-o", folder / "got", *inputs], check=True, stdout=subprocess.DEVNULL)
    worst = 0.0
    for name, expected in numpy.load(folder / "expected.npz").items():
        got = numpy.load(folder / "got" / (name.replace("/", "_") + ".npy"))
        scale = numpy.abs(expected.astype("f8")).max(initial=0) or 1
        worst = max(worst, float(numpy.abs(got.astype("f8") - expected.astype("f8")).max(initial=0) / scale))
    return worst


def measure(sinter, model, options, dims):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        feeds = make_feeds(model, dims)
        numpy.savez(folder / "feeds.npz", **feeds)
        (folder / "feeds").mkdir()
        for i, array in enumerate(feeds.values()):
            numpy.save(folder / "feeds" / f"{i}.npy", array)
        own, peer = [], []
        for _ in range(options.rounds):
            peer.append(peer_turn(model, folder, options.threads, options.seconds))
            own.append(sinter_turn(sinter, model, folder, list(feeds), options.threads, options.seconds))
        median = statistics.median
        return {
            "model": model.stem,
            "sinter_ms": median(turn["median_ms"] for turn in own),
            "peer_ms": median(turn["median_ms"] for turn in peer),
            "compile_ms": median(turn["compile_ms"] for turn in own),
            "peer_load_ms": median(turn["load_ms"] for turn in peer),
            "run_rss_bytes": median(turn["run_rss_bytes"] for turn in own),
            "error": error_of(sinter, model, folder, list(feeds)),
        }


def main():
    options = arguments()
    sinter = root / "build" / options.build / "bin" / "sinter"
    models = options.models or sorted((root / "tests" / "models").glob("*.onnx"))
    dims = {name: int(number) for name, number in (text.split("=") for text in options.dim)}
    print(f"{options.threads} thread(s), ONNX Runtime {onnxruntime.__version__}, {options.rounds} rounds of {options.seconds} s\n")
    print("| model | Sinter ms | ONNX Runtime ms | Sinter / ONNX Runtime | compile ms | load ms (ONNX Runtime) | relative error |")
    print("|---|---|---|---|---|---|---|")
    rows, failed = [], False
    for model in models:
        try:
            row = measure(sinter, model, options, dims)
        except subprocess.CalledProcessError as error:
            failed = True
            print(f"| {model.stem} | failed: {error} |", flush=True)
            continue
        rows.append(row)
        print("| {model} | {sinter_ms:.3f} | {peer_ms:.3f} | {ratio:.2f} | {compile_ms:.0f} | {peer_load_ms:.0f} | {error:.1e} |".format(
            ratio=row["sinter_ms"] / row["peer_ms"], **row), flush=True)
    if rows:
        print(f"\ngeometric mean of the ratios: {statistics.geometric_mean(row['sinter_ms'] / row['peer_ms'] for row in rows):.2f}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
