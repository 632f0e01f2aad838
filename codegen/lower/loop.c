/* Lowering of loop and scan into host statements. A carried value has one buffer through all rounds: what a round yields
 * is copied into it at the end of the round, by way of a spare where the yielded value may share memory with a carried
 * one. Where its shape changes from round to round, its dims are variables of the host and its buffer takes the memory of
 * a new one. Stacked outputs have room for every round where a number tells how many there are; otherwise their buffer
 * doubles when it is full. Test: tests/ops/loop.sir, loop_growing.sir, scan.sir */
#include "codegen/lower/write.h"
#include "runtime/abi.h"

typedef struct rounds {
    sinter_lower *lower;
    sinter_node node;
    sinter_region region;
    uint32_t carried, first_argument, first_yield; /* of carried values */
    sinter_loop_buffer *state;                     /* by carried value */
    sinter_loop_var (
        *state_dims)[SINTER_MAX_RANK]; /* its dims that change, 0 for those that do not */
    sinter_loop_buffer *stacked;       /* by stacked output */
    sinter_loop_var (*slice_dims)[SINTER_MAX_RANK]; /* dims of its slices that only a round knows */
    uint32_t stacked_count;
    sinter_loop_var room; /* slices that stacked outputs have room for; 0 where that is settled */
    sinter_expr all;      /* slices there will be, where that is known; NULL otherwise */
    sinter_map buffers, symbols; /* of the lowering around the region */
} rounds;

static sinter_value argument_of(const rounds *r, uint32_t i) {
    return sinter_region_get(r->lower->module, r->region)->arguments[i];
}

static sinter_value yielded(const rounds *r, uint32_t i) {
    sinter_node yield = sinter_region_get(r->lower->module, r->region)->last;
    return sinter_node_operand(r->lower->module, yield, i);
}

static sinter_loop_buffer heap_buffer(sinter_lower *lower, const char *name, sinter_value like) {
    sinter_type type = *sinter_value_type(lower->module, like);
    sinter_expr dims[SINTER_MAX_RANK];
    for (uint32_t d = 0; d < type.rank; ++d) dims[d] = sinter_lower_host_dim(lower, type.dims[d]);
    return sinter_lower_host_scratch(lower, name, type.dtype, type.rank, dims);
}

/* ---- numbers that live in buffers ---- */

static sinter_expr load_scalar(sinter_lower *lower, sinter_value value) {
    sinter_expr zeros[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < SINTER_MAX_RANK; ++i) zeros[i] = sinter_loop_int(&lower->host, 0);
    return sinter_loop_load(&lower->host, sinter_lower_host_buffer(lower, value), zeros);
}

/* The value (i64 or bool, one element) becomes a number of the host. */
static void give_scalar(sinter_lower *lower, sinter_value value, sinter_expr number) {
    const sinter_value_info *info = sinter_value_get(lower->module, value);
    if (!info->uses.count && !info->content_count) return;
    sinter_loop_buffer buffer = heap_buffer(lower, "scalar", value);
    sinter_kernel kernel;
    sinter_kernel_begin_named(&kernel, lower, "set");
    sinter_loop_buffer out = sinter_kernel_bind_buffer(&kernel, buffer, SINTER_SCOPE_OUTPUT, "out");
    sinter_expr zeros[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < SINTER_MAX_RANK; ++i) zeros[i] = sinter_write_int(&kernel, 0);
    sinter_loop_store(&kernel.build, out, zeros,
                      sinter_loop_cast(&kernel.build,
                                       sinter_kernel_bind_scalar(&kernel, number, "number"),
                                       sinter_value_type(lower->module, value)->dtype));
    sinter_kernel_end(&kernel, 0);
    sinter_lower_set_buffer(lower, value, buffer);
    sinter_lower_bind_content(lower, value);
}

/* ---- slices: rows of a stacked buffer ---- */

