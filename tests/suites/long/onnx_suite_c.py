"""The ONNX backend suite through emitted C and the system's compiler, which must fail no other case than native code does: see
support/onnx_cases.py."""

from support import onnx_cases
from tally import Tally

if __name__ == "__main__":
    tally = Tally()
    onnx_cases.run_listed(tally, "c", onnx_cases.folder_cases(), label="cpu")
    tally.finish()
