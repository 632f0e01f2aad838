/* Which values have no memory of their own: what is cut out of a value lies in it already, and what a concatenation puts
 * together is written straight into its place. Decided for a region before its nodes are lowered.
 *
 * Where the elements of such a value follow each other it is an alias at an offset, and may be read by anything. Otherwise
 * kernels read and write it at shifted indices of the whole (add_parameter in kernel.c); whoever needs it as a
 * buffer of the host is then a reason to leave it as it is. Neither may raise the peak of what is alive at one time: a
 * whole lives from its first piece to the last reader of any of them.
 * Test: tests/codegen/lower/places.sir, tests/unit/random_graph_test.c */
#include "codegen/lower/lower.h"
#include "ir/cost.h"

enum {
    TYPICAL = 128, /* what a symbol is taken for when sizes are compared */
    SHORTEST_RUN =
        64,           /* bytes: a line of the cache that is read for less of them is read in vain */
    MOST_REFUSALS = 4 /* pieces that a concatenation does without, the earliest first */
};

typedef struct placer {
    sinter_lower *lower;
    sinter_module *module;
    sinter_dim_table *dims;
    sinter_region region;
    sinter_arena scratch;
    const int64_t *typical;
    uint32_t *position;     /* by node of this region: from 1 */
    uint32_t *first, *last; /* by value: from where to where its memory is wanted */
    uint64_t *bytes;        /* by value: of workspace that it takes */
    uint64_t *live, peak;   /* by position: bytes of all values that are wanted there */
} placer;

typedef struct window {
    sinter_value whole; /* has memory of its own */
    sinter_dim first[SINTER_MAX_RANK];
    bool is_run;
} window;

static const sinter_type *type_of(const placer *p, sinter_value value) {
    return sinter_value_type(p->module, value);
}

const sinter_lower_place *sinter_lower_find_place(const sinter_lower *lower, sinter_value value) {
    uint64_t index = 0;
    return sinter_map_find(&lower->place_of, value, &index) ? &lower->places.items[index] : NULL;
}

bool sinter_lower_is_cut(const sinter_lower *lower, sinter_value value) {
    const sinter_lower_place *place = sinter_lower_find_place(lower, value);
    return place && !place->joined.node;
}

bool sinter_lower_is_joined(const sinter_lower *lower, sinter_node concat, uint32_t operand) {
    const sinter_lower_place *place =
        sinter_lower_find_place(lower, sinter_node_operand(lower->module, concat, operand));
    return place && place->joined.node == concat && place->joined.operand == operand;
}

/* ---- sizes and lifetimes ---- */

static int64_t estimate(const placer *p, sinter_dim dim) {
    int64_t value = 0;
    return dim && sinter_dim_evaluate(p->dims, dim, p->typical, &value) && value > 0 ? value : 0;
}

static sinter_lower_kind kind_of(const placer *p, sinter_node node) {
    sinter_lower_element_rule element;
    sinter_lower_kernel_rule kernel;
    sinter_lower_host_rule host;
    return sinter_lower_find_rule(sinter_node_op(p->module, node), &element, &kernel, &host);
}

/* Position, in this region, of a node here or in a region nested below. */
static uint32_t position_here(const placer *p, sinter_node node) {
    node = sinter_node_within(p->module, node, p->region);
    return node ? p->position[node] : 0;
}

/* The last reader of the value, or of what the host makes of it, which may be the same memory. */
static uint32_t find_last(const placer *p, sinter_value value, uint32_t made) {
    const sinter_value_info *info = sinter_value_get(p->module, value);
    uint32_t last = made;
    for (size_t u = 0; u < info->uses.count; ++u) {
        sinter_node user = info->uses.items[u].node;
        uint32_t at = position_here(p, user);
        const sinter_node_info *reader = sinter_node_get(p->module, user);
        bool views = reader->parent == p->region && kind_of(p, user) == SINTER_LOWER_HOST;
        for (uint32_t i = 0; views && i < reader->result_count; ++i)
            if (reader->results[i] && p->last[reader->results[i]] > at)
                at = p->last[reader->results[i]];
        if (at > last) last = at;
    }
    return last;
}

static void add_live(placer *p, uint32_t first, uint32_t last, int64_t bytes) {
    for (uint32_t at = first; at <= last; ++at) p->live[at] += (uint64_t)bytes;
}

