#!/usr/bin/env python3
"""Trains the four embedded models on scikit-learn's handwritten digits and writes them as ONNX.

Writes, beside itself: mlp.onnx, cnn.onnx, lstm.onnx, transformer.onnx, cnn_int8.onnx (quantized), the held-out test split
(digits_test_images.npy, digits_test_labels.npy) and accuracy.json, measured with ONNX Runtime on
the written files. `--check` trains nothing: it checks the files that are there.

Parameters are kept in the layout of the ONNX operator that will read them, so exporting copies
arrays and never permutes them. Each model is one section: initial parameters, forward pass in JAX,
and the same computation as ONNX nodes. After training, both are run on the same inputs and compared.
"""

import argparse
import json
import math
import os
import pathlib
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FOLDER = pathlib.Path(__file__).resolve().parent
CLASSES = 10
ROWS = COLUMNS = 8
TEST_IMAGES = 360
SPLIT_SEED = 20240

# Mean and standard deviation of the pixels of the training split, rounded; part of every model, so
# that callers pass raw pixel values.
PIXEL_MEAN = 4.875
PIXEL_DEVIATION = 6.0

CALIBRATION_IMAGES = 400
BATCH_SIZES = (1, 7)
LENGTHS = (3, 8, 12)


# ---- Writing ONNX ------------------------------------------------------------------------------


class Graph:
    """Collects the nodes and initializers of one ONNX model."""

    def __init__(self, name, opset, ir_version, input_shape, params):
        self.name, self.opset, self.ir_version = name, opset, ir_version
        self.input_shape, self.params = input_shape, params
        self.nodes, self.initializers = [], {}

    def node(self, op_type, inputs, path, outputs=1, **attributes):
        """Adds a node called `path`; returns its output name, or a list of names if it has several."""
        names = [f"{path}_output_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op_type, inputs, names, name=path, **attributes))
        return names[0] if outputs == 1 else names

    def weight(self, name):
        """Makes the trained parameter `name` an initializer and returns its name."""
        return self.initializer(name, self.params[name])

    def initializer(self, name, array):
        self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def constant(self, array, path):
        """A Constant node: where PyTorch's exporter puts small constants, unlike trained weights."""
        return self.node("Constant", [], path, value=numpy_helper.from_array(np.asarray(array)))

    def normalised_input(self):
        centred = self.node(
            "Sub", ["pixels", self.initializer("pixel_mean", np.float32(PIXEL_MEAN))], "/Sub"
        )
        return self.node(
            "Div", [centred, self.initializer("pixel_deviation", np.float32(PIXEL_DEVIATION))], "/Div"
        )

    def finish(self, logits):
        """Names `logits` as the model's output and returns the checked model."""
        for node in self.nodes:
            for i, name in enumerate(node.output):
                if name == logits:
                    node.output[i] = "logits"
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, self.input_shape)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
            list(self.initializers.values()),
        )
        model = helper.make_model(
            graph,
            producer_name="sinter-test-models",
            opset_imports=[helper.make_opsetid("", self.opset)],
            ir_version=self.ir_version,
        )
        onnx.checker.check_model(model, full_check=True)
        return model


# ---- Initial parameters ------------------------------------------------------------------------


def uniform(rng, shape, fan_in):
    bound = 1.0 / math.sqrt(fan_in)
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def add_gemm_params(params, rng, name, inputs, outputs):
    """A fully connected layer read by Gemm with transB=1: weight [outputs, inputs]."""
    params[f"{name}.weight"] = uniform(rng, (outputs, inputs), inputs)
    params[f"{name}.bias"] = np.zeros(outputs, np.float32)


def add_matmul_params(params, rng, name, inputs, outputs):
    """A fully connected layer read by MatMul: weight [inputs, outputs]."""
    params[f"{name}.weight"] = uniform(rng, (inputs, outputs), inputs)
    params[f"{name}.bias"] = np.zeros(outputs, np.float32)


# ---- Multi-layer perceptron --------------------------------------------------------------------


