/* Lowering of a matrix product, of rows that reductions and elementwise nodes make of it (softmax, quantizations), and of the product of
 * these rows, all in one group: quantized attention, as a rule. Memory never sees the matrix between the products: a block of its
 * rows goes through all three before the next one begins, on scratch that stays in the cache.
 *
 *   for unit (a matrix, a part of its rows) { for block {
 *     scratch [row, column] of the first product, or of what elementwise nodes make of it, where that has fewer bits
 *     the rows of it -> scratch [row, column] of what is multiplied, and [row, 1] of what else is wanted of a row
 *     the second product's rows of y, from scratch } }
 *
 * Sums and maxima are those of the nodes on their own, over whole rows and in the same order. Blocks are of equal length: the last of a
 * part that they do not divide begins earlier and makes some rows once more. Where the run alone knows how many rows there are, the last
 * block has what is left. Scratch has room for whole rows, however long: what is too large for a thread's stack becomes memory of the plan
 * (codegen/schedule/cpu/scratch.c). Needs: the same matrices on both sides, which the pass fuse sees to.
 * Test: tests/codegen/lower/blocked.sir, tests/suites/blocked_values.py */
#include "codegen/lower/write.h"
#include "ir/ring.h"

#include <assert.h>

typedef struct blocked {
    sinter_kernel *k;
    sinter_module *module;
    sinter_region region;
    sinter_node first, second; /* the products */
    sinter_value scores;       /* what is made of the first, as scratch has it */
    sinter_value weights;      /* what the second multiplies */
    bool *members;             /* by node: makes rows of the scores */
    SINTER_VECTOR(sinter_value)
    made; /* weights, then what else of the rows is wanted behind them */
    uint32_t rank;
    int64_t rows, columns;               /* 0: the run alone knows */
    int64_t part, parts, block;          /* rows of a part, parts, rows of a block at most */
    sinter_expr matrix[SINTER_MAX_RANK]; /* index of the matrix that is worked on */
    sinter_expr row, count;              /* the first one of the block, and how many it has */
} blocked;

static sinter_pattern pattern_of(const blocked *b, sinter_node node) {
    return sinter_op_get_info(sinter_node_op(b->module, node))->pattern;
}

static bool is_reduction(const blocked *b, sinter_node node) {
    return sinter_lower_find_anchor(b->module, node) &&
           pattern_of(b, node) == SINTER_PATTERN_REDUCE;
}

bool sinter_lower_is_blocked(sinter_kernel *kernel, sinter_region region) {
    const blocked b = {.module = kernel->lower->module};
    uint32_t count = 0;
    SINTER_FOR_NODES (b.module, region, node)
        count += pattern_of(&b, node) == SINTER_PATTERN_CONTRACT;
    return count > 1;
}

/* ---- what belongs where ---- */

/* Marks the nodes of the region that the value is made by, up to these values. */
static void mark_makers(const blocked *b, sinter_value value, const sinter_value *cuts,
                        size_t cut_count, bool *marked) {
    for (size_t i = 0; i < cut_count; i++)
        if (cuts[i] == value) return;
    sinter_node node = value ? sinter_value_definition(b->module, value) : 0;
    if (!node || marked[node] || sinter_node_get(b->module, node)->parent != b->region) return;
    marked[node] = true;
    for (uint32_t i = 0; i < sinter_node_get(b->module, node)->operand_count; i++)
        mark_makers(b, sinter_node_operand(b->module, node, i), cuts, cut_count, marked);
}

/* Nodes between the value and what is made of the rows. */
static bool *find_members(const blocked *b, sinter_value from) {
    bool *marked =
        SINTER_NEW_ARRAY(&b->k->lower->scratch, bool, sinter_module_node_limit(b->module));
    mark_makers(b, b->weights, &from, 1, marked);
    SINTER_FOR_NODES (b->module, b->region, node)
        if (is_reduction(b, node))
            mark_makers(b, sinter_node_result(b->module, node, 0), &from, 1, marked);
    return marked;
}

static bool has_shape_of_rows(const blocked *b, sinter_value value) {
    const sinter_type *type = sinter_value_type(b->module, value),
                      *rows = sinter_value_type(b->module, b->weights);
    if (type->rank != rows->rank) return false;
    for (uint32_t i = 0; i < type->rank; i++)
        if (type->dims[i] != rows->dims[i]) return false;
    return true;
}