/* What a node makes: its results in memory of their own, except for outputs of the model, which are the caller's. */
static void measure_node(placer *p, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(p->module, node);
    bool makes = kind_of(p, node) != SINTER_LOWER_HOST;
    for (uint32_t i = 0; i < info->result_count; ++i) {
        sinter_value value = info->results[i];
        uint64_t output = 0;
        if (!value) continue;
        p->first[value] = p->position[node];
        p->last[value] = find_last(p, value, p->position[node]);
        if (makes && !sinter_map_find(&p->lower->output_of, value, &output))
            p->bytes[value] = (uint64_t)estimate(p, sinter_cost_value_bytes(p->module, value));
        add_live(p, p->first[value], p->last[value], (int64_t)p->bytes[value]);
    }
}

/* Last node first: readers are known before what they read. */
static void measure(placer *p) {
    uint32_t values = sinter_module_value_limit(p->module), count = 0;
    p->position = SINTER_NEW_ARRAY(&p->scratch, uint32_t, sinter_module_node_limit(p->module));
    SINTER_FOR_NODES (p->module, p->region, node) p->position[node] = ++count;
    p->first = SINTER_NEW_ARRAY(&p->scratch, uint32_t, values);
    p->last = SINTER_NEW_ARRAY(&p->scratch, uint32_t, values);
    p->bytes = SINTER_NEW_ARRAY(&p->scratch, uint64_t, values);
    p->live = SINTER_NEW_ARRAY(&p->scratch, uint64_t, count + 1);
    p->typical = sinter_dim_assume(p->dims, &p->scratch, TYPICAL);
    for (sinter_node node = sinter_region_get(p->module, p->region)->last; node;
         node = sinter_node_get(p->module, node)->previous)
        measure_node(p, node);
    for (uint32_t at = 1; at <= count; ++at)
        if (p->live[at] > p->peak) p->peak = p->live[at];
}

/* Moves the memory of a piece into the whole's. */
static void move_into(placer *p, sinter_value whole, sinter_value piece) {
    add_live(p, p->first[piece], p->last[piece], -(int64_t)p->bytes[piece]);
    p->bytes[piece] = 0;
    if (!p->bytes[whole]) return;
    if (p->first[piece] < p->first[whole]) {
        add_live(p, p->first[piece], p->first[whole] - 1, (int64_t)p->bytes[whole]);
        p->first[whole] = p->first[piece];
    }
    if (p->last[piece] > p->last[whole]) {
        add_live(p, p->last[whole] + 1, p->last[piece], (int64_t)p->bytes[whole]);
        p->last[whole] = p->last[piece];
    }
}

/* Whether the peak stays where it is when the pieces move into the whole. */
static bool is_affordable(const placer *p, sinter_value whole, const sinter_value *pieces,
                          size_t count) {
    uint32_t first = p->first[whole], last = p->last[whole];
    if (!p->bytes[whole]) return true;
    for (size_t i = 0; i < count; ++i) {
        if (p->first[pieces[i]] < first) first = p->first[pieces[i]];
        if (p->last[pieces[i]] > last) last = p->last[pieces[i]];
    }
    for (uint32_t at = first; at <= last; ++at) {
        uint64_t live = p->live[at];
        if (at < p->first[whole] || at > p->last[whole]) live += p->bytes[whole];
        for (size_t i = 0; i < count; ++i)
            if (p->first[pieces[i]] <= at && at <= p->last[pieces[i]]) live -= p->bytes[pieces[i]];
        if (live > p->peak) return false;
    }
    return true;
}

/* ---- windows ---- */

static bool is_one(const placer *p, sinter_dim dim) {
    return sinter_dim_is(p->dims, dim, 1);
}

/* From the outermost axis on that is cut, nothing is between the elements of a run, and outside of it there is one. */
static bool is_run(const placer *p, sinter_value value, sinter_value whole) {
    const sinter_type *part = type_of(p, value), *all = type_of(p, whole);
    uint32_t axis = 0;
    while (axis < part->rank && is_one(p, part->dims[axis])) ++axis;
    for (++axis; axis < part->rank; ++axis)
        if (part->dims[axis] != all->dims[axis]) return false;
    return true;
}