/* slice = whole[.., at along axis, ..], or the other way round. */
static void copy_slice(sinter_lower *lower, sinter_loop_buffer whole, uint32_t axis, sinter_expr at,
                       sinter_loop_buffer slice, bool into_whole) {
    sinter_kernel k;
    sinter_kernel_begin_named(&k, lower, "slice");
    sinter_loop_buffer from =
        sinter_kernel_bind_buffer(&k, into_whole ? slice : whole, SINTER_SCOPE_INPUT, "in");
    sinter_loop_buffer to =
        sinter_kernel_bind_buffer(&k, into_whole ? whole : slice,
                                  into_whole ? SINTER_SCOPE_INOUT : SINTER_SCOPE_OUTPUT, "out");
    sinter_loop_buffer part = into_whole ? from : to, all = into_whole ? to : from;
    uint32_t rank = k.build.function->buffers.items[part].rank;
    sinter_expr index[SINTER_MAX_RANK], outer[SINTER_MAX_RANK];
    sinter_expr place = sinter_kernel_bind_scalar(&k, at, "at");
    for (uint32_t d = 0; d < rank; ++d)
        index[d] = sinter_kernel_begin_for(&k, "i", k.build.function->buffers.items[part].dims[d]);
    for (uint32_t d = 0; d <= rank; ++d)
        outer[d] = d < axis ? index[d] : d == axis ? place : index[d - 1];
    if (into_whole)
        sinter_loop_store(&k.build, all, outer, sinter_loop_load(&k.build, part, index));
    else
        sinter_loop_store(&k.build, part, index, sinter_loop_load(&k.build, all, outer));
    sinter_kernel_end_loops(&k, rank);
    sinter_kernel_end(&k, 0);
}

/* ---- what loop and scan share ---- */

static bool is_tensor(const sinter_lower *lower, sinter_value value) {
    return sinter_value_type(lower->module, value)->kind == SINTER_TYPE_TENSOR;
}

/* Whether a dim is only known inside the region (or round by round). */
static bool is_inner(const sinter_lower *lower, sinter_dim dim) {
    const sinter_dim *operands = NULL;
    uint64_t found = 0;
    if (sinter_dim_get_kind(lower->dims, dim) == SINTER_DIM_SYMBOL)
        return !sinter_map_find(&lower->symbols, dim, &found);
    size_t count = sinter_dim_operands(lower->dims, dim, &operands);
    for (size_t i = 0; i < count; ++i)
        if (is_inner(lower, operands[i])) return true;
    return false;
}

static sinter_loop_var number_variable(sinter_lower *lower, const char *name, sinter_expr start) {
    return sinter_loop_declare(&lower->host, name, true, start);
}

/* Carried values get their buffers and start as the operands say. */
static bool begin_states(rounds *r, uint32_t first_operand) {
    sinter_lower *lower = r->lower;
    r->state = SINTER_NEW_ARRAY(&lower->scratch, sinter_loop_buffer, r->carried + 1);
    r->state_dims =
        sinter_arena_alloc_array(&lower->scratch, r->carried + 1, sizeof *r->state_dims);
    for (uint32_t i = 0; i < r->carried; ++i) {
        sinter_value argument = argument_of(r, r->first_argument + i),
                     initial = sinter_node_operand(lower->module, r->node, first_operand + i);
        if (!is_tensor(lower, argument))
            return sinter_lower_error(lower, r->node,
                                      "carried sequences and optionals can't be compiled");
        sinter_type type = *sinter_value_type(lower->module, argument),
                    from = *sinter_value_type(lower->module, initial);
        for (uint32_t d = 0; d < type.rank; ++d) {
            r->state_dims[i][d] = 0;
            if (!sinter_lower_is_late_dim(lower, type.dims[d], argument)) continue;
            r->state_dims[i][d] =
                number_variable(lower, "size", sinter_lower_host_dim(lower, from.dims[d]));
            sinter_map_put(&lower->symbols, type.dims[d], r->state_dims[i][d]);
        }
        r->state[i] = heap_buffer(lower, "carried", argument);
        sinter_lower_host_copy(lower, r->state[i], sinter_lower_host_buffer(lower, initial));
    }
    return true;
}

