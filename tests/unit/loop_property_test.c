/* Random sequences of schedule verbs on kernels of several kinds: whatever a verb accepts, the verifier accepts the result
 * and the kernel writes what it wrote before, bit for bit. Sums that may be reassociated are of integers, or of floats whose
 * sums are exact.
 *
 *   loop_property_test [COUNT [FIRST_SEED]]     COUNT sequences, default 400; a failure prints its seed and the verbs */
#include "codegen/schedule/check.h"
#include "codegen/schedule/schedule.h"
#include "ir/base/splitmix.h"
#include "tests/unit/test.h"

#include <stdlib.h>

enum { MAX_VERBS = 8, VERBS = 40 };

static const char *const kernels[] = {
    "kernel @add(%x: f32[3,N,5] in, %b: f32[N] in, %y: f32[3,N,5] out, N: i64 range(1, 9)) {\n"
    "  for i in 0..3 { for j in 0..N { for k in 0..5 {\n"
    "    let t: f32 = %x[i,j,k] + %b[j]\n"
    "    %y[i,j,k] = max(t, 0.0:f32) }}}}",
    "kernel @product(%a: i32[M,6] in, %w: i32[6,10] in, %c: i32[10] in, %y: i32[M,10] out, M: i64 "
    "range(1, 20)) {\n"
    "  for m in 0..M { for n in 0..10 {\n"
    "    var acc: i32 = %c[n]\n"
    "    for k in 0..6 { acc = acc + %a[m,k] * %w[k,n] }\n"
    "    let t: i32 = acc * 2:i32\n"
    "    %y[m,n] = t }}}",
    "kernel @window(%x: i32[9,7] in, %w: i32[3,2] in, %y: i32[7,6] out) {\n"
    "  for i in 0..7 { for j in 0..6 {\n"
    "    var acc: i32 = 0:i32\n"
    "    for k in 0..3 { for l in 0..2 { acc = acc + %x[i + k,j + l] * %w[k,l] }}\n"
    "    %y[i,j] = acc }}}",
    "kernel @rows(%x: f32[4,13] in, %y: f32[4,13] out, %s: f32[4] out) {\n"
    "  for i in 0..4 {\n"
    "    var top: f32 = -inf:f32\n"
    "    for k in 0..13 { top = max(top, %x[i,k]) }\n"
    "    var acc: f32 = 0.0:f32\n"
    "    for k in 0..13 { let d: f32 = top - %x[i,k]\n acc = acc + d }\n"
    "    for k in 0..13 { %y[i,k] = top - %x[i,k] }\n"
    "    %s[i] = acc }}",
    "kernel @bytes(%a: u8[M,K] in, %b: i8[K,6] in, %z: i64[M] in, %y: f32[M,6] out, M: i64 "
    "range(1, "
    "9), K: i64 range(0, 20)) {\n"
    "  for m in 0..M { for n in 0..6 {\n"
    "    var acc: i64 = 0\n"
    "    for k in 0..K { acc = acc + cast(i64, %a[m,k]) * cast(i64, %b[k,n]) }\n"
    "    %y[m,n] = cast(f32, acc) * 0.5:f32 + cast(f32, acc + %z[m]) }}}",
    "kernel @counts(%x: i16[5,14] in, %s: i64[5] in, %y: i64[5] out) {\n"
    "  for i in 0..5 {\n"
    "    var acc: i64 = %s[i]\n"
    "    for k in 0..14 { let d: i64 = cast(i64, %x[i,k]) - 7\n acc = acc + d }\n"
    "    %y[i] = acc }}",
    "kernel @transpose(%x: u8[6,2,11] in, %y: u8[11,2,6] out) {\n"
    "  for i in 0..11 { for j in 0..2 { for k in 0..6 { %y[i,j,k] = %x[k,j,i] }}}}",
    "kernel @scan(%x: i64[5,8] in, %h: i64[8] inout) {\n"
    "  for t in 0..5 { for j in 0..8 { %h[j] = %h[j] * 3 + %x[t,j] }}}",
    "kernel @prefix(%x: i64[12] in, %y: i64[12] out) {\n"
    "  var s: i64 = 0:i64\n"
    "  for i in 0..12 { s = s + %x[i]\n %y[i] = s }}",
    "kernel @padded(%x: f32[6,6] in, %y: f32[8,8] out) {\n"
    "  for i in 0..8 { for j in 0..8 {\n"
    "    var v: f32 = 0.5:f32\n"
    "    if 1 <= i & i < 7 & 1 <= j & j < 7 { v = %x[i - 1,j - 1] }\n"
    "    %y[i,j] = v }}}",
    "kernel @gather(%n: i64[6] in, %x: f32[9,5] in, %y: f32[6,5] out) {\n"
    "  for i in 0..6 { for j in 0..5 {\n"
    "    let at: i64 = %n[i]\n"
    "    if at < 0 | 9 <= at { fail 2 \"outside\" }\n"
    "    %y[i,j] = %x[at,j] }}}",
    "kernel @triangle(%x: i32[7,7] in, %y: i32[7] out) {\n"
    "  for i in 0..7 {\n"
    "    var acc: i32 = 0:i32\n"
    "    for j in 0..i { acc = acc + %x[i,j] }\n"
    "    %y[i] = acc }}",
    "kernel @clipped(%x: i32[9,9] in, %y: i32[9,9] out) {\n"
    "  for i in 0..9 { for j in 0..9 {\n"
    "    var acc: i32 = 0:i32\n"
    "    for k in max(1 - i, 0)..min(10 - i, 3) { for l in max(1 - j, 0)..min(10 - j, 3) {\n"
    "      acc = acc + %x[i + k - 1,j + l - 1] }}\n"
    "    %y[i,j] = acc }}}",
    "kernel @strided(%x: i8[40] in, %y: i8[20] out) {\n"
    "  for i in 2..40 step 4 { %y[i / 2] = %x[i]\n %y[i / 2 - 1] = %x[i - 1] }}",
    "kernel @digits(%x: f32[2,3,4] in, %y: f32[24] out) {\n"
    "  for a in 0..2 { for b in 0..3 { for c in 0..4 { %y[b * 8 + a * 4 + c] = %x[a,b,c] }}}}",
    "kernel @stages(%x: i32[11,7] in, %w: i32[3,2] in, %y: i32[9,6] out) {\n"
    "  alloc %t: i32[11,7] stack\n"
    "  for r in 0..11 { for c in 0..7 { %t[r,c] = %x[r,c] * 3:i32 }}\n"
    "  for i in 0..9 { for j in 0..6 {\n"
    "    var acc: i32 = 0:i32\n"
    "    for k in 0..3 { for l in 0..2 { acc = acc + %t[i + k,j + l] * %w[k,l] }}\n"
    "    %y[i,j] = acc }}}",
    "kernel @borders(%x: i32[H,5] in, %y: i32[H,5] out, H: i64 range(1, 20)) {\n"
    "  alloc %t: i32[22,5] stack\n"
    "  for r in 0..H + 2 { if 1 <= r & r < H + 1 {\n"
    "    for c in 0..5 { %t[r,c] = %x[r - 1,c] + 1:i32 }} else { for c in 0..5 { %t[r,c] = 0:i32 "
    "}}}\n"
    "  alloc %u: i32[20,5] stack\n"
    "  for i in 0..H { for j in 0..5 {\n"
    "    var acc: i32 = 0:i32\n"
    "    for k in 0..3 { acc = acc + %t[i + k,j] }\n"
    "    %u[i,j] = acc }}\n"
    "  for i in 0..H { for j in 0..5 {\n"
    "    var s: i32 = 0:i32\n"
    "    for k in max(1 - i, 0)..min(H + 1 - i, 3) { s = s + %u[i + k - 1,4 - j] }\n"
    "    %y[i,j] = s }}}",
    "kernel @halves(%x: i32[8,6] in, %y: i32[8,6] out, %z: i32[8,6] out) {\n"
    "  for i in 0..8 { for j in 0..6 { %y[i,j] = %x[i,j] + 1:i32 }}\n"
    "  for i in 0..8 { for j in 0..6 { %z[i,j] = %x[i,5 - j] * 3:i32 }}}",
    "kernel @ahead(%x: i32[8,3] in, %y: i32[8,3] out, %h: i32[3] inout, %s: i32[3] out) {\n"
    "  alloc %t: i32[8,3] stack\n"
    "  for i in 0..8 { for j in 0..3 { %t[i,j] = %x[i,j] * 5:i32 }}\n"
    "  for k in 0..3 { %s[k] = %h[k] }\n"
    "  var last: i32 = 0:i32\n"
    "  for l in 0..8 {\n"
    "    for m in 0..3 { %h[m] = %h[m] + %t[l,2 - m] }\n"
    "    for n in 0..3 { %y[l,n] = %h[n] * 2:i32 }\n"
    "    last = last + %h[0] }\n"
    "  %s[1] = last }",
    "kernel @running(%x: i64[6,9] in, %y: i64[6,9] out) {\n"
    "  for b in 0..6 {\n"
    "    alloc %t: i64[3,9] stack\n"
    "    for d in 0..3 {\n"
    "      var s: i64 = 0:i64\n"
    "      for c in 0..9 { s = s + %x[b,c] * d\n %t[d,c] = s }}\n"
    "    for j in 0..9 { %y[b,j] = %t[j % 3,j] }}}",
};

