"""Every op test on CUDA: its kernels run on the emulated device, with all checks of the emulation, against the evaluator; and
NVIDIA's NVRTC compiles them for an old, a common and a new architecture where it is installed.

    tests/suites/long/cuda_ops.py     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

import os
import pathlib
import subprocess
import tempfile

from support import op_tests
from tally import Tally

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("SINTER_BUILD", ROOT / "build" / "dev"))
SINTER = BUILD / "bin" / "sinter"
EMULATION = BUILD / "tests" / "cuda_emulation"
ARCHITECTURES = "cuda:sm_75+sm_80+sm_90a"
PATIENCE = 600  # seconds


def problems_of(arguments, **environment):
    """What went wrong, as lines; none where nothing did."""
    environment = {**os.environ, **environment}
    try:
        done = subprocess.run([str(part) for part in (SINTER, *arguments)], capture_output=True, text=True,
                              errors="replace", env=environment, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return [f"not done after {PATIENCE} s"]
    if done.returncode == 0:
        return []
    said = (done.stderr + done.stdout).splitlines()
    return [line[:300] for line in said if "error" in line or "emulation" in line][:8] or said[-1:]


def main():
    tally = Tally()
    tests = op_tests.compiled()
    with tempfile.TemporaryDirectory() as folder:
        artifact = pathlib.Path(folder) / "model.so"
        missing = problems_of(["compile", tests[0], f"--target={ARCHITECTURES}", "-o", artifact])
        for test in tests:
            emulated = problems_of(["diff", test, "cuda:sm_90", "eval", *op_tests.options_of(test)], SINTER_CUDA_PATH=str(EMULATION))
            tally.check(f"{test.stem}, emulated", emulated)
            if any("libnvrtc" in line for line in missing):
                tally.skipped(f"{test.stem}, NVRTC", "it is not installed")
            else:
                compiled = problems_of(["compile", test, f"--target={ARCHITECTURES}", "-o", artifact])
                tally.check(f"{test.stem}, NVRTC", compiled)
    tally.finish()


if __name__ == "__main__":
    main()
