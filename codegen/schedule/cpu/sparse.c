/* Sums of products of u8 and constant i8 where most blocks of 4 outputs x 4 steps of the constant are zero:
 *   for row { for column { acc = init; for k { acc += i32(a[row, k]) * i32(b[k, column]) }; y[row, column] = f(acc, column) } }
 * Only blocks that are not zero are stored and multiplied. Rows are lanes: what a block multiplies is the same four bytes of all
 * rows, so a vector of rows is loaded once for the four outputs of a block, whatever columns the next block has.
 *   for rows of a block { turn: four bytes of each row as words [word, row], in tiles of vectors;
 *     for 4 columns { for their blocks { 4 sums of so many vectors += dot4(turned[word of the block], its bytes) };
 *       the four results of a row as one word }; words back to rows }
 * The constant becomes one of i32: where the blocks of each 4 columns begin, which word each multiplies, its 16 bytes as 4 words.
 * Exact: i32 wraps the same way in any order. Needs: results of one byte that depend on their column and sum alone, and zeros
 * enough by an estimate of cycles. Test: tests/codegen/schedule/sparse.sir */
#include "codegen/schedule/cpu/constant.h"
#include "codegen/schedule/cpu/dot.h"
#include "codegen/schedule/cpu/tile.h"
#include "codegen/schedule/internal.h"
#include "ir/stack.h"

#include <string.h>

enum {
    SIDE = 4, /* of a block: outputs, and bytes of a word */
    MOST_VECTORS = 8,
    GROUP = 16 /* blocks of columns whose words go back to rows together */
};

typedef struct sparse {
    sinter_schedule_cpu_state *state;
    sinter_loop_builder build;
    const sinter_cpu_nest *nest;
    sinter_cpu_dots dots;
    sinter_loop_var row, column;
    uint32_t column_dim;                   /* of b */
    const sinter_loop_stmt *start, *store; /* of the accumulator, of the result */
    sinter_loop_map lets;
    int64_t rows, columns, words;       /* words of a row of a */
    int64_t lanes, vectors, width;      /* rows of a block */
    int64_t block_columns, most_blocks; /* of all constants: those of the fullest */
    sinter_loop_buffer turned, sums, table;
} sparse;

/* ---- recognition ---- */

/* Declarations, the accumulator, the reduction, declarations, one store: the result of the column. */
static bool match_body(sparse *s) {
    const sinter_loop_function *function = s->state->schedule.function;
    const sinter_loop_stmt *loop = sinter_schedule_get_loop(function, s->column);
    sinter_loop_map_init(&s->lets, s->state->program, s->state->schedule.function);
    for (const sinter_loop_stmt *stmt = loop->body; stmt; stmt = stmt->next) {
        if (s->store) return false;
        if (stmt->kind == SINTER_LOOP_STORE) {
            s->store = stmt;
        } else if (stmt->kind == SINTER_LOOP_DECLARE && stmt->var == s->nest->accumulator) {
            s->start = stmt;
        } else if (stmt->kind == SINTER_LOOP_DECLARE) {
            sinter_loop_map_var(&s->lets, stmt->var, sinter_loop_map_expr(&s->lets, stmt->value));
        }
    }
    if (!s->start || !s->store || s->store->atomic || s->store->combine) return false;
    const sinter_loop_buffer_info *y = &function->buffers.items[s->store->buffer];
    uint32_t last = s->store->argument_count - 1;
    sinter_expr index = s->store->argument_count ? s->store->arguments[last] : NULL;
    if (sinter_dtype_infos[y->dtype].bits != 8 || sinter_dtype_is_float(y->dtype) || !index ||
        index->kind != SINTER_LOOP_VAR || index->var != s->column)
        return false;
    for (uint32_t i = 0; i < last; i++)
        if (sinter_loop_expr_uses(s->store->arguments[i], s->column)) return false;
    return !sinter_loop_expr_uses(sinter_loop_map_expr(&s->lets, s->store->value), s->row) &&
           !sinter_loop_expr_uses(sinter_loop_map_expr(&s->lets, s->start->value), s->row) &&
           !sinter_loop_expr_loads(sinter_loop_map_expr(&s->lets, s->store->value),
                                   s->store->buffer);
}

