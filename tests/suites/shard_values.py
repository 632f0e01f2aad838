"""Sharded = whole: models of the ONNX backend suite under random meshes and random shardings of some of their values, spread
(shard-propagate), cut (shard-partition, shard-simplify), and evaluated on all ranks together, against the evaluator on the whole
model; or compiled, a program a rank, and run by threads. Integers must be the same, floats within 1e-5, and compiled programs have the
same bits in each run; the same of shardings that shard-auto chooses. Here a sample; tests/suites/long/shard_values_all.py and shard_compiled_all.py have all of them.

    tests/suites/shard_values.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import re
import subprocess

from support import onnx_cases
from tally import Tally

DRIVER = onnx_cases.BUILD / "tests" / "shard_driver"
SKIPPED = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", re.MULTILINE)


def run(tally, seed, tries, every, least, *options):
    """Every so many cases of the suite, so many shardings of each."""
    cases = [folder for name, folder in onnx_cases.folder_cases().items()][seed % every :: every]
    done = subprocess.run(
        [DRIVER, str(seed), str(tries), *options], input="\n".join(map(str, cases)), capture_output=True, text=True, errors="replace"
    )
    for line in done.stdout.splitlines():
        if ": try " in line:
            tally.failed(line.split(": try")[0], line[:600])
    sums = SKIPPED.search(done.stdout)
    if not sums:
        tally.failed("shard_driver", f"status {done.returncode}: {done.stderr[:600]}")
        return
    tally.check(f"{sums[1]} shardings {' '.join(options)}", [] if int(sums[1]) >= least else [f"expected at least {least}"])
    sent = re.search(r"^(\d+) collectives$", done.stdout, re.MULTILINE)
    tally.check("collectives", [] if sent and int(sent[1]) > least else ["hardly any value was cut"])


def main():
    tally = Tally()
    run(tally, 3, 2, 5, 500)
    run(tally, 4, 1, 5, 200, "--auto")
    run(tally, 5, 1, 25, 50, "--compiled")
    tally.finish()


if __name__ == "__main__":
    main()
