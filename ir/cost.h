/* What a node costs: multiply-adds, elements touched, bytes moved, as expressions over the module's symbols, by pattern.
 * A model of work, not of time: passes and tools compare graphs with it, and a time divides it. Test: tests/unit/cost_test.c */
#pragma once
#include "ir/graph.h"

/* Dims of the module's table; 0 where a size is not known (a rank or an axis that only the run can tell). */
typedef struct sinter_cost {
    sinter_dim multiply_adds; /* of contractions, windows and recurrences */
    sinter_dim elements;      /* results computed element by element, in everything else */
    sinter_dim read_bytes, written_bytes; /* each operand once, each result once; views that only rename move nothing */
    uint64_t parameter_bytes; /* constants among the operands */
    uint64_t parameters;      /* their elements */
} sinter_cost;

/* Bytes of a tensor; 0 where not known. */
sinter_dim sinter_cost_value_bytes(sinter_module *module, sinter_value value);
/* Regions are not entered: what runs in them, and how often, is up to the caller. */
sinter_cost sinter_cost_node(sinter_module *module, sinter_node node);
