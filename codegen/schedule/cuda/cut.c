/* Cuts kernels into what one launch can do: blocks of a launch can't wait for each other, so each nest at the top level of a
 * kernel becomes a kernel of its own, and the host calls them one after the other. So do exchanges of ranks, which are no
 * launches at all; loops around them become loops of the host (lift.c).
 *
 * Values that are named from parameters alone are named again in each part. Statements that share a variable otherwise stay
 * together. Scratch that several parts use becomes memory of the host's plan. Test: tests/codegen/schedule/cuda.loops */
#include "codegen/loops/uses.h"
#include "codegen/schedule/cuda.h"

#include <string.h>

enum { LARGEST_SCRATCH = 4096 }; /* bytes of a thread */

typedef struct piece {
    uint32_t kernel;                           /* index in the program */
    SINTER_VECTOR(uint32_t) parameters;        /* of the buffers it had: which are left, in order */
    SINTER_VECTOR(sinter_loop_buffer) scratch; /* buffers of the cut kernel that come after them */
} piece;

typedef struct cut {
    sinter_loop_program *program;
    sinter_arena scratch;
    sinter_loop_function *kernel; /* being cut; it stays as it was */
    uint32_t index, count;        /* statements at its top level */
    sinter_loop_stmt **stmts;
    uint32_t *parts; /* by statement; SHARED: in each that needs it */
    uint32_t part_count;
    bool *moved; /* by buffer: scratch that becomes the host's */
    SINTER_VECTOR(piece) pieces;
} cut;

#define SHARED UINT32_MAX

/* ---- which statement goes where ---- */

static bool names_only(const cut *c, sinter_expr expr) {
    if (expr->kind == SINTER_LOOP_LOAD) return false;
    if (expr->kind == SINTER_LOOP_VAR) {
        if (c->kernel->vars.items[expr->var].is_parameter) return true;
        for (uint32_t i = 0; i < c->count; i++)
            if (c->stmts[i]->kind == SINTER_LOOP_DECLARE && c->stmts[i]->var == expr->var)
                return c->parts[i] == SHARED;
        return false;
    }
    for (uint32_t i = 0; i < expr->argument_count; i++)
        if (!names_only(c, expr->arguments[i])) return false;
    return true;
}

static void merge(cut *c, uint32_t first, uint32_t last) {
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->parts[i] == SHARED) continue;
        if (c->parts[i] > last)
            c->parts[i] -= last - first;
        else if (c->parts[i] > first)
            c->parts[i] = first;
    }
    c->part_count -= last - first;
}

/* A variable leads from one part to another: all between stay together. */
static void merge_users(cut *c) {
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->stmts[i]->kind != SINTER_LOOP_DECLARE || c->parts[i] == SHARED) continue;
        for (uint32_t k = i + 1; k < c->count; k++) {
            sinter_loop_stmt alone = *c->stmts[k];
            alone.next = NULL;
            bool uses = sinter_loop_list_uses(c->kernel, &alone, c->stmts[i]->var) ||
                        sinter_loop_list_assigns(&alone, c->stmts[i]->var);
            if (uses && c->parts[k] != SHARED && c->parts[k] > c->parts[i])
                merge(c, c->parts[i], c->parts[k]);
        }
    }
}

static void find_parts(cut *c) {
    for (const sinter_loop_stmt *s = c->kernel->body; s; s = s->next) c->count++;
    c->stmts = SINTER_NEW_ARRAY(&c->scratch, sinter_loop_stmt *, c->count);
    c->parts = SINTER_NEW_ARRAY(&c->scratch, uint32_t, c->count);
    uint32_t i = 0, part = 0;
    bool complete = false,
         begun = false; /* the part has its nest or exchange; something that runs */
    for (sinter_loop_stmt *s = c->kernel->body; s; s = s->next, i++) {
        c->stmts[i] = s;
        bool names = s->kind == SINTER_LOOP_DECLARE && names_only(c, s->value) &&
                     !c->kernel->vars.items[s->var].is_mutable;
        if (names || s->kind == SINTER_LOOP_ALLOC) {
            c->parts[i] = SHARED;
            continue;
        }
        const bool exchanges = s->kind == SINTER_LOOP_EXCHANGE;
        /* A loop in which ranks exchange is alone, too: it becomes the host's. */
        const bool apart =
            exchanges || (s->kind == SINTER_LOOP_FOR && sinter_loop_exchanges(s->body));
        const bool next = complete || (apart && begun);
        part += next;
        complete = exchanges || s->kind == SINTER_LOOP_FOR;
        begun = (begun && !next) || s->kind != SINTER_LOOP_COMMENT;
        c->parts[i] = part;
    }
    c->part_count = part + 1;
    merge_users(c);
}

