"""Thousands of ranks: networks cut along data and model, on up to 4096 simulated ranks of SimGrid's SMPI. It is the same program that
mpirun runs (the tests build it as a library, docs/shard.md); its answer is that of one device, within 1e-5. The cluster is the one that a
description of hardware says, kernels take what the model of costs says (sinter shard --simulation): the simulated time of a
run is within a fiftieth of the predicted one, and so is what exchanges are of it, which is the part that is not given.

    tests/suites/long/mpi_simulated.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import dataclasses
import os
import pathlib
import re
import resource
import shutil
import subprocess
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from support import mpi, sanitizers
from tally import Tally

PROGRAM = mpi.BUILD / "tests" / "sinter_simulated.so"
PLUG_IN = mpi.BUILD / "tests" / "libsinter_smpi.so"
SECONDS = 60  # of the processor, for each of them: simulated ranks take turns on one core
HARDWARE = mpi.ROOT / "docs" / "hardware"
MOST_APART = 0.02  # of simulated time, that the prediction may be from it
# SimGrid keeps messages whose senders go on at once in one list for all ranks, and goes through it for each that arrives. From so many ranks on senders wait,
# which changes no time where each of a group sends as it receives; in trees it would.
MANY = 1024


@dataclasses.dataclass
class Network:
    nodes: list
    inputs: dict
    outputs: dict
    weights: dict  # by name: the shape
    words: list = dataclasses.field(default_factory=list)


def linear(batch, width, hidden):
    """x[batch, width] -> hidden, ReLU -> width, and the sum over its columns."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w2"], ["y"]),
        helper.make_node("ReduceSum", ["y"], ["total"], keepdims=0),
    ]
    words = ["x=data,_", "w1=_,model", "w2=model,_"]
    return Network(nodes, {"x": [batch, width]}, {"y": [batch, width], "total": []}, {"w1": [width, hidden], "w2": [hidden, width]}, words)


def over_both(batch, width, hidden):
    """Weights cut over both axes: sums within servers, then between them (pass shard-hierarchy)."""
    network = linear(batch, width, hidden)
    network.words = ["w1=_,data*model", "w2=data*model,_"]
    return network


def gathered(batch, width, layers):
    """Layers cut along their results only: each gathers what the one before has."""
    nodes, last = [], "x"
    for i in range(layers):
        nodes += [helper.make_node("MatMul", [last, f"w{i}"], [f"h{i}"]), helper.make_node("Tanh", [f"h{i}"], [f"t{i}"])]
        last = f"t{i}"
    nodes.append(helper.make_node("Identity", [last], ["y"]))
    words = ["x=data,_", *(f"w{i}=_,model" for i in range(layers))]
    return Network(nodes, {"x": [batch, width]}, {"y": [batch, width]}, {f"w{i}": [width, width] for i in range(layers)}, words)


def branches(batch, width, layers):
    """Two towers of layers, one after the other in each: sums of the one go on while the other is computed."""
    nodes, words, ends = [], ["x=data,_"], []
    for tower in "lr":
        last = "x"
        for i in range(layers):
            w, v, h, y = (f"{name}{tower}{i}" for name in "wvhy")
            nodes += [helper.make_node("MatMul", [last, w], [h]), helper.make_node("Tanh", [h], [f"t{h}"]), helper.make_node("MatMul", [f"t{h}", v], [y])]
            words += [f"{w}=_,model", f"{v}=model,_"]
            last = y
        ends.append(last)
    nodes.append(helper.make_node("Add", ends, ["y"]))
    # layer by layer, as a program that overlaps by itself has them
    nodes[:-1] = [node for i in range(layers) for tower in (0, 1) for node in nodes[3 * (tower * layers + i) : 3 * (tower * layers + i) + 3]]
    weights = {f"{name}{tower}{i}": [width, width] for name in "wv" for tower in "lr" for i in range(layers)}
    return Network(nodes, {"x": [batch, width]}, {"y": [batch, width]}, weights, words)


