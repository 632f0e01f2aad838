"""Single operators that the part `ops` of the benchmarks times, and whose code tests/suites/operator_code.py looks at: a row each, and models
made of rows.

A row: name, ONNX operator, operands, attributes. An operand is NAME:TYPE[DIMS], with - in place of a name for one that is left out:
  =     in front of the name: a constant of the model, otherwise an input
  {..}  behind: its numbers;  <N: whole numbers below N;  +: no negative ones;  ~: a permutation; otherwise random
An operator behind `q ` is between conversions: u8 inputs are dequantized, i8 constants with a scale for each first dim, i32 ones with the
product of scales, and the result is quantized. `:N` behind an operator: it has so many results, `@N`: of that opset."""
import math
import re

import numpy
from onnx import TensorProto, helper, numpy_helper

OPSET = 21
TYPES = {"f32": "f4", "f16": "f2", "f64": "f8", "i64": "i8", "i32": "i4", "u8": "u1", "i8": "i1", "bool": "?"}
OPERAND = re.compile(r"(=?)(\w+):(\w+)\[([\d,]*)\](?:\{([^}]*)\})?(?:<(\d+))?([+~]?)$")

PADS = {"pads": [1, 1, 1, 1]}
S2 = {"strides": [2, 2]}


def conv(name, x, w, operator="Conv", constant="=", **attributes):
    bias = f" =b:f32[{w.split(',')[0]}]" if operator == "Conv" and constant else ""
    return name, operator, f"x:f32[{x}] {constant}w:f32[{w}]{bias}", attributes


def quantized(name, x, w, **attributes):
    return name, "q Conv", f"x:u8[{x}] =w:i8[{w}] =b:i32[{w.split(',')[0]}]", attributes


def product(name, a, b, constant=False, dtype="f32"):
    return name, "MatMul", f"x:{dtype}[{a}] {'=' * constant}w:{dtype}[{b}]", {}


def pool(name, operator, kernel, stride, pad, channels=64, size=56):
    dtype = "u8" if operator.startswith("q ") else "f32"
    return (name, operator, f"x:{dtype}[1,{channels},{size},{size}]",
            {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4})


def recurrent(operator, gates, batch, units, directions):
    return (f"{operator} {units} units, batch {batch}, {directions} direction(s)", operator,
            f"x:f32[50,{batch},64] =w:f32[{directions},{gates * units},64] =r:f32[{directions},{gates * units},{units}] "
            f"=b:f32[{directions},{2 * gates * units}]",
            {"hidden_size": units, "direction": "bidirectional" if directions == 2 else "forward"})