/* ---- the pieces a verb can be about ---- */

typedef struct pieces {
    sinter_loop_var loops[64], scalars[64];
    uint32_t loop_count, scalar_count;
} pieces;

static bool collect(void *user, sinter_loop_stmt *stmt) {
    pieces *p = user;
    if (stmt->kind == SINTER_LOOP_FOR && p->loop_count < 64) p->loops[p->loop_count++] = stmt->var;
    if (stmt->kind == SINTER_LOOP_DECLARE && p->scalar_count < 64)
        p->scalars[p->scalar_count++] = stmt->var;
    return true;
}

typedef struct trial {
    uint64_t random;
    sinter_schedule *schedule;
    pieces pieces;
    sinter_text log;
    uint64_t verb; /* the last */
    sinter_loop_check_packing packings[MAX_VERBS];
    size_t packing_count;
} trial;

static uint64_t below(trial *t, uint64_t limit) {
    uint64_t bits = sinter_splitmix(&t->random);
    return limit ? bits % limit : 0;
}

static sinter_loop_var any_loop(trial *t) {
    return t->pieces.loop_count ? t->pieces.loops[below(t, t->pieces.loop_count)] : 0;
}

static sinter_loop_var any_scalar(trial *t) {
    return t->pieces.scalar_count ? t->pieces.scalars[below(t, t->pieces.scalar_count)] : 0;
}

