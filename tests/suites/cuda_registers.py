"""Contractions, attention and normalisations on CUDA keep what they work on in registers: NVIDIA's NVRTC compiles them for an old, a
common and a new architecture, and no kernel has local memory (`sinter inspect`, which reads the compiled code). NVIDIA's disassembler shows that
code for sm_90a alone has the instructions of warpgroups, and that other code has those of warps.

    tests/suites/cuda_registers.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import os
import pathlib
import re
import shutil
import struct
import subprocess
import sysconfig
import tempfile

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
    ("codegen/emit_cuda/contraction_wgmma.sir",),
    ("codegen/emit_cuda/contraction_pieces.sir",),
    ("codegen/emit_cuda/contraction_boxes.sir",),
    ("codegen/emit_cuda/contraction_tf32.sir",),
    ("codegen/emit_cuda/contraction_split.sir",),
    ("codegen/emit_cuda/convolution_first.sir", "--precision=f16"),
    ("codegen/emit_cuda/contraction_tf32.sir", "--precision=tf32"),
    ("codegen/emit_cuda/attention.sir",),
    ("codegen/emit_cuda/attention_tiles.sir",),
    ("codegen/emit_cuda/attention_tiles.sir", "--precision=bf16"),
    ("codegen/emit_cuda/attention_mma.sir",),
    ("codegen/emit_cuda/attention_wgmma.sir",),
    ("ops/normalization.sir",),
    ("ops/softmax.sir",),
]
REFUSED = {("--precision=tf32", "sm_75")}  # the compiler says so
# model, target, how many of its kernels have instructions of this name
INSTRUCTIONS = [
    ("codegen/emit_cuda/contraction_wgmma.sir", "cuda:sm_90a", "HGMMA", 2),
    ("codegen/emit_cuda/contraction_wgmma.sir", "cuda:sm_90", "HMMA", 2),
    ("codegen/emit_cuda/attention_wgmma.sir", "cuda:sm_90a", "HGMMA", 5),
    ("codegen/emit_cuda/attention_wgmma.sir", "cuda:sm_90a", "HGMMA.64x8x16", 0),
    ("codegen/emit_cuda/contraction_pieces.sir", "cuda:sm_90a", "HGMMA.64x256x16", 2),
    ("codegen/emit_cuda/contraction_pieces.sir", "cuda:sm_90a", "SYNCS.PHASECHK", 2),
    ("codegen/emit_cuda/contraction_boxes.sir", "cuda:sm_90a", "HGMMA.64x256x16", 2),
    ("codegen/emit_cuda/contraction_boxes.sir", "cuda:sm_90a", "UTMALDG", 2),
    ("codegen/emit_cuda/contraction_boxes.sir", "cuda:sm_90a", "SYNCS.PHASECHK", 2),
    ("codegen/emit_cuda/contraction_boxes.sir", "cuda:sm_90a", "HGMMA.64x8x16", 0),
    ("codegen/emit_cuda/contraction_pieces.sir", "cuda:sm_90a", "UTMALDG", 0),
    # which NVIDIA's compiler adds where products are waited for that may not have begun
    ("codegen/emit_cuda/contraction_pieces.sir", "cuda:sm_90a", "HGMMA.64x8x16", 0),
    ("codegen/emit_cuda/contraction_wgmma.sir", "cuda:sm_90a", "HGMMA.64x8x16", 0),
]
# Memory of a block that a launch asks for beyond what code declares counts: that of warpgroups' tiles is more than the 48 KB that it may.
ASKING = ("codegen/emit_cuda/contraction_wgmma.sir", "sm_90a", 2)  # model, architecture, so many kernels
DECLARED = 49152
MACHINE = 190  # of ELF: CUDA
COLUMNS = 9  # calls, grid, block, registers "40" or "40 + 8 B", shared, bytes, flops, predicted, name


def inspect(model, architecture, *options):
    environment = {key: value for key, value in os.environ.items() if key != "SINTER_CUDA_PATH"}
    return subprocess.run([str(SINTER), "inspect", str(ROOT / "tests" / model), f"--target=cuda:{architecture}", *options],
                          capture_output=True, text=True, env=environment, timeout=PATIENCE)


def look(model, architecture, options):
    """What is wrong, as lines; None where there is no NVRTC."""
    done = inspect(model, architecture, *options)
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


def count_asking(model, architecture):
    """How many kernels have more shared memory of a block than code may declare; None where there is no NVRTC."""
    done = inspect(model, architecture)
    if "NVRTC: error: not found" in done.stderr:
        return None
    sizes = [re.split(r" {2,}", line.strip())[4:5] for line in done.stdout.splitlines()[1:]]
    units = {"B": 1, "kB": 1e3}
    return sum(float(number) * units[unit] >= DECLARED for size in sizes for number, unit in re.findall(r"^([\d.]+) (k?B)$", "".join(size)))


def find_disassembler():
    """The PyPI package's, or that of a toolkit; None."""
    packages = pathlib.Path(sysconfig.get_paths()["purelib"]) / "nvidia"
    found = sorted(packages.glob("*/bin/nvdisasm"))
    return str(found[-1]) if found else shutil.which("nvdisasm")


