"""Bad input is an answer: damaged, hostile and unsuitable files and arguments end with status 2 and an error that says
what and where, within seconds and a bounded amount of memory, and leave nothing half-written behind."""

import io
import os
import pathlib
import platform
import random
import resource
import signal
import subprocess
import tempfile
import time
import warnings
import zipfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from support import sanitizers
from tally import Tally

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SINTER_BUILD", ROOT / "build" / "dev"))
SINTER = BUILD / "bin" / "sinter"
SECONDS = sanitizers.seconds(60, BUILD)
MEMORY = 16 << 30  # address space; sanitizers, which reserve terabytes, run without the bound
DEEP = 1_000_000
FLIPS = 200


def limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


class Bench:
    """A folder to work in, and the counting of what the program makes of what lies there."""

    def __init__(self, folder):
        self.folder, self.tally = folder, Tally()
        self.limit = None if sanitizers.used(BUILD) else limit_memory

    def run(self, *arguments, **options):
        command = [str(SINTER), *map(str, arguments)]
        options = {"stdout": subprocess.PIPE, "preexec_fn": self.limit, **options}
        return subprocess.run(command, stderr=subprocess.PIPE, cwd=self.folder, timeout=SECONDS, **options)

    def expect(self, name, *arguments, words=(), allowed=(2,), **options):
        """One check: the status is one of those allowed; with status 2 there is an error with all the words."""
        before = set(self.folder.rglob("*"))
        try:
            done = self.run(*arguments, **options)
        except subprocess.TimeoutExpired:
            self.tally.failed(name, f"takes more than {SECONDS} s")
            return
        text = done.stderr.decode("utf-8", "replace")
        problems = []
        if done.returncode not in allowed:
            problems.append(f"status {done.returncode}, expected {allowed}: {text[:300]}")
        if done.returncode == 2:
            if "error:" not in text:
                problems.append(f"no error on standard error: {text[:300]}")
            problems += [f"'{word}' is not in: {text[:300]}" for word in words if word not in text]
            problems += [f"left behind: {path.name}" for path in set(self.folder.rglob("*")) - before]
        self.tally.check(name, problems)

    def write(self, name, content):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
        return path

    def compile(self, name, path, **options):
        self.expect(name, "compile", path, "--emit=sir", "-O0", "-o", "out.sir", **options)
        (self.folder / "out.sir").unlink(missing_ok=True)


# ---- models ----


def tensor(name, dims, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, dims)


