/* Says how many queries and keys attention takes at once on a GPU (attribute `blocks`), whose blocks of threads have both products in tiles:
 * the cheapest by an estimate of cycles from the sizes and the machine's numbers, among those that have room in shared memory. On a
 * CPU lowering chooses by itself.
 *
 *   steps of keys: products; weights, and scores and sums that have no room in registers, go through shared memory, keys and values come from the
 *   second cache; and in each some latencies, which other blocks of the multiprocessor fill.
 * A mask that is causal and nothing else, a constant, becomes the attribute that says so. Where queries, keys and values are halves (f16, bf16) the
 * products are of these, and of exponentials that are rounded so.
 * Needs attention as decompose leaves it. Values change by rounding. Test: tests/passes/tile_attention/ */
#include "passes/tile_attention.h"
#include "ir/decompose.h"
#include "ir/machine.h"

#include <float.h>
#include <math.h>

enum {
    LEAST_SIZE = 16,    /* of a head's queries and values, */
    LEAST_QUERIES = 16, /* and of them: fewer leave tiles empty */
    ASSUMED = 1024,     /* of a length that only the run knows, */
    ASSUMED_BATCH = 8,  /* and of a batch */
    SHARED_BYTES = 128, /* of shared memory in a cycle */
    CACHE_BYTES = 64,   /* of the second cache in a cycle of one multiprocessor, if all ask */
    STEP_LATENCY =
        2500, /* cycles that a block alone waits in a step: for keys and values, and at barriers */
    TILE_KEYS = 64,         /* that are staged at once, at most, */
    TILE_ROW = 144,         /* bytes of each, with what keeps lanes apart, */
    TILES = 4,              /* and so often: two of a ring for both products; */
    GROUP_STEP = 64,        /* steps of instructions of four warps, */
    GROUP_COLUMNS = 8,      /* and columns, */
    GROUP_RING = 3,         /* in rings of so many, */
    GROUP_ROWS = 64,        /* and the rows that read what is staged once, */
    WARP_ROWS = 16,         /* where those of one warp are so many */
    PARTS = 80,             /* bytes of a row beside: partial results of its reductions */
    PAD = 32,               /* bytes that rows of scratch are longer */
    MOST_BLOCKS_BESIDE = 4, /* of a multiprocessor, by their registers, */
    MOST_SCORES =
        64, /* of a row, that units for matrices make: as many registers are for what is loaded of a mask, and for exponentials */
    KEEPING_THREADS = 384, /* and how many threads keep scores and products in them, */
    THREADS_OF_ROW = 2,    /* so many for each row */
    FEW_ROWS = 32
};

typedef struct shape {
    double heads; /* in all samples */
    int64_t queries, keys, size, value_size;
    int64_t element; /* bytes of what products read */
    bool rounds;     /* to what units for matrices take */
} shape;

static int64_t dim_or(const sinter_module *module, sinter_dim dim, int64_t otherwise) {
    int64_t number;
    return sinter_dim_is_const(sinter_module_dims((sinter_module *)(uintptr_t)module), dim, &number)
               ? number
               : otherwise;
}

bool sinter_attention_has_blocks(sinter_module *module, sinter_node node) {
    if (sinter_node_op(module, node) != SINTER_OP_attention ||
        !sinter_decompose_leaves_attention(module, node))
        return false;
    const sinter_type *q = sinter_value_type(module, sinter_node_operand(module, node, 0)),
                      *v = sinter_value_type(module, sinter_node_operand(module, node, 2));
    return dim_or(module, q->dims[3], 0) >= LEAST_SIZE &&
           dim_or(module, v->dims[3], 0) >= LEAST_SIZE &&
           dim_or(module, q->dims[2], LEAST_QUERIES) >= LEAST_QUERIES;
}

static shape describe(const sinter_module *module, sinter_node node) {
    const sinter_type *q = sinter_value_type(module, sinter_node_operand(module, node, 0)),
                      *v = sinter_value_type(module, sinter_node_operand(module, node, 2));
    const sinter_string precision = sinter_node_get_string(module, node, "factor_precision");
    const bool rounds = !sinter_string_equal(precision, SINTER_STRING("f32")),
               narrow = rounds && !sinter_string_equal(precision, SINTER_STRING("tf32"));
    return (shape){.heads = (double)dim_or(module, q->dims[0], ASSUMED_BATCH) *
                            (double)dim_or(module, q->dims[1], 1),
                   .queries = dim_or(module, q->dims[2], ASSUMED),
                   .keys = dim_or(module, v->dims[2], ASSUMED),
                   .size = dim_or(module, q->dims[3], LEAST_SIZE),
                   .value_size = dim_or(module, v->dims[3], LEAST_SIZE),
                   .element = narrow ? 2 : 4,
                   .rounds = rounds};
}