static uint32_t bits_of(const blocked *b, sinter_value value) {
    return sinter_dtype_infos[sinter_dtype_compute(sinter_value_type(b->module, value)->dtype)]
        .bits;
}

/* The scores: of the values that stand between the first product and all that is made of the rows the one with the fewest bits, the
 * last of these. */
static void find_scores(blocked *b) {
    SINTER_FOR_NODES (b->module, b->region, node) {
        sinter_value value = sinter_node_result(b->module, node, 0);
        if (!value || !has_shape_of_rows(b, value) || is_reduction(b, node)) continue;
        bool *members = find_members(b, value);
        if (members[b->first] || (b->scores && bits_of(b, value) > bits_of(b, b->scores))) continue;
        b->scores = value;
        b->members = members;
    }
}

/* What is made of the rows for what stands behind them, which needs nothing else of them. False: it needs the first product,
 * or an output is none of the second. */
static bool find_made(blocked *b) {
    sinter_arena *scratch = &b->k->lower->scratch;
    bool *behind = SINTER_NEW_ARRAY(scratch, bool, sinter_module_node_limit(b->module));
    SINTER_VECTOR(sinter_value) cuts = {0};
    sinter_vector_push(scratch, &cuts, b->weights);
    SINTER_FOR_NODES (b->module, b->region, node)
        if (is_reduction(b, node))
            sinter_vector_push(scratch, &cuts, sinter_node_result(b->module, node, 0));
    for (size_t i = 0; i < b->k->outputs.count; i++) {
        bool *makers = SINTER_NEW_ARRAY(scratch, bool, sinter_module_node_limit(b->module));
        mark_makers(b, b->k->outputs.items[i], cuts.items, cuts.count, makers);
        if (!makers[b->second]) return false;
        SINTER_FOR_NODES (b->module, b->region, node) behind[node] |= makers[node];
    }
    sinter_vector_push(scratch, &b->made, b->weights);
    for (size_t i = 1; i < cuts.count; i++) {
        const sinter_value_info *info = sinter_value_get(b->module, cuts.items[i]);
        bool wanted = false;
        for (size_t u = 0; u < info->uses.count; u++) wanted |= behind[info->uses.items[u].node];
        if (wanted) sinter_vector_push(scratch, &b->made, cuts.items[i]);
    }
    static_assert(SINTER_RING_REDUCTIONS + 2 <= SINTER_KERNEL_BETWEEN_MAX,
                  "scores, what is multiplied, and what is kept of each row");
    return !behind[b->first] && b->made.count < SINTER_KERNEL_BETWEEN_MAX;
}

static int64_t dim_of(const blocked *b, sinter_value value, int axis) {
    int64_t number = 0;
    sinter_loop_is_const_int(sinter_kernel_dim_of(b->k, value, axis), &number);
    return number;
}

/* What the pass fuse makes. */
static bool find_parts(blocked *b) {
    uint32_t products = 0;
    SINTER_FOR_NODES (b->module, b->region, node) {
        if (pattern_of(b, node) != SINTER_PATTERN_CONTRACT) continue;
        if (products++ == 0) b->first = node;
        b->second = node;
    }
    b->weights = sinter_node_operand(b->module, b->second, 0);
    sinter_value product = sinter_node_result(b->module, b->first, 0),
                 y = sinter_node_result(b->module, b->second, 0);
    b->rank = sinter_write_type(b->k, b->weights).rank;
    if (products != 2 || b->rank < 2 || !has_shape_of_rows(b, product) ||
        sinter_write_type(b->k, y).rank != b->rank)
        return false;
    for (uint32_t i = 0; i + 1 < b->rank; i++)
        if (sinter_write_type(b->k, y).dims[i] != sinter_write_type(b->k, b->weights).dims[i])
            return false;
    b->rows = dim_of(b, b->weights, -2);
    b->columns = dim_of(b, b->weights, -1);
    find_scores(b);
    if (!b->scores) return false;
    return find_made(b);
}

/* ---- units and blocks ---- */

/* Parts enough for some threads to share the units, of as many rows each. */
static int64_t choose_parts(int64_t matrices, int64_t rows) {
    int64_t wanted = (SINTER_LOWER_UNITS + matrices - 1) / matrices;
    int64_t most = rows / SINTER_RING_STEP, parts = wanted < most ? wanted : most;
    for (int64_t more = wanted; wanted > 1 && more <= most; more++)
        if (rows % more == 0) return more;
    while (parts > 1 && rows % parts) parts--;
    return parts > 1 ? parts : 1;
}

