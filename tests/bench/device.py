#!/usr/bin/env python3
"""What compiled models reach on a GPU: products beside cuBLASLt, attention, kernels that only move bytes beside copies of as many, whole models.

  device.py compile FOLDER [NAME]...   makes models and artifacts (for sm_90a, or --target), here or on a machine without a GPU; NVRTC is needed
  device.py measure FOLDER [NAME]...   runs what the folder has, on the GPU that is there; needs Python and the folder, nothing else of Sinter
  device.py list                       the names

The folder then has all that is needed elsewhere. cuBLASLt is looked for where the loader looks and among Python's packages (or SINTER_CUBLASLT).
The last column is what is aimed at. A row of `measure` fails where an answer is wrong. docs/benchmarks.md
"""
import argparse
import dataclasses
import glob
import json
import os
import pathlib
import shutil
import subprocess
import sys
import typing

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
EMULATION_SCALE = 64  # --tiny: sizes are divided by it
TOLERANCES = {"bf16": 2e-2, "f16": 4e-3, "tf32": 2e-3, "f32": 2e-5}  # of an answer, relative to its largest element: a rounding of the result


@dataclasses.dataclass
class Case:
    name: str
    make: typing.Callable  # (path, shapes): writes the model
    shapes: list
    precision: str  # of factors; the types of inputs are the model's
    peer: str  # of device_beside
    kind: str  # what the row is told in: "flops", "bytes", "latency"
    work: float = 0  # operations of floats
    aim: str = ""


# ---- models ----


def save(path, nodes, shapes, dtype, constants=(), outputs=("y",)):
    from onnx import helper, save as save_model
    names = "abcd"[:len(shapes)]
    inputs = [helper.make_tensor_value_info(name, dtype, shape) for name, shape in zip(names, shapes)]
    graph = helper.make_graph(nodes, path.stem, inputs, [helper.make_tensor_value_info(name, dtype, None) for name in outputs], list(constants))
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11), path)


def element_type(name):
    from onnx import TensorProto
    return {"bf16": TensorProto.BFLOAT16, "f16": TensorProto.FLOAT16, "f32": TensorProto.FLOAT}[name]


def node(kind, inputs, dtype="f32", attributes=None):
    def make(path, shapes):
        from onnx import helper
        save(path, [helper.make_node(kind, list(inputs), ["y"], **(attributes or {}))], shapes, element_type(dtype))
    return make


def product(form, dtype):
    def make(path, shapes):
        from onnx import helper
        nodes, names = [], []
        for name, letter in zip("ab", form):
            if letter == "T":
                nodes.append(helper.make_node("Transpose", [name], [name + "_t"], perm=[1, 0]))
            names.append(name + "_t" * (letter == "T"))
        save(path, [*nodes, helper.make_node("MatMul", names, ["y"])], shapes, element_type(dtype))
    return make


def normalization(kind, width):
    def make(path, shapes):
        import numpy
        from onnx import helper, numpy_helper
        random = numpy.random.default_rng(0)
        names = ["scale", "shift"][: 1 + (kind == "LayerNormalization")]
        constants = [numpy_helper.from_array(random.standard_normal(shapes[0][-1]).astype("f4"), name) for name in names]
        save(path, [helper.make_node(kind, ["a", *names], ["y"], axis=-1)], shapes, element_type("f32"), constants)
    return make


