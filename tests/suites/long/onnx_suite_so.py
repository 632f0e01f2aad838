"""The ONNX backend suite through artifact files and the loader, which must fail no other case than code in memory does: see
support/onnx_cases.py."""

from support import onnx_cases
from tally import Tally

if __name__ == "__main__":
    tally = Tally()
    onnx_cases.run_listed(tally, "so", onnx_cases.folder_cases(), label="cpu")
    tally.finish()
