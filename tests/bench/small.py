"""Small models inside one process, without Python: the artifact by the runtime's C API beside ONNX Runtime's C API, one thread.
The models are those of ../shared/models where they are, and the embedded ones."""
import statistics

import numpy

import turns

COMPARED = "sinter_us"
MODELS = ["mnist", "mlperf_tiny_kws_dscnn_i8_qdq", "mlperf_tiny_resnet8_f32", "mlperf_tiny_resnet8_i8_qdq", "cifar10_resnet20_f32",
          "kwt1_12label_f32", "silero_vad", "mlperf_tiny_ad_autoencoder_f32"]
EMBEDDED_DIMS = {"batch": 1, "length": 8}


def feeds_of(model):
    """Silero's detector takes 32 ms of sound, its state, and the rate of its samples."""
    if not model.stem.startswith("silero_vad"):
        return turns.make_feeds(model, EMBEDDED_DIMS)
    sound = numpy.random.default_rng(0).standard_normal((1, 512)).astype("f4") * numpy.float32(0.1)
    return {"input": sound, "state": numpy.zeros((2, 1, 128), "f4"), "sr": numpy.array(16000, "i8")}


def measure(bench):
    library = turns.onnxruntime_library()
    if not library:
        raise RuntimeError("the onnxruntime package has no libonnxruntime.so")
    shared = [turns.SHARED / "models" / f"{name}.onnx" for name in MODELS]
    groups = {"given": bench.options.models} if bench.options.models else \
        {"shared/models": [model for model in shared if model.exists()], "embedded": sorted(turns.EMBEDDED.glob("*.onnx"))}
    missing = [model.stem for model in shared if not model.exists()]
    if missing and not bench.options.models:
        print(f"\nnot there, so not measured: {', '.join(missing)}")
    table = turns.Table("Small models beside ONNX Runtime's C API, 1 thread, microseconds", "model", "Sinter", "ONNX Runtime",
                        "ONNX Runtime / Sinter", "medians: Sinter", "ONNX Runtime", "ratio", "relative error")
    rows, summary = {}, []
    for group, models in groups.items():
        ratios = []
        for model in models:
            files = bench.save(feeds_of(model).values())
            row = bench.beside(bench.compile(model), f"onnxruntime:{library}:{model}", files, 1)
            row["ratio"] = row["peer_us"] / row["sinter_us"]
            row["median_ratio"] = row["peer_median_us"] / row["sinter_median_us"]
            rows[model.stem] = row
            ratios.append((row["ratio"], row["median_ratio"]))
            table.row(model.stem, f"{row['sinter_us']:.2f}", f"{row['peer_us']:.2f}", f"{row['ratio']:.2f}", f"{row['sinter_median_us']:.2f}",
                      f"{row['peer_median_us']:.2f}", f"{row['median_ratio']:.2f}", f"{row['error']:.0e}")
        if ratios:
            means = [statistics.geometric_mean(column) for column in zip(*ratios)]
            summary.append(f"geometric mean, {group}: {means[0]:.2f} by the fastest runs, {means[1]:.2f} by the medians; "
                           f"least {min(ratios)[0]:.2f}")
    print("\n" + "\n".join(summary))
    return rows