/* Scores and products stay in the registers of units for matrices. */
static bool keeps_sums(const shape *s, int64_t keys) {
    return s->rounds && (keys + s->value_size) / THREADS_OF_ROW <= SINTER_DEVICE_KEPT_REGISTERS;
}

/* Both products are by instructions of four warps, whose operands are in rows of 128 bytes. */
static bool takes_groups(const shape *s, const sinter_machine *machine, int64_t keys) {
    return machine->device_warpgroups && s->element == 2 && keys % GROUP_STEP == 0 &&
           s->size % GROUP_STEP == 0 && s->value_size % GROUP_COLUMNS == 0;
}

/* Shared memory of a block. */
static int64_t bytes_of(const shape *s, int64_t rows, int64_t keys, bool groups) {
    const int64_t weights = s->rounds ? keys * s->element + PAD : 0;
    const int64_t sums = keeps_sums(s, keys) ? 0 : (keys + s->value_size) * 4,
                  row = sums + s->size * s->element + weights + 3 * PAD + PARTS;
    const int64_t tiles = groups ? GROUP_RING * GROUP_STEP * (keys + s->value_size) * s->element
                                 : TILES * TILE_ROW * (keys < TILE_KEYS ? keys : TILE_KEYS);
    return rows * row + tiles;
}

static double ceil_of(double a, double b) {
    return ceil(a / b);
}

/* Until all blocks are done. */
static double cycles_of(const shape *s, const sinter_machine *machine, int64_t rows, int64_t keys) {
    const bool groups = takes_groups(s, machine, keys);
    const double r = (double)rows, n = (double)keys, sizes = (double)(s->size + s->value_size),
                 element = (double)s->element,
                 rate = !s->rounds ? machine->device_lanes
                                   : machine->device_halves / (s->element == 4 ? 2.0 : 1.0);
    const double products = r * n * sizes / rate,
                 sums = keeps_sums(s, keys) ? 0 : r * (n * 12 + (double)s->value_size * 8),
                 shared = (sums + r * (n * 4 + (double)s->size) * element +
                           n * sizes * element * (1 + r / (groups ? GROUP_ROWS : WARP_ROWS))) /
                          SHARED_BYTES,
                 cache = n * sizes * element / CACHE_BYTES;
    const double blocks = s->heads * ceil_of((double)s->queries, r),
                 each = ceil_of(blocks, machine->device_multiprocessors),
                 room = floor((double)machine->device_shared_bytes /
                              (double)bytes_of(s, rows, keys, groups));
    const double most = keeps_sums(s, keys) ? fmax(floor(KEEPING_THREADS / (THREADS_OF_ROW * r)), 1)
                                            : MOST_BLOCKS_BESIDE;
    const double beside = fmin(fmin(each, room), most), step = products + shared + cache;
    return ceil_of(each, beside) * ceil_of((double)s->keys, n) *
           fmax(beside * step, step + STEP_LATENCY);
}

typedef struct choice {
    int64_t blocks[2]; /* queries and keys; 0: nothing fits */
    double cycles;
} choice;

static void try_rows(const shape *s, const sinter_machine *machine, int64_t rows, choice *best) {
    static const int64_t key_counts[] = {32, 64, 128};
    for (size_t i = 0; i < sizeof key_counts / sizeof *key_counts; i++) {
        const int64_t keys = key_counts[i];
        if (s->rounds && keys > MOST_SCORES) continue;
        const bool groups = takes_groups(s, machine, keys);
        if (bytes_of(s, rows, keys, groups) >
            (groups ? machine->device_shared_bytes : machine->device_block_bytes))
            continue;
        const double cycles = cycles_of(s, machine, rows, keys);
        if (cycles < best->cycles) *best = (choice){{rows, keys}, cycles};
    }
}

/* What a mask is, element by element: a constant, or one of two numbers by a constant condition. */
typedef struct mask_reader {
    const sinter_tensor *tensor; /* of f32 or bool */
    double chosen[2];            /* where it is false, where it is true */
} mask_reader;

static bool read_scalar(const sinter_module *module, sinter_value value, double *out) {
    const sinter_tensor *tensor = sinter_value_constant(module, value);
    if (!tensor || !tensor->data || sinter_tensor_count(tensor) != 1) return false;
    *out = sinter_tensor_get_double(tensor, 0);
    return true;
}

