"""Operators that ONNX Runtime's optimizer and quantizer leave in files (domain com.microsoft), one node a model, against
ONNX Runtime on the reference evaluator and on native code."""

import pathlib
import shutil

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from support import onnx_cases

WORK = pathlib.Path(onnx_cases.WORK) / "contrib"
RELATIVE = 1e-4
FLOAT_OR_BYTES = 2e-2  # what operands rounded to 8 bits in blocks cost
random = np.random.default_rng(5)


def f(*shape):
    return random.standard_normal(shape).astype(np.float32)


def u8(*shape):
    return random.integers(0, 256, shape, np.uint8)


def i8(*shape):
    return random.integers(-100, 100, shape, np.int8)


def ids(high, *shape):
    return random.integers(0, high, shape, np.int32)


def s(value):
    return np.array(value, np.float32)


def zero(value, kind=np.uint8):
    return np.array(value, kind)


class Case:
    """Inputs by operand (None: absent); those in `constants` become initializers, as real files have them. open: the first dim of inputs
    has a name instead of its size."""

    def __init__(self, name, op, inputs, outputs=1, constants=(), domain="com.microsoft", steps=0, relative=RELATIVE, open=False, **attributes):
        self.name, self.op, self.inputs, self.outputs = name, op, inputs, outputs
        self.constants, self.domain, self.steps, self.relative, self.attributes = constants, domain, steps, relative, attributes
        self.open = open


def float_cases():
    hidden = 8
    rows = f(2, 3, hidden)
    yield Case("bias_gelu", "BiasGelu", [rows, f(hidden)])
    yield Case("fast_gelu", "FastGelu", [rows])
    yield Case("fast_gelu_bias", "FastGelu", [rows, f(hidden)])
    yield Case("gelu", "Gelu", [rows])
    yield Case("quick_gelu", "QuickGelu", [rows])
    yield Case("quick_gelu_alpha", "QuickGelu", [rows], alpha=0.5)
    for a in (0, 1):
        for b in (0, 1):
            left, right = f(2, *((3, 4), (4, 3))[a]), f(2, *((4, 5), (5, 4))[b])
            yield Case(f"fused_matmul_{a}{b}", "FusedMatMul", [left, right], transA=a, transB=b, alpha=0.25)
    for activation, more in (("Relu", {}), ("LeakyRelu", {"activation_alpha": 0.3}), ("Tanh", {})):
        yield Case(f"fused_gemm_{activation}", "FusedGemm", [f(3, 4), f(5, 4), f(5)], transB=1, activation=activation, **more)
    picture, kernel = f(1, 3, 6, 6), f(4, 3, 3, 3)
    conv = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    yield Case("fused_conv_relu", "FusedConv", [picture, kernel, f(4)], activation="Relu", **conv)
    yield Case("fused_conv_clip", "FusedConv", [picture, kernel], activation="Clip", activation_params=[-0.5, 1.0], **conv)
    yield Case("fused_conv_leaky", "FusedConv", [picture, kernel], activation="LeakyRelu", activation_params=[0.1], **conv)
    yield Case("fused_conv_sum", "FusedConv", [picture, kernel, f(4), f(1, 4, 6, 6)], activation="Relu", **conv)
    yield Case("skip_norm", "SkipLayerNormalization", [rows, f(2, 3, hidden), f(hidden), f(hidden), f(hidden)], epsilon=1e-5)
    yield Case("skip_norm_plain", "SkipLayerNormalization", [rows, f(2, 3, hidden), f(hidden)])
    yield Case("skip_norm_sum", "SkipLayerNormalization", [rows, f(2, 3, hidden), f(hidden), f(hidden)], outputs=(0, 3))
    yield Case("skip_rms", "SkipSimplifiedLayerNormalization", [rows, f(2, 3, hidden), f(hidden)], epsilon=1e-6)
    yield Case("skip_rms_sum", "SkipSimplifiedLayerNormalization", [rows, f(2, 3, hidden), f(hidden), f(hidden)], outputs=(0, 3))
    yield Case("rms", "SimplifiedLayerNormalization", [rows, f(hidden)], domain="", axis=-1, epsilon=1e-6)
    embed = [ids(20, 2, 4), ids(2, 2, 4), f(20, hidden), f(6, hidden), f(2, hidden), f(hidden), f(hidden)]
    yield Case("embed", "EmbedLayerNormalization", embed, outputs=2, epsilon=1e-5)
    yield Case("embed_mask", "EmbedLayerNormalization", [*embed, np.array([[1, 1, 1, 0], [1, 1, 0, 0]], np.int32)], outputs=2)
    yield Case("embed_one_segment", "EmbedLayerNormalization", [embed[0], None, embed[2], embed[3], None, embed[5], embed[6]], outputs=2)


