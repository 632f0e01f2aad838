"""Exactness of quantized models: each integer tensor of a run against float64 arithmetic on the integers it is made from.

Errors do not add up over a network this way: what a quantized result is compared with is computed from the results before
it as the run had them. A result is right when it is less than half a step, and what f32 may add to that, from the exact
number; which of two neighbours is taken near a tie is left open, and is what makes the final answers of two correct
programs differ.

Used by tests/suites/long/real_models.py; not a suite itself.
"""

import pathlib
import tempfile

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.reference

from support import accuracy

BEYOND_HALF = 2.0**-13  # of a step: numbers of some hundred steps, computed in f32
FLOATS = 2e-5  # relative error of a float output
QUANTIZERS = {"QuantizeLinear": 2, "QLinearConv": 7, "QLinearMatMul": 7, "QLinearAdd": 7}  # where the zero point stands


def dequantize(x, scale, zero, axis):
    shape = [1] * x.ndim
    if scale.ndim:
        shape[axis] = -1
    zero = np.zeros_like(scale) if zero is None else zero.astype(np.float64)
    return (x.astype(np.float64) - zero.reshape(shape if zero.ndim else ())) * scale.reshape(shape if scale.ndim else ())


def borders(attributes, sizes, kernel, strides, dilations):
    """Pairs (before, after) for each axis of space."""
    mode, rank = attributes.get("auto_pad", b"NOTSET").decode(), len(sizes)
    if not mode.startswith("SAME"):
        pads = attributes.get("pads", [0] * 2 * rank)
        return [(pads[i], pads[i + rank]) for i in range(rank)]
    totals = [max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0) for size, k, s, d in zip(sizes, kernel, strides, dilations)]
    return [(t // 2, t - t // 2) if mode == "SAME_UPPER" else (t - t // 2, t // 2) for t in totals]


def convolve(x, weight, bias, attributes):
    rank, group = x.ndim - 2, attributes.get("group", 1)
    kernel = weight.shape[2:]
    strides, dilations = attributes.get("strides", [1] * rank), attributes.get("dilations", [1] * rank)
    x = np.pad(x, [(0, 0), (0, 0), *borders(attributes, x.shape[2:], kernel, strides, dilations)])
    sizes = [(size - (k - 1) * d - 1) // s + 1 for size, k, s, d in zip(x.shape[2:], kernel, strides, dilations)]
    x = x.reshape(x.shape[0], group, -1, *x.shape[2:])
    weight = weight.reshape(group, -1, *weight.shape[1:])
    total = np.zeros((x.shape[0], group, weight.shape[1], int(np.prod(sizes))))
    for tap in np.ndindex(*kernel):
        window = tuple(slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, n, s in zip(tap, dilations, sizes, strides))
        total += np.matmul(weight[(..., *tap)], x[(..., *window)].reshape(*x.shape[:3], -1))
    y = total.reshape(x.shape[0], -1, *sizes)
    return y if bias is None else y + bias.reshape(-1, *[1] * rank)


def evaluate(node, operands, opsets):
    """The results of a node, reals in float64; quantizers give steps that are not rounded yet."""
    attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    x = operands + [None] * 9
    if node.op_type == "DequantizeLinear":
        return [dequantize(x[0], x[1], x[2], attributes.get("axis", 1))]
    if node.op_type == "QuantizeLinear":
        return [x[0] / x[1] + x[2]]
    if node.op_type == "QLinearConv":
        bias = None if x[8] is None else x[8] * x[1] * x[4]
        return [convolve(dequantize(*x[0:3], 0), dequantize(*x[3:6], 0), bias, attributes) / x[6] + x[7]]
    if node.op_type == "QLinearMatMul":
        return [np.matmul(dequantize(*x[0:3], -2), dequantize(*x[3:6], -1)) / x[6] + x[7]]
    if node.op_type == "QLinearAdd":
        return [(dequantize(*x[0:3], 0) + dequantize(*x[3:6], 0)) / x[6] + x[7]]
    if node.op_type == "Conv":
        return [convolve(*x[0:3], attributes)]
    graph = onnx.helper.make_graph(
        [node],
        "one",
        [onnx.helper.make_tensor_value_info(name, 0, None) for name in dict.fromkeys(node.input) if name],
        [onnx.helper.make_tensor_value_info(name, 0, None) for name in node.output if name],
    )
    run = onnx.reference.ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=opsets))
    results = run.run(None, {name: operand for name, operand in zip(node.input, operands) if name})
    return [widen(result) for result in results]


def widen(array):
    array = np.asarray(array)
    return array.astype(np.float64) if array.dtype == np.float32 else array


def expose(model):
    """Makes every quantized tensor an output; returns their names, which are q0, q1 and so on."""
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    names = {}
    for node in model.graph.node:
        if node.op_type in QUANTIZERS:
            names[node.output[0]] = f"q{len(names)}"
    taken = {value.name for value in model.graph.output}
    assert not taken & set(names), "a quantized output"
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        if node.op_type in QUANTIZERS:
            zero = weights[node.input[QUANTIZERS[node.op_type]]]
            dtype = onnx.helper.np_dtype_to_tensor_dtype(zero.dtype)
            model.graph.output.append(onnx.helper.make_tensor_value_info(node.output[0], dtype, None))
    del model.graph.value_info[:]
    return list(names.values())


def run_model(path, inputs):
    results = accuracy.run(path, {name: array[None] for name, array in inputs.items()})
    return {name: array[0] for name, array in results.items()}


def run_exposed(model, inputs):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "exposed.onnx"
        onnx.save(model, path)
        return run_model(path, inputs)


def relative_error(got, expected):
    return np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-30)


def wrong_results(path, inputs):
    """Sentences about quantized tensors, and float outputs, that are not what their integers say; and how many are compared.

    The integers are seen by making them outputs, so the answers of the model as it is must be those of the model that shows
    its integers."""
    model = onnx.load(path)
    answers = [value.name for value in model.graph.output]
    named = dict(zip([value.name for value in model.graph.input], inputs))
    plain = run_model(path, named)
    quantized = expose(model)
    got = run_exposed(model, named)
    values = {tensor.name: widen(onnx.numpy_helper.to_array(tensor)) for tensor in model.graph.initializer}
    values |= {value.name: widen(array) for value, array in zip(model.graph.input, inputs)}
    wrong = []
    for node in model.graph.node:
        operands = [values[name] if name else None for name in node.input]
        for name, result in zip(node.output, evaluate(node, operands, model.opset_import)):
            if node.op_type in QUANTIZERS:
                limits = np.iinfo(got[name].dtype)
                distance = np.abs(got[name] - np.clip(result, limits.min, limits.max)).max() - 0.5
                if not distance <= BEYOND_HALF:
                    wrong.append(f"{name} ({node.op_type} {node.name}): {distance + 0.5:.5f} steps from the exact number")
                result = got[name]
            values[name] = result
    for name in answers:
        for what, array, expected in (("exact", got[name], values[name]), ("exposed", plain[name], got[name])):
            if not relative_error(array, expected) <= FLOATS:
                wrong.append(f"{name}: relative error {relative_error(array, expected):.2g} from the {what} numbers")
    return wrong, len(quantized)
