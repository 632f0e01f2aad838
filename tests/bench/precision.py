"""What --precision=bf16 gains and costs: time of each model in f32 and in bf16, and how far its outputs are from those of f32, the median
of several inputs, for single ones differ by half; beside OpenVINO in bf16, where the Python that SINTER_BENCH_PYTHON names has it. The models: those in f32 of ../bench-models
(SINTER_BENCH_MODELS) where they are, otherwise the embedded ones."""
import json
import pathlib
import statistics
import subprocess
import tempfile

import numpy

import turns

COMPARED = "bf16_min_ms"
SAMPLES = 5  # inputs by which errors are judged


def shuffled(feeds, seed):
    """Inputs with the same elements in other places; as they are for seed 0."""
    random = numpy.random.default_rng(seed)
    return {name: random.permuted(array.ravel()).reshape(array.shape) for name, array in feeds.items()} if seed else feeds


def answers_of(bench, artifact, feeds, folder):
    bench.run(bench.sinter, "run", artifact, "-i", feeds, "-o", folder)
    return {path.stem: numpy.load(path) for path in folder.glob("*.npy")}


def turn(bench, model, folder, precision, threads):
    bench.run(bench.sinter, "bench", model, f"--precision={precision}", "-i", folder / "feeds.npz", f"--threads={threads}",
              f"--seconds={bench.options.seconds}", f"--json={folder / 'report.json'}")
    return json.loads((folder / "report.json").read_text())


def errors_of(bench, model, has_peer):
    """Of Sinter's bf16 and of OpenVINO's, to Sinter's f32, the same with any number of threads."""
    first, own, peer = turns.make_feeds(model, bench.options.dims), [], []
    artifacts = {precision: bench.compile(model, f"--precision={precision}") for precision in ("f32", "bf16")}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        feeds = folder / "sample.npz"
        for seed in range(SAMPLES):
            numpy.savez(feeds, **shuffled(first, seed))
            expected, found = (answers_of(bench, artifact, feeds, folder / precision) for precision, artifact in artifacts.items())
            own.append(turns.relative_error(found, expected))
            if has_peer:
                bench.openvino(model, feeds, 1, "bf16", folder / "sample-peer.npz", seconds=0.01)
                peer.append(turns.relative_error(dict(numpy.load(folder / "sample-peer.npz")), expected))
    for artifact in artifacts.values():
        artifact.unlink()
    return {"error": statistics.median(own), **({"peer_error": statistics.median(peer)} if peer else {})}


def times_of(bench, model, threads, has_peer):
    """The fastest turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        numpy.savez(folder / "feeds.npz", **turns.make_feeds(model, bench.options.dims))
        row, turns_of = {}, {precision: [] for precision in ("f32", "bf16", "peer")}
        for _ in range(bench.options.rounds):
            for precision in ("f32", "bf16"):
                turns_of[precision].append(turn(bench, model, folder, precision, threads))
            if has_peer:
                turns_of["peer"].append(bench.openvino(model, folder / "feeds.npz", threads, "bf16", folder / "peer.npz"))
        for precision, made in turns_of.items():
            for figure in ("median_ms", "min_ms") if made else ():
                row[f"{precision}_{figure}"] = min(one[figure] for one in made)
        return row


def measure(bench):
    large = sorted(model for model in turns.BENCH_MODELS.glob("*.onnx") if "int8" not in model.stem)
    models = bench.options.models or large or sorted(turns.EMBEDDED.glob("*.onnx"))
    has_peer = turns.has_openvino()
    errors = {}
    for model in models:
        try:
            errors[model] = errors_of(bench, model, has_peer)
        except (RuntimeError, subprocess.CalledProcessError) as error:
            bench.fail(f"{model.stem}: {error}")
    rows = {}
    for threads in bench.options.threads:
        table = turns.Table(f"Operands of products in bf16, {threads} thread(s); fastest runs", "model", "f32 ms", "bf16 ms", "f32 / bf16",
                            "OpenVINO bf16 ms", "OpenVINO / Sinter", "error", "OpenVINO's error")
        gains, leads = [], []
        for model in errors:
            row = rows[f"{model.stem}, {threads} thread(s)"] = {**errors[model], **times_of(bench, model, threads, has_peer)}
            gains.append(row["f32_min_ms"] / row["bf16_min_ms"])
            peer = ["", "", ""]
            if has_peer:
                leads.append(row["peer_min_ms"] / row["bf16_min_ms"])
                peer = [f"{row['peer_min_ms']:.3f}", f"{leads[-1]:.2f}", f"{row['peer_error']:.1e}"]
            table.row(model.stem, f"{row['f32_min_ms']:.3f}", f"{row['bf16_min_ms']:.3f}", f"{gains[-1]:.2f}", *peer[:2],
                      f"{row['error']:.1e}", peer[2])
        for what, ratios in (("f32 / bf16", gains), ("OpenVINO / Sinter", leads)):
            if ratios:
                print(f"\ngeometric mean of {what}: {statistics.geometric_mean(ratios):.2f}")
    return rows
