"""What the benchmarks share: where things are, inputs for a model, a compiled artifact, a turn of `beside`, markdown tables."""
import glob
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import numpy

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SHARED = pathlib.Path(os.environ.get("SINTER_SHARED", ROOT.parent / "shared"))
BENCH_MODELS = pathlib.Path(os.environ.get("SINTER_BENCH_MODELS", ROOT.parent / "bench-models"))
EMBEDDED = ROOT / "tests" / "models"
PYTHON = os.environ.get("SINTER_BENCH_PYTHON", sys.executable)  # where other engines are looked for
OPENVINO = """
import json, sys, time
import numpy, openvino
model, feeds, threads, seconds, precision, answers = sys.argv[1:]
settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision}
compiled = openvino.Core().compile_model(model, "CPU", settings)
request = compiled.create_infer_request()
arrays = dict(numpy.load(feeds))
for port in compiled.inputs:
    request.set_tensor(port, openvino.Tensor(arrays[next(name for name in port.get_names() if name in arrays)]))
times, end = [], time.perf_counter() + float(seconds)
while len(times) < 5 or time.perf_counter() < end:
    start = time.perf_counter()
    request.infer(share_outputs=True)
    times.append(1e3 * (time.perf_counter() - start))
numpy.savez(answers, **{name: request.get_tensor(port).data for port in compiled.outputs for name in port.get_names()})
print(json.dumps({"median_ms": sorted(times)[len(times) // 2], "min_ms": min(times)}))
"""
NUMPY_TYPES = {"tensor(float)": "f4", "tensor(float16)": "f2", "tensor(double)": "f8", "tensor(int64)": "i8", "tensor(int32)": "i4",
               "tensor(uint8)": "u1", "tensor(int8)": "i1", "tensor(bool)": "?"}


def make_feeds(model, dims):
    """Arrays for the model's inputs, by name: those of NAME.in.npz beside NAME.onnx, otherwise from a seed. `dims` has the sizes of
    symbolic dims, 1 where it has not."""
    import onnxruntime
    stored = model.with_suffix(".in.npz")
    if stored.exists():
        return dict(numpy.load(stored))
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    random = numpy.random.default_rng(0)
    feeds = {}
    for value in session.get_inputs():
        shape = [d if isinstance(d, int) else dims.get(d, 1) for d in value.shape]
        kind = NUMPY_TYPES[value.type]
        feeds[value.name] = make_array(random, shape, kind)
    return feeds


def make_array(random, shape, kind):
    if kind.startswith("f"):
        return random.standard_normal(shape).astype(kind)
    low, high = (-128, 128) if kind == "i1" else (0, 256) if kind == "u1" else (0, 2)
    return random.integers(low, high, shape).astype(kind)


def relative_error(answers, expected):
    """The worst max|a-b| / max|b| of the outputs, arrays by name. NaN and infinities have to be where they are expected: a RuntimeError
    names the output otherwise, as it does for one that is missing or has another shape."""
    worst = 0.0
    for name, wanted in expected.items():
        if name not in answers or answers[name].shape != wanted.shape:
            raise RuntimeError(f"output '{name}': expected shape {wanted.shape}, found {answers[name].shape if name in answers else 'none'}")
        a, b = answers[name].astype("f8"), wanted.astype("f8")
        numbers = numpy.isfinite(a) & numpy.isfinite(b)
        wrong = int((~numbers & (a != b) & ~(numpy.isnan(a) & numpy.isnan(b))).sum())
        if wrong:
            raise RuntimeError(f"output '{name}': {wrong} of {a.size} elements are NaN or infinite in one answer only")
        scale = numpy.abs(b[numbers]).max(initial=0) or 1
        worst = max(worst, float(numpy.abs(a[numbers] - b[numbers]).max(initial=0) / scale))
    return worst


def has_openvino():
    return subprocess.run([PYTHON, "-c", "import openvino"], capture_output=True).returncode == 0


def onnxruntime_library():
    import onnxruntime
    found = glob.glob(os.path.join(os.path.dirname(onnxruntime.__file__), "capi", "libonnxruntime.so*"))
    return found[0] if found else None


class Bench:
    """One run of benchmarks: the build that is measured, the options, and a folder for files."""

    def __init__(self, options, folder):
        self.options, self.folder = options, pathlib.Path(folder)
        build = ROOT / "build" / options.build
        self.sinter = build / "bin" / "sinter"
        self.program = build / "tests" / "beside"
        self.counter, self.failures = 0, []

    def run(self, *command):
        """A program that is timed: alone among those with real-time priority, where that is asked for."""
        prefix = []
        if self.options.realtime:
            wait_for_real_time_programs()
            prefix = ["chrt", "-f", str(self.options.realtime)]
        # A peer chooses for itself: settings for another machine would make it slower than it is.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENBLAS_", "OMP_"))}
        done = subprocess.run([*prefix, *map(str, command)], capture_output=True, text=True, env=environment)
        if done.returncode:
            raise RuntimeError(f"{pathlib.Path(command[0]).name}: {done.stderr.strip()[-300:]}")
        return done.stdout

    def openvino(self, model, feeds, threads, precision, answers, seconds=None):
        """A turn of OpenVINO on inputs of an .npz file: its median_ms and min_ms; outputs by name go to the .npz file `answers`."""
        output = self.run(PYTHON, "-c", OPENVINO, model, feeds, threads, seconds or self.options.seconds, precision, answers)
        return json.loads(output.splitlines()[-1])

    def fail(self, message):
        self.failures.append(message)
        print(f"\nfailed: {message}", flush=True)

    def compile(self, model, *arguments):
        self.counter += 1
        artifact = self.folder / f"{self.counter}-{model.stem}.so"
        subprocess.run([self.sinter, "compile", model, "-o", artifact, *arguments], check=True, stderr=subprocess.DEVNULL)
        return artifact

    def roofline(self, threads):
        """GFLOP/s in f32 and GB/s from memory: the best of some tries, for others' load can only lower them."""
        best = [0.0, 0.0]
        for _ in range(3):
            text = self.run(self.sinter, "bench", EMBEDDED / "mlp.onnx", "--per-node", "--seconds=0.01", f"--threads={threads}")
            found = re.search(r"at most ([\d.]+) GFLOP/s.* ([\d.]+) GB/s from memory", text)
            best = [max(old, float(new)) for old, new in zip(best, found.groups())]
        return best

    def save(self, arrays):
        """Files of the arrays, in their order."""
        files = []
        for array in arrays:
            self.counter += 1
            files.append(self.folder / f"{self.counter}.npy")
            numpy.save(files[-1], array)
        return files

    def beside(self, artifact, peer, files, threads):
        """Figures of an artifact and its peer, the best of the rounds."""
        rounds = [json.loads(self.run(self.program, artifact, peer, threads, self.options.seconds, *files))
                  for _ in range(self.options.rounds)]
        return {name: min(one[name] for one in rounds) if name != "error" else rounds[0][name] for name in rounds[0]}


def wait_for_real_time_programs():
    """Until no other program (the kernel's own threads are children of process 2) has first-in first-out priority."""
    while True:
        listed = subprocess.run(["ps", "-eo", "ppid,cls"], capture_output=True, text=True).stdout
        if not any(line.split() and line.split()[-1] == "FF" and line.split()[0] not in ("0", "2") for line in listed.splitlines()):
            return
        time.sleep(0.2)


class Table:
    """A markdown table that grows as its rows are measured."""

    def __init__(self, title, *columns):
        print(f"\n## {title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)

    def row(self, *cells):
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
