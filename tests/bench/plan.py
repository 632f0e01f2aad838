#!/usr/bin/env python3
"""What `sinter plan` says of one device beside what `sinter bench` measures on one thread: the shortest run of several turns, and the
sum of the shortest times of the kernels, on which other work on the machine has less influence. The error against either is told. Inputs lie beside a model as MODEL.in.npz where it has any.

    tests/bench/plan.py HARDWARE MODEL.onnx...     SINTER (build/release/bin/sinter), SECONDS (2), TURNS (3) in the environment
"""
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

SINTER = os.environ.get("SINTER", "build/release/bin/sinter")
SECONDS = os.environ.get("SECONDS", "2")
TURNS = int(os.environ.get("TURNS", "3"))
PER_MS = {"ms": 1, "us": 1e3, "ns": 1e6}


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr}")
    return done.stdout


def measure(model, folder):
    inputs = model.with_suffix(".in.npz")
    result, options = folder / "bench.json", ["-i", inputs] if inputs.exists() else []
    artifact = folder / "model.so"
    run(SINTER, "compile", model, "-o", artifact)
    runs, kernels = [], []
    for _ in range(TURNS):
        said = run(SINTER, "bench", artifact, "--threads=1", f"--seconds={SECONDS}", f"--json={result}", "--profile", *options)
        runs.append(json.loads(result.read_text())["min_ms"])
        number, unit = re.search(r"^kernels: ([0-9.]+) ([mun]s) a run$", said, re.MULTILINE).groups()
        kernels.append(float(number) / PER_MS[unit])
    return min(runs), min(kernels)


def predict(hardware, model, folder):
    result = folder / "plan.json"
    run(SINTER, "plan", model, f"--hardware={hardware}", f"--json={result}")
    return json.loads(result.read_text())[0]["one_device_ms"]


def main():
    hardware, models = sys.argv[1], [pathlib.Path(name) for name in sys.argv[2:]]
    errors = {"a run": [], "kernels": []}
    print(f"{'model':36} {'predicted':>10} {'a run':>10} {'error':>8} {'kernels':>10} {'error':>8}")
    for model in models:
        with tempfile.TemporaryDirectory() as name:
            predicted = predict(hardware, model, pathlib.Path(name))
            measured = measure(model, pathlib.Path(name))
        line = f"{model.stem:36} {predicted:10.3f}"
        for found, time in zip(errors.values(), measured):
            found.append(predicted / time - 1)
            line += f" {time:10.3f} {100 * found[-1]:+7.1f}%"
        print(line, flush=True)
    for against, found in errors.items():
        sizes = [abs(error) for error in found]
        print(f"{len(sizes)} models against {against}: median error {100 * statistics.median(sizes):.1f} %, worst {100 * max(sizes):.1f} %")


if __name__ == "__main__":
    main()