/* Rows of a block of which a thread's stack has no room for half as many, or nobody knows how long: enough for the operands of both
 * products to be read again few times, few enough for a core's cache to hold what is between up to some thousand columns. */
enum { LONG_ROWS = 32 };

static int64_t choose_room(const blocked *b) {
    int64_t bits = bits_of(b, b->scores) + bits_of(b, b->weights);
    int64_t room = b->columns > 0 ? sinter_ring_matrix_rows(b->columns * bits / 8) : 0;
    return room >= LONG_ROWS / 2 ? room : LONG_ROWS;
}

/* Rows of known number. */
static void choose_blocks(blocked *b, int64_t matrices) {
    int64_t room = choose_room(b);
    b->parts = choose_parts(matrices, b->rows);
    b->part = b->rows / b->parts;
    int64_t blocks = (b->part + room - 1) / room, block = (b->part + blocks - 1) / blocks;
    block = (block + SINTER_RING_STEP - 1) / SINTER_RING_STEP * SINTER_RING_STEP;
    if (block > room) block = room;
    b->block = block < b->part ? block : b->part;
}

/* The axis of matrices of which there are the most, of those whose number is known: the outermost loop, which threads share. */
static uint32_t find_outer(const blocked *b, int64_t *out_count) {
    uint32_t best = 0;
    *out_count = 1;
    for (uint32_t i = 0; i + 2 < b->rank; i++) {
        int64_t count = dim_of(b, b->weights, (int)i);
        if (count <= *out_count) continue;
        best = i;
        *out_count = count;
    }
    return best;
}

static sinter_expr begin_loop(blocked *b, const char *name, sinter_expr count, uint32_t *loops) {
    (*loops)++;
    return sinter_kernel_begin_for(b->k, name, count);
}

/* Blocks of the part, of equal length. */
static void begin_known(blocked *b, sinter_expr part, uint32_t *loops) {
    sinter_kernel *k = b->k;
    sinter_expr rows = sinter_write_int(k, b->part);
    b->count = sinter_write_int(k, b->block);
    sinter_expr block =
        begin_loop(b, "block", sinter_write_int(k, (b->part + b->block - 1) / b->block), loops);
    sinter_expr first = FORMULA(k, "a * b", block, b->count);
    if (b->part % b->block) first = FORMULA(k, "min(a, b - c)", first, rows, b->count);
    b->row = FORMULA(k, "a * b + c", part, rows, first);
}

/* A part is every so many-th block, which shows that parts are apart; the last block of all has what is left. */
static void begin_unknown(blocked *b, sinter_expr part, uint32_t *loops) {
    sinter_kernel *k = b->k;
    sinter_expr rows = sinter_kernel_dim_of(k, b->weights, -2),
                parts = sinter_write_int(k, b->parts);
    sinter_expr size = sinter_write_int(k, b->block),
                blocks = FORMULA(k, "(a + b - 1) / b", rows, size);
    sinter_expr block =
        begin_loop(b, "block", FORMULA(k, "(a + b - 1 - c) / b", blocks, parts, part), loops);
    b->row = FORMULA(k, "(a * b + c) * d", block, parts, part, size);
    b->count = FORMULA(k, "min(a, max(b - c, 0))", size, rows, b->row);
}

/* Loops over units and blocks; how many they are. */
static uint32_t begin_blocks(blocked *b) {
    sinter_kernel *k = b->k;
    int64_t matrices;
    uint32_t outer = find_outer(b, &matrices), loops = 0;
    b->parts = (SINTER_LOWER_UNITS + matrices - 1) / matrices;
    b->block = choose_room(b);
    if (b->rows > 0) choose_blocks(b, matrices);
    sinter_expr unit = begin_loop(b, "unit", sinter_write_int(k, matrices * b->parts), &loops);
    sinter_expr parts = sinter_write_int(k, b->parts);
    for (uint32_t i = 0; i + 2 < b->rank; i++) {
        bool shared = i == outer && matrices > 1;
        b->matrix[i] =
            shared ? FORMULA(k, "a / b", unit, parts)
                   : begin_loop(b, "matrix", sinter_kernel_dim_of(k, b->weights, (int)i), &loops);
    }
    sinter_expr part = FORMULA(k, "a % b", unit, parts);
    (b->rows > 0 ? begin_known : begin_unknown)(b, part, &loops);
    return loops;
}