static sinter_loop_buffer any_buffer(trial *t) {
    return (sinter_loop_buffer)(1 + below(t, t->schedule->function->buffers.count - 1));
}

/* What a kernel keeps to itself, where it has such. */
static sinter_loop_buffer any_scratch(trial *t) {
    for (int tries = 0; tries < 8; tries++) {
        sinter_loop_buffer buffer = any_buffer(t);
        if (t->schedule->function->buffers.items[buffer].scope == SINTER_SCOPE_STACK) return buffer;
    }
    return any_buffer(t);
}

/* The loop that is all that the body of this one has, where it is so. */
static sinter_loop_var inner_of(trial *t, sinter_loop_var loop) {
    const sinter_loop_stmt *stmt = sinter_schedule_get_loop(t->schedule->function, loop);
    const sinter_loop_stmt *inner = stmt ? stmt->body : NULL;
    return inner && inner->kind == SINTER_LOOP_FOR ? inner->var : any_loop(t);
}

static bool tile(trial *t, sinter_loop_var loop) {
    static const int64_t columns[] = {2, 4, 8};
    int64_t vector = (int64_t)1 << below(t, 3);
    sinter_register_tile asked = {.m = below(t, 3) ? loop : 0,
                                  .n = inner_of(t, loop),
                                  .accumulator = any_scalar(t),
                                  .tile_m = 1 + (int64_t)below(t, 3),
                                  .tile_n = columns[below(t, 3)],
                                  .vector = vector};
    return sinter_schedule_register_tile(t->schedule, &asked);
}

