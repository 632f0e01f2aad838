"""Ranks whose kernels run on CUDA devices, which are emulated here, with all checks of the emulation; so is NCCL, by which they exchange. The embedded
models on meshes of data and model axes and as a pipeline, as threads and as processes: the answer of one device within 1e-5, the same
bits in each run and either way, whether each rank has a device or all share one and exchange on the host. What is said where NCCL hangs, loses a
rank or is not there. Op x sharding, and recurrent layers whose units are cut: samples of what shard_compiled_all.py and
shard_recurrent.py run on the CPU.

    tests/suites/long/shard_cuda.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import shard_bits
import shard_recurrent
import shard_values
from mpi_models import DIMS, EMBEDDED, compare, outputs, same, words
from support import mpi, sanitizers
from tally import Tally

MESHES = ("data:2", "model:2", "data:2,model:2", "pipeline:2,model:2")
DEVICE, ONE_DEVICE, BY_NCCL = "--device=cuda", "--device=cuda:2", "--exchange=nccl"


def check(tally, work, name, mesh):
    inputs, weights = EMBEDDED[name]
    model, cache = mpi.MODELS / f"{name}.onnx", f"--cache={kept_kernels()}"
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
        mpi.sinter("run", place, DEVICE, BY_NCCL, "-o", place / "a")
        mpi.sinter("run", place, ONE_DEVICE, "-o", place / "b")
    except RuntimeError as error:
        tally.failed(f"{name} on {mesh}", str(error))
        return
    threads = outputs(place / "a")
    problems = compare(outputs(whole), threads) + same(threads, outputs(place / "b"), "on one device it has other bits")
    if not mpi.missing():
        done = mpi.run((mpi.process_count(mesh), mpi.SINTER, "run", place, DEVICE, BY_NCCL, "-o", place / "c"), seconds=600)
        problems += [str(done)] if done.status else same(threads, outputs(place / "c"), "processes have other bits than threads")
    tally.check(f"{name} on {mesh}", problems)
    shutil.rmtree(place)


def expect(tally, name, command, texts, seconds=30, **environment):
    """The command fails with these words, in time."""
    begun = time.monotonic()
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=300, env={**os.environ, **mpi.ENVIRONMENT, **environment}
    )
    problems = [] if done.returncode and time.monotonic() - begun < sanitizers.seconds(seconds, mpi.BUILD) else ["no error, or too late"]
    problems += [f"no {text!r}" for text in texts if text not in done.stderr]
    tally.check(name, [*problems, done.stderr[-600:]] if problems else [])


def check_failures(tally, work):
    """Two ranks of which one never comes, is lost, or can't exchange so; a process that stands still is named."""
    place, bare, cache = work / "two", work / "bare", f"--cache={kept_kernels()}"
    mpi.shard(mpi.MLP, "model:2", mpi.MLP_MODEL, place, "--dim", "batch=5", "--target=cuda:sm_90", cache)
    run = (mpi.SINTER, "run", place, DEVICE, BY_NCCL, "--rank-seconds=2")
    bare.mkdir()
    for name in ("libcuda.so.1", "libnvrtc.so.12"):
        (bare / name).symlink_to(mpi.EMULATION / name)
    (bare / "libnccl.so.2").write_bytes(b"junk")
    ways = {"threads": run}
    if not mpi.missing():
        ways["processes"] = ("mpirun", "-n", "2", *run)
    for way, command in ways.items():
        hangs, is_lost = {"SINTER_EMULATION_NCCL_HANG": "1@0"}, {"SINTER_EMULATION_NCCL_LOSE": "1@0"}
        expect(tally, f"{way} that hang", command, ("all_reduce 0: ", "did not end it within 2 seconds"), **hangs)
        expect(tally, f"{way} that are lost", command, ("remote process exited or there was a network error (6)",), **is_lost)
        expect(tally, f"{way} without NCCL", command, ("no exchanges by NCCL", "libnccl.so.2"), SINTER_CUDA_PATH=str(bare))
        expect(tally, f"{way} on one device", command, ("ranks 0 and 1 share a device",), SINTER_EMULATION_DEVICES="1")
        expect(tally, f"{way} with an old NCCL", command, ("version 2.13.4", "2.14"), SINTER_EMULATION_NCCL_VERSION="21304")
    expect(tally, "NCCL on the CPU", (mpi.SINTER, "run", mpi.MLP, BY_NCCL), ("--exchange",))
    if mpi.missing():
        return
    job = mpi.start((2, mpi.SINTER, "bench", place, DEVICE, BY_NCCL, "--rank-seconds=2"))
    os.kill(mpi.running(job, 2, place)[1], signal.SIGSTOP)
    done = mpi.finish(job, 60)
    problems = [] if done.status else ["no error"]
    problems += [] if "rank 1 did not come within 2 seconds" in done.errors else [str(done)]
    tally.check("a process that stands still", problems)


def kept_kernels():
    """Compiled kernels for all processes and all runs of the suite: what makes them anew is slow, and the same as long as the emulation is."""
    digest = hashlib.sha256()
    for path in sorted((mpi.ROOT / "tests" / "cuda_emulation").iterdir()):
        digest.update(path.read_bytes())
    folder = mpi.BUILD / "shard_cuda" / digest.hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def main():
    os.environ["SINTER_CUDA_PATH"] = str(mpi.EMULATION)
    os.environ["SINTER_EMULATION_DEVICES"] = "8"
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        os.environ["TMPDIR"] = folder  # what processes leave that are killed goes with it
        for name in EMBEDDED:
            for mesh in MESHES:
                check(tally, work, name, mesh)
        check_failures(tally, work)
        shard_recurrent.run(tally, shard_recurrent.write_layers(work / "layers")[::12], 6, 1, "--cuda", f"--cache={kept_kernels()}")
        shard_bits.run(tally, shard_bits.write_models(work / "bits")[::5], 8, 1, "--cuda", f"--cache={kept_kernels()}")
    shard_values.run(tally, 7, 1, 12, 60, "--cuda", f"--cache={kept_kernels()}", processes=2)
    tally.finish()


if __name__ == "__main__":
    main()
