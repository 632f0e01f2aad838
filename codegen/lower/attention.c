/* Lowering of attention, y = softmax(scale * Q K^T + mask) V, without a matrix of all scores: a block of queries goes through
 * the product with keys, the softmax and the product with values before the next one begins, on scratch that stays in the cache.
 * Many keys come in blocks as well; then maximum, sum and the product so far are carried along and corrected (Milakov,
 * Gimelshein: Online normalizer calculation for softmax; Dao et al.: FlashAttention). Keys are transposed before, scaled.
 *
 * Where the attribute `blocks` says how many queries and keys go at once, all blocks are of that size, and keys are read as they lie: what
 * lies beyond the last query is the last one again, what lies beyond the last key has weights of 0. So all products are of one size. Queries
 * and weights are scratch in the type that `factor_precision` has products read.
 *
 * Needs the form that decompose leaves: rank 4, f32 or f64, heads of queries a multiple of those of keys, at most a mask that is
 * added and a causal one, no other result than y. Test: tests/codegen/lower/attention.sir, tests/ops/attention.sir */
#include "codegen/lower/write.h"
#include "ir/decompose.h"
#include "ir/machine.h"
#include <math.h>

enum {
    LINE = SINTER_CACHE_LINE / 4, /* elements of f32; rows of scratch are an odd number of lines */
    ROWS = 32,                    /* queries at a time, about */
    MOST_ROWS = 64,               /* at most */
    UNKNOWN_ROWS = 16,            /* where it is not known how many there are, */
    FEW_ROWS = 6,                 /* unless there are fewer than these */
    ROW_STEP = 8,                 /* rows that are multiplied at a time, as a rule */
    MOST_COLUMNS = 512,           /* keys whose scores are kept at once */
    COLUMNS = 384                 /* keys at a time, where there are more, or nobody knows */
};

typedef struct attention {
    sinter_kernel *k;
    sinter_node node;
    sinter_value q, keys, v, mask, y;
    sinter_type scores_type;
    sinter_dtype dtype;
    sinter_expr batch, head, shared;        /* shared: the head of keys and values */
    sinter_expr row, column, rows, columns; /* the first of the block, and how many */
    sinter_expr last_row;                   /* where blocks reach over the end: the last query */
    sinter_loop_buffer queries;             /* [rows, size], then; 0: read in place */
    sinter_loop_buffer turned;              /* keys [batch, heads, size, length] */
    sinter_loop_buffer scores;              /* [rows, columns] */
    sinter_loop_buffer shifts,
        sums; /* [rows]: what is taken from the scores, and the sums of the exponentials */
    sinter_loop_buffer highest, factors,
        products; /* in blocks of keys: [rows], [rows], [rows, size] */
    sinter_expr padded,
        computed; /* keys with what is behind them; those of the block that get scores */
    double scale;
    int64_t block_rows, block_columns, size,
        value_size;          /* sizes: of a head of queries and of values */
    bool streams;            /* keys come in blocks */
    bool whole;              /* blocks are all of one size */
    bool divides;            /* that of keys their number: there is none beyond the last */
    bool causal;             /* queries see keys up to their own place alone */
    bool rounds;             /* factors are rounded: */
    sinter_dtype factor;     /* what they are stored as; f32: rounded to tf32 */
    sinter_expr last_column; /* the last key */
    sinter_loop_buffer
        weights; /* [rows, columns]: the exponentials; the scores themselves, where nothing is rounded */
} attention;

static sinter_expr dim_of(const attention *a, sinter_value value, int axis) {
    return sinter_kernel_dim_of(a->k, value, axis);
}

static sinter_loop_buffer scratch_of(const attention *a, const char *name, sinter_dtype dtype,
                                     int64_t rows, int64_t columns) {
    sinter_kernel *k = a->k;
    sinter_expr dims[2] = {sinter_write_int(k, rows), sinter_write_int(k, columns)};
    sinter_loop_buffer buffer =
        sinter_loop_add_buffer(&k->build, name, dtype, columns ? 2 : 1, dims, SINTER_SCOPE_STACK);
    sinter_loop_alloc(&k->build, buffer);
    return buffer;
}

static sinter_loop_buffer scratch(const attention *a, const char *name, int64_t rows,
                                  int64_t columns) {
    return scratch_of(a, name, a->dtype, rows, columns);
}

/* ---- factors ---- */

