"""What tests/bench/turns.py says of pairs of answers."""
import numpy

import turns

nan, inf = numpy.nan, numpy.inf
PAIRS = [([1, nan, inf, 3], [2, nan, inf, 4]), ([0, 0], [0, 0]), ([1, inf], [1, -inf]), ([1, 2], [1, nan]), ([nan, nan], [1, nan]),
         ([1, 2, 3], [1, 2])]
for found, expected in PAIRS:
    try:
        print(turns.relative_error({"y": numpy.array(found, "f4")}, {"y": numpy.array(expected, "f4")}))
    except RuntimeError as error:
        print(error)