static bool changes_shape(const rounds *r, uint32_t i) {
    uint32_t rank =
        sinter_value_type(r->lower->module, argument_of(r, r->first_argument + i))->rank;
    for (uint32_t d = 0; d < rank; ++d)
        if (r->state_dims[i][d]) return true;
    return false;
}

/* What is known inside a round is unknown after it. */
static void begin_round(rounds *r) {
    sinter_lower *lower = r->lower;
    r->buffers = lower->buffers;
    r->symbols = lower->symbols;
    sinter_map_copy(&lower->buffers, &r->buffers, &lower->scratch);
    sinter_map_copy(&lower->symbols, &r->symbols, &lower->scratch);
    for (uint32_t i = 0; i < r->carried; ++i) {
        sinter_value argument = argument_of(r, r->first_argument + i);
        sinter_lower_set_buffer(lower, argument, r->state[i]);
        sinter_lower_bind_content(lower, argument);
    }
}

/* Whether the memory of a yielded value is its own: made in this round by a kernel. */
static bool is_fresh(const rounds *r, sinter_value value) {
    const sinter_module *module = r->lower->module;
    sinter_node definition = sinter_value_get(module, value)->definition;
    if (!definition || sinter_node_get(module, definition)->parent != r->region) return false;
    sinter_lower_element_rule element;
    sinter_lower_kernel_rule kernel;
    sinter_lower_host_rule host;
    return sinter_lower_find_rule(sinter_node_get(module, definition)->op, &element, &kernel,
                                  &host) != SINTER_LOWER_HOST;
}

/* A copy of a yielded value in memory of its own; its dims are named, for they may change with the round. */
static sinter_loop_buffer spare_copy(sinter_lower *lower, sinter_value value) {
    sinter_type type = *sinter_value_type(lower->module, value);
    sinter_expr dims[SINTER_MAX_RANK];
    for (uint32_t d = 0; d < type.rank; ++d) {
        dims[d] = sinter_lower_host_dim(lower, type.dims[d]);
        if (dims[d]->kind != SINTER_LOOP_CONST)
            dims[d] = sinter_loop_var_read(
                &lower->host, sinter_loop_declare(&lower->host, "size", false, dims[d]));
    }
    sinter_loop_buffer spare =
        sinter_lower_host_scratch(lower, "spare", type.dtype, type.rank, dims);
    sinter_lower_host_copy(lower, spare, sinter_lower_host_buffer(lower, value));
    return spare;
}

static void end_round(rounds *r) {
    sinter_lower *lower = r->lower;
    sinter_loop_builder *host = &lower->host;
    sinter_loop_buffer *from =
        SINTER_NEW_ARRAY(&lower->scratch, sinter_loop_buffer, r->carried + 1);
    for (uint32_t i = 0; i < r->carried; ++i) {
        sinter_value value = yielded(r, r->first_yield + i);
        bool same = value == argument_of(r, r->first_argument + i);
        from[i] = same ? r->state[i] : sinter_lower_host_buffer(lower, value);
        if (!same && (changes_shape(r, i) || !is_fresh(r, value)))
            from[i] = spare_copy(lower, value);
    }
    for (uint32_t i = 0; i < r->carried; ++i) {
        if (from[i] == r->state[i]) continue;
        if (!changes_shape(r, i)) {
            sinter_lower_host_copy(lower, r->state[i], from[i]);
            continue;
        }
        const sinter_loop_buffer_info *info = &host->function->buffers.items[from[i]];
        for (uint32_t d = 0; d < info->rank; ++d)
            if (r->state_dims[i][d]) sinter_loop_assign(host, r->state_dims[i][d], info->dims[d]);
        sinter_loop_take(host, r->state[i], from[i]);
    }
    lower->buffers = r->buffers;
    lower->symbols = r->symbols;
}

/* ---- stacked outputs ---- */

