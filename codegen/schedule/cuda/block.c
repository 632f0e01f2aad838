/* Iterations that keep scratch between several nests (attention's blocks of queries) on CUDA: each gets a block of threads, its scratch
 * is shared memory, and the threads share out the independent iterations of each nest in it, however deep it stands.
 *
 *   for iterations block { alloc scratch shared; nests: threads; barrier; for steps { nests: threads; barrier; ... } ... }
 * Loops that carry something stay serial, and all threads run them alike. Barriers are put where one nest touches what another
 * wrote, also from one round of a serial loop to the next. Nests that are contractions go in tiles first, one after the other, by the very verb
 * that a kernel of one contraction has (contraction.c); then threads are warps of lanes in all of the block.
 * Test: tests/codegen/schedule/cuda_block.loops, cuda_block_tile.loops */
#include "codegen/schedule/cuda.h"
#include "codegen/schedule/internal.h"

enum {
    THREADS = 256,
    LANES = 32,
    MEMBERS = 4,           /* of a group of lanes */
    GUESSED_BLOCKS = 1024, /* where only the run knows how many there are */
    PARTS = 8,             /* of a row's reduction */
    RESERVED = 6 << 10,    /* bytes of shared memory for these */
    LEAST_SHARED = 32,     /* elements of a row that several threads reduce */
    LEAST_SCRATCH = 256    /* bytes */
};

typedef struct sharing {
    sinter_schedule_cuda_state *state;
    sinter_schedule *schedule;
    sinter_loop_function *function;
    sinter_loop_var block;                /* the loop over all iterations */
    sinter_schedule_cuda_around threads;  /* that tiles have; of no warps: there are none */
    SINTER_VECTOR(sinter_loop_var) seen;  /* loops that were tried */
    SINTER_VECTOR(sinter_loop_var) tiled; /* the outermost loops of tiles */
    sinter_schedule_buffers fragments;    /* scratch that stays in registers */
} sharing;

/* ---- nests ---- */

/* The outermost loop of the chain becomes an axis of threads; where tiles have chosen what these are, warps and their lanes. */
static bool bind_threads(sharing *s, sinter_loop_var threads) {
    sinter_loop_var warp = 0, lane = 0, group = 0, member = 0;
    if (!s->threads.warps) return sinter_schedule_bind(s->schedule, threads, SINTER_AXIS_THREAD);
    if (!sinter_schedule_split(s->schedule, threads, LANES, SINTER_TAIL_EXACT, &warp, &lane,
                               NULL) ||
        !sinter_schedule_bind(s->schedule, warp, SINTER_AXIS_THREAD))
        return false;
    if (!s->threads.grouped) return sinter_schedule_bind(s->schedule, lane, SINTER_AXIS_THREAD);
    return sinter_schedule_split(s->schedule, lane, MEMBERS, SINTER_TAIL_EXACT, &group, &member,
                                 NULL) &&
           sinter_schedule_bind(s->schedule, group, SINTER_AXIS_THREAD) &&
           sinter_schedule_bind(s->schedule, member, SINTER_AXIS_THREAD);
}

static bool share_loop(sharing *s, sinter_loop_var loop) {
    sinter_loop_var turns = 0, threads = 0;
    int64_t count, all = s->threads.warps ? s->threads.warps * LANES : THREADS;
    if (!s->threads.warps &&
        sinter_loop_trip_count(sinter_schedule_get_loop(s->function, loop), &count) &&
        count <= THREADS)
        return bind_threads(s, loop);
    if (!sinter_schedule_split(s->schedule, loop, all, SINTER_TAIL_GUARD, &turns, &threads, NULL))
        return false;
    const sinter_loop_var order[2] = {threads, turns};
    return sinter_schedule_reorder(s->schedule, order, 2) && bind_threads(s, threads);
}

/* The independent loops that the nest begins with, as one if that can be, else the first of them. */
static bool share_nest(sharing *s, sinter_loop_var nest, bool fuses) {
    sinter_schedule_chain c = sinter_schedule_chain_of(s->schedule, nest);
    sinter_loop_var loop = c.loops[0];
    for (uint32_t i = 1; i < c.depth && fuses; i++)
        if (!sinter_schedule_cuda_is_independent(s->schedule, c.loops[i]) ||
            !sinter_schedule_fuse(s->schedule, loop, c.loops[i], &loop))
            break;
    return share_loop(s, loop);
}

