"""Ranks whose kernels run on CUDA devices, which are emulated here, with all checks of the emulation; they exchange on the host. The embedded
models on meshes of data and model axes and as a pipeline, as threads and as processes: the answer of one device within 1e-5, the same
bits in each run and either way, whether ranks take three devices in turns or share one. Op x sharding, and recurrent layers whose units are cut: samples of what shard_compiled_all.py and
shard_recurrent.py run on the CPU.

    tests/suites/long/shard_cuda.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import os
import pathlib
import shutil
import tempfile

import shard_recurrent
import shard_values
from mpi_models import DIMS, EMBEDDED, compare, outputs, same, words
from support import mpi
from tally import Tally

MESHES = ("data:2", "model:2", "data:2,model:2", "pipeline:2,model:2")
DEVICE, ONE_DEVICE = "--device=cuda", "--device=cuda:2"


def check(tally, work, name, mesh):
    inputs, weights = EMBEDDED[name]
    model, cache = mpi.MODELS / f"{name}.onnx", f"--cache={work / 'cache'}"
    batch, micro = (6, ("--micro", "batch=3")) if "pipeline" in mesh else (5, ())
    dims = ("--dim", f"batch={batch}", *DIMS.get(name, ()))
    options = words(mesh, {value: 3 for value in inputs}, weights)
    if not options and "pipeline" not in mesh:
        return
    whole, place = work / f"{name}{batch}", work / f"{name}_{mesh.replace(':', '').replace(',', '_')}"
    try:
        if not whole.exists():
            mpi.sinter("run", model, *dims, DEVICE, cache, "-o", whole)
        mpi.shard(model, mesh, options, place, *dims, *micro, "--target=cuda:sm_90", cache)
        mpi.sinter("run", place, DEVICE, "-o", place / "a")
        mpi.sinter("run", place, ONE_DEVICE, "-o", place / "b")
    except RuntimeError as error:
        tally.failed(f"{name} on {mesh}", str(error))
        return
    threads = outputs(place / "a")
    problems = compare(outputs(whole), threads) + same(threads, outputs(place / "b"), "on one device it has other bits")
    if not mpi.missing():
        done = mpi.run((mpi.process_count(mesh), mpi.SINTER, "run", place, DEVICE, "-o", place / "c"), seconds=600)
        problems += [str(done)] if done.status else same(threads, outputs(place / "c"), "processes have other bits than threads")
    tally.check(f"{name} on {mesh}", problems)
    shutil.rmtree(place)


def main():
    os.environ["SINTER_CUDA_PATH"] = str(mpi.EMULATION)
    os.environ["SINTER_EMULATION_DEVICES"] = "3"
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        for name in EMBEDDED:
            for mesh in MESHES:
                check(tally, work, name, mesh)
        shard_recurrent.run(tally, shard_recurrent.write_layers(work / "layers")[::12], 6, 1, "--cuda")
    shard_values.run(tally, 7, 1, 12, 60, "--cuda")
    tally.finish()


if __name__ == "__main__":
    main()
