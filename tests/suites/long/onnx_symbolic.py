"""The passing cases of the ONNX backend suite again, with every dim of every input a symbol: see support/onnx_rewrite.py."""

from support import onnx_rewrite

if __name__ == "__main__":
    onnx_rewrite.main("symbolic", onnx_rewrite.make_symbolic, ("eval", "cpu"), 0.95)