/* Bytes in a row of a window that is no run. */
static int64_t run_bytes(const placer *p, sinter_value value, sinter_value whole) {
    const sinter_type *part = type_of(p, value), *all = type_of(p, whole);
    int64_t run = sinter_dtype_infos[part->dtype].bits / 8;
    for (uint32_t axis = part->rank; axis-- > 0;) {
        run *= estimate(p, part->dims[axis]);
        if (part->dims[axis] != all->dims[axis]) break;
    }
    return run;
}

/* The window that is `first` elements along the axis into `of`, in what that lies in. */
static void find_window(const placer *p, sinter_value value, sinter_value of, window *out) {
    const sinter_lower_place *place = sinter_lower_find_place(p->lower, of);
    out->whole = place ? place->whole : of;
    for (uint32_t d = 0; place && d < type_of(p, value)->rank; ++d)
        out->first[d] = sinter_dim_add(p->dims, out->first[d], place->first[d]);
    out->is_run = is_run(p, value, out->whole);
}

/* Every reader is a kernel, which finds shifted elements; nobody wants the value under another name. */
static bool has_fit_readers(const placer *p, sinter_value value, bool is_run) {
    const sinter_value_info *info = sinter_value_get(p->module, value);
    if (!info->uses.count || info->content_count) return false;
    for (size_t u = 0; u < info->uses.count; ++u) {
        sinter_node user = info->uses.items[u].node;
        if (sinter_op_has_trait(sinter_node_op(p->module, user), SINTER_TRAIT_TERMINATOR))
            return false;
        if (!is_run && kind_of(p, user) == SINTER_LOWER_HOST) return false;
    }
    return true;
}

static bool has_whole_bytes(const placer *p, sinter_value value) {
    const sinter_type *type = type_of(p, value);
    sinter_dtype_class class = sinter_dtype_infos[type->dtype].class;
    return type->kind == SINTER_TYPE_TENSOR && type->rank > 0 &&
           sinter_dtype_infos[type->dtype].bits >= 8 && class != SINTER_CLASS_STRING &&
           class != SINTER_CLASS_COMPLEX;
}

static bool is_fit(const placer *p, sinter_value value, const window *w) {
    return has_fit_readers(p, value, w->is_run) &&
           (w->is_run || run_bytes(p, value, w->whole) >= SHORTEST_RUN);
}

static void place(placer *p, sinter_value value, const window *w, sinter_use use) {
    uint32_t rank = type_of(p, value)->rank;
    sinter_lower_place made = {.whole = w->whole, .is_run = w->is_run, .joined = use};
    made.first = sinter_arena_copy(&p->lower->scratch, w->first, rank * sizeof *w->first);
    sinter_map_put(&p->lower->place_of, value, p->lower->places.count);
    sinter_vector_push(&p->lower->scratch, &p->lower->places, made);
    move_into(p, w->whole, value);
}

/* ---- what is cut out: splits, slices of step 1 ---- */

static sinter_dim known_item(const placer *p, sinter_value value, size_t i) {
    const sinter_dim *items = NULL;
    size_t count = 0;
    if (!value || !sinter_value_known_dims(p->module, value, &items, &count)) return 0;
    return i < count ? items[i] : 0;
}

/* Where a slice begins along an axis; 0 where that is not known to be inside. */
static sinter_dim slice_start(const placer *p, sinter_dim start, sinter_dim size,
                              sinter_dim count) {
    int64_t low = INT64_MIN, high = INT64_MAX;
    sinter_dim zero = sinter_dim_const(p->dims, 0);
    if (!start) return 0;
    sinter_dim_range(p->dims, start, &low, &high);
    if (low < 0 && high >= 0) return 0;
    if (low < 0) start = sinter_dim_add(p->dims, start, size);
    bool inside = sinter_dim_known_le(p->dims, zero, start) &&
                  sinter_dim_known_le(p->dims, sinter_dim_add(p->dims, start, count), size);
    return inside ? start : 0;
}