/* One dim of the constant is the column's, one the reduction's, the others have one element. */
static bool match_constant(sparse *s) {
    const sinter_loop_function *function = s->state->schedule.function;
    const sinter_loop_buffer_info *b = &function->buffers.items[s->dots.b->buffer];
    uint32_t found = 0;
    int64_t size;
    for (uint32_t i = 0; i < b->rank; i++) {
        sinter_expr index = s->dots.b->arguments[i];
        if (!sinter_loop_is_const_int(b->dims[i], &size)) return false;
        if (index->kind == SINTER_LOOP_VAR && index->var == s->column) {
            s->column_dim = i;
            s->columns = size;
            found++;
        } else if (i != s->dots.b_dim && size != 1) {
            return false;
        }
    }
    return found == 1 && s->columns % SIDE == 0 &&
           sinter_cpu_trips(s->state, s->column) == s->columns;
}

static bool match(sparse *s) {
    const sinter_cpu_nest *nest = s->nest;
    if (nest->loop_count < 2 || !sinter_cpu_find_dots(s->state, nest, &s->dots)) return false;
    s->column = nest->loops[nest->loop_count - 1];
    s->row = nest->loops[nest->loop_count - 2];
    s->rows = sinter_cpu_trips(s->state, s->row);
    s->words = s->dots.steps / SIDE;
    s->lanes = sinter_schedule_cpu_lanes(s->state->target, SINTER_DTYPE_i32);
    const sinter_loop_stmt *row = sinter_schedule_get_loop(s->state->schedule.function, s->row);
    int64_t lower;
    return s->rows >= s->lanes && s->lanes > 1 && sinter_loop_is_const_int(row->lower, &lower) &&
           lower == 0 && !sinter_loop_expr_uses(s->dots.b, s->row) && match_constant(s) &&
           match_body(s);
}

/* ---- the constants ---- */

static int64_t stride_of(const sinter_tensor *tensor, uint32_t dim) {
    int64_t stride = 1;
    for (uint32_t i = dim + 1; i < tensor->rank; i++) stride *= tensor->dims[i];
    return stride;
}

/* The 16 bytes of a block, those of an output together. False where all are zero. */
static bool read_block(const sparse *s, const sinter_tensor *b, int64_t word, int64_t four,
                       int8_t *out_bytes) {
    const int8_t *data = b->data;
    int64_t step = stride_of(b, s->dots.b_dim), column = stride_of(b, s->column_dim);
    int any = 0;
    for (int64_t o = 0; o < SIDE; o++)
        for (int64_t k = 0; k < SIDE; k++)
            any |= out_bytes[o * SIDE + k] =
                data[(word * SIDE + k) * step + (four * SIDE + o) * column];
    return any != 0;
}

/* With the dims that the kernel sees: tensors of equal data are one constant, whatever their shapes. */
static sinter_tensor shaped(const sparse *s, uint32_t constant) {
    const sinter_loop_buffer_info *b =
        &s->state->schedule.function->buffers.items[s->dots.b->buffer];
    sinter_tensor tensor = s->state->program->constants.items[constant].tensor;
    tensor.rank = b->rank;
    for (uint32_t i = 0; i < b->rank; i++) sinter_loop_is_const_int(b->dims[i], &tensor.dims[i]);
    return tensor;
}

static void count_blocks(sparse *s) {
    const uint32_t *constants;
    size_t count = sinter_cpu_list_constants(s->state, s->dots.b->buffer, &constants);
    for (size_t i = 0; i < count; i++) {
        sinter_tensor b = shaped(s, constants[i]);
        int8_t bytes[SIDE * SIDE];
        int64_t blocks = 0;
        for (int64_t four = 0; four < s->block_columns; four++)
            for (int64_t word = 0; word < s->words; word++)
                blocks += read_block(s, &b, word, four, bytes);
        if (blocks > s->most_blocks) s->most_blocks = blocks;
    }
}

/* Where the parts of the table begin: after the first block of each 4 columns, and of the end. */
static int64_t words_at(const sparse *s) {
    return s->block_columns + 1;
}

static int64_t bytes_at(const sparse *s) {
    return words_at(s) + s->most_blocks;
}

