/* Memory plan of a program: every heap buffer whose size follows from the entry symbols gets a place in one workspace.
 *
 * A size is a constant times a symbolic factor ("3072 * seq"). Buffers of one factor form a group and are packed like
 * static ones, in units of the factor, so a plan over symbols reuses memory as well as a static one. Groups that are
 * never alive together share their place as a whole. Everything is a multiple of 64 bytes. Buffers whose size only the
 * run knows keep no offset: they are allocated then, and freed after their last use by a FREE added here.
 * Test: tests/unit/plan_memory_test.c, the suites */
#include "codegen/plan_memory.h"
#include "codegen/compile.h"
#include "codegen/loops/rewrite.h"

#include <stdlib.h>

enum {
    ALIGNMENT = 64,
    ROUND_COEFFICIENT = 16 * ALIGNMENT, /* from here on rounding the coefficient up costs little */
    TYPICAL = 128 /* what an unbounded symbol is taken for when sizes are compared */
};

typedef struct group {
    uint64_t hash;
    sinter_expr factor; /* NULL: 1 */
    SINTER_VECTOR(sinter_loop_buffer) buffers;
    SINTER_VECTOR(sinter_plan_item) items;
    uint64_t units; /* bytes per unit of the factor, packed */
    uint64_t typical;
    uint32_t slot;
} group;

typedef struct slot {
    SINTER_VECTOR(uint32_t) groups;
    sinter_expr offset;
} slot;

typedef struct planner {
    sinter_loop_program *program;
    sinter_loop_function *host;
    sinter_arena scratch;
    sinter_loop_map map; /* variables that are expressions over the symbols */
    bool *taken;         /* by buffer: gives or gets memory by TAKE, which the workspace can't */
    bool *known;         /* by variable: a symbol, or in the map */
    const sinter_plan_lifetime *lifetimes;
    SINTER_VECTOR(group) groups;
    SINTER_VECTOR(slot) slots;
} planner;

/* ---- expressions over symbols ---- */

static bool is_known(const planner *p, sinter_expr expr) {
    if (expr->kind == SINTER_LOOP_LOAD || expr->kind == SINTER_LOOP_INTRINSIC) return false;
    if (expr->kind == SINTER_LOOP_VAR && !p->known[expr->var]) return false;
    for (uint32_t i = 0; i < expr->argument_count; i++)
        if (!is_known(p, expr->arguments[i])) return false;
    return true;
}

/* Lets that follow from the symbols alone, anywhere in the host. */
static bool learn_let(void *user, sinter_loop_stmt *s) {
    planner *p = user;
    if (s->kind != SINTER_LOOP_DECLARE || p->host->vars.items[s->var].is_mutable ||
        p->host->vars.items[s->var].dtype != SINTER_DTYPE_i64 || !is_known(p, s->value))
        return true;
    p->known[s->var] = true;
    sinter_loop_map_var(&p->map, s->var, sinter_loop_map_expr(&p->map, s->value));
    return true;
}

static bool find_taken(void *user, sinter_loop_stmt *s) {
    planner *p = user;
    if (s->kind == SINTER_LOOP_TAKE) p->taken[s->buffer] = p->taken[s->source] = true;
    return true;
}

static bool is_natural(const planner *p, sinter_expr expr) {
    int64_t value, low, high;
    if (sinter_loop_is_const_int(expr, &value)) return value >= 0;
    if (expr->kind == SINTER_LOOP_VAR)
        for (size_t i = 0; i < p->program->symbols.count; i++)
            if (p->host->scalar_parameters.items[i] == expr->var) {
                const sinter_loop_symbol *symbol = &p->program->symbols.items[i];
                return !symbol->content || symbol->min >= 0; /* dims are checked on entry */
            }
    bool closed = sinter_loop_is_call(expr, SINTER_SCALAR_add) ||
                  sinter_loop_is_call(expr, SINTER_SCALAR_mul) ||
                  sinter_loop_is_call(expr, SINTER_SCALAR_min) ||
                  sinter_loop_is_call(expr, SINTER_SCALAR_max);
    for (uint32_t i = 0; i < expr->argument_count && closed; i++)
        closed = is_natural(p, expr->arguments[i]);
    return closed || (sinter_loop_range(p->host, expr, &low, &high) && low >= 0);
}

static uint64_t hash_expr(sinter_expr expr, uint64_t seed) {
    uint64_t words[] = {(uint64_t)expr->kind, (uint64_t)expr->dtype, 0};
    if (expr->kind == SINTER_LOOP_CONST) words[2] = (uint64_t)expr->int_value;
    if (expr->kind == SINTER_LOOP_VAR) words[2] = expr->var;
    if (expr->kind == SINTER_LOOP_CALL) words[2] = (uint64_t)expr->function;
    uint64_t hash = sinter_hash(words, sizeof words, seed);
    for (uint32_t i = 0; i < expr->argument_count; i++) hash = hash_expr(expr->arguments[i], hash);
    return hash;
}

