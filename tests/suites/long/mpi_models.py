"""Models on ranks, as threads and as processes: the answer of one device within 1e-5 (integers to the bit), the same bits in each run and
either way. The embedded models on meshes of data and model axes and as pipelines, whose stages may be cut so, too; and, where
SINTER_BENCH_MODELS has them, ResNet-50, BERT-base and GPT-2 with and without a cache of keys and values.

    tests/suites/long/mpi_models.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import os
import pathlib
import re
import shutil

import numpy as np
import onnx
from onnx import numpy_helper

from support import mpi

BENCH = pathlib.Path(os.environ.get("SINTER_BENCH_MODELS", mpi.ROOT.parent / "bench-models"))
MESHES = (
    *("data:2", "data:4", "model:2", "model:4", "data:2,model:2", "data:2,more:2,model:2"),
    *("pipeline:2", "pipeline:4", "pipeline:2,data:2", "pipeline:2,model:2", "pipeline:2,data:2,model:2"),
)
TOLERANCE = 1e-5
TWO_CORES = mpi.ROOT / "docs" / "hardware" / "two_cores.hardware"
DIMS = {"lstm": ("--dim", "length=8"), "transformer": ("--dim", "length=8")}
# Of each model: inputs that are cut over data, and weights that are cut over model along their rows or columns.
EMBEDDED = {
    "mlp": (["pixels"], {"layers.0.weight": (0, 2), "layers.1.weight": (1, 2)}),
    "cnn": (["pixels"], {"block.0.conv.weight": (0, 4), "block.1.conv.weight": (1, 4)}),
    "cnn_int8": (["pixels"], {}),
    "lstm": (["pixels"], {"lstm.recurrence": (1, 3), "classifier.weight": (1, 2)}),
    "transformer": (["pixels"], {"layers.0.linear1.weight": (1, 2), "layers.0.linear2.weight": (0, 2)}),
}


def words(mesh, inputs, cuts):
    """--shard for what the mesh has axes for; a third axis cuts the inputs, too."""
    over = "*".join(axis for axis in mpi.axes(mesh) if axis not in ("model", "pipeline"))
    dims = {name: [over] + ["_"] * (rank - 1) for name, rank in inputs.items() if over}
    for name, (axis, rank) in cuts.items() if "model" in mesh else ():
        dims.setdefault(name, ["_"] * rank)[axis] = "model"
    return [word for name, listed in dims.items() for word in ("--shard", f"{name}={','.join(listed)}")]


def hardware(work):
    """What stages are equal on: as many of the described cores as the largest mesh has ranks."""
    path = work / "cores.hardware"
    if not path.exists():
        count = max(mpi.process_count(mesh) for mesh in MESHES)
        text, cores = re.subn(r"\bdevices 2\b", f"devices {count}", TWO_CORES.read_text())
        text, links = re.subn(r"\blink 2\b", f"link {count}", text)
        assert cores == links == 1, f"{TWO_CORES} is written otherwise"
        path.write_text(text)
    return path


def outputs(folder):
    return {path.name: np.load(path) for path in sorted(folder.glob("*.npy"))}


def compare(expected, found):
    problems = []
    for name, value in expected.items():
        other = found.get(name)
        if other is None or other.shape != value.shape:
            problems.append(f"{name}: missing, or of another shape")
        elif value.dtype.kind in "iub":
            problems += [f"{name}: other integers"] if (value != other).any() else []
        else:
            error = np.abs(value.astype(np.float64) - other).max() / max(np.abs(value).max(), 1e-30)
            problems += [f"{name}: relative error {error:.3g}"] if not error <= TOLERANCE else []
    return problems


def same(a, b, what):
    return [f"{name}: {what}" for name in a if a[name].tobytes() != b[name].tobytes()]


def check(tally, work, name, model, mesh, inputs, cuts, given, dims, micro):
    """One mesh: threads twice, processes once. cuts: what is cut over model, inputs too: axis and rank."""
    place = work / f"{name}_{mesh.replace(':', '').replace(',', '_')}"
    whole = work / "_".join((name, *dims)).replace("--dim", "").replace("=", "")
    if not whole.exists():
        mpi.sinter("run", model, *dims, *given, "-o", whole)
    options = words(mesh, inputs, cuts)
    if not options and "pipeline" not in mesh:
        return
    try:
        mpi.shard(model, mesh, options, place, *dims, *micro, hardware=hardware(work))
        mpi.sinter("run", place, *given, "-o", place / "a")
        mpi.sinter("run", place, *given, "-o", place / "b")
    except RuntimeError as error:
        tally.failed(f"{name} on {mesh}", str(error))
        return
    expected, threads = outputs(whole), outputs(place / "a")
    problems = compare(expected, threads) + same(threads, outputs(place / "b"), "another run has other bits")
    done = mpi.run((mpi.process_count(mesh), mpi.SINTER, "run", place, *given, "-o", place / "c"), seconds=600)
    if done.status:
        problems.append(str(done))
    else:
        problems += same(threads, outputs(place / "c"), "processes have other bits than threads")
    tally.check(f"{name} on {mesh}", problems)
    shutil.rmtree(place)


def with_batch(path, target):
    """The model with a first dim `batch` of its inputs and outputs, and where constants state it, too."""
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]
    reshapes = [node for node in model.graph.node if node.op_type == "Reshape"]
    targets = {node.input[1] for node in reshapes}
    for node in reshapes:
        del node.attribute[:]  # allowzero
    for tensor in model.graph.initializer:
        if tensor.name in targets:
            shape = numpy_helper.to_array(tensor).copy()
            shape[0] = 0 if shape[0] == 1 else shape[0]  # as it is
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))
    own_masks(model)
    onnx.save(model, target)
    return model


def own_masks(model):
    """BERT, exported for one sample, looks masks up as [0, k], that of the first sample for all: each sample has its own."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "GatherND" or node.input[1] not in tensors:
            continue
        indices = numpy_helper.to_array(tensors[node.input[1]])
        length = indices.shape[-2]
        if indices.shape != (1, 1, 1, length, 2) or (indices.reshape(length, 2) != [(0, k) for k in range(length)]).any():
            continue
        axes = f"{node.name}_axes"
        model.graph.initializer.append(numpy_helper.from_array(np.array([1, 2]), axes))
        node.op_type, node.input[1] = "Unsqueeze", axes
        del node.attribute[:]