/* ---- scratch ---- */

static sinter_loop_uses uses_of(cut *c, const sinter_loop_function *function,
                                const sinter_loop_stmt *first) {
    sinter_loop_uses uses;
    sinter_loop_find_uses(&c->scratch, function, first, &uses);
    return uses;
}

static void find_moved(cut *c) {
    c->moved = SINTER_NEW_ARRAY(&c->scratch, bool, c->kernel->buffers.count);
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->stmts[i]->kind != SINTER_LOOP_ALLOC) continue;
        sinter_loop_buffer buffer = c->stmts[i]->buffer;
        const sinter_loop_buffer_info *info = &c->kernel->buffers.items[buffer];
        uint64_t bytes;
        bool small = sinter_loop_static_bytes(info, &bytes) && bytes <= LARGEST_SCRATCH;
        uint32_t first = SHARED, last = 0;
        for (uint32_t k = 0; k < c->count; k++) {
            sinter_loop_stmt alone = *c->stmts[k];
            alone.next = NULL;
            if (c->parts[k] == SHARED || !uses_of(c, c->kernel, &alone).buffers[buffer]) continue;
            small = small && !sinter_loop_exchanges(&alone); /* it will be several kernels */
            if (c->parts[k] < first) first = c->parts[k];
            if (c->parts[k] > last) last = c->parts[k];
        }
        bool sizes = true;
        for (uint32_t k = 0; k < info->rank; k++)
            sizes &= sinter_loop_expr_over_parameters(c->kernel, info->dims[k]);
        if (first == SHARED || (small && first == last)) continue;
        if (sizes)
            c->moved[buffer] = true;
        else if (first != last)
            merge(c, first, last);
    }
}

/* ---- the parts as kernels ---- */

typedef struct store_search {
    sinter_loop_buffer buffer;
    bool found;
} store_search;

static bool find_store(void *user, sinter_loop_stmt *stmt) {
    store_search *search = user;
    search->found |= (stmt->kind == SINTER_LOOP_STORE || stmt->kind == SINTER_LOOP_EXCHANGE) &&
                     stmt->buffer == search->buffer;
    return !search->found;
}

static bool stores(sinter_loop_stmt *first, sinter_loop_buffer buffer) {
    store_search search = {.buffer = buffer};
    sinter_loop_walk(first, find_store, &search);
    return search.found;
}

static bool is_taken(const cut *c, const char *name) {
    for (size_t i = 0; i < c->program->kernels.count; i++)
        if (!strcmp(c->program->kernels.items[i]->name, name)) return true;
    return false;
}

/* The kernel's name with this number, or a later one: parts may be cut again. */
static const char *name_part(const cut *c, uint32_t number) {
    const char *name;
    do {
        name = sinter_arena_format(&c->program->arena, "%s_part%u", c->kernel->name, number++);
    } while (is_taken(c, name));
    return name;
}

