"""Operands that do not fit, one variant in many: see support/unfit_operands.py. long/unfit_operands_all.py tries all."""

from support import unfit_operands

if __name__ == "__main__":
    unfit_operands.main(step=16)