def model(nodes, inputs=None, outputs=None, initializers=()):
    inputs = [tensor("x", [2, 3])] if inputs is None else inputs
    outputs = [tensor("y", None)] if outputs is None else outputs
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def small_model():
    weights = numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(3, 2), "w")
    return model([helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Relu", ["m"], ["y"])], initializers=[weights])


def damaged_files(bench):
    """Cut after every byte, and with bits turned over: read, or refused; never anything else."""
    data = small_model().SerializeToString()
    for size in range(len(data)):
        bench.compile(f"cut after {size} bytes", bench.write("cut.onnx", data[:size]), allowed=(0, 2))
    choose = random.Random(1)
    for flip in range(FLIPS):
        damaged = bytearray(data)
        for _ in range(choose.randint(1, 3)):
            damaged[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
        bench.compile(f"flip {flip}", bench.write("flip.onnx", bytes(damaged)), allowed=(0, 2))
    bench.compile("empty file", bench.write("empty.onnx", b""))
    bench.compile("a text", bench.write("text.onnx", b"this is not a model\n" * 100))
    bench.compile("no such file", bench.folder / "none.onnx", words=("none.onnx",))
    bench.compile("a folder", bench.folder)
    os.mkfifo(bench.folder / "pipe.onnx")
    bench.compile("a pipe that nobody writes to", bench.folder / "pipe.onnx", words=("pipe.onnx",))
    (bench.folder / "endless.sir").symlink_to("/dev/zero")
    bench.compile("a text without an end", bench.folder / "endless.sir", words=("endless.sir", "zero bytes"))
    bench.compile("a loop program", bench.write("m.loops", b"program"), words=("m.loops", "sinter-opt"))


def hostile_numbers(bench):
    """Sizes that overflow, that no memory has, that are negative."""
    for name, dims in {
        "overflowing dims": [1 << 40, 1 << 40, 1 << 40],
        "petabytes": [1 << 50],
        "negative dim": [-1, 4],
        "too many dims": [1] * 100,
    }.items():
        constant = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=b"\0" * 16)
        bench.compile(name, bench.write("m.onnx", model([helper.make_node("Relu", ["w"], ["y"])], [], initializers=[constant])))
    short = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[8], raw_data=b"\0" * 16)
    path = bench.write("m.onnx", model([helper.make_node("Relu", ["w"], ["y"])], [], initializers=[short]))
    bench.compile("short data", path, words=("w",))
    kind = TensorProto(name="w", data_type=1234, dims=[4], raw_data=b"\0" * 16)
    bench.compile("unknown element type", bench.write("m.onnx", model([helper.make_node("Relu", ["w"], ["y"])], [], initializers=[kind])))
    for name, node, values in (
        ("a constant of petabytes", helper.make_node("ConstantOfShape", ["s"], ["y"]), [1 << 50]),
        ("a constant of overflowing size", helper.make_node("ConstantOfShape", ["s"], ["y"]), [1 << 40, 1 << 40]),
        ("expanded to petabytes", helper.make_node("Expand", ["one", "s"], ["y"]), [1 << 50]),
        ("tiled to petabytes", helper.make_node("Tile", ["one", "s"], ["y"]), [1 << 50]),
    ):
        shape = numpy_helper.from_array(np.array(values, np.int64), "s")
        one = numpy_helper.from_array(np.ones(1, np.float32), "one")
        path = bench.write("m.onnx", model([node], [], initializers=[shape, one]))
        for target in ("eval", "cpu"):
            bench.expect(f"{name}, {target}", "run", path, f"--target={target}")
    asked = bench.write("m.onnx", model([helper.make_node("ConstantOfShape", ["s"], ["y"])], [tensor("s", [1], TensorProto.INT64)]))
    np.save(bench.folder / "s.npy", np.array([1 << 50]))
    for target in ("eval", "cpu"):
        bench.expect(f"petabytes asked for by an input, {target}", "run", asked, f"--target={target}", "-i", "s=s.npy")
    huge = bench.write("m.onnx", model([helper.make_node("Relu", ["x"], ["y"])], [tensor("x", [1 << 31, 1 << 31])]))
    for target in ("eval", "cpu"):
        bench.expect(f"an input of exabytes, {target}", "run", huge, f"--target={target}")


def huge_dims(bench):
    """Sizes that fit an i64, but not what is computed from them: schedules, memory plans and costs measure without overflow
    (preset asan sees it), and the model is compiled or refused."""
    node = helper.make_node
    for name, nodes, shapes in (
        ("MatMul", [node("MatMul", ["a", "b"], ["y"])], ("4DD", "DD")),
        ("Gemm", [node("Gemm", ["a", "b", "c"], ["y"], transB=1)], ("DD", "DD", "D")),
        ("Conv", [node("Conv", ["a", "b"], ["y"], pads=[1, 1, 1, 1])], ("13DD", "8333")),
        ("AveragePool", [node("AveragePool", ["a"], ["y"], kernel_shape=[3, 3], strides=[2, 2])], ("1DDD",)),
        ("Softmax", [node("Softmax", ["a"], ["y"])], ("D4D",)),
        ("LayerNormalization", [node("LayerNormalization", ["a", "b"], ["y"])], ("D8D", "D")),
        ("a sum of products", [node("Mul", ["a", "b"], ["p"]), node("ReduceSum", ["p"], ["y"])], ("DDD", "D1D")),
        ("Transpose", [node("Transpose", ["a"], ["t"], perm=[2, 0, 1]), node("Relu", ["t"], ["y"])], ("D4D",)),
        ("Concat", [node("Concat", ["a", "a", "b"], ["y"], axis=1)], ("DD4", "DD4")),
        ("LSTM", [node("LSTM", ["a", "b", "c"], ["y"], hidden_size=1)], ("D1D", "14D", "141")),
        ("Einsum", [node("Einsum", ["a", "b"], ["y"], equation="bij,bkj->bik")], ("DDD", "DDD")),
    ):
        for power in (20, 31, 40, 62):
            inputs = [tensor(value, [1 << power if dim == "D" else int(dim) for dim in shape]) for value, shape in zip("abc", shapes)]
            path = bench.write("m.onnx", model(nodes, inputs))
            for kind in ("loops", "obj"):
                bench.expect(f"{name} of 2^{power}, {kind}", "compile", path, f"--emit={kind}", "-o", f"out.{kind}", allowed=(0, 2))
                for made in bench.folder.glob("out.*"):
                    made.unlink()


def impossible_graphs(bench):
    relu = lambda source, result: helper.make_node("Relu", [source], [result])
    cases = {
        "a cycle": [helper.make_node("Add", ["x", "b"], ["a"]), relu("a", "b"), relu("b", "y")],
        "a node that uses itself": [helper.make_node("Add", ["x", "y"], ["y"])],
        "a value from nowhere": [relu("nowhere", "y")],
        "a value made twice": [relu("x", "y"), relu("x", "y")],
        "no such operator": [helper.make_node("NoSuchOperator", ["x"], ["y"])],
        "no such domain": [helper.make_node("Relu", ["x"], ["y"], domain="no.such.domain")],
        "too few operands": [helper.make_node("MatMul", ["x"], ["y"])],
        "too many operands": [helper.make_node("Relu", ["x"] * 5, ["y"])],
        "dims that do not fit": [helper.make_node("MatMul", ["x", "x"], ["y"])],
        "an axis too far": [helper.make_node("Softmax", ["x"], ["y"], axis=7)],
        "an attribute of the wrong kind": [helper.make_node("Softmax", ["x"], ["y"], axis="one")],
        "a missing attribute": [helper.make_node("Cast", ["x"], ["y"])],
        "a result that nobody makes": [relu("x", "z")],
    }
    for name, nodes in cases.items():
        bench.compile(name, bench.write("m.onnx", model(nodes)))
    call = helper.make_node("F", ["x"], ["y"], domain="own")
    recursive = model([call])
    recursive.opset_import.append(helper.make_opsetid("own", 1))
    recursive.functions.append(helper.make_function("own", "F", ["x"], ["y"], [call], recursive.opset_import))
    bench.compile("a function that calls itself", bench.write("m.onnx", recursive))
    future = model([relu("x", "y")])
    future.opset_import[0].version = 1000
    bench.compile("an opset of the future", bench.write("m.onnx", future), allowed=(0, 2))
    several = model([helper.make_node("NoSuchOperator", ["x"], ["a"], "first"), helper.make_node("NorThis", ["a"], ["y"], "second")])
    bench.compile("all unsupported nodes are listed", bench.write("m.onnx", several), words=("first", "second"))


def external_data(bench):
    """Data outside of the model's folder is not read, whatever the path looks like."""
    inside = bench.folder / "inside"
    inside.mkdir()
    (bench.folder / "secret.bin").write_bytes(b"\0" * 64)
    (inside / "data.bin").write_bytes(b"\0" * 64)
    (inside / "link.bin").symlink_to("../secret.bin")
    (inside / "up").symlink_to("..")
    os.mkfifo(inside / "pipe.bin")
    absolute = str(bench.folder / "secret.bin")
    cases = {
        "plain": ("data.bin", {}, 0),
        "parent folder": ("../secret.bin", {}, 2),
        "parent folder on the way": ("up/../../secret.bin", {}, 2),
        "absolute": (absolute, {}, 2),
        "a link to a file outside": ("link.bin", {}, 2),
        "a link to a folder outside": ("up/secret.bin", {}, 2),
        "not there": ("none.bin", {}, 2),
        "a pipe": ("pipe.bin", {}, 2),
        "a folder": (".", {}, 2),
        "a device": ("/dev/zero", {}, 2),
        "offset beyond the end": ("data.bin", {"offset": 60}, 2),
        "an offset that overflows": ("data.bin", {"offset": (1 << 64) - 8}, 2),
        "a length beyond the end": ("data.bin", {"length": 4096}, 2),
        "a negative offset": ("data.bin", {"offset": -4}, 2),
    }
    for name, (location, more, status) in cases.items():
        weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
        for key, text in {"location": location, **more}.items():
            weights.external_data.add(key=key, value=str(text))
        path = bench.write("inside/m.onnx", model([helper.make_node("Relu", ["w"], ["y"])], [], initializers=[weights]))
        bench.compile(f"external data: {name}", path, allowed=(status,))


# ---- depth and size ----


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out + bytes([number]))