class Mlp:
    """Flatten, two hidden layers with Relu, and a classifier. Opset 13."""

    name = "mlp"
    input_shape = ["batch", ROWS, COLUMNS]
    epochs, learning_rate, seed = 60, 2e-3, 1
    sizes = (ROWS * COLUMNS, 128, 64, CLASSES)

    def init(self, rng):
        params = {}
        for i, (inputs, outputs) in enumerate(zip(self.sizes, self.sizes[1:])):
            add_gemm_params(params, rng, f"layers.{i}", inputs, outputs)
        return params, {}

    def forward(self, jax, params, state, x, training):
        x = x.reshape(x.shape[0], -1)
        last = len(self.sizes) - 2
        for i in range(last + 1):
            x = x @ params[f"layers.{i}.weight"].T + params[f"layers.{i}.bias"]
            if i < last:
                x = jax.nn.relu(x)
        return x, state

    def export(self, params):
        g = Graph(self.name, 13, 7, self.input_shape, params)
        x = g.node("Flatten", [g.normalised_input()], "/Flatten", axis=1)
        last = len(self.sizes) - 2
        for i in range(last + 1):
            path = f"/layers.{i}"
            weights = [g.weight(f"layers.{i}.weight"), g.weight(f"layers.{i}.bias")]
            x = g.node("Gemm", [x, *weights], f"{path}/Gemm", alpha=1.0, beta=1.0, transB=1)
            if i < last:
                x = g.node("Relu", [x], f"{path}/Relu")
        return g.finish(x)


# ---- Convolutional network ---------------------------------------------------------------------


class Cnn:
    """Convolutions with batch normalization, one residual block, global average pooling. Opset 17."""

    name = "cnn"
    input_shape = ["batch", ROWS, COLUMNS]
    epochs, learning_rate, seed = 30, 4e-3, 2
    epsilon, momentum = 1e-5, 0.9

    # name: input channels, output channels, bias. A bias before batch normalization is redundant for
    # accuracy; one convolution has it so that folding must handle both cases.
    convolutions = {
        "stem": (1, 24, True),
        "block.0": (24, 24, False),
        "block.1": (24, 24, False),
        "head": (24, 48, False),
    }

    def init(self, rng):
        params, state = {}, {}
        for name, (inputs, outputs, bias) in self.convolutions.items():
            params[f"{name}.conv.weight"] = uniform(rng, (outputs, inputs, 3, 3), inputs * 9 / 3)
            if bias:
                params[f"{name}.conv.bias"] = uniform(rng, (outputs,), inputs * 9)
            params[f"{name}.norm.weight"] = np.ones(outputs, np.float32)
            params[f"{name}.norm.bias"] = np.zeros(outputs, np.float32)
            state[f"{name}.norm.running_mean"] = np.zeros(outputs, np.float32)
            state[f"{name}.norm.running_var"] = np.ones(outputs, np.float32)
        add_gemm_params(params, rng, "classifier", 48, CLASSES)
        return params, state

    def forward(self, jax, params, state, x, training):
        lax, jnp = jax.lax, jax.numpy
        new_state = dict(state)

        def convolve(x, name):
            x = lax.conv_general_dilated(x, params[f"{name}.conv.weight"], (1, 1), ((1, 1), (1, 1)))
            if f"{name}.conv.bias" in params:
                x = x + params[f"{name}.conv.bias"][:, None, None]
            mean_name, variance_name = f"{name}.norm.running_mean", f"{name}.norm.running_var"
            if training:
                mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
                for key, value in ((mean_name, mean), (variance_name, variance)):
                    new_state[key] = self.momentum * state[key] + (1 - self.momentum) * value
            else:
                mean, variance = state[mean_name], state[variance_name]
            scale = params[f"{name}.norm.weight"] / jnp.sqrt(variance + self.epsilon)
            x = (x - mean[:, None, None]) * scale[:, None, None]
            return x + params[f"{name}.norm.bias"][:, None, None]

        def max_pool(x):
            return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

        x = max_pool(jax.nn.relu(convolve(x[:, None], "stem")))
        residual = jax.nn.relu(convolve(x, "block.0"))
        x = jax.nn.relu(convolve(residual, "block.1") + x)
        x = max_pool(jax.nn.relu(convolve(x, "head")))
        x = x.mean((2, 3))
        return x @ params["classifier.weight"].T + params["classifier.bias"], new_state

    def export(self, params):
        g = Graph(self.name, 17, 8, self.input_shape, params)

        def convolve(x, name):
            path = "/" + name.replace(".", "/")
            inputs = [x, g.weight(f"{name}.conv.weight")]
            if f"{name}.conv.bias" in params:
                inputs.append(g.weight(f"{name}.conv.bias"))
            x = g.node(
                "Conv", inputs, f"{path}/Conv",
                dilations=[1, 1], group=1, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1],
            )
            norm = ("weight", "bias", "running_mean", "running_var")
            weights = [g.weight(f"{name}.norm.{which}") for which in norm]
            return g.node(
                "BatchNormalization", [x, *weights], f"{path}/BatchNormalization",
                epsilon=self.epsilon, momentum=self.momentum,
            )

        def max_pool(x, path):
            return g.node(
                "MaxPool", [x], f"{path}/MaxPool",
                ceil_mode=0, kernel_shape=[2, 2], pads=[0, 0, 0, 0], strides=[2, 2],
            )

        channel_axis = g.constant(np.array([1], np.int64), "/Constant")
        x = g.node("Unsqueeze", [g.normalised_input(), channel_axis], "/Unsqueeze")
        x = max_pool(g.node("Relu", [convolve(x, "stem")], "/stem/Relu"), "/stem")
        residual = g.node("Relu", [convolve(x, "block.0")], "/block/Relu")
        x = g.node("Add", [convolve(residual, "block.1"), x], "/block/Add")
        x = g.node("Relu", [x], "/block/Relu_1")
        x = max_pool(g.node("Relu", [convolve(x, "head")], "/head/Relu"), "/head")
        x = g.node("GlobalAveragePool", [x], "/GlobalAveragePool")
        x = g.node("Flatten", [x], "/Flatten", axis=1)
        weights = [g.weight("classifier.weight"), g.weight("classifier.bias")]
        return g.finish(g.node("Gemm", [x, *weights], "/classifier/Gemm", transB=1))


