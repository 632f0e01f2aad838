"""In the place of `sinter` for tests of benchmarks: times out of thin air, and outputs that are NaN, but for --precision=f32."""
import json
import pathlib
import sys

import numpy
import onnx

verb, path = sys.argv[1:3]
options = dict(text.split("=", 1) for text in sys.argv[3:] if text.startswith("--") and "=" in text)
out = pathlib.Path(sys.argv[sys.argv.index("-o") + 1]) if "-o" in sys.argv else None
if verb == "compile":
    model = onnx.load(path)
    model.doc_string = options.get("--precision", "")
    onnx.save(model, out)
elif verb == "run":
    model = onnx.load(path)
    out.mkdir(exist_ok=True)
    for output in model.graph.output:
        shape = [dim.dim_value or 1 for dim in output.type.tensor_type.shape.dim]
        numpy.save(out / f"{output.name}.npy", numpy.full(shape, 0 if model.doc_string == "f32" else numpy.nan, "f4"))
elif "--per-node" in sys.argv:
    print("at most 1.0 GFLOP/s in f32; reads 1.0 GB/s from memory")
elif "--json" in options:
    names = "median_ms", "min_ms", "compile_ms", "run_rss_bytes"
    pathlib.Path(options["--json"]).write_text(json.dumps({name: 1 for name in names}))
else:
    print(path)