def group_cases():
    """Groups of queries share heads of keys; caches as long as what they hold, or with room for more."""
    size, q_heads, heads = 16, 4, 2
    groups = {"num_heads": q_heads, "kv_num_heads": heads}

    def parts(batch, length):
        return f(batch, length, q_heads * size), f(batch, length, heads * size), f(batch, length, heads * size)

    def lengths(*items):
        return np.array([item - 1 for item in items], np.int32), np.array(max(items), np.int32)

    def caches(batch, length):
        return f(batch, heads, length, size), f(batch, heads, length, size)

    angles = f(32, size // 2)
    tables = [np.cos(angles), np.sin(angles)]
    prompt = [*parts(2, 5), None, None, *lengths(5, 5)]
    step = [*parts(2, 1), *caches(2, 6), *lengths(7, 7)]
    counted = {"constants": (6,), "outputs": 3}
    yield Case("group_prompt", "GroupQueryAttention", prompt, **counted, **groups)
    yield Case("group_step", "GroupQueryAttention", step, **counted, **groups)
    yield Case("group_total", "GroupQueryAttention", step, outputs=3, **groups)
    yield Case("group_chunk", "GroupQueryAttention", [*parts(1, 3), *caches(1, 4), *lengths(7)], **counted, **groups)
    yield Case("group_room", "GroupQueryAttention", [*parts(2, 1), *caches(2, 9), *lengths(9, 9)], **counted, **groups)
    ragged = caches(2, 9)
    for cache in ragged:
        cache[0, :, 6:] = 0  # what lies behind the keys of a sample is not defined
    yield Case("group_ragged", "GroupQueryAttention", [*parts(2, 1), *ragged, *lengths(7, 9)], **counted, **groups)
    yield Case("group_scale", "GroupQueryAttention", prompt, scale=0.3, softcap=2.0, **counted, **groups)
    yield Case("group_rotary", "GroupQueryAttention", [*prompt, *tables], do_rotary=1, **counted, **groups)
    yield Case("group_rotary_step", "GroupQueryAttention", [*step, *tables], do_rotary=1, rotary_interleaved=1, **counted, **groups)
    yield Case("group_window", "GroupQueryAttention", [*parts(2, 9), None, None, *lengths(9, 9)], local_window_size=3, **counted, **groups)
    yield Case("group_window_step", "GroupQueryAttention", step, local_window_size=3, **counted, **groups)
    packed = [f(2, 5, (q_heads + 2 * heads) * size), None, None, None, None, *lengths(5, 5)]
    yield Case("group_packed", "GroupQueryAttention", packed, **counted, **groups)
    yield Case("group_packed_rotary", "GroupQueryAttention", [*packed, *tables], do_rotary=1, **counted, **groups)
    bias = f(2, q_heads, 1, 7)
    yield Case("group_bias", "GroupQueryAttention", [*step, None, None, None, bias], **counted, **groups)


def attention_cases():
    hidden, heads = 8, 2
    rows, weights, bias = f(2, 4, hidden), f(hidden, 3 * hidden), f(3 * hidden)
    lengths = np.array([4, 2], np.int32)
    pattern = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], np.int32)
    yield Case("attention", "Attention", [rows, weights, bias], constants=(1, 2), num_heads=heads)
    yield Case("attention_lengths", "Attention", [rows, weights, bias, lengths], constants=(1, 2), num_heads=heads)
    yield Case("attention_pattern", "Attention", [rows, weights, bias, pattern], constants=(1, 2), num_heads=heads)
    yield Case("attention_causal", "Attention", [rows, weights, bias], constants=(1, 2), num_heads=heads, unidirectional=1)
    past = f(2, 2, heads, 3, hidden // heads)
    yield Case(
        "attention_past", "Attention", [rows, weights, bias, None, past], outputs=2, constants=(1, 2), num_heads=heads, unidirectional=1
    )
    q, k, v = f(2, 4, hidden), f(2, 5, hidden), f(2, 5, hidden)
    yield Case("multi_head", "MultiHeadAttention", [q, k, v], num_heads=heads)
    yield Case("multi_head_bias", "MultiHeadAttention", [q, k, v, bias], constants=(3,), num_heads=heads)
    pad = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int32)
    yield Case("multi_head_mask", "MultiHeadAttention", [q, k, v, None, pad], num_heads=heads)
    yield Case("multi_head_scores", "MultiHeadAttention", [q, k, v, None, None, f(2, heads, 4, 5)], num_heads=heads, scale=0.3)
    caches = [f(2, heads, 3, hidden // heads), f(2, heads, 3, hidden // heads)]
    yield Case("multi_head_past", "MultiHeadAttention", [q, k, v, None, None, None, *caches], outputs=3, num_heads=heads)
    yield from group_cases()
    angles = f(16, 2)
    tables = [np.cos(angles), np.sin(angles)]
    places = np.tile(np.arange(4), (2, 1)).astype(np.int64)
    yield Case("rotary", "RotaryEmbedding", [rows, places, *tables])
    yield Case("rotary_interleaved", "RotaryEmbedding", [rows, places, *tables], interleaved=1)
    yield Case("rotary_from", "RotaryEmbedding", [rows, np.array([3], np.int64), *tables])
    yield Case("rotary_heads", "RotaryEmbedding", [f(2, 2, 4, 4), places, *tables])


def quantized_cases():
    a, b = u8(2, 3, 4), u8(2, 3, 4)
    two = [a, s(0.05), zero(120), b, s(0.03), zero(100), s(0.07), zero(128)]
    scales = (1, 2, 4, 5, 6, 7)
    yield Case("qlinear_add", "QLinearAdd", two, constants=scales, steps=1)
    yield Case("qlinear_mul", "QLinearMul", two, constants=scales, steps=1)
    one = [u8(1, 4, 6), s(0.05), zero(120), s(0.03), zero(100)]
    yield Case("qlinear_leaky", "QLinearLeakyRelu", one, constants=(1, 2, 3, 4), steps=1, alpha=0.1)
    yield Case("qlinear_sigmoid", "QLinearSigmoid", one, constants=(1, 2, 3, 4), steps=1)
    soft = [u8(2, 6), s(0.05), zero(120), s(1 / 256), zero(0)]
    yield Case("qlinear_softmax", "QLinearSoftmax", soft, constants=(1, 2, 3, 4), steps=1, axis=-1, opset=13)
    pool = [u8(1, 3, 6, 6), s(0.05), zero(120), s(0.04), zero(110)]
    yield Case("qlinear_average", "QLinearAveragePool", pool, constants=(1, 2, 3, 4), steps=1, kernel_shape=[2, 2], strides=[2, 2])
    yield Case("qlinear_global", "QLinearGlobalAveragePool", pool, constants=(1, 2, 3, 4), steps=1, channels_last=0)
    join = [s(0.05), zero(120), a, s(0.03), zero(100), b, s(0.04), zero(99)]
    yield Case("qlinear_concat", "QLinearConcat", join, constants=(0, 1, 3, 4, 6, 7), steps=1, axis=1)
    gemm = [u8(3, 4), s(0.05), zero(120), i8(4, 5), s(0.02), zero(0, np.int8), ids(100, 5), s(0.1), zero(128)]
    yield Case("qgemm", "QGemm", gemm, constants=(1, 2, 3, 4, 5, 6, 7, 8), steps=1)
    yield Case("qgemm_float", "QGemm", gemm[:7], constants=(1, 2, 3, 4, 5, 6))
    yield Case("dynamic_matmul", "DynamicQuantizeMatMul", [f(3, 8), i8(8, 5), s(0.02), zero(0, np.int8), f(5)], constants=(1, 2, 3, 4))
    yield Case(
        "matmul_to_float", "MatMulIntegerToFloat", [u8(3, 8), i8(8, 5), s(0.05), s(0.02), zero(120), zero(0, np.int8), f(5)], constants=(1, 3)
    )
    yield Case("quantize", "QuantizeLinear", [f(3, 4), s(0.05), zero(120)], constants=(1, 2), steps=1)
    yield Case("dequantize", "DequantizeLinear", [u8(3, 4), s(0.05), zero(120)], constants=(1, 2))
    packed, block_scales = u8(6, 2, 16), f(6, 2)
    bits = {"K": 64, "N": 6, "bits": 4, "block_size": 32}
    yield Case("matmul_4_bits", "MatMulNBits", [f(3, 64), packed, block_scales.reshape(-1)], constants=(1, 2), **bits)
    yield Case("matmul_4_bits_zero", "MatMulNBits", [f(3, 64), packed, block_scales.reshape(-1), u8(6)], constants=(1, 2, 3), **bits)
    for rows, k, n, width, block, zeros in ((1, 256, 130, 4, 32, False), (1, 128, 67, 4, 16, True), (11, 256, 80, 4, 128, True),
                                            (40, 96, 300, 4, 32, False), (33, 64, 135, 4, 64, True), (2, 100, 9, 4, 32, True),
                                            (5, 64, 33, 8, 32, True)):  # fmt: skip
        blocks = (k + block - 1) // block
        operands = [f(rows, k), u8(n, blocks, block * width // 8), f(n * blocks)]
        if zeros:
            operands.append(u8(n * ((blocks * width + 7) // 8)))
        name = f"matmul_bits_{rows}_{k}_{n}_{width}_{block}"
        yield Case(name, "MatMulNBits", operands, constants=(1, 2, 3), K=k, N=n, bits=width, block_size=block)
        # Operands rounded to 8 bits, but for weights of 8 bits and rows with a part of a block.
        bound = FLOAT_OR_BYTES if width == 8 or k % block else RELATIVE
        yield Case(f"{name}_bytes", "MatMulNBits", operands, constants=(1, 2, 3), relative=bound, K=k, N=n, bits=width, block_size=block,
                   accuracy_level=4)  # fmt: skip
    for rows in (1, 23, 24, 43):
        operands = [f(rows, 96), u8(150, 3, 16), f(450), u8(300)]
        yield Case(f"matmul_bits_open_{rows}", "MatMulNBits", operands, constants=(1, 2, 3), open=True, K=96, N=150, bits=4, block_size=32)
    operands = [f(5, 7, 64), u8(140, 2, 16), f(280)]
    yield Case("matmul_bits_batch", "MatMulNBits", operands, constants=(1, 2), open=True, K=64, N=140, bits=4, block_size=32)


def build(case):
    """The model of one node: operands are inputs or, where the case says so, initializers."""
    names = [f"in{index}" if array is not None else "" for index, array in enumerate(case.inputs)]
    wanted = range(case.outputs) if isinstance(case.outputs, int) else case.outputs
    outputs = [f"out{index}" if index in wanted else "" for index in range(max(wanted) + 1)]
    node = helper.make_node(case.op, names, outputs, domain=case.domain, **case.attributes)
    inputs, constants = [], []
    for index, (name, array) in enumerate(zip(names, case.inputs)):
        if array is None:
            continue
        if index in case.constants:
            constants.append(numpy_helper.from_array(array, name))
        else:
            dims = ["rows", *array.shape[1:]] if case.open else array.shape
            inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), dims))
    results = [helper.make_empty_tensor_value_info(name) for name in outputs if name]
    graph = helper.make_graph([node], case.name, inputs, results, constants)
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=9)


def make_folder(case):
    """A case for `sinter test`; None with the reason where ONNX Runtime itself refuses."""
    folder = WORK / case.name
    shutil.rmtree(folder, ignore_errors=True)
    data_set = folder / "test_data_set_0"
    data_set.mkdir(parents=True)
    model = build(case)
    onnx.save(model, folder / "model.onnx")
    feeds = {value.name: case.inputs[int(value.name[2:])] for value in model.graph.input}
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        answers = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]).run(None, feeds)
    except Exception as error:  # of several classes, all meaning a refusal
        return None, str(error)
    for kind, arrays in (("input", feeds.values()), ("output", answers)):
        for index, array in enumerate(arrays):
            (data_set / f"{kind}_{index}.pb").write_bytes(numpy_helper.from_array(array).SerializeToString())
    return folder, ""


def main():
    tally = onnx_cases.Tally()
    for case in [*float_cases(), *attention_cases(), *quantized_cases()]:
        folder, why = make_folder(case)
        if not folder:
            tally.skipped(case.name, f"ONNX Runtime refuses: {why[:120]}")
            continue
        # Integers: the rounding of one step may go the other way.
        bound = ("--rtol=0", "--atol=1") if case.steps else (f"--relative={case.relative}",)
        for target in ("eval", "cpu"):
            outcome, message = next(iter(onnx_cases.run_cases({case.name: folder}, target, *bound).values()))
            tally.check(f"{case.name} {target}", [] if outcome == "passed" else [f"{outcome}: {onnx_cases.first_sentence(message)}"])
    tally.finish()


if __name__ == "__main__":
    main()
