"""Whole models on every engine there is: runs ../shared/bench/side_by_side.py, and makes the table of the README from the figures that it
writes.

Of several files of figures a later one replaces the models and threads that it has, all engines of them, for only times of one run
compare. "Leanest peer" is the least that a peer's process grows by on the model, of those that answer right; where Sinter's convolutions are
Winograd's, which take more memory for less time, of those whose convolutions are Winograd's as well."""
import concurrent.futures
import json
import math
import os
import statistics
import subprocess
import sys

import turns

NAMES = {
    "bert_base_seq128": "BERT-base, 128 tokens", "bert_base_seq128_int8": "BERT-base int8", "efficientnet_b0": "EfficientNet-B0",
    "gpt2_small_decode": "GPT-2 small, one token", "gpt2_small_prefill128": "GPT-2 small, 128 tokens", "lstm": "LSTM, two layers",
    "minilm_l6_seq128": "MiniLM-L6, 128 tokens", "mobilenet_v2": "MobileNet-v2", "mobilenet_v2_int8_qdq": "MobileNet-v2 int8",
    "resnet50": "ResNet-50", "resnet50_int8_qdq": "ResNet-50 int8", "squeezenet1_1": "SqueezeNet 1.1", "vit_b_16": "ViT-B/16",
}  # fmt: skip
ENGINES = {"ort": "ORT", "openvino": "OV", "torch": "PyTorch", "mnn": "MNN"}  # others by their own name
WINOGRAD = {"mnn", "ncnn"}  # engines with Winograd's convolutions in f32
COUNTS = {1: "one thread", 2: "two threads"}
BEGIN, END = "<!-- table of peers: begin -->\n", "<!-- table of peers: end -->\n"


def run(bench):
    """The comparison with all engines, in the Python that has them (SINTER_BENCH_PYTHON); it skips those that are missing. The file of
    figures, or None."""
    script = turns.SHARED / "bench" / "side_by_side.py"
    if not script.exists() or not turns.BENCH_MODELS.is_dir():
        print(f"\npeers: skipped, there is no {script if not script.exists() else turns.BENCH_MODELS}")
        return None
    figures = bench.options.json.with_name("side_by_side.json")
    command = [os.environ.get("SINTER_BENCH_PYTHON", sys.executable), script, turns.BENCH_MODELS, "--sinter", bench.sinter,
               "--json", figures, "--threads", ",".join(map(str, bench.options.threads))]
    if subprocess.run(command).returncode:
        bench.fail("peers: side_by_side.py failed")
        return None
    return figures


# ---- figures ----


def merge(files):
    """{(model, threads): {engine: row}} of what ran."""
    found = {}
    for file in files:
        own = {}
        for row in json.loads(file.read_text())["results"]:
            if row.get("ms"):
                own.setdefault((row["model"], row["threads"]), {})[row["engine"]] = row
        found.update(own)
    return found


def uses_winograd(bench, model):
    """Whether Sinter computes convolutions of the model so: their kernels keep transformed weights."""
    path = turns.BENCH_MODELS / f"{model}.onnx"
    if not path.exists():
        raise RuntimeError(f"the table needs {path}, to know whose memory compares (SINTER_BENCH_MODELS names another folder)")
    done = subprocess.run([bench.sinter, "compile", path, "--emit=loops", "-o", "-"], capture_output=True, check=True)
    return b"%transformed" in done.stdout


def right_peers(rows):
    return [row for engine, row in rows.items() if engine != "sinter" and not row.get("wrong")]


def fastest(rows):
    return min(right_peers(rows), key=lambda row: row["ms"], default=None)


def leanest(rows, winograd):
    peers = [row for row in right_peers(rows) if row.get("peak_mb") and (not winograd or row["engine"] in WINOGRAD)]
    return min(peers, key=lambda row: row["peak_mb"], default=None)


# ---- the table ----


