"""Models whose operands do not fit: every case of one or few nodes of the ONNX backend suite again, with the rank, the dims or
the element type of its inputs changed. Each is compiled and run, or refused with an error; it never crashes, hangs, asks for
memory that a small model has no use for, or gives two answers.

    tests/suites/long/unfit_operands.py [NAME ...]    with PYTHONPATH=tests/suites; NAME is a part of a case's name

Tried by tests/unit/variant_driver.c. A case counts once, with the variants of it that failed.
"""

import collections
import concurrent.futures
import os
import subprocess
import sys

import onnx
from onnx import TensorProto

from support import onnx_cases
from tally import Tally

DRIVER = onnx_cases.BUILD / "tests" / "variant_driver"
GOOD = ("fine", "refused")
MOST_NODES = 3
MOST_INPUTS_IN_PAIRS = 8
DTYPES = ("FLOAT", "DOUBLE", "FLOAT16", "INT8", "UINT8", "INT32", "INT64", "BOOL", "STRING", "COMPLEX64", "FLOAT8E4M3FN", "INT4")


def is_tensor(value):
    return value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape")


def shape_of(value):
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def signature(model):
    """What cases have in common that take the same way through a compiler: but for the size of dims."""

    def attribute_key(attribute):
        kinds = onnx.AttributeProto
        small = attribute.type in (kinds.INT, kinds.STRING) or attribute.type == kinds.INTS and len(attribute.ints) < 3
        return attribute.name, str(onnx.helper.get_attribute_value(attribute)) if small else ""

    nodes = tuple(
        (node.domain, node.op_type, tuple(map(bool, node.input)), tuple(map(bool, node.output)), tuple(sorted(map(attribute_key, node.attribute))))
        for node in model.graph.node
    )
    inputs = tuple((value.type.tensor_type.elem_type, len(shape_of(value)), tuple(dim == 1 for dim in shape_of(value))) for value in model.graph.input)
    return nodes, inputs, tuple((opset.domain, opset.version) for opset in model.opset_import)


def with_type(model, changes):
    """The model with {input: (element type, dims)}; results are left open."""
    variant = onnx.ModelProto()
    variant.CopyFrom(model)
    del variant.graph.value_info[:]
    for index, (kind, dims) in changes.items():
        tensor_type = variant.graph.input[index].type.tensor_type
        tensor_type.elem_type = kind
        tensor_type.shape.Clear()
        tensor_type.shape.SetInParent()
        for dim in dims:
            tensor_type.shape.dim.add().dim_value = dim
    for value in variant.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
            if any(kind != model.graph.input[index].type.tensor_type.elem_type for index, (kind, _) in changes.items()):
                value.type.tensor_type.elem_type = 0
    return variant.SerializeToString()


def other_shapes(dims):
    """Other ranks, then other dims of the same rank."""
    shapes = [[], [1], [2], [2, 2], [1, 1, 1], [2, 3, 2, 2, 2], [0] * max(1, len(dims)), [*dims, 2], [1, *dims]]
    shapes += [dims[:-1], dims[1:]] if dims else []
    for axis, dim in enumerate(dims):
        shapes += [[*dims[:axis], dim + 1, *dims[axis + 1 :]], [*dims[:axis], 1, *dims[axis + 1 :]]]
    return [shape for index, shape in enumerate(shapes) if shape != dims and shape not in shapes[:index]]


def variants(model):
    """(what was changed, bytes of the model)"""
    inputs = {index: value for index, value in enumerate(model.graph.input) if is_tensor(value)}
    kinds = {index: value.type.tensor_type.elem_type for index, value in inputs.items()}
    for index, value in inputs.items():
        for dims in other_shapes(shape_of(value)):
            yield f"{value.name} {dims}", with_type(model, {index: (kinds[index], dims)})
        for name in DTYPES:
            if TensorProto.DataType.Value(name) != kinds[index]:
                yield f"{value.name} {name}", with_type(model, {index: (TensorProto.DataType.Value(name), shape_of(value))})
    for dims in ([], [1], [2]):
        if len(inputs) > 1:
            yield f"all {dims}", with_type(model, {index: (kinds[index], dims) for index in inputs})
    pairs = [(first, second) for first in inputs for second in inputs if first < second <= MOST_INPUTS_IN_PAIRS and len(inputs) > 2]
    for first, second in pairs:
        names = f"{inputs[first].name} and {inputs[second].name}"
        for dims in ([], [2, 2]):
            yield f"{names} {dims}", with_type(model, {index: (kinds[index], dims) for index in (first, second)})
    for name in DTYPES if len(set(kinds.values())) == 1 and len(inputs) > 1 else ():
        kind = TensorProto.DataType.Value(name)
        if kind not in kinds.values():
            yield f"all {name}", with_type(model, {index: (kind, shape_of(value)) for index, value in inputs.items()})


def chosen_cases(parts):
    """[(name, model)], one of those that are alike."""
    chosen, seen = [], set()
    for name, folder in onnx_cases.folder_cases().items():
        if parts and not any(part in name for part in parts):
            continue
        model = onnx.load(folder / "model.onnx")
        if len(model.graph.node) > MOST_NODES or signature(model) in seen:
            continue
        seen.add(signature(model))
        chosen.append((name, model))
    return chosen


def try_variants(cases):
    """[(name, what was changed, answer, message)]"""
    asked, answers = [], []
    with subprocess.Popen([str(DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as driver:
        for name, model in cases:
            for change, data in variants(model):
                driver.stdin.write(b"%d\n" % len(data) + data)
                driver.stdin.flush()
                answer, _, message = driver.stdout.readline().decode("utf-8", "replace").rstrip("\n").partition("\t")
                answers.append((name, change, answer, message))
        driver.stdin.close()
    return answers


def main():
    tally = Tally()
    cases = chosen_cases(sys.argv[1:])
    workers = os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        tried = list(pool.map(lambda first: try_variants(cases[first::workers]), range(workers)))
    problems, counts = collections.defaultdict(list), collections.Counter()
    for name, change, answer, message in (one for part in tried for one in part):
        counts[answer] += 1
        if answer == "differs" and "FLOAT8" in change:
            continue  # arithmetic in 8 bits is rounded at other places
        if answer not in GOOD:
            problems[name].append(f"{change}: {answer}: {' '.join(message.split())[:200]}")
    for name, _ in cases:
        tally.check(name, problems[name])
    print(f"{sum(counts.values())} variants of {len(cases)} cases: {dict(counts)}")
    tally.finish()


if __name__ == "__main__":
    main()