def nested_graphs(levels):
    """ModelProto bytes: graph { node { attribute { g: graph { ... } } } }, made from the inside."""
    pieces, size = [], 0
    for _ in range(levels):
        for tag in (6 << 3 | 2, 5 << 3 | 2, 1 << 3 | 2):  # AttributeProto.g, NodeProto.attribute, GraphProto.node
            head = bytes([tag]) + varint(size)
            pieces.append(head)
            size += len(head)
    return bytes([7 << 3 | 2]) + varint(size) + b"".join(reversed(pieces))


def deep_and_large(bench):
    bench.compile("graphs nested a million deep", bench.write("deep.onnx", nested_graphs(DEEP)))
    brackets = bench.write("deep.sir", b'module "m" {\n  (%x: ' + b"seq(" * DEEP)
    bench.compile("a type nested a million deep", brackets)
    bench.compile("brackets a million deep", bench.write("deep2.sir", b"(" * DEEP))
    bench.compile("blocks a million deep", bench.write("deep3.sir", b'module "m" ' + b"{" * DEEP))
    for name, head in {
        "zeros": b"",
        "a doc string": bytes([6 << 3 | 2]) + varint((3 << 30) - 64),
        "a graph": bytes([7 << 3 | 2]) + varint((3 << 30) - 64),
    }.items():
        path = bench.write("large.onnx", head)
        os.truncate(path, 3 << 30)  # sparse
        bench.compile(f"3 GB: {name}", path)
        path.unlink()
    text = bench.write("large.sir", b"")
    os.truncate(text, 3 << 30)
    bench.compile("3 GB: text of zeros", text)
    text.unlink()