def cases():
    listed = []
    for size, aim in ((4096, 0.95), (8192, 0.95)):
        for form in ("NN", "NT"):
            listed.append(Case(f"product_bf16_{size}_{form}", product(form, "bf16"), [[size, size]] * 2, "bf16", f"cublaslt:{form}", "flops", 2 * size**3,
                               f"{aim:.2f} of cuBLASLt (first 0.80)"))
    for dtype, precision, form in (("f16", "f16", "NN"), ("f32", "tf32", "NN,tf32"), ("f32", "f32", "NN")):
        listed.append(Case(f"product_{precision}_4096", product(form, dtype), [[4096, 4096]] * 2, precision, f"cublaslt:{form}", "flops", 2 * 4096**3))
    for length in (4096, 8192, 16384):
        for causal in (0, 1):
            heads = 65536 // length  # as many scores a row for all
            listed.append(Case(f"attention_{length}{'_causal' * causal}", node("Attention", "abc", "bf16", {"is_causal": causal}),
                               [[1, heads, length, 128]] * 3, "bf16", "none", "flops", 4 * heads * length**2 * 128 / (1 + causal), "600 TFLOP/s"))
    rows = [16384, 4096]
    for name, make, shapes in (("add", node("Add", "ab"), [rows] * 2), ("gelu", node("Gelu", "a"), [rows]), ("softmax", node("Softmax", "a", "f32", {"axis": -1}), [rows]),
                               ("layer_norm", normalization("LayerNormalization", 4096), [rows]), ("rms_norm", normalization("RMSNormalization", 4096), [rows]),
                               ("transpose", node("Transpose", "a", "f32", {"perm": [1, 0]}), [rows])):
        listed.append(Case(name, make, shapes, "f32", "copy", "bytes", 0, "0.90 of the memory's rate"))
    for name, precision, aim in (("resnet50", "f16", "600 us"), ("bert_base_seq128", "f16", ""), ("gpt2_small_decode", "f16", "")):
        listed.append(Case(f"{name}_{precision}", None, [name], precision, "cpu", "latency", 0, aim))
    return listed


# ---- here ----


