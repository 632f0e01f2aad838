"""Ranks as processes: a small model on a mesh of 2 x 2 under mpirun has the bits that it has with threads, and each process needs its
own program only. tests/suites/long/mpi_failures.py, mpi_models.py and mpi_simulated.py have the rest.

    tests/suites/mpi.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import pathlib
import shutil
import tempfile

from support import mpi
from tally import Tally

WORDS = ("--shard", "pixels=data,_,_", "--shard", "layers.0.weight=model,_", "--shard", "layers.1.weight=_,model")


def check(tally, work):
    folder, threads, processes = work / "ranks", work / "threads", work / "processes"
    mpi.sinter("shard", mpi.MODELS / "mlp.onnx", "--dim", "batch=5", "--mesh=data:2,model:2", *WORDS, "-o", folder)
    mpi.sinter("run", folder, "-o", threads)
    own = []
    for rank in range(4):
        own.append(work / f"rank{rank}")
        own[-1].mkdir()
        shutil.copy(folder / "ranks.txt", own[-1])
        shutil.copy(folder / f"rank_{rank % 2}.so", own[-1])  # those that differ along data have one program
    done = mpi.run(*((1, mpi.SINTER, "run", path, "-o", processes) for path in own))
    problems = [] if done.status == 0 else [str(done)]
    if not problems and (threads / "logits.npy").read_bytes() != (processes / "logits.npy").read_bytes():
        problems.append("the processes have other bits than the threads")
    if done.output.count("logits:") != 1:
        problems.append(f"expected the output once: {done.output}")
    problems += [f"is left: {process}" for process in mpi.left(work)]
    tally.check("mlp on four processes", problems)


def main():
    tally = Tally()
    if mpi.missing():
        tally.skipped("jobs of processes", mpi.missing())
        tally.finish()
    with tempfile.TemporaryDirectory() as work:
        check(tally, pathlib.Path(work))
    tally.finish()


if __name__ == "__main__":
    main()
