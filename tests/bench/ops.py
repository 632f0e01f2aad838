"""Single operators beside ONNX Runtime's C API, in one process, one thread: the rows of ops_table.py, those that lose most first. Their values are
compared; where one has a step of a quantization, or a place in an order of equals, more or less, that is no error."""
import math
import os
import statistics

import onnx

import ops_table
import turns

COMPARED = "sinter_us"
MOST_ERROR = 1e-4  # as Winograd's convolutions have it
STEP = 1 / 128     # of quantized results, by the largest


def measure_row(bench, library, row):
    """Figures of the row; None where ONNX Runtime has no kernel for it."""
    model = ops_table.Model(row)
    path = bench.folder / "op.onnx"
    onnx.save(model.proto, path)
    figures = bench.beside(bench.compile(path), f"onnxruntime:{library}:{path}", bench.save(model.feeds.values()), 1)
    figures["ratio"] = figures["peer_us"] / figures["sinter_us"]
    most = STEP if model.is_quantized else MOST_ERROR * (100 if "f16" in row[2] else 1)
    if not figures["error"] <= most:
        bench.fail(f"{row[0]}: the values differ by {figures['error']:.1e} of the largest")
    return figures


def measure(bench):
    library = turns.onnxruntime_library()
    if not library:
        raise RuntimeError("the onnxruntime package has no libonnxruntime.so")
    pattern, rows = os.environ.get("SINTER_BENCH_OPS", ""), {}
    for row in ops_table.ROWS:
        if pattern not in row[0]:
            continue
        try:
            rows[row[0]] = measure_row(bench, library, row)
        except RuntimeError as error:
            bench.fail(f"{row[0]}: {error}")
    table = turns.Table("Single operators beside ONNX Runtime's C API, 1 thread, microseconds", "operator", "Sinter", "ONNX Runtime",
                        "ONNX Runtime / Sinter", "medians: Sinter", "ONNX Runtime", "error")
    for name, row in sorted(rows.items(), key=lambda item: item[1]["ratio"]):
        table.row(name, f"{row['sinter_us']:.1f}", f"{row['peer_us']:.1f}", f"{row['ratio']:.2f}", f"{row['sinter_median_us']:.1f}",
                  f"{row['peer_median_us']:.1f}", f"{row['error']:.0e}")
    if rows:
        ratios = [row["ratio"] for row in rows.values()]
        behind = sum(ratio < 1 for ratio in ratios)
        print(f"\ngeometric mean of ONNX Runtime / Sinter: {math.exp(statistics.fmean(map(math.log, ratios))):.2f}; behind in {behind} of {len(ratios)}")
    return rows