ROWS = [
    conv("conv 3x3", "1,64,56,56", "64,64,3,3", **PADS),
    conv("conv 3x3, stride 2", "1,64,56,56", "128,64,3,3", **PADS, **S2),
    conv("conv 3x3, 4 groups", "1,128,28,28", "128,32,3,3", group=4, **PADS),
    conv("conv 3x3, 32 groups", "1,128,56,56", "128,4,3,3", group=32, **PADS),
    conv("conv 1x1, 3 groups", "1,240,28,28", "240,80,1,1", group=3),
    conv("conv 3x3, dilated", "1,128,28,28", "128,128,3,3", dilations=[2, 2], pads=[2] * 4),
    conv("conv 5x5", "1,64,28,28", "64,64,5,5", pads=[2] * 4),
    conv("conv 9x9, from 3 channels", "1,3,224,224", "32,3,9,9", pads=[4] * 4),
    conv("conv 9x9, to 3 channels", "1,32,224,224", "3,32,9,9", pads=[4] * 4),
    conv("conv 1d, 7 taps", "1,64,1000", "64,64,7", pads=[3, 3]),
    conv("conv 1d, 15 taps, dilated", "1,64,1000", "64,64,15", dilations=[4], pads=[56, 0]),
    conv("conv 3d", "1,16,16,28,28", "32,16,3,3,3", pads=[1] * 6),
    conv("conv 16x16, stride 16", "1,3,224,224", "384,3,16,16", strides=[16, 16]),
    conv("conv 3x3, weights of the run", "1,64,28,28", "64,64,3,3", constant="", **PADS),
    conv("depthwise 3x3", "1,192,56,56", "192,1,3,3", group=192, **PADS),
    conv("depthwise 7x7", "1,96,56,56", "96,1,7,7", group=96, pads=[3] * 4),
    conv("depthwise 3x3, two for each channel", "1,96,56,56", "192,1,3,3", group=96, **PADS),
    conv("depthwise 3x3, dilated", "1,192,56,56", "192,1,3,3", group=192, dilations=[2, 2], pads=[2] * 4),
    conv("depthwise 1d, 31 taps", "1,256,400", "256,1,31", group=256, pads=[15, 15]),
    conv("depthwise 3x3, stride 2", "1,192,56,56", "192,1,3,3", group=192, **PADS, **S2),
    conv("depthwise 3x3, stride 2, 55 columns", "1,192,55,55", "192,1,3,3", group=192, **PADS, **S2),
    conv("depthwise 3x3, stride 2, 14 columns", "1,576,14,14", "576,1,3,3", group=576, **PADS, **S2),
    conv("depthwise 5x5, stride 2", "1,96,28,28", "96,1,5,5", group=96, pads=[2] * 4, **S2),
    conv("depthwise, weights of the run", "1,192,28,28", "192,1,3,3", constant="", group=192, **PADS),
    conv("transposed 4x4, stride 2", "1,64,56,56", "64,32,4,4", "ConvTranspose", **PADS, **S2),
    conv("transposed 2x2, stride 2", "1,128,56,56", "128,64,2,2", "ConvTranspose", **S2),
    conv("transposed 3x3", "1,64,56,56", "64,64,3,3", "ConvTranspose", **PADS),
    conv("transposed, weights of the run", "1,64,28,28", "64,32,4,4", "ConvTranspose", "", **PADS, **S2),
    conv("transposed 4x4, 8 groups", "1,64,28,28", "64,8,4,4", "ConvTranspose", group=8, **PADS, **S2),
    conv("transposed 1d, 16 taps, stride 8", "1,256,100", "256,128,16", "ConvTranspose", strides=[8], pads=[4, 4]),
    pool("max pool 3x3, stride 2, 112 columns", "MaxPool", 3, 2, 1, 64, 112),
    pool("max pool 2x2, stride 2", "MaxPool", 2, 2, 0),
    pool("max pool 3x3, stride 2", "MaxPool", 3, 2, 0),
    pool("max pool 3x3", "MaxPool", 3, 1, 1),
    pool("max pool 5x5", "MaxPool", 5, 1, 2),
    pool("max pool 9x9", "MaxPool", 9, 1, 4),
    pool("max pool 13x13", "MaxPool", 13, 1, 6, 256, 20),
    pool("average pool 2x2, stride 2", "AveragePool", 2, 2, 0),
    pool("average pool 3x3, stride 2", "AveragePool", 3, 2, 1),
    pool("average pool 3x3", "AveragePool", 3, 1, 1),
    pool("average pool 5x5", "AveragePool", 5, 1, 2),
    pool("average pool 9x9", "AveragePool", 9, 1, 4),
    ("global average pool", "GlobalAveragePool", "x:f32[1,512,28,28]", {}),
    ("LRN", "LRN", "x:f32[1,96,55,55]", {"size": 5}),
    ("instance normalization", "InstanceNormalization", "x:f32[1,32,128,128] =s:f32[32] =b:f32[32]", {}),
    ("group normalization", "GroupNormalization", "x:f32[1,320,32,32] =s:f32[320] =b:f32[320]", {"num_groups": 32}),
    ("layer normalization", "LayerNormalization", "x:f32[1,512,768] =s:f32[768] =b:f32[768]", {}),
    ("softmax", "Softmax", "x:f32[12,256,256]", {}),
    ("softmax, axis 1", "Softmax", "x:f32[1,21,128,128]", {"axis": 1}),
    ("log softmax", "LogSoftmax", "x:f32[64,10000]", {}),
    ("maxima of the middle axis", "ReduceMax", "x:f32[64,128,128] =a:i64[1]{1}", {}),
    ("means of the last two axes", "ReduceMean", "x:f32[64,56,56] =a:i64[2]{1,2}", {}),
    ("norms of the last axis", "ReduceL2", "x:f32[1000,512] =a:i64[1]{1}", {}),
    ("sum of all", "ReduceSum", "x:f32[1000,1000]", {"keepdims": 0}),
    ("arg max of the last axis", "ArgMax", "x:f32[1000,1000]", {"axis": 1}),
    ("arg min of the last axis, i8", "ArgMin", "x:i8[1000,1000]", {"axis": 1}),
    ("arg max of axis 1", "ArgMax", "x:f32[1,21,256,256]", {"axis": 1}),
    ("top 10 of 1000", "TopK:2", "x:f32[256,1000] =k:i64[1]{10}", {}),
    ("top 100 of 50000", "TopK:2", "x:f32[1,50000] =k:i64[1]{100}", {}),
    ("running sums of the last axis", "CumSum", "x:f32[256,1000] =a:i64[]{1}", {}),
    ("running sums of the first axis", "CumSum", "x:f32[1000,256] =a:i64[]{0}", {}),
    ("transpose of the middle axes", "Transpose", "x:f32[8,128,12,64]", {"perm": [0, 2, 1, 3]}),
    ("transpose, channels last", "Transpose", "x:f32[1,256,56,56]", {"perm": [0, 2, 3, 1]}),
    ("transpose of three axes", "Transpose", "x:f32[64,128,96]", {"perm": [2, 1, 0]}),
    ("rows of a table", "Gather", "=w:f32[30000,384] x:i64[1,512]<30000", {}),
    ("columns of a matrix", "Gather", "x:f32[1000,512] =i:i64[256]<512", {"axis": 1}),
    ("elements of a matrix", "GatherElements", "x:f32[1000,512] i:i64[1000,256]<512", {"axis": 1}),
    ("rows into a table", "ScatterND", "x:f32[10000,64] i:i64[1000,1]~ u:f32[1000,64]", {}),
    ("slice, every second element", "Slice", "x:f32[512,1000] =s:i64[1]{0} =e:i64[1]{1000} =a:i64[1]{1} =t:i64[1]{2}", {}),
    ("slice, backwards", "Slice", "x:f32[512,1000] =s:i64[1]{999} =e:i64[1]{-2000} =a:i64[1]{1} =t:i64[1]{-1}", {}),
    ("resize x 2, linear", "Resize", "x:f32[1,64,64,64] - =s:f32[4]{1,1,2,2}", {"mode": "linear"}),
    ("resize x 2, nearest", "Resize", "x:f32[1,64,64,64] - =s:f32[4]{1,1,2,2}", {"mode": "nearest"}),
    ("resize x 2, cubic", "Resize", "x:f32[1,16,64,64] - =s:f32[4]{1,1,2,2}", {"mode": "cubic"}),
    ("resize / 4, linear", "Resize", "x:f32[1,3,720,1280] - =s:f32[4]{1,1,0.25,0.25}", {"mode": "linear"}),
    ("grid sample", "GridSample@20", "x:f32[1,32,64,64] g:f32[1,64,64,2]", {}),
    ("pad, reflected", "Pad", "x:f32[1,16,224,224] =p:i64[8]{0,0,4,4,0,0,4,4}", {"mode": "reflect"}),
    ("pad, edges", "Pad", "x:f32[1,16,224,224] =p:i64[8]{0,0,4,4,0,0,4,4}", {"mode": "edge"}),
    ("pad, zeros", "Pad", "x:f32[1,16,224,224] =p:i64[8]{0,0,4,4,0,0,4,4}", {}),
    ("tile", "Tile", "x:f32[1,256,1,64] =r:i64[4]{1,1,56,1}", {}),
    ("depth to space", "DepthToSpace", "x:f32[1,48,180,320]", {"blocksize": 4, "mode": "CRD"}),
    ("one hot", "OneHot", "x:i64[512]<1000 =d:i64[]{1000} =v:f32[2]{0,1}", {}),
    ("nonzero", "NonZero", "x:bool[1000,1000]", {}),
    ("unique", "Unique", "x:i64[20000]<5000", {}),
    product("product, constant", "512,512", "512,512", True),
    product("product, constant, f16", "512,512", "512,512", True, "f16"),
    product("product, constant, f64", "512,512", "512,512", True, "f64"),
    product("product, i32", "256,256", "256,256", False, "i32"),
    product("products of 8 x 8 matrices", "1000,8,8", "1000,8,8"),
    product("products of 32 x 32 matrices", "96,32,32", "96,32,32"),
    product("matrix and vector", "2048,2048", "2048,1"),
    product("vector and matrix, constant", "1,2048", "2048,2048", True),
    product("vector and matrix", "1,2048", "2048,2048"),
    product("matrix and vector, constant", "2048,1024", "1024,1", True),
    product("8 matrices and vectors", "8,512,512", "8,512,1"),
    ("product of one output, Gemm", "Gemm", "x:f32[256,512] =w:f32[1,512] =b:f32[1]", {"transB": 1}),
    ("transposed matrix and vector", "Gemm", "x:f32[1024,2048] w:f32[1024,1]", {"transA": 1}),
    *(("%d rows and transposed matrix" % rows, "Gemm", f"x:f32[{rows},1024] w:f32[2048,1024]", {"transB": 1}) for rows in (2, 4)),
    product("outer product", "1024,1", "1,1024"),
    product("product of few columns", "4096,16", "16,16"),
    product("product of many steps", "16,65536", "65536,16"),
    *(product(f"product of {columns} columns, constant", "128,768", f"768,{columns}", True) for columns in (1, 3, 9, 17, 33, 91, 1001)),
    ("product, both transposed", "Gemm", "x:f32[384,256] w:f32[512,384]", {"transA": 1, "transB": 1}),
    ("product of heads", "Einsum", "x:f32[1,128,12,64] w:f32[1,128,12,64]", {"equation": "bihd,bjhd->bhij"}),
    ("product of three", "Einsum", "x:f32[64,96] w:f32[96,80] v:f32[80,48]", {"equation": "ij,jk,kl->il"}),
    ("products of bytes, u8 and i8", "MatMulInteger", "x:u8[128,512] =w:i8[512,512]", {}),
    ("products of bytes, u8 and u8", "MatMulInteger", "x:u8[128,512] =w:u8[512,512] =a:u8[]{3} =b:u8[]{5}", {}),
    ("convolution of bytes", "ConvInteger", "x:u8[1,64,28,28] =w:i8[64,64,3,3]", PADS),
    *(recurrent(operator, gates, *size) for operator, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1))
      for size in ((1, 128, 1), (8, 256, 1), (32, 64, 2))),
    *((operator, operator + "@20", "x:f32[1000,500]+", {}) for operator in (
        "Exp Log Tanh Sigmoid Erf Gelu Mish HardSwish Sin Cos Tan Asin Acos Atan Sqrt Softplus Elu Selu Celu Round Floor Sinh Asinh").split()),
    ("Pow", "Pow", "x:f32[1000,500]+ =c:f32[]{2.2}", {}),
    ("Where", "Where", "c:bool[1000,500] x:f32[1000,500] d:f32[1000,1]", {}),
    ("Add of a column", "Add", "x:f32[1000,500] d:f32[1000,1]", {}),
    ("Mod, i64", "Mod", "x:i64[1000,500]<1000 =c:i64[]{7}", {}),
    ("Add, f16", "Add", "x:f16[1000,500] d:f16[1000,500]", {}),
    ("Exp, f16", "Exp", "x:f16[1000,500]", {}),
    ("Exp, f64", "Exp", "x:f64[1000,500]", {}),
    ("Tanh, f64", "Tanh", "x:f64[1000,500]", {}),
    ("f32 to f16", "Cast", "x:f32[1000,500]", {"to": TensorProto.FLOAT16}),
    ("f32 to i64", "Cast", "x:f32[1000,500]", {"to": TensorProto.INT64}),
    ("DFT of 512", "DFT@20", "x:f32[16,512,1] - =a:i64[]{1}", {"onesided": 1}),
    ("DFT of 4096", "DFT@20", "x:f32[1,4096,1] - =a:i64[]{1}", {"onesided": 1}),
    ("STFT", "STFT@17", "x:f32[1,16000,1] =s:i64[]{160} =w:f32[400]+", {}),
    ("STFT of long frames", "STFT@17", "x:f32[1,16000,1] =s:i64[]{256} =w:f32[2048]+", {}),
    quantized("q conv 3x3", "1,64,56,56", "64,64,3,3", **PADS),
    quantized("q conv 1x1", "1,256,28,28", "256,256,1,1"),
    quantized("q conv 3x3, 4 groups", "1,128,28,28", "128,32,3,3", group=4, **PADS),
    quantized("q conv 3x3, 32 groups", "1,128,56,56", "128,4,3,3", group=32, **PADS),
    quantized("q conv 3x3, dilated", "1,128,28,28", "128,128,3,3", dilations=[2, 2], pads=[2] * 4),
    quantized("q conv 3x3, from 3 channels", "1,3,224,224", "32,3,3,3", **PADS, **S2),
    quantized("q depthwise 3x3", "1,192,56,56", "192,1,3,3", group=192, **PADS),
    quantized("q depthwise 5x5", "1,192,28,28", "192,1,5,5", group=192, pads=[2] * 4),
    quantized("q depthwise 3x3, stride 2", "1,192,56,56", "192,1,3,3", group=192, **PADS, **S2),
    ("q add", "q Add", "x:u8[1,256,56,56] d:u8[1,256,56,56]", {}),
    ("q mul", "q Mul", "x:u8[1,256,56,56] d:u8[1,256,56,56]", {}),
    ("q concat", "q Concat", "x:u8[1,128,56,56] d:u8[1,128,56,56]", {"axis": 1}),
    pool("q max pool 3x3, stride 2", "q MaxPool", 3, 2, 1, 64, 112),
    pool("q average pool 3x3", "q AveragePool", 3, 1, 1),
    ("q global average pool", "q GlobalAveragePool", "x:u8[1,512,28,28]", {}),
    ("q resize x 2, linear", "q Resize", "x:u8[1,64,64,64] - =s:f32[4]{1,1,2,2}", {"mode": "linear"}),
    ("q sigmoid", "q Sigmoid", "x:u8[1,256,56,56]", {}),
    ("q hard swish", "q HardSwish", "x:u8[1,256,56,56]", {}),
    ("q softmax", "q Softmax", "x:u8[12,256,256]", {}),
    ("q product", "q MatMul", "x:u8[12,128,128] d:u8[12,128,128]", {}),
]