def cubins(artifact):
    """The images in an artifact, as bytes each."""
    data = artifact.read_bytes()
    found = []
    at = data.find(b"\x7fELF", 1)
    while at >= 0:
        machine, = struct.unpack_from("<H", data, at + 18)
        segments, sections = struct.unpack_from("<QQ", data, at + 32)
        sizes = struct.unpack_from("<HHHH", data, at + 54)  # of segments' headers and of sections', by how many
        if machine == MACHINE:
            found.append(data[at:at + max(segments + sizes[0] * sizes[1], sections + sizes[2] * sizes[3])])
        at = data.find(b"\x7fELF", at + 4)
    return found


def disassemble(disassembler, model, target, instruction, wanted):
    """What is wrong, as lines; None where there is no NVRTC."""
    environment = {key: value for key, value in os.environ.items() if key != "SINTER_CUDA_PATH"}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        done = subprocess.run([str(SINTER), "compile", str(ROOT / "tests" / model), f"--target={target}", "-o", str(folder / "m.so")],
                              capture_output=True, text=True, env=environment, timeout=PATIENCE)
        if done.returncode:
            return None if "NVRTC: error: not found" in done.stderr else [done.stderr[-2000:]]
        kernels, problems = 0, []
        for number, code in enumerate(cubins(folder / "m.so")):
            file = folder / f"{number}.cubin"
            file.write_bytes(code)
            shown = subprocess.run([disassembler, "-c", str(file)], capture_output=True, text=True, timeout=PATIENCE)
            if shown.returncode:
                problems.append(shown.stderr[-500:])
            kernels += re.search(rf"\b{instruction}\.", shown.stdout) is not None
            problems += [f"local memory: {line.strip()}" for line in shown.stdout.splitlines() if re.search(r"\b(LDL|STL)\b", line)][:3]
        if kernels != wanted:
            problems.append(f"{kernels} kernels have {instruction}, expected {wanted}")
        return problems


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
    model, architecture, wanted = ASKING
    found = count_asking(model, architecture)
    if found is None:
        tally.skipped("shared memory that launches ask for", "NVRTC is not installed")
    else:
        tally.check("shared memory that launches ask for", [] if found == wanted else [f"{found} kernels, expected {wanted}"])
    disassembler = find_disassembler()
    for model, target, instruction, wanted in INSTRUCTIONS:
        name = f"{instruction} in {model} {target}"
        problems = disassembler and disassemble(disassembler, model, target, instruction, wanted)
        if problems is None:
            tally.skipped(name, "NVRTC or nvdisasm is not installed")
        else:
            tally.check(name, problems)
    tally.finish()


if __name__ == "__main__":
    main()