typedef struct factor {
    uint64_t hash;
    sinter_expr expr;
} factor;
typedef struct product {
    int64_t constant;
    bool overflows;
    SINTER_VECTOR(factor) factors;
} product;

static void multiply(planner *p, product *out, sinter_expr expr) {
    int64_t value;
    if (sinter_loop_is_const_int(expr, &value)) {
        out->overflows |= value < 0 || __builtin_mul_overflow(out->constant, value, &out->constant);
    } else if (sinter_loop_is_call(expr, SINTER_SCALAR_mul)) {
        multiply(p, out, expr->arguments[0]);
        multiply(p, out, expr->arguments[1]);
    } else {
        if (!is_natural(p, expr))
            expr = sinter_loop_max(&p->map.builder, expr, sinter_loop_int(&p->map.builder, 0));
        factor one = {hash_expr(expr, 0), expr};
        sinter_vector_push(&p->scratch, &out->factors, one);
    }
}

static int compare_factors(const void *a, const void *b) {
    const factor *x = a, *y = b;
    return (x->hash > y->hash) - (x->hash < y->hash);
}

/* A value of the right order, to compare sizes by. */
static uint64_t estimate(const planner *p, sinter_expr expr) {
    int64_t value;
    if (!expr) return 1;
    if (sinter_loop_is_const_int(expr, &value)) return value > 0 ? (uint64_t)value : 0;
    if (expr->kind == SINTER_LOOP_VAR)
        for (size_t i = 0; i < p->program->symbols.count; i++) {
            const sinter_loop_symbol *symbol = &p->program->symbols.items[i];
            if (p->host->scalar_parameters.items[i] != expr->var) continue;
            int64_t guess = symbol->max < 1 << 20 ? symbol->max : TYPICAL;
            guess = guess < symbol->min ? symbol->min : guess;
            return guess > 0 ? (uint64_t)guess : 0;
        }
    if (expr->argument_count != 2) return TYPICAL;
    uint64_t a = estimate(p, expr->arguments[0]), b = estimate(p, expr->arguments[1]), result;
    if (sinter_loop_is_call(expr, SINTER_SCALAR_mul))
        return __builtin_mul_overflow(a, b, &result) ? UINT64_MAX / 2 : result;
    if (sinter_loop_is_call(expr, SINTER_SCALAR_div)) return b ? a / b : a;
    if (sinter_loop_is_call(expr, SINTER_SCALAR_sub)) return a > b ? a - b : 0;
    return a > b ? a : b;
}

/* ---- groups ---- */

/* The size of a buffer as units * factor bytes, padded; false where it is not known ahead. */
static bool find_size(planner *p, sinter_loop_buffer buffer, uint64_t *out_units,
                      sinter_expr *out_factor) {
    const sinter_loop_buffer_info *info = &p->host->buffers.items[buffer];
    sinter_loop_builder *b = &p->map.builder;
    uint32_t bits = sinter_dtype_infos[info->dtype].bits;
    product size = {.constant = 1};
    for (uint32_t k = 0; k < info->rank; k++) {
        if (!is_known(p, info->dims[k])) return false;
        multiply(p, &size, sinter_loop_map_expr(&p->map, info->dims[k]));
    }
    if (size.overflows || size.constant > INT64_MAX / 1024) return false;
    if (size.constant == 0) size.factors.count = 0;
    if (!size.factors.count) {
        uint64_t bytes = ((uint64_t)size.constant * bits + 7) / 8;
        *out_units = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        *out_factor = NULL;
        return true;
    }
    qsort(size.factors.items, size.factors.count, sizeof *size.factors.items, compare_factors);
    sinter_expr whole = size.factors.items[0].expr;
    for (size_t i = 1; i < size.factors.count; i++)
        whole = sinter_loop_mul(b, whole, size.factors.items[i].expr);
    int64_t total_bits = size.constant * bits;
    if (total_bits % (8 * ALIGNMENT) == 0 || total_bits >= 8 * ROUND_COEFFICIENT) {
        *out_units = (uint64_t)(total_bits + 8 * ALIGNMENT - 1) / (8 * ALIGNMENT) * ALIGNMENT;
        *out_factor = whole;
        return true;
    }
    sinter_expr padded =
        sinter_loop_add(b, sinter_loop_mul(b, whole, sinter_loop_int(b, total_bits)),
                        sinter_loop_int(b, 8 * ALIGNMENT - 1));
    *out_units = ALIGNMENT;
    *out_factor = sinter_loop_div(b, padded, sinter_loop_int(b, 8 * ALIGNMENT));
    return true;
}

