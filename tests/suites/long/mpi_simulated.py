"""Thousands of ranks: a small network, cut along data and model, on 256 and 4096 simulated ranks of SimGrid's SMPI. It is the same
program that mpirun runs (the tests build it as a library, docs/shard.md); its answer is that of one device, within 1e-5.

    tests/suites/long/mpi_simulated.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from support import mpi, sanitizers
from tally import Tally

PROGRAM = mpi.BUILD / "tests" / "sinter_simulated.so"
PLUG_IN = mpi.BUILD / "tests" / "libsinter_smpi.so"
SECONDS = 60  # for each of them
PLATFORM = """<?xml version='1.0'?>
<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">
<platform version="4.1">
  <cluster id="c" prefix="n" suffix="" radical="0-{last}" speed="10Gf" bw="10GBps" lat="2us"/>
</platform>
"""


def write_network(path, batch):
    """x[batch, 64] -> 192, ReLU -> 64, and the sum over its columns."""
    random = np.random.default_rng(5)
    weights = [
        numpy_helper.from_array(random.standard_normal(shape).astype(np.float32) / 8, name)
        for name, shape in (("w1", (64, 192)), ("w2", (192, 64)))
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w2"], ["y"]),
        helper.make_node("ReduceSum", ["y"], ["total"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 64])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("y", [batch, 64]), ("total", []))],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def check(tally, work, data, model):
    ranks, batch = data * model, 2 * data - 1  # the last part is not full
    network, folder, whole = work / f"{ranks}.onnx", work / f"ranks{ranks}", work / f"whole{ranks}"
    write_network(network, batch)
    mpi.sinter("run", network, "-o", whole)
    words = ("--shard", "x=data,_", "--shard", "w1=_,model", "--shard", "w2=model,_")
    mpi.sinter("shard", network, f"--mesh=data:{data},model:{model}", *words, "-o", folder)
    platform = work / f"{ranks}.xml"
    platform.write_text(PLATFORM.format(last=ranks - 1))
    (work / f"{ranks}.hosts").write_text("".join(f"n{i}\n" for i in range(ranks)))
    begun = time.monotonic()
    done = subprocess.run(
        ["smpirun", "-np", str(ranks), "-platform", platform, "-hostfile", work / f"{ranks}.hosts",
         "--cfg=smpi/privatization:no", "--cfg=smpi/simulate-computation:no", "--cfg=network/crosstraffic:no", "--cfg=contexts/stack-size:1024",
         "--cfg=smpi/display-timing:yes", PROGRAM, "run", folder, "--rtol=1e-5", "--atol=1e-5",
         "--expect", f"y={whole / 'y.npy'}", "--expect", f"total={whole / 'total.npy'}"],
        capture_output=True, text=True, errors="replace", env={**os.environ, "SINTER_TRANSPORT": str(PLUG_IN)},
    )  # fmt: skip
    seconds = time.monotonic() - begun
    problems = [] if done.returncode == 0 else [f"status {done.returncode}: {done.stdout[-500:]} {done.stderr[-1500:]}"]
    if seconds > sanitizers.seconds(SECONDS, mpi.BUILD):
        problems.append(f"took {seconds:.1f} s")
    if "y:" not in done.stdout:
        problems.append("no output")
    tally.check(f"{ranks} ranks", problems)
    simulated = [line for line in done.stderr.splitlines() if "imulated time" in line or "imulation took" in line]
    print(f"{ranks} ranks: {seconds:.1f} s", *simulated, sep="; ")


def main():
    tally = Tally()
    if not shutil.which("smpirun") or not PLUG_IN.exists():
        tally.skipped("simulated ranks", "no SimGrid (libsimgrid-dev)")
        tally.finish()
    with tempfile.TemporaryDirectory() as name:
        check(tally, pathlib.Path(name), 16, 16)
        check(tally, pathlib.Path(name), 64, 64)
    tally.finish()


if __name__ == "__main__":
    main()