/* A copy of the kernel that has the statements of one part. */
static sinter_loop_function *copy_part(cut *c, uint32_t part) {
    sinter_loop_function *copy = sinter_loop_clone_function(c->program, c->kernel);
    sinter_loop_stmt **link = &copy->body;
    for (uint32_t i = 0; i < c->count; i++) {
        bool keep = c->parts[i] == part ||
                    (c->parts[i] == SHARED &&
                     !(c->stmts[i]->kind == SINTER_LOOP_ALLOC && c->moved[c->stmts[i]->buffer]));
        if (keep)
            link = &(*link)->next;
        else
            *link = (*link)->next;
    }
    for (link = &copy->body; *link;) { /* names and scratch that it does not need */
        sinter_loop_stmt *s = *link;
        sinter_loop_uses after = uses_of(c, copy, s->next);
        bool idle =
            (s->kind == SINTER_LOOP_DECLARE && !after.vars[s->var] && !after.assigns[s->var]) ||
            (s->kind == SINTER_LOOP_ALLOC && !after.buffers[s->buffer]);
        if (idle)
            *link = s->next;
        else
            link = &s->next;
    }
    if (part) copy->name = name_part(c, part + 1);
    return copy;
}

static void set_scope(const cut *c, sinter_loop_function *copy, uint32_t part,
                      sinter_loop_buffer buffer) {
    sinter_loop_buffer_info *info = &copy->buffers.items[buffer];
    if (info->scope == SINTER_SCOPE_INPUT) return;
    bool before = info->scope == SINTER_SCOPE_INOUT;
    for (uint32_t i = 0; i < c->count; i++) {
        sinter_loop_stmt alone = *c->stmts[i];
        alone.next = NULL;
        before |= c->parts[i] < part && stores(&alone, buffer);
    }
    info->scope = !stores(copy->body, buffer) ? SINTER_SCOPE_INPUT
                  : before                    ? SINTER_SCOPE_INOUT
                                              : SINTER_SCOPE_OUTPUT;
}

static void make_part(cut *c, uint32_t part) {
    sinter_arena *arena = &c->program->arena;
    piece made = {.kernel = part ? (uint32_t)c->program->kernels.count : c->index};
    sinter_loop_function *copy = copy_part(c, part);
    sinter_loop_uses uses = uses_of(c, copy, copy->body);
    size_t count = copy->buffer_parameters.count;
    sinter_loop_buffer *before =
        sinter_arena_copy(&c->scratch, copy->buffer_parameters.items, count * sizeof *before);
    copy->buffer_parameters.count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!uses.buffers[before[i]]) {
            copy->buffers.items[before[i]].scope = SINTER_SCOPE_STACK; /* no parameter any more */
            continue;
        }
        sinter_vector_push(arena, &copy->buffer_parameters, before[i]);
        sinter_vector_push(&c->scratch, &made.parameters, i);
        set_scope(c, copy, part, before[i]);
    }
    for (sinter_loop_buffer i = 1; i < copy->buffers.count; i++) {
        if (i >= c->kernel->buffers.count || !c->moved[i] || !uses.buffers[i]) continue;
        sinter_vector_push(arena, &copy->buffer_parameters, i);
        sinter_vector_push(&c->scratch, &made.scratch, i);
        set_scope(c, copy, part, i);
    }
    if (part)
        sinter_vector_push(arena, &c->program->kernels, copy);
    else
        c->program->kernels.items[c->index] = copy;
    sinter_vector_push(&c->scratch, &c->pieces, made);
}

/* ---- the host ---- */

/* A host buffer for scratch of the kernel that this statement calls. */
static sinter_loop_buffer add_scratch(cut *c, sinter_loop_builder *b, const sinter_loop_stmt *call,
                                      sinter_loop_buffer buffer) {
    const sinter_loop_buffer_info *info = &c->kernel->buffers.items[buffer];
    sinter_expr dims[SINTER_MAX_RANK];
    sinter_loop_map map;
    /* Sizes are made of parameters alone: what comes out is of the host, and is simplified by its ranges. */
    sinter_loop_map_init(&map, c->program, c->program->host);
    for (uint32_t i = 0; i < call->argument_count; i++)
        sinter_loop_map_var(&map, c->kernel->scalar_parameters.items[i], call->arguments[i]);
    for (uint32_t i = 0; i < info->rank; i++) dims[i] = sinter_loop_map_expr(&map, info->dims[i]);
    return sinter_loop_add_buffer(b, info->name, info->dtype, info->rank, dims, SINTER_SCOPE_HEAP);
}