/* The first loop that all threads would run alike and that nobody looked at yet, not inside of what they share. */
static sinter_loop_var find_serial(const sharing *s, const sinter_loop_stmt *first) {
    sinter_loop_var found = 0;
    for (const sinter_loop_stmt *stmt = first; stmt && !found; stmt = stmt->next) {
        if (stmt->kind != SINTER_LOOP_IF && !sinter_loop_is_serial(stmt)) continue;
        bool seen = stmt->kind == SINTER_LOOP_IF;
        for (size_t i = 0; i < s->seen.count; i++) seen |= s->seen.items[i] == stmt->var;
        if (!seen) return stmt->var;
        found = find_serial(s, stmt->body);
        if (!found) found = find_serial(s, stmt->else_body);
    }
    return found;
}

/* What a block runs. */
static sinter_loop_stmt **body_of(const sharing *s) {
    return s->block ? &sinter_schedule_get_loop(s->function, s->block)->body : &s->function->body;
}

/* ---- tiles ---- */

/* How many blocks run, as far as that is known. */
static int64_t count_blocks(const sharing *s) {
    int64_t count;
    if (!s->block) return 1;
    return sinter_loop_trip_count(sinter_schedule_get_loop(s->function, s->block), &count)
               ? count
               : GUESSED_BLOCKS;
}

/* Shared memory of the block, with tiles and parts of rows. */
static uint64_t shared_bytes(const sharing *s) {
    uint64_t total = 0, bytes;
    for (size_t i = 1; i < s->function->buffers.count; i++) {
        const sinter_loop_buffer_info *info = &s->function->buffers.items[i];
        if (info->scope == SINTER_SCOPE_SHARED && sinter_loop_static_bytes(info, &bytes))
            total += (bytes + 15) / 16 * 16;
    }
    return total;
}

/* Nobody looks at the loops of these tiles again: threads are in them. */
static void pass_over(sharing *s, const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        if (sinter_loop_is_serial(stmt))
            sinter_vector_push(&s->state->scratch, &s->seen, stmt->var);
        if (stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_THREAD) continue;
        pass_over(s, stmt->body);
        pass_over(s, stmt->else_body);
    }
}

/* The same without what will be registers in the end. */
static int64_t kept_bytes(const sharing *s) {
    uint64_t total = shared_bytes(s), bytes;
    for (size_t i = 0; i < s->fragments.count; i++)
        if (sinter_loop_static_bytes(&s->function->buffers.items[s->fragments.items[i]], &bytes))
            total -= (bytes + 15) / 16 * 16;
    return (int64_t)total + RESERVED;
}

/* Contractions in the block go in tiles. What is tried and is none is looked at again when nests are shared. */
static void tile_nests(sharing *s) {
    s->threads.blocks = count_blocks(s);
    for (sinter_loop_var nest; (nest = find_serial(s, *body_of(s)));) {
        sinter_loop_var outer;
        sinter_vector_push(&s->state->scratch, &s->seen, nest);
        s->threads.kept = kept_bytes(s);
        if (!sinter_schedule_cuda_contraction_inside(s->state, nest, &s->threads, &outer)) continue;
        sinter_loop_stmt alone = *sinter_schedule_get_loop(s->function, outer);
        alone.next = NULL;
        pass_over(s, &alone);
        sinter_vector_push(&s->state->scratch, &s->tiled, outer);
    }
    s->seen.count = 0;
    for (size_t i = 0; i < s->tiled.count; i++) {
        sinter_loop_stmt alone = *sinter_schedule_get_loop(s->function, s->tiled.items[i]);
        alone.next = NULL;
        pass_over(s, &alone);
    }
}

/* ---- rows of scratch ---- */

void sinter_schedule_cuda_pad_rows(const sinter_schedule *schedule, sinter_loop_buffer buffer,
                                   int64_t abreast) {
    enum { BANKS = 32, WORD_BITS = 32, MATRIX_ROW = 16 };
    sinter_loop_buffer_info *info = &schedule->function->buffers.items[buffer];
    const int64_t bits = sinter_dtype_infos[info->dtype].bits;
    int64_t length;
    if (info->rank != 2 || bits > WORD_BITS || bits < 8 ||
        !sinter_loop_is_const_int(info->dims[1], &length))
        return;
    if (bits < WORD_BITS) {
        const int64_t unit = MATRIX_ROW * 8 / bits, units = (length + unit - 1) / unit;
        length = (units + 1 - units % 2) * unit;
    } else if (length < BANKS) {
        length |= 1;
    } else {
        length += (abreast - length % BANKS + BANKS) % BANKS;
    }
    sinter_loop_builder b;
    sinter_loop_builder_init(&b, schedule->program, schedule->function);
    sinter_expr dims[2] = {info->dims[0], sinter_loop_int(&b, length)};
    info->dims = sinter_arena_copy(b.arena, dims, sizeof dims);
}

