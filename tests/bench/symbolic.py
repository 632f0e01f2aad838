"""What it costs to leave sizes open: one artifact with symbolic batch and length, timed at several sizes beside builds that are
bound to each of them. The models: a layer of a transformer and one of an LSTM made here and the embedded LSTM, or others given, whose
symbolic dims are two."""
import itertools

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

import turns

COMPARED = "sinter_us"
BATCHES, LENGTHS = (1, 7, 128), (16, 128, 512)


def symbols_of(model):
    """Names of the symbolic dims of the inputs: batch first, as they come."""
    names = []
    for value in onnx.load(model, load_external_data=False).graph.input:
        names += [dim.dim_param for dim in value.type.tensor_type.shape.dim if dim.dim_param and dim.dim_param not in names]
    return names


class Layer:
    """A layer of a transformer over x: f32[batch,length,WIDTH], as PyTorch's exporter writes it: attention, then two products."""

    WIDTH, HEADS, INNER = 256, 4, 1024

    def __init__(self):
        self.nodes, self.weights, self.random = [], [], numpy.random.default_rng(0)

    def weight(self, *shape):
        return self.constant((self.random.standard_normal(shape) / numpy.sqrt(shape[0])).astype("f4"))

    def constant(self, array):
        self.weights.append(numpy_helper.from_array(numpy.asarray(array), f"w{len(self.weights)}"))
        return self.weights[-1].name

    def node(self, operator, *inputs, **attributes):
        self.nodes.append(helper.make_node(operator, inputs, [f"v{len(self.nodes)}"], **attributes))
        return self.nodes[-1].output[0]

    def linear(self, x, inputs, outputs):
        return self.node("Add", self.node("MatMul", x, self.weight(inputs, outputs)), self.weight(outputs))

    def heads(self, x, order):
        split = self.node("Reshape", self.linear(x, self.WIDTH, self.WIDTH),
                          self.constant(numpy.array([0, 0, self.HEADS, self.WIDTH // self.HEADS])))
        return self.node("Transpose", split, perm=order)

    def normalised(self, x):
        return self.node("LayerNormalization", x, self.weight(self.WIDTH), self.weight(self.WIDTH))

    def write(self, path):
        scores = self.node("MatMul", self.heads("x", [0, 2, 1, 3]), self.heads("x", [0, 2, 3, 1]))
        scaled = self.node("Div", scores, self.constant(numpy.float32((self.WIDTH / self.HEADS) ** 0.5)))
        mixed = self.node("MatMul", self.node("Softmax", scaled), self.heads("x", [0, 2, 1, 3]))
        joined = self.node("Reshape", self.node("Transpose", mixed, perm=[0, 2, 1, 3]), self.constant(numpy.array([0, 0, self.WIDTH])))
        middle = self.normalised(self.node("Add", self.linear(joined, self.WIDTH, self.WIDTH), "x"))
        wide = self.node("Gelu", self.linear(middle, self.WIDTH, self.INNER))
        last = self.normalised(self.node("Add", self.linear(wide, self.INNER, self.WIDTH), middle))
        dims = ["batch", "length", self.WIDTH]
        graph = helper.make_graph(self.nodes, "layer", [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)],
                                  [helper.make_tensor_value_info(last, TensorProto.FLOAT, dims)], self.weights)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
        return path


class Recurrent(Layer):
    """An LSTM of both directions over x: f32[batch,length,UNITS]."""

    UNITS = 128

    def write(self, path):
        gates = [self.weight(2, 4 * self.UNITS, self.UNITS) for _ in range(2)]
        steps = self.node("Transpose", "x", perm=[1, 0, 2])
        last = self.node("LSTM", steps, *gates, hidden_size=self.UNITS, direction="bidirectional")
        graph = helper.make_graph(self.nodes, "recurrent",
                                  [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length", self.UNITS])],
                                  [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["length", 2, "batch", self.UNITS])], self.weights)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
        return path


def measure(bench):
    models = bench.options.models or [Layer().write(bench.folder / "layer.onnx"), Recurrent().write(bench.folder / "recurrent.onnx"),
                                      turns.EMBEDDED / "lstm.onnx"]
    rows = {}
    for threads, model in itertools.product(bench.options.threads, models):
        symbols = symbols_of(model)
        if len(symbols) != 2:
            raise RuntimeError(f"{model}: expected two symbolic dims, found {', '.join(symbols) or 'none'}")
        table = turns.Table(f"{model.stem}: one artifact for all sizes beside one for each, {threads} thread(s), microseconds",
                            *symbols, "open", "bound", "open / bound", "difference")
        artifact = bench.compile(model)
        for sizes in itertools.product(BATCHES, LENGTHS):
            dims = dict(zip(symbols, sizes))
            bound = bench.compile(model, *(f"--dim={name}={size}" for name, size in dims.items()))
            files = bench.save(turns.make_feeds(model, dims).values())
            row = bench.beside(artifact, f"sinter:{bound}", files, threads)
            row["ratio"] = row["sinter_us"] / row["peer_us"]
            rows[f"{model.stem}, {sizes[0]} x {sizes[1]}, {threads} thread(s)"] = row
            table.row(*sizes, f"{row['sinter_us']:.1f}", f"{row['peer_us']:.1f}", f"{row['ratio']:.2f}", f"{row['error']:.0e}")
            bound.unlink()
    return rows