# ---- Long short-term memory --------------------------------------------------------------------


class Lstm:
    """One bidirectional LSTM over the rows; its mean and its last states are classified. Opset 18."""

    name = "lstm"
    input_shape = ["batch", "length", COLUMNS]
    epochs, learning_rate, seed = 120, 4e-3, 3
    hidden = 48

    def init(self, rng):
        # ONNX keeps the gates in the order input, output, forget, cell, and the biases of the input
        # and of the recurrent product as two halves of one vector.
        h = self.hidden
        params = {
            "lstm.weight": uniform(rng, (2, 4 * h, COLUMNS), h),
            "lstm.recurrence": uniform(rng, (2, 4 * h, h), h),
            "lstm.bias": uniform(rng, (2, 8 * h), h),
        }
        add_gemm_params(params, rng, "classifier", 4 * h, CLASSES)
        return params, {}

    def forward(self, jax, params, state, x, training):
        jnp, h = jax.numpy, self.hidden
        rows = x.transpose(1, 0, 2)

        def direction(index, reverse):
            weight, recurrence = params["lstm.weight"][index], params["lstm.recurrence"][index]
            bias = params["lstm.bias"][index, : 4 * h] + params["lstm.bias"][index, 4 * h :]

            def step(carry, row):
                hidden, cell = carry
                gates = row @ weight.T + hidden @ recurrence.T + bias
                i, o, f, c = jnp.split(gates, 4, axis=-1)
                cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(c)
                hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
                return (hidden, cell), hidden

            zeros = jnp.zeros((x.shape[0], h), x.dtype)
            (last, _), states = jax.lax.scan(step, (zeros, zeros), rows, reverse=reverse)
            return jnp.concatenate([states.mean(0), last], axis=-1)

        x = jnp.concatenate([direction(0, False), direction(1, True)], axis=-1)
        return x @ params["classifier.weight"].T + params["classifier.bias"], state

    def export(self, params):
        # Opset 18 is where ReduceMean takes its axes as an input instead of an attribute.
        g = Graph(self.name, 18, 8, self.input_shape, params)
        rows = g.node("Transpose", [g.normalised_input()], "/Transpose", perm=[1, 0, 2])
        weights = [g.weight(f"lstm.{which}") for which in ("weight", "recurrence", "bias")]
        states, last = g.node(
            "LSTM", [rows, *weights], "/lstm/LSTM",
            outputs=2, direction="bidirectional", hidden_size=self.hidden,
        )
        length_axis = g.initializer("length_axis", np.array([0], np.int64))
        mean = g.node("ReduceMean", [states, length_axis], "/ReduceMean", keepdims=0)
        x = g.node("Concat", [mean, last], "/Concat", axis=-1)
        x = g.node("Transpose", [x], "/Transpose_1", perm=[1, 0, 2])
        x = g.node(
            "Reshape", [x, g.initializer("flat_shape", np.array([0, -1], np.int64))], "/Reshape"
        )
        weights = [g.weight("classifier.weight"), g.weight("classifier.bias")]
        return g.finish(g.node("Gemm", [x, *weights], "/classifier/Gemm", transB=1))