def part_of_sample(name, x, number):
    """Another sample: turned in its last dim; of a mask, shorter."""
    if not name.endswith("mask"):
        return np.roll(x, number, -1)
    return np.where(np.arange(x.shape[-1]) < x.shape[-1] - 8 * number, x, 0).astype(x.dtype)


def batch_of(path, count, target):
    """Samples that differ, out of the one there is."""
    with np.load(path) as given:
        made = {name: np.concatenate([part_of_sample(name, x, i) for i in range(count)]) for name, x in given.items()}
    np.savez(target, **made)


def blocks(model, size, columns, rows):
    """Weights of the products of each block that are cut, by their place in it: the columns of some, the rows of others."""
    ranks = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    listed = [
        name for node in model.graph.node if node.op_type == "MatMul" for name in node.input if ranks.get(name) == 2
    ]
    placed = [(i % size, name) for i, name in enumerate(listed[: len(listed) // size * size])]
    return {name: (1 if i in columns else 0, 2) for i, name in placed if i in columns + rows}


def filters(model):
    """The output channels of 3x3 convolutions."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    weights = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    return {name: (0, 4) for name in weights if shapes.get(name, ())[2:] == (3, 3)}


# Of BERT, columns of queries, keys, values and the first feed-forward product, rows of the others; of GPT-2, of which queries, keys and
# values are one product, the feed-forward products and the caches, by their heads. 16 convolutions in a row that are Winograd's round to
# 3e-5 by themselves: what is compared here are sums.
LARGE = {
    "resnet50": (8, filters, ("--no-winograd",)),
    "bert_base_seq128": (4, lambda model: blocks(model, 6, (0, 1, 2, 4), (3, 5)), ()),
    "gpt2_small_decode": (4, lambda model: blocks(model, 4, (2,), (3,)), ()),
    "gpt2_small_prefill128": (4, lambda model: blocks(model, 4, (2,), (3,)), ()),
}
LARGE_MESHES = [mesh for mesh in MESHES if "more" not in mesh]


def check_large(tally, work):
    for name, (batch, weights_of, options) in LARGE.items():
        path, target, given = BENCH / f"{name}.onnx", work / f"{name}.onnx", work / f"{name}.npz"
        if not path.exists():
            tally.skipped(name, f"no {path}")
            continue
        model = with_batch(path, target)
        batch_of(path.with_suffix(".in.npz"), batch, given)
        inputs = {value.name: len(value.type.tensor_type.shape.dim) for value in model.graph.input}
        weights = weights_of(model)
        caches = {name: (1, rank) for name, rank in inputs.items() if name.startswith("past_")}
        del model
        for mesh in LARGE_MESHES:
            micro = ("--micro", f"batch={batch // 2}") if "pipeline" in mesh else ()
            dims, cuts = ("--dim", f"batch={batch}", *options), {**weights, **caches}
            check(tally, work, name, target, mesh, inputs, cuts, ("-i", given), dims, micro)
        target.unlink()


def check_embedded(tally, work):
    """Parts that are uneven; of a pipeline in each of three requests."""
    for name, (inputs, weights) in EMBEDDED.items():
        path = mpi.MODELS / f"{name}.onnx"
        for mesh in MESHES:
            batch, micro = (15, ("--micro", "batch=5")) if "pipeline" in mesh else (5, ())
            dims = ("--dim", f"batch={batch}", *DIMS.get(name, ()))
            check(tally, work, name, path, mesh, {value: 3 for value in inputs}, weights, (), dims, micro)


if __name__ == "__main__":
    mpi.suite(check_embedded, check_large)
