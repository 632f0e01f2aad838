"""Recurrent layers whose steps make the products of later inputs: LSTM, GRU and RNN in all directions, of known and of open length, with
lengths of their own, on instruction sets of several widths, for one row and for a batch of open size. They write the bits that the same
layer writes where each product has loops of its own, as it has for two rows, and what the evaluator writes.

    tests/suites/recurrent_values.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import itertools
import pathlib
import re
import subprocess
import tempfile

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from support import onnx_cases
from tally import Tally

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
SPECIAL = {"LSTM": ({}, {"input_forget": 1}), "GRU": ({}, {"linear_before_reset": 1}), "RNN": ({}, {"activations": ["Relu", "Relu"]})}
UNITS = {"LSTM": 96, "GRU": 128, "RNN": 256}  # weights that no first cache keeps, in whole tiles of any width
INPUTS = {"LSTM": (64, 100), "GRU": (128, 77), "RNN": (256, 225)}  # so many that it pays to hide them
OPEN_LENGTHS = (0, 1, 7, 8, 9, 16, 27)
TARGETS = {"x86-64-v4": "avx512vl", "zen3": "avx2"}
WOVEN = re.compile(r"for to in 0\.\.[^\n]*\n *for ti in 0\.\.")


def layer(kind, special, direction, steps, batch, with_lengths, inputs):
    """The model; steps and batch are numbers or names of symbols."""
    rng = np.random.default_rng(len(kind) + inputs)
    directions, units = 1 + (direction == "bidirectional"), UNITS[kind]
    rows = GATES[kind] * units
    shapes = {"w": (directions, rows, inputs), "r": (directions, rows, units), "b": (directions, 2 * rows)}
    weights = [numpy_helper.from_array(rng.uniform(-0.1, 0.1, shape).astype(np.float32), name) for name, shape in shapes.items()]
    special = {key: value[:directions] if isinstance(value, list) else value for key, value in special.items()}
    results = ["y", "y_h"] + ["y_c"] * (kind == "LSTM")
    names = ["x", "w", "r", "b"] + ["lengths"] * with_lengths
    node = helper.make_node(kind, names, results, hidden_size=units, direction=direction, **special)
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [steps, batch, inputs])]
    given += [helper.make_tensor_value_info("lengths", TensorProto.INT32, [batch])] * with_lengths
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in results]
    graph = helper.make_graph([node], "layer", given, made, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(*arguments):
    return subprocess.run([str(a) for a in arguments], capture_output=True, text=True, errors="replace")


def results_of(work, artifact, given):
    folder = work / "results"
    done = run(onnx_cases.SINTER, "run", artifact, "-o", folder, *given)
    if done.returncode != 0:
        return None, [done.stderr[-600:]]
    return {path.stem: np.load(path) for path in sorted(folder.glob("*.npy"))}, []


def check_length(work, names, artifacts, model, length, with_lengths, inputs):
    """One row from both artifacts, and from that of the open batch beside another row, of another length."""
    rows = [np.random.default_rng(length + 1000 * row).uniform(-1, 1, (length, 1, inputs)) for row in range(2)]
    x = np.concatenate(rows, axis=1).astype(np.float32)
    lengths, results, problems = np.array([max(length - 3, 0), length], np.int32), [], []
    for artifact, count in ((artifacts[0], 1), (artifacts[1], 1), (artifacts[1], 2), (model, 2)):
        np.save(work / "x.npy", x[:, :count])
        np.save(work / "lengths.npy", lengths[:count])
        given = ["-i", f"x={work / 'x.npy'}"] + ["-i", f"lengths={work / 'lengths.npy'}"] * with_lengths
        made, more = results_of(work, artifact, given + ["--target=eval"] * (artifact == model))
        results.append(made)
        problems += more
    for key in [] if problems else names:
        bound, one, two, wanted = (result[key] for result in results)
        if bound.tobytes() != one.tobytes():
            problems.append(f"{key}: other bits with a batch of open size")
        if one.tobytes() != two[..., :1, :].tobytes():
            problems.append(f"{key}: other bits than with loops of their own")
        if not np.allclose(two, wanted, rtol=1e-5, atol=1e-6):
            problems.append(f"{key}: not what the evaluator has")
    return problems


def check_case(tally, work, name, models, lengths, with_lengths, inputs, target):
    """models: that of one row, and that of an open batch."""
    artifacts, problems = [], []
    for index, model in enumerate(models):
        loops, artifact = work / "layer.loops", work / f"layer_{index}.so"
        for out in (loops, artifact):
            done = run(onnx_cases.SINTER, "compile", model, f"--target=cpu:{target}", "-o", out)
            problems += [done.stderr[-600:]] if done.returncode != 0 else []
        kernels = [] if problems else loops.read_text().split("kernel @")[1:]
        if not problems and [bool(WOVEN.search(kernel)) for kernel in kernels] != ([True], [False, True])[index]:
            problems.append("expected the kernel for one row, and no other, to have one loop for both products")
        artifacts.append(artifact)
    tally.check(f"{name} on {target}", problems)
    names = ["y", "y_h"] + ["y_c"] * name.startswith("LSTM")
    for length in [] if problems else lengths:
        problems = check_length(work, names, artifacts, models[1], length, with_lengths, inputs)
        tally.check(f"{name} on {target}, {length} steps", problems)


def main():
    tally = Tally()
    flags = pathlib.Path("/proc/cpuinfo").read_text().split()
    with tempfile.TemporaryDirectory() as scratch:
        work = pathlib.Path(scratch)
        cases = itertools.product(GATES, (0, 1), ("forward", "reverse", "bidirectional"), (37, "T"), (False, True))
        for index, (kind, which, direction, steps, with_lengths) in enumerate(cases):
            if index % 3 not in (0, 1) or index % 5 > 2:  # every pair of two is there
                continue
            inputs, models = INPUTS[kind][index % 2], []
            name = f"{kind} {which} {direction} {steps} {'with lengths' if with_lengths else ''}"
            for batch in (1, "B"):
                models.append(work / f"layer_{batch}.onnx")
                save(layer(kind, SPECIAL[kind][which], direction, steps, batch, with_lengths, inputs), models[-1])
            lengths = (37,) if steps == 37 else OPEN_LENGTHS[index % 2 :: 2]
            for target, feature in TARGETS.items():
                if feature in flags:
                    check_case(tally, work, name, models, lengths, with_lengths, inputs, target)
                else:
                    tally.skipped(f"{name} on {target}", f"this machine has no {feature}")
    tally.finish()


if __name__ == "__main__":
    main()