static void pad_scratch(const sharing *s, const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next)
        if (stmt->kind == SINTER_LOOP_ALLOC)
            sinter_schedule_cuda_pad_rows(s->schedule, stmt->buffer, PARTS);
}

/* The reduction of each row is shared by several threads, where there are fewer rows than threads could take. */
static void split_rows(const sharing *s, sinter_loop_var nest) {
    const sinter_loop_stmt *rows = sinter_schedule_get_loop(s->function, nest), *inner = rows->body;
    sinter_loop_builder b;
    sinter_loop_buffer results;
    int64_t count, least, most;
    while (inner && inner->kind != SINTER_LOOP_FOR) inner = inner->next;
    if (!s->threads.warps || !inner || !sinter_loop_trip_count(rows, &count) ||
        count >= s->threads.warps * LANES * PARTS)
        return;
    sinter_loop_builder_init(&b, s->schedule->program, s->function);
    sinter_loop_range(s->function, sinter_schedule_count(&b, inner), &least, &most);
    if (most < LEAST_SHARED ||
        !sinter_schedule_split_reduction(s->schedule, nest, PARTS, 1, &results, NULL))
        return;
    s->function->buffers.items[results].scope = SINTER_SCOPE_SHARED;
    sinter_schedule_cuda_pad_rows(s->schedule, results, LANES / PARTS);
}

/* ---- all nests ---- */

/* False: a nest that touches what stays in registers can't be shared as that wants it. */
static bool share_nests(sharing *s) {
    for (sinter_loop_var nest; (nest = find_serial(s, *body_of(s)));) {
        sinter_vector_push(&s->state->scratch, &s->seen, nest);
        if (!sinter_schedule_cuda_is_independent(s->schedule, nest)) continue;
        if (sinter_schedule_cuda_touches(s->schedule, nest, &s->fragments)) {
            bool reduces;
            if (!sinter_schedule_cuda_share_fragment(s->schedule, nest, s->threads.warps, &reduces))
                return false;
            if (!reduces) continue;
        }
        split_rows(s, nest);
        for (int fuses = 1; fuses >= 0; fuses--) {
            sinter_loop_function *saved =
                sinter_loop_clone_function(s->state->program, s->function);
            if (share_nest(s, nest, fuses)) break;
            *s->function = *saved;
        }
    }
    return true;
}

/* Instructions of warpgroups are in code that is for these GPUs alone. */
static bool has_room(const sharing *s) {
    bool own = false;
    for (size_t i = 1; i < s->function->buffers.count; i++)
        own |= s->function->buffers.items[i].swizzle != 0;
    return shared_bytes(s) <= (own ? sinter_target_own_shared_bytes(s->state->target)
                                   : sinter_target_shared_bytes(s->state->target));
}

/* As if nothing had been tried. */
static void begin_again(sharing *s, const sinter_loop_function *from) {
    *s->function = *sinter_loop_clone_function(s->state->program, from);
    s->threads.warps = 0;
    s->threads.grouped = false;
    s->seen.count = s->tiled.count = 0;
}

/* Tiles, and scratch that they fill in registers, where every nest lets it. The first try, whose tiles are chosen as if all matrices in scratch were
 * such, tells which are. False: the function is in pieces. */
static bool tile_in_fragments(sharing *s, const sinter_loop_function *plain,
                              const sinter_loop_function *padded) {
    for (sinter_loop_buffer i = 1; i < s->function->buffers.count; i++)
        if (sinter_schedule_cuda_may_be_fragment(&s->function->buffers.items[i]))
            sinter_vector_push(&s->state->scratch, &s->fragments, i);
    for (int tries = 0; tries < 2 && s->fragments.count; tries++) {
        begin_again(s, padded);
        tile_nests(s);
        s->fragments.count = 0;
        if (!s->threads.warps || !s->threads.grouped) return false;
        sinter_schedule_cuda_find_fragments(s->schedule, plain, *body_of(s), s->threads.warps,
                                            &s->state->scratch, &s->fragments);
        if (!s->fragments.count || !share_nests(s)) return false;
        for (size_t i = 0; i < s->fragments.count; i++)
            if (!sinter_schedule_distribute(s->schedule, s->fragments.items[i])) return false;
        if (has_room(s)) return true;
    }
    return false;
}

