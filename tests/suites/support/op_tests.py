"""The op tests, tests/ops/*.sir, for suites that run them elsewhere than they do themselves.

Used by tests/suites/long/arm_ops.py and tests/suites/long/cuda_ops.py; not a suite itself.
"""

import pathlib
import re

OPS = pathlib.Path(__file__).resolve().parents[2] / "ops"
NOT_COMPILED = {"sequence_map", "strings"}  # for no target: they are the evaluator's


def compiled():
    """The files of those that are compiled."""
    return [test for test in sorted(OPS.glob("*.sir")) if test.stem not in NOT_COMPILED]


def options_of(test):
    """What the test itself compares with: sizes and tolerance of its first line for a compiled target."""
    found = re.search(r"RUN: %sinter diff %s (?:cpu|loops) eval([^|>%\n]*)", test.read_text())
    return found.group(1).split() if found else []