def number(value):
    """Three significant digits, never with an exponent."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value else "0"


def peer_cell(row, figure):
    return f"{ENGINES.get(row['engine'], row['engine'])} {number(row[figure])}" if row else "-"


def time_cells(rows):
    """Sinter's time, the fastest peer's, the lead; and the lead as a number."""
    own, peer = rows.get("sinter"), fastest(rows)
    lead = peer["ms"] / own["ms"] if own and peer else None
    unclean = "~" if own and own.get("dirty") else ""
    return [number(own["ms"]) + unclean if own else "-", peer_cell(peer, "ms"), f"{lead:.2f}" if lead else "-"], lead


def row_cells(figures, model, threads, winograd):
    """The cells of a model, its leads by threads, and Sinter's memory by that of the leanest peer."""
    cells, leads = [NAMES.get(model, model)], {}
    for count in threads:
        own_cells, leads[count] = time_cells(figures.get((model, count), {}))
        cells += own_cells
    rows = next(figures[model, count] for count in threads if (model, count) in figures)
    own, lean = rows.get("sinter"), leanest(rows, winograd)
    if not own:
        return [*cells, "-", "-", peer_cell(lean, "peak_mb"), "-"], leads, None
    cells += [f"{own['load_ms']:.0f}", number(own["peak_mb"]), peer_cell(lean, "peak_mb") + ("\\*" if winograd else ""), f"{own['rel_err']:.1e}"]
    return cells, leads, own["peak_mb"] / lean["peak_mb"] if lean else None


def sentences(leads, memory, threads, any_winograd, unclean):
    """What follows from the table."""
    means = [f"{statistics.geometric_mean(leads[count]):.2f} with {COUNTS.get(count, f'{count} threads')}" for count in threads if leads[count]]
    lean = sum(ratio < 1 for ratio in memory)
    lines = [f"The geometric mean of the lead is {' and '.join(means)}; the least is {min(min(l) for l in leads.values() if l):.2f}. "
             f"Memory is below the leanest peer's on {lean} of {len(memory)} models."]
    if any_winograd:
        lines.append("\\* Sinter's convolutions are Winograd's here, and so are these peers' (MNN, ncnn).")
    if unclean:
        lines.append("~: no turn on a quiet machine.")
    return "\n".join(lines)


def table(bench, files):
    """The README's table and what follows from it, as markdown. Raises RuntimeError where a model is missing, or Sinter's answer
    is missing or wrong."""
    figures = merge(files)
    models = sorted({model for model, _ in figures}, key=lambda model: NAMES.get(model, model).lower())
    threads = sorted({count for _, count in figures})
    if not models:
        raise RuntimeError("no engine ran on any model")
    bad = sorted({model for (model, _), rows in figures.items() if "sinter" not in rows or rows["sinter"].get("wrong")})
    if bad:
        raise RuntimeError(f"Sinter gave no right answer on {', '.join(bad)}: see the figures")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        winograd = dict(zip(models, pool.map(lambda model: uses_winograd(bench, model), models)))
    heads = ["model", *(head for count in threads for head in (COUNTS.get(count, f"{count} threads"), "fastest peer", "lead")),
             "compile ms", "memory MB", "leanest peer MB", "error"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    leads, memory = {count: [] for count in threads}, []
    for model in models:
        cells, own_leads, share = row_cells(figures, model, threads, winograd[model])
        lines.append("| " + " | ".join(cells) + " |")
        memory += [share] if share else []
        for count, lead in own_leads.items():
            leads[count] += [lead] if lead else []
    if not memory or not any(leads.values()):
        return "\n".join(lines) + "\n"
    unclean = any("~" in line for line in lines)
    return "\n".join([*lines, "", sentences(leads, memory, threads, any(winograd.values()), unclean)]) + "\n"


def write_readme(text):
    """Between the two comments that mark its place."""
    path = turns.ROOT / "README.md"
    before, rest = path.read_text().split(BEGIN)
    after = rest.split(END)[1]
    partial = path.with_suffix(".partial")
    partial.write_text(before + BEGIN + "\n" + text + "\n" + END + after)
    partial.replace(path)


def report(bench, files):
    """Prints the table, and puts it into the README where that is asked for."""
    text = table(bench, files)
    print("\n" + text)
    if bench.options.readme:
        write_readme(text)
