/* How a block's threads stage the operands of a contraction in shared memory: element by element, whatever expressions they are, or, where
 * tiles are in a ring, by copies under way. Those move 16, 8 or 4 bytes, as many as the operand has side by side at a multiple of them, of
 * which all or none are there; what is beyond a border is written as zeros. What can't be copied so, as the places of a
 * convolution in halves, is read into registers of the thread before a step is multiplied and goes to the ring behind it, so that these reads
 * are under way meanwhile too.
 * Part of the verb of block_tile.c. Test: tests/codegen/schedule/block_ring.loops */
#include "codegen/loops/align.h"
#include "codegen/schedule/block_tile.h"

enum {
    LANES = SINTER_BLOCK_LANES,
    MAX_COPY = 16,
    MIN_COPY = 4,
    MAX_AHEAD = 32, /* elements of an operand that a thread has registers for, each of 32 bits */
    MAX_PLACED =
        16 /* the same of one with a border: where each of them is, and whether, stays in registers too */
};

typedef sinter_block_tiling tiling;
typedef sinter_block_operand operand;
typedef sinter_block_threads threads;

static sinter_expr number(tiling *t, int64_t value) {
    return sinter_block_int(t, value);
}

void sinter_block_add_tile(tiling *t, operand *o, const char *name) {
    const bool ring = t->asked->stages > 1;
    if (o->in_place) return;
    sinter_expr dims[4] = {number(t, t->asked->stages),
                           number(t, o->depth_last ? o->extent : t->asked->depth),
                           number(t, (o->depth_last ? t->asked->depth : o->extent) + o->pad)};
    if (o->chunk) {
        dims[1] = number(t, (o->extent + o->chunk - 1) / o->chunk);
        dims[2] = number(t, t->asked->depth);
        dims[3] = number(t, o->chunk);
    }
    o->tile =
        sinter_loop_add_buffer(t->builder, name, o->value->dtype, (ring ? 3 : 2) + (o->chunk > 0),
                               ring ? dims : dims + 1, SINTER_SCOPE_SHARED);
    if (t->asked->warpgroup)
        t->schedule->function->buffers.items[o->tile].swizzle = SINTER_LOOP_SWIZZLE;
    sinter_loop_alloc(t->builder, o->tile);
}

const sinter_expr *sinter_block_indices(tiling *t, const operand *o, sinter_expr depth,
                                        sinter_expr at, sinter_expr lane, sinter_expr all[4]) {
    sinter_loop_builder *b = t->builder;
    all[0] = t->slot;
    if (o->chunk) {
        all[1] = sinter_loop_div(b, at, number(t, o->chunk));
        all[2] = depth;
        at = sinter_loop_rem(b, at, number(t, o->chunk));
        all[3] = lane ? sinter_loop_add(b, at, lane) : at;
    } else {
        if (lane) at = sinter_loop_add(b, at, lane);
        all[1] = o->depth_last ? at : depth;
        all[2] = o->depth_last ? depth : at;
    }
    return t->slot ? all : all + 1;
}

sinter_expr sinter_block_load(tiling *t, const operand *o, sinter_expr depth, sinter_expr at) {
    sinter_expr all[4];
    if (o->in_place) {
        const sinter_expr row = sinter_loop_add(t->builder, o->first, at),
                          step = sinter_loop_add(t->builder, t->start, depth);
        all[0] = o->depth_last ? row : step;
        all[1] = o->depth_last ? step : row;
        return sinter_loop_load(t->builder, o->tile, all);
    }
    return sinter_loop_load(t->builder, o->tile, sinter_block_indices(t, o, depth, at, NULL, all));
}

/* Where `width` elements of an operand lie that are staged as one, from (start + depth, first + at) on along the reduction, or across. */
typedef struct piece {
    sinter_expr start, depth, at;
    int64_t width; /* 0: one element, by whatever computes it */
    bool fits;
} piece;

/* An element of the operand, and where it is there: both NULL where it is certain. */
typedef struct element {
    sinter_expr value;
    sinter_expr inside; /* of the loops */
    sinter_expr border; /* the operand's own condition */
} element;

static sinter_expr condition_of(tiling *t, const element *e) {
    return sinter_block_both(t->builder, e->inside, e->border);
}

