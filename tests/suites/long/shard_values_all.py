"""Sharded = whole, for every case of the ONNX backend suite that the evaluator runs: tests/suites/shard_values.py at length.

    tests/suites/long/shard_values_all.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import os

import shard_values
from tally import Tally


def main():
    tally = Tally()
    shard_values.run(tally, seed=11, tries=14, every=1, least=20000, processes=os.cpu_count())
    tally.finish()


if __name__ == "__main__":
    main()
