"""Values before = values after: each pass alone, and the whole pipeline, on the embedded models and on a sample of the ONNX
backend suite, in the evaluator. A case that the evaluator gets right must stay right. (Random graphs through random
sequences of passes: tests/unit/random_graph_test.c.)

    tests/suites/passes_values.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import pathlib
import re
import subprocess
import tempfile

import numpy as np
from support import onnx_cases
from tally import Tally

ROOT = onnx_cases.ROOT
MODELS = ROOT / "tests" / "models"
SAMPLE = 12  # every so many cases
IMAGES = 4  # of the test images, for each model
BOUND = 1e-5  # of max|a - b| / max|b|
ELSEWHERE = {"shard_auto", "pipeline_split"}  # refuse to run where no hardware is described: tests/passes/
LOSSY = {"dequantize": 0.02}  # what is not rounded any more was within half a step of each quantization


def pass_names():
    text = (ROOT / "passes" / "passes.def").read_text()
    return [name for name in re.findall(r"^PASS\((\w+)", text, re.MULTILINE) if name not in ELSEWHERE]


def run_model(model, images, options, folder):
    """Outputs by name, or a message."""
    command = [onnx_cases.SINTER, "run", model, "--target=eval", "-i", f"pixels={images}", "-o", folder, *options]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, errors="replace")
    if done.returncode:
        return f"status {done.returncode}: {done.stderr[:400]}"
    return {path.stem: np.load(path) for path in sorted(folder.glob("*.npy"))}


def difference(got, expected, bound):
    if isinstance(got, str):
        return got
    if got.keys() != expected.keys():
        return f"outputs {sorted(got)}, expected {sorted(expected)}"
    for name, value in expected.items():
        error = np.max(np.abs(got[name] - value)) / np.max(np.abs(value))
        if not error <= bound:
            return f"{name} differs by {error:.2g}"
    return None


def check_models(tally, variants):
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        images = folder / "images.npy"
        np.save(images, np.load(MODELS / "digits_test_images.npy")[:IMAGES].astype(np.float32))
        for model in sorted(MODELS.glob("*.onnx")):
            expected = None
            for name, options in variants.items():
                out = folder / f"{model.stem}-{name}"
                out.mkdir()
                got = run_model(model, images, options, out)
                if expected is None:
                    expected = got
                problem = got if isinstance(got, str) else difference(got, expected, LOSSY.get(name, BOUND))
                tally.check(f"{model.name} after {name}", [problem] if problem else [])


def check_cases(tally, variants):
    cases = dict(list(onnx_cases.folder_cases().items())[::SAMPLE])
    right = None
    for name, options in variants.items():
        results = onnx_cases.run_cases(cases, "eval", *options)
        if right is None:
            right = [case for case, (outcome, _) in results.items() if outcome == "passed"]
            if not right:
                tally.failed("ONNX cases", "none is right before any pass")
        for case in right:
            outcome, message = results[case]
            tally.check(f"{case} after {name}", [] if outcome == "passed" else [f"{outcome}: {message[:300]}"])


def main():
    tally = Tally()
    variants = {"no pass": ["--passes=eliminate-dead"]}
    variants |= {name: [f"--passes={name}", "--verify-each"] for name in pass_names()}
    variants["the pipeline"] = ["-O2", "--verify-each"]
    check_models(tally, variants)
    check_cases(tally, variants)
    tally.finish()


if __name__ == "__main__":
    main()