static bool begin_mask(const sinter_module *module, sinter_value mask, mask_reader *out) {
    const sinter_node node = sinter_value_definition(module, mask);
    const bool chooses = node && sinter_node_op(module, node) == SINTER_OP_where;
    if (chooses && (!read_scalar(module, sinter_node_operand(module, node, 1), &out->chosen[1]) ||
                    !read_scalar(module, sinter_node_operand(module, node, 2), &out->chosen[0])))
        return false;
    out->tensor =
        sinter_value_constant(module, chooses ? sinter_node_operand(module, node, 0) : mask);
    return out->tensor && out->tensor->data &&
           out->tensor->dtype == (chooses ? SINTER_DTYPE_bool : SINTER_DTYPE_f32);
}

static double read_mask(const mask_reader *mask, int64_t at) {
    const double item = sinter_tensor_get_double(mask->tensor, at);
    return mask->tensor->dtype == SINTER_DTYPE_bool ? mask->chosen[item != 0] : item;
}

/* 0 up to each query's own place, and behind it what leaves no weight: -inf, or the lowest numbers. */
static bool is_causal_mask(const mask_reader *mask, int64_t queries, int64_t keys) {
    const sinter_tensor *tensor = mask->tensor;
    if (tensor->rank < 2 || tensor->dims[tensor->rank - 2] != queries ||
        tensor->dims[tensor->rank - 1] != keys)
        return false;
    const int64_t count = sinter_tensor_count(tensor);
    for (int64_t at = 0; at < count; at++) {
        const double item = read_mask(mask, at);
        if (at % keys > at / keys % queries ? !(item <= -FLT_MAX / 2) : item != 0) return false;
    }
    return true;
}

/* Blocks of keys that a causal mask hides are no work, and need no mask in memory. */
static void recognize_causal(sinter_pass_context *context, sinter_node node) {
    sinter_module *module = context->module;
    const sinter_value value = sinter_node_operand(module, node, 3);
    const sinter_type *q = sinter_value_type(module, sinter_node_operand(module, node, 0)),
                      *k = sinter_value_type(module, sinter_node_operand(module, node, 1));
    const sinter_attr causal = sinter_attr_int("is_causal", 1);
    mask_reader mask;
    if (!value || !begin_mask(module, value, &mask) ||
        !is_causal_mask(&mask, dim_or(module, q->dims[2], 0), dim_or(module, k->dims[2], 0)))
        return;
    sinter_rewrite_set_operand(&context->rewrite, node, 3, 0);
    sinter_rewrite_set_attr(&context->rewrite, node, &causal);
}

/* Factors that are halves as they come go to units for matrices as they are. */
static void recognize_halves(sinter_pass_context *context, sinter_node node) {
    const sinter_module *module = context->module;
    sinter_dtype half = SINTER_DTYPE_NONE;
    for (uint32_t i = 0; i < 3; i++) {
        sinter_node cast = sinter_value_definition(module, sinter_node_operand(module, node, i));
        if (!cast || sinter_node_op(module, cast) != SINTER_OP_cast) return;
        sinter_dtype from = sinter_value_type(module, sinter_node_operand(module, cast, 0))->dtype;
        if ((from != SINTER_DTYPE_f16 && from != SINTER_DTYPE_bf16) || (i && from != half)) return;
        half = from;
    }
    const sinter_attr precision =
        sinter_attr_string("factor_precision", sinter_string_of(sinter_dtype_infos[half].name));
    if (context->options->machine->device_halves > 0 &&
        sinter_string_equal(sinter_node_get_string(module, node, "factor_precision"),
                            SINTER_STRING("f32")))
        sinter_rewrite_set_attr(&context->rewrite, node, &precision);
}

/* Units for matrices take 16 rows of a warp: fewer than 64 leave most of a multiprocessor's idle, and are for where more have no room. */
static void visit(void *user, sinter_node node) {
    static const int64_t row_counts[] = {64, 128};
    sinter_pass_context *context = user;
    if (!sinter_attention_has_blocks(context->module, node)) return;
    recognize_causal(context, node);
    recognize_halves(context, node);
    const shape s = describe(context->module, node);
    choice best = {.cycles = INFINITY};
    for (size_t i = 0; i < sizeof row_counts / sizeof *row_counts; i++)
        try_rows(&s, context->options->machine, row_counts[i], &best);
    if (!s.rounds || !best.blocks[0]) try_rows(&s, context->options->machine, FEW_ROWS, &best);
    if (!best.blocks[0]) return;
    sinter_attr attr = sinter_attr_ints("blocks", best.blocks, 2);
    sinter_rewrite_set_attr(&context->rewrite, node, &attr);
}

void sinter_pass_tile_attention(sinter_pass_context *context) {
    if (context->options->machine->has_device)
        sinter_pass_visit_nodes(context->module, visit, context);
}