/* Pieces of the reduction are in one row of its innermost loop: only that counts through their lanes. */
static bool is_innermost(const tiling *t, const piece *p) {
    int64_t count;
    return sinter_loop_is_const_int(t->sum.counts[t->sum.loop_count - 1], &count) &&
           count % p->width == 0 && t->asked->depth % p->width == 0;
}

/* The operand's element `lane` of the piece. */
static element element_of(tiling *t, const operand *o, const piece *p, sinter_expr lane) {
    sinter_loop_builder *b = t->builder;
    sinter_expr position = sinter_loop_add(b, p->start, p->depth),
                index = sinter_loop_add(b, o->first, p->at), within = NULL;
    if (lane && o->along_depth) {
        if (is_innermost(t, p))
            within = lane;
        else
            position = sinter_loop_add(b, position, lane);
    }
    if (lane && !o->along_depth) index = sinter_loop_add(b, index, lane);
    sinter_loop_map map;
    sinter_block_begin_map(t, &map, o == &t->rows ? index : NULL, o == &t->columns ? index : NULL);
    sinter_block_map_reduction(t, &map, position, within);
    if (within) position = sinter_loop_add(b, position, within);
    return (element){
        .value = sinter_loop_map_expr(&map, o->value),
        .inside = sinter_block_both(b, sinter_block_below(b, index, sinter_block_count(t, o)),
                                    sinter_block_below(b, position, t->count)),
        .border = o->condition ? sinter_loop_map_expr(&map, o->condition) : NULL};
}

static void store(tiling *t, const operand *o, const piece *p, sinter_expr lane,
                  sinter_expr value) {
    sinter_loop_builder *b = t->builder;
    sinter_expr all[4], depth = p->depth;
    if (lane && o->along_depth) depth = sinter_loop_add(b, depth, lane);
    sinter_expr beside = o->along_depth ? NULL : lane;
    sinter_loop_store(b, o->tile, sinter_block_indices(t, o, depth, p->at, beside, all), value);
}

/* The operand's element, 0 outside of it: one store for all lanes of a warp, whichever have a value. */
static sinter_expr find_element(tiling *t, const operand *o, const piece *p) {
    sinter_loop_builder *b = t->builder;
    const element e = element_of(t, o, p, NULL);
    const sinter_expr condition = condition_of(t, &e);
    if (!condition) return e.value;
    sinter_loop_var staged =
        sinter_loop_declare(b, "staged", true, sinter_block_zero(t, o->value->dtype));
    sinter_loop_begin_if(b, condition);
    sinter_loop_assign(b, staged, e.value);
    sinter_loop_end(b);
    return sinter_loop_var_read(b, staged);
}

/* The elements of a piece are there or not as its first is: what limits them along it is whole pieces. */
static bool is_whole(tiling *t, const operand *o, const piece *p, sinter_loop_var lane,
                     const element *e) {
    int64_t limit;
    sinter_expr along = o->along_depth ? t->count : sinter_block_count(t, o);
    if (e->border && sinter_loop_expr_uses(e->border, lane)) return false;
    if (!e->inside || !sinter_loop_expr_uses(e->inside, lane)) return true;
    return sinter_loop_is_const_int(along, &limit) && limit % p->width == 0;
}

static sinter_expr begin_lanes(tiling *t, const piece *p) {
    return p->width > 1 ? sinter_block_begin_loop(t, "v", p->width, SINTER_AXIS_VECTOR) : NULL;
}

/* The same by a copy under way. */
static void copy_piece(tiling *t, const operand *o, piece *p) {
    sinter_loop_builder *b = t->builder;
    const element first_element = element_of(t, o, p, NULL);
    const sinter_expr condition = condition_of(t, &first_element);
    if (condition) sinter_loop_begin_if(b, condition);
    sinter_loop_stmt **link = b->tail;
    sinter_expr lane = begin_lanes(t, p);
    const element e = element_of(t, o, p, lane);
    store(t, o, p, lane, e.value);
    sinter_loop_stmt *copy = b->last;
    copy->asynchronous = true;
    if (lane) {
        sinter_loop_scopes scopes;
        sinter_arena scratch;
        sinter_expr first;
        sinter_block_end_loops(t, 1);
        sinter_arena_init(&scratch);
        sinter_loop_scopes_init(&scopes, t->schedule->program, t->schedule->function, &scratch);
        p->fits = e.value->kind == SINTER_LOOP_LOAD && is_whole(t, o, p, (*link)->var, &e) &&
                  sinter_loop_is_wide(&scopes, (*link)->var, p->width, copy->buffer,
                                      copy->arguments, &first) &&
                  sinter_loop_is_wide(&scopes, (*link)->var, p->width, e.value->buffer,
                                      e.value->arguments, &first);
        sinter_arena_deinit(&scratch);
    }
    if (!condition) return;
    sinter_loop_end(b);
    sinter_loop_begin_else(b);
    lane = begin_lanes(t, p);
    store(t, o, p, lane, sinter_block_zero(t, o->value->dtype));
    b->last->asynchronous = true;
    sinter_block_end_loops(t, lane != NULL);
    sinter_loop_end(b);
}

