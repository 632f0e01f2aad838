"""No two lanes met in a bank of shared memory in the kernels that the emulated device counted: no more waves than the bytes take.

    no_conflicts.py COUNTERS [LEAST]     a line of JSON each; LEAST of them must use shared memory
"""

import json
import sys


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        kernels = [json.loads(line) for line in file]
    used = [kernel for kernel in kernels if kernel["shared_requests"]]
    worst = [f"{kernel['kernel']}: {kernel['shared_waves']} waves, {kernel['shared_least_waves']} would do"
             for kernel in used if kernel["shared_waves"] > kernel["shared_least_waves"]]
    if worst or len(used) < int(sys.argv[2] if len(sys.argv) > 2 else 1):
        sys.exit("\n".join(worst) or f"{len(used)} kernels use shared memory")


if __name__ == "__main__":
    main()
