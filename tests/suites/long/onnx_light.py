"""The light models of the ONNX backend suite (AlexNet to VGG-19 with made-up weights): see support/onnx_cases.py. On a busy
machine the largest take the evaluator minutes."""

from support import onnx_cases

if __name__ == "__main__":
    onnx_cases.main(("cpu", "eval"), onnx_cases.light_cases(), "--timeout=600")
