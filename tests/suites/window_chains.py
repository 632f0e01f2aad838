"""Random chains of convolutions, of all channels, of each channel and of one tap, with activations, factors of squeeze and
excitation and sums between them, on maps that are larger than a cache: each compiles, by rows where the pass fuse says so, and
gives the values that the evaluator gives. Maps are tall and narrow, so that rings of many convolutions are little.

    tests/suites/window_chains.py [COUNT [FIRST_SEED]]     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import helper
from support import onnx_cases
from tally import Tally

CASES = 16
TARGETS = ["x86-64-v2", "x86-64-v3"]
ELEMENTS = 200_000  # of a map of 8 channels: more than a core's cache
LEAST_NESTED = 4  # of 16 chains: kernels with three values between their convolutions or more


class Chain:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.nodes, self.constants = [], []
        self.channels = self.rng.choice([3, 8, 12, 16])
        self.width = self.rng.randrange(9, 40)
        self.height = ELEMENTS // (self.width * 8) + self.rng.randrange(60)
        self.shape = [1, self.channels, self.height, self.width]
        self.last, self.kind = "x", None
        for _ in range(self.rng.randint(3, 8)):
            self.add_layer()

    def add(self, op, *operands, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, operands, [name], **attributes))
        return name

    def constant(self, *shape):
        name = f"c{len(self.constants)}"
        values = self.numbers.normal(0, 1 / np.sqrt(max(np.prod(shape[1:]), 1)), shape).astype(np.float32)
        self.constants.append(onnx.numpy_helper.from_array(values, name))
        return name

    def convolve(self, x, results, size, group=1, stride=1):
        """Pads of the two ends differ where the size is even, and may be none."""
        pads = self.rng.choice([[size // 2] * 2, [(size - 1) // 2, size // 2], [0, size - 1], [0, 0]])
        weight = self.constant(results, self.channels // group, size, size)
        spatial = {"strides": [stride] * 2, "pads": [pads[0], size // 2, pads[1], size // 2]}
        return self.add("Conv", x, weight, self.constant(results), group=group, **spatial)

    def add_layer(self):
        rng, x = self.rng, self.last
        stride = rng.choice([1] * 5 + [2])
        kinds = ["pointwise"] * 4 + ["whole", "depthwise"] if self.kind == "depthwise" else ["depthwise"] * 4 + ["whole", "pointwise"]
        self.kind = kind = "whole" if self.channels == 3 else rng.choice(kinds)
        if kind == "depthwise":
            x = self.convolve(x, self.channels, rng.choice([2, 3, 3, 5]), self.channels, stride)
        else:
            results = rng.choice([8, 16, 24])
            x = self.convolve(x, results, *((1, 1) if kind == "pointwise" else (3, 1, stride)))
            self.channels = results
        activation = rng.choice([None, "Relu", "HardSwish", "Sigmoid"])
        if activation:
            x = self.add(activation, x)
        if rng.random() < 0.08:
            factor = self.add("GlobalAveragePool", x)
            weight = self.constant(self.channels, self.channels, 1, 1)
            x = self.add("Mul", x, self.add("Sigmoid", self.add("Conv", factor, weight)))
        if rng.random() < 0.08:
            x = self.add("Add", x, self.add("Relu", x))
        self.last = x

    def model(self):
        numbers = onnx.TensorProto.FLOAT
        x = helper.make_tensor_value_info("x", numbers, self.shape)
        y = helper.make_tensor_value_info(self.last, numbers, [1, None, None, None])
        graph = helper.make_graph(self.nodes, "chain", [x], [y], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def run(*arguments):
    return subprocess.run([str(a) for a in arguments], capture_output=True, text=True, errors="replace", timeout=300)


def count_nested(loops):
    """Kernels that have three values between convolutions, or more."""
    return sum(kernel.count("alloc %ring") >= 3 for kernel in loops.split("\n  kernel @"))


def check_chain(tally, seed, target, folder):
    path, loops = folder / f"{seed}.onnx", folder / f"{seed}.loops"
    onnx.save(Chain(seed).model(), path)
    made = run(onnx_cases.SINTER, "compile", path, f"--target=cpu:{target}", "-o", loops)
    tally.check(f"chain {seed} compiles for {target}", [made.stderr[:400]] if made.returncode else [])
    if made.returncode:
        return 0
    done = run(onnx_cases.SINTER, "diff", path, f"cpu:{target}", "eval")
    tally.check(f"chain {seed} on {target}", [done.stdout[-600:] + done.stderr[-300:]] if done.returncode else [])
    return count_nested(loops.read_text())


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else CASES
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="window_chains.") as folder:
        nested = sum(check_chain(tally, seed, TARGETS[seed % len(TARGETS)], pathlib.Path(folder)) for seed in range(first, first + count))
    print(f"{nested} kernels of four convolutions or more")
    tally.check("chains of rings", [] if nested * CASES >= LEAST_NESTED * count else [f"only {nested} kernels of {count} chains"])
    tally.finish()


if __name__ == "__main__":
    main()
