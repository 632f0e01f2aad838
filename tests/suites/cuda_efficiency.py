"""How near memory-bound kernels on CUDA come to the least they must move, by the counters of the emulated device: sectors of
global memory against the bytes of what is read and written once (of contractions: that their tiles ask for), and waves of shared memory against
those that the bytes take.

    tests/suites/cuda_efficiency.py     with PYTHONPATH=tests/suites and SINTER_BUILD

The architecture is a small one (sm_75: 40 multiprocessors), so that blocks have several rows as they have in large models.
"""

import json
import os
import pathlib
import subprocess
import tempfile

from tally import Tally

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SINTER_BUILD", ROOT / "build" / "dev"))
SINTER = BUILD / "bin" / "sinter"
EMULATION = BUILD / "tests" / "cuda_emulation"
SECTOR = 32  # bytes
LIMIT = 1.1  # times the least
FEW_ROWS = 1.55  # where each block has one row, and reads what all rows share
ASKED = None  # as the least: the sectors that what each request asks for would fill; a tile is read again and again
PATIENCE = 600  # seconds

# name, inputs, body, bytes that are read and written once, limit, and the architecture if it is another
CASES = [
    ("add", "%x: f32[96,500], %z: f32[96,500]", "%y = add(%x, %z)", 3 * 96 * 500 * 4, LIMIT),
    ("add a row", "%x: f32[300,96], %z: f32[96]", "%y = add(%x, %z)", 2 * 300 * 96 * 4 + 96 * 4, 1.6),
    ("odd size", "%x: f32[10007]", "%y = exp(%x)", 2 * 10007 * 4, LIMIT),
    ("halves", "%x: f16[64,300]", "%y = tanh(%x)", 2 * 64 * 300 * 2, LIMIT),
    ("bytes", "%x: u8[64,300]", "%y = cast(%x) {to = f32}", 64 * 300 * 5, LIMIT),
    ("softmax", "%x: f32[192,1000]", "%y = softmax(%x)", 2 * 192 * 1000 * 4, LIMIT),
    ("softmax of halves", "%x: f16[64,2048]", "%y = softmax(%x)", 2 * 64 * 2048 * 2, LIMIT),
    ("layer normalization", "%x: f32[2400,768], %w: f32[768], %b: f32[768]",
     "%y = layer_normalization(%x, %w, %b)", 2 * 2400 * 768 * 4 + 2 * 768 * 4, LIMIT),
    ("layer normalization of few rows", "%x: f32[40,768], %w: f32[768]",
     "%y = layer_normalization(%x, %w)", 2 * 40 * 768 * 4 + 768 * 4, FEW_ROWS),
    ("rms normalization", "%x: f32[2400,512], %w: f32[512]", "%y = rms_normalization(%x, %w)",
     2 * 2400 * 512 * 4 + 512 * 4, LIMIT),
    ("sums of rows", "%x: f32[100,1600]",
     "%a = constant() {value = tensor<i64[1], [1]>}\n    %y = reduce_sum(%x, %a)", 100 * 1600 * 4 + 400, LIMIT),
    ("transpose", "%x: f32[160,224]", "%y = transpose(%x) {perm = [1, 0]}", 2 * 160 * 224 * 4, LIMIT),
    ("transpose with edges", "%x: f32[200,168]", "%y = transpose(%x) {perm = [1, 0]}", 2 * 200 * 168 * 4, LIMIT),
    ("transpose of halves", "%x: f16[160,224]", "%y = transpose(%x) {perm = [1, 0]}", 2 * 160 * 224 * 2, LIMIT),
    ("channels last", "%x: f32[2,64,14,16]", "%y = transpose(%x) {perm = [0, 2, 3, 1]}", 2 * 2 * 64 * 224 * 4, LIMIT),
    ("heads", "%x: f32[2,24,8,64]", "%y = transpose(%x) {perm = [0, 2, 1, 3]}", 2 * 2 * 24 * 8 * 64 * 4, LIMIT),
    ("contraction", "%x: f32[128,96], %z: f32[96,128]", "%y = matmul(%x, %z)", ASKED, LIMIT),
    ("contraction with edges", "%x: f32[100,90], %z: f32[90,120]", "%y = matmul(%x, %z)", ASKED, LIMIT),
    ("contraction of rows and rows", "%x: f32[128,96], %w: f32[128,96]",
     "%z = transpose(%w) {perm = [1, 0]}\n    %y = matmul(%x, %z)", ASKED, LIMIT),
    ("contraction of columns and columns", "%v: f32[96,128], %z: f32[96,128]",
     "%x = transpose(%v) {perm = [1, 0]}\n    %y = matmul(%x, %z)", ASKED, LIMIT),
    ("contraction of columns and rows of bf16", "%v: bf16[96,128], %w: bf16[128,96]",
     "%a = transpose(%v) {perm = [1, 0]}\n    %b = transpose(%w) {perm = [1, 0]}\n    %x = cast(%a) {to = f32}\n    %z = cast(%b) {to = f32}\n"
     "    %y = matmul(%x, %z)", ASKED, LIMIT, "80"),
    ("contraction of bf16", "%a: bf16[128,96], %b: bf16[96,128]",
     "%x = cast(%a) {to = f32}\n    %z = cast(%b) {to = f32}\n    %y = matmul(%x, %z)", ASKED, LIMIT, "80"),
    ("contraction by copies under way", "%x: f32[128,96], %z: f32[96,128]", "%y = matmul(%x, %z)", ASKED, LIMIT, "80"),
    ("contraction in parts", "%x: f32[64,1024], %z: f32[1024,64]", "%y = matmul(%x, %z)", ASKED, LIMIT, "80"),
    ("contraction of tf32", "%a: f32[128,96], %b: f32[96,128]",
     "%x = round_tf32(%a)\n    %z = round_tf32(%b)\n    %y = matmul(%x, %z)", ASKED, LIMIT, "80"),
    ("contraction of bytes", "%x: i8[128,96], %z: i8[96,128]", "%y = matmul_integer(%x, %z)", ASKED, LIMIT, "80"),
    ("attention", "%q: f32[1,1,64,32], %k: f32[1,1,128,32]", "%y = attention(%q, %k, %k)", ASKED, LIMIT, "80"),
    ("attention of bf16", "%a: bf16[1,2,64,32], %b: bf16[1,2,128,32]",
     "%q = cast(%a) {to = f32}\n    %k = cast(%b) {to = f32}\n    %y = attention(%q, %k, %k) {factor_precision = \"bf16\"}", ASKED, LIMIT, "80"),
]