def make_array(random, operand):
    """(is a constant, name, array) of an operand's text."""
    constant, name, dtype, dims, numbers, bound, kind = OPERAND.match(operand).groups()
    dims = [int(dim) for dim in dims.split(",") if dim]
    dtype = numpy.dtype(TYPES[dtype])
    if numbers:
        array = numpy.array([float(number) for number in numbers.split(",")]).reshape(dims)
    elif kind == "~":
        array = random.permutation(math.prod(dims)).reshape(dims)
    elif dtype.kind == "f":
        array = random.standard_normal(dims) * 0.1
        array = abs(array) if kind == "+" else array
    else:
        low, high = (-127, 128) if dtype == "i1" else (0, 256) if dtype == "u1" else (0, 2)
        array = random.integers(low, int(bound or high), dims)
    return bool(constant), name, array.astype(dtype)


class Model:
    """The model of a row, and its inputs' arrays by name."""

    def __init__(self, row):
        _, operator, operands, attributes = row
        found = re.match(r"(q )?(\w+)(?::(\d+))?(?:@(\d+))?$", operator)
        self.nodes, self.constants, self.feeds = [], {}, {}
        self.is_quantized, name, results, opset = bool(found[1]), found[2], int(found[3] or 1), int(found[4] or OPSET)
        random = numpy.random.default_rng(0)
        names = [self.operand(random, text) for text in operands.split()]
        results = ["y", "z"][:results]
        if self.is_quantized:
            self.constants |= {"y.scale": numpy.float32(0.05), "y.zero": numpy.uint8(128)}
            self.nodes.append(helper.make_node(name, names, ["y.real"], **attributes))
            self.nodes.append(helper.make_node("QuantizeLinear", ["y.real", "y.scale", "y.zero"], results))
        else:
            self.nodes.append(helper.make_node(name, names, results, **attributes))
        values = [helper.make_tensor_value_info(key, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape) for key, array in self.feeds.items()]
        graph = helper.make_graph(self.nodes, "op", values, [helper.ValueInfoProto(name=result) for result in results],
                                  [numpy_helper.from_array(numpy.asarray(array), key) for key, array in self.constants.items()])
        self.proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)

    def operand(self, random, text):
        """The operand's name in the node."""
        if text == "-":
            return ""
        constant, name, array = make_array(random, text)
        (self.constants if constant else self.feeds)[name] = array
        if not self.is_quantized or array.dtype.kind == "f":
            return name
        scale, zero, axis = numpy.float32(0.02), numpy.uint8(120), {}
        if constant:  # a scale for each row of weights, which those of biases are the product of
            scales = (numpy.random.default_rng(1).random(array.shape[0]) * 0.01 + 0.001).astype("f4")
            scale, zero, axis = scales * (scale if array.dtype == "i4" else 1), numpy.zeros(array.shape[0], array.dtype), {"axis": 0}
        self.constants |= {f"{name}.scale": scale, f"{name}.zero": zero}
        self.nodes.append(helper.make_node("DequantizeLinear", [name, f"{name}.scale", f"{name}.zero"], [f"{name}.real"], **axis))
        return f"{name}.real"