/* As scratch of the factors' type stores it. */
static sinter_expr narrowed(const attention *a, sinter_expr value) {
    if (!a->rounds) return value;
    if (a->factor == a->dtype) return FORMULA(a->k, "round_tf32(a)", value);
    return sinter_write_cast(a->k, value, a->factor);
}

/* What is multiplied, of what scratch or an operand has. */
static sinter_expr factor_of(const attention *a, sinter_expr value) {
    const bool is_narrow = value->kind == SINTER_LOOP_CAST && value->dtype == a->dtype &&
                           value->arguments[0]->dtype == a->factor;
    if (!a->rounds || is_narrow) return value;
    if (a->factor == a->dtype) return narrowed(a, value);
    if (value->dtype != a->factor) value = narrowed(a, value);
    return sinter_write_cast(a->k, value, a->dtype);
}

/* Key or value `n` of the block, which is 0 beyond the last. */
static sinter_expr column_at(const attention *a, sinter_expr n) {
    sinter_expr column = FORMULA(a->k, "a + b", a->column, n);
    return a->whole && !a->divides ? FORMULA(a->k, "min(a, b)", column, a->last_column) : column;
}

static sinter_expr present(const attention *a, sinter_expr n, sinter_expr factor) {
    if (!a->whole || a->divides) return factor;
    return FORMULA(a->k, "select(a + b <= c, d, e)", a->column, n, a->last_column, factor,
                   sinter_write_number(a->k, a->dtype, 0));
}

/* Keys as the product reads them, with zeros behind them up to a whole line, as far as scores of those may be computed. */
static void turn_keys(attention *a, double scale) {
    sinter_kernel *k = a->k;
    sinter_dim_table *table = k->lower->dims;
    const sinter_type type = sinter_write_type(k, a->keys);
    sinter_dim line = sinter_dim_const(table, LINE), length = type.dims[2];
    sinter_dim padded =
        a->mask ? length : sinter_dim_mul(table, sinter_dim_ceildiv(table, length, line), line);
    const sinter_dim dims[4] = {type.dims[0], type.dims[1], type.dims[3], padded};
    a->turned = sinter_write_scratch(k, "keys", a->dtype, 4, dims);
    a->padded = sinter_kernel_dim(k, padded);
    for (int part = 0; part < (padded == length ? 1 : 2); part++) {
        sinter_expr index[4], all = sinter_kernel_dim(k, length);
        for (uint32_t i = 0; i < 3; i++)
            index[i] = sinter_kernel_begin_for(k, "t", sinter_kernel_dim(k, dims[i]));
        index[3] =
            part ? sinter_write_for(k, "t", all, a->padded) : sinter_kernel_begin_for(k, "t", all);
        const sinter_expr from[4] = {index[0], index[1], index[3], index[2]};
        sinter_expr element = part ? sinter_write_number(k, a->dtype, 0)
                                   : factor_of(a, sinter_lower_element(k, a->keys, from));
        if (!part && scale != 1)
            element = FORMULA(k, "a * b", element, sinter_write_number(k, a->dtype, scale));
        sinter_kernel_store(k, a->turned, index, element);
        sinter_kernel_end_loops(k, 4);
    }
}

/* ---- one block of queries and keys ---- */

/* Where the queries of a block are; what would be behind the last one is the last one again. */
static sinter_expr row_at(const attention *a, sinter_expr m) {
    sinter_expr row = FORMULA(a->k, "a + b", a->row, m);
    return a->last_row ? FORMULA(a->k, "min(a, b)", row, a->last_row) : row;
}

static void copy_queries(attention *a) {
    sinter_kernel *k = a->k;
    sinter_expr m = sinter_kernel_begin_for(k, "m", a->rows),
                d = sinter_kernel_begin_for(k, "d", dim_of(a, a->q, 3));
    const sinter_expr from[4] = {a->batch, a->head, row_at(a, m), d};
    sinter_write_store2(k, a->queries, m, d, narrowed(a, sinter_lower_element(k, a->q, from)));
    sinter_kernel_end_loops(k, 2);
}

/* An element of a query and one of a key. */
static sinter_expr multiply_elements(const attention *a, sinter_expr m, sinter_expr row,
                                     sinter_expr n, sinter_expr d) {
    sinter_kernel *k = a->k;
    const sinter_expr from[4] = {a->batch, a->head, row, d}, column = column_at(a, n),
                      turned[4] = {a->batch, a->shared, d, column},
                      with[4] = {a->batch, a->shared, column, d};
    sinter_expr query =
        a->queries ? sinter_write_load2(k, a->queries, m, d) : sinter_lower_element(k, a->q, from);
    query = factor_of(a, query);
    if (!a->whole) return FORMULA(k, "a * b", query, sinter_kernel_load(k, a->turned, turned));
    return FORMULA(k, "a * b", query,
                   present(a, n, factor_of(a, sinter_lower_element(k, a->keys, with))));
}