static bool pack_scratch(trial *t, sinter_loop_var loop) {
    sinter_scratch_packing asked = {.buffer = any_buffer(t), .loop = loop};
    asked.order_count = (uint32_t)below(t, 3);
    asked.order[0] = asked.order_count > 1;
    return sinter_schedule_pack_scratch(t->schedule, &asked);
}

static bool block_reduction(trial *t, sinter_loop_var loop) {
    sinter_reduction_blocks asked = {.m = below(t, 3) ? loop : 0,
                                     .n = inner_of(t, loop),
                                     .accumulator = any_scalar(t),
                                     .size = 1 + (int64_t)below(t, 5)};
    return sinter_schedule_block_reduction(t->schedule, &asked);
}

static bool narrow(trial *t, sinter_loop_var loop) {
    bool done = false;
    for (int tries = 0; tries < 4 && !done; tries++) {
        sinter_narrow_sum asked = {.loop = any_loop(t),
                                   .accumulator = any_scalar(t),
                                   .outer = below(t, 2) ? loop : 0,
                                   .steps = (int64_t)below(t, 6)};
        done = sinter_schedule_narrow(t->schedule, &asked);
    }
    return done;
}

static bool split_sum(trial *t) {
    bool done = false;
    for (int tries = 0; tries < 8 && !done; tries++) {
        const sinter_loop_var nest = any_loop(t);
        done = sinter_schedule_split_sum(t->schedule, nest, any_loop(t), 2 + (int64_t)below(t, 2),
                                         below(t, 2) ? inner_of(t, nest) : 0);
    }
    return done;
}

static bool split_reduction(trial *t) {
    bool done = false;
    for (int tries = 0; tries < 8 && !done; tries++)
        done = sinter_schedule_split_reduction(t->schedule, any_loop(t), 2 + (int64_t)below(t, 4),
                                               1 + (int64_t)below(t, 3), NULL, NULL);
    return done;
}

/* Both loops have to be parallel. */
static bool join(trial *t, sinter_loop_var loop) {
    const sinter_loop_stmt *stmt = sinter_schedule_get_loop(t->schedule->function, loop);
    const sinter_loop_stmt *next = stmt ? stmt->next : NULL;
    if (!next || next->kind != SINTER_LOOP_FOR) return sinter_schedule_join(t->schedule, loop);
    sinter_schedule_parallelize(t->schedule, loop);
    sinter_schedule_parallelize(t->schedule, next->var);
    return sinter_schedule_join(t->schedule, next->var);
}

/* Few loops use one element of a buffer alone. */
static bool scalarize(trial *t) {
    bool done = false;
    for (int tries = 0; tries < 4 && !done; tries++)
        done = sinter_schedule_scalarize(t->schedule, any_scratch(t), any_loop(t), NULL);
    return done;
}

/* Joined before, where that may be. */
static bool unite(trial *t, sinter_loop_var loop) {
    const sinter_loop_stmt *stmt = sinter_schedule_get_loop(t->schedule->function, loop);
    const sinter_loop_stmt *next = stmt ? stmt->next : NULL;
    if (!next || next->kind != SINTER_LOOP_FOR) return sinter_schedule_unite(t->schedule, loop);
    if (!next->joined) join(t, loop);
    return sinter_schedule_unite(t->schedule, next->var);
}

/* With a loop behind it in its block, the next one as a rule. A loop of its own may be cut off before, so that the first is ahead. */
static bool weave(trial *t, sinter_loop_var loop) {
    sinter_schedule *s = t->schedule;
    sinter_loop_var second = 0;
    const sinter_loop_stmt *stmt = sinter_schedule_get_loop(s->function, loop);
    for (stmt = stmt ? stmt->next : NULL; stmt; stmt = stmt->next)
        if (stmt->kind == SINTER_LOOP_FOR && (!second || below(t, 3) == 0)) second = stmt->var;
    if (second && below(t, 4) == 0) {
        sinter_schedule_cut(s, loop, 1, NULL, &loop);
        sinter_schedule_cut_end(s, second, 1, &second, NULL);
    }
    return below(t, 4) ? sinter_schedule_weave(s, loop, second)
                       : sinter_schedule_follow(s, loop, second);
}