# ---- inputs, outputs, arguments ----


def archives(bench, run, array):
    """.npz files: damage that the checksum finds, what numpy.savez does not write, two arrays of one name."""

    def archive(*members, method=zipfile.ZIP_STORED, comment=b""):
        file = io.BytesIO()
        with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method) as made:
            warnings.simplefilter("ignore")  # of names that are there twice
            made.comment = comment
            for name, content in members:
                made.writestr(name, content)
        return bytearray(file.getvalue())

    whole = archive(("x.npy", array))
    entry, end = whole.index(b"PK\1\2"), whole.index(b"PK\5\6")

    def changed(*changes):
        copy = bytearray(whole)
        for at, content in changes:
            copy[at : at + len(content)] = content
        return copy

    run("a good .npz", bench.write("in.npz", bytes(whole)), allowed=(0,))
    run("an .npz with a comment like its end", bench.write("in.npz", bytes(archive(("x.npy", array), comment=b"PK\5\6" + b"\xff" * 99))), allowed=(0,))
    for name, content, words in (
        ("with another bit in an array", changed((whole.index(b"\0\0\x80\x3f"), b"\1")), ("'x'", "checksum")),
        ("that is encrypted", changed((6, b"\1"), (entry + 8, b"\1")), ("'x'", "encrypted")),
        ("that inflates to 300 MB", archive(("x.npy", bytes(300 << 20)), method=zipfile.ZIP_DEFLATED), ("'x'", "compressed")),
        ("of an unknown compression", changed((entry + 10, b"\x63")), ("'x'", "compressed")),
        ("with two arrays of a name", archive(("x.npy", array), ("x.npy", array)), ("more than one array", "'x'")),
        ("with what is no .npy", archive(("x", array[-24:])), ("'x'", "no .npy file")),
        ("of zip64 sizes", changed((entry + 20, b"\xff" * 8)), ("'x'", "beyond 4 GiB")),
        ("of zip64", changed((end + 16, b"\xff" * 4)), ("beyond 4 GiB",)),
        ("that points behind its end", changed((entry + 42, b"\xf0\xff\xff\xff")), ("'x'", "damaged")),
        ("of no file", changed((end + 16, b"\0" * 4)), ("directory",)),
    ):
        bench.write("in.npz", bytes(content))
        run(f"an .npz {name}", "in.npz", words=("in.npz", *words))