static void multiply_keys(attention *a) {
    sinter_kernel *k = a->k;
    sinter_expr m = sinter_kernel_begin_for(k, "m", a->rows),
                n = sinter_kernel_begin_for(k, "n", a->computed);
    sinter_expr row = row_at(a, m);
    sinter_loop_var sum = sinter_write_var(k, "score", sinter_write_number(k, a->dtype, 0));
    sinter_expr d = sinter_kernel_begin_for(k, "d", dim_of(a, a->q, 3));
    sinter_write_add(k, sum, multiply_elements(a, m, row, n, d));
    sinter_write_end(k);
    sinter_expr score = sinter_write_get(k, sum);
    if (a->whole && a->scale != 1)
        score = FORMULA(k, "a * b", score, sinter_write_number(k, a->dtype, a->scale));
    const sinter_expr at[4] = {a->batch, a->head, row, column_at(a, n)};
    if (a->mask)
        score =
            FORMULA(k, "a + b", score, sinter_lower_operand(k, a->node, 3, at, &a->scores_type));
    if (a->causal)
        score = FORMULA(k, "select(a <= b, c, d)", FORMULA(k, "a + b", a->column, n), row, score,
                        sinter_write_number(k, a->dtype, -INFINITY));
    sinter_write_store2(k, a->scores, m, n, score);
    sinter_kernel_end_loops(k, 2);
}

/* Of each row the highest score. Loops of their own for each step leave rows that do not wait for each other. */
static void find_highest(attention *a) {
    sinter_kernel *k = a->k;
    sinter_expr lowest = sinter_write_number(k, a->dtype, -INFINITY);
    sinter_expr m = sinter_kernel_begin_for(k, "m", a->rows);
    sinter_expr before =
        a->streams ? sinter_write_let(k, "before", sinter_write_load1(k, a->highest, m)) : lowest;
    sinter_loop_var high = sinter_write_var(k, "high", before);
    sinter_expr n = sinter_kernel_begin_for(k, "n", a->columns);
    sinter_expr score = sinter_write_let(k, "score", sinter_write_load2(k, a->scores, m, n));
    sinter_write_set(k, high, FORMULA(k, "select(a < b, b, a)", sinter_write_get(k, high), score));
    sinter_write_end(k);
    sinter_expr shift = sinter_write_get(k, high);
    if (a->streams) { /* where all was -inf so far, the scores to come count */
        sinter_write_store1(k, a->highest, m, shift);
        shift = sinter_write_let(k, "shift", FORMULA(k, "select(a == b, 0, a)", shift, lowest));
        sinter_write_store1(k, a->factors, m, FORMULA(k, "exp(a - b)", before, shift));
    }
    sinter_write_store1(k, a->shifts, m, shift);
    sinter_write_end(k);
}

/* Scores become exponentials, less the highest one of the row. */
static void exponentiate(attention *a) {
    sinter_kernel *k = a->k;
    sinter_expr m = sinter_kernel_begin_for(k, "m", a->rows),
                n = sinter_kernel_begin_for(k, "n", a->whole ? a->computed : a->columns);
    sinter_expr weight = FORMULA(k, "exp(a - b)", sinter_write_load2(k, a->scores, m, n),
                                 sinter_write_load1(k, a->shifts, m));
    sinter_write_store2(k, a->weights, m, n, narrowed(a, present(a, n, weight)));
    sinter_kernel_end_loops(k, 2);
}

static void sum_rows(attention *a) {
    sinter_kernel *k = a->k;
    sinter_expr m = sinter_kernel_begin_for(k, "m", a->rows);
    sinter_loop_var sum = sinter_write_var(k, "sum", sinter_write_number(k, a->dtype, 0));
    sinter_expr n = sinter_kernel_begin_for(k, "n", a->columns);
    sinter_write_add(k, sum, factor_of(a, sinter_write_load2(k, a->weights, m, n)));
    sinter_write_end(k);
    sinter_expr all = sinter_write_get(k, sum);
    sinter_write_store1(k, a->sums, m,
                        a->streams ? FORMULA(k, "fma(a, b, c)", sinter_write_load1(k, a->sums, m),
                                             sinter_write_load1(k, a->factors, m), all)
                                   : all);
    sinter_write_end(k);
}

