#!/usr/bin/env python3
"""Weights of products as 4-bit blocks: four_bits.py MODEL.onnx OUT.onnx [--form=nbits|linear] [--block=32] [--zero-points]

Every MatMul whose second operand is a constant matrix (or the transpose of one) becomes a MatMulNBits of
com.microsoft, or with --form=linear a DequantizeLinear with blocks in front of the product. Each block of consecutive elements along
the reduction has a scale, and with --zero-points a zero point; elements are rounded to the nearest. MODEL.in.npz is copied to
OUT.in.npz where it is there, so that tests/bench/run.py times both with the same inputs.

As a part of tests/bench/run.py: GPT-2 small so, one token and 128 (of ../bench-models, otherwise the embedded transformer), with operands in
f32 and in 8 bits (accuracy level 4), beside ONNX Runtime on the same file, and beside llama.cpp with q4_0, where ../shared/bench/llama_peer.py
is and the Python that SINTER_BENCH_PYTHON names has llama_cpp."""
import argparse
import json
import pathlib
import shutil
import statistics
import subprocess

import numpy
import onnx
from onnx import helper, numpy_helper

import models
import turns

COMPARED = "sinter_ms"
LLAMA = {"gpt2_small_decode": "decode_ms", "gpt2_small_prefill128": "prefill128_ms"}  # the model's figure in what llama_peer.py writes
LEVELS = {0: "f32", 4: "8 bits"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--form", choices=("nbits", "linear"), default="nbits")
    parser.add_argument("--block", type=int, default=32)
    parser.add_argument("--zero-points", action="store_true")
    parser.add_argument("--accuracy-level", type=int, default=0, help="of MatMulNBits: 4 allows 8-bit activations")
    return parser.parse_args()


def quantize(matrix, block, with_zeros):
    """[K, N] f32 -> numbers [N, K] u8 of 0..15, scales [N, K / block], zero points likewise or None (then 8). Scales are
    numbers that f16 has too, as those of llama.cpp's q4_0."""
    half = lambda scales: numpy.where(scales == 0, 1, scales).astype(numpy.float16).astype(numpy.float32)
    rows = numpy.ascontiguousarray(matrix.T)
    blocks = rows.reshape(rows.shape[0], -1, block)
    zeros = None
    if with_zeros:
        low, high = numpy.minimum(blocks.min(-1), 0), numpy.maximum(blocks.max(-1), 0)
        scales = half((high - low) / 15)
        zeros = numpy.clip(numpy.rint(-low / scales), 0, 15)
    else:
        largest = numpy.take_along_axis(blocks, numpy.abs(blocks).argmax(-1)[..., None], -1)[..., 0]
        scales = half(largest / -8)
    centre = 8 if zeros is None else zeros[..., None]
    numbers = numpy.clip(numpy.rint(blocks / scales[..., None]) + centre, 0, 15).astype(numpy.uint8)
    return numbers.reshape(rows.shape), scales, None if zeros is None else zeros.astype(numpy.uint8)


def pack(numbers):
    """Two of the last axis to a byte, the first in the low bits."""
    if numbers.shape[-1] % 2:
        numbers = numpy.concatenate([numbers, numpy.zeros_like(numbers[..., :1])], -1)
    return numbers[..., ::2] | numbers[..., 1::2] << 4


class Rewriter:
    def __init__(self, model, options):
        self.graph, self.options = model.graph, options
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.makers = {name: node for node in model.graph.node for name in node.output}
        self.added, self.known = [], {}

    def matrix(self, name):
        """The [K, N] constant of this name, also behind a Transpose; None where it is no constant."""
        maker = self.makers.get(name)
        if name in self.constants and len(self.constants[name].dims) == 2:
            return numpy_helper.to_array(self.constants[name])
        if maker is not None and maker.op_type == "Transpose" and maker.input[0] in self.constants:
            return numpy_helper.to_array(self.constants[maker.input[0]]).T
        return None

    def constant(self, name, dtype, dims, data):
        self.added.append(helper.make_tensor(name, dtype, dims, data.tobytes(), raw=True))
        return name

    def parts(self, name, matrix):
        """Names of the packed numbers, scales and zero points of the matrix, made once."""
        if name in self.known:
            return self.known[name]
        types, linear = onnx.TensorProto, self.options.form == "linear"
        numbers, scales, zeros = quantize(matrix, self.options.block, self.options.zero_points)
        n, k = numbers.shape
        names = []
        if linear:
            if zeros is None:
                zeros = numpy.full(scales.shape, 8, numpy.uint8)
            names.append(self.constant(name + ".q", types.UINT4, [k, n], pack(numbers.T.reshape(-1))))
            names.append(self.constant(name + ".s", types.FLOAT, scales.T.shape, numpy.ascontiguousarray(scales.T)))
            names.append(self.constant(name + ".z", types.UINT4, scales.T.shape, pack(zeros.T.reshape(-1))))
        else:
            blocks = k // self.options.block
            names.append(self.constant(name + ".q", types.UINT8, [n, blocks, self.options.block // 2], pack(numbers)))
            names.append(self.constant(name + ".s", types.FLOAT, [n * blocks], scales))
            if zeros is not None:
                packed = pack(zeros)
                names.append(self.constant(name + ".z", types.UINT8, [packed.size], packed))
        self.known[name] = names
        return names

    def product(self, node):
        """The nodes that take the place of this one."""
        matrix = self.matrix(node.input[1]) if node.op_type == "MatMul" else None
        if matrix is None or matrix.dtype != numpy.float32 or matrix.shape[0] % self.options.block:
            return [node]
        names = self.parts(node.input[1], matrix)
        if self.options.form == "linear":
            weight = node.output[0] + ".weight"
            made = helper.make_node("DequantizeLinear", names, [weight], axis=0, block_size=self.options.block)
            return [made, helper.make_node("MatMul", [node.input[0], weight], node.output, node.name)]
        k, n = matrix.shape
        attributes = {"K": k, "N": n, "bits": 4, "block_size": self.options.block}
        if self.options.accuracy_level:
            attributes["accuracy_level"] = self.options.accuracy_level
        return [helper.make_node("MatMulNBits", [node.input[0], *names], node.output, node.name, domain="com.microsoft", **attributes)]

    def run(self):
        nodes = [made for node in self.graph.node for made in self.product(node)]
        used = {name for node in nodes for name in node.input} | {value.name for value in self.graph.output}
        nodes = [node for node in nodes if any(name in used for name in node.output)]
        used = {name for node in nodes for name in node.input}
        kept = [tensor for tensor in self.graph.initializer if tensor.name in used]
        del self.graph.node[:], self.graph.initializer[:]
        self.graph.node.extend(nodes)
        self.graph.initializer.extend(kept + self.added)


def make(options):
    """options.out out of options.model."""
    model = onnx.load(options.model)
    Rewriter(model, options).run()
    for opset in model.opset_import:
        if opset.domain == "" and options.form == "linear":
            opset.version = max(opset.version, 21)
    if options.form == "nbits":
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, options.out)
    inputs = options.model.with_suffix(".in.npz")
    if inputs.exists():
        shutil.copyfile(inputs, options.out.with_suffix(".in.npz"))


# ---- measured ----


def llama_turn(bench, threads):
    """llama.cpp's times with q4_0, by figure."""
    figures = bench.folder / "llama.json"
    bench.run(turns.PYTHON, turns.SHARED / "bench" / "llama_peer.py", "--threads", threads, "--work", bench.folder / "llama", "--json", figures)
    return next(row for row in json.loads(figures.read_text()) if ".q4_0." in row["model"])


def has_llama():
    return (turns.SHARED / "bench" / "llama_peer.py").exists() and not subprocess.run(
        [turns.PYTHON, "-c", "import llama_cpp, gguf"], capture_output=True).returncode


def prepare(bench, source, level):
    """The model in 4 bits, and a folder with what the engines' turns read."""
    folder = bench.folder / f"{source.stem}-four-bits-{level}"
    (folder / "feeds").mkdir(parents=True)
    out = folder / f"{source.stem}.onnx"
    make(argparse.Namespace(model=source, out=out, form="nbits", block=32, zero_points=False, accuracy_level=level))
    feeds = turns.make_feeds(source, bench.options.dims)
    numpy.savez(folder / "feeds.npz", **feeds)
    for i, array in enumerate(feeds.values()):
        numpy.save(folder / "feeds" / f"{i}.npy", array)
    return out, folder, list(feeds)


def measure_threads(bench, prepared, threads, with_llama):
    """Rows of all models and levels: every round has a turn of each."""
    taken = {key: {"sinter": [], "ort": []} for key in prepared}
    llama = []
    for _ in range(bench.options.rounds):
        for key, (model, folder, names) in prepared.items():
            taken[key]["ort"].append(models.peer_turn(bench, model, folder, threads))
            taken[key]["sinter"].append(models.sinter_turn(bench, model, folder, names, threads))
        if with_llama:
            llama.append(llama_turn(bench, threads))
    rows = {}
    for (source, level), own in taken.items():
        model, folder, names = prepared[source, level]
        try:
            row = rows[source, level] = {"error": models.error_of(bench, model, folder, names)}
        except (RuntimeError, subprocess.CalledProcessError) as error:
            bench.fail(f"{source}, operands in {LEVELS[level]}: {error}")
            continue
        for engine, its in own.items():
            row[f"{engine}_ms"] = statistics.median(turn["median_ms"] for turn in its)
            row[f"{engine}_min_ms"] = min(turn["min_ms"] for turn in its)
        if llama and source in LLAMA:
            row["llama_ms"] = statistics.median(turn[LLAMA[source]] for turn in llama)
    return rows


def measure(bench):
    large = [turns.BENCH_MODELS / f"{name}.onnx" for name in LLAMA]
    sources = bench.options.models or [model for model in large if model.exists()] or [turns.EMBEDDED / "transformer.onnx"]
    with_llama = has_llama()
    if not with_llama:
        print("\nfour_bits: without llama.cpp, which llama_peer.py of ../shared/bench and SINTER_BENCH_PYTHON would bring")
    prepared = {(source.stem, level): prepare(bench, source, level) for source in sources for level in LEVELS}
    found = {}
    for threads in bench.options.threads:
        table = turns.Table(f"Weights of 4 bits in groups of 32, {threads} thread(s)", "model", "operands", "Sinter ms", "ONNX Runtime ms",
                            "llama.cpp q4_0 ms", "ONNX Runtime / Sinter", "llama.cpp / Sinter", "error to ONNX Runtime")
        for (source, level), row in measure_threads(bench, prepared, threads, with_llama).items():
            found[f"{source}, operands in {LEVELS[level]}, {threads} thread(s)"] = row
            llama = [f"{row['llama_ms']:.3f}", f"{row['llama_ms'] / row['sinter_ms']:.2f}"] if "llama_ms" in row else ["-", "-"]
            table.row(source, LEVELS[level], f"{row['sinter_ms']:.3f}", f"{row['ort_ms']:.3f}", llama[0],
                      f"{row['ort_ms'] / row['sinter_ms']:.2f}", llama[1], f"{row['error']:.1e}")
    return found


if __name__ == "__main__":
    make(arguments())
