"""Models whose operands do not fit: cases of few nodes of the ONNX backend suite again, with the rank, the dims or the element
type of their inputs changed, with dims that are symbols, and with inputs that are constants. Each is compiled and run, or
refused with an error; it never crashes, hangs, asks for memory that a small model has no use for, or gives two answers.

Tried by tests/unit/variant_driver.c. A case counts once, with the variants of it that failed.
Used by tests/suites/unfit_operands.py and tests/suites/long/unfit_operands_all.py; not a suite itself.
"""

import collections
import concurrent.futures
import functools
import math
import os
import subprocess
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from support import onnx_cases
from tally import Tally

DRIVER = onnx_cases.BUILD / "tests" / "variant_driver"
GOOD = ("fine", "refused")
MOST_NODES = 3
MOST_INPUTS_IN_PAIRS = 8
MOST_CONSTANTS = 64  # elements of an input that is made a constant
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
        return attribute.name, str(helper.get_attribute_value(attribute)) if small else ""

    def node_key(node):
        attributes = tuple(sorted(map(attribute_key, node.attribute)))
        return node.domain, node.op_type, tuple(map(bool, node.input)), tuple(map(bool, node.output)), attributes

    def input_key(value):
        dims = shape_of(value)
        return value.type.tensor_type.elem_type, len(dims), tuple(dim == 1 for dim in dims)

    opsets = tuple((opset.domain, opset.version) for opset in model.opset_import)
    return tuple(map(node_key, model.graph.node)), tuple(map(input_key, model.graph.input)), opsets


def open_results(model, dtypes):
    """A copy that says nothing of its results: neither their dims nor, where asked for, their element types."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    for value in copy.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
            if dtypes:
                value.type.tensor_type.elem_type = 0
    return copy


def with_types(model, changes, symbols=False):
    """The model with {input: (element type, dims)}; with symbols each dim has a name in place of its size."""
    kinds = {index: model.graph.input[index].type.tensor_type.elem_type for index in changes}
    copy = open_results(model, any(kind != kinds[index] for index, (kind, _) in changes.items()))
    for index, (kind, dims) in changes.items():
        tensor_type = copy.graph.input[index].type.tensor_type
        tensor_type.elem_type = kind
        tensor_type.shape.Clear()
        tensor_type.shape.SetInParent()
        for axis, size in enumerate(dims):
            dim = tensor_type.shape.dim.add()
            if symbols:
                dim.dim_param = f"input{index}_dim{axis}"
            else:
                dim.dim_value = size
    return copy.SerializeToString()


def with_constant(model, index, dims, number):
    """The model with a constant of that shape in place of an input."""
    copy = open_results(model, False)
    value = copy.graph.input[index]
    dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    array = np.full(dims, "text" if dtype == object else number, dtype)
    copy.graph.initializer.append(numpy_helper.from_array(array, value.name))
    del copy.graph.input[index]
    return copy.SerializeToString()


def other_shapes(dims):
    """Other ranks, then other dims of the same rank."""
    shapes = [[], [1], [2], [2, 2], [1, 1, 1], [2, 3, 2, 2, 2], [0] * max(1, len(dims)), [*dims, 2], [1, *dims]]
    shapes += [dims[:-1], dims[1:]] if dims else []
    for axis, dim in enumerate(dims):
        shapes += [[*dims[:axis], dim + 1, *dims[axis + 1 :]], [*dims[:axis], 1, *dims[axis + 1 :]]]
    return [shape for index, shape in enumerate(shapes) if shape != dims and shape not in shapes[:index]]


def single_variants(model, index, value):
    kind, dims = value.type.tensor_type.elem_type, shape_of(value)
    for other in other_shapes(dims):
        yield f"{value.name} {other}", functools.partial(with_types, model, {index: (kind, other)})
    for rank in {*range(4), 5, len(dims)} - {0}:
        yield f"{value.name} {rank} symbols", functools.partial(with_types, model, {index: (kind, [0] * rank)}, symbols=True)
    for name in DTYPES:
        if TensorProto.DataType.Value(name) != kind:
            yield f"{value.name} {name}", functools.partial(with_types, model, {index: (TensorProto.DataType.Value(name), dims)})
    known = {tensor.name for tensor in model.graph.initializer}
    for other in other_shapes(dims) + [dims]:
        if len(dims) <= 1 and math.prod(other) <= MOST_CONSTANTS and value.name not in known:
            for number in (0, 1):
                yield f"{value.name} constant {number} {other}", functools.partial(with_constant, model, index, other, number)


def variants(model):
    """(what was changed, what makes the bytes of the model)"""
    inputs = {index: value for index, value in enumerate(model.graph.input) if is_tensor(value)}
    kinds = {index: value.type.tensor_type.elem_type for index, value in inputs.items()}
    for index, value in inputs.items():
        yield from single_variants(model, index, value)
    for dims in ([], [1], [2]):
        if len(inputs) > 1:
            yield f"all {dims}", functools.partial(with_types, model, {index: (kinds[index], dims) for index in inputs})
    ranks = {index: (kinds[index], shape_of(value)) for index, value in inputs.items()}
    yield "all symbols", functools.partial(with_types, model, ranks, symbols=True)
    pairs = [(first, second) for first in inputs for second in inputs if first < second <= MOST_INPUTS_IN_PAIRS and len(inputs) > 2]
    for first, second in pairs:
        names = f"{inputs[first].name} and {inputs[second].name}"
        for dims in ([], [2, 2]):
            yield f"{names} {dims}", functools.partial(with_types, model, {index: (kinds[index], dims) for index in (first, second)})
    for name in DTYPES if len(set(kinds.values())) == 1 and len(inputs) > 1 else ():
        kind = TensorProto.DataType.Value(name)
        if kind not in kinds.values():
            yield f"all {name}", functools.partial(with_types, model, {index: (kind, shape_of(value)) for index, value in inputs.items()})


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


def try_variants(cases, step):
    """[(name, what was changed, answer, message)] of every step-th variant; the first one differs from case to case."""
    answers = []
    with subprocess.Popen([str(DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as driver:
        for number, (name, model) in cases:
            for place, (change, make) in enumerate(variants(model)):
                if (place + number) % step:
                    continue
                data = make()
                driver.stdin.write(b"%d\n" % len(data) + data)
                driver.stdin.flush()
                answer, _, message = driver.stdout.readline().decode("utf-8", "replace").rstrip("\n").partition("\t")
                answers.append((name, change, answer, message))
        driver.stdin.close()
    return answers


def main(step):
    """A suite: every step-th variant of the cases, or of those whose name holds one of the arguments."""
    tally = Tally()
    cases = chosen_cases(sys.argv[1:])
    workers = os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        shares = [list(enumerate(cases))[first::workers] for first in range(workers)]
        tried = list(pool.map(lambda share: try_variants(share, step), shares))
    problems, counts = collections.defaultdict(list), collections.Counter()
    for name, change, answer, message in (one for part in tried for one in part):
        counts[answer] += 1
        if answer == "differs" and change.endswith(("FLOAT8E4M3FN", "INT4")):
            continue  # arithmetic that ONNX does not have is rounded at other places
        if answer not in GOOD:
            problems[name].append(f"{change}: {answer}: {' '.join(message.split())[:200]}")
    for name, _ in cases:
        tally.check(name, problems[name])
    print(f"{sum(counts.values())} variants of {len(cases)} cases: {dict(counts)}")
    tally.finish()