static void store_result(attention *a, sinter_expr m, sinter_expr e, sinter_expr element) {
    const sinter_expr at[4] = {a->batch, a->head, FORMULA(a->k, "a + b", a->row, m), e};
    sinter_lower_store(a->k, a->y, at, element);
}

static void multiply_values(attention *a) {
    sinter_kernel *k = a->k;
    sinter_expr m = sinter_kernel_begin_for(k, "m", a->rows),
                e = sinter_kernel_begin_for(k, "e", dim_of(a, a->v, 3));
    sinter_loop_var product = sinter_write_var(k, "product", sinter_write_number(k, a->dtype, 0));
    sinter_expr n = sinter_kernel_begin_for(k, "n", a->whole ? a->computed : a->columns);
    const sinter_expr from[4] = {a->batch, a->shared, column_at(a, n), e};
    sinter_write_add(k, product,
                     FORMULA(k, "a * b", factor_of(a, sinter_write_load2(k, a->weights, m, n)),
                             present(a, n, factor_of(a, sinter_lower_element(k, a->v, from)))));
    sinter_write_end(k);
    sinter_expr y = sinter_write_get(k, product);
    if (a->streams)
        y = FORMULA(k, "fma(a, b, c)", sinter_write_load2(k, a->products, m, e),
                    sinter_write_load1(k, a->factors, m), y);
    if (a->products)
        sinter_write_store2(k, a->products, m, e, y);
    else
        store_result(a, m, e, FORMULA(k, "a * b", y, sinter_write_load1(k, a->sums, m)));
    sinter_kernel_end_loops(k, 2);
}

/* What the products are multiplied by in the end. */
static void invert_sums(attention *a) {
    sinter_kernel *k = a->k;
    sinter_expr m = sinter_kernel_begin_for(k, "m", a->rows);
    sinter_write_store1(k, a->sums, m, FORMULA(k, "1 / a", sinter_write_load1(k, a->sums, m)));
    sinter_write_end(k);
}

/* ---- all keys ---- */

static void multiply_block(attention *a) {
    multiply_keys(a);
    find_highest(a);
    exponentiate(a);
    sum_rows(a);
    if (!a->streams) invert_sums(a);
    multiply_values(a);
}

static void begin_stream(attention *a) {
    sinter_kernel *k = a->k;
    a->highest = scratch(a, "highest", a->block_rows, 0);
    a->factors = scratch(a, "factors", a->block_rows, 0);
    sinter_expr m = sinter_kernel_begin_for(k, "m", a->rows);
    sinter_write_store1(k, a->highest, m, sinter_write_number(k, a->dtype, -INFINITY));
    sinter_write_store1(k, a->sums, m, sinter_write_number(k, a->dtype, 0));
    if (a->whole) { /* elements of a block are many threads' */
        sinter_write_end(k);
        m = sinter_kernel_begin_for(k, "m", a->rows);
    }
    sinter_expr e = sinter_kernel_begin_for(k, "e", dim_of(a, a->v, 3));
    sinter_write_store2(k, a->products, m, e, sinter_write_number(k, a->dtype, 0));
    sinter_kernel_end_loops(k, 2);
}

/* Those rows of the block that there are. */
static void store_products(attention *a) {
    sinter_kernel *k = a->k;
    sinter_expr m = sinter_kernel_begin_for(k, "m", a->rows), e = NULL;
    if (a->whole) e = sinter_kernel_begin_for(k, "e", dim_of(a, a->v, 3));
    if (a->last_row) sinter_write_if(k, FORMULA(k, "a + b < c", a->row, m, dim_of(a, a->q, 2)));
    if (!a->whole) e = sinter_kernel_begin_for(k, "e", dim_of(a, a->v, 3));
    store_result(a, m, e,
                 FORMULA(k, "a * b", sinter_write_load2(k, a->products, m, e),
                         sinter_write_load1(k, a->sums, m)));
    sinter_kernel_end_loops(k, 2);
    if (a->last_row) sinter_write_end(k);
}

/* How many of `all` are in the block that begins at `first`. */
static sinter_expr count_in_block(attention *a, sinter_expr first, sinter_expr all, int64_t block) {
    return FORMULA(a->k, "min(a, b - c)", sinter_write_int(a->k, block), all, first);
}

