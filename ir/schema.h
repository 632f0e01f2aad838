/* What a row of ops.def asks of a node: arity, attributes, regions. The one home of these rules, for build, verify
 * and the parser. Test: tests/ir/verify_schema.sir, tests/unit/graph_test.c */
#pragma once
#include "ir/graph.h"

/* Constraints (each with a negative test of the same name in tests/ir/):
 *   [graph_c3] operands: every required one is there, none past the last, no hole among variadic ones
 *   [graph_c4] results: likewise
 *   [graph_c5] every attribute is in the schema, once
 *   [graph_c6] every attribute has the kind of the schema
 *   [graph_c7] required attributes are there
 *   [graph_c8] the op has its number of regions
 *   [graph_c9] an attribute that is one of some words is one of them
 * results: NULL where all spec->result_count of them exist. Reports all errors; true where there are none. */
bool sinter_schema_check(const char *where, const sinter_node_spec *spec, const sinter_value *results,
                         sinter_diag *diag);
/* "int", "floats", ... as in the table. */
const char *sinter_schema_kind_name(sinter_attr_kind kind);
