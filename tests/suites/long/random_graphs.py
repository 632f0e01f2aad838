"""tests/unit/random_graph_test.c with many graphs, on all cores: 20,000 seeds that the everyday run does not see. Each graph
is also written as ONNX and run by ONNX Runtime, operator by operator, which has to agree with the evaluator.

A graph with an operator that ONNX Runtime has no kernel for is run with that operator replaced by its definition in the
ONNX standard; where there is none it counts as not compared. So does a graph in which a value to be quantized lies within
rounding of the middle of two steps, and what comes after is a step apart.

    tests/suites/long/random_graphs.py [COUNT [FIRST_SEED]]     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import collections
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnx.inliner
import onnxruntime

from tally import Tally

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAM = pathlib.Path(os.environ.get("SINTER_BUILD", ROOT / "build" / "dev")) / "tests" / "random_graph_test"
CHUNK = 200  # fewer than the program wants each pass to have its effect on
FIRST_SEED = 100_000
# Of the largest element, or of 1 where that is less: the law of single precision, some dozens of half an ulp of half
# precision. Normalizations of doubles are single inside, as the standard has it, and double here.
TOLERANCE = {"float64": 1e-6, "float32": 1e-5, "float16": 2e-2}
LEAST = 0.85  # share of the graphs that have to be compared
TIE = 1e-4  # of a quantization step
COMPARED, NO_KERNEL, TIED = "compared", "no kernel for", "a tie of rounding"


class Disagreement(Exception):
    pass


def answer(model, inputs):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip((value.name for value in session.get_inputs()), inputs)))


def missing_kernel(error):
    """The operator that ONNX Runtime says it has no kernel for; None where it says something else."""
    found = re.search(r"NOT_IMPLEMENTED : (?:Could not find an implementation|Failed to find kernel) for (\w+)\(", str(error))
    found = found or re.search(r"while running (\w+) node.*(?:does not support|is not supported)", str(error))
    return found.group(1) if found else None


def all_nodes(graph):
    """Those of the graph and of the graphs in their attributes."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from all_nodes(attribute.g)


def spell_out(model, operator):
    """The model with the definition of an operator in its place, which reads attributes that the inliner gives no defaults."""
    schema = onnx.defs.get_schema(operator, model.opset_import[0].version)
    for node in all_nodes(model.graph):
        if node.op_type == operator:
            given = {attribute.name for attribute in node.attribute}
            defaults = (item.default_value for name, item in schema.attributes.items() if name not in given)
            node.attribute.extend(value for value in defaults if value.type)
    return onnx.inliner.inline_selected_functions(model, [("", operator)], inline_schema_functions=True)


def runnable(model, inputs):
    """The model with operators that lack a kernel spelled out, its answer; or None and the operator that can't be."""
    spelled = set()
    while True:
        try:
            return model, answer(model, inputs), None
        except Exception as error:  # of several classes
            operator = missing_kernel(error)
            if not operator:
                raise
            if operator in spelled:
                return None, None, operator
            spelled.add(operator)
            model = spell_out(model, operator)


def difference(got, expected):
    """What is wrong with the answer; None where nothing is."""
    if got.shape != expected.shape or got.dtype != expected.dtype:
        return f"{got.dtype}{list(got.shape)}, expected {expected.dtype}{list(expected.shape)}"
    if got.dtype.kind not in "f":
        return None if np.array_equal(got, expected) else f"{np.count_nonzero(got != expected)} of {got.size} elements differ"
    got, wide = got.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(wide)
    if not np.array_equal(got[~finite], wide[~finite], equal_nan=True) or not np.isfinite(got[finite]).all():
        return "infinities or NaN differ"
    error = np.max(np.abs(got - wide)[finite], initial=0) / max(np.max(np.abs(wide)[finite], initial=0), 1)
    return f"relative error {error:.1e}" if error > TOLERANCE[expected.dtype.name] else None


def has_tie(model, inputs):
    """Whether something to be quantized is as near to the middle of two steps as rounding errors lead."""
    probed = onnx.ModelProto.FromString(model.SerializeToString())
    del probed.graph.output[:]
    nodes = [node for node in probed.graph.node if node.op_type == "QuantizeLinear"]
    names = dict.fromkeys(name for node in nodes for name in node.input[:2])
    probed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    values = dict(zip(names, answer(probed, inputs)))
    for node in nodes:
        steps = values[node.input[0]].astype(np.float64) / values[node.input[1]]
        if np.min(np.abs(steps - np.floor(steps) - 0.5), initial=1) < TIE:
            return True
    return False


def check_case(folder, seed):
    """What became of the comparison."""
    inputs = [np.load(folder / f"{seed}.in{index}.npy") for index in range(len(list(folder.glob(f"{seed}.in*.npy"))))]
    model, got, missing = runnable(onnx.load(folder / f"{seed}.onnx"), inputs)
    if missing:
        return f"{NO_KERNEL} {missing}"
    for index, value in enumerate(got):
        wrong = difference(value, np.load(folder / f"{seed}.out{index}.npy"))
        if not wrong:
            continue
        if any(node.op_type == "QuantizeLinear" for node in model.graph.node) and has_tie(model, inputs):
            return TIED
        raise Disagreement(f"output {index} of ONNX Runtime: {wrong}")
    return COMPARED


def run_chunk(first):
    """(problems, {what became of the comparison: count}) of a chunk of seeds"""
    counts, problems = collections.Counter(), []
    with tempfile.TemporaryDirectory(prefix="random_graphs.") as folder:
        command = [PROGRAM, str(CHUNK), str(first), folder]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        if done.returncode != 0:
            problems += [f"status {done.returncode}", done.stdout[-20000:]]
        for path in sorted(pathlib.Path(folder).glob("*.onnx")):
            try:
                counts[check_case(path.parent, path.stem)] += 1
            except Exception as error:  # any refusal of a valid model too
                problems.append(f"seed {path.stem}: {str(error)[-400:]}")
    return problems, counts


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    first_seed = int(sys.argv[2]) if len(sys.argv) > 2 else FIRST_SEED
    tally, total = Tally(), collections.Counter()
    chunks = range(first_seed, first_seed + count, CHUNK)
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count() or 1) as pool:
        for first, (problems, counts) in zip(chunks, pool.map(run_chunk, chunks)):
            tally.check(f"seeds {first} to {first + CHUNK - 1}", problems)
            total += counts
    total["not written, of bfloat16 numbers"] = max(count - total.total(), 0)
    for what, graphs in total.most_common():
        print(f"ONNX Runtime: {graphs} graphs {what}", flush=True)
    tally.check("ONNX Runtime's opinion", [] if total[COMPARED] >= LEAST * count else [f"of less than {LEAST:.0%} of the graphs"])
    tally.finish()


if __name__ == "__main__":
    main()
