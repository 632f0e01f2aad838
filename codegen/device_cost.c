/* See device_cost.h. Counted by walking the loops: a statement counts as often as the loops around it run; both sides of a condition
 * count, but for those on a loop's variable alone, so the guard of a tail counts too much by less than a block. */
#include "codegen/device_cost.h"
#include "codegen/loops/box.h"
#include "codegen/loops/mma.h"
#include "codegen/loops/uses.h"

#include <math.h>
#include <string.h>

/* What is known of a size before the run: the number, or a bound, for it follows from symbols that have some; or nothing. */
typedef enum knowledge { FIXED, BOUNDED, OPEN } knowledge;

typedef struct walk {
    const sinter_loop_function *function;
    const sinter_gpu *gpu;
    sinter_arena arena;
    double *touched;          /* bytes by buffer */
    double operations;        /* of floats */
    double scalar_operations; /* those that no unit for matrices does */
    double shared_bytes;
    double matrix_cycles; /* of a multiprocessor's units for matrices */
    double times;         /* that the statement at hand runs; negative: unknown */
    knowledge *vars;
    bool has_bound;  /* some number is that of the largest sizes */
    sinter_map seen; /* in the statement at hand */
} walk;

static double product(double a, double b) {
    return a < 0 || b < 0 ? -1 : a * b;
}

static void add(double *sum, double more) {
    *sum = *sum < 0 || more < 0 ? -1 : *sum + more;
}

static knowledge knowledge_of(const walk *w, sinter_expr expr) {
    if (expr->kind == SINTER_LOOP_LOAD) return OPEN;
    knowledge least = expr->kind == SINTER_LOOP_VAR ? w->vars[expr->var] : FIXED;
    for (uint32_t i = 0; i < expr->argument_count; i++) {
        const knowledge one = knowledge_of(w, expr->arguments[i]);
        if (one > least) least = one;
    }
    return least;
}

static void begin_vars(walk *w) {
    w->vars = SINTER_NEW_ARRAY(&w->arena, knowledge, w->function->vars.count);
    for (size_t i = 0; i < w->function->vars.count; i++) {
        const sinter_loop_var_info *info = &w->function->vars.items[i];
        const bool is_open = info->is_mutable || info->max >= SINTER_LOOP_OPEN_SIZE;
        if (info->is_mutable || info->is_parameter) w->vars[i] = is_open ? OPEN : BOUNDED;
    }
}

/* The value of an expression, or the most that it can be; negative: nobody knows. */
static double most(walk *w, sinter_expr expr) {
    int64_t low, high;
    const knowledge known = knowledge_of(w, expr);
    if (known == OPEN || !sinter_loop_range(w->function, expr, &low, &high) || high < 0 ||
        high == INT64_MAX)
        return -1;
    w->has_bound |= known == BOUNDED;
    return (double)high;
}

static void touch(walk *w, sinter_loop_buffer buffer) {
    const double bits = sinter_dtype_infos[w->function->buffers.items[buffer].dtype].bits;
    add(&w->touched[buffer], product(w->times, bits / 8));
}

static void count_expr(walk *w, sinter_expr expr) {
    uint64_t before;
    if (!expr || sinter_map_find(&w->seen, (uintptr_t)expr, &before)) return;
    sinter_map_put(&w->seen, (uintptr_t)expr, 1);
    if (expr->kind == SINTER_LOOP_LOAD) {
        touch(w, expr->buffer);
        return;
    }
    const bool computes = (expr->kind == SINTER_LOOP_CALL || expr->kind == SINTER_LOOP_INTRINSIC) &&
                          sinter_dtype_is_float(expr->dtype);
    if (computes) {
        const bool both = sinter_loop_is_call(expr, SINTER_SCALAR_fma);
        const double count = product(w->times, both ? 2 : 1);
        add(&w->operations, count);
        add(&w->scalar_operations, count);
    }
    for (uint32_t i = 0; i < expr->argument_count; i++) count_expr(w, expr->arguments[i]);
}

/* Of the iterations of a loop, those where its variable is below a number, or above, as steps of a ring are; 1: of all of them, for what is known. */
static double share_of(const sinter_loop_function *function, sinter_expr condition) {
    int64_t limit;
    if (condition->kind != SINTER_LOOP_CALL || condition->function != SINTER_SCALAR_lt) return 1;
    const bool below = condition->arguments[0]->kind == SINTER_LOOP_VAR;
    sinter_expr index = condition->arguments[!below];
    if (index->kind != SINTER_LOOP_VAR || function->vars.items[index->var].is_mutable ||
        !sinter_loop_is_const_int(condition->arguments[below], &limit))
        return 1;
    const sinter_loop_var_info *info = &function->vars.items[index->var];
    const double least = (double)info->min, count = (double)info->max - least + 1;
    const double lower = fmin(fmax((double)limit + !below - least, 0), count);
    return (below ? lower : count - lower) / count;
}

/* Four sums of a lane, or, of a warpgroup's instruction, four in each of its columns of lanes; each with as many products as it is deep. */
static void count_mma(walk *w, const sinter_loop_stmt *loop) {
    const sinter_loop_mma_info *info = &sinter_loop_mma_infos[loop->mma];
    const uint32_t bits = sinter_dtype_infos[info->left].bits;
    int64_t columns = 1;
    if (loop->axis == SINTER_AXIS_WGMMA) sinter_loop_trip_count(loop, &columns);
    const double products = product(w->times, 4.0 * (double)(info->depth * columns));
    add(&w->matrix_cycles, product(products, 1 / sinter_gpu_matrix_rate(w->gpu, bits)));
    if (sinter_dtype_is_float(info->sum)) add(&w->operations, product(products, 2));
}

