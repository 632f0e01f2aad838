"""Code of single operators, those that tests/bench/ops.py times: compiled for AVX-512, they have no gathers where addresses are regular, and no
sum or maximum of elements side by side that takes them one by one. What is excepted has its reason, and must still
need it: that some gather or sum is there is checked, how many and that the reason is theirs is not.
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import onnx
from support import sanitizers
from tally import Tally

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "bench"))
import ops_table  # noqa: E402

BUILD = pathlib.Path(os.environ["SINTER_BUILD"])
SINTER = BUILD / "bin" / "sinter"
SECONDS = sanitizers.seconds(300, BUILD)
TARGET = "cpu:x86-64-v4"
MANY = 16  # iterations of a loop that lanes would pay for
TABLE = "places are a table, as scales may be data"
REST = "what whole tiles of a transpose leave over"
DATA = "what is counted depends on the data"
GATHERS = {
    "grid sample": "places are data",
    "resize x 2, linear": TABLE,
    "resize x 2, nearest": TABLE,
    "resize x 2, cubic": TABLE,
    "resize / 4, linear": TABLE,
    "q resize x 2, linear": TABLE,
    "unique": "places are data",
    "conv 1d, 7 taps": REST,
    "conv 1d, 15 taps, dilated": REST,
    "conv 3d": REST,
    "conv 16x16, stride 16": REST,
    "depthwise, weights of the run": REST,
    "depthwise 5x5, stride 2": REST,
    "transposed 4x4, 8 groups": REST,
    "transposed 1d, 16 taps, stride 8": REST,
    "transposed 2x2, stride 2": "results that interleave are rows of 2 x 2, turned",
    "transposed, weights of the run": REST,
    "depthwise 3x3, two for each channel": "two results of a channel share its elements: lanes read i / 2",
    "depth to space": "rows of 4 elements are turned",
}  # fmt: skip
SERIAL = {
    "running sums of the last axis": "each result is the sum before and an element",
    "nonzero": DATA,
    "unique": DATA,
}  # fmt: skip
FOR = re.compile(r"for (\w+) in (.+)\.\.(.+?)( step \d+)?( unroll| vector| parallel.*)? \{$")
SUM = re.compile(r"(\w+) = .*\b\1\b")


def trips(lower, upper):
    try:
        return int(upper) - int(lower)
    except ValueError:
        return MANY  # nobody knows


class Loop:
    """A loop, or another block, of the printed text."""

    def __init__(self, found, in_lanes):
        self.var = found[1] if found else None
        self.axis = (found[5] or "").strip() if found else None
        self.in_lanes = in_lanes or self.axis == "vector"
        self.trips = trips(found[2], found[3]) if found else 0
        self.has_inner, self.lines = False, []


def reads_along(lines, var):
    """Whether some load of these statements goes on by one element with the variable."""
    return any(re.search(rf"(?:^|[^\w*] ?){var}\b(?! \*)", index.rsplit(",", 1)[-1]) for line in lines for index in re.findall(r"%\w+\[([^\]]*)\]", line))


def serial_sums(text):
    """Lines of accumulations, in serial loops without loops inside and outside of lanes, whose elements lie side by side."""
    stack, found = [], []
    for line in map(str.strip, text.splitlines()):
        if line.startswith("}"):
            block = stack.pop() if stack else None
            if "{" in line:  # } else {
                stack.append(block)
            elif block and block.var and not block.axis and not block.in_lanes and not block.has_inner and block.trips >= MANY:
                sums = [own for own in block.lines if SUM.match(own) and f"var {own.split()[0]}:" not in " ".join(block.lines) and reads_along(block.lines, block.var)]
                found += sums[:1]
            if block and stack and not block.var:
                stack[-1].lines += block.lines
            continue
        if stack:
            stack[-1].lines.append(line)
        if line.endswith("{"):
            loop = FOR.match(line)
            if loop:
                for block in stack:
                    block.has_inner = True
            stack.append(Loop(loop, any(block.in_lanes for block in stack)))
    return found


def compile_as(model, form):
    done = subprocess.run([SINTER, "compile", model, f"--target={TARGET}", f"--emit={form}", "-o", "-"], capture_output=True, text=True, timeout=SECONDS)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-300:])
    return done.stdout


def check(row, folder):
    """Problems of a row's code."""
    name = row[0]
    path = folder / f"{ops_table.ROWS.index(row)}.onnx"
    onnx.save(ops_table.Model(row).proto, path)
    gathers = re.findall(r"\bv\w*gather\w*", compile_as(path, "asm"))
    sums = serial_sums(compile_as(path, "loops"))
    problems = []
    if bool(gathers) != (name in GATHERS):
        problems.append(f"{len(gathers)} gathers, where {'some are' if name in GATHERS else 'none is'} expected")
    if bool(sums) != (name in SERIAL):
        problems.append(f"one by one: {sums or 'nothing, though it is excepted'}")
    return problems


def main():
    tally = Tally()
    with tempfile.TemporaryDirectory() as name, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        known = {row[0] for row in ops_table.ROWS}
        tally.check("exceptions are rows", sorted((GATHERS.keys() | SERIAL.keys()) - known))
        jobs = [(row, pool.submit(check, row, pathlib.Path(name))) for row in ops_table.ROWS]
        for row, job in jobs:
            try:
                tally.check(row[0], job.result())
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                tally.failed(row[0], error)
    tally.finish()


if __name__ == "__main__":
    main()