/* Room for `rows` slices of each stacked output; rows NULL: none yet, it grows. */
static bool begin_stacked(rounds *r, const uint32_t *axes, sinter_expr rows) {
    sinter_lower *lower = r->lower;
    sinter_expr zero = sinter_loop_int(&lower->host, 0);
    r->stacked = SINTER_NEW_ARRAY(&lower->scratch, sinter_loop_buffer, r->stacked_count + 1);
    r->slice_dims =
        sinter_arena_alloc_array(&lower->scratch, r->stacked_count + 1, sizeof *r->slice_dims);
    r->all = rows;
    for (uint32_t s = 0; s < r->stacked_count && rows; ++s) {
        const sinter_type *slice =
            sinter_value_type(lower->module, yielded(r, r->first_yield + r->carried + s));
        for (uint32_t d = 0; slice->kind == SINTER_TYPE_TENSOR && d < slice->rank; ++d)
            if (is_inner(lower, slice->dims[d])) rows = NULL;
    }
    if (!rows) r->room = number_variable(lower, "room", zero);
    for (uint32_t s = 0; s < r->stacked_count; ++s) {
        if (!sinter_node_result(lower->module, r->node, r->carried + s)) continue;
        sinter_value value = yielded(r, r->first_yield + r->carried + s);
        if (!is_tensor(lower, value))
            return sinter_lower_error(lower, r->node, "only tensors can be compiled");
        sinter_type slice = *sinter_value_type(lower->module, value);
        sinter_expr dims[SINTER_MAX_RANK];
        for (uint32_t d = 0; d < slice.rank; ++d) {
            bool inner = is_inner(lower, slice.dims[d]);
            r->slice_dims[s][d] = inner ? number_variable(lower, "size", zero) : 0;
            dims[d < axes[s] ? d : d + 1] =
                inner ? sinter_loop_var_read(&lower->host, r->slice_dims[s][d])
                      : sinter_lower_host_dim(lower, slice.dims[d]);
        }
        dims[axes[s]] = rows ? rows : sinter_loop_var_read(&lower->host, r->room);
        r->stacked[s] =
            sinter_lower_host_scratch(lower, "stacked", slice.dtype, slice.rank + 1, dims);
    }
    return true;
}

/* The first round tells the dims of the slices; all others must agree. */
static void check_slice(rounds *r, uint32_t s, sinter_expr now) {
    sinter_lower *lower = r->lower;
    sinter_loop_builder *host = &lower->host;
    sinter_type slice =
        *sinter_value_type(lower->module, yielded(r, r->first_yield + r->carried + s));
    for (uint32_t d = 0; d < slice.rank; ++d) {
        if (!r->slice_dims[s][d]) continue;
        sinter_expr size = sinter_lower_host_dim(lower, slice.dims[d]);
        sinter_loop_begin_if(
            host, sinter_loop_call2(host, SINTER_SCALAR_eq, now, sinter_loop_int(host, 0)));
        sinter_loop_assign(host, r->slice_dims[s][d], size);
        sinter_loop_end(host);
        sinter_expr pair[2] = {size, sinter_loop_var_read(host, r->slice_dims[s][d])};
        sinter_lower_host_check(lower, sinter_loop_call2(host, SINTER_SCALAR_eq, pair[0], pair[1]),
                                SINTER_ABI_BAD_INPUT,
                                "loop: a slice of size %0 follows one of size %1", pair, 2);
    }
}

/* target = source, which has fewer slices. */
static void copy_rows(sinter_lower *lower, sinter_loop_buffer target, sinter_loop_buffer source) {
    sinter_kernel k;
    sinter_kernel_begin_named(&k, lower, "grow");
    sinter_loop_buffer from = sinter_kernel_bind_buffer(&k, source, SINTER_SCOPE_INPUT, "in"),
                       to = sinter_kernel_bind_buffer(&k, target, SINTER_SCOPE_INOUT, "out");
    const sinter_loop_buffer_info info = k.build.function->buffers.items[from];
    sinter_expr index[SINTER_MAX_RANK];
    for (uint32_t d = 0; d < info.rank; ++d)
        index[d] = sinter_kernel_begin_for(&k, "i", info.dims[d]);
    sinter_loop_store(&k.build, to, index, sinter_loop_load(&k.build, from, index));
    sinter_kernel_end_loops(&k, info.rank);
    sinter_kernel_end(&k, 0);
}