static double trips(walk *w, const sinter_loop_stmt *loop) {
    int64_t count;
    if (sinter_loop_trip_count(loop, &count)) return (double)count;
    const knowledge lower_known = knowledge_of(w, loop->lower),
                    upper_known = knowledge_of(w, loop->upper);
    w->vars[loop->var] = lower_known > upper_known ? lower_known : upper_known;
    const double lower = most(w, loop->lower), upper = most(w, loop->upper);
    return lower < 0 || upper < 0 ? -1 : (upper - lower) / (double)loop->step;
}

static void count_list(walk *w, const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *s = first; s; s = s->next) {
        const double times = w->times;
        if (s->kind == SINTER_LOOP_FOR &&
            (s->axis == SINTER_AXIS_MMA || s->axis == SINTER_AXIS_WGMMA)) {
            count_mma(w, s);
            continue;
        }
        sinter_map_init(&w->seen, &w->arena);
        count_expr(w, s->value);
        if (s->kind == SINTER_LOOP_STORE) touch(w, s->buffer);
        if (s->kind == SINTER_LOOP_BOX) {
            const sinter_loop_box box = sinter_loop_box_of(s);
            const double bytes = (double)sinter_loop_box_bytes(w->function, &box);
            add(&w->touched[s->source], product(times, bytes));
        }
        if (s->kind == SINTER_LOOP_ALLOC &&
            w->function->buffers.items[s->buffer].scope == SINTER_SCOPE_SHARED) {
            uint64_t bytes;
            bool known = sinter_loop_static_bytes(&w->function->buffers.items[s->buffer], &bytes);
            add(&w->shared_bytes, known ? (double)bytes : -1);
        }
        if (s->kind == SINTER_LOOP_DECLARE && !w->function->vars.items[s->var].is_mutable)
            w->vars[s->var] = knowledge_of(w, s->value);
        if (s->kind == SINTER_LOOP_FOR) {
            w->times = product(times, trips(w, s));
        } else if (s->kind == SINTER_LOOP_WHILE) {
            w->times = -1;
        }
        const double share = s->kind == SINTER_LOOP_IF ? share_of(w->function, s->value) : 1;
        w->times = product(w->times, share);
        count_list(w, s->body);
        if (share < 1) w->times = product(times, 1 - share);
        count_list(w, s->else_body);
        w->times = times;
    }
}

/* Of what the kernel is given; a table of which little is read counts by what is read. */
static double count_bytes(walk *w) {
    double sum = 0;
    for (size_t i = 0; i < w->function->buffer_parameters.count; i++) {
        sinter_loop_buffer buffer = w->function->buffer_parameters.items[i];
        const sinter_loop_buffer_info *info = &w->function->buffers.items[buffer];
        double bytes = sinter_dtype_infos[info->dtype].bits / 8.0, touched = w->touched[buffer];
        for (uint32_t k = 0; k < info->rank; k++) bytes = product(bytes, most(w, info->dims[k]));
        if (info->scope == SINTER_SCOPE_INOUT) bytes = product(bytes, 2);
        add(&sum, touched >= 0 && (touched < bytes || bytes < 0) ? touched : bytes);
    }
    return sum;
}

bool sinter_device_find_cost(sinter_loop_program *program, sinter_loop_function *kernel,
                             const sinter_gpu *gpu, sinter_device_cost *out_cost,
                             sinter_diag *diag) {
    sinter_device_launch launch;
    if (!sinter_device_find_launch(program, kernel, &launch, diag)) return false;
    walk w = {.function = kernel, .gpu = gpu, .times = 1};
    sinter_arena_init(&w.arena);
    w.touched = SINTER_NEW_ARRAY(&w.arena, double, kernel->buffers.count);
    begin_vars(&w);
    count_list(&w, kernel->body);
    double blocks = 1;
    for (int i = 0; i < 3; i++) {
        out_cost->grid[i] = launch.grid[i] ? most(&w, launch.grid[i]) : 1;
        out_cost->block[i] = launch.block[i];
        blocks = product(blocks, out_cost->grid[i]);
    }
    out_cost->bytes = count_bytes(&w);
    out_cost->operations = w.operations;
    out_cost->shared_bytes = w.shared_bytes;
    out_cost->asked_bytes = launch.shared_bytes;
    out_cost->has_bound = w.has_bound;
    const double busy = fmin(sinter_gpu_rounds(gpu, blocks), 1),
                 cycles = gpu->multiprocessors * gpu->clock * 1e6;
    double longest = fmax(out_cost->bytes / (gpu->memory * 1e9),
                          w.scalar_operations / (2.0 * gpu->lanes * cycles));
    const bool known =
        blocks > 0 && out_cost->bytes >= 0 && out_cost->operations >= 0 && w.matrix_cycles >= 0;
    longest = fmax(longest, w.matrix_cycles / cycles);
    out_cost->seconds = known ? SINTER_GPU_LAUNCH_SECONDS + longest / busy : -1;
    sinter_arena_deinit(&w.arena);
    return true;
}
