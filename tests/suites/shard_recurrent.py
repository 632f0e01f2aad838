"""Recurrent layers whose units are cut: LSTM, GRU and RNN with what each of them may have - directions, layouts, lengths of sequences,
states to begin with, peepholes, a reset before or after the product - on random meshes with random shardings, evaluated on all ranks
together and compiled, against the evaluator on the whole layer; units that ranks share unevenly, too. The same with layers in two
(split-projections), whose products with inputs may be cut alone.

    tests/suites/shard_recurrent.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import itertools
import pathlib
import re
import subprocess
import tempfile

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from shard_values import DRIVER, SKIPPED
from tally import Tally

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS, BATCH, INPUTS = 4, 3, 5
SPECIAL = {"LSTM": ("plain", "peepholes", "input_forget"), "GRU": ("plain", "linear_before_reset"), "RNN": ("plain",)}


def layer(rng, kind, special, direction, layout, units, with_lengths, with_states):
    """The model, and its inputs in order. Weights are constants, as are those of trained networks."""
    directions, rows = 1 + (direction == "bidirectional"), GATES[kind] * units

    def draw(*shape):
        return rng.uniform(-0.7, 0.7, shape).astype(np.float32)

    def turned(*shape):  # axes of time or directions, and samples
        return shape if layout == 0 else (shape[1], shape[0], *shape[2:])

    constants = {"w": draw(directions, rows, INPUTS), "r": draw(directions, rows, units), "b": draw(directions, 2 * rows)}
    inputs = {"x": draw(*turned(STEPS, BATCH, INPUTS))}
    names = ["x", "w", "r", "b", "lengths" * with_lengths, "h" * with_states]
    if with_lengths:
        inputs["lengths"] = np.array([4, 1, 3], np.int32)
    if with_states:
        inputs["h"] = draw(*turned(directions, BATCH, units))
    if kind == "LSTM":
        if with_states:
            inputs["c"] = draw(*turned(directions, BATCH, units))
        names.append("c" * with_states)
        if special == "peepholes":
            constants["p"] = draw(directions, 3 * units)
            names.append("p")
    flags = {special: 1} if special in ("input_forget", "linear_before_reset") else {}
    results = ["y", "y_h"] + ["y_c"] * (kind == "LSTM")
    node = helper.make_node(kind, names, results, hidden_size=units, direction=direction, layout=layout, **flags)
    # something behind the layer that wants other cuts than it has
    nodes = [node, helper.make_node("Tanh", ["y"], ["out"]), helper.make_node("ReduceSum", ["y_h"], ["sum"], keepdims=0)]
    kinds = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int32): TensorProto.INT32}
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info(name, kinds[value.dtype], value.shape) for name, value in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("out", "sum", *results[2:])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), inputs


def write_layers(work):
    """Folders of the ONNX backend layout; of what may be had at once a sample that has every pair of two of them."""
    rng, folders = np.random.default_rng(7), []
    for kind, specials in SPECIAL.items():
        rest = itertools.product(specials, ("forward", "reverse", "bidirectional"), (0, 1), (4, 5), (False, True), (False, True))
        for index, words in enumerate(rest):
            if index % 7 not in (0, 3) and kind == "LSTM" or index % 5 not in (0, 2) and kind == "GRU" or index % 3 and kind == "RNN":
                continue
            model, inputs = layer(rng, kind, *words)
            folder = work / f"{kind}_{'_'.join(str(word) for word in words)}"
            (folder / "test_data_set_0").mkdir(parents=True)
            save(model, folder / "model.onnx")
            for place, (name, value) in enumerate(inputs.items()):
                (folder / "test_data_set_0" / f"input_{place}.pb").write_bytes(numpy_helper.from_array(value, name).SerializeToString())
            folders.append(folder)
    return folders


def drive(tally, folders, seed, tries, *options):
    """So many shardings of each model, which all have to pass: the driver's counts by name; None after failures."""
    done = subprocess.run(
        [DRIVER, str(seed), str(tries), *options], input="\n".join(map(str, folders)), capture_output=True, text=True, errors="replace"
    )
    for line in done.stdout.splitlines():
        if ": try " in line:
            tally.failed(line.split(": try")[0], line[:600])
    sums = SKIPPED.search(done.stdout)
    if not sums:
        tally.failed("shard_driver", f"status {done.returncode}: {done.stderr[:600]}")
        return None
    wanted = tries * len(folders)
    tally.check(f"{sums[1]} shardings {' '.join(options)}", [] if int(sums[1]) == wanted else [f"expected {wanted}, {sums[3]} skipped"])
    counts = {name: int(count) for count, name in re.findall(r"^(\d+) (collectives|evaluated only|nodes exchange)", done.stdout, re.MULTILINE)}
    return {**counts, "passed": int(sums[1])}


def run(tally, folders, seed, tries, *options):
    counts = drive(tally, folders, seed, tries, *options)
    if counts:
        inner = counts["nodes exchange"]
        tally.check(f"{inner} with units cut", [] if inner * 5 > tries * len(folders) else ["hardly any layer was cut"])


def main():
    tally = Tally()
    with tempfile.TemporaryDirectory() as work:
        folders = write_layers(pathlib.Path(work))
        run(tally, folders, 1, 12)
        run(tally, folders[::4], 2, 2, "--compiled")
        run(tally, folders, 3, 6, "--projections")
        run(tally, folders[1::4], 4, 2, "--projections", "--compiled")
    tally.finish()


if __name__ == "__main__":
    main()
