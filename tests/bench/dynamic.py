"""Models whose products are rounded to bytes while they run (DynamicQuantizeLinear and MatMulInteger, a scale for each column of the
weights), as ONNX Runtime's quantize_dynamic makes them: beside ONNX Runtime on the same file, and beside OpenVINO, where the Python that
SINTER_BENCH_PYTHON names has it. The models: BERT-base and MiniLM of ../bench-models (SINTER_BENCH_MODELS) where they are, otherwise the
embedded transformer."""
import logging
import pathlib
import statistics
import subprocess
import tempfile

import numpy

import models
import turns

COMPARED = "sinter_ms"
SOURCES = ["bert_base_seq128", "minilm_l6_seq128"]


def make(source, path):
    """The model with its constant matrices in 8 bits."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    logging.disable(logging.WARNING)  # its advice on how to prepare models
    quantize_dynamic(source, path, weight_type=QuantType.QInt8, per_channel=True)
    logging.disable(logging.NOTSET)


def measure_model(bench, model, feeds, threads, has_openvino):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "feeds").mkdir()
        numpy.savez(folder / "feeds.npz", **feeds)
        for i, array in enumerate(feeds.values()):
            numpy.save(folder / "feeds" / f"{i}.npy", array)
        taken = {"ort": [], "sinter": [], "openvino": []}
        for _ in range(bench.options.rounds):
            taken["ort"].append(models.peer_turn(bench, model, folder, threads))
            taken["sinter"].append(models.sinter_turn(bench, model, folder, list(feeds), threads))
            if has_openvino:
                taken["openvino"].append(bench.openvino(model, folder / "feeds.npz", threads, "f32", folder / "answers.npz"))
        row = {"error": models.error_of(bench, model, folder, list(feeds))}
        for engine, own in taken.items():
            if own:
                row[f"{engine}_ms"] = statistics.median(turn["median_ms"] for turn in own)
                row[f"{engine}_min_ms"] = min(turn["min_ms"] for turn in own)
        row["run_rss_bytes"] = statistics.median(turn["run_rss_bytes"] for turn in taken["sinter"])
        return row


def measure(bench):
    large = [turns.BENCH_MODELS / f"{name}.onnx" for name in SOURCES]
    sources = bench.options.models or [model for model in large if model.exists()] or [turns.EMBEDDED / "transformer.onnx"]
    has_openvino, rows, made = turns.has_openvino(), {}, []
    for source in sources:
        made.append(bench.folder / f"{source.stem}-dynamic.onnx")
        make(source, made[-1])
    for threads in bench.options.threads:
        table = turns.Table(f"Products rounded to bytes while they run, {threads} thread(s)", "model", "Sinter ms", "ONNX Runtime ms", "OpenVINO ms",
                            "best peer / Sinter", "memory MB", "error to ONNX Runtime")
        leads = []
        for source, model in zip(sources, made):
            try:
                row = measure_model(bench, model, turns.make_feeds(source, bench.options.dims), threads, has_openvino)
            except (RuntimeError, subprocess.CalledProcessError) as error:
                bench.fail(f"{model.stem}: {error}")
                continue
            rows[f"{model.stem}, {threads} thread(s)"] = row
            leads.append(min(row["ort_ms"], row.get("openvino_ms", row["ort_ms"])) / row["sinter_ms"])
            openvino = f"{row['openvino_ms']:.3f}" if "openvino_ms" in row else "-"
            table.row(source.stem, f"{row['sinter_ms']:.3f}", f"{row['ort_ms']:.3f}", openvino, f"{leads[-1]:.2f}",
                      f"{row['run_rss_bytes'] / 1e6:.0f}", f"{row['error']:.1e}")
        if leads:
            print(f"\ngeometric mean of best peer / Sinter: {statistics.geometric_mean(leads):.2f}")
    return rows