def bad_tensors(bench):
    """Files for -i: the wrong kind of tensor, damaged, hostile."""
    path = bench.write("small.onnx", small_model())
    run = lambda name, file, **more: bench.expect(f"input: {name}", "run", path, "--target=eval", "-i", f"x={file}", **more)
    good = np.ones((2, 3), np.float32)
    np.save(bench.folder / "good.npy", good)
    run("good", "good.npy", allowed=(0,))
    for name, array in {
        "wrong shape": np.ones((3, 3), np.float32),
        "wrong rank": np.ones(6, np.float32),
        "wrong element type": np.ones((2, 3), np.int64),
        "complex": np.ones((2, 3), np.complex64),
    }.items():
        np.save(bench.folder / "bad.npy", array)
        run(name, "bad.npy")
    np.save(bench.folder / "bad.npy", np.array([["a", None, 3]] * 2, object), allow_pickle=True)
    run("objects", "bad.npy", words=("'|O'", "pickled objects are never read"))
    np.save(bench.folder / "bad.npy", np.zeros((2, 3), "M8[s]"))
    run("times", "bad.npy", words=("'<M8[s]'",))
    data = (bench.folder / "good.npy").read_bytes()
    for size in (0, 5, 8, 10, 64, 127, 128, 129, len(data) - 1):
        bench.write("cut.npy", data[:size])
        run(f".npy cut after {size} bytes", "cut.npy")
    # Where as many raw numbers would do.
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "rows", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8])])
    rows = bench.write("rows.onnx", helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9))
    np.save(bench.folder / "eight.npy", np.ones((2, 8), np.float32))
    whole = (bench.folder / "eight.npy").read_bytes()
    for name, bad in (("empty", b""), ("damaged at its first byte", b"\0" + whole[1:])):
        bench.write("bad.npy", bad)
        bench.expect(f"an .npy that is {name}, for open rows", "run", rows, "--target=eval", "-i", "x=bad.npy", words=("bad.npy", "damaged"))
    bench.expect("figures where no file can be", "bench", rows, "--seconds=30", "--json=none/x.json", words=("none/x.json",))
    bench.expect("made inputs of a bounded dim", "run", rows, "--target=eval", "--dim=N=3..7", allowed=(0,))
    bench.write("huge.npy", data.replace(b"(2, 3), }", b"(1152921504606846976, 3), }")[: len(data)])
    run("an .npy of exabytes", "huge.npy")
    for name, old, new in (
        ("no byte order", b"'<f4'", b"'\0f4'"),
        ("strings of no characters", b"'<f4'", b"'<U0'"),
        ("bytes of no length", b"'<f4'", b"'|V0'"),
        ("an element type twice", b"'fortran_order': False", b"'descr':         '<f4'"),
    ):
        bench.write("odd.npy", data.replace(old, new))
        run(f".npy with {name}", "odd.npy")
    archives(bench, run, data)
    proto = numpy_helper.from_array(good).SerializeToString()
    for size in range(len(proto)):
        bench.write("cut.pb", proto[:size])
        run(f".pb cut after {size} bytes", "cut.pb")
    bench.write("raw.bin", b"\0" * 23)
    run("raw bytes of the wrong size", "raw.bin")
    run("no such file", "none.npy")
    run("a folder", ".")
    os.mkfifo(bench.folder / "pipe")
    run("a pipe that nobody writes to", "pipe")
    bench.expect("input: no such name", "run", path, "-i", "nobody=good.npy", words=("nobody",))
    bench.expect("input: no file", "run", path, "-i", "x")
    bench.expect("output: no such name", "run", path, "--target=eval", "-i", "x=good.npy", "--expect", "nobody=good.npy")
    bench.expect("output: another answer", "run", path, "--target=eval", "-i", "x=good.npy", "--expect", "y=good.npy", allowed=(1,))