static bool find_slice(const placer *p, sinter_node node, window *out) {
    sinter_value x = sinter_node_operand(p->module, node, 0),
                 y = sinter_node_result(p->module, node, 0),
                 axes = sinter_node_operand(p->module, node, 3),
                 steps = sinter_node_operand(p->module, node, 4);
    const sinter_type *from = type_of(p, x), *to = type_of(p, y);
    int64_t items[SINTER_MAX_RANK], strides[SINTER_MAX_RANK];
    size_t count = 0, stride_count = 0;
    if (axes && !sinter_value_known_ints(p->module, axes, items, SINTER_MAX_RANK, &count))
        return false;
    if (steps &&
        !sinter_value_known_ints(p->module, steps, strides, SINTER_MAX_RANK, &stride_count))
        return false;
    for (size_t i = 0; i < stride_count; ++i)
        if (strides[i] != 1) return false;
    for (uint32_t d = 0; d < from->rank; ++d) {
        out->first[d] = sinter_dim_const(p->dims, 0);
        size_t at = axes ? 0 : d;
        while (axes && at < count && (items[at] < 0 ? items[at] + from->rank : items[at]) != d)
            ++at;
        if (from->dims[d] == to->dims[d] || (axes && at == count)) continue;
        sinter_dim start = known_item(p, sinter_node_operand(p->module, node, 1), at);
        out->first[d] = slice_start(p, start, from->dims[d], to->dims[d]);
        if (!out->first[d]) return false;
    }
    find_window(p, y, x, out);
    return true;
}

sinter_dim sinter_lower_piece_start(sinter_lower *lower, sinter_node node, uint32_t index) {
    const placer p = {.lower = lower, .module = lower->module, .dims = lower->dims};
    uint32_t axis = sinter_node_get_axis(
        lower->module, node, 0, type_of(&p, sinter_node_operand(lower->module, node, 0))->rank);
    bool goes_on = lower->piece.node == node && lower->piece.index <= index;
    sinter_dim start = goes_on ? lower->piece.start : sinter_dim_const(lower->dims, 0);
    for (uint32_t i = goes_on ? lower->piece.index : 0; i < index && start; ++i) {
        sinter_value before = sinter_node_result(lower->module, node, i);
        sinter_dim size = before ? type_of(&p, before)->dims[axis]
                                 : known_item(&p, sinter_node_operand(lower->module, node, 1), i);
        start = size ? sinter_dim_add(lower->dims, start, size) : 0;
    }
    lower->piece.node = node;
    lower->piece.index = index;
    lower->piece.start = start;
    return start;
}

/* Piece `index` of a split; the host checks that all of them are the whole. */
static bool find_piece(const placer *p, sinter_node node, uint32_t index, window *out) {
    sinter_value x = sinter_node_operand(p->module, node, 0);
    const sinter_type *from = type_of(p, x);
    uint32_t axis = sinter_node_get_axis(p->module, node, 0, from->rank);
    for (uint32_t d = 0; d < from->rank; ++d) out->first[d] = sinter_dim_const(p->dims, 0);
    out->first[axis] = sinter_lower_piece_start(p->lower, node, index);
    if (!out->first[axis]) return false;
    find_window(p, sinter_node_result(p->module, node, index), x, out);
    return true;
}

static void place_pieces(placer *p, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(p->module, node);
    sinter_value x = info->operands[0];
    if (sinter_value_constant(p->module, x) || !has_whole_bytes(p, x)) return;
    window *windows = SINTER_NEW_ARRAY(&p->scratch, window, info->result_count + 1);
    sinter_value *pieces = SINTER_NEW_ARRAY(&p->scratch, sinter_value, info->result_count);
    size_t count = 0;
    for (uint32_t i = 0; i < info->result_count; ++i) {
        sinter_value piece = info->results[i];
        window *w = &windows[count];
        if (!piece || sinter_lower_find_place(p->lower, piece)) continue;
        bool found =
            info->op == SINTER_OP_split ? find_piece(p, node, i, w) : find_slice(p, node, w);
        if (found && is_fit(p, piece, w)) pieces[count++] = piece;
    }
    if (!count || !is_affordable(p, windows[0].whole, pieces, count)) return;
    for (size_t i = 0; i < count; ++i) place(p, pieces[i], &windows[i], (sinter_use){0});
}

/* ---- what is put together ---- */

/* Made here by a kernel, for this concatenation and for nothing else that is one. */
static bool is_made_for(const placer *p, sinter_value piece, sinter_node concat) {
    const sinter_value_info *info = sinter_value_get(p->module, piece);
    if (!info->definition || sinter_node_get(p->module, info->definition)->parent != p->region)
        return false;
    sinter_op op = sinter_node_op(p->module, info->definition);
    if (kind_of(p, info->definition) == SINTER_LOWER_HOST || op == SINTER_OP_split ||
        op == SINTER_OP_slice || sinter_lower_find_place(p->lower, piece))
        return false;
    for (size_t u = 0, times = 0; u < info->uses.count; ++u) {
        sinter_node user = info->uses.items[u].node;
        if (user == concat && ++times > 1) return false;
    }
    return true;
}

