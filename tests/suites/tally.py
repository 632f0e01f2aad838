"""Counts checks for a Python suite and prints its closing line.

    tally = Tally()
    tally.passed("name") / tally.failed("name", "why") / tally.skipped("name", "why")
    tally.finish()    # prints 'N passed, N failed, N skipped', exits 1 on a failure

Not a suite itself: tests/run.py leaves this file out.
"""

import sys


class Tally:
    def __init__(self):
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}

    def passed(self, name):
        self.counts["passed"] += 1

    def failed(self, name, why=""):
        self.counts["failed"] += 1
        print(f"FAIL {name}{': ' if why else ''}{why}", flush=True)

    def skipped(self, name, why=""):
        self.counts["skipped"] += 1
        print(f"SKIP {name}{': ' if why else ''}{why}", flush=True)

    def check(self, name, problems):
        """One check: passed if the list of problems is empty, otherwise failed with each on its line."""
        if problems:
            self.failed(name, "".join(f"\n  {problem}" for problem in problems))
        else:
            self.passed(name)

    def finish(self):
        print("{passed} passed, {failed} failed, {skipped} skipped".format(**self.counts), flush=True)
        sys.exit(1 if self.counts["failed"] else 0)