/* ---- together ---- */

/* Nothing that stops a thread while others wait for it. */
static bool is_plain(const sharing *s, const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        bool other = stmt->kind == SINTER_LOOP_FAIL || stmt->kind == SINTER_LOOP_WHILE ||
                     stmt->kind == SINTER_LOOP_BARRIER || stmt->kind == SINTER_LOOP_EXCHANGE ||
                     (stmt->kind == SINTER_LOOP_FOR && stmt->axis > SINTER_AXIS_UNROLL);
        if (other || !is_plain(s, stmt->body) || !is_plain(s, stmt->else_body)) return false;
    }
    return true;
}

/* The scratch of the list, as far as it is known and no other memory; UINT64_MAX: it is not so. */
static uint64_t scratch_bytes(const sharing *s, const sinter_loop_stmt *first) {
    uint64_t total = 0, bytes;
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        if (stmt->kind != SINTER_LOOP_ALLOC) continue;
        const sinter_loop_buffer_info *info = &s->function->buffers.items[stmt->buffer];
        if (info->scope != SINTER_SCOPE_STACK || !sinter_loop_static_bytes(info, &bytes))
            return UINT64_MAX;
        total += (bytes + 15) / 16 * 16;
    }
    return total;
}

static bool scratch_fits(const sharing *s, const sinter_loop_stmt *first, uint64_t least) {
    uint64_t bytes = scratch_bytes(s, first);
    return bytes >= least && bytes <= sinter_target_shared_bytes(s->state->target);
}

static void share_scratch(const sharing *s, const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next)
        if (stmt->kind == SINTER_LOOP_ALLOC)
            s->function->buffers.items[stmt->buffer].scope = SINTER_SCOPE_SHARED;
}

static sharing begin_sharing(sinter_schedule_cuda_state *state) {
    sharing s = {
        .state = state, .schedule = &state->schedule, .function = state->schedule.function};
    return s;
}

static bool finish(sharing *s) {
    sinter_schedule_cuda_put_barriers(s->schedule, body_of(s), s->tiled.items, s->tiled.count);
    return true;
}

bool sinter_schedule_cuda_block(sinter_schedule_cuda_state *state, sinter_loop_var nest) {
    sharing s = begin_sharing(state);
    sinter_schedule_chain c = sinter_schedule_chain_of(s.schedule, nest);
    const sinter_loop_stmt *body = sinter_schedule_get_loop(s.function, c.loops[c.depth - 1])->body;
    if (!is_plain(&s, body) || !scratch_fits(&s, body, LEAST_SCRATCH)) return false;
    s.block = c.loops[0];
    for (uint32_t i = 0; i < c.depth; i++)
        if (!sinter_schedule_cuda_is_independent(s.schedule, c.loops[i]) ||
            (i && !sinter_schedule_fuse(s.schedule, s.block, c.loops[i], &s.block)))
            return false;
    share_scratch(&s, *body_of(&s));
    sinter_loop_function *plain = sinter_loop_clone_function(state->program, s.function);
    pad_scratch(&s, *body_of(&s));
    sinter_loop_function *padded = sinter_loop_clone_function(state->program, s.function);
    if (!tile_in_fragments(&s, plain, padded)) {
        s.fragments.count = 0;
        begin_again(&s, padded);
        tile_nests(&s);
        if (!s.threads.warps) *s.function = *plain;
        share_nests(&s);
    }
    if (!has_room(&s)) {
        begin_again(&s, plain);
        share_nests(&s);
    }
    return sinter_schedule_bind(s.schedule, s.block, SINTER_AXIS_BLOCK) && finish(&s);
}

static bool has_threads(const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next)
        if ((stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_THREAD) ||
            has_threads(stmt->body) || has_threads(stmt->else_body))
            return true;
    return false;
}

bool sinter_schedule_cuda_one_block(sinter_schedule_cuda_state *state, sinter_loop_var nest) {
    (void)nest;
    sharing s = begin_sharing(state);
    if (!is_plain(&s, s.function->body) || !scratch_fits(&s, s.function->body, 0)) return false;
    share_scratch(&s, s.function->body);
    share_nests(&s);
    return has_threads(s.function->body) && finish(&s);
}
