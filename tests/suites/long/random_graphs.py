"""tests/unit/random_graph_test.c with many graphs, on all cores: 20,000 seeds that the everyday run does not see.

    tests/suites/long/random_graphs.py [COUNT]     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import concurrent.futures
import os
import pathlib
import subprocess
import sys

from tally import Tally

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAM = pathlib.Path(os.environ.get("SINTER_BUILD", ROOT / "build" / "dev")) / "tests" / "random_graph_test"
CHUNK = 500
FIRST_SEED = 100_000


def run_chunk(first):
    done = subprocess.run([PROGRAM, str(CHUNK), str(first)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    return first, done.returncode, done.stdout


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    tally = Tally()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for first, status, output in pool.map(run_chunk, range(FIRST_SEED, FIRST_SEED + count, CHUNK)):
            tally.check(f"seeds {first} to {first + CHUNK - 1}", [] if status == 0 else [f"status {status}", output[-20000:]])
    tally.finish()


if __name__ == "__main__":
    main()
