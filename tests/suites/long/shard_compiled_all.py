"""Sharded = whole, compiled: for every case of the ONNX backend suite that compiles, programs of ranks as threads, against the evaluator:
tests/suites/shard_values.py at length.

    tests/suites/long/shard_compiled_all.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import os

import shard_values
from tally import Tally


def main():
    tally = Tally()
    shard_values.run(tally, 17, 12, 1, 20000, "--compiled", processes=os.cpu_count())
    tally.finish()


if __name__ == "__main__":
    main()