static bool make_table(void *user, const sinter_tensor *source, sinter_tensor *out_table,
                       sinter_diag *diag) {
    const sparse *s = user;
    const int64_t size = bytes_at(s) + s->most_blocks * SIDE;
    if (!sinter_tensor_create(out_table, SINTER_DTYPE_i32, 1, &size, diag)) return false;
    int32_t *table = sinter_tensor_mutable(out_table);
    int64_t blocks = 0;
    for (int64_t four = 0; four < s->block_columns; four++) {
        table[four] = (int32_t)blocks;
        for (int64_t word = 0; word < s->words; word++) {
            int8_t bytes[SIDE * SIDE];
            if (!read_block(s, source, word, four, bytes)) continue;
            table[words_at(s) + blocks] = (int32_t)word;
            memcpy(table + bytes_at(s) + blocks * SIDE, bytes, sizeof bytes);
            blocks++;
        }
    }
    table[s->block_columns] = (int32_t)blocks;
    return true;
}

/* ---- is it worth it ---- */

static int64_t blocks_of(int64_t count, int64_t size) {
    return (count + size - 1) / size;
}

/* Vectors of a block of rows: sums of four outputs, the rows of a block and its bytes in registers, the words of rows on the
 * stack, and few lanes without a row. */
static void choose_vectors(sparse *s) {
    int64_t most = ((int64_t)s->state->target->registers - 2) / (SIDE + 1), least_rows = INT64_MAX;
    int64_t fits = SINTER_STACK_SHARE / (s->words * SIDE * s->lanes);
    if (most > MOST_VECTORS) most = MOST_VECTORS;
    if (most > fits) most = fits;
    for (int64_t vectors = most; vectors > 0; vectors--) {
        int64_t width = vectors * s->lanes, rows = blocks_of(s->rows, width) * width;
        if (rows >= least_rows || (vectors == 1 && s->vectors > 1)) continue;
        least_rows = rows;
        s->vectors = vectors;
    }
    s->width = s->vectors * s->lanes;
}

/* Cycles, roughly: dots at two a cycle, and for blocks a word a cycle to turn, and results apart from sums. */
static bool pays(sparse *s) {
    int64_t area = s->words * s->block_columns;
    int64_t rows = blocks_of(s->rows, s->width) * s->width;
    int64_t dense = s->rows * area * SIDE / (2 * s->lanes);
    int64_t sparse_dots = rows * s->most_blocks * SIDE / (2 * s->lanes);
    int64_t turning = rows * (s->words + 2 * s->block_columns);
    bool better = 10 * (sparse_dots + turning) < 9 * dense;
    sinter_cpu_answer answers[2];
    answers[!better] = sinter_cpu_answer_make("blocks");
    answers[better] = sinter_cpu_answer_make("dense");
    return (sinter_cpu_choose(s->state, "zeros", answers, 2) == 0) == better;
}

/* ---- the loops ---- */

static sinter_expr integer(sparse *s, int64_t value) {
    return sinter_loop_int(&s->build, value);
}

static sinter_expr begin(sparse *s, const char *name, sinter_expr upper, sinter_loop_axis axis) {
    return sinter_loop_var_read(
        &s->build, sinter_loop_begin_for(&s->build, name, integer(s, 0), upper, 1, axis));
}

static void end(sparse *s, int count) {
    while (count--) sinter_loop_end(&s->build);
}

/* base * scale + offset */
static sinter_expr at(sparse *s, sinter_expr base, int64_t scale, sinter_expr offset) {
    sinter_loop_builder *build = &s->build;
    return sinter_loop_add(build, sinter_loop_mul(build, base, integer(s, scale)), offset);
}

static sinter_expr load1(sparse *s, sinter_expr index) {
    return sinter_loop_load(&s->build, s->table, &index);
}

/* An element of the table as a place, for which a let stands. It is inside, whatever the table has. */
static sinter_expr place(sparse *s, const char *name, sinter_expr index, int64_t most) {
    sinter_loop_builder *build = &s->build;
    sinter_expr value = sinter_loop_cast(build, load1(s, index), SINTER_DTYPE_i64);
    value = sinter_loop_max(build, sinter_loop_min(build, value, integer(s, most)), integer(s, 0));
    return sinter_loop_var_read(build, sinter_loop_declare(build, name, false, value));
}

static sinter_loop_buffer scratch(sparse *s, const char *name, int64_t rows,
                                  sinter_loop_scope scope) {
    sinter_expr dims[2] = {integer(s, rows), integer(s, s->width)};
    sinter_loop_buffer buffer =
        sinter_loop_add_buffer(&s->build, name, SINTER_DTYPE_i32, 2, dims, scope);
    sinter_loop_alloc(&s->build, buffer);
    return buffer;
}

