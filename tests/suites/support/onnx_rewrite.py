"""Makes variants of cases of the ONNX backend suite: the same model asked in another way, with the same answers.

Used by tests/suites/long/onnx_*.py; not a suite itself.
"""

import shutil

import onnx

from support import onnx_cases


def is_static_input(value):
    """A tensor with a shape: what a dim can be made symbolic of."""
    return value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape")


def forget_result_shapes(model):
    """Results keep their rank; what was worked out from the inputs' dims goes."""
    del model.graph.value_info[:]
    for value in model.graph.output:
        if is_static_input(value):
            for dim in value.type.tensor_type.shape.dim:
                dim.Clear()


# Operands whose last dim says the rank of a result, or how many axes other operands speak of: a number in any file.
RANK_OPERANDS = {
    "AffineGrid": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "GatherND": (1,),
    "Pad": (1, 3),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "ScatterND": (1,),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "Unsqueeze": (1,),
}


def says_rank(node, operand):
    return operand in RANK_OPERANDS.get(node.op_type, (1,) if node.op_type.startswith("Reduce") else ())


def make_symbolic(model, data_set):
    """Every dim of every input that says no rank gets a symbol of its own. False where there is nothing to change."""
    ranks = {name for node in model.graph.node for operand, name in enumerate(node.input) if says_rank(node, operand)}
    changed = False
    for index, value in enumerate(model.graph.input):
        if is_static_input(value):
            dims = value.type.tensor_type.shape.dim
            for axis, dim in enumerate(dims):
                if value.name not in ranks or axis + 1 < len(dims):
                    dim.dim_param = f"input{index}_dim{axis}"
                    changed = True
    forget_result_shapes(model)
    return changed


def bind_shape_inputs(model, data_set):
    """Integer scalars and vectors that are inputs (shapes, axes, counts) become initializers. False where there are none.

    The remaining input files move up; the number of each is the input's.
    """
    inputs = list(model.graph.input)
    kept, changed = [], False
    for index, value in enumerate(inputs):
        tensor_type = value.type.tensor_type
        path = data_set / f"input_{index}.pb"
        small = is_static_input(value) and len(tensor_type.shape.dim) <= 1
        if small and tensor_type.elem_type in (onnx.TensorProto.INT64, onnx.TensorProto.INT32) and path.exists():
            tensor = onnx.TensorProto.FromString(path.read_bytes())
            tensor.name = value.name
            model.graph.initializer.append(tensor)
            path.unlink()
            changed = True
        else:
            if path.exists():
                path.rename(data_set / f"input_{len(kept)}.pb")
            kept.append(value)
    del model.graph.input[:]
    model.graph.input.extend(kept)
    forget_result_shapes(model)
    return changed


def rewrite_cases(cases, variant, rewrite):
    """{name: folder} of the cases that the rewrite changes, under build/onnx-suite/<variant>/."""
    top = onnx_cases.WORK / variant
    shutil.rmtree(top, ignore_errors=True)
    rewritten = {}
    for name, folder in cases.items():
        data_sets = sorted(folder.glob("test_data_set_*"))
        if len(data_sets) != 1:
            continue  # an initializer has one value
        target = top / name
        shutil.copytree(folder, target)
        model = onnx.load(target / "model.onnx")
        if rewrite(model, target / data_sets[0].name):
            onnx.save(model, target / "model.onnx")
            rewritten[name] = target
        else:
            shutil.rmtree(target)
    return rewritten


def main(variant, rewrite, targets, least):
    """A suite: cases that pass as they are pass rewritten too, at least a share `least` of them, the others listed."""
    tally = onnx_cases.Tally()
    cases = onnx_cases.folder_cases()
    failing = onnx_cases.read_expected()
    rewritten = rewrite_cases(cases, variant, rewrite)
    for target in targets:
        passing = {name: folder for name, folder in rewritten.items() if (target, name) not in failing}
        onnx_cases.run_listed(tally, target, passing, label=f"{target}-{variant}", least=least)
    tally.finish()
