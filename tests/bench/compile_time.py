"""How long compiling takes without a cache of kernels, its peak of memory, and how long an artifact takes to load. The models: large
ones of ../bench-models (SINTER_BENCH_MODELS) where they are, otherwise the embedded ones."""
import json
import sys

import turns

COMPARED = "compile_ms"
MODELS = ["resnet50", "mobilenet_v2", "bert_base_seq128", "gpt2_small_decode", "gpt2_small_prefill128"]
# A process of its own, smaller than any compiler: what a child's peak is said to be holds that of who started it.
CLOCK = """
import json, os, sys, time
start = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], {k: v for k, v in os.environ.items() if k != "SINTER_CACHE"})
_, status, used = os.wait4(child, 0)
print(json.dumps({"compile_ms": 1e3 * (time.perf_counter() - start), "peak_bytes": 1024 * used.ru_maxrss, "status": status}))
"""


def compile_cold(bench, model, artifact):
    output = bench.run(sys.executable, "-I", "-S", "-c", CLOCK, bench.sinter, "compile", model, "-o", artifact)
    figures = json.loads(output.splitlines()[-1])
    if figures.pop("status"):
        raise RuntimeError(f"{model} does not compile")
    return figures


def measure(bench):
    large = [turns.BENCH_MODELS / f"{name}.onnx" for name in MODELS]
    models = bench.options.models or [model for model in large if model.exists()] or sorted(turns.EMBEDDED.glob("*.onnx"))
    table = turns.Table("Compiling without a cache, and loading", "model", "compile ms", "peak MB", "file MB", "peak - file MB", "load ms")
    rows = {}
    for model in models:
        artifact, report = bench.folder / "cold.so", bench.folder / "load.json"
        tries = [compile_cold(bench, model, artifact) for _ in range(bench.options.rounds)]
        row = {name: min(one[name] for one in tries) for name in tries[0]}
        loads = []
        for _ in range(5):
            bench.run(bench.sinter, "bench", artifact, "--seconds=0", f"--json={report}")
            loads.append(json.loads(report.read_text())["load_ms"])
        row["load_ms"], row["file_bytes"] = min(loads), model.stat().st_size
        rows[model.stem] = row
        table.row(model.stem, f"{row['compile_ms']:.0f}", f"{row['peak_bytes'] / 1e6:.0f}", f"{row['file_bytes'] / 1e6:.0f}",
                  f"{(row['peak_bytes'] - row['file_bytes']) / 1e6:.0f}", f"{row['load_ms']:.1f}")
    return rows
