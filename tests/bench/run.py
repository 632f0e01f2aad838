#!/usr/bin/env python3
"""Benchmarks: run.py [PART]... [MODEL.onnx]... prints tables, writes the figures to a JSON file, and shows what changed since the last
run. Without a part: all of them; with models alone: the part `models`; with files of figures (.json): the table of `peers` from them, measuring
nothing. docs/benchmarks.md says what each part measures.

  models    whole models beside ONNX Runtime, as its users run it; the embedded models
  small     small models beside ONNX Runtime inside one process, without Python
  ops       single operators beside ONNX Runtime, those that lose most first (SINTER_BENCH_OPS: those with this in their name)
  kernels   products of matrices beside OpenBLAS, and their share of the machine's peak
  symbolic  one artifact for all sizes beside a build for each
  precision bf16 beside f32, and beside OpenVINO in bf16
  sparse    products with weights that are zero in blocks, beside OpenVINO without zeros
  dynamic   products rounded to bytes while they run, beside ONNX Runtime and OpenVINO
  four_bits weights of 4 bits, beside ONNX Runtime and llama.cpp
  compile   time and memory of compiling without a cache, time of loading
  peers     ../shared/bench/side_by_side.py, where it and models for it are; the table of the README
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import compile_time
import dynamic
import four_bits
import kernels
import models
import ops
import peers
import precision
import results
import small
import sparse
import symbolic
import turns

PARTS = {"models": models, "small": small, "ops": ops, "kernels": kernels, "symbolic": symbolic, "precision": precision,
         "sparse": sparse, "dynamic": dynamic, "four_bits": four_bits, "compile": compile_time}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="PART|FILE", help="parts, and models that they measure instead of their own, or figures of `peers`")
    parser.add_argument("--build", default="release", help="the build that is measured (release)")
    parser.add_argument("--threads", default="1,2", help="numbers of threads (1,2)")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dim", action="append", default=[], help="NAME=N for symbolic dims of `models`; 1 otherwise")
    parser.add_argument("--realtime", type=int, metavar="PRIORITY", default=0,
                        help="run what is timed before all other programs (chrt -f PRIORITY): for machines that others use")
    parser.add_argument("--json", type=pathlib.Path, default=turns.ROOT / "build" / "bench" / "results.json",
                        help="file for the figures, and of the last run's (build/bench/results.json)")
    parser.add_argument("--readme", action="store_true", help="put the table of `peers` into README.md")
    options = parser.parse_args()
    options.parts = [name for name in options.names if name in (*PARTS, "peers")]
    files = [pathlib.Path(name) for name in options.names if name not in options.parts]
    for file in files:
        if not file.exists():
            parser.error(f"{file}: neither a part nor a file")
    options.figures = [file for file in files if file.suffix == ".json"]
    options.models = [file for file in files if file.suffix != ".json"]
    alone = ["models"] * bool(options.models) + ["peers"] * bool(options.figures)
    options.parts = options.parts or alone or [*PARTS, "peers"]
    options.threads = [int(number) for number in options.threads.split(",")]
    options.dims = {name: int(number) for name, number in (text.split("=") for text in options.dim)}
    return options


def run_part(bench, name):
    last = results.load(bench.options.json)
    try:
        rows = PARTS[name].measure(bench)
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        bench.fail(f"{name}: {error}")
        return
    results.compare(last, name, rows, PARTS[name].COMPARED)
    results.store(bench.options.json, name, rows)


def run_peers(bench):
    """Measures, unless figures are given; then the table of the README."""
    try:
        files = bench.options.figures or [peers.run(bench)]
        if files[0]:
            peers.report(bench, files)
    except (RuntimeError, OSError, ValueError, subprocess.CalledProcessError) as error:
        bench.fail(f"peers: {error}")


def main():
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        bench = turns.Bench(options, folder)
        for name in options.parts:
            if name == "peers":
                run_peers(bench)
            else:
                run_part(bench, name)
    for failure in bench.failures:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
