"""Real models give the answers of ONNX Runtime: max|a - b| / max|b| of an output is at most 1e-4 for floats.

    ../shared/models (SINTER_SHARED overrides)   the trained models that INDEX.md there lists
    the wheel rapidocr-onnxruntime               PP-OCR detection, recognition, classification, at several picture sizes
    $SINTER_BENCH_MODELS                         NAME.onnx with NAME.in.npz and NAME.out.npz; minilm.onnx at several lengths

Every model becomes a case for `sinter test`: one compilation, with symbolic dims where the file has them, runs all data
sets. Two correct programs round some numbers of a quantized model to different sides, which its later layers spread over
whole answers: its integers are compared one by one instead, with exact arithmetic. What is absent is skipped.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime

from support import onnx_cases, quantized

ROOT = onnx_cases.ROOT
WORK = ROOT / "build" / "real-models"
SHARED = pathlib.Path(os.environ.get("SINTER_SHARED", ROOT.parent / "shared")) / "models"
BENCH = pathlib.Path(os.environ.get("SINTER_BENCH_MODELS", ROOT.parent / "bench-models"))
OCR_WHEEL = "rapidocr-onnxruntime==1.4.4"
SECONDS = onnx_cases.sanitizers.seconds(600, onnx_cases.BUILD)

TOLERANCE = 1e-4
HALF_TOLERANCE = 5e-3
QUANTIZED = ("int8", "qdq")
ORACLES = {"mnist_opset1_model": "mnist.onnx"}  # no other program reads opset 1; the network is the same
PICTURES = ("Input3", "inputImage")  # inputs from 0 to 255


def session(path):
    """Without optimizations, so that the answer is what the file says."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def without_removed_operators(path):
    """The model in operators that ONNX still has, in a file of its own: ImageScaler and Affine scale and add, Crop slices."""
    model = onnx.load(path)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        name = node.output[0]
        if node.op_type in ("ImageScaler", "Affine"):
            scale = np.float32(attributes.get("scale", attributes.get("alpha", 1)))
            bias = np.array(attributes.get("bias", attributes.get("beta", 0)), np.float32).reshape(-1, 1, 1)
            model.graph.initializer.append(onnx.numpy_helper.from_array(scale, f"{name}__scale"))
            model.graph.initializer.append(onnx.numpy_helper.from_array(bias, f"{name}__bias"))
            model.graph.node.append(onnx.helper.make_node("Mul", [node.input[0], f"{name}__scale"], [f"{name}__scaled"]))
            model.graph.node.append(onnx.helper.make_node("Add", [f"{name}__scaled", f"{name}__bias"], [name]))
        elif node.op_type == "Crop":
            left, top, right, bottom = attributes["border"]
            bounds = {"axes": [2, 3], "starts": [top, left], "ends": [-bottom or 2**31 - 1, -right or 2**31 - 1]}
            model.graph.node.append(onnx.helper.make_node("Slice", [node.input[0]], [name], **bounds))
        else:
            model.graph.node.append(node)
    WORK.mkdir(parents=True, exist_ok=True)
    onnx.save(model, WORK / f"{path.stem}_oracle.onnx")
    return WORK / f"{path.stem}_oracle.onnx"


def draw_text(shape, random):
    """White pictures with lines of dark letters, each a stem and a bar, from -1 to 1."""
    picture = np.ones(shape, np.float32)
    for y in range(12, shape[2] - 24, 32):
        for x in range(16, shape[3] - 24, 12):
            bar = y + int(random.integers(0, 14))
            picture[:, :, y : y + 16, x : x + 2] = -1
            picture[:, :, bar : bar + 2, x : x + 8] = -1
    return picture


def make_input(value, dims, seed):
    """Numbers that suit an input: pictures and sounds are small reals, integers are bytes or small indices."""
    random = np.random.default_rng(seed)
    shape = [dim if isinstance(dim, int) else dims.get(dim, dims.get(index, 1)) for index, dim in enumerate(value.shape)]
    if dims.get("text"):
        return draw_text(shape, random)
    if value.type == "tensor(uint8)":
        return random.integers(0, 256, shape, np.uint8)
    if value.type == "tensor(int8)":
        return random.integers(-128, 128, shape, np.int8)
    if value.type == "tensor(int64)":
        return np.ones(shape, np.int64) if "mask" in value.name else random.integers(0, 100, shape, np.int64)
    kind = np.float16 if "float16" in value.type else np.float32
    scale = 255 if value.name in PICTURES else 1
    return (random.random(shape) * scale).astype(kind)


def write_tensor(path, array):
    path.write_bytes(onnx.numpy_helper.from_array(np.asarray(array, order="C")).SerializeToString())


def make_case(name, model, data_sets):
    """A folder for `sinter test`; data sets are pairs (inputs, outputs) in the order of the model."""
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "model.onnx").symlink_to(model.resolve())
    for number, (inputs, outputs) in enumerate(data_sets):
        data_set = folder / f"test_data_set_{number}"
        data_set.mkdir()
        for index, array in enumerate(inputs):
            write_tensor(data_set / f"input_{index}.pb", array)
        for index, array in enumerate(outputs):
            write_tensor(data_set / f"output_{index}.pb", array)
    return folder