static group *find_group(planner *p, sinter_expr whole) {
    uint64_t hash = whole ? hash_expr(whole, 0) : 0;
    for (size_t i = 0; i < p->groups.count; i++) {
        group *one = &p->groups.items[i];
        bool both = whole && one->factor;
        if (one->hash == hash &&
            (both ? sinter_loop_expr_equal(one->factor, whole) : whole == one->factor))
            return one;
    }
    group fresh = {.hash = hash, .factor = whole};
    sinter_vector_push(&p->scratch, &p->groups, fresh);
    return &p->groups.items[p->groups.count - 1];
}

static void collect_groups(planner *p) {
    for (sinter_loop_buffer i = 1; i < p->host->buffers.count; i++) {
        if (!p->lifetimes[i].allocated || p->taken[i]) continue;
        sinter_plan_item item = {.first = p->lifetimes[i].first, .last = p->lifetimes[i].last};
        sinter_expr whole = NULL;
        if (!find_size(p, i, &item.size, &whole)) continue;
        group *one = find_group(p, whole);
        sinter_vector_push(&p->scratch, &one->buffers, i);
        sinter_vector_push(&p->scratch, &one->items, item);
    }
    for (size_t i = 0; i < p->groups.count; i++) {
        group *one = &p->groups.items[i];
        one->units = sinter_plan_pack(one->items.items, one->items.count, &p->scratch);
        if (__builtin_mul_overflow(one->units, estimate(p, one->factor), &one->typical))
            one->typical = UINT64_MAX;
    }
}

/* ---- slots: groups that are never alive together share one ---- */

static bool meet(const group *a, const group *b) {
    for (size_t i = 0; i < a->items.count; i++)
        for (size_t k = 0; k < b->items.count; k++)
            if (a->items.items[i].first <= b->items.items[k].last &&
                b->items.items[k].first <= a->items.items[i].last)
                return true;
    return false;
}

static bool fits(const planner *p, const slot *where, const group *one) {
    for (size_t i = 0; i < where->groups.count; i++)
        if (meet(&p->groups.items[where->groups.items[i]], one)) return false;
    return true;
}

/* Largest first, so that the tightest slot that is free is the last one. */
static void assign_slots(planner *p) {
    bool *done = SINTER_NEW_ARRAY(&p->scratch, bool, p->groups.count);
    for (size_t round = 0; round < p->groups.count; round++) {
        uint32_t pick = UINT32_MAX;
        for (uint32_t i = 0; i < p->groups.count; i++)
            if (!done[i] &&
                (pick == UINT32_MAX || p->groups.items[i].typical > p->groups.items[pick].typical))
                pick = i;
        done[pick] = true;
        size_t at = p->slots.count;
        while (at > 0 && !fits(p, &p->slots.items[at - 1], &p->groups.items[pick])) at--;
        if (at == 0) {
            slot fresh = {0};
            sinter_vector_push(&p->scratch, &p->slots, fresh);
            at = p->slots.count;
        }
        p->groups.items[pick].slot = (uint32_t)(at - 1);
        sinter_vector_push(&p->scratch, &p->slots.items[at - 1].groups, pick);
    }
}

static sinter_expr times_factor(planner *p, const group *one, uint64_t units) {
    sinter_expr value = sinter_loop_int(&p->map.builder, (int64_t)units);
    return one->factor ? sinter_loop_mul(&p->map.builder, one->factor, value) : value;
}

/* In front of the host's statements, where the symbols are known: each allocation in a slot reads where it begins. */
static sinter_expr name_offset(planner *p, sinter_loop_stmt ***tail, sinter_expr offset) {
    int64_t number;
    if (sinter_loop_is_const_int(offset, &number)) return offset;
    sinter_loop_builder *b = &p->map.builder;
    b->tail = *tail;
    sinter_loop_var var = sinter_loop_declare(b, "slot", false, offset);
    *tail = b->tail;
    return sinter_loop_var_read(b, var);
}

/* Bytes of a slot with these groups: a balanced tree of maxima, which nests as little as it can. */
static sinter_expr largest(planner *p, const uint32_t *groups, size_t count) {
    const group *first = &p->groups.items[groups[0]];
    if (count == 1) return times_factor(p, first, first->units);
    size_t half = (count + 1) / 2;
    return sinter_loop_max(&p->map.builder, largest(p, groups, half),
                           largest(p, groups + half, count - half));
}