# ---- Transformer -------------------------------------------------------------------------------


class Transformer:
    """Two post-norm encoder layers over the rows, mean pooled, written as PyTorch exports them. Opset 17.

    Reshape targets are computed at run time from Shape, Gather and Concat. Layer 0 has its layer
    normalizations spelled out in elementary operators, layer 1 has them as LayerNormalization.
    """

    name = "transformer"
    input_shape = ["batch", "length", COLUMNS]
    epochs, learning_rate, seed = 80, 2e-3, 4
    layers, width, heads, feed_forward = 2, 48, 4, 96
    head_width = width // heads
    epsilon = 1e-5
    max_length = 64  # rows of the table of positions, and so the longest sequence accepted

    def init(self, rng):
        params = {}
        add_matmul_params(params, rng, "embedding", COLUMNS, self.width)
        for layer in range(self.layers):
            prefix = f"layers.{layer}"
            for part in ("query", "key", "value", "output"):
                add_matmul_params(params, rng, f"{prefix}.attention.{part}", self.width, self.width)
            add_matmul_params(params, rng, f"{prefix}.linear1", self.width, self.feed_forward)
            add_matmul_params(params, rng, f"{prefix}.linear2", self.feed_forward, self.width)
            for norm in ("norm1", "norm2"):
                params[f"{prefix}.{norm}.weight"] = np.ones(self.width, np.float32)
                params[f"{prefix}.{norm}.bias"] = np.zeros(self.width, np.float32)
        add_gemm_params(params, rng, "classifier", self.width, CLASSES)
        return params, {}

    def positions(self):
        """Sinusoidal position encoding [1, max_length, width] (Vaswani et al., 2017, section 3.5)."""
        position = np.arange(self.max_length)[:, None]
        frequency = np.exp(-math.log(10000.0) * np.arange(0, self.width, 2) / self.width)
        table = np.empty((1, self.max_length, self.width), np.float32)
        table[0, :, 0::2] = np.sin(position * frequency)
        table[0, :, 1::2] = np.cos(position * frequency)
        return table

    def forward(self, jax, params, state, x, training):
        jnp = jax.numpy
        batch, length, _ = x.shape

        def linear(x, name):
            return params[f"{name}.bias"] + x @ params[f"{name}.weight"]

        def layer_norm(x, name):
            centred = x - x.mean(-1, keepdims=True)
            deviation = jnp.sqrt((centred**2).mean(-1, keepdims=True) + self.epsilon)
            return centred / deviation * params[f"{name}.weight"] + params[f"{name}.bias"]

        def attention(x, name):
            def split(x):
                return x.reshape(batch, length, self.heads, self.head_width).transpose(0, 2, 1, 3)

            query, key, value = (
                split(linear(x, f"{name}.{part}")) for part in ("query", "key", "value")
            )
            scores = query @ key.swapaxes(2, 3) / math.sqrt(self.head_width)
            x = (jax.nn.softmax(scores, -1) @ value).transpose(0, 2, 1, 3)
            return linear(x.reshape(batch, length, self.width), f"{name}.output")

        x = linear(x, "embedding") + self.positions()[:, :length]
        for layer in range(self.layers):
            prefix = f"layers.{layer}"
            x = layer_norm(x + attention(x, f"{prefix}.attention"), f"{prefix}.norm1")
            hidden = jax.nn.gelu(linear(x, f"{prefix}.linear1"), approximate=False)
            x = layer_norm(x + linear(hidden, f"{prefix}.linear2"), f"{prefix}.norm2")
        x = x.mean(1)
        return x @ params["classifier.weight"].T + params["classifier.bias"], state

    def export(self, params):
        g = Graph(self.name, 17, 8, self.input_shape, params)
        int64 = lambda *values: np.array(values, np.int64)

        def linear(x, name, path):
            product = g.node("MatMul", [x, g.weight(f"{name}.weight")], f"{path}/MatMul")
            return g.node("Add", [g.weight(f"{name}.bias"), product], f"{path}/Add")

        def dimension(x, axis, path):
            """The size of one axis of `x`, as a scalar computed at run time."""
            shape = g.node("Shape", [x], f"{path}/Shape")
            index = g.constant(np.int64(axis), f"{path}/Constant")
            return g.node("Gather", [shape, index], f"{path}/Gather", axis=0)

        def reshape(x, dimensions, path):
            """Reshapes to `dimensions`: numbers, or names of scalars computed at run time."""
            axes = g.constant(int64(0), f"{path}/Constant_axes")
            parts = []
            for i, size in enumerate(dimensions):
                if isinstance(size, str):
                    parts.append(g.node("Unsqueeze", [size, axes], f"{path}/Unsqueeze_{i}"))
                else:
                    parts.append(g.constant(int64(size), f"{path}/Constant_{i}"))
            target = g.node("Concat", parts, f"{path}/Concat", axis=0)
            return g.node("Reshape", [x, target], f"{path}/Reshape", allowzero=0)

        def elementary_layer_norm(x, name, path):
            mean = g.node("ReduceMean", [x], f"{path}/ReduceMean", axes=[-1], keepdims=1)
            centred = g.node("Sub", [x, mean], f"{path}/Sub")
            two = g.constant(np.float32(2.0), f"{path}/Constant")
            square = g.node("Pow", [centred, two], f"{path}/Pow")
            variance = g.node("ReduceMean", [square], f"{path}/ReduceMean_1", axes=[-1], keepdims=1)
            epsilon = g.constant(np.float32(self.epsilon), f"{path}/Constant_1")
            deviation = g.node("Add", [variance, epsilon], f"{path}/Add")
            deviation = g.node("Sqrt", [deviation], f"{path}/Sqrt")
            x = g.node("Div", [centred, deviation], f"{path}/Div")
            x = g.node("Mul", [x, g.weight(f"{name}.weight")], f"{path}/Mul")
            return g.node("Add", [x, g.weight(f"{name}.bias")], f"{path}/Add_1")

        def layer_norm(x, name, path):
            return g.node(
                "LayerNormalization",
                [x, g.weight(f"{name}.weight"), g.weight(f"{name}.bias")],
                f"{path}/LayerNormalization", axis=-1, epsilon=self.epsilon,
            )

        def gelu(x, path):
            root = g.constant(np.float32(math.sqrt(2.0)), f"{path}/Constant")
            erf = g.node("Erf", [g.node("Div", [x, root], f"{path}/Div")], f"{path}/Erf")
            one = g.constant(np.float32(1.0), f"{path}/Constant_1")
            product = g.node("Mul", [x, g.node("Add", [erf, one], f"{path}/Add")], f"{path}/Mul")
            half = g.constant(np.float32(0.5), f"{path}/Constant_2")
            return g.node("Mul", [product, half], f"{path}/Mul_1")

        def attention(x, name, path):
            batch = dimension(x, 0, f"{path}/batch")
            length = dimension(x, 1, f"{path}/length")

            def split(part, perm):
                y = linear(x, f"{name}.{part}", f"{path}/{part}")
                y = reshape(y, [batch, length, self.heads, self.head_width], f"{path}/{part}")
                return g.node("Transpose", [y], f"{path}/{part}/Transpose", perm=perm)

            query = split("query", [0, 2, 1, 3])
            key = split("key", [0, 2, 3, 1])
            value = split("value", [0, 2, 1, 3])
            scores = g.node("MatMul", [query, key], f"{path}/MatMul")
            root = g.constant(np.float32(math.sqrt(self.head_width)), f"{path}/Constant")
            scores = g.node("Div", [scores, root], f"{path}/Div")
            weights = g.node("Softmax", [scores], f"{path}/Softmax", axis=-1)
            y = g.node("MatMul", [weights, value], f"{path}/MatMul_1")
            y = g.node("Transpose", [y], f"{path}/Transpose", perm=[0, 2, 1, 3])
            y = reshape(y, [batch, length, self.width], f"{path}/merge")
            return linear(y, f"{name}.output", f"{path}/output")

        x = linear(g.normalised_input(), "embedding", "/embedding")
        axis = g.constant(int64(1), "/positions/Constant_axes")
        start = g.constant(int64(0), "/positions/Constant_start")
        end = g.node(
            "Unsqueeze", [dimension(x, 1, "/positions"), start], "/positions/Unsqueeze"
        )
        table = g.initializer("positions", self.positions())
        rows = g.node("Slice", [table, start, end, axis], "/positions/Slice")
        x = g.node("Add", [x, rows], "/positions/Add")
        for layer in range(self.layers):
            prefix, path = f"layers.{layer}", f"/layers.{layer}"
            normalise = elementary_layer_norm if layer == 0 else layer_norm
            attended = attention(x, f"{prefix}.attention", f"{path}/attention")
            x = g.node("Add", [x, attended], f"{path}/Add")
            x = normalise(x, f"{prefix}.norm1", f"{path}/norm1")
            hidden = gelu(linear(x, f"{prefix}.linear1", f"{path}/linear1"), f"{path}/gelu")
            hidden = linear(hidden, f"{prefix}.linear2", f"{path}/linear2")
            x = g.node("Add", [x, hidden], f"{path}/Add_1")
            x = normalise(x, f"{prefix}.norm2", f"{path}/norm2")
        x = g.node("ReduceMean", [x], "/ReduceMean", axes=[1], keepdims=0)
        weights = [g.weight("classifier.weight"), g.weight("classifier.bias")]
        return g.finish(g.node("Gemm", [x, *weights], "/classifier/Gemm", transB=1))