static void replace_call(cut *c, sinter_loop_stmt **link) {
    const sinter_loop_stmt *call = *link;
    sinter_loop_builder b;
    sinter_loop_builder_init(&b, c->program, c->program->host);
    sinter_loop_buffer *scratch =
        SINTER_NEW_ARRAY(&c->scratch, sinter_loop_buffer, c->kernel->buffers.count);
    *link = call->next;
    b.tail = link;
    for (sinter_loop_buffer i = 1; i < c->kernel->buffers.count; i++) {
        if (!c->moved[i]) continue;
        scratch[i] = add_scratch(c, &b, call, i);
        sinter_loop_alloc(&b, scratch[i]);
    }
    for (size_t i = 0; i < c->pieces.count; i++) {
        const piece *p = &c->pieces.items[i];
        SINTER_VECTOR(sinter_loop_buffer) buffers = {0};
        for (size_t k = 0; k < p->parameters.count; k++)
            sinter_vector_push(&c->scratch, &buffers,
                               call->buffer_arguments[p->parameters.items[k]]);
        for (size_t k = 0; k < p->scratch.count; k++)
            sinter_vector_push(&c->scratch, &buffers, scratch[p->scratch.items[k]]);
        sinter_loop_call_kernel(&b, p->kernel, buffers.items, (uint32_t)buffers.count,
                                call->arguments, call->argument_count);
        b.last->text = call->text;
    }
}

/* The next statement after what was looked at. */
static void replace_calls(cut *c, sinter_loop_stmt **link) {
    while (*link) {
        sinter_loop_stmt *s = *link;
        if (s->kind == SINTER_LOOP_CALL_KERNEL && s->kernel == c->index) {
            sinter_loop_stmt *rest = s->next;
            replace_call(c, link);
            while (*link != rest) link = &(*link)->next;
            continue;
        }
        replace_calls(c, &s->body);
        replace_calls(c, &s->else_body);
        link = &s->next;
    }
}

static bool copies(const sinter_loop_stmt *first, uint32_t kernel) {
    for (const sinter_loop_stmt *s = first; s; s = s->next)
        if ((s->kind == SINTER_LOOP_CALL_KERNEL && s->kernel == kernel && s->copies) ||
            copies(s->body, kernel) || copies(s->else_body, kernel))
            return true;
    return false;
}

bool sinter_schedule_cuda_can_cut(const sinter_loop_program *program, uint32_t kernel) {
    return program->host && !copies(program->host->body, kernel);
}

void sinter_schedule_cuda_cut_kernel(sinter_loop_program *program, uint32_t kernel) {
    cut c = {.program = program, .kernel = program->kernels.items[kernel], .index = kernel};
    sinter_arena_init(&c.scratch);
    sinter_schedule schedule;
    sinter_schedule_init(&schedule, program, c.kernel);
    sinter_schedule_simplify(&schedule);
    sinter_schedule_deinit(&schedule);
    find_parts(&c);
    find_moved(&c);
    bool moves = false;
    for (sinter_loop_buffer k = 1; k < c.kernel->buffers.count; k++) moves |= c.moved[k];
    if ((c.part_count > 1 || moves) && sinter_schedule_cuda_can_cut(program, kernel)) {
        for (uint32_t part = 0; part < c.part_count; part++) make_part(&c, part);
        replace_calls(&c, &program->host->body);
    }
    sinter_arena_deinit(&c.scratch);
}

void sinter_schedule_cuda_cut(sinter_loop_program *program, bool exchanges_alone) {
    const uint32_t count = (uint32_t)program->kernels.count; /* those behind them are parts */
    for (uint32_t i = 0; program->host && i < program->kernels.count; i++) {
        const bool exchanges = sinter_loop_exchanges(program->kernels.items[i]->body);
        if (!exchanges && (exchanges_alone || i >= count)) continue;
        do sinter_schedule_cuda_cut_kernel(program, i);
        while (sinter_schedule_cuda_lift(program, i));
    }
}