def bad_outputs(bench):
    """Files that can't be written: an error, and nothing there afterwards."""
    path = bench.write("small.onnx", small_model())
    (bench.folder / "taken.so").mkdir()
    for ending in ("so", "sir", "onnx", "loops", "c", "obj", "llvm"):
        emit = f"--emit={ending}"
        bench.expect(f"{ending} into no folder", "compile", path, emit, "-o", "none/out")
        bench.expect(f"{ending} over a folder", "compile", path, emit, "-o", "taken.so")
        bench.expect(f"{ending} below a file", "compile", path, emit, "-o", "small.onnx/out")
    with open("/dev/full", "wb") as full:
        bench.expect("text onto a full disk", "compile", path, "--emit=sir", "-o", "-", stdout=full)
    bench.expect("results into a file", "run", path, "--target=eval", "-o", "small.onnx")
    kept = bench.write("kept.so", b"what was there before")
    broken = bench.write("broken.onnx", small_model().SerializeToString()[:-20])
    bench.expect("a failed compilation", "compile", broken, "-o", "kept.so")
    bench.tally.check("leaves the old file alone", [] if kept.read_bytes() == b"what was there before" else ["it changed"])


def bad_surroundings(bench):
    """Standard streams that are full or closed, a limit of file sizes; what is printed has no control characters."""
    path = bench.write("small.onnx", small_model())
    case = bench.write("case/model.onnx", small_model()).parent
    for command in (("run", path), ("inspect", path), ("bench", "--seconds=0", path), ("diff", path, "eval", "loops"), ("test", case), ("--help",)):
        with open("/dev/full", "wb") as full:
            bench.expect(f"onto a full disk: {command[0]}", *command, stdout=full, words=("standard output",))
    streams = lambda *numbers: {"stdout": None, "preexec_fn": lambda: [os.close(number) for number in numbers]}
    bench.expect("no standard output", "compile", path, "--emit=sir", "-o", "-", **streams(1), words=("standard output",))
    bench.expect("no standard streams", "compile", path, "-o", "alone.sir", **streams(0, 1), allowed=(0,))
    bench.expect("some standard streams", "compile", path, "-o", "some.sir", allowed=(0,))
    same = (bench.folder / "alone.sir").read_bytes() == (bench.folder / "some.sir").read_bytes()
    bench.tally.check("nothing else gets into a file", [] if same else ["it differs"])
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    bench.expect("a limit of file sizes", "compile", path, "-o", "out.sir", preexec_fn=limit, words=("out.sir",))
    name = "\x1b[31m\u009bred\n\x7f"
    for nodes, status in (([helper.make_node("Relu", ["x"], [name])], 0), ([helper.make_node(name, ["x"], [name], name)], 2)):
        named = bench.write("named.onnx", model(nodes, outputs=[tensor(name, None)]))
        for command in (("run", named), ("inspect", named), ("diff", named, "eval", "loops")):
            done = bench.run(*command)
            found = [c for c in (done.stdout + done.stderr).decode() if c != "\n" and (c < " " or "\x7f" <= c < "\xa0")]
            problems = [f"status {done.returncode}"] if done.returncode != status else []
            bench.tally.check(f"control characters: {command[0]}, {status}", problems + [f"printed: {found}"] * bool(found))