/* Opens the loops over vectors and lanes; the row of the block. */
static sinter_expr begin_lanes(sparse *s) {
    sinter_expr vector = begin(s, "v", integer(s, s->vectors), SINTER_AXIS_UNROLL);
    return at(s, vector, s->lanes, begin(s, "l", integer(s, s->lanes), SINTER_AXIS_VECTOR));
}

/* The word of a row, both expressions. */
static sinter_expr load_word(sparse *s, sinter_expr row, sinter_expr word) {
    sinter_loop_builder *build = &s->build;
    sinter_loop_map map;
    if (s->rows % s->width) row = sinter_loop_min(build, row, integer(s, s->rows - 1));
    sinter_loop_map_init(&map, s->state->program, s->state->schedule.function);
    sinter_loop_map_var(&map, s->row, row);
    sinter_expr value =
        sinter_cpu_load_word(s->state, &s->dots, sinter_loop_mul(build, word, integer(s, SIDE)));
    return sinter_loop_map_expr(&map, value);
}

/* As many rows as there are lanes at a time, each read as vectors of words, which are turned in registers. */
static void turn_vectors(sparse *s, sinter_expr first_row) {
    sinter_loop_builder *build = &s->build;
    const sinter_expr lanes = integer(s, s->lanes), dims[2] = {lanes, lanes};
    sinter_expr rows = begin(s, "i", integer(s, s->vectors), SINTER_AXIS_SERIAL);
    sinter_expr words = begin(s, "words", integer(s, s->words / s->lanes), SINTER_AXIS_SERIAL);
    sinter_loop_buffer tile =
        sinter_loop_add_buffer(build, "tile", SINTER_DTYPE_i32, 2, dims, SINTER_SCOPE_STACK);
    sinter_loop_alloc(build, tile);
    sinter_expr i = begin(s, "i", lanes, SINTER_AXIS_UNROLL);
    sinter_expr word = begin(s, "word", lanes, SINTER_AXIS_VECTOR);
    const sinter_expr in_tile[2] = {i, word};
    sinter_expr row = sinter_loop_add(build, first_row, at(s, rows, s->lanes, i));
    sinter_loop_store(build, tile, in_tile, load_word(s, row, at(s, words, s->lanes, word)));
    end(s, 2);
    word = begin(s, "word", lanes, SINTER_AXIS_UNROLL);
    i = begin(s, "i", lanes, SINTER_AXIS_VECTOR);
    const sinter_expr from[2] = {i, word},
                      to[2] = {at(s, words, s->lanes, word), at(s, rows, s->lanes, i)};
    sinter_loop_store(build, s->turned, to, sinter_loop_load(build, tile, from));
    end(s, 4);
}

static void turn_rows(sparse *s, sinter_expr first_row) {
    sinter_loop_builder *build = &s->build;
    int64_t whole = s->words / s->lanes * s->lanes, left = s->words - whole;
    if (whole) turn_vectors(s, first_row);
    if (!left) return;
    sinter_expr i = begin(s, "i", integer(s, s->width), SINTER_AXIS_SERIAL);
    sinter_expr word = sinter_loop_add(
        build, begin(s, "word", integer(s, left), SINTER_AXIS_UNROLL), integer(s, whole));
    const sinter_expr to[2] = {word, i};
    sinter_loop_store(build, s->turned, to,
                      load_word(s, sinter_loop_add(build, first_row, i), word));
    end(s, 2);
}

/* An expression of the nest for this column, and this sum where it is read. */
static sinter_expr of_column(sparse *s, sinter_expr value, sinter_expr column, sinter_expr sum) {
    sinter_loop_map map;
    sinter_loop_map_init(&map, s->state->program, s->state->schedule.function);
    sinter_loop_map_var(&map, s->column, column);
    if (sum) sinter_loop_map_var(&map, s->nest->accumulator, sum);
    return sinter_loop_map_expr(&map, sinter_loop_map_expr(&s->lets, value));
}

