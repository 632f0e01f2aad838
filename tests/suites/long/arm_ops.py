"""Every op test as an object for 64-bit Arm, linked into a program that runs under qemu, against the evaluator's answer on the same
inputs: whole numbers to the bit, floats within the tolerance of the test, shapes that the data choose, all element types.

    tests/suites/long/arm_ops.py [--target=TARGET] [NAME...]     with PYTHONPATH=tests/suites and SINTER_BUILD

All targets and tests, or those that are named (tests/codegen/arm_ops.test: a few each day).
The symbols of a test are bound to the sizes of its first line for a compiled target.
"""

import argparse
import concurrent.futures
import os
import pathlib
import tempfile

from support import linked, op_tests
from tally import Tally

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("SINTER_BUILD", ROOT / "build" / "dev"))
SINTER = BUILD / "bin" / "sinter"
# Target of the compiler: the CPU that qemu makes, which has what the target names and, where qemu has such a one, nothing more: code with an
# instruction that the target lacks ends there. `max` has everything.
CPUS = {"cpu:aarch64": "cortex-a53", "cpu:cortex-a55": "cortex-a76", "cpu:neoverse-v1": "max"}
AT_ONCE = 2
PATIENCE = 600  # seconds for each step


def parse(options):
    """Sizes and tolerance of a `sinter diff` line: (options that bind its symbols, relative tolerance)."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dim", "--size", dest="dims", action="append", default=[])
    parser.add_argument("--rtol", type=float, default=1e-4)  # as `sinter diff` has it
    found = parser.parse_args(options)
    return [part for dim in found.dims for part in ("--dim", dim)], found.rtol


def evaluate(test, dims, folder):
    """Inputs and outputs [TensorProto] of the evaluator's run."""
    linked.run([SINTER, "run", test, "--target=eval", *dims, f"--write-case={folder}"], timeout=PATIENCE)
    case = folder / "test_data_set_0"
    files = lambda kind: [case / f"{kind}_{i}.pb" for i in range(len(list(case.glob(f"{kind}_*.pb"))))]
    return [[linked.read(path) for path in files(kind)] for kind in ("input", "output")]


def problems_on(target, test, dims, rtol, case, driver, folder):
    """What is wrong with the test's object for the target; one line an output."""
    inputs, expected = case
    folder.mkdir()
    linked.run([SINTER, "compile", test, *dims, f"--target={target}", "--emit=obj", "-o", folder / "model.o"], timeout=PATIENCE)
    program = folder / "program"
    linked.run([linked.ARM_CC, "-static", driver, folder / "model.o", "-lm", "-o", program], timeout=PATIENCE)
    emulator = [linked.ARM_RUN, "-cpu", CPUS[target]]
    found = linked.answer(program, inputs, [linked.ALLOCATE] * len(expected), folder, emulator)
    differences = (linked.difference(a, b, rtol) for a, b in zip(found, expected))
    return [f"output {i}: {difference}" for i, difference in enumerate(differences) if difference]


def check(test, targets, driver, folder):
    """{target: problems}"""
    dims, rtol = parse(op_tests.options_of(test))
    found = {}
    with tempfile.TemporaryDirectory(dir=folder) as work:
        work = pathlib.Path(work)
        try:
            case = evaluate(test, dims, work)
        except RuntimeError as error:
            return dict.fromkeys(targets, [str(error)])
        for number, target in enumerate(targets):
            try:
                found[target] = problems_on(target, test, dims, rtol, case, driver, work / str(number))
            except RuntimeError as error:
                found[target] = [str(error)]
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", choices=CPUS, action="append")
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    targets = arguments.target or CPUS
    tests = [test for test in op_tests.compiled() if not arguments.names or test.stem in arguments.names]
    unknown = set(arguments.names) - {test.stem for test in tests}
    if unknown:
        parser.error(f"no test of that name is compiled: {' '.join(sorted(unknown))}")
    tally = Tally()
    missing = linked.missing_for_arm()
    if missing:
        for test in tests:
            tally.skipped(test.stem, f"{' and '.join(missing)} not installed")
        tally.finish()
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        driver = pathlib.Path(folder) / "driver.o"
        command = [linked.ARM_CC, *linked.WARNINGS, "-O1", "-Dsinter_artifact=model_artifact", f"-I{ROOT}", "-c", linked.DRIVER, "-o", driver]
        linked.run(command)
        for test, found in zip(tests, pool.map(lambda test: check(test, targets, driver, folder), tests)):
            for target, problems in found.items():
                tally.check(f"{test.stem}, {target}", problems)
    tally.finish()


if __name__ == "__main__":
    main()