def tiny(case):
    """Sizes that an emulated GPU can do."""
    shapes = [[max(size // EMULATION_SCALE, 1) if size > 128 else size for size in shape] for shape in case.shapes]
    return dataclasses.replace(case, shapes=shapes, work=0)


def compile_case(case, options, build):
    folder, model = options.folder, options.folder / f"{case.name}.onnx"
    if case.make:
        case.make(model, case.shapes)
    else:
        source = options.models / f"{case.shapes[0]}.onnx"
        if not source.exists():
            return f"no {source}"
        model = source
    command = [build / "bin" / "sinter", "compile", model, "-o"]
    precision = [] if case.precision == "f32" else [f"--precision={case.precision}"]
    subprocess.run([*command, folder / f"{case.name}.so", f"--target={options.target}", *precision], check=True)
    if case.peer == "cpu":
        subprocess.run([*command, folder / f"{case.name}.cpu.so", f"--target=cpu:{options.cpu}"], check=True)
    if case.make:
        model.unlink()
    return None


def run_compile(options):
    build, named = ROOT / "build" / options.build, chosen(options)
    options.folder.mkdir(parents=True, exist_ok=True)
    shutil.copy2(build / "tests" / "device_beside", options.folder)
    shutil.copy2(__file__, options.folder)
    rows = []
    for case in named:
        case = tiny(case) if options.tiny and case.make else case
        missing = compile_case(case, options, build)
        print(f"{case.name}: {missing or 'compiled'}", flush=True)
        if not missing:
            values = sum(count(shape) for shape in case.shapes) + count(case.shapes[0]) if case.make else 0
            rows.append({"name": case.name, "precision": case.precision, "peer": case.peer, "kind": case.kind, "work": case.work,
                         "bytes": 4 * values if case.kind == "bytes" else 0, "aim": case.aim})
    (options.folder / "cases.json").write_text(json.dumps(rows, indent=1))


def count(shape):
    total = 1
    for size in shape:
        total *= size
    return total


# ---- where the GPU is ----


def find_cublaslt():
    """Its path; none where there is none, and rows are without a peer then."""
    if os.environ.get("SINTER_CUBLASLT"):
        return os.environ["SINTER_CUBLASLT"]
    packages = [pathlib.Path(path) for path in sys.path if path.endswith("packages")]
    for pattern in ("nvidia/*/lib/libcublasLt.so.1[1-9]",):
        found = [path for folder in packages for path in glob.glob(str(folder / pattern))]
        if found:
            return sorted(found)[-1]
    for pattern in ("/usr/local/cuda/lib64/libcublasLt.so.1[1-9]", "/usr/lib/x86_64-linux-gnu/libcublasLt.so.1[1-9]"):
        if glob.glob(pattern):
            return sorted(glob.glob(pattern))[-1]
    return None


def peer_of(row, folder, library):
    if row["peer"].startswith("cublaslt:"):
        return f"cublaslt:{library}:{row['peer'].split(':')[1]}" if library else "none"
    return f"cpu:{folder / row['name']}.cpu.so" if row["peer"] == "cpu" else row["peer"]


def tell(row, times):
    """Cells: what it reached, the peer, the ratio."""
    own, peer = times["sinter_median_us"], times.get("peer_median_us")
    if row["kind"] == "flops":
        reached, other = f"{row['work'] / own / 1e6:.0f} TFLOP/s", f"{row['work'] / peer / 1e6:.0f} TFLOP/s" if peer else "-"
    elif row["kind"] == "bytes":
        reached, other = f"{row['bytes'] / own / 1e3:.0f} GB/s", f"{row['bytes'] / peer / 1e3:.0f} GB/s" if peer else "-"
    else:
        reached, other = f"{own:.0f} us, waited for {times['sinter_latency_us']:.0f} us", "-"
    return reached, other, f"{peer / own:.2f}" if peer else "-"


def run_measure(options):
    rows = {row["name"]: row for row in json.loads((options.folder / "cases.json").read_text())}
    library, measured, wrong = find_cublaslt(), {}, []
    print(f"cuBLASLt: {library or 'not found'}\n")
    print("| what | Sinter | peer | Sinter / peer | error | aim |\n|---|---|---|---|---|---|")
    for name in options.names or rows:
        row = rows[name]
        done = subprocess.run([options.folder / "device_beside", options.device, options.folder / f"{name}.so", peer_of(row, options.folder, library),
                               str(options.seconds)], capture_output=True, text=True)
        if done.returncode:
            wrong.append(f"{name}: {done.stderr.strip()}")
            continue
        times = measured[name] = json.loads(done.stdout)
        error = times.get("error")
        if error is not None and not error <= TOLERANCES[row["precision"]]:
            wrong.append(f"{name}: its answer is {error:.2g} away from the peer's")
        cells = tell(row, times)
        print(f"| {name} | {' | '.join(cells)} | {'-' if error is None else f'{error:.1e}'} | {row['aim'] or '-'} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1))
    for line in wrong:
        print(f"failed: {line}", file=sys.stderr)
    return 1 if wrong else 0


def chosen(options):
    named = {case.name: case for case in cases()}
    for name in options.names:
        if name not in named:
            sys.exit(f"device.py: error: no row is called {name}; expected one of {', '.join(named)}")
    return [named[name] for name in options.names or named]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("compile", "measure", "list"))
    parser.add_argument("folder", nargs="?", type=pathlib.Path)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--target", default="cuda:sm_90a", help="what is compiled for (cuda:sm_90a)")
    parser.add_argument("--cpu", default="x86-64-v3", help="the CPU whose answers whole models are compared with (x86-64-v3)")
    parser.add_argument("--build", default="release", help="the build that compiles: its name or its folder (release)")
    parser.add_argument("--models", type=pathlib.Path, default=os.environ.get("SINTER_BENCH_MODELS", ROOT.parent / "bench-models"))
    parser.add_argument("--tiny", action="store_true", help="sizes for an emulated GPU, whose times mean nothing")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a turn")
    parser.add_argument("--json", type=pathlib.Path, help="file for the figures")
    options = parser.parse_args()
    if options.verb == "list":
        print("\n".join(case.name for case in cases()))
        return 0
    if not options.folder:
        parser.error(f"{options.verb}: expected a folder")
    return run_compile(options) or 0 if options.verb == "compile" else run_measure(options)


if __name__ == "__main__":
    sys.exit(main())
