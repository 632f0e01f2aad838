"""Sharded = whole: models of the ONNX backend suite under random meshes and random shardings of some of their values, spread
(shard-propagate), cut (shard-partition, shard-simplify), and evaluated on all ranks together, against the evaluator on the whole
model; or compiled, a program a rank, and run by threads. Integers must be the same, floats within 1e-5, and compiled programs have the
same bits in each run; the same of shardings that shard-auto chooses. Here a sample; tests/suites/long/shard_values_all.py and shard_compiled_all.py have all of them.

    tests/suites/shard_values.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import concurrent.futures
import re
import subprocess

from support import onnx_cases
from tally import Tally

DRIVER = onnx_cases.BUILD / "tests" / "shard_driver"
COLLECTIVES = re.compile(r"^(\d+) collectives$", re.MULTILINE)
SKIPPED = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", re.MULTILINE)


def drive(cases, seed, tries, options):
    return subprocess.run(
        [DRIVER, str(seed), str(tries), *options], input="\n".join(map(str, cases)), capture_output=True, text=True, errors="replace"
    )


def run(tally, seed, tries, every, least, *options, processes=1):
    """Every so many cases of the suite, so many shardings of each; shared by so many processes."""
    cases = [folder for name, folder in onnx_cases.folder_cases().items()][seed % every :: every]
    with concurrent.futures.ThreadPoolExecutor(processes) as pool:
        jobs = [pool.submit(drive, cases[first::processes], seed, tries, options) for first in range(processes)]
    passed = sent = 0
    for done in (job.result() for job in jobs):
        for line in done.stdout.splitlines():
            if ": try " in line:
                tally.failed(line.split(": try")[0], line[:600])
        sums, collectives = SKIPPED.search(done.stdout), COLLECTIVES.search(done.stdout)
        if not sums or not collectives:
            tally.failed("shard_driver", f"status {done.returncode}: {done.stderr[:600]}")
            return
        passed, sent = passed + int(sums[1]), sent + int(collectives[1])
    tally.check(f"{passed} shardings {' '.join(options)}", [] if passed >= least else [f"expected at least {least}"])
    tally.check(f"{sent} collectives", [] if sent > least else ["hardly any value was cut"])


def main():
    tally = Tally()
    run(tally, 3, 2, 5, 500)
    run(tally, 4, 1, 5, 200, "--auto")
    run(tally, 5, 2, 25, 100, "--compiled")
    tally.finish()


if __name__ == "__main__":
    main()