def ask(model, all_dims, oracle=None):
    """Data sets of made inputs, one for each {dim: size} of all_dims, with the answers of ONNX Runtime."""
    run = session(oracle or model)
    data_sets = []
    for seed, dims in enumerate(all_dims):
        inputs = {value.name: make_input(value, dims, seed) for value in run.get_inputs()}
        data_sets.append((list(inputs.values()), run.run(None, inputs)))
    return data_sets


def check(tally, name, model, data_sets):
    if any(word in name for word in QUANTIZED):
        return check_quantized(tally, name, model, data_sets[0][0])
    allowed = HALF_TOLERANCE if "fp16" in name else TOLERANCE
    folder = make_case(name, model, data_sets)
    command = [onnx_cases.SINTER, "test", f"--relative={allowed}", f"--timeout={SECONDS}", folder]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    text = "\n".join(done.stdout.splitlines()[1:]) + done.stderr
    tally.check(name, [] if done.returncode == 0 else [onnx_cases.first_sentence(text)])
    if done.returncode == 0:
        print(f"  {name}: {len(data_sets)} data sets, relative error at most {allowed:.2g}", flush=True)


def check_quantized(tally, name, model, inputs):
    try:
        wrong, count = quantized.wrong_results(model, inputs)
    except RuntimeError as error:
        wrong, count = [str(error)], 0
    tally.check(name, wrong[:3])
    if not wrong:
        print(f"  {name}: {count} quantized tensors, all exact but for ties", flush=True)


def shared_models(tally):
    models = sorted(SHARED.rglob("*.onnx"))
    if not models:
        tally.skipped("shared models", "no ../shared/models and no SINTER_SHARED")
    for path in models:
        name = path.stem if path.stem != "model" else path.parent.name
        stored = path.parent / "test_data_set_0"
        if stored.exists():
            arrays = [
                [onnx.numpy_helper.to_array(onnx.TensorProto.FromString(file.read_bytes())) for file in sorted(stored.glob(f"{kind}_*.pb"))]
                for kind in ("input", "output")
            ]
            check(tally, f"{name}_stored", path, [tuple(arrays)])
        oracle = path.with_name(ORACLES[name]) if name in ORACLES else None
        if name == "candy":
            oracle = without_removed_operators(path)
        check(tally, name, path, silero(path) if "silero" in name else ask(path, [{0: 1}, {0: 3}], oracle))


def silero(path):
    """Two steps of a stream: the state of the first is an input of the second."""
    run = session(path)
    data_sets = []
    for seed, batch in enumerate((1, 2)):
        state = np.zeros((2, batch, 128), np.float32)
        for step in range(2):
            sound = np.random.default_rng(10 * seed + step).standard_normal((batch, 512)).astype(np.float32) * 0.1
            inputs = {"input": sound, "state": state, "sr": np.array(16000, np.int64)}
            outputs = run.run(None, inputs)
            data_sets.append((list(inputs.values()), outputs))
            state = outputs[1]
    return data_sets


def ocr_models():
    """The three files out of the wheel, which is downloaded into build/ once; none where that can't be."""
    folder = ROOT / "build" / "rapidocr"
    if not list(folder.rglob("*.onnx")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), OCR_WHEEL]
        if subprocess.run(command, capture_output=True).returncode != 0:
            return {}
        for wheel in folder.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder, [name for name in archive.namelist() if name.endswith(".onnx")])
    return {path.stem: path for path in folder.rglob("*.onnx")}


def ocr(tally):
    sizes = {
        "det": [(1, 64, 96), (2, 64, 96), (1, 320, 640)],
        "rec": [(1, 48, 320), (6, 48, 100), (2, 48, 64)],
        "cls": [(1, 48, 192), (6, 48, 192)],
    }
    models = ocr_models()
    if not models:
        tally.skipped("PP-OCR", f"{OCR_WHEEL} can't be downloaded")
    for name, path in sorted(models.items()):
        kind = next(kind for kind in sizes if kind in name)
        check(tally, name, path, ask(path, [{0: n, 2: h, 3: w, **named(path, n, h, w), "text": kind == "det"} for n, h, w in sizes[kind]]))


def named(path, n, h, w):
    """The sizes by the names that the file gives its dims."""
    shape = session(path).get_inputs()[0].shape
    return {dim: (n, 3, h, w)[axis] for axis, dim in enumerate(shape) if isinstance(dim, str)}


def bench_models(tally):
    models = sorted(BENCH.glob("*.onnx"))
    if not models:
        tally.skipped("bench models", "SINTER_BENCH_MODELS names no folder with models")
    for path in models:
        data_sets = []
        for inputs_path in sorted([*path.parent.glob(f"{path.stem}.in.npz"), *path.parent.glob(f"{path.stem}_?.in.npz")]):
            outputs_path = inputs_path.with_name(inputs_path.name.replace(".in.", ".out."))
            inputs, outputs = np.load(inputs_path), np.load(outputs_path)
            names = [value.name for value in onnx.load(path, load_external_data=False).graph.input]
            results = [value.name for value in onnx.load(path, load_external_data=False).graph.output]
            if set(names) <= set(inputs.files) and set(results) <= set(outputs.files):
                data_sets.append(([inputs[name] for name in names], [outputs[name] for name in results]))
        if data_sets:
            check(tally, path.stem, path, data_sets)
        else:
            tally.skipped(path.stem, "no data beside it")


def main():
    tally = onnx_cases.Tally()
    shared_models(tally)
    ocr(tally)
    bench_models(tally)
    tally.finish()


if __name__ == "__main__":
    main()
