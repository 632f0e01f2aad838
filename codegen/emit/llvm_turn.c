/* Lanes across a tile of scratch: each reads the element below that of the lane before it,
 *   v[lane] = tile[first + lane, c]    (c a number)
 * The rows are loaded as vectors and turned by shuffles of two. Rows of scratch become registers, and equal shuffles one: all c of a tile of
 * n x n take n log2(n) shuffles, which processors have as such. First within lines of 16 bytes, where two rows are interleaved, then
 * between lines. Test: tests/codegen/emit_llvm/turn.sir, tests/ops/transpose_tiles.sir */
#include "codegen/emit/llvm.h"

enum { LINE = 16, MOST_LANES = 64, LEAST_ROWS = 2 };

typedef struct turn {
    sinter_llvm_function *f;
    LLVMTypeRef type; /* of a row */
    LLVMValueRef first;
    int64_t row_bytes;
    uint32_t element_bytes, lanes, in_line; /* lanes of a row; of a line of it */
    uint32_t column;                        /* in its line */
} turn;

static LLVMValueRef load_row(const turn *t, uint32_t row) {
    LLVMValueRef at = sinter_llvm_int(t->f->module, row * t->row_bytes);
    LLVMValueRef address = LLVMBuildGEP2(t->f->builder, t->f->module->i8, t->first, &at, 1, "");
    LLVMValueRef value = LLVMBuildLoad2(t->f->builder, t->type, address, "");
    LLVMSetAlignment(value, t->element_bytes);
    return value;
}

static LLVMValueRef shuffle(const turn *t, LLVMValueRef a, LLVMValueRef b, const uint32_t *from) {
    LLVMValueRef mask[MOST_LANES];
    for (uint32_t i = 0; i < t->lanes; i++)
        mask[i] = sinter_llvm_int32(t->f->module, (int32_t)from[i]);
    return LLVMBuildShuffleVector(t->f->builder, a, b, LLVMConstVector(mask, t->lanes), "");
}

/* Of `count` rows the elements of one column of each line, in the order of the rows, and of the columns behind it that two of
 * these still share a vector with: all where `count` is that of a line. */
static LLVMValueRef turn_lines(const turn *t, uint32_t row, uint32_t count, uint32_t column) {
    if (count == 1) return load_row(t, row);
    const uint32_t half = count / 2; /* elements that stay together */
    LLVMValueRef a = turn_lines(t, row, half, column / 2);
    LLVMValueRef b = turn_lines(t, row + half, half, column / 2);
    uint32_t from[MOST_LANES], upper = column % 2 * (t->in_line / 2);
    for (uint32_t i = 0; i < t->lanes; i++) {
        uint32_t line = i / t->in_line * t->in_line, part = i % t->in_line / half;
        from[i] = line + upper + part / 2 * half + i % half + part % 2 * t->lanes;
    }
    return shuffle(t, a, b, from);
}

/* Of `count` times as many rows as a line has elements: the column in lines number `line` and, as long as `count` is less than the
 * lines of a row, in those beside it. */
static LLVMValueRef join_lines(const turn *t, uint32_t group, uint32_t count, uint32_t line) {
    if (count == 1) return turn_lines(t, group * t->in_line, t->in_line, t->column);
    LLVMValueRef a = join_lines(t, group, count / 2, line / 2);
    LLVMValueRef b = join_lines(t, group + count / 2, count / 2, line / 2);
    /* Each operand has a run of lines for each of its groups: half of each run goes on. */
    uint32_t from[MOST_LANES], kept = t->lanes / count;
    for (uint32_t i = 0; i < t->lanes; i++) {
        uint32_t run = i / kept, runs = count / 2;
        from[i] = run % runs * 2 * kept + line % 2 * kept + i % kept + run / runs * t->lanes;
    }
    return shuffle(t, a, b, from);
}

/* Vectors one after the other. */
static LLVMValueRef concatenate(const turn *t, LLVMValueRef *parts, uint32_t count) {
    LLVMValueRef mask[MOST_LANES];
    for (uint32_t lanes = t->lanes; count > 1; lanes *= 2, count /= 2) {
        for (uint32_t i = 0; i < 2 * lanes; i++)
            mask[i] = sinter_llvm_int32(t->f->module, (int32_t)i);
        for (uint32_t p = 0; p < count / 2; p++)
            parts[p] = LLVMBuildShuffleVector(t->f->builder, parts[2 * p], parts[2 * p + 1],
                                              LLVMConstVector(mask, 2 * lanes), "");
    }
    return parts[0];
}

LLVMValueRef sinter_llvm_turn(sinter_llvm_function *f, sinter_loop_buffer buffer,
                              const sinter_loop_expr *const *indices, int64_t stride) {
    const sinter_loop_buffer_info *info = &f->function->buffers.items[buffer];
    const uint32_t bytes = sinter_dtype_infos[info->dtype].bits / 8, lanes = f->lanes;
    int64_t width, across;
    bool is_own = info->scope == SINTER_SCOPE_STACK || info->scope == SINTER_SCOPE_REGISTER;
    if (!is_own || f->mask || info->rank < 2 || bytes == 0 || bytes > LINE / 2 || lanes < 2 ||
        lanes > MOST_LANES || (lanes & (lanes - 1)) != 0 ||
        !sinter_loop_is_const_int(info->dims[info->rank - 1], &width) || stride != width ||
        !sinter_llvm_lane_stride(f, indices[info->rank - 1], &across) || across)
        return NULL;
    /* Tiles of what a register holds: of larger ones the parts would be in use at the same time. */
    uint32_t side = f->module->target->vector_bytes / bytes;
    if (side > lanes) side = lanes;
    LLVMValueRef place = sinter_llvm_expr(f, indices[info->rank - 1]);
    if (!LLVMIsAConstantInt(place) || side < LEAST_ROWS) return NULL;
    /* The other columns of the tile lie in the row as well: elements that nobody wrote are shuffled away. */
    const int64_t column = LLVMConstIntGetSExtValue(place), begin = column / side * side;
    if (column < 0 || begin + side > width) return NULL;
    turn t = {.f = f,
              .type = LLVMVectorType(f->module->dtypes[info->dtype], side),
              .row_bytes = stride * bytes,
              .element_bytes = bytes,
              .lanes = side,
              .in_line = LINE / bytes < side ? LINE / bytes : side};
    t.column = (uint32_t)(column - begin) % t.in_line;
    LLVMValueRef address = sinter_llvm_address(f, buffer, indices), parts[MOST_LANES];
    for (uint32_t row = 0; row < lanes; row += side) {
        LLVMValueRef at = sinter_llvm_int(f->module, (begin - column) * bytes + row * t.row_bytes);
        t.first = LLVMBuildGEP2(f->builder, f->module->i8, address, &at, 1, "");
        parts[row / side] =
            join_lines(&t, 0, side / t.in_line, (uint32_t)(column - begin) / t.in_line);
    }
    return concatenate(&t, parts, lanes / side);
}