/* Twice the room where all of it is used, or room for all slices where their number is known. */
static void make_room(rounds *r, const uint32_t *axes, sinter_expr now) {
    sinter_lower *lower = r->lower;
    sinter_loop_builder *host = &lower->host;
    sinter_expr room = sinter_loop_var_read(host, r->room);
    sinter_loop_buffer *grown =
        SINTER_NEW_ARRAY(&lower->scratch, sinter_loop_buffer, r->stacked_count + 1);
    sinter_loop_begin_if(host, sinter_loop_call2(host, SINTER_SCALAR_le, room, now));
    sinter_expr twice = sinter_loop_max(host, sinter_loop_mul(host, room, sinter_loop_int(host, 2)),
                                        sinter_loop_int(host, 8));
    if (r->all) twice = r->all;
    twice = sinter_loop_var_read(host, sinter_loop_declare(host, "twice", false, twice));
    for (uint32_t s = 0; s < r->stacked_count; ++s) {
        if (!r->stacked[s]) continue;
        const sinter_loop_buffer_info info = host->function->buffers.items[r->stacked[s]];
        sinter_expr dims[SINTER_MAX_RANK];
        for (uint32_t d = 0; d < info.rank; ++d) dims[d] = d == axes[s] ? twice : info.dims[d];
        grown[s] = sinter_lower_host_scratch(lower, "grown", info.dtype, info.rank, dims);
        copy_rows(lower, grown[s], r->stacked[s]);
    }
    sinter_loop_assign(host, r->room, twice);
    for (uint32_t s = 0; s < r->stacked_count; ++s)
        if (r->stacked[s]) sinter_loop_take(host, r->stacked[s], grown[s]);
    sinter_loop_end(host);
}

/* The slices of this round into their places. */
static void stack_slices(rounds *r, const uint32_t *axes, sinter_expr now,
                         const sinter_expr *places) {
    sinter_lower *lower = r->lower;
    for (uint32_t s = 0; s < r->stacked_count; ++s)
        if (r->stacked[s]) check_slice(r, s, now);
    if (r->room) make_room(r, axes, now);
    for (uint32_t s = 0; s < r->stacked_count; ++s)
        if (r->stacked[s])
            copy_slice(lower, r->stacked[s], axes[s], places ? places[s] : now,
                       sinter_lower_host_buffer(lower, yielded(r, r->first_yield + r->carried + s)),
                       true);
}

/* The results: carried ones are the states, stacked ones the first `rows` slices. */
static void finish(rounds *r, const uint32_t *axes, sinter_expr rows) {
    sinter_lower *lower = r->lower;
    for (uint32_t i = 0; i < sinter_node_get(lower->module, r->node)->result_count; ++i) {
        sinter_value result = sinter_node_result(lower->module, r->node, i);
        if (!result) continue;
        sinter_type type = *sinter_value_type(lower->module, result);
        bool stacked = i >= r->carried;
        sinter_loop_buffer from = stacked ? r->stacked[i - r->carried] : r->state[i];
        sinter_expr dims[SINTER_MAX_RANK];
        for (uint32_t d = 0; d < type.rank; ++d) {
            sinter_expr size = lower->host.function->buffers.items[from].dims[d];
            if (stacked && d == axes[i - r->carried]) size = rows;
            if (sinter_lower_is_late_dim(lower, type.dims[d], result))
                sinter_lower_bind_symbol(lower, type.dims[d], size);
            dims[d] = sinter_lower_host_dim(lower, type.dims[d]);
        }
        sinter_loop_buffer alias = sinter_loop_add_buffer(&lower->host, "result", type.dtype,
                                                          type.rank, dims, SINTER_SCOPE_ALIAS);
        sinter_loop_bind(&lower->host, alias, from, sinter_loop_int(&lower->host, 0));
        sinter_lower_set_buffer(lower, result, alias);
    }
}

/* ---- loop ---- */