def bad_arguments(bench):
    path = bench.write("small.onnx", small_model())
    for name, arguments in {
        "no command": ("nonsense",),
        "no model": ("compile",),
        "no output": ("compile", path),
        "two models": ("run", path, path),
        "unknown option": ("run", path, "--nonsense"),
        "unknown target": ("run", path, "--target=abacus"),
        "unknown CPU": ("run", path, "--target=cpu:abacus"),
        "unknown feature": ("run", path, "--target=cpu+abacus"),
        "unknown kind": ("compile", path, "-o", "out", "--emit=abacus"),
        "unknown pass": ("run", path, "--passes=abacus"),
        "level": ("run", path, "-O9"),
        "threads": ("run", path, "--threads=-1"),
        "dim without a number": ("run", path, "--dim", "N="),
        "dim that is negative": ("run", path, "--dim", "N=-5"),
        "dim that overflows": ("run", path, "--dim", "N=99999999999999999999"),
        "dim that nobody has": ("run", path, "--dim", "nobody=5"),
        "size that nobody has": ("run", path, "--size", "nobody=5"),
        "test without folders": ("test",),
        "test of no folder": ("test", "none"),
    }.items():
        bench.expect(f"arguments: {name}", *arguments)


def bad_artifacts(bench):
    """What is no artifact, or not whole, is refused by every command; what is for another machine by those that would run it."""
    path = bench.write("small.onnx", small_model())
    bench.expect("an artifact", "compile", path, "-o", "good.so", allowed=(0,))
    other = "x86-64-v3" if platform.machine() == "aarch64" else "aarch64"
    bench.expect("an artifact for another machine", "compile", path, "-o", "other.so", f"--target=cpu:{other}", allowed=(0, 2))
    good = (bench.folder / "good.so").read_bytes()
    (bench.folder / "folder.so").mkdir()
    os.mkfifo(bench.folder / "pipe.so")
    (bench.folder / "zero.so").symlink_to("/dev/zero")
    (bench.folder / "loop.so").symlink_to("loop.so")
    cases = {
        "none.so": "No such file", "folder.so": "regular file", "pipe.so": "regular file", "zero.so": "regular file",
        "loop.so": "symbolic links", "empty.so": "too short", "text.so": "too short", "cut.so": "cut off", "long.so": "cut off",
        "object.o": "not an artifact", "future.so": "version", "flip.so": "damaged", "other.so": "compiled for",
    }  # fmt: skip
    bench.write("empty.so", b"")
    bench.write("text.so", b"a text")
    bench.write("cut.so", good[:-1])
    bench.write("long.so", good + b"\0")
    bench.write("flip.so", good[:5000] + bytes([good[5000] ^ 1]) + good[5001:])
    bench.write("future.so", good[:-8] + b"\2" + good[-7:])
    bench.expect("an object", "compile", path, "-o", "object.o", allowed=(0,))
    for name, words in cases.items():
        if not os.path.lexists(bench.folder / name) and name == "other.so":
            continue  # there is no linker for it here
        for command in (("run", name), ("bench", name), ("inspect", name), ("run", name, "--verify")):
            if (command[0], name) == ("inspect", "other.so"):
                bench.expect("another machine's artifact, described", *command, allowed=(0,))
            else:
                bench.expect(f"artifact {name}: {command}", *command, words=(name, words))
        bench.expect(f"artifact {name}: diff", "diff", name, "eval", "cpu", words=(name,))
        bench.expect(f"artifact {name}: compile", "compile", name, "-o", "out.so", words=(name,))
    choose = random.Random(2)
    for flip in range(40):
        damaged = bytearray(good)
        damaged[choose.randrange(len(good))] ^= 1 << choose.randrange(8)
        bench.write("flip.so", bytes(damaged))
        bench.expect(f"artifact with another bit, {flip}", "run", "flip.so", "--verify", words=("flip.so",))


