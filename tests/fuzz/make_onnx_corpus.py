#!/usr/bin/env python3
"""Writes the seeds of onnx_fuzz and tensor_fuzz into tests/fuzz/corpus/: small models and tensor files that between
them use every kind of message, attribute and old form. Run it after adding a case; the files are checked in."""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"


def value(name, shape=(2, 3), kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def save(name, nodes, inputs, outputs, initializers=(), opset=21, functions=(), ir_version=10, sparse=()):
    graph = helper.make_graph(nodes, name, inputs, outputs, initializers, sparse_initializer=sparse)
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=domains, functions=functions, ir_version=ir_version)
    (CORPUS / "onnx_fuzz" / f"{name}.onnx").write_bytes(model.SerializeToString())


def control():
    branch = lambda op, out: helper.make_graph([helper.make_node(op, ["x"], [out])], op, [], [value(out, None)])
    body = helper.make_graph(
        [helper.make_node("Concat", ["state", "x"], ["grown"], axis=0), helper.make_node("Identity", ["go"], ["on"])],
        "body", [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("state", ["k", 3])],
        [value("on", [], TensorProto.BOOL), value("grown", ["m", 3]), value("x", None)])
    step = helper.make_graph([helper.make_node("Add", ["sum", "row"], ["next"])], "step", [value("sum", [3]), value("row", [3])],
                             [value("next", [3]), value("row", [3])])
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0), helper.make_node("Cast", ["total"], ["c"], to=TensorProto.BOOL),
        helper.make_node("If", ["c"], ["y"], then_branch=branch("Relu", "a"), else_branch=branch("Neg", "b")),
        helper.make_node("Loop", ["trips", "", "y"], ["z", "all"], body=body),
        helper.make_node("Scan", ["zero", "y"], ["last", "rows"], body=step, num_scan_inputs=1)]
    constants = [numpy_helper.from_array(np.array(3), "trips"), numpy_helper.from_array(np.zeros(3, np.float32), "zero")]
    save("control", nodes, [value("x")], [value("z", None), value("all", None), value("last", [3]), value("rows", None)], constants)


def functions():
    leaky = helper.make_node("LeakyRelu", ["a"], ["b"])
    reference = onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    leaky.attribute.append(reference)
    inner = helper.make_function("own", "Inner", ["a"], ["b"], [leaky], [helper.make_opsetid("", 21)], ["slope"])
    call = helper.make_node("Inner", ["p"], ["q"], domain="own")
    call.attribute.append(onnx.AttributeProto(name="slope", ref_attr_name="amount", type=onnx.AttributeProto.FLOAT))
    outer = helper.make_function("own", "Outer", ["p"], ["q"], [call], [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)],
                                 [], [helper.make_attribute("amount", 0.5)])
    save("functions", [helper.make_node("Outer", ["x"], ["y"], domain="own", amount=0.25)], [value("x", ["N", 3])], [value("y", None)],
         functions=[inner, outer])


def old_forms():
    nodes = [
        helper.make_node("Add", ["x", "bias"], ["a"], broadcast=1, axis=1), helper.make_node("Clip", ["a"], ["b"], min=-1.0, max=1.0),
        helper.make_node("Reshape", ["b", "shape"], ["c"]), helper.make_node("Softmax", ["c"], ["d"], axis=1),
        helper.make_node("Slice", ["d"], ["e"], starts=[0], ends=[2], axes=[1]), helper.make_node("Unsqueeze", ["e"], ["f"], axes=[0, 3]),
        helper.make_node("Pad", ["f"], ["g"], pads=[0] * 8, mode="constant", value=1.0), helper.make_node("Squeeze", ["g"], ["h"]),
        helper.make_node("Cast", ["h"], ["i"], to=TensorProto.DOUBLE), helper.make_node("Sum", ["i", "i", "i"], ["y"])]
    bias, shape = np.ones(3, np.float32), np.array([0, -1])
    inputs = [value("x", [2, 3, 2]), value("bias", [3]), value("shape", [2], TensorProto.INT64)]
    save("old_forms", nodes, inputs, [value("y", None, TensorProto.DOUBLE)],
         [numpy_helper.from_array(bias, "bias"), numpy_helper.from_array(shape, "shape")], opset=6, ir_version=3)