/* Four sums of the rows of the block, over the blocks of four columns. */
static sinter_loop_buffer add_blocks(sparse *s, sinter_expr four) {
    sinter_loop_builder *build = &s->build;
    sinter_loop_buffer acc = scratch(s, "acc", SIDE, SINTER_SCOPE_REGISTER);
    sinter_expr o = begin(s, "o", integer(s, SIDE), SINTER_AXIS_UNROLL), lane = begin_lanes(s);
    const sinter_expr to[2] = {o, lane};
    sinter_loop_store(build, acc, to, of_column(s, s->start->value, at(s, four, SIDE, o), NULL));
    end(s, 3);
    sinter_expr first = place(s, "first", four, s->most_blocks);
    sinter_expr last =
        place(s, "last", sinter_loop_add(build, four, integer(s, 1)), s->most_blocks);
    sinter_expr block = sinter_loop_var_read(
        build, sinter_loop_begin_for(build, "block", first, last, 1, SINTER_AXIS_SERIAL));
    sinter_expr word =
        place(s, "word", sinter_loop_add(build, block, integer(s, words_at(s))), s->words - 1);
    o = begin(s, "o", integer(s, SIDE), SINTER_AXIS_UNROLL);
    lane = begin_lanes(s);
    const sinter_expr sum[2] = {o, lane}, from[2] = {word, lane};
    const sinter_expr arguments[3] = {
        sinter_loop_load(build, acc, sum), sinter_loop_load(build, s->turned, from),
        load1(s, sinter_loop_add(build, at(s, block, SIDE, o), integer(s, bytes_at(s))))};
    sinter_loop_store(build, acc, sum,
                      sinter_loop_intrinsic_call(build, SINTER_INTRINSIC_dot4_u8i8, arguments));
    end(s, 4);
    return acc;
}

/* The results of four columns in one word for each row. */
static void join_results(sparse *s, sinter_loop_buffer acc, sinter_expr four,
                         sinter_expr in_group) {
    sinter_loop_builder *build = &s->build;
    sinter_dtype dtype = s->state->schedule.function->buffers.items[s->store->buffer].dtype;
    sinter_expr lane = begin_lanes(s), results[SIDE];
    for (int64_t o = 0; o < SIDE; o++) {
        const sinter_expr from[2] = {integer(s, o), lane};
        sinter_expr result = of_column(s, s->store->value, at(s, four, SIDE, integer(s, o)),
                                       sinter_loop_load(build, acc, from));
        results[o] = sinter_loop_cast(build, result, dtype);
    }
    const sinter_expr to[2] = {in_group, lane};
    sinter_loop_store(build, s->sums, to, sinter_cpu_join_bytes(build, results));
    end(s, 2);
}

/* The bytes of a word become those of four columns of a row. */
static void store_word(sparse *s, sinter_expr row, sinter_expr four, sinter_expr value) {
    sinter_loop_builder *build = &s->build;
    sinter_dtype dtype = s->state->schedule.function->buffers.items[s->store->buffer].dtype;
    sinter_expr indices[SINTER_MAX_RANK];
    uint32_t last = s->store->argument_count - 1;
    sinter_loop_map map;
    sinter_expr word =
        sinter_loop_var_read(build, sinter_loop_declare(build, "word", false, value));
    /* Lanes behind the last row have its results: they are written once more. */
    if (s->rows % s->width) row = sinter_loop_min(build, row, integer(s, s->rows - 1));
    sinter_loop_map_init(&map, s->state->program, s->state->schedule.function);
    sinter_loop_map_var(&map, s->row, row);
    for (uint32_t d = 0; d < last; d++)
        indices[d] = sinter_loop_map_expr(&map, s->store->arguments[d]);
    for (int64_t o = 0; o < SIDE; o++) {
        indices[last] = at(s, four, SIDE, integer(s, o));
        sinter_expr byte = sinter_loop_call2(build, SINTER_SCALAR_shr, word,
                                             sinter_loop_const_int(build, SINTER_DTYPE_i32, 8 * o));
        sinter_loop_store(build, s->store->buffer, indices, sinter_loop_cast(build, byte, dtype));
    }
}

/* The words of a group of columns, whose lanes are rows, become rows, whose lanes are columns: in tiles that are turned in registers
 * where a row has as many as a vector may have lanes. */
