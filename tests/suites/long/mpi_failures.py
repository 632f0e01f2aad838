"""Jobs of processes that go wrong: whichever rank is killed, hangs, or does not fit the others, the job ends in time with a message that
names it, nothing is written, and no process is left. And what looks wrong and is not: uneven batches, more ranks than indices.

    tests/suites/long/mpi_failures.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import os
import shutil
import signal
import time

import numpy as np

from support import mpi, sanitizers

LIMIT = 30  # seconds until a job has ended


def expect(tally, name, done, work, status, *parts):
    """The job ended with the status, or one of them, and said all the parts."""
    allowed = status if isinstance(status, tuple) else (status,)
    problems = []
    if done.status not in allowed:
        problems.append(f"expected status {status}: {done}")
    if done.seconds > sanitizers.seconds(LIMIT, mpi.BUILD):
        problems.append(f"took {done.seconds:.1f} s")
    problems += [f"nothing says '{part}': {done}" for part in parts if part not in done.output + done.errors]
    time.sleep(0.3)
    problems += [f"is left: {process}" for process in mpi.left(work)]
    tally.check(name, problems)


def shoot(tally, work, folder, rank, number, patience, part, *options):
    """A signal for one rank in the middle of runs that would go on."""
    arguments = [4, mpi.SINTER, "bench", folder, "--seconds=300", *options]
    if patience:
        arguments.append(f"--rank-seconds={patience}")
    job = mpi.start(arguments)
    pids = mpi.running(job, 4, folder)
    time.sleep(2)
    begun = time.monotonic()
    try:
        os.kill(pids[rank], number)
    except ProcessLookupError:
        pass  # the job has ended by itself: what it said is no word about this rank
    done = mpi.finish(job, 60, begun)
    ways = f"{signal.Signals(number).name} for rank {rank}{'' if patience else ', who waits as long as usual'}"
    ways += "".join(f", {option}" for option in options)
    if done.status == 0:
        done.status = "0, though it was stopped"
    expect(tally, ways, done, work, tuple(range(1, 256)), part)


def shoot_twice(tally, work, folder, rank, *options):
    """Processes wait for each other while they start, too, which takes long where sanitizers are on."""
    killed, stopped = sanitizers.seconds(5, mpi.BUILD), sanitizers.seconds(2, mpi.BUILD)
    shoot(tally, work, folder, rank, signal.SIGKILL, killed, f"rank {rank}", *options)
    shoot(tally, work, folder, rank, signal.SIGSTOP, stopped, f"rank {rank} did not come within {stopped} seconds", *options)


def check_signals(tally, work, folder):
    for rank in range(4):
        shoot_twice(tally, work, folder, rank)
    shoot(tally, work, folder, 2, signal.SIGSTOP, 0, "rank 2 did not come within 25 seconds")


def check_any_order(tally, work):
    """In a sum that MPI makes nobody knows who is missed: they ask around."""
    folder = work / "four"
    mpi.shard(mpi.MLP, "model:4", mpi.MLP_MODEL, folder, "--dim", "batch=5")
    for rank in range(4):
        shoot_twice(tally, work, folder, rank, "--no-deterministic")


def check_pipeline(tally, work):
    """Two stages of two ranks: whichever process is lost is named, by its stage or by the one beside it."""
    folder, other = work / "stages", work / "other_stages"
    mpi.shard(mpi.MLP, "pipeline:2,data:2", mpi.MLP_DATA, folder, "--dim", "batch=15", "--micro", "batch=5")
    mpi.shard(mpi.MLP, "pipeline:2,data:2", mpi.MLP_DATA, other, "--dim", "batch=10", "--micro", "batch=5")
    for process in range(4):
        shoot_twice(tally, work, folder, process)
    run = (mpi.SINTER, "run", folder)
    few = mpi.run((3, *run))
    expect(tally, "too few for a pipeline", few, work, 2, "2 stages of 2 ranks each, the job 3 processes", "mpirun -n 4")
    mixed = mpi.run((3, *run), (1, mpi.SINTER, "run", other))
    expect(tally, "another pipeline", mixed, work, 2, "rank 3 has other programs than rank 0")
    (folder / "stage_1" / "ranks.txt").write_bytes((other / "stage_0" / "ranks.txt").read_bytes())
    expect(tally, "a stage of another pipeline", mpi.run((4, *run)), work, 2, "stage_1")


def check_misfits(tally, work, folder):
    out = work / "never"
    run = (mpi.SINTER, "run", folder, "-o", out)
    other, lost = work / "other", work / "lost"
    mpi.shard(mpi.MLP, "data:2,model:2", mpi.MLP_WORDS, other, "--dim", "batch=6")
    expect(
        tally, "another folder", mpi.run((3, *run), (1, mpi.SINTER, "run", other)), work, 2, "rank 3 has other programs than rank 0"
    )
    expect(tally, "too few processes", mpi.run((3, *run)), work, 2, "the mesh has 4 ranks, the job 3 processes")
    expect(tally, "too many processes", mpi.run((5, *run)), work, 2, "the mesh has 4 ranks, the job 5 processes")
    shutil.copytree(folder, lost)
    (lost / "rank_1.so").unlink()
    expect(tally, "a program is missing", mpi.run((4, mpi.SINTER, "run", lost)), work, 2, "rank_1.so")
    shutil.copy(other / "rank_0.so", lost / "rank_1.so")
    expect(tally, "a program of another rank", mpi.run((4, mpi.SINTER, "run", lost)), work, 2, "is not the program of rank")
    damaged = bytearray((folder / "rank_1.so").read_bytes())
    damaged[5000] ^= 1  # of the code; weights are read where they are used
    (lost / "rank_1.so").write_bytes(damaged)
    expect(tally, "a program is damaged", mpi.run((4, mpi.SINTER, "run", lost)), work, 2, "rank_1.so")
    np.save(work / "wrong.npy", np.zeros((5, 3), np.float32))
    bad = mpi.run((4, *run, "-i", f"pixels={work / 'wrong.npy'}"))
    expect(tally, "an input of another shape", bad, work, 2, "holds f32[5,3], expected f32[5,8,8]")
    gone = mpi.run((4, *run), env={"SINTER_TRANSPORT": "/nowhere.so"})
    expect(tally, "no plug-in", gone, work, 2, "/nowhere.so")
    absent = mpi.run((3, *run, "--rank-seconds=2"), (1, "sleep", "20"))
    expect(tally, "a process that never comes", absent, work, 2, "did not start in time, or can't be reached")
    tally.check("nothing half-written", [str(out)] if out.exists() else [])


def check_mesh(tally, work):
    folder = work / "ranks"
    mpi.shard(mpi.MLP, "data:2,model:2", mpi.MLP_WORDS, folder, "--dim", "batch=5")
    check_misfits(tally, work, folder)
    check_signals(tally, work, folder)


def check_answers(tally, work):
    """What a job is for: the answer of one process, and its exit status."""
    for batch, mesh in ((5, "data:4"), (3, "data:4"), (1, "data:2"), (7, "data:3,model:2")):
        name = f"batch {batch} on {mesh}"
        folder, whole, count = work / f"f{batch}{mesh}", work / f"w{batch}{mesh}", mpi.process_count(mesh)
        words = mpi.MLP_WORDS if "model" in mesh else mpi.MLP_DATA
        mpi.sinter("run", mpi.MLP, "--dim", f"batch={batch}", "-o", whole)
        mpi.shard(mpi.MLP, mesh, words, folder, "--dim", f"batch={batch}")
        run = (count, mpi.SINTER, "run", folder, "--expect", f"logits={whole / 'logits.npy'}", "--rtol=1e-5")
        expect(tally, name, mpi.run(run), work, 0, "logits")
        np.save(work / "zeros.npy", np.zeros((batch, 10), np.float32))
        run = (count, mpi.SINTER, "run", folder, "--expect", f"logits={work / 'zeros.npy'}")
        expect(tally, f"{name}: a difference", mpi.run(run), work, 1, "logits")


if __name__ == "__main__":
    mpi.suite(check_answers, check_mesh, check_any_order, check_pipeline)
