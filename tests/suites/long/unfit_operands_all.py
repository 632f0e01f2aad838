"""Operands that do not fit, every variant: see support/unfit_operands.py.

    tests/suites/long/unfit_operands_all.py [NAME ...]    with PYTHONPATH=tests/suites; NAME is a part of a case's name
"""

from support import unfit_operands

if __name__ == "__main__":
    unfit_operands.main(step=1)
