"""Rows between two products, made block by block: quantized attention of random sizes, signs, zero points and masks, the same bits
as the evaluator has on every instruction set. The rows are made without functions that round (exp), so that nothing may differ. Some of
the numbers of rows and columns are symbols: the same code answers for several of them.

    tests/suites/blocked_values.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import itertools
import pathlib
import random
import subprocess
import tempfile

from support import onnx_cases
from tally import Tally

CASES = 8
MANY = 70  # heads: more than a kernel has places for scratch, which threads take in parts then, the last one of them shorter
SEED = 7
TARGETS = ["x86-64-v2", "x86-64-v3", "x86-64-v4", "x86-64-v4+avx512vnni"]
LONG = 66001  # columns: more than one chunk of a sum of 32 bits
LEAST = 1 << 18  # elements of the matrix between the products: more than a quarter of any target's cache


def constant(name, dtype, value):
    return f"    %{name} = constant() {{value = tensor<{dtype}[], [{value}]>}}\n"


def draw(rng, open_sizes, heads, sums):
    """A graph's text, in which rows and columns are symbols where they are named here, and the sizes that these may be run with."""
    size, width = rng.choice([4, 20, 33]), rng.choice([3, 16, 40])
    rows = rng.randrange(120, 500)
    columns = LEAST // (heads * rows) + rng.randrange(1, 60)
    bound, wide = ("", " {to = i64}") if sums == "i64" else (" = 1..30000", "")
    sizes = [{"S": rows, "T": columns}, {"S": rng.randrange(1, 33), "T": rng.randrange(1, 20)}, {"S": 64, "T": 128}]
    rows, columns = ("S" if "S" in open_sizes else rows), ("T" if "T" in open_sizes else columns)
    left, right = rng.choice(["u8", "i8"]), rng.choice(["u8", "i8"])
    zero = {"u8": rng.choice([0, 128, 117]), "i8": rng.choice([0, -5])}
    shared = heads > 1 and rng.random() < 0.4  # all heads read the keys and values of one
    keys = 1 if shared else heads
    scores_in_bytes, masked = rng.random() < 0.6, rng.random() < 0.7
    text = 'module "rows" {\n'
    text += "".join(f"  dim {name}{bound}\n" for name, bound in (("S", ""), ("T", bound)) if name in open_sizes)
    text += f"  graph (%qf: f32[{heads},{rows},{size}], %kf: f32[{keys},{size},{columns}], %vf: f32[{keys},{columns},{width}]"
    text += f", %m: f32[{rng.choice([1, heads])},{rng.choice([1, rows])},{columns}]) {{\n"
    text += constant("fine", "f32", 0.02) + constant("step", "f32", 0.125) + constant("shrink", "f32", 2.0**-9)
    text += constant("zl", left, zero[left]) + constant("zr", right, zero[right]) + constant("zw", "u8", rng.choice([0, 3]))
    text += "    %axis = constant() {value = tensor<i64[1], [-1]>}\n"
    text += "    %q = quantize_linear(%qf, %fine, %zl)\n    %k = quantize_linear(%kf, %fine, %zr)\n"
    text += "    %v = quantize_linear(%vf, %fine, %zr)\n"
    text += "    %p = matmul_integer(%q, %k, %zl, %zr)\n    %f = cast(%p) {to = f32}\n    %s0 = mul(%f, %shrink)\n"
    last = "s0"
    if scores_in_bytes:
        text += constant("middle", "u8", 128)
        text += "    %b = quantize_linear(%s0, %step, %middle)\n    %s1 = dequantize_linear(%b, %step, %middle)\n"
        last = "s1"
    if masked:
        text += f"    %s2 = add(%{last}, %m)\n"
        last = "s2"
    text += f"    %high = reduce_max(%{last}, %axis) {{keepdims = 1}}\n    %low = reduce_min(%{last}, %axis) {{keepdims = 1}}\n"
    text += f"    %up = sub(%{last}, %low)\n    %span = sub(%high, %low)\n    %most = max(%span, %step)\n    %share = div(%up, %most)\n"
    text += constant("unit", "f32", 1 / 250)
    text += "    %w = quantize_linear(%share, %unit, %zw)\n    %y = matmul_integer(%w, %v, %zw, %zr)" + wide + "\n    yield(%y)\n  }\n}\n"
    return text, sizes if open_sizes else [{}]


def run(*arguments):
    return subprocess.run([str(a) for a in arguments], capture_output=True, text=True, errors="replace")


def check_case(tally, name, path, sizes):
    loops = path.with_suffix(".loops")
    made = run(onnx_cases.SINTER, "compile", path, "--target=cpu:x86-64-v4", "-o", loops)
    blocked = made.returncode == 0 and "%block" in loops.read_text()
    tally.check(f"{name} goes by blocks", [] if blocked else [f"it does not: {made.stderr[:300]}"])
    for target, size in itertools.product(TARGETS, sizes):
        given = [word for key, value in size.items() for word in ("--size", f"{key}={value}") if f"dim {key}" in path.read_text()]
        done = run(onnx_cases.SINTER, "diff", path, f"cpu:{target}", "eval", "--rtol=0", *given)
        what = " ".join([name, "on", target, *given])
        tally.check(what, [] if done.returncode == 0 else [done.stdout[-600:] + done.stderr[-300:]])


def main():
    tally = Tally()
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory() as scratch:
        heads = [rng.choice([1, 2, 3, 5]) for _ in range(CASES)] + [MANY]
        for i, count in enumerate(heads):
            path = pathlib.Path(scratch) / f"rows_{i}.sir"
            text, sizes = draw(rng, ["", "S", "T", "ST"][i % 4] if count < MANY else "ST", count, "i32")
            path.write_text(text)
            check_case(tally, path.stem, path, sizes)
        for count in (1, 3):
            path = pathlib.Path(scratch) / f"long_{count}.sir"
            text, sizes = draw(rng, "ST", count, "i64")
            path.write_text(text)
            check_case(tally, path.stem, path, sizes + [{"S": 3, "T": LONG}] * (count == 1))
    tally.finish()


if __name__ == "__main__":
    main()