static void store_rows(sparse *s, sinter_expr first_row, sinter_expr group, int64_t size) {
    sinter_loop_builder *build = &s->build;
    bool is_turned = (size & (size - 1)) == 0 && size <= s->lanes;
    int64_t step = is_turned ? s->lanes : 1;
    sinter_expr rows = sinter_loop_mul(
        build, begin(s, "i", integer(s, s->width / step), SINTER_AXIS_SERIAL), integer(s, step));
    sinter_loop_buffer tile = s->sums;
    if (is_turned) {
        const sinter_expr dims[2] = {integer(s, size), integer(s, s->lanes)};
        tile = sinter_loop_add_buffer(build, "tile", SINTER_DTYPE_i32, 2, dims, SINTER_SCOPE_STACK);
        sinter_loop_alloc(build, tile);
        sinter_expr b = begin(s, "b", integer(s, size), SINTER_AXIS_UNROLL);
        sinter_expr i = begin(s, "i", integer(s, s->lanes), SINTER_AXIS_VECTOR);
        const sinter_expr to[2] = {b, i}, from[2] = {b, sinter_loop_add(build, rows, i)};
        sinter_loop_store(build, tile, to, sinter_loop_load(build, s->sums, from));
        end(s, 2);
    }
    sinter_expr i = begin(s, "i", integer(s, step), SINTER_AXIS_UNROLL);
    sinter_expr row = sinter_loop_add(build, rows, i);
    sinter_expr b =
        begin(s, "b", integer(s, size), is_turned ? SINTER_AXIS_VECTOR : SINTER_AXIS_UNROLL);
    const sinter_expr from[2] = {b, is_turned ? i : row};
    store_word(s, sinter_loop_add(build, first_row, row), at(s, group, size, b),
               sinter_loop_load(build, tile, from));
    end(s, 3);
}

static void write_loops(sparse *s) {
    sinter_loop_builder *build = &s->build;
    int64_t size = GROUP;
    while (s->block_columns % size) size--;
    sinter_expr block =
        begin(s, "rows", integer(s, blocks_of(s->rows, s->width)), SINTER_AXIS_SERIAL);
    sinter_expr first_row = sinter_loop_mul(build, block, integer(s, s->width));
    s->turned = scratch(s, "turned", s->words, SINTER_SCOPE_STACK);
    turn_rows(s, first_row);
    sinter_expr group = begin(s, "group", integer(s, s->block_columns / size), SINTER_AXIS_SERIAL);
    s->sums = scratch(s, "results", size, SINTER_SCOPE_STACK);
    sinter_expr b = begin(s, "b", integer(s, size), SINTER_AXIS_SERIAL);
    sinter_expr four = at(s, group, size, b);
    join_results(s, add_blocks(s, four), four, b);
    end(s, 1);
    store_rows(s, first_row, group, size);
    end(s, 2);
}

/* The nest as it is now, if it is one of these. */
static bool find(sparse *s, sinter_schedule_cpu_state *state, sinter_cpu_nest *found,
                 sinter_loop_var nest) {
    *s = (sparse){.state = state, .nest = found};
    sinter_loop_builder_init(&s->build, state->program, state->schedule.function);
    if (!sinter_cpu_find_nest(state->schedule.function, nest, found) || found->part || !match(s))
        return false;
    s->block_columns = s->columns / SIDE;
    choose_vectors(s);
    return s->vectors > 0;
}

bool sinter_schedule_cpu_sparse(sinter_schedule_cpu_state *state, sinter_loop_var nest) {
    sinter_cpu_nest found;
    sinter_schedule *schedule = &state->schedule;
    sparse s;
    if (!state->program->host || !sinter_target_has(state->target, "avx512vnni") ||
        !find(&s, state, &found, nest))
        return false;
    sinter_loop_function *given = sinter_loop_clone_function(state->program, schedule->function);
    nest = sinter_cpu_join_rows(state, nest, true);
    if (sinter_cpu_find_nest(schedule->function, nest, &found))
        sinter_cpu_start_with_sums(state, &found);
    bool good = find(&s, state, &found, nest);
    if (good) count_blocks(&s);
    if (!good || !pays(&s)) {
        *schedule->function = *given;
        return false;
    }
    if (!s.most_blocks) s.most_blocks = 1;
    sinter_loop_function *before = sinter_loop_clone_function(state->program, schedule->function);
    sinter_loop_stmt *list = NULL,
                     **link = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, s.row);
    s.table = s.dots.b->buffer;
    const sinter_cpu_conversion table = {.convert = make_table,
                                         .user = &s,
                                         .dtype = SINTER_DTYPE_i32,
                                         .rank = 1,
                                         .dims = {bytes_at(&s) + s.most_blocks * SIDE}};
    if (!sinter_cpu_convert_constants(state, s.table, &table)) {
        state->failed = true;
        return false;
    }
    s.build.tail = &list;
    write_loops(&s);
    list->next = (*link)->next;
    *link = list;
    sinter_schedule_simplify(schedule);
    sinter_cpu_run_in_parallel(state, before, nest);
    return true;
}
