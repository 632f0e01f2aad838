"""Contractions, attention and normalisations on CUDA keep what they work on in registers: NVIDIA's NVRTC compiles them for an old, a
common and a new architecture, and no kernel has local memory (`sinter inspect`, which reads the compiled code).

    tests/suites/cuda_registers.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import os
import pathlib
import re
import subprocess

from tally import Tally

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SINTER_BUILD", ROOT / "build" / "dev"))
SINTER = BUILD / "bin" / "sinter"
ARCHITECTURES = ("sm_75", "sm_80", "sm_90a")
PATIENCE = 600  # seconds

# model below tests/, options
CASES = [
    ("codegen/emit_cuda/contraction.sir",),
    ("codegen/emit_cuda/contraction.sir", "--precision=bf16"),
    ("codegen/emit_cuda/contraction.sir", "--precision=f16"),
    ("codegen/emit_cuda/contraction_mma.sir",),
    ("codegen/emit_cuda/contraction_tf32.sir",),
    ("codegen/emit_cuda/contraction_split.sir",),
    ("codegen/emit_cuda/convolution_first.sir", "--precision=f16"),
    ("codegen/emit_cuda/contraction_tf32.sir", "--precision=tf32"),
    ("codegen/emit_cuda/attention.sir",),
    ("ops/normalization.sir",),
    ("ops/softmax.sir",),
]
REFUSED = {("--precision=tf32", "sm_75")}  # the compiler says so
COLUMNS = 9  # calls, grid, block, registers "40" or "40 + 8 B", shared, bytes, flops, predicted, name


def look(model, architecture, options):
    """What is wrong, as lines; None where there is no NVRTC."""
    environment = {key: value for key, value in os.environ.items() if key != "SINTER_CUDA_PATH"}
    done = subprocess.run([str(SINTER), "inspect", str(ROOT / "tests" / model), f"--target=cuda:{architecture}", *options],
                          capture_output=True, text=True, env=environment, timeout=PATIENCE)
    if done.returncode:
        return [(done.stderr + done.stdout)[-2000:]]
    if "NVRTC: error: not found" in done.stderr:
        return None
    lines = done.stdout.splitlines()
    first = next((i for i, line in enumerate(lines) if line.split()[:2] == ["calls", "grid"]), len(lines)) + 1
    problems = []
    for line in lines[first:-1]:
        fields = re.split(r" {2,}", line.strip())
        if len(fields) != COLUMNS or not fields[3].isdigit():
            problems.append(f"expected registers alone: {line.strip()}")
    return problems or ([] if len(lines) > first + 1 else ["no kernel is listed:\n" + done.stdout + done.stderr])


def main():
    tally = Tally()
    for model, *options in CASES:
        for architecture in ARCHITECTURES:
            if any((option, architecture) in REFUSED for option in options):
                continue
            name = " ".join([model, architecture, *options])
            problems = look(model, architecture, options)
            if problems is None:
                tally.skipped(name, "NVRTC is not installed")
            else:
                tally.check(name, problems)
    tally.finish()


if __name__ == "__main__":
    main()
