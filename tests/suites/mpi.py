"""Ranks as processes: a small model on a mesh of 2 x 2 under mpirun, and as a pipeline of two stages that are cut in two, has the bits
that it has with threads, and each process needs its own program only. tests/suites/long/mpi_failures.py, mpi_models.py and
mpi_simulated.py have the rest.

    tests/suites/mpi.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import json
import os
import shutil

import numpy as np

from support import mpi

SUMS = """module "sums" {
  mesh model=2
  graph (%x: f32[16,4]) {
    %u = constant() {value = tensor<f32[4,2], [1.0, 2.5, 3.0, -4.0, 0.1, 6.0, 7.0, 8.0]>} : f32[4,2] shard(_, model)
    %v = constant() {value = tensor<f32[2,4], [1.5, 2.0, 0.3, 4.0, 5.0, -6.0, 7.0, 8.0]>} : f32[2,4] shard(model, _)
    %a = matmul(%x, %u)
    %b = matmul(%a, %v)
    %c = matmul(%b, %u)
    %y = matmul(%c, %v)
    yield(%y)
  }
}
"""

ORDERS = """module "orders" {
  mesh model=4
  graph (%x: f64[8,12] shard(_, model), %p: f32[6,8] shard(_, model), %a: f32[8,12] shard(_, model), %w: f32[12,5] shard(model, _)) {
    %axis = constant() {value = tensor<i64[1], [1]>} : i64[1]
    %sum = reduce_sum(%x, %axis) {keepdims = 0}
    %root = sqrt(%sum)
    %product = reduce_prod(%p, %axis) {keepdims = 0}
    %part = matmul(%a, %w) : f32[8,5] shard(model, _)
    yield(%root, %product, %part)
  }
}
"""


def lanes(path):
    """Of a trace: for each rank what ran, in order of its beginning, and the times."""
    names, steps = {}, {}
    for event in json.loads(path.read_text())["traceEvents"]:
        if event["ph"] == "M":
            names[event["tid"]] = event["args"]["name"]
        else:
            steps.setdefault(event["tid"], []).append(event)
    ordered = {names[lane]: sorted(found, key=lambda e: (e["ts"], -e["dur"])) for lane, found in steps.items()}
    return {lane: [e["name"] for e in found] for lane, found in ordered.items()}, ordered


def check_trace(tally, folder, processes, given=()):
    """On a mesh with model:2 last: the same steps with processes as with threads; no exchange ends before both ranks began it."""
    one, other = folder.with_suffix(".threads.json"), folder.with_suffix(".processes.json")
    mpi.sinter("run", folder, *given, f"--trace={one}")
    done = mpi.run((processes, mpi.SINTER, "run", folder, *given, f"--trace={other}"))
    if done.status:
        return tally.check(f"trace of {folder.name}", [str(done)])
    (expected, _), (got, steps) = lanes(one), lanes(other)
    problems = [] if expected == got else [f"threads: {expected}, processes: {got}"]
    exchanges = [[e for e in steps[lane] if e["cat"] == "exchange"] for lane in sorted(steps)]
    for group in zip(exchanges[::2], exchanges[1::2]):  # two that follow one another differ along model
        for together in zip(*group):
            slack = 1000  # microseconds: clocks are set by messages
            if max(e["ts"] for e in together) > min(e["ts"] + e["dur"] for e in together) + slack:
                problems.append(f"an exchange has ended before a rank began it: {together}")
    tally.check(f"trace of {folder.name}", problems)


def run_both(tally, name, work, folder, own, output="logits", one=None, given=()):
    """own: for each process the folder that it is given; one: what one device gives."""
    threads, processes = folder.with_suffix(".threads"), folder.with_suffix(".processes")
    mpi.sinter("run", folder, *given, "-o", threads)
    done = mpi.run(*((1, mpi.SINTER, "run", path, *given, "-o", processes) for path in own))
    problems = [] if done.status == 0 else [str(done)]
    if not problems and (threads / f"{output}.npy").read_bytes() != (processes / f"{output}.npy").read_bytes():
        problems.append("the processes have other bits than the threads")
    if one and not np.allclose(np.load(one / f"{output}.npy"), np.load(threads / f"{output}.npy"), rtol=1e-5):
        problems.append("other values than on one device")
    if done.output.count(f"{output}:") != 1:
        problems.append(f"expected the output once: {done.output}")
    problems += [f"is left: {process}" for process in mpi.left(work)]
    tally.check(name, problems)


def check_mesh(tally, work):
    folder, own = work / "ranks", []
    mpi.shard(mpi.MLP, "data:2,model:2", mpi.MLP_WORDS, folder, "--dim", "batch=5")
    for rank in range(4):
        own.append(work / f"rank{rank}")
        own[-1].mkdir()
        shutil.copy(folder / "ranks.txt", own[-1])
        shutil.copy(folder / f"rank_{rank % 2}.so", own[-1])  # those that differ along data have one program
    run_both(tally, "mlp on four processes", work, folder, own)
    check_trace(tally, folder, 4)


def check_any_order(tally, work):
    """Sums in any order: the numbers of one device but for the last digits, between threads and by the library of the
    processes; all of them have to want it."""
    folder, whole = work / "four", work / "whole"
    mpi.sinter("run", mpi.MLP, "--dim", "batch=5", "-o", whole)
    mpi.shard(mpi.MLP, "model:4", mpi.MLP_MODEL, folder, "--dim", "batch=5")
    run = (mpi.SINTER, "run", folder, "--expect", f"logits={whole / 'logits.npy'}", "--rtol=1e-5")
    mpi.sinter(*run[1:], "--no-deterministic")
    done = mpi.run((4, *run, "--no-deterministic"))
    tally.check("sums in any order", [] if done.status == 0 else [str(done)])
    mixed = mpi.run((3, *run), (1, *run, "--no-deterministic"))
    said = "rank 3 has another word on the order of sums (--no-deterministic) than rank 0"
    tally.check("sums in any order for one rank", [] if mixed.status == 2 and said in mixed.errors else [str(mixed)])


def check_orders(tally, work):
    """Kinds of sums that may be made in any order, against the evaluator: f64, a product, one of which each rank keeps a part."""
    model, folder, expected = work / "orders.sir", work / "orders", work / "orders_evaluated"
    model.write_text(ORDERS)
    given, random = [], np.random.default_rng(4)
    for name, dims, dtype in (("x", (8, 12), "f8"), ("p", (6, 8), "f4"), ("a", (8, 12), "f4"), ("w", (12, 5), "f4")):
        np.save(work / f"{name}.npy", (random.random(dims) + 0.5).astype(dtype))
        given += ["-i", f"{name}={work / name}.npy"]
    mpi.sinter("run", model, *given, "--target=eval", "-o", expected)
    mpi.sinter("shard", model, "-o", folder)
    out, trace = work / "orders_any", work / "orders.json"
    done = mpi.run((4, mpi.SINTER, "run", folder, *given, "--no-deterministic", "-o", out, f"--trace={trace}"))
    if done.status:
        return tally.check("kinds of sums in any order", [str(done)])
    _, steps = lanes(trace)
    # What is under way while kernels run is in the trace twice.
    kinds = sorted(e["name"].split()[0] for e in steps["rank 0"] if e["cat"] == "exchange" and not e["name"].endswith(" begins"))
    problems = [] if kinds == ["all_reduce", "all_reduce", "reduce_scatter"] else [f"exchanges: {kinds}"]
    for name, tolerance in (("root", 1e-14), ("product", 1e-6), ("part", 1e-6)):
        if not np.allclose(np.load(out / f"{name}.npy"), np.load(expected / f"{name}.npy"), rtol=tolerance, atol=0):
            problems.append(f"{name}: other values than the evaluator's")
    tally.check("kinds of sums in any order", problems)


def check_pipeline(tally, work):
    """Several requests, stages that are cut by model; each process has its stage's folder with its rank's program."""
    folder, own = work / "stages", []
    mpi.shard(mpi.MLP, "pipeline:2,model:2", mpi.MLP_MODEL, folder, "--dim", "batch=15", "--micro", "batch=5")
    for process in range(4):
        own.append(work / f"process{process}")
        stage = f"stage_{process // 2}"
        (own[-1] / stage).mkdir(parents=True)
        shutil.copy(folder / "stages.txt", own[-1])
        for name in ("ranks.txt", f"rank_{process % 2}.so"):
            shutil.copy(folder / stage / name, own[-1] / stage)
    run_both(tally, "mlp as a pipeline of two stages on two processes each", work, folder, own)
    check_trace(tally, folder, 4)


def check_sums(tally, work):
    """Ranks of the first stage have terms of what the second one takes, and those of the second terms of the output."""
    model, folder = work / "sums.sir", work / "sums_of_ranks"
    model.write_text(SUMS)
    mpi.sinter("shard", model, "--stages=2", f"--hardware={mpi.HARDWARE}", "-o", folder)
    mpi.sinter("run", model, "-o", work / "sums")
    run_both(tally, "sums between stages", work, folder, [folder] * 4, "y", work / "sums")


def check_device(tally, work):
    """Ranks whose kernels run on a device: the emulated one of each process, of all threads."""
    model, folder = work / "sums.sir", work / "sums_on_devices"
    os.environ["SINTER_CUDA_PATH"] = str(mpi.EMULATION)
    try:
        mpi.sinter("shard", model, "--target=cuda:sm_90", "-o", folder)
        run_both(tally, "sums on devices", work, folder, [folder] * 2, "y", work / "sums", ("--device=cuda",))
        gone = mpi.run((1, mpi.SINTER, "run", folder, "--device=cuda"),
                       (1, "env", "SINTER_EMULATION_DEVICES=0", mpi.SINTER, "run", folder, "--device=cuda"))
        problems = [] if gone.status not in (0, None) and "CUDA_ERROR_NO_DEVICE" in gone.errors else [str(gone)]
        tally.check("a rank without a device", problems + [f"is left: {process}" for process in mpi.left(work)])
    finally:
        del os.environ["SINTER_CUDA_PATH"]


def check_symbol(tally, work):
    """A batch that only a run knows, cut over data: parts that are even, uneven, empty; beside another symbol."""
    for model, mesh, words, batches in (
        (mpi.MLP, "data:2,model:2", mpi.MLP_WORDS, (8, 5, 1)),
        (mpi.MODELS / "transformer.onnx", "data:2", mpi.MLP_DATA, (7,)),
    ):
        check_batches(tally, work, model, mesh, words, batches)


def check_symbol_pipeline(tally, work):
    """Requests that a run has as many of as it likes, of a length that it brings; a batch of any size that ranks of each stage cut;
    stages whose mesh is chosen."""
    transformer = mpi.MODELS / "transformer.onnx"
    auto = ("--auto", "--dim", "batch=6", "--dim", "length=8", "--micro", "batch=2")
    for name, model, mesh, words, batches in (
        ("requests", transformer, "pipeline:2,data:2", (*mpi.MLP_DATA, "--micro", "batch=3"), (3, 9)),
        ("any_batch", mpi.MLP, "pipeline:2,data:2", mpi.MLP_DATA, (7, 2)),
        ("auto", transformer, "pipeline:2", auto, (6,)),
    ):
        folder = work / f"pipeline_{name}"
        mpi.shard(model, mesh, words, folder)
        for batch in batches:
            given, whole = save_pixels(work, batch), work / f"{name}{batch}"
            mpi.sinter("run", model, *given, "-o", whole)
            run_both(tally, f"pipeline {name}, batch {batch}", work, folder, [folder] * 4, "logits", whole, given)


def save_pixels(work, batch):
    path = work / f"pixels{batch}.npy"
    np.save(path, np.random.default_rng(batch).random((batch, 8, 8), dtype=np.float32))
    return ("-i", f"pixels={path}")


def check_batches(tally, work, model, mesh, words, batches):
    folder = work / f"symbolic_{model.stem}"
    mpi.shard(model, mesh, words, folder)
    for batch in batches:
        words, whole = save_pixels(work, batch), work / f"{model.stem}{batch}"
        mpi.sinter("run", model, *words, "-o", whole)
        name = f"{model.stem}, batch {batch} that the run knows"
        run_both(tally, name, work, folder, [folder] * mpi.process_count(mesh), "logits", whole, words)


def check_whole(tally, work):
    """A model, or an artifact of all of it, is no program of several processes; one process of a job is as good as none."""
    artifact, given = work / "whole.so", save_pixels(work, 3)
    mpi.sinter("compile", mpi.MLP, "-o", artifact)
    for path in (mpi.MLP, artifact):
        for verb in ("run", "bench"):
            done = mpi.run((2, mpi.SINTER, verb, path, *given))
            good = done.status == 2 and "each process of the job would run by itself" in done.errors and not done.output
            tally.check(f"{verb} of {path.name} by two processes", [] if good else [str(done)])
        done = mpi.run((1, mpi.SINTER, "run", path, *given)) if not mpi.sanitizer_environment() else None
        tally.check(f"{path.name} by one process", [str(done)] if done and done.status else [])


if __name__ == "__main__":
    mpi.suite(check_whole, check_mesh, check_any_order, check_orders, check_pipeline, check_sums, check_device, check_symbol, check_symbol_pipeline)