/* ---- a block ---- */

/* An odd number of lines, so that rows do not share the cache's sets, with room for whole words, which products may read. */
static sinter_expr padded(const blocked *b, sinter_value value) {
    enum { LINE_BITS = 512 };
    int64_t line = LINE_BITS / bits_of(b, value), lines = (b->columns + line - 1) / line;
    if (b->columns > 0)
        return sinter_write_int(b->k, b->columns < line ? b->columns : (lines | 1) * line);
    sinter_expr words = FORMULA(b->k, "(a + 3) / 4 * 4", sinter_kernel_dim_of(b->k, value, -1));
    return FORMULA(b->k, "a + (3 * b - a % (2 * b)) % (2 * b)", words,
                   sinter_write_int(b->k, line));
}

static sinter_kernel_between *add_scratch(blocked *b, sinter_value value) {
    sinter_kernel *k = b->k;
    bool whole = has_shape_of_rows(b, value);
    const sinter_expr dims[2] = {sinter_write_int(k, b->block),
                                 whole ? padded(b, value) : sinter_write_int(k, 1)};
    sinter_dtype dtype = sinter_dtype_compute(sinter_write_type(k, value).dtype);
    sinter_kernel_between *between = &k->between[k->between_count++];
    *between = (sinter_kernel_between){
        .value = value,
        .first_row = b->row,
        .buffer = sinter_loop_add_buffer(&k->build, "block", dtype, 2, dims, SINTER_SCOPE_STACK)};
    sinter_loop_alloc(&k->build, between->buffer);
    return between;
}

/* Loops over the value go through its rows of the block. */
static void begin_part(blocked *b, sinter_value value) {
    sinter_kernel *k = b->k;
    sinter_kernel_part part = {.value = value};
    uint32_t last = b->rank - 1;
    for (uint32_t i = 0; i < last; i++) {
        part.first[i] = i + 1 < last ? b->matrix[i] : b->row;
        part.count[i] = i + 1 < last ? sinter_write_int(k, 1) : b->count;
        /* The only element of an axis is 0 in the very form that elementwise rules read it by. */
        if (dim_of(b, value, (int)i) == 1) part.first[i] = sinter_write_int(k, 0);
    }
    part.first[last] = sinter_write_int(k, 0);
    part.count[last] = sinter_kernel_dim_of(k, value, (int)last);
    k->part = part;
}

/* This many values are what the kernel makes, in scratch. */
typedef struct outputs {
    sinter_value *items;
    size_t count;
} outputs;

static outputs set_outputs(sinter_kernel *k, sinter_value *values, size_t count) {
    const outputs before = {k->outputs.items, k->outputs.count};
    k->outputs.items = values;
    k->outputs.count = count;
    return before;
}

static bool write_block(blocked *b) {
    sinter_kernel *k = b->k;
    sinter_kernel_between *scores = add_scratch(b, b->scores);
    const outputs own = set_outputs(k, &b->scores, 1);
    begin_part(b, sinter_node_result(b->module, b->first, 0));
    bool good = sinter_lower_find_anchor(b->module, b->first)(k, b->first);
    scores->is_made = true;
    for (size_t i = 0; i < b->made.count; i++) add_scratch(b, b->made.items[i]);
    set_outputs(k, b->made.items, b->made.count);
    begin_part(b, b->weights);
    good = sinter_lower_rows(k, b->region, b->members) && good;
    for (uint32_t i = 0; i < k->between_count; i++) k->between[i].is_made = true;
    set_outputs(k, own.items, own.count);
    begin_part(b, sinter_node_result(b->module, b->second, 0));
    good = sinter_lower_find_anchor(b->module, b->second)(k, b->second) && good;
    k->part.value = 0;
    k->between_count = 0;
    return good;
}

bool sinter_lower_blocked(sinter_kernel *kernel, sinter_region region) {
    blocked b = {.k = kernel, .module = kernel->lower->module, .region = region};
    if (!find_parts(&b))
        return sinter_lower_error(kernel->lower, b.second,
                                  "no such product reads rows that are made in its group");
    uint32_t loops = begin_blocks(&b);
    bool good = write_block(&b);
    sinter_kernel_end_loops(kernel, loops);
    return good;
}
