"""Objects that `sinter compile` makes, linked with tests/unit/isa_driver.c into a program, which runs here or as 64-bit Arm under qemu;
and answers of two such runs compared.

Used by tests/suites/isa.py and tests/suites/long/arm_ops.py; not a suite itself.
"""

import pathlib
import shutil
import struct
import subprocess

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[3]
DRIVER = ROOT / "tests" / "unit" / "isa_driver.c"
ARM_CC, ARM_RUN = "aarch64-linux-gnu-gcc", "qemu-aarch64"
WARNINGS = ["-std=c17", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
ALLOCATE = 2**64 - 1  # of isa_driver.c
FLOATS = {getattr(TensorProto, name) for name in TensorProto.DataType.keys() if name.startswith(("FLOAT", "DOUBLE", "BFLOAT", "COMPLEX"))}


def run(command, **options):
    """What the command prints; RuntimeError with what it says where it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, errors="replace", **options)
    if done.returncode:
        raise RuntimeError(f"{pathlib.Path(command[0]).name}: status {done.returncode}: {done.stderr.strip()[:600]}")
    return done.stdout


def missing_for_arm():
    """What this machine lacks to run code for 64-bit Arm; empty where nothing."""
    return [tool for tool in (ARM_CC, ARM_RUN) if not shutil.which(tool)]


def pack(inputs, rooms):
    """The file that isa_driver.c reads: tensors [TensorProto with raw_data], and for each output its bytes or ALLOCATE."""
    numbers = lambda *values: struct.pack(f"<{len(values)}q", *values)
    parts = [numbers(len(t.dims), *t.dims, len(t.raw_data)) + t.raw_data for t in inputs]
    return b"".join(parts + [struct.pack("<Q", room) for room in rooms])


def unpack(data, count):
    """The outputs [TensorProto] in the file that isa_driver.c writes."""
    at, found = 0, []

    def take(count):
        nonlocal at
        at += 8 * count
        return struct.unpack_from(f"<{count}q", data, at - 8 * count)

    for _ in range(count):
        dtype, rank = take(2)
        dims = take(rank)
        (size,) = take(1)
        found.append(TensorProto(data_type=dtype, dims=dims, raw_data=data[at : at + size]))
        at += size
    if at != len(data):
        raise RuntimeError(f"{len(data) - at} bytes behind {count} outputs")
    return found


def read(path):
    return onnx.TensorProto.FromString(path.read_bytes())


def answer(program, inputs, rooms, folder, emulator=()):
    """The outputs [TensorProto] of a program that isa_driver.c is part of; files go to the folder."""
    (folder / "in").write_bytes(pack(inputs, rooms))
    run([*emulator, program, folder / "in", folder / "out"])
    return unpack((folder / "out").read_bytes(), len(rooms))


def difference(found, expected, rtol):
    """None, or what is wrong. Whole numbers and truth values are the same; floats within max|a-b| <= rtol * max|b|, where NaN is NaN and
    an infinity is itself, as `sinter diff` has it."""
    shape = lambda tensor: f"{TensorProto.DataType.Name(tensor.data_type)}{list(tensor.dims)}"
    if shape(found) != shape(expected):
        return f"{shape(found)}, expected {shape(expected)}"
    a, b = numpy_helper.to_array(found), numpy_helper.to_array(expected)
    if expected.data_type not in FLOATS:
        wrong = a.astype(object) != b.astype(object)
        return f"{np.count_nonzero(wrong)} of {a.size} elements differ" if np.any(wrong) else None
    if a.dtype.kind == "c":
        a, b = (part.reshape(-1).view(part.real.dtype) for part in (a, b))
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        distance = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0, np.abs(a - b))
    worst = np.max(np.where(np.isnan(distance), np.inf, distance), initial=0)
    if worst == 0:
        return None
    largest = np.max(np.abs(b), where=np.isfinite(b), initial=0)
    error = worst / largest if largest else np.inf
    return None if error <= rtol else f"relative error {error:.3g}, allowed {rtol:g}"