static sinter_expr block_count(attention *a, sinter_expr all, int64_t block) {
    return FORMULA(a->k, "(a + b - 1) / b", all, sinter_write_int(a->k, block));
}

/* The keys that some query of the block sees: blocks of those behind them are no work. */
static sinter_expr seen_keys(const attention *a, sinter_expr all) {
    return a->causal ? FORMULA(a->k, "min(a, b + c)", all, a->row, a->rows) : all;
}

static void multiply_rows(attention *a) {
    sinter_kernel *k = a->k;
    sinter_expr all = dim_of(a, a->keys, 2);
    a->queries = a->products = 0;
    a->scores =
        scratch(a, "scores", a->block_rows,
                a->whole ? a->block_columns : ((a->block_columns + LINE - 1) / LINE | 1) * LINE);
    a->weights = a->scores;
    if (a->rounds)
        a->weights = scratch_of(a, "weights", a->factor, a->block_rows, a->block_columns);
    a->shifts = scratch(a, "shifts", a->block_rows, 0);
    a->sums = scratch(a, "sums", a->block_rows, 0);
    if (a->last_row || a->streams)
        a->products = scratch(a, "products", a->block_rows, a->value_size);
    if (a->last_row || a->whole) {
        a->queries =
            scratch_of(a, "queries", a->rounds ? a->factor : a->dtype, a->block_rows, a->size);
        copy_queries(a);
    }
    if (a->streams) {
        begin_stream(a);
        sinter_expr block = sinter_kernel_begin_for(
            k, "columns", block_count(a, seen_keys(a, all), a->block_columns));
        a->column = FORMULA(k, "a * b", block, sinter_write_int(k, a->block_columns));
        a->computed = sinter_write_int(k, a->block_columns);
        a->columns = a->divides ? a->computed : count_in_block(a, a->column, all, a->block_columns);
        if (!a->whole) a->computed = count_in_block(a, a->column, a->padded, a->block_columns);
        multiply_block(a);
        sinter_write_end(k);
        invert_sums(a);
    } else {
        a->column = sinter_write_int(k, 0);
        a->columns = all;
        a->computed = a->whole ? sinter_write_int(k, a->block_columns) : a->padded;
        multiply_block(a);
    }
    if (a->products) store_products(a);
}

/* ---- the whole ---- */

static int64_t number_or(sinter_expr expr, int64_t otherwise) {
    int64_t number;
    return sinter_loop_is_const_int(expr, &number) ? number : otherwise;
}

/* Rows that are multiplied in blocks of so many, with those that are not there. */
static int64_t rows_in_blocks(int64_t all, int64_t block) {
    return (all + block - 1) / block * ((block + ROW_STEP - 1) / ROW_STEP * ROW_STEP);
}

static int64_t distance(int64_t a, int64_t b) {
    return a > b ? a - b : b - a;
}

/* The block with the least to multiply. All blocks are full, or whole steps, and reach over the end. */
static int64_t choose_rows(int64_t rows) {
    int64_t best = rows < MOST_ROWS ? rows : ROWS;
    for (int64_t block = ROW_STEP; block <= MOST_ROWS && block <= rows; block++) {
        if (rows % block && block % ROW_STEP) continue;
        int64_t more = rows_in_blocks(rows, block) - rows_in_blocks(rows, best);
        if (more < 0 || (more == 0 && distance(block, ROWS) < distance(best, ROWS))) best = block;
    }
    return best;
}

/* What the attributes say of blocks and factors. */
static void read_attributes(attention *a) {
    const sinter_module *module = a->k->lower->module;
    const sinter_string precision = sinter_node_get_string(module, a->node, "factor_precision");
    const int64_t *blocks;
    a->scale = sinter_node_get_float(module, a->node, "scale", 1);
    a->causal = sinter_node_get_int(module, a->node, "is_causal", 0) != 0;
    a->whole = sinter_node_get_ints(module, a->node, "blocks", &blocks) == 2;
    a->rounds = !sinter_string_equal(precision, SINTER_STRING("f32"));
    a->factor = sinter_string_equal(precision, SINTER_STRING("bf16"))  ? SINTER_DTYPE_bf16
                : sinter_string_equal(precision, SINTER_STRING("f16")) ? SINTER_DTYPE_f16
                                                                       : a->dtype;
    if (!a->whole) return;
    a->block_rows = blocks[0];
    a->block_columns = blocks[1];
}