def values():
    typed = helper.make_tensor("typed", TensorProto.FLOAT16, [3], [1.0, 2.0, 3.0])
    nibbles = helper.make_tensor("nibbles", TensorProto.INT4, [3], [1, -2, 3])
    strings = helper.make_tensor("strings", TensorProto.STRING, [2], [b"a", b"bc"])
    large = numpy_helper.from_array(np.arange(600, dtype=np.float32).reshape(200, 3), "large")
    sparse = helper.make_sparse_tensor(helper.make_tensor("sparse", TensorProto.FLOAT, [1], [5.0]),
                                       helper.make_tensor("at", TensorProto.INT64, [1], [2]), [3])
    nodes = [
        helper.make_node("Cast", ["typed"], ["t"], to=1), helper.make_node("Cast", ["nibbles"], ["n"], to=1),
        helper.make_node("Constant", [], ["c"], value_floats=[1.0, 2.0, 3.0]), helper.make_node("Sum", ["t", "n", "c", "sparse", "x"], ["y"]),
        helper.make_node("MatMul", ["large", "y"], ["z"]), helper.make_node("StringConcat", ["strings", "strings"], ["s"]),
        helper.make_node("SequenceConstruct", ["t", "n"], ["q"]), helper.make_node("ConcatFromSequence", ["q"], ["r"], axis=0)]
    save("values", nodes, [value("x", [3])], [value("z", None), value("s", None, TensorProto.STRING), value("r", None)],
         [typed, nibbles, strings, large], sparse=[sparse])


def layers():
    weight = numpy_helper.from_array(np.ones((2, 3, 3, 3), np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]), helper.make_node("MaxPool", ["a"], ["b", "i"], kernel_shape=[2, 2]),
        helper.make_node("Shape", ["b"], ["s"]), helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["t"], axis=0), helper.make_node("Reshape", ["b", "t"], ["c"]),
        helper.make_node("QuickGelu", ["c"], ["d"], domain="com.microsoft"),
        helper.make_node("Resize", ["x", "", "scales"], ["e"], mode="linear"), helper.make_node("TopK", ["d", "two"], ["y", "k"])]
    constants = [weight, numpy_helper.from_array(np.array([0]), "zero"), numpy_helper.from_array(np.array([-1]), "rest"),
                 numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"), numpy_helper.from_array(np.array([2]), "two")]
    save("layers", nodes, [value("x", ["N", 3, "H", "W"])], [value("y", None), value("e", None)], constants)


def tensors():
    folder = CORPUS / "tensor_fuzz"
    folder.mkdir(parents=True, exist_ok=True)
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensor = numpy_helper.from_array(array)
    sequence = onnx.SequenceProto(elem_type=1, tensor_values=[tensor, numpy_helper.from_array(np.array([True]))])
    optional = onnx.OptionalProto(elem_type=3, sequence_value=sequence)
    strings = numpy_helper.from_array(np.array(["a", "bcd"], dtype=object))
    for name, kind, message in (("tensor", 0, tensor), ("strings", 0, strings), ("sequence", 1, sequence), ("optional", 2, optional)):
        (folder / name).write_bytes(bytes([kind]) + message.SerializeToString())
    for name, data in (("npy", array), ("fortran", np.asfortranarray(array)), ("big", array.astype(">i2")), ("text", np.array(["a", "é"]))):
        with open(folder / name, "wb") as file:
            file.write(b"\0")
            np.save(file, data)


if __name__ == "__main__":
    (CORPUS / "onnx_fuzz").mkdir(parents=True, exist_ok=True)
    for make in (control, functions, old_forms, values, layers, tensors):
        make()
