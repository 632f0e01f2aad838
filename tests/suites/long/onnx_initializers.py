"""The passing cases of the ONNX backend suite again, with the integer inputs that say shapes, axes and counts as
initializers: see support/onnx_rewrite.py."""

from support import onnx_rewrite

if __name__ == "__main__":
    onnx_rewrite.main("initializers", onnx_rewrite.bind_shape_inputs, ("eval", "cpu"), 0.95)