/* The axes in any order, each whole or in blocks. */
static bool pack(trial *t) {
    sinter_loop_buffer buffer = any_buffer(t);
    uint32_t order[SINTER_MAX_RANK], rank = t->schedule->function->buffers.items[buffer].rank;
    int64_t blocks[SINTER_MAX_RANK];
    sinter_loop_check_packing *packing = &t->packings[t->packing_count];
    for (uint32_t i = 0; i < rank; i++) {
        uint32_t at = (uint32_t)below(t, i + 1);
        order[i] = order[at];
        order[at] = i;
        blocks[i] = (int64_t)1 << below(t, 3);
    }
    if (below(t, 3) == 0)
        return sinter_schedule_pack_input(t->schedule, buffer, order, blocks, NULL);
    bool packs = sinter_loop_describe_packing(t->schedule->function, buffer, packing) &&
                 sinter_schedule_pack(t->schedule, buffer, order, blocks, &packing->layout);
    t->packing_count += packs;
    return packs;
}

/* One verb with arguments that may fit; whether it was accepted. */
static bool apply(trial *t) {
    static const int64_t factors[] = {1, 2, 3, 4, 5, 8, 16};
    sinter_schedule *s = t->schedule;
    sinter_loop_var loop = any_loop(t), inner = inner_of(t, loop), pair[2] = {inner, loop};
    int64_t factor = factors[below(t, 7)];
    uint64_t verb = t->verb = below(t, VERBS);
    sinter_text_format(&t->log, " verb %d loop %u factor %d;", (int)verb, loop, (int)factor);
    switch (verb) {
    case 0:
        return sinter_schedule_split_parts(s, loop, factor, 1 + (int64_t)below(t, 3), NULL, NULL);
    case 1:
        return sinter_schedule_split(s, loop, factor, (sinter_schedule_tail)below(t, 3), NULL, NULL,
                                     NULL);
    case 2:
        return sinter_schedule_reorder(s, pair, 2);
    case 3:
        return sinter_schedule_fuse(s, loop, inner, NULL);
    case 4:
        return sinter_schedule_collapse(s, loop, inner, NULL);
    case 5:
        return below(t, 2) ? sinter_schedule_flatten(s, any_buffer(t))
                           : sinter_schedule_merge(s, any_buffer(t), (uint32_t)below(t, 3),
                                                   2 + (uint32_t)below(t, 2));
    case 6:
        return sinter_schedule_fission(s, loop, 1 + below(t, 3), NULL);
    case 7:
        return sinter_schedule_unroll(s, loop);
    case 8:
    case 9:
        return sinter_schedule_vectorize(s, loop);
    case 10:
        return sinter_schedule_parallelize(s, loop);
    case 11:
        return sinter_schedule_partial(s, loop, (int64_t)2 << below(t, 4),
                                       (sinter_schedule_lanes)below(t, 3));
    case 12:
        return sinter_schedule_expand(s, any_scalar(t), &loop, 1, NULL);
    case 13:
        return sinter_schedule_promote(s, any_scratch(t));
    case 14:
        return sinter_schedule_hoist(s, loop);
    case 15:
        return sinter_schedule_inline(s, any_scalar(t));
    case 16:
        return sinter_schedule_prefetch(s, inner_of(t, inner), loop, any_loop(t), 16);
    case 17:
        return sinter_schedule_cut(s, loop, factor, NULL, NULL);
    case 18:
        return below(t, 2) ? sinter_schedule_specialize(s, loop, NULL)
                           : sinter_schedule_guard(s, loop);
    case 19:
        return join(t, loop);
    case 20:
    case 21:
        return pack_scratch(t, loop);
    case 22:
        return sinter_schedule_fork(s, loop, below(t, 2) ? inner : any_loop(t), factor);
    case 23:
        if (below(t, 2))
            return sinter_schedule_ring(s, any_scratch(t), (uint32_t)below(t, 2),
                                        (int64_t)1 << below(t, 5));
        return below(t, 2) ? scalarize(t) : sinter_schedule_lift_scratch(s, any_scratch(t), loop);
    case 24:
    case 25:
        return block_reduction(t, loop);
    case 26:
    case 27:
    case 28:
        return sinter_schedule_compute_at(s, any_scratch(t), loop);
    case 29:
        return unite(t, loop);
    case 30:
        return pack(t);
    case 31:
        return sinter_schedule_cut_end(s, loop, 1 + (int64_t)below(t, 3), NULL, NULL);
    case 32:
    case 33:
    case 34:
        return weave(t, loop);
    case 35:
    case 36:
        return narrow(t, loop);
    case 37:
        return split_sum(t);
    case 38:
        return split_reduction(t);
    default:
        return tile(t, loop);
    }
}

