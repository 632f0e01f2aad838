/* Checks a module: SSA order and dominance, use lists, arity and attributes against ops.def, types against
 * inference, regions closed by yield. Every constraint has a label like [graph_c3] or [matmul_c1] that its negative
 * test in tests/ir/verify_*.sir names. Reports up to 20 errors; returns true where there are none. */
#pragma once
#include "ir/graph.h"
bool sinter_verify_module(sinter_module *module, sinter_diag *diag);
