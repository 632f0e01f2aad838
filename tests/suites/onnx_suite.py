"""The ONNX backend suite on the reference evaluator and on native code: see support/onnx_cases.py.

    tests/suites/onnx_suite.py [--update]     with PYTHONPATH=tests/suites and SINTER_BUILD
"""

from support import onnx_cases

if __name__ == "__main__":
    onnx_cases.main(("eval", "cpu"), onnx_cases.folder_cases())
