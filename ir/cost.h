/* What a node costs: multiply-adds, elements touched, bytes moved, as expressions over the module's symbols, by pattern.
 * A model of work, not of time: passes and tools compare graphs with it, and a time divides it. Test: tests/unit/cost_test.c */
#pragma once
#include "ir/graph.h"

/* What has multiply-adds. */
typedef enum sinter_cost_form {
    SINTER_COST_NONE,
    SINTER_COST_PRODUCT,  /* a row of one matrix and a column of another */
    SINTER_COST_FILTER,   /* a place of an image and a filter */
    SINTER_COST_ATTENTION, /* queries and keys, then values */
    SINTER_COST_RECURRENT /* a step and its weights */
} sinter_cost_form;

/* Dims of the module's table; 0 where a size is not known (a rank or an axis that only the run can tell). */
typedef struct sinter_cost {
    sinter_dim multiply_adds; /* of contractions, windows and recurrences */
    /* multiply_adds as a matrix product: rows * columns * depth; of convolutions the columns of one group. 0 where there are none. */
    sinter_dim columns, depth;
    sinter_cost_form form;
    int64_t taps;             /* of a window: of the depth, those of one channel; 1 otherwise */
    sinter_dim elements;      /* results computed element by element, in everything else */
    sinter_dim read_bytes, written_bytes; /* each operand once, each result once; views that only rename move nothing */
    uint64_t parameter_bytes; /* constants among the operands */
    uint64_t parameters;      /* their elements */
} sinter_cost;

/* What ranks exchange in a node whose units are cut over them, or would be: how often in a run, and what they have together in each. */
typedef struct sinter_cost_exchange {
    sinter_dim count, bytes; /* 0: not known, or nothing */
} sinter_cost_exchange;
sinter_cost_exchange sinter_cost_node_exchange(sinter_module *module, sinter_node node);
/* Bytes of a tensor; 0 where not known. */
sinter_dim sinter_cost_value_bytes(sinter_module *module, sinter_value value);
/* Of the module's constants, each once. */
double sinter_cost_weight_bytes(const sinter_module *module);
/* Bytes of a tensor of this type; symbols count as 1, or as near to it as they may be. */
double sinter_cost_type_bytes(sinter_module *module, const sinter_type *type);
/* Regions are not entered: what runs in them, and how often, is up to the caller. */
sinter_cost sinter_cost_node(sinter_module *module, sinter_node node);
