"""The ONNX backend suite out of the pinned onnx wheel, run by `sinter test`, held against a file of expected failures.

The node, simple and pytorch cases are used where the wheel has them. The "light" models (the architectures of the model
zoo with made-up weights) get folders of the same layout under build/onnx-suite/, with the input that the wheel's own
runner makes for them.

Used by tests/suites/onnx_suite.py and tests/suites/long/onnx_*.py; not a suite itself.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnx.numpy_helper

from support import sanitizers
from tally import Tally

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("SINTER_BUILD", ROOT / "build" / "dev"))
SINTER = BUILD / "bin" / "sinter"
DATA = pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data"
WORK = ROOT / "build" / "onnx-suite"
EXPECTED_FAILURES = ROOT / "tests" / "suites" / "onnx_expected_failures.txt"
SECONDS = sanitizers.seconds(60, BUILD)  # for a case, unless the options say otherwise
NEVER_EXPECTED = ("crashed", "hung")
HEADER = """\
# Cases of the ONNX backend suite that fail: target, case, reason. The list may only shrink: a case that fails and is not
# here fails the suite, and so does one that is here and passes. A crash or a hang is never expected.
# tests/suites/onnx_suite.py --update rewrites the lines of a target and keeps the reasons of those that still fail.
"""


def folder_cases():
    """{name: folder} of the cases that the wheel holds as folders."""
    folders = sorted(path.parent for path in DATA.glob("*/*/model.onnx"))
    return {folder.relative_to(DATA).as_posix(): folder for folder in folders}


def light_cases():
    """{name: folder} of the light models, laid out like the others."""
    cases = {}
    for path in sorted((DATA / "light").glob("light_*.onnx")):
        folder = WORK / "light" / path.stem
        data_set = folder / "test_data_set_0"
        if not (data_set / "output_0.pb").exists():
            data_set.mkdir(parents=True, exist_ok=True)
            model = onnx.load(path)
            constants = {tensor.name for tensor in model.graph.initializer}
            inputs = [value for value in model.graph.input if value.name not in constants]
            for index, value in enumerate(inputs):
                shape = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
                count = int(np.prod(shape))
                array = (np.arange(count).reshape(shape) / count).astype(np.float32)
                (data_set / f"input_{index}.pb").write_bytes(onnx.numpy_helper.from_array(array).SerializeToString())
            shutil.copy(path, folder / "model.onnx")
            shutil.copy(path.with_name(f"{path.stem}_output_0.pb"), data_set / "output_0.pb")
        cases[f"light/{path.stem}"] = folder
    return cases


def run_chunk(folders, options, report):
    """Outcomes of one `sinter test`, {folder: (outcome, message)}."""
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    command = [str(SINTER), "test", f"--timeout={SECONDS}", *options, f"--json={report}", *map(str, folders)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
    if not report.exists():
        sys.exit(f"sinter test ended with status {done.returncode}: {done.stderr[:400]}")
    cases = json.loads(report.read_text(errors="replace"))["cases"]
    return {case["path"]: (case["outcome"], case["message"]) for case in cases}


def run_cases(cases, target, *options):
    """{name: (outcome, message)} of the cases, on all cores."""
    chunks = os.cpu_count() or 1
    folders = [str(folder) for folder in cases.values()]
    with concurrent.futures.ThreadPoolExecutor(chunks) as pool:
        results = list(
            pool.map(
                lambda chunk: run_chunk(
                    folders[chunk::chunks], (f"--target={target}", *options), BUILD / "test-reports" / f"onnx-{target}-{chunk}.json"
                ),
                range(min(chunks, len(folders))),
            )
        )
    outcomes = {path: outcome for result in results for path, outcome in result.items()}
    return {name: outcomes[str(folder)] for name, folder in cases.items()}


def first_sentence(message):
    """The error of a failed case, short enough for a line of the list."""
    lines = message.strip().splitlines() or ["no message"]
    text = next((line for line in lines if "error:" in line), lines[0])
    text = re.sub(r"^\S*model\.onnx: ", "", text.replace(f"{DATA}/", "").replace(f"{ROOT}/", ""))
    return " ".join(text.split())[:160]


def read_expected():
    """{(target, case): reason}"""
    expected = {}
    for line in EXPECTED_FAILURES.read_text().splitlines() if EXPECTED_FAILURES.exists() else []:
        if line and not line.startswith("#"):
            target, case, reason = line.split(maxsplit=2)
            expected[target, case] = reason
    return expected


def update_expected(label, cases, results):
    """Rewrites the lines of the label for the cases that ran."""
    before = read_expected()
    after = {key: reason for key, reason in before.items() if key[0] != label or key[1] not in cases}
    for case, (outcome, message) in results.items():
        if outcome in NEVER_EXPECTED:
            print(f"not listed: {case} {outcome}")
        elif outcome != "passed":
            after[label, case] = before.get((label, case), first_sentence(message))
    lines = [f"{target} {case}  {reason}\n" for (target, case), reason in sorted(after.items())]
    EXPECTED_FAILURES.write_text(HEADER + "".join(lines))


def judge(tally, label, results):
    """Counts each case: as expected, or a failure of the suite."""
    expected = read_expected()
    for case, (outcome, message) in results.items():
        reason = expected.get((label, case))
        if outcome in NEVER_EXPECTED:
            tally.failed(f"{label} {case}", f"{outcome}; {first_sentence(message)}")
        elif outcome == "passed" and reason:
            tally.failed(f"{label} {case}", f"passes: take it off {EXPECTED_FAILURES.name}")
        elif outcome == "passed":
            tally.passed(case)
        elif not reason:
            tally.failed(f"{label} {case}", first_sentence(message))


def report_listed(tally, cases, results, label, least=0.0):
    """Judges the results by the lines of `label`; a share below `least` is one more failure."""
    if "--update" in sys.argv[1:]:
        update_expected(label, cases, results)
    judge(tally, label, results)
    passed = sum(outcome == "passed" for outcome, _ in results.values())
    listed = sum(1 for listed, case in read_expected() if listed == label and case in cases)
    share = f"{100 * passed / max(len(results), 1):.1f} %"
    print(f"{label}: {passed} of {len(results)} cases pass ({share}), {listed} are expected to fail", flush=True)
    if passed < least * len(results):
        tally.failed(label, f"{share} of the cases pass, at least {100 * least:.0f} % are wanted")


def run_listed(tally, target, cases, *options, label=None, least=0.0):
    """Runs the cases on a target and judges them by the lines of `label` (the target)."""
    report_listed(tally, cases, run_cases(cases, target, *options), label or target, least)


def main(targets, cases, *options):
    """A suite over the targets. --update rewrites the list of expected failures instead of failing."""
    tally = Tally()
    for target in targets:
        run_listed(tally, target, cases, *options)
    tally.finish()
