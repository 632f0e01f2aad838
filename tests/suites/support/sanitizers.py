"""What a build with sanitizers (presets asan and tsan) changes for the suites: a finding has an exit status of its own, and
time limits are longer.

Used by tests/run.py and by suites that set time limits or bounds of memory; not a suite itself.
"""

import os
import pathlib
import re

# No test expects this status, as one may expect 1 and 2: a finding fails the test in which it comes up.
FINDING = 99
SUPPRESSIONS = pathlib.Path(__file__).with_name("tsan_suppressions.txt")
OPTIONS = {
    # Sizes that no memory has are answered by NULL, as malloc answers them: what we make of that is tested too.
    "ASAN_OPTIONS": f"exitcode={FINDING}:detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:allocator_may_return_null=1",
    "UBSAN_OPTIONS": f"exitcode={FINDING}:print_stacktrace=1",
    "TSAN_OPTIONS": f"exitcode={FINDING}:second_deadlock_stack=1:allocator_may_return_null=1:suppressions={SUPPRESSIONS}",
}
SLOWER = 15  # times, which leaves room for a busy machine: most tests take three to eight times as long


def set_options(build):
    """Puts the options into the environment, before those of the caller, which win; and the flags behind $CC, so that
    emitted C is checked as well."""
    for name, options in OPTIONS.items():
        given = os.environ.get(name, "")
        if not given.startswith(options):
            os.environ[name] = ":".join(filter(None, (options, given)))
    if used(build):
        os.environ["CC"] = " ".join((os.environ.get("CC", "cc"), *flags(build)))


def used(build):
    """Names of the sanitizers that a build folder is configured with: address, undefined, thread ..."""
    cache = build / "CMakeCache.txt"
    found = re.search(r"^SINTER_SANITIZE:\w+=(.*)$", cache.read_text(), re.MULTILINE) if cache.exists() else None
    return set(filter(None, found[1].split(","))) if found else set()


def flags(build):
    """What C is compiled with that runs together with libraries of the build."""
    names = ",".join(sorted(used(build)))
    return [f"-fsanitize={names}", "-fno-sanitize-recover=all"] if names else []


def seconds(limit, build):
    """A time limit that suits the build."""
    return limit * SLOWER if used(build) else limit