static void choose_blocks(attention *a) {
    int64_t rows = number_or(dim_of(a, a->q, 2), 0), columns = number_or(dim_of(a, a->keys, 2), 0);
    read_attributes(a);
    if (!a->whole) a->block_rows = rows > 0 ? choose_rows(rows) : UNKNOWN_ROWS;
    if (rows < 1 || rows % a->block_rows) a->last_row = FORMULA(a->k, "a - 1", dim_of(a, a->q, 2));
    a->streams = columns < 1 || columns > (a->whole ? a->block_columns : MOST_COLUMNS);
    if (!a->whole) a->block_columns = a->streams ? COLUMNS : columns;
    a->divides = a->whole && columns > 0 && columns % a->block_columns == 0;
    a->last_column = FORMULA(a->k, "a - 1", dim_of(a, a->keys, 2));
}

/* What inference could not prove. */
static void check_sizes(attention *a) {
    sinter_kernel *k = a->k;
    sinter_write_same_size(k, a->node, a->q, 0, a->keys, 0);
    sinter_write_same_size(k, a->node, a->q, 0, a->v, 0);
    sinter_write_same_size(k, a->node, a->keys, 1, a->v, 1);
    sinter_write_same_size(k, a->node, a->q, 3, a->keys, 3);
    sinter_write_same_size(k, a->node, a->keys, 2, a->v, 2);
}

/* The queries in `count` blocks. */
static void multiply_all(attention *a, int64_t heads, int64_t shared, sinter_expr count) {
    sinter_kernel *k = a->k;
    a->rows = sinter_write_int(k, a->block_rows);
    a->head = sinter_kernel_begin_for(k, "head", sinter_write_int(k, heads));
    a->shared = heads == shared ? a->head
                                : FORMULA(k, "a / b", a->head, sinter_write_int(k, heads / shared));
    a->batch = sinter_kernel_begin_for(k, "batch", dim_of(a, a->q, 0));
    sinter_expr block = sinter_kernel_begin_for(k, "rows", count);
    a->row = FORMULA(k, "a * b", block, a->rows);
    multiply_rows(a);
    sinter_kernel_end_loops(k, 3);
}

/* Blocks that would be mostly empty are not worth it: few queries go one by one. */
static void multiply_unknown(attention *a, int64_t heads, int64_t shared) {
    sinter_kernel *k = a->k;
    sinter_expr all = dim_of(a, a->q, 2), blocks = block_count(a, all, a->block_rows);
    sinter_expr few = sinter_write_int(k, FEW_ROWS);
    multiply_all(a, heads, shared, FORMULA(k, "select(a < b, 0, c)", all, few, blocks));
    a->block_rows = 1;
    a->last_row = NULL;
    multiply_all(a, heads, shared, FORMULA(k, "select(a < b, a, 0)", all, few));
}

bool sinter_lower_attention(sinter_kernel *kernel, sinter_node node) {
    sinter_kernel *k = kernel;
    if (!sinter_decompose_leaves_attention(k->lower->module, node))
        return sinter_lower_error(k->lower, node, "expected attention as decompose leaves it");
    attention a = {.k = k, .node = node, .y = sinter_write_result(k, node, 0)};
    a.q = sinter_write_operand(k, node, 0);
    a.keys = sinter_write_operand(k, node, 1);
    a.v = sinter_write_operand(k, node, 2);
    a.mask = sinter_write_operand(k, node, 3);
    const sinter_type q = sinter_write_type(k, a.q), keys = sinter_write_type(k, a.keys);
    int64_t heads = number_or(dim_of(&a, a.q, 1), 0), shared = number_or(dim_of(&a, a.keys, 1), 0);
    if (heads % shared) return sinter_lower_error(k->lower, node, "the heads do not fit");
    a.size = number_or(dim_of(&a, a.q, 3), 0);
    a.value_size = number_or(dim_of(&a, a.v, 3), 0);
    sinter_dim dims[4] = {q.dims[0], q.dims[1], q.dims[2], keys.dims[2]};
    a.dtype = q.dtype;
    a.scores_type =
        (sinter_type){.kind = SINTER_TYPE_TENSOR, .dtype = q.dtype, .rank = 4, .dims = dims};
    choose_blocks(&a);
    check_sizes(&a);
    if (!a.whole) turn_keys(&a, a.scale);
    sinter_expr all = dim_of(&a, a.q, 2);
    if (number_or(all, 0))
        multiply_all(&a, heads, shared, block_count(&a, all, a.block_rows));
    else
        multiply_unknown(&a, heads, shared);
    return true;
}
