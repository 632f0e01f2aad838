"""Exchanges under way while kernels run: random networks with branches, cut over meshes, have the bits that they have with --no-overlap, in
each run of threads and of processes, and the values of one device within 1e-5; convolutions of an image cut in rows too. What is tested is
only what has something under way, which the names of the kernels tell.

    tests/suites/shard_overlap.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import random

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from support import mpi

WIDTH, BATCH = 48, 12
MESHES = ("model:2", "model:4", "data:2,model:2", "model:3", "data:2,model:3", "model:8")
NETWORKS = 12  # random ones
LEAST = 8  # of them that have something under way


def network(seed):
    """Products whose weights are cut along rows (sums over ranks) or columns (parts that others gather), and what is made of them."""
    choose = random.Random(seed)
    nodes, weights, words, values = [], {}, ["x=data,_"], ["x"]
    for i in range(choose.randrange(8, 20)):
        kind, of = choose.choice(("rows", "rows", "columns", "Tanh", "Add", "Mul")), choose.choice(values[-5:])
        if kind in ("rows", "columns"):
            weights[f"w{i}"] = (WIDTH, WIDTH)
            words.append(f"w{i}=model,_" if kind == "rows" else f"w{i}=_,model")
            nodes.append(helper.make_node("MatMul", [of, f"w{i}"], [f"v{i}"]))
        elif kind == "Tanh":
            nodes.append(helper.make_node("Tanh", [of], [f"v{i}"]))
        else:
            nodes.append(helper.make_node(kind, [of, choose.choice(values[-5:])], [f"v{i}"]))
        values.append(f"v{i}")
    nodes.append(helper.make_node("Sum", values[-4:], ["s"]))
    nodes.append(helper.make_node("Tanh", ["s"], ["y"]))
    return nodes, weights, words, (BATCH, WIDTH), (BATCH, WIDTH)


def image():
    """Two branches of convolutions: halos of the one go on while the other is computed."""
    nodes, shapes = [], {"k0": (8, 3, 3, 3)}
    nodes.append(helper.make_node("Conv", ["x", "k0"], ["a"], pads=[1, 1, 1, 1]))
    for branch, size in (("l", 3), ("r", 5)):
        shapes[f"k{branch}"], shapes[f"m{branch}"] = (8, 8, size, size), (8, 8, 3, 3)
        nodes.append(helper.make_node("Conv", ["a", f"k{branch}"], [f"b{branch}"], pads=[size // 2] * 4))
        nodes.append(helper.make_node("Relu", [f"b{branch}"], [f"c{branch}"]))
        nodes.append(helper.make_node("Conv", [f"c{branch}", f"m{branch}"], [f"d{branch}"], pads=[1, 1, 1, 1]))
    nodes.append(helper.make_node("Add", ["dl", "dr"], ["y"]))
    return nodes, shapes, ["x=_,_,model,_"], (2, 3, 32, 32), (2, 8, 32, 32)


def write(path, nodes, shapes, given, got):
    numbers = np.random.default_rng(7)
    weights = [
        numpy_helper.from_array((numbers.standard_normal(shape) / np.prod(shape[1:]) ** 0.5).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    infos = (helper.make_tensor_value_info("x", TensorProto.FLOAT, given), helper.make_tensor_value_info("y", TensorProto.FLOAT, got))
    graph = helper.make_graph(nodes, "network", infos[:1], infos[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def exchanges_under_way(folder):
    return any(b"collective_wait" in path.read_bytes() for path in folder.glob("rank_*.so"))


def answer(work, folder, ranks, processes):
    """The bits of a run, as threads or processes."""
    out = work / "answer"
    arguments = ("run", folder, "-o", out, "--expect", f"y={work / 'whole' / 'y.npy'}", "--rtol=1e-5", "--atol=1e-5")
    if processes:
        ended = mpi.run((ranks, mpi.SINTER, *arguments))
        if ended.status != 0:
            return str(ended)
    else:
        mpi.sinter(*arguments)
    return (out / "y.npy").read_bytes()


def check_network(tally, work, name, made, mesh, processes):
    """Whether something was under way."""
    nodes, shapes, words, given, got = made
    ranks = mpi.process_count(mesh)
    path = work / "network.onnx"
    write(path, nodes, shapes, given, got)
    mpi.sinter("run", path, "-o", work / "whole")
    if "data" not in mesh:
        words = [word for word in words if "data" not in word]
    said = [word for one in words for word in ("--shard", one)]
    for folder, flags in (("ranks", ()), ("apart", ("--no-overlap",))):
        mpi.sinter("shard", path, f"--mesh={mesh}", *said, *flags, "-o", work / folder)
    expected = answer(work, work / "apart", ranks, False)
    problems = [] if isinstance(expected, bytes) else [f"without overlap: {expected}"]
    if exchanges_under_way(work / "apart"):
        problems.append("--no-overlap has exchanges under way")
    if not exchanges_under_way(work / "ranks"):
        return False
    for kind in (False, True)[: 1 + processes]:
        found = answer(work, work / "ranks", ranks, kind)
        if found != expected:
            problems.append(f"{'processes' if kind else 'threads'}: {'other bits' if isinstance(found, bytes) else found}")
    tally.check(f"{name} over {mesh}", problems)
    return True


def check_networks(tally, work):
    any_under_way = sum(
        check_network(tally, work, f"network {seed}", network(seed), MESHES[seed % len(MESHES)], not mpi.missing() and seed % 3 == 0)
        for seed in range(NETWORKS)
    )
    tally.check(f"{any_under_way} networks have exchanges under way", [] if any_under_way >= LEAST else [f"expected {LEAST}"])
    tally.check("halos are under way", [] if check_network(tally, work, "image", image(), "model:4", not mpi.missing()) else ["none"])


if __name__ == "__main__":
    mpi.suite(check_networks)