/* How lanes copy `width` elements each: `abreast` along a row of the tile, and so many rows at once. */
typedef struct lane_order {
    int64_t abreast, rows;
    int64_t together; /* rows of the lanes that shared memory serves at once, 128 bytes */
    int64_t spacing;  /* of these rows */
} lane_order;

/* The byte of a tile, of rows of so many bytes, as its layout has it. */
static int64_t place_of(const tiling *t, int64_t at, int64_t row) {
    enum { PIECE = 16 };
    if (!t->asked->warpgroup) return at;
    const int64_t line = at / row, byte = at % row, chunk = byte / SINTER_LOOP_SWIZZLE,
                  order = byte % SINTER_LOOP_SWIZZLE / PIECE ^ line % SINTER_LOOP_SWIZZLE_ROWS;
    return (chunk * t->asked->depth + line) * SINTER_LOOP_SWIZZLE + order * PIECE + byte % PIECE;
}

/* Two lanes that are served at once meet in a bank. */
static bool meet(const tiling *t, const operand *o, int64_t width, const lane_order *order) {
    enum { BANKS = 32, WORD = 4 };
    bool taken[BANKS] = {false};
    const int64_t bytes = sinter_dtype_infos[o->value->dtype].bits / 8,
                  row = (o->depth_last ? t->asked->depth : o->extent) + o->pad;
    const bool along = o->depth_last == o->along_depth;
    for (int64_t i = 0; i < order->together * order->abreast; i++) {
        const int64_t fast = i % order->abreast * width, slow = i / order->abreast * order->spacing;
        const int64_t at = place_of(
            t, (along ? slow : fast) * row * bytes + (along ? fast : slow) * bytes, row * bytes);
        for (int64_t word = at / WORD; word * WORD < at + width * bytes; word++) {
            if (taken[word % BANKS]) return true;
            taken[word % BANKS] = true;
        }
    }
    return false;
}

/* Rows of a warp one after the other, or those that are served at once as far apart as they can be. False: in both lanes meet. */
static bool order_lanes(const tiling *t, const operand *o, int64_t width, lane_order *order) {
    enum { SERVED = 128 };
    const int64_t bytes = width * sinter_dtype_infos[o->value->dtype].bits / 8,
                  served = bytes && SERVED / bytes < LANES ? SERVED / bytes : LANES;
    if (order->abreast >= served) return true;
    order->together = served / order->abreast;
    order->spacing = 1;
    if (!meet(t, o, width, order)) return true;
    order->spacing = order->rows / order->together;
    return !meet(t, o, width, order);
}

/* How an operand is staged. */
typedef enum way {
    COPY,  /* by copies under way */
    STORE, /* read and stored to the tile */
    READ,  /* read into registers, and */
    PUT    /* from these to the tile */
} way;

/* The elements that a thread stages: `turns` x `parts` pieces. */
typedef struct share {
    int64_t across, turns, parts, abreast, size;
    lane_order order;
} share;

/* Warps take turns along one dim of the tile, lanes stand side by side in the other, in several rows where that is short. False: pieces of
 * this width do not do. */
static bool share_out(const tiling *t, const operand *o, int64_t width, share *out) {
    const int64_t size = width ? width : 1, warps = t->warps;
    const int64_t pieces = (o->along_depth ? t->asked->depth : o->extent) / size,
                  row = o->chunk && !o->along_depth ? o->chunk / size : pieces; /* in one row */
    const int64_t most = row < LANES ? row : LANES, abreast = pieces < most ? pieces : most;
    if (abreast < 1 || LANES % abreast || pieces % abreast) return false;
    *out = (share){.across = o->along_depth ? o->extent : t->asked->depth,
                   .parts = pieces / abreast,
                   .abreast = abreast,
                   .size = size,
                   .order = {abreast, LANES / abreast, 1, 1}};
    if (width && !order_lanes(t, o, width, &out->order)) return false;
    const int64_t rows = warps * out->order.rows;
    out->turns = (out->across + rows - 1) / rows;
    return true;
}