static void set_offsets(planner *p) {
    sinter_loop_builder *b = &p->map.builder;
    sinter_expr total = sinter_loop_int(b, 0);
    sinter_loop_stmt **tail = &p->host->body;
    for (size_t i = 0; i < p->slots.count; i++) {
        slot *one = &p->slots.items[i];
        one->offset = name_offset(p, &tail, total);
        total = sinter_loop_add(b, total, largest(p, one->groups.items, one->groups.count));
    }
    p->program->workspace_bytes = total;
    for (size_t i = 0; i < p->groups.count; i++) {
        const group *one = &p->groups.items[i];
        for (size_t k = 0; k < one->buffers.count; k++)
            p->lifetimes[one->buffers.items[k]].alloc->value =
                sinter_loop_add(b, p->slots.items[one->slot].offset,
                                times_factor(p, one, one->items.items[k].offset));
    }
}

/* ---- what stays with the allocator ---- */

static void free_late(planner *p) {
    for (sinter_loop_buffer i = 1; i < p->host->buffers.count; i++) {
        const sinter_plan_lifetime *life = &p->lifetimes[i];
        if (!life->allocated || life->alloc->value || !life->after) continue;
        sinter_loop_stmt *release = SINTER_NEW(&p->program->arena, sinter_loop_stmt);
        *release =
            (sinter_loop_stmt){.kind = SINTER_LOOP_FREE, .buffer = i, .next = life->after->next};
        life->after->next = release;
    }
}

/* ---- outputs that may take the memory of an input ---- */

static bool same_size(const sinter_loop_buffer_info *a, const sinter_loop_buffer_info *b) {
    bool same = a->rank == b->rank &&
                sinter_dtype_infos[a->dtype].bits == sinter_dtype_infos[b->dtype].bits;
    for (uint32_t k = 0; k < a->rank && same; k++)
        same = sinter_loop_expr_equal(a->dims[k], b->dims[k]);
    return same;
}

/* Dead before the output is there, or read by nothing any more once the output was made of it. */
static bool may_donate(const planner *p, sinter_loop_buffer in, sinter_loop_buffer out,
                       bool by_copy) {
    const sinter_plan_lifetime *given = &p->lifetimes[in], *taken = &p->lifetimes[out];
    if (by_copy) return taken->copied_from == in && given->last <= taken->copied_at;
    return given->last < taken->first;
}

/* To each output the first input that fits: the one that it is a copy of before all others. */
static void find_donations(planner *p) {
    bool *used = SINTER_NEW_ARRAY(&p->scratch, bool, p->host->buffers.count);
    for (int pass = 0; pass < 2; pass++)
        for (sinter_loop_buffer out = 1; out < p->host->buffers.count; out++) {
            const sinter_loop_buffer_info *output = &p->host->buffers.items[out];
            if (output->scope != SINTER_SCOPE_OUTPUT || !p->lifetimes[out].first || used[out])
                continue;
            for (sinter_loop_buffer in = 1; in < p->host->buffers.count && !used[out]; in++) {
                const sinter_loop_buffer_info *input = &p->host->buffers.items[in];
                if (input->scope != SINTER_SCOPE_INPUT || used[in] || !same_size(output, input) ||
                    !may_donate(p, in, out, pass == 0))
                    continue;
                sinter_loop_donation donation = {(uint32_t)output->io_index,
                                                 (uint32_t)input->io_index};
                sinter_vector_push(&p->program->arena, &p->program->donations, donation);
                used[in] = used[out] = true;
            }
        }
}

bool sinter_plan_memory(sinter_loop_program *program, sinter_diag *diag) {
    planner p = {.program = program, .host = program->host};
    sinter_arena_init(&p.scratch);
    p.lifetimes = sinter_plan_lifetimes(program, &p.scratch, diag);
    if (p.lifetimes) {
        sinter_loop_map_init(&p.map, program, p.host);
        p.known = SINTER_NEW_ARRAY(&p.scratch, bool, p.host->vars.count);
        for (size_t i = 0; i < program->symbols.count; i++)
            p.known[p.host->scalar_parameters.items[i]] = true;
        sinter_loop_walk(p.host->body, learn_let, &p);
        p.taken = SINTER_NEW_ARRAY(&p.scratch, bool, p.host->buffers.count);
        sinter_loop_walk(p.host->body, find_taken, &p);
        collect_groups(&p);
        assign_slots(&p);
        set_offsets(&p);
        free_late(&p);
        find_donations(&p);
    }
    sinter_arena_deinit(&p.scratch);
    return p.lifetimes != NULL;
}