/* ---- sequences ---- */

static sinter_loop_program *parse(const char *text) {
    sinter_text whole = {0}, errors = {0};
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &errors};
    sinter_text_format(&whole, "program \"property\" {\n%s\n}\n", text);
    sinter_loop_program *program = sinter_loop_parse("kernel", whole.data, whole.size, &diag);
    if (!program) printf("%s\n", errors.data);
    sinter_text_deinit(&whole);
    sinter_text_deinit(&errors);
    return program;
}

static bool same(const sinter_loop_program *before, const sinter_loop_program *after,
                 const trial *t, uint64_t seed, sinter_diag *diag) {
    sinter_loop_check_options options = {.seed = seed,
                                         .size = 1 + (int64_t)(seed % 13),
                                         .packings = t->packings,
                                         .packing_count = t->packing_count};
    return sinter_loop_verify(after, diag) &&
           sinter_loop_check_equal(before, before->kernels.items[0], after, after->kernels.items[0],
                                   &options, NULL, diag);
}

/* accepted: by verb */
static bool run(uint64_t seed, uint64_t *accepted) {
    size_t which = seed % (sizeof kernels / sizeof *kernels);
    sinter_loop_program *before = parse(kernels[which]), *after = parse(kernels[which]);
    if (!CHECK(before && after)) return false;
    sinter_text errors = {0};
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &errors};
    sinter_schedule schedule;
    sinter_schedule_init(&schedule, after, after->kernels.items[0]);
    trial t = {.schedule = &schedule, .random = seed};
    uint64_t verbs = 1 + below(&t, MAX_VERBS);
    bool good = true;
    for (uint64_t i = 0; i < verbs && good; i++) {
        t.pieces = (pieces){0};
        sinter_loop_walk(schedule.function->body, collect, &t.pieces);
        if (!apply(&t)) continue;
        accepted[t.verb]++;
        if (below(&t, 6) == 0) sinter_schedule_simplify(&schedule);
        good = same(before, after, &t, seed, &diag);
    }
    if (!good) {
        sinter_text text = {0};
        sinter_loop_print(after, &text);
        printf("seed %llu:%s\n%s%s\n", (unsigned long long)seed, t.log.data, errors.data,
               text.data);
        sinter_text_deinit(&text);
    }
    CHECK(good);
    sinter_text_deinit(&errors);
    sinter_text_deinit(&t.log);
    sinter_schedule_deinit(&schedule);
    sinter_loop_program_destroy(before);
    sinter_loop_program_destroy(after);
    return good;
}

int main(int argc, char **argv) {
    enum { ENOUGH = 15000 };
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 2 * ENOUGH;
    uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1, accepted[VERBS] = {0};
    for (uint64_t i = 0; i < count; i++) run(first + i, accepted);
    for (int verb = 0; verb < VERBS && count >= ENOUGH; verb++) /* none is refused always */
        if (!CHECK(accepted[verb] >= 10))
            printf("verb %d: accepted %llu times\n", verb, (unsigned long long)accepted[verb]);
    return test_finish();
}
