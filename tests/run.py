#!/usr/bin/env python3
"""Runs the test suites, shows the sum of each, and ends with one line that sums all of them.

    tests/run.py [--build=FOLDER] [NAME]

A suite is one of
  unit, fuzz     the programs of tests/unit and tests/fuzz, by ctest label
  lit            text tests (tests/lit.cfg.py)
  <file>         tests/suites/<file>.py: a program whose last line is 'N passed, N failed, N skipped'
  <file>         tests/suites/long/<file>.py: the same, but run only when named, or all of them by `long`
NAME is a suite; or a path below tests/ (`passes/fuse`); or a part of the name of unit and text tests.
Exit status: 0 all passed, 1 a failure, 2 nothing of that name. Called by `tools/dev test`.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
sys.path.insert(0, str(TESTS / "suites"))
from support import sanitizers  # noqa: E402
CLOSING_LINE = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$")
LIT_PASSED = {"PASS", "XFAIL", "FLAKYPASS"}
TEXT_TESTS = {".sir", ".loops", ".test"}
LIT_SKIPPED = {"UNSUPPORTED", "SKIPPED"}


class Sum:
    """Counts of one suite, or of several added up."""

    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def __add__(self, other):
        return Sum(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"

    def count(self):
        return self.passed + self.failed + self.skipped


def blame(sum_, status):
    """A suite that ended badly without counting a failure has one: itself."""
    return sum_ if status == 0 or sum_.failed else sum_ + Sum(failed=1)


def run_ctest(build, label, name_filter=None):
    """The compiled tests with this label; the output of failing ones is shown."""
    report = build / "test-reports" / f"{label}.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    command = ["ctest", "--test-dir", str(build), "-L", f"^{label}$", "--output-junit", str(report), "--no-tests=ignore"]
    command += ["--output-on-failure", "--parallel", str(os.cpu_count() or 1)]
    if name_filter:
        command += ["-R", re.escape(name_filter)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode != 0:
        print(done.stdout)
    if not report.exists():
        return blame(Sum(), done.returncode)
    states = [case.get("status") for case in xml.etree.ElementTree.parse(report).iter("testcase")]
    skipped = sum(state in ("notrun", "disabled") for state in states)
    failed = sum(state == "fail" for state in states)
    return blame(Sum(len(states) - failed - skipped, failed, skipped), done.returncode)


def run_lit(build, paths=(TESTS,), name_filter=None):
    """The text tests below the paths; lit shows the output of failing ones."""
    report = build / "test-reports" / "lit.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    command = [str(pathlib.Path(sys.executable).with_name("lit")), "-sv", "--output", str(report), "--param", f"build={build}"]
    command += ["--allow-empty-runs"] + (["--filter", re.escape(name_filter)] if name_filter else [])
    done = subprocess.run(
        command + [str(path) for path in paths], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    if re.search("^error: (did not discover any tests|filter did not match any tests)", done.stdout, re.MULTILINE):
        return Sum()
    if done.returncode != 0:
        print(done.stdout)
    if not report.exists():
        return Sum(failed=1)
    codes = [test["code"] for test in json.loads(report.read_text())["tests"] if test["code"] != "EXCLUDED"]
    passed = sum(code in LIT_PASSED for code in codes)
    skipped = sum(code in LIT_SKIPPED for code in codes)
    return blame(Sum(passed, len(codes) - passed - skipped, skipped), done.returncode)


def run_python(build, script):
    """A Python suite: its output passes through, but for the closing line, which is counted."""
    environment = dict(os.environ, SINTER_BUILD=str(build), PYTHONPATH=str(TESTS / "suites"), PYTHONUNBUFFERED="1")
    command = [sys.executable, str(script)]
    closing = None
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for line in process.stdout:
            found = CLOSING_LINE.match(line.strip())
            if found:
                closing = found
            else:
                print(line, end="", flush=True)
    if not closing:
        print(f"{script.stem}: ended with status {process.returncode} and no closing line")
        return Sum(failed=1)
    return blame(Sum(*(int(group or 0) for group in closing.groups())), process.returncode)


def python_suites(build, folder):
    scripts = sorted(path for path in folder.glob("*.py") if path.stem != "tally")
    return {script.stem: lambda script=script: run_python(build, script) for script in scripts}


def choose(build, name):
    """The suites to run for NAME: {suite name: function that runs it and returns its Sum}."""
    everyday = {
        "unit": lambda: run_ctest(build, "unit"),
        "fuzz": lambda: run_ctest(build, "fuzz"),
        "lit": lambda: run_lit(build),
        **python_suites(build, TESTS / "suites"),
    }
    long = python_suites(build, TESTS / "suites" / "long")
    if not name:
        return everyday
    if name == "long":
        return long
    if name in everyday or name in long:
        return {name: {**everyday, **long}[name]}
    path = next((path for path in (TESTS / name, ROOT / name) if path.exists()), None)
    has_texts = path and (path.is_file() or any(file.suffix in TEXT_TESTS for file in path.rglob("*.*")))
    if has_texts and path.suffix != ".c":
        return {"lit": lambda: run_lit(build, [path])}
    part = pathlib.Path(name).stem if path else name
    return {
        "unit": lambda: run_ctest(build, "unit", part),
        "fuzz": lambda: run_ctest(build, "fuzz", part),
        "lit": lambda: run_lit(build, name_filter=part),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "dev", help="the build to test")
    parser.add_argument("name", nargs="?", help="one suite, a path below tests/, or a part of a test's name")
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    sanitizers.set_options(build)
    total = Sum()
    for suite, run in choose(build, arguments.name).items():
        start = time.monotonic()
        if sys.stdout.isatty():
            print(f"{suite} ...", end="\r", flush=True)
        result = run()
        print(f"{suite + ':':<20} {result}  ({time.monotonic() - start:.1f} s)", flush=True)
        total += result
    if arguments.name and not total.count():
        print(f"error: no test matches '{arguments.name}'", file=sys.stderr)
        return 2
    print(total, flush=True)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