def run(folder, inputs, body, architecture):
    """The counters of a model's kernels, summed; or what went wrong, as text."""
    model, counters = folder / "model.sir", folder / "counters"
    model.write_text(f'module "m" {{\n  graph ({inputs}) {{\n    {body}\n    yield(%y)\n  }}\n}}\n')
    counters.unlink(missing_ok=True)
    environment = {**os.environ, "SINTER_CUDA_PATH": str(EMULATION), "SINTER_EMULATION_ARCHITECTURE": architecture,
                   "SINTER_EMULATION_COUNTERS": str(counters)}
    done = subprocess.run([SINTER, "run", model, "--device=cuda"], capture_output=True, text=True,
                          env=environment, timeout=PATIENCE)
    if done.returncode:
        return (done.stderr + done.stdout)[-2000:]
    rows = [json.loads(line) for line in counters.read_text().splitlines()]
    return {name: sum(row[name] for row in rows) for name in rows[0] if name != "kernel"} if rows else "no kernel ran"


def problems_of(sums, least, limit):
    if isinstance(sums, str):
        return [sums]
    moved = sums["global_sectors"] * SECTOR
    least = sums["global_least_sectors"] * SECTOR if least is ASKED else least
    found = []
    if moved > limit * least:
        found.append(f"{moved} bytes moved, {least} needed: {moved / least:.3f} times, expected {limit} at most")
    if moved < least:
        found.append(f"{moved} bytes moved, {least} needed: something is not counted")
    if sums["shared_waves"] > sums["shared_least_waves"]:
        found.append(f"{sums['shared_waves']} waves of shared memory, {sums['shared_least_waves']} would do")
    return found


def main():
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        for name, inputs, body, least, limit, *other in CASES:
            sums = run(pathlib.Path(folder), inputs, body, *(other or ["75"]))
            tally.check(name, problems_of(sums, least, limit))
            if not isinstance(sums, str):
                least = sums["global_least_sectors"] * SECTOR if least is ASKED else least
                print(f"  {name}: {sums['global_sectors'] * SECTOR / least:.3f} times the least, "
                      f"{sums['global_requests']} requests", flush=True)
    tally.finish()


if __name__ == "__main__":
    main()