MODELS = (Mlp(), Cnn(), Lstm(), Transformer())


# ---- Training ----------------------------------------------------------------------------------


def load_split():
    """Returns (training images, test images, training labels, test labels), stratified by label."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    return train_test_split(
        digits.images.astype(np.float32),
        digits.target.astype(np.int64),
        test_size=TEST_IMAGES,
        random_state=SPLIT_SEED,
        stratify=digits.target,
    )


def train(model, images, labels):
    """Trains `model`; returns its parameters and state, and its forward pass on raw pixel values."""
    # XLA splits sums by the number of processors it may use, so the weights would depend on it. It
    # asks once, when JAX is first used.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    import jax
    import optax

    jnp, batch = jax.numpy, 64
    params, state = jax.tree.map(jnp.asarray, model.init(np.random.default_rng(model.seed)))
    steps = len(images) // batch
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, model.learning_rate, 2 * steps, model.epochs * steps
    )
    optimizer = optax.adamw(
        schedule, weight_decay=0.02, mask=lambda tree: jax.tree.map(lambda leaf: leaf.ndim > 1, tree)
    )
    optimizer_state = optimizer.init(params)

    def normalise(pixels):
        return (pixels - PIXEL_MEAN) / PIXEL_DEVIATION

    def augment(key, pixels):
        """Moves a third of the images by at most one pixel on each axis; adds a little noise to all.

        Only a third, because digits fill all eight rows and a move cuts one off. The share and the
        numbers of epochs were chosen by cross-validation inside the training split.
        """
        choice_key, shift_key, noise_key = jax.random.split(key, 3)
        moved = jax.random.bernoulli(choice_key, 1 / 3, (len(pixels), 1))
        offsets = jnp.where(moved, jax.random.randint(shift_key, (len(pixels), 2), 0, 3), 1)
        padded = jnp.pad(pixels, ((0, 0), (1, 1), (1, 1)))
        crop = lambda image, at: jax.lax.dynamic_slice(image, (at[0], at[1]), (ROWS, COLUMNS))
        return jax.vmap(crop)(padded, offsets) + jax.random.normal(noise_key, pixels.shape)

    def loss_function(params, state, pixels, labels):
        logits, state = model.forward(jax, params, state, normalise(pixels), True)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), state

    @jax.jit
    def run_epoch(params, state, optimizer_state, key):
        def step(carry, inputs):
            params, state, optimizer_state = carry
            indices, key = inputs
            pixels = augment(key, images[indices])
            (loss, state), gradients = jax.value_and_grad(loss_function, has_aux=True)(
                params, state, pixels, labels[indices]
            )
            updates, optimizer_state = optimizer.update(gradients, optimizer_state, params)
            return (optax.apply_updates(params, updates), state, optimizer_state), loss

        order_key, augment_key = jax.random.split(key)
        order = jax.random.permutation(order_key, len(images))[: steps * batch]
        carry, losses = jax.lax.scan(
            step,
            (params, state, optimizer_state),
            (order.reshape(steps, batch), jax.random.split(augment_key, steps)),
        )
        return *carry, losses.mean()

    images, labels = jnp.asarray(images), jnp.asarray(labels)
    start = time.monotonic()
    for key in jax.random.split(jax.random.key(model.seed), model.epochs):
        params, state, optimizer_state, loss = run_epoch(params, state, optimizer_state, key)
    print(f"{model.name}: training loss {loss:.4f}, {time.monotonic() - start:.0f} s", flush=True)

    def forward(pixels):
        return np.asarray(model.forward(jax, params, state, normalise(pixels), False)[0])

    return jax.tree.map(np.asarray, {**params, **state}), forward


# ---- Quantization ------------------------------------------------------------------------------


def quantize_cnn(training_images):
    """Writes cnn_int8.onnx: cnn.onnx with 8-bit weights per channel and 8-bit activations, as QuantizeLinear and
    DequantizeLinear pairs, calibrated on training images."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.batches = iter(np.split(training_images[:CALIBRATION_IMAGES], CALIBRATION_IMAGES // 50))

        def get_next(self):
            batch = next(self.batches, None)
            return None if batch is None else {"pixels": batch}

    target, prepared = FOLDER / "cnn_int8.onnx", FOLDER / "cnn_prepared.onnx"
    quant_pre_process(str(FOLDER / "cnn.onnx"), str(prepared), skip_symbolic_shape=True)
    quantization.quantize_static(
        str(prepared),
        str(target),
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    prepared.unlink()


# ---- Checking ----------------------------------------------------------------------------------


def open_session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def input_shapes(model):
    """Concrete input shapes that the model must accept."""
    lengths = LENGTHS if "length" in model.input_shape else (ROWS,)
    return [(batch, length, COLUMNS) for batch in BATCH_SIZES for length in lengths]


def relative_error(actual, expected):
    return np.abs(actual - expected).max() / np.abs(expected).max()


def check_shapes(model, session, forward=None):
    """Runs the model at several shapes; each row must not depend on the batch it is in.

    With `forward`, the forward pass that was trained, also compares with it.
    """
    rng = np.random.default_rng(0)
    for shape in input_shapes(model):
        pixels = rng.integers(0, 17, shape).astype(np.float32)
        logits = session.run(["logits"], {"pixels": pixels})[0]
        rows = [session.run(["logits"], {"pixels": row[None]})[0] for row in pixels]
        assert logits.shape == (shape[0], CLASSES), (model.name, shape, logits.shape)
        assert relative_error(logits, np.concatenate(rows)) < 1e-5, (model.name, shape)
        if forward is not None:
            error = relative_error(logits, forward(pixels))
            assert error < 1e-5, f"{model.name} {shape}: ONNX differs from JAX by {error:.1e}"


def measure(session, images, labels):
    """Returns (accuracy, the smallest gap between the two largest logits of any test image).

    The gap says how far another implementation may be off before the accuracy can change.
    """
    logits = session.run(["logits"], {"pixels": images})[0]
    ordered = np.sort(logits, axis=1)
    accuracy = (logits.argmax(1) == labels).mean()
    return round(float(accuracy), 6), float((ordered[:, -1] - ordered[:, -2]).min())


def check_files():
    """Checks the stored models against accuracy.json. Returns lines for the table of the README."""
    images = np.load(FOLDER / "digits_test_images.npy")
    labels = np.load(FOLDER / "digits_test_labels.npy")
    recorded = json.loads((FOLDER / "accuracy.json").read_text())
    lines = []
    for model in MODELS:
        path = FOLDER / f"{model.name}.onnx"
        onnx.checker.check_model(onnx.load(path), full_check=True)
        session = open_session(path)
        check_shapes(model, session)
        accuracy, gap = measure(session, images, labels)
        entry = {"accuracy": accuracy, "input": "pixels", "output": "logits"}
        assert recorded[model.name] == entry, (model.name, recorded[model.name], entry)
        shape = ", ".join(str(size) for size in model.input_shape)
        correct = round(accuracy * len(labels))
        lines.append(
            f"| `{path.name}` | [{shape}] | {accuracy:.2%} ({correct} of {len(labels)}) "
            f"| {gap:.4f} | {path.stat().st_size:,} |"
        )
    return lines


def write_quantized(train_images, test_images, train_labels, test_labels):
    quantize_cnn(train_images)
    accuracy, _ = measure(open_session(FOLDER / "cnn_int8.onnx"), test_images, test_labels)
    recorded = json.loads((FOLDER / "accuracy.json").read_text())
    recorded["cnn_int8"] = {"accuracy": accuracy, "input": "pixels", "output": "logits"}
    (FOLDER / "accuracy.json").write_text(json.dumps(recorded, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="check the stored files, train nothing")
    parser.add_argument("--quantize", action="store_true", help="write cnn_int8.onnx from cnn.onnx, train nothing")
    arguments = parser.parse_args()
    if arguments.quantize:
        write_quantized(*load_split())
    elif not arguments.check:
        train_images, test_images, train_labels, test_labels = load_split()
        np.save(FOLDER / "digits_test_images.npy", test_images)
        np.save(FOLDER / "digits_test_labels.npy", test_labels)
        accuracies = {}
        for model in MODELS:
            params, forward = train(model, train_images, train_labels)
            path = FOLDER / f"{model.name}.onnx"
            path.write_bytes(model.export(params).SerializeToString(deterministic=True))
            session = open_session(path)
            check_shapes(model, session, forward)
            accuracy, _ = measure(session, test_images, test_labels)
            accuracies[model.name] = {"accuracy": accuracy, "input": "pixels", "output": "logits"}
        (FOLDER / "accuracy.json").write_text(json.dumps(accuracies, indent=2) + "\n")
        write_quantized(train_images, test_images, train_labels, test_labels)
    print("\n".join(check_files()))


if __name__ == "__main__":
    main()
