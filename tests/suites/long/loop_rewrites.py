"""tests/unit/loop_property_test.c with 20,000 sequences of schedule verbs that the everyday run does not see.

    tests/suites/long/loop_rewrites.py [COUNT]     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import os
import pathlib
import subprocess
import sys

from tally import Tally

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAM = pathlib.Path(os.environ.get("SINTER_BUILD", ROOT / "build" / "dev")) / "tests" / "loop_property_test"
CHUNK = 2_000
FIRST_SEED = 100_000


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    tally = Tally()
    for first in range(FIRST_SEED, FIRST_SEED + count, CHUNK):
        done = subprocess.run([PROGRAM, str(CHUNK), str(first)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        report = [] if done.returncode == 0 else [f"status {done.returncode}", done.stdout[-20000:]]
        tally.check(f"seeds {first} to {first + CHUNK - 1}", report)
    tally.finish()


if __name__ == "__main__":
    main()