static bool stage(tiling *t, const operand *o, sinter_expr start, int64_t width, way how) {
    sinter_loop_builder *b = t->builder;
    share s;
    if (!share_out(t, o, width, &s)) return false;
    const int64_t rows = t->warps * s.order.rows;
    threads own = sinter_block_begin_threads(t);
    sinter_expr turn = sinter_block_begin_loop(t, "r", s.turns, SINTER_AXIS_UNROLL),
                part = sinter_block_begin_loop(t, "c", s.parts, SINTER_AXIS_UNROLL);
    sinter_expr lane = sinter_loop_rem(b, own.lane, number(t, s.abreast)),
                row = sinter_loop_div(b, own.lane, number(t, s.abreast)),
                together = number(t, s.order.together);
    if (s.order.spacing > 1)
        row = sinter_block_place(t, sinter_loop_rem(b, row, together), s.order.spacing,
                                 sinter_loop_div(b, row, together));
    row = sinter_block_place(t, own.warp, s.order.rows, row);
    sinter_expr slow = sinter_block_place(t, turn, rows, row),
                fast = sinter_loop_mul(b, sinter_block_place(t, part, s.abreast, lane),
                                       number(t, s.size));
    sinter_expr inside = sinter_block_below(b, slow, number(t, s.across));
    if (inside) sinter_loop_begin_if(b, inside);
    piece p = {start, o->along_depth ? fast : slow, o->along_depth ? slow : fast, width, true};
    sinter_expr held[5] = {own.axes[0], own.axes[1], own.axes[2]};
    held[own.count] = turn;
    held[own.count + 1] = part;
    switch (how) {
    case COPY:
        copy_piece(t, o, &p);
        break;
    case STORE:
        store(t, o, &p, NULL, find_element(t, o, &p));
        break;
    case READ:
        sinter_loop_store(b, o->ahead, held, find_element(t, o, &p));
        break;
    case PUT:
        store(t, o, &p, NULL, sinter_loop_load(b, o->ahead, held));
        break;
    }
    sinter_block_end_loops(t, own.count + 2 + (inside != NULL));
    return p.fits;
}

/* Registers for what a thread stages of an operand, where there is a ring and they are not too many. They are allocated before the loop over the
 * steps, in the midst of which the builder is. */
static bool reads_ahead(tiling *t, operand *o) {
    share s;
    const int64_t most = o->condition ? MAX_PLACED : MAX_AHEAD;
    if (!t->slot || !share_out(t, o, 0, &s) || s.turns * s.parts > most) return false;
    sinter_loop_builder *b = t->builder;
    sinter_loop_stmt **tail = b->tail;
    const int64_t sizes[2] = {s.turns, s.parts};
    b->tail = t->before_steps;
    o->ahead = sinter_block_registers(t, o == &t->rows ? "row_ahead" : "column_ahead",
                                      o->value->dtype, 2, sizes);
    t->before_steps = b->tail;
    b->tail = tail;
    return true;
}

void sinter_block_stage(tiling *t, operand *o, sinter_expr start) {
    if (o->in_place) return;
    const sinter_loop_function *function = t->schedule->function;
    const int64_t bytes = sinter_dtype_infos[o->value->dtype].bits / 8;
    const bool moves = t->slot && o->value->kind == SINTER_LOOP_LOAD &&
                       function->buffers.items[o->value->buffer].scope == SINTER_SCOPE_INPUT;
    sinter_loop_stmt **link = t->builder->tail, *rest = *link;
    for (int64_t copy = MAX_COPY; moves && bytes && copy >= MIN_COPY; copy /= 2) {
        if (copy % bytes) continue;
        if (stage(t, o, start, copy / bytes, COPY)) {
            t->copies = true;
            return;
        }
        *link = rest;
        t->builder->tail = link;
    }
    t->stores = true;
    stage(t, o, start, 0, reads_ahead(t, o) ? READ : STORE);
}

void sinter_block_put(tiling *t, const operand *o, sinter_expr start) {
    if (o->ahead) stage(t, o, start, 0, PUT);
}
