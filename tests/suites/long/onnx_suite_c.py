"""The ONNX backend suite through emitted C and the system's compiler: see support/onnx_cases.py."""

from support import onnx_cases

if __name__ == "__main__":
    onnx_cases.main(("c",), onnx_cases.folder_cases())
