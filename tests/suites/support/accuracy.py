"""Accuracy of a classifier through `sinter run --each`: one compilation, one run for each item, the largest output wins.

Used by tests/suites/embedded_models.py and tests/suites/long/accuracy.py; not a suite itself.
"""

import os
import pathlib
import subprocess
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("SINTER_BUILD", ROOT / "build" / "dev"))
SINTER = BUILD / "bin" / "sinter"


def run(model, inputs, target="cpu", options=()):
    """Outputs by name for inputs by name, both stacked along a leading axis of runs; RuntimeError with what sinter said."""
    with tempfile.TemporaryDirectory() as folder:
        command = [SINTER, "run", model, "--each", f"--target={target}", "-o", folder, *options]
        for name, items in inputs.items():
            path = pathlib.Path(folder) / f"input-{len(command)}.npy"
            np.save(path, items)
            command += ["-i", f"{name}={path}"]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if done.returncode != 0:
            raise RuntimeError(f"exit status {done.returncode}: {done.stderr[-500:]}")
        given = {pathlib.Path(argument.split("=", 1)[1]).name for argument in map(str, command) if argument.endswith(".npy")}
        return {path.stem: np.load(path) for path in pathlib.Path(folder).glob("*.npy") if path.name not in given}


def measure(model, name, items, labels, batch=1, target="cpu"):
    """The share of items whose largest output is their label. The model takes `batch` items a run."""
    assert len(items) % batch == 0
    stacked = items.reshape(len(items) // batch, batch, *items.shape[1:])
    (output,) = run(model, {name: stacked}, target).values()
    return float((output.reshape(len(items), -1).argmax(axis=1) == labels).mean())