/* The host can tell the dim, and nobody has to check that it is one. */
static bool is_known_early(const placer *p, sinter_dim dim) {
    int64_t low = -1, high;
    if (dim) sinter_dim_range(p->dims, dim, &low, &high);
    return low >= 0 && sinter_lower_is_bound(p->lower, dim);
}

typedef struct joined_piece {
    sinter_use use;
    sinter_value value;
    window window;
} joined_piece;

static void place_joined(placer *p, sinter_value y, const joined_piece *pieces, size_t count) {
    sinter_value *values = SINTER_NEW_ARRAY(&p->scratch, sinter_value, count + 1);
    bool *refused = SINTER_NEW_ARRAY(&p->scratch, bool, count + 1);
    const sinter_lower_place *place_of_y = sinter_lower_find_place(p->lower, y);
    sinter_value whole = place_of_y ? place_of_y->whole : y;
    for (uint32_t round = 0; round <= MOST_REFUSALS; ++round) {
        size_t left = 0, earliest = count;
        for (size_t i = 0; i < count; ++i) {
            if (refused[i]) continue;
            values[left++] = pieces[i].value;
            if (earliest == count || p->first[pieces[i].value] < p->first[pieces[earliest].value])
                earliest = i;
        }
        if (!left) return;
        if (!is_affordable(p, whole, values, left)) {
            refused[earliest] = true;
            continue;
        }
        for (size_t i = 0; i < count; ++i)
            if (!refused[i]) place(p, pieces[i].value, &pieces[i].window, pieces[i].use);
        return;
    }
}

static void place_concat(placer *p, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(p->module, node);
    sinter_value y = info->results[0];
    if (!y || !has_whole_bytes(p, y) || sinter_value_get(p->module, y)->content_count) return;
    const sinter_type *to = type_of(p, y);
    uint32_t axis = sinter_node_get_axis(p->module, node, 0, to->rank);
    for (uint32_t d = 0; d < to->rank; ++d)
        if (!is_known_early(p, to->dims[d])) return;
    joined_piece *pieces = SINTER_NEW_ARRAY(&p->scratch, joined_piece, info->operand_count);
    sinter_dim at = sinter_dim_const(p->dims, 0);
    size_t count = 0;
    for (uint32_t i = 0; i < info->operand_count; ++i) {
        sinter_value x = info->operands[i];
        const sinter_type *from = type_of(p, x);
        joined_piece *piece = &pieces[count];
        bool fits = true;
        if (!is_known_early(p, from->dims[axis])) return;
        for (uint32_t d = 0; d < to->rank; ++d) {
            piece->window.first[d] = d == axis ? at : sinter_dim_const(p->dims, 0);
            fits &= d == axis || from->dims[d] == to->dims[d];
        }
        at = sinter_dim_add(p->dims, at, from->dims[axis]);
        if (!fits || !is_made_for(p, x, node)) continue;
        find_window(p, x, y, &piece->window);
        if (!is_fit(p, x, &piece->window)) continue;
        piece->use = (sinter_use){node, i};
        piece->value = x;
        ++count;
    }
    if (at == to->dims[axis]) place_joined(p, y, pieces, count);
}

void sinter_lower_place_values(sinter_lower *lower, sinter_region region) {
    placer p = {.lower = lower, .module = lower->module, .dims = lower->dims, .region = region};
    bool any = false;
    SINTER_FOR_NODES (lower->module, region, looked) {
        sinter_op op = sinter_node_op(lower->module, looked);
        any |= op == SINTER_OP_concat || op == SINTER_OP_split || op == SINTER_OP_slice;
    }
    if (!any) return;
    sinter_arena_init(&p.scratch);
    measure(&p);
    /* The outermost concatenation first, then what is cut out of wholes that stay where they are. */
    for (sinter_node node = sinter_region_get(p.module, region)->last; node;
         node = sinter_node_get(p.module, node)->previous)
        if (sinter_node_op(p.module, node) == SINTER_OP_concat) place_concat(&p, node);
    SINTER_FOR_NODES (p.module, region, node) {
        sinter_op op = sinter_node_op(p.module, node);
        if (op == SINTER_OP_split || op == SINTER_OP_slice) place_pieces(&p, node);
    }
    sinter_arena_deinit(&p.scratch);
}