/* Whether a bool value holds for sure: a constant, or the condition the round began with. */
static bool holds(const rounds *r, sinter_value value) {
    int64_t number = 0;
    size_t count = 0;
    if (sinter_value_known_ints(r->lower->module, value, &number, 1, &count)) return number != 0;
    for (;;) {
        sinter_node definition = sinter_value_get(r->lower->module, value)->definition;
        if (!definition) return value == argument_of(r, 1);
        if (sinter_node_get(r->lower->module, definition)->op != SINTER_OP_identity) return false;
        value = sinter_node_operand(r->lower->module, definition, 0);
    }
}

/* Rounds at most: the trip count, 0 where it is negative; NULL where only the condition ends the loop. */
static sinter_expr trip_limit(rounds *r) {
    sinter_lower *lower = r->lower;
    sinter_value trips = sinter_node_operand(lower->module, r->node, 0);
    if (!trips) return NULL;
    sinter_expr number =
        sinter_loop_cast(&lower->host, load_scalar(lower, trips), SINTER_DTYPE_i64);
    number = sinter_loop_max(&lower->host, number, sinter_loop_int(&lower->host, 0));
    return sinter_loop_var_read(&lower->host,
                                sinter_loop_declare(&lower->host, "trips", false, number));
}

static bool lower_rounds(rounds *r, const uint32_t *axes, sinter_expr trips, sinter_loop_var count,
                         sinter_loop_var going) {
    sinter_lower *lower = r->lower;
    sinter_loop_builder *host = &lower->host;
    sinter_expr now = sinter_loop_var_read(host, count), on = sinter_loop_var_read(host, going);
    sinter_loop_begin_while(
        host, trips
                  ? sinter_loop_and(host, on, sinter_loop_call2(host, SINTER_SCALAR_lt, now, trips))
                  : on);
    begin_round(r);
    give_scalar(lower, argument_of(r, 0), now);
    give_scalar(lower, argument_of(r, 1), sinter_loop_int(host, 1));
    bool good = sinter_lower_region(lower, r->region);
    if (good) {
        stack_slices(r, axes, now, NULL);
        if (!holds(r, yielded(r, 0)))
            sinter_loop_assign(host, going, load_scalar(lower, yielded(r, 0)));
    }
    if (good) end_round(r);
    sinter_loop_assign(host, count, sinter_loop_add(host, now, sinter_loop_int(host, 1)));
    sinter_loop_end(host);
    return good;
}

bool sinter_lower_loop(sinter_lower *lower, sinter_node node) {
    sinter_loop_builder *host = &lower->host;
    const sinter_node_info *info = sinter_node_get(lower->module, node);
    rounds r = {.lower = lower,
                .node = node,
                .region = info->regions[0],
                .first_argument = 2,
                .first_yield = 1};
    r.carried = info->operand_count > 2 ? info->operand_count - 2 : 0;
    r.stacked_count = info->result_count > r.carried ? info->result_count - r.carried : 0;
    uint32_t *axes = SINTER_NEW_ARRAY(&lower->scratch, uint32_t, r.stacked_count + 1);
    sinter_value condition = sinter_node_operand(lower->module, node, 1);
    sinter_expr trips = trip_limit(&r);
    bool runs_all = trips && (!condition || holds(&r, condition)) && holds(&r, yielded(&r, 0));
    if (r.stacked_count && !begin_stacked(&r, axes, runs_all ? trips : NULL)) return false;
    if (!begin_states(&r, 2)) return false;
    sinter_loop_var count = sinter_loop_declare(host, "round", true, sinter_loop_int(host, 0));
    sinter_expr start = condition ? load_scalar(lower, condition)
                                  : sinter_loop_const_int(host, SINTER_DTYPE_bool, 1);
    sinter_loop_var going = sinter_loop_declare(host, "going", true, start);
    if (!lower_rounds(&r, axes, trips, count, going)) return false;
    sinter_expr rows = sinter_loop_var_read(
        host, sinter_loop_declare(host, "rounds", false, sinter_loop_var_read(host, count)));
    finish(&r, axes, rows);
    return true;
}

/* ---- scan ---- */