def image(batch, size, channels):
    """Convolutions of an image that is cut along its rows: neighbours exchange what windows reach."""
    nodes = [
        helper.make_node("Conv", ["x", "k1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "k2"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("ReduceMean", ["c"], ["y"], axes=[2, 3], keepdims=0),
    ]
    kernels = {"k1": [channels, 3, 3, 3], "k2": [channels, channels, 3, 3]}
    return Network(nodes, {"x": [batch, 3, size, size]}, {"y": [batch, channels]}, kernels, ["x=data,_,model,_"])


def write(network, path):
    random = np.random.default_rng(5)
    weights = [
        numpy_helper.from_array((random.standard_normal(shape) / np.prod(shape) ** 0.25).astype(np.float32) / 4, name)
        for name, shape in network.weights.items()
    ]
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in values.items()]
        for values in (network.inputs, network.outputs)
    )
    graph = helper.make_graph(network.nodes, "network", inputs, outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def expected_seconds(path):
    """Of the whole run, and of its kernels."""
    lines = [line.split() for line in path.read_text().splitlines()]
    return float(lines[0][1]), sum(float(line[1]) for line in lines[1:])


def simulate(folder, ranks, *arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    waits = ["--cfg=smpi/send-is-detached-thresh:0"] if ranks >= MANY else []
    done = subprocess.run(
        ["smpirun", "-np", str(ranks), "-platform", folder / "simulation.xml", "-hostfile", folder / "simulation.hosts",
         "--cfg=smpi/privatization:no", "--cfg=smpi/simulate-computation:no", "--cfg=network/model:CM02", "--cfg=network/TCP-gamma:0",
         "--cfg=network/crosstraffic:no", "--cfg=smpi/test:0", "--cfg=contexts/stack-size:1024", *waits, PROGRAM, "run", folder, *arguments],
        capture_output=True, text=True, errors="replace",
        env={**os.environ, "SINTER_TRANSPORT": str(PLUG_IN), "SINTER_SIMULATION": str(folder / "simulation.txt")},
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def compare(predicted, simulated, what):
    apart = predicted / simulated - 1 if simulated > 0 else float(predicted > 0)
    problems = [f"{what}: predicted {predicted:.3g} s, simulated {simulated:.3g} s"] if abs(apart) > MOST_APART else []
    return f"{what} {1e6 * predicted:.1f} us predicted, {1e6 * simulated:.1f} us simulated ({100 * apart:+.1f} %)", problems


def check(tally, work, name, network, data, model, *flags):
    """The simulated seconds of a run."""
    ranks = data * model
    folder = work / f"{name}_{data}x{model}{''.join(flags)}"
    folder.mkdir()
    write(network, folder / "network.onnx")
    mpi.sinter("run", folder / "network.onnx", "-o", folder / "whole")
    words = [word for said in network.words for word in ("--shard", said)]
    mpi.sinter("shard", folder / "network.onnx", f"--mesh=data:{data},model:{model}", *words, *flags, "--simulation",
               f"--hardware={HARDWARE / 'cluster_4096.hardware'}", "-o", folder / "ranks")  # fmt: skip
    expected = [word for output in network.outputs for word in ("--expect", f"{output}={folder / 'whole' / output}.npy")]
    done, seconds = simulate(folder / "ranks", ranks, "--rtol=1e-5", "--atol=1e-5", *expected)
    problems, said = [] if done.returncode == 0 else [f"status {done.returncode}: {done.stdout[-500:]} {done.stderr[-1500:]}"], []
    if seconds > sanitizers.seconds(SECONDS, mpi.BUILD):
        problems.append(f"took {seconds:.1f} s")
    if "y:" not in done.stdout:
        problems.append("no output")
    found = re.search(r"simulated run: ([0-9.e+-]+) s", done.stderr)
    if found:
        predicted, kernels = expected_seconds(folder / "ranks" / "simulation.txt")
        for what, part in (("a run", 0), ("its exchanges", kernels)):
            line, wrong = compare(predicted - part, float(found[1]) - part, what)
            said.append(line)
            problems += wrong
    elif not problems:
        problems.append(f"no simulated time: {done.stderr[-500:]}")
    tally.check(f"{name} on {data} x {model} ranks", problems)
    print(f"{' '.join((name, *flags))}, {data} x {model} ranks: {seconds:.1f} s", *said, sep="; ", flush=True)
    return float(found[1]) if found else 0


def main():
    tally = Tally()
    if not shutil.which("smpirun") or not PLUG_IN.exists():
        tally.skipped("simulated ranks", "no SimGrid (libsimgrid-dev)")
        tally.finish()
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        for data, model in ((2, 4), (4, 16), (3, 12), (16, 16)):
            check(tally, work, "linear", linear(2 * data - 1, 64, 192), data, model)  # the last part is not full
            check(tally, work, "wide", linear(64 * data, 768, 960), data, model)
            check(tally, work, "gathered", gathered(32 * data, 192 * model if model < 16 else 384, 3), data, model)
        for name, network in (  # trees across servers
            ("linear", linear(64, 64, 192)),
            ("wide", linear(64, 768, 960)),
            ("gathered", gathered(64, 192 * 11, 3)),
        ):
            check(tally, work, name, network, 2, 11)
        for servers in (2, 3, 9):
            check(tally, work, "both", over_both(512, 1024, 128 * servers), servers, 8)
        for data, model, network in (
            (2, 4, branches(64, 1024, 4)),
            (2, 11, branches(64, 1023, 4)),
            (16, 16, branches(1024, 1024, 4)),
            (64, 64, branches(128, 512, 4)),
            (512, 8, branches(4096, 512, 2)),
        ):
            overlapped = check(tally, work, "branches", network, data, model)
            apart = check(tally, work, "branches", network, data, model, "--no-overlap")
            problems = [] if overlapped < 0.8 * apart else [f"{overlapped} s, and {apart} s without"]
            tally.check(f"exchanges under way on {data} x {model} ranks", problems)
        check(tally, work, "image", image(2, 64, 8), 2, 8)
        check(tally, work, "image", image(4, 64, 8), 4, 16)
        check(tally, work, "linear", linear(127, 64, 192), 64, 64)
        check(tally, work, "linear", linear(1023, 64, 192), 512, 8)
        check(tally, work, "wide", linear(32, 256, 8192), 4, 1024)
    tally.finish()


if __name__ == "__main__":
    main()
