"""`sinter compress` for suites: what it prints, and its file in ONNX Runtime against compiled code.

Used by tests/suites/compressed_models.py and tests/suites/long/compress.py; not a suite itself.
"""

import pathlib
import re
import subprocess
import tempfile

import numpy as np

from support import accuracy


def compress(model, out, inputs, options, labels=None):
    """Runs it on stacked inputs; the rows of its table by name, each with its numbers, and the processor seconds that it took, without
    what measuring the result takes."""
    with tempfile.TemporaryDirectory() as folder:
        command = [accuracy.SINTER, "compress", model, "-o", out, *options]
        for name, items in inputs.items():
            path = pathlib.Path(folder) / f"input-{len(command)}.npy"
            np.save(path, items)
            command += ["-i", f"{name}={path}"]
        if labels is not None:
            np.save(pathlib.Path(folder) / "labels.npy", labels)
            command += [f"--labels={folder}/labels.npy"]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        raise RuntimeError(f"exit status {done.returncode}: {done.stderr[-500:]}")
    rows = {line.split()[0]: [float(n) for n in re.findall(r"[-+]?\d[\d.]*(?:e[-+]?\d+)?", line.split(None, 1)[1])]
            for line in done.stdout.splitlines()[1:]}
    return rows | {"seconds": rows["time"][1]}


def disagreement(model, name, items, batch):
    """The share of rows whose largest output is elsewhere in ONNX Runtime than in compiled code; the file is checked, too."""
    import onnx
    import onnxruntime

    onnx.checker.check_model(str(model), full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    stacked = items.reshape(len(items) // batch, batch, *items.shape[1:])
    theirs = np.concatenate([session.run(None, {name: run})[0] for run in stacked])
    (ours,) = accuracy.run(model, {name: stacked}).values()
    ours = ours.reshape(theirs.shape)
    return float((ours.argmax(axis=-1) != theirs.argmax(axis=-1)).mean())
