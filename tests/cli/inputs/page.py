"""Checks times in a page of `sinter inspect`: page.py PAGE OP... Every kernel's time is told at one of its nodes and nowhere
else, and nodes of each OP have one."""

import json
import re
import sys

text = open(sys.argv[1]).read()
model = json.loads(re.search(r"^const model = (.*?);\nconst ", text, re.S | re.M).group(1))
told = sum(node.get("milliseconds", 0) for node in model["nodes"])
measured = sum(kernel["milliseconds"] for kernel in model["kernels"])
assert measured > 0 and abs(told - measured) < 0.01 * measured, (told, measured)
assert all(kernel["leader"] in kernel["nodes"] for kernel in model["kernels"])
for op in sys.argv[2:]:
    times = [node.get("milliseconds", 0) for node in model["nodes"] if node["op"] == op]
    assert times and all(time > 0 for time in times), (op, times)