def side_by_side(bench):
    """Processes that write one file and fill one cache at once: what there is in the end is whole, and nothing else."""
    path = bench.write("small.onnx", small_model())
    bench.expect("alone", "compile", path, "-o", "alone.so", allowed=(0,))
    for name in ("filling the cache", "finding all in it"):
        command = [str(SINTER), "compile", str(path), "-o", "together.so", "--cache=cache", "--jobs=2"]
        running = [subprocess.Popen(command, cwd=bench.folder, stderr=subprocess.PIPE) for _ in range(6)]
        said = [process.communicate(timeout=SECONDS)[1] for process in running]
        problems = [f"status {process.returncode}" for process in running if process.returncode] + [text.decode() for text in said if text]
        same = (bench.folder / "alone.so").read_bytes() == (bench.folder / "together.so").read_bytes()
        problems += ["another artifact"] * (not same)
        problems += [f"left behind: {left.name}" for left in bench.folder.rglob(".*")]
        bench.tally.check(f"side by side: {name}", problems)


STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def heed_signals():
    """What is run in the background, as this may be, inherits that SIGINT is ignored."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_DFL)


def stopped_programs(bench):
    """Stopped by a signal while another program works for it: nothing is left of either, and the old result is as it was."""
    path = bench.write("small.onnx", small_model())
    case = bench.write("case/model.onnx", small_model()).parent
    temporary, tools = bench.folder / "tmp", bench.folder / "tools"
    temporary.mkdir()
    tools.mkdir()
    for name in ("cc", "aarch64-linux-gnu-gcc"):
        (tools / name).write_text('#!/bin/sh\nout=$(dirname "$0")\ntouch "$TMPDIR/of-its-own"\necho $$ > "$out/pid"\nsleep 1000\n')
        (tools / name).chmod(0o755)
    search = f"{tools}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": search, "TMPDIR": str(temporary), "CC": "cc"}
    for name, command in {
        "linking": ("compile", path, "-o", "kept.so"),
        "linking for another machine": ("compile", path, "--target=cpu:aarch64", "-o", "kept.so"),
        "a run through a file": ("run", path, "--target=so"),
        "the C compiler": ("run", path, "--target=c"),
        "a test case": ("test", case, "--target=c"),
    }.items():
        for number in STOPPING:
            bench.write("kept.so", b"before")
            child = subprocess.Popen(
                [str(SINTER), *map(str, command)], cwd=temporary.parent, env=environment, stderr=subprocess.PIPE, preexec_fn=heed_signals
            )
            for _ in range(10 * SECONDS):
                if (tools / "pid").exists() and (tools / "pid").read_text().endswith("\n"):
                    break
                time.sleep(0.1)
            problems = [] if list(temporary.iterdir()) else ["no folder to remove"]
            child.send_signal(number)
            child.communicate(timeout=SECONDS)
            helper_process = int((tools / "pid").read_text())
            (tools / "pid").unlink()
            problems += [f"status {child.returncode}"] * (child.returncode != -number)
            problems += [f"left behind: {left}" for left in temporary.iterdir()]
            problems += ["the other program goes on"] * os.path.exists(f"/proc/{helper_process}/cmdline")
            problems += ["the old file changed"] * ((bench.folder / "kept.so").read_bytes() != b"before")
            bench.tally.check(f"stopped by {number.name}: {name}", problems)


def main():
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(pathlib.Path(folder).resolve())
        for part in (
            hostile_numbers, huge_dims, impossible_graphs, external_data, deep_and_large, bad_tensors, bad_outputs, bad_surroundings,
            bad_arguments, bad_artifacts, side_by_side, stopped_programs,
            damaged_files,
        ):
            part(bench)
    bench.tally.finish()


if __name__ == "__main__":
    main()
