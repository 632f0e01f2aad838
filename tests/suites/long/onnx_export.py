"""Models written back as ONNX are valid and mean the same: `sinter compile --emit=onnx` of the cases of the ONNX backend
suite, onnx.checker, and ONNX Runtime against the stored answers. Cases whose own model ONNX Runtime can't run, or runs to
another answer, are held to the checker only."""

import concurrent.futures
import os
import subprocess

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime

from support import onnx_cases

LABEL = "export"
LEAST = 0.95


def read_value(path, value):
    """A numpy array or a list of them; None for an optional without a value."""
    data = path.read_bytes()
    kind = value.type.WhichOneof("value")
    if kind == "tensor_type":
        return onnx.numpy_helper.to_array(onnx.TensorProto.FromString(data))
    if kind == "sequence_type":
        return onnx.numpy_helper.to_list(onnx.SequenceProto.FromString(data))
    return onnx.numpy_helper.to_optional(onnx.OptionalProto.FromString(data))


def read_values(folder, kind, values):
    paths = [folder / "test_data_set_0" / f"{kind}_{index}.pb" for index in range(len(values))]
    return [read_value(path, value) for path, value in zip(paths, values) if path.exists()]


def is_same(got, expected):
    if isinstance(expected, list):
        return isinstance(got, list) and len(got) == len(expected) and all(map(is_same, got, expected))
    if expected is None or got is None:
        return expected is got
    got, expected = np.asarray(got), np.asarray(expected)
    if got.shape != expected.shape or got.dtype != expected.dtype:
        return False
    if expected.dtype.kind in "OSU":
        return got.astype(str).tolist() == expected.astype(str).tolist()
    complex_ = expected.dtype.kind == "c"
    wide = np.complex128 if complex_ else np.float64
    return np.allclose(got.astype(wide), expected.astype(wide), rtol=1e-3, atol=1e-5, equal_nan=True)


def answer(path, inputs):
    """What ONNX Runtime makes of the inputs; None with a reason where it refuses."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        run = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = [value.name for value in run.get_inputs()]
        return run.run(None, dict(zip(names, inputs))), ""
    except Exception as error:  # of several classes, all meaning a refusal
        return None, str(error)


def check_case(name, folder):
    """('passed' | 'failed', why)"""
    out = onnx_cases.WORK / "export" / f"{name}.onnx"
    out.parent.mkdir(parents=True, exist_ok=True)
    command = [onnx_cases.SINTER, "compile", folder / "model.onnx", "--emit=onnx", "-O0", "-o", out]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=onnx_cases.sanitizers.seconds(120, onnx_cases.BUILD))
    if done.returncode != 0:
        return ("failed" if done.returncode > 0 else "crashed"), done.stderr
    try:
        onnx.checker.check_model(str(out))
    except Exception as error:
        return "failed", f"error: onnx.checker: {error}"
    original = onnx.load(folder / "model.onnx")
    try:
        inputs = read_values(folder, "input", original.graph.input)
        expected = read_values(folder, "output", original.graph.output)
    except Exception:  # data that onnx's own reader does not take
        return "passed", "checker"
    before, _ = answer(folder / "model.onnx", inputs)
    if before is None or not all(map(is_same, before, expected)):
        return "passed", "checker"
    after, why = answer(out, inputs)
    if after is None:
        return "failed", f"error: ONNX Runtime refuses: {why}"
    same = len(after) == len(expected) and all(map(is_same, after, expected))
    return ("passed", "run") if same else ("failed", "error: ONNX Runtime gives another answer")


def main():
    tally = onnx_cases.Tally()
    failing = onnx_cases.read_expected()
    cases = {name: folder for name, folder in onnx_cases.folder_cases().items() if ("eval", name) not in failing}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = dict(zip(cases, pool.map(check_case, cases.keys(), cases.values())))
    run = sum(result == ("passed", "run") for result in results.values())
    onnx_cases.report_listed(tally, cases, results, LABEL, LEAST)
    print(f"{LABEL}: {run} of them run by ONNX Runtime with the same answers", flush=True)
    tally.finish()


if __name__ == "__main__":
    main()