static uint32_t scan_axis(const rounds *r, const char *name, uint32_t i, uint32_t rank) {
    const int64_t *items = NULL;
    size_t count = sinter_node_get_ints(r->lower->module, r->node, name, &items);
    int64_t axis = i < count ? items[i] : 0;
    return (uint32_t)(axis < 0 ? axis + rank : axis);
}

static sinter_expr scan_place(const rounds *r, const char *name, uint32_t i, sinter_expr t,
                              sinter_expr trips) {
    const int64_t *items = NULL;
    sinter_loop_builder *host = &r->lower->host;
    size_t count = sinter_node_get_ints(r->lower->module, r->node, name, &items);
    if (i >= count || !items[i]) return t;
    return sinter_loop_sub(host, sinter_loop_sub(host, trips, sinter_loop_int(host, 1)), t);
}

static bool lower_scan_round(rounds *r, const uint32_t *axes, sinter_expr trips) {
    sinter_lower *lower = r->lower;
    sinter_loop_builder *host = &lower->host;
    uint32_t operands = sinter_node_get(lower->module, r->node)->operand_count;
    sinter_expr t =
        sinter_loop_var_read(host, sinter_loop_begin_for(host, "round", sinter_loop_int(host, 0),
                                                         trips, 1, SINTER_AXIS_SERIAL));
    begin_round(r);
    for (uint32_t i = r->carried; i < operands; ++i) {
        sinter_value argument = argument_of(r, i),
                     whole = sinter_node_operand(lower->module, r->node, i);
        uint32_t axis = scan_axis(r, "scan_input_axes", i - r->carried,
                                  sinter_value_type(lower->module, whole)->rank);
        sinter_loop_buffer slice = heap_buffer(lower, "slice", argument);
        copy_slice(lower, sinter_lower_host_buffer(lower, whole), axis,
                   scan_place(r, "scan_input_directions", i - r->carried, t, trips), slice, false);
        sinter_lower_set_buffer(lower, argument, slice);
        sinter_lower_bind_content(lower, argument);
    }
    bool good = sinter_lower_region(lower, r->region);
    sinter_expr *places = SINTER_NEW_ARRAY(&lower->scratch, sinter_expr, r->stacked_count + 1);
    for (uint32_t s = 0; s < r->stacked_count; ++s)
        places[s] = scan_place(r, "scan_output_directions", s, t, trips);
    if (good) stack_slices(r, axes, t, places);
    if (good) end_round(r);
    sinter_loop_end(host);
    return good;
}

bool sinter_lower_scan(sinter_lower *lower, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(lower->module, node);
    rounds r = {.lower = lower, .node = node, .region = info->regions[0]};
    uint32_t scanned = (uint32_t)sinter_node_get_int(lower->module, node, "num_scan_inputs", 1);
    r.carried = info->operand_count - scanned;
    r.stacked_count = info->result_count > r.carried ? info->result_count - r.carried : 0;
    uint32_t *axes = SINTER_NEW_ARRAY(&lower->scratch, uint32_t, r.stacked_count + 1);
    for (uint32_t s = 0; s < r.stacked_count; ++s)
        axes[s] = scan_axis(&r, "scan_output_axes", s,
                            sinter_value_type(lower->module, yielded(&r, r.carried + s))->rank + 1);
    sinter_expr trips = NULL;
    for (uint32_t i = 0; i < scanned; ++i) {
        sinter_type type = *sinter_value_type(
            lower->module, sinter_node_operand(lower->module, node, r.carried + i));
        sinter_expr size =
            sinter_lower_host_dim(lower, type.dims[scan_axis(&r, "scan_input_axes", i, type.rank)]);
        sinter_expr pair[2] = {size, trips ? trips : size};
        if (trips)
            sinter_lower_host_check(lower,
                                    sinter_loop_call2(&lower->host, SINTER_SCALAR_eq, size, trips),
                                    SINTER_ABI_BAD_INPUT, "scan: lengths of %0 and %1", pair, 2);
        trips = pair[1];
    }
    if (!begin_stacked(&r, axes, trips) || !begin_states(&r, 0)) return false;
    if (!lower_scan_round(&r, axes, trips)) return false;
    finish(&r, axes, trips);
    return true;
}
