"""Models on ranks, as threads and as processes: the answer of one device within 1e-5 (integers to the bit), the same bits in each run and
either way. The embedded models on meshes of data and model axes and as pipelines, whose stages may be cut so, too; and, where SINTER_BENCH_MODELS has them, ResNet-50, BERT-base and GPT-2.

    tests/suites/long/mpi_models.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import os
import pathlib

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
DIMS = {"lstm": ("--dim", "length=8"), "transformer": ("--dim", "length=8")}
# Of each model: inputs that are cut over data, and weights that are cut over model along their rows or columns.
EMBEDDED = {
    "mlp": (["pixels"], {"layers.0.weight": (0, 2), "layers.1.weight": (1, 2)}),
    "cnn": (["pixels"], {"block.0.conv.weight": (0, 4), "block.1.conv.weight": (1, 4)}),
    "cnn_int8": (["pixels"], {}),
    "lstm": (["pixels"], {"classifier.weight": (1, 2)}),
    "transformer": (["pixels"], {"layers.0.linear1.weight": (1, 2), "layers.0.linear2.weight": (0, 2)}),
}


def words(mesh, inputs, weights):
    """--shard for what the mesh has axes for; a third axis cuts the inputs, too. None where it has some that cut nothing."""
    listed = []
    over = "*".join(axis for axis in mpi.axes(mesh) if axis not in ("model", "pipeline"))
    if (over and not inputs) or ("model" in mesh and not weights):
        return None
    for name, rank in inputs.items() if over else ():
        listed += ["--shard", f"{name}={','.join([over] + ['_'] * (rank - 1))}"]
    for name, (axis, rank) in weights.items() if "model" in mesh else ():
        listed += ["--shard", f"{name}={','.join('model' if i == axis else '_' for i in range(rank))}"]
    return listed


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


def check(tally, work, name, model, mesh, inputs, weights, given=()):
    """One mesh: threads twice, processes once."""
    place = work / f"{name}_{mesh.replace(':', '').replace(',', '_')}"
    whole = work / f"{name}_whole"
    dims, micro = (), ()
    if model.parent == mpi.MODELS:  # uneven parts; of a pipeline in each of three requests
        dims = ("--dim", "batch=5", *DIMS.get(name, ()))
        if "pipeline" in mesh:
            whole, dims, micro = work / f"{name}_three", ("--dim", "batch=15", *dims[2:]), ("--micro", "batch=5")
    if not whole.exists():
        mpi.sinter("run", model, *dims, *given, "-o", whole)
    options = words(mesh, inputs, weights)
    if options is None:
        return
    try:
        mpi.shard(model, mesh, options, place, *dims, *micro)
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
    for program in place.glob("**/*.so"):
        program.unlink()


def with_batch(path, batch, target):
    """The model with another first dim of its inputs and outputs, where constants state it, too."""
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    del model.graph.value_info[:]
    targets = {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}
    for tensor in model.graph.initializer:
        if tensor.name in targets:
            shape = numpy_helper.to_array(tensor).copy()
            shape[0] = batch if shape[0] == 1 else shape[0]
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))
    onnx.save(model, target)


def blocks(path, size, columns):
    """Weights of the products of each block, the columns of some and the rows of the others cut."""
    model = onnx.load(path)
    shapes = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    listed = [
        name for node in model.graph.node if node.op_type == "MatMul" for name in node.input if shapes.get(name) == 2
    ]
    return {name: (1 if i % size in columns else 0, 2) for i, name in enumerate(listed[: len(listed) // size * size])}


def check_large(tally, work):
    resnet, bert, gpt = (BENCH / f"{name}.onnx" for name in ("resnet50", "bert_base_seq128", "gpt2_small_decode"))
    if resnet.exists():
        with_batch(resnet, 8, work / "resnet50.onnx")
        for mesh in ("data:2", "data:4"):
            check(tally, work, "resnet50", work / "resnet50.onnx", mesh, {"input": 4}, {})
    for name, path, size, columns in (("bert", bert, 6, (0, 1, 2, 4)), ("gpt2", gpt, 4, (2,))):
        if not path.exists():
            tally.skipped(name, f"no {path}")
            continue
        weights = blocks(path, size, columns)
        if name == "gpt2":  # queries, keys and values are one product: the rows of feed-forward layers only
            weights = {word: cut for i, (word, cut) in enumerate(weights.items()) if i % 4 in (2, 3)}
        for mesh in ("model:2", "model:4"):
            check(tally, work, name, path, mesh, {}, weights, ("-i", path.with_suffix(".in.npz")))


def check_embedded(tally, work):
    for model, (inputs, weights) in EMBEDDED.items():
        path = mpi.MODELS / f"{model}.onnx"
        for mesh in MESHES:
            check(tally, work, model, path, mesh, {value: 3 for value in inputs}, weights)


if __name__ == "__main__":
    mpi.suite(check_embedded, check_large)
