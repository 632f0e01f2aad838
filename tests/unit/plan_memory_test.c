/* The memory plan: packing alone against its lower bound, then random host programs with aliases, branches, loops and
 * symbolic sizes, run on tags instead of data: what a statement reads must still be what was last written there. */
#include "codegen/compile.h"
#include "codegen/loops/rewrite.h"
#include "codegen/plan_memory.h"
#include "ir/base/splitmix.h"
#include "tests/unit/test.h"

#include <stdlib.h>

static uint64_t random_state;
static uint32_t pick(uint32_t count) {
    return (uint32_t)(sinter_splitmix(&random_state) % count);
}

/* ---- packing ---- */

static uint64_t peak(const sinter_plan_item *items, size_t count, uint32_t end) {
    uint64_t most = 0;
    for (uint32_t t = 0; t <= end; t++) {
        uint64_t sum = 0;
        for (size_t i = 0; i < count; i++)
            if (items[i].first <= t && t <= items[i].last) sum += items[i].size;
        if (sum > most) most = sum;
    }
    return most;
}

static void test_pack(void) {
    sinter_arena arena;
    sinter_arena_init(&arena);
    uint64_t needed = 0, bound = 0;
    for (int round = 0; round < 50; round++) {
        sinter_plan_item items[60];
        for (int i = 0; i < 60; i++) {
            uint32_t first = pick(100);
            items[i] = (sinter_plan_item){
                .size = 64 * (1 + (uint64_t)pick(100)), .first = first, .last = first + pick(12)};
        }
        uint64_t total = sinter_plan_pack(items, 60, &arena);
        bool apart = true, inside = true;
        for (int i = 0; i < 60; i++) {
            inside =
                inside && items[i].offset + items[i].size <= total && items[i].offset % 64 == 0;
            for (int k = 0; k < i; k++)
                apart =
                    apart && (items[i].first > items[k].last || items[k].first > items[i].last ||
                              items[i].offset + items[i].size <= items[k].offset ||
                              items[k].offset + items[k].size <= items[i].offset);
        }
        CHECK(apart);
        CHECK(inside);
        CHECK(total >= peak(items, 60, 112));
        needed += total;
        bound += peak(items, 60, 112);
    }
    CHECK(needed * 100 <= bound * 115); /* close to the best that can be */
    CHECK_INT_EQ(sinter_plan_pack(NULL, 0, &arena), 0);
    sinter_arena_deinit(&arena);
}

/* ---- random programs ---- */

typedef struct maker {
    sinter_loop_program *program;
    sinter_loop_builder host;
    sinter_expr sizes[8];
    sinter_loop_buffer visible[64]; /* written, or bound to what is written */
    uint32_t count, depth, budget;
} maker;

static uint32_t kernel_of(maker *m, uint32_t inputs) { /* kernel i has i inputs and an output */
    while (m->program->kernels.count <= inputs) {
        sinter_loop_function *kernel = sinter_loop_function_create(m->program, "k");
        sinter_loop_builder b;
        sinter_loop_builder_init(&b, m->program, kernel);
        for (size_t i = 0; i <= m->program->kernels.count; i++)
            sinter_loop_add_buffer(&b, "a", SINTER_DTYPE_f32, 0, NULL,
                                   i == m->program->kernels.count ? SINTER_SCOPE_OUTPUT
                                                                  : SINTER_SCOPE_INPUT);
        sinter_vector_push(&m->program->arena, &m->program->kernels, kernel);
    }
    return inputs;
}

static sinter_loop_buffer make_heap(maker *m, sinter_loop_scope scope) {
    sinter_expr dims[2] = {m->sizes[pick(8)], m->sizes[pick(8)]};
    static const sinter_dtype types[] = {SINTER_DTYPE_f32, SINTER_DTYPE_i64, SINTER_DTYPE_i8,
                                         SINTER_DTYPE_i4};
    return sinter_loop_add_buffer(&m->host, "t", types[pick(4)], 1 + pick(2), dims, scope);
}

/* Mostly what was made lately, as in models. */
static sinter_loop_buffer recent(maker *m) {
    uint32_t window = pick(8) && m->count > 3 ? 3 : m->count;
    return m->visible[m->count - 1 - pick(window)];
}

static void add_call(maker *m, sinter_loop_buffer out) {
    sinter_loop_buffer arguments[4];
    uint32_t inputs = m->count ? pick(4) : 0;
    for (uint32_t i = 0; i < inputs; i++) arguments[i] = recent(m);
    arguments[inputs] = out;
    sinter_loop_call_kernel(&m->host, kernel_of(m, inputs), arguments, inputs + 1, NULL, 0);
}

static void add_statements(maker *m);

/* An alias that each side binds to something of its own. */
static void add_branches(maker *m) {
    sinter_loop_buffer alias = make_heap(m, SINTER_SCOPE_ALIAS);
    sinter_expr taken = sinter_loop_compare(
        &m->host, SINTER_SCALAR_lt,
        sinter_loop_var_read(&m->host, m->host.function->scalar_parameters.items[2]),
        sinter_loop_int(&m->host, pick(10)));
    uint32_t count = m->count;
    sinter_loop_begin_if(&m->host, taken);
    for (int side = 0; side < 2; side++) {
        if (side) sinter_loop_begin_else(&m->host);
        add_statements(m);
        if (m->count)
            sinter_loop_bind(&m->host, alias, m->visible[pick(m->count)],
                             sinter_loop_int(&m->host, 0));
        sinter_loop_end(&m->host);
        m->count = count;
    }
    if (m->count) m->visible[m->count++] = alias;
}

static void add_statements(maker *m) {
    for (uint32_t i = 0, count = 1 + pick(6); i < count && m->budget && m->count < 60; i++) {
        m->budget--;
        uint32_t what = pick(10);
        if (what == 0 && m->depth < 3) {
            m->depth++;
            add_branches(m);
            m->depth--;
        } else if (what == 1 && m->depth < 3) {
            uint32_t visible = m->count;
            m->depth++;
            sinter_loop_begin_for(&m->host, "i", sinter_loop_int(&m->host, 0),
                                  sinter_loop_int(&m->host, 3), 1, SINTER_AXIS_SERIAL);
            add_statements(m);
            sinter_loop_end(&m->host);
            m->depth--;
            m->count = visible;
        } else if (what == 2 && m->count) {
            sinter_loop_buffer alias = make_heap(m, SINTER_SCOPE_ALIAS);
            sinter_loop_bind(&m->host, alias, m->visible[pick(m->count)],
                             sinter_loop_int(&m->host, 0));
            m->visible[m->count++] = alias;
        } else {
            sinter_loop_buffer fresh = make_heap(m, SINTER_SCOPE_HEAP);
            sinter_loop_alloc(&m->host, fresh);
            add_call(m, fresh);
            m->visible[m->count++] = fresh;
        }
    }
}

static sinter_loop_program *make_program(bool late) {
    maker m = {.program = sinter_loop_program_create("random"), .budget = 60};
    m.program->host = sinter_loop_function_create(m.program, "host");
    sinter_loop_builder_init(&m.host, m.program, m.program->host);
    static const char *const names[] = {"N", "M", "choice"};
    sinter_expr vars[3];
    for (int i = 0; i < 3; i++) {
        sinter_loop_symbol symbol = {.name = names[i], .min = 0, .max = INT64_MAX, .multiple = 1};
        sinter_vector_push(&m.program->arena, &m.program->symbols, symbol);
        vars[i] = sinter_loop_var_read(
            &m.host, sinter_loop_add_parameter(&m.host, names[i], SINTER_DTYPE_i64));
    }
    sinter_expr half = sinter_loop_div(&m.host, vars[0], sinter_loop_int(&m.host, 2));
    sinter_loop_var let =
        sinter_loop_declare(&m.host, "K", late, sinter_loop_add(&m.host, half, vars[1]));
    sinter_expr sizes[] = {sinter_loop_int(&m.host, 1),
                           sinter_loop_int(&m.host, 3),
                           sinter_loop_int(&m.host, 16),
                           sinter_loop_int(&m.host, 100),
                           vars[0],
                           vars[1],
                           sinter_loop_var_read(&m.host, let),
                           sinter_loop_sub(&m.host, vars[0], vars[1])};
    memcpy(m.sizes, sizes, sizeof sizes);
    while (m.budget) {
        add_statements(&m);
        m.depth = 0;
        if (m.count > 50) break;
    }
    return m.program;
}

/* ---- their execution on tags ---- */

enum { UNIT = 64 };

typedef struct machine {
    sinter_loop_program *program;
    sinter_loop_map *values;
    uint32_t *memory; /* by unit of the workspace: who wrote last */
    uint64_t units;
    sinter_loop_buffer *root; /* by buffer: itself, or what the alias is bound to now */
    uint64_t *offset, *bytes;
    bool *freed;
    uint32_t *expected; /* by root */
    uint32_t writes, damaged, outside, reads;
} machine;

static int64_t value_of(machine *m, sinter_expr expr) {
    int64_t value = INT64_MIN;
    CHECK(sinter_loop_is_const_int(sinter_loop_map_expr(m->values, expr), &value));
    return value;
}

static void allocate(machine *m, const sinter_loop_stmt *s) {
    const sinter_loop_buffer_info *info = &m->program->host->buffers.items[s->buffer];
    uint64_t bits = sinter_dtype_infos[info->dtype].bits;
    for (uint32_t k = 0; k < info->rank; k++) {
        int64_t dim = value_of(m, info->dims[k]);
        bits *= dim > 0 ? (uint64_t)dim : 0;
    }
    m->root[s->buffer] = s->buffer;
    m->bytes[s->buffer] = s->value ? (bits + 7) / 8 : 0;
    m->offset[s->buffer] = s->value ? (uint64_t)value_of(m, s->value) : 0;
    m->freed[s->buffer] = false;
    m->expected[s->buffer] = 0;
    if (m->offset[s->buffer] % UNIT ||
        m->offset[s->buffer] + m->bytes[s->buffer] > m->units * UNIT) {
        m->outside++;
        m->bytes[s->buffer] = 0;
    }
}

static void touch(machine *m, sinter_loop_buffer buffer, bool writes) {
    sinter_loop_buffer root = m->root[buffer];
    uint64_t begin = m->offset[root] / UNIT,
             end = (m->offset[root] + m->bytes[root] + UNIT - 1) / UNIT;
    if (m->freed[root]) m->damaged++;
    if (writes) m->expected[root] = ++m->writes;
    for (uint64_t i = begin; i < end; i++) {
        m->reads++;
        if (writes)
            m->memory[i] = m->writes;
        else if (m->memory[i] != m->expected[root])
            m->damaged++;
    }
}

static void execute(machine *m, const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *s = first; s; s = s->next) {
        if (s->kind == SINTER_LOOP_ALLOC) allocate(m, s);
        if (s->kind == SINTER_LOOP_BIND) m->root[s->buffer] = m->root[s->source];
        if (s->kind == SINTER_LOOP_FREE) m->freed[s->buffer] = true;
        if (s->kind == SINTER_LOOP_IF) execute(m, value_of(m, s->value) ? s->body : s->else_body);
        for (int i = 0; s->kind == SINTER_LOOP_FOR && i < 3; i++) execute(m, s->body);
        if (s->kind == SINTER_LOOP_DECLARE)
            sinter_loop_map_var(m->values, s->var, sinter_loop_map_expr(m->values, s->value));
        for (uint32_t i = 0; i < s->buffer_argument_count; i++)
            touch(m, s->buffer_arguments[i], i + 1 == s->buffer_argument_count);
    }
}

static uint64_t run_program(sinter_loop_program *program, int64_t n, int64_t m_value,
                            int64_t choice) {
    size_t count = program->host->buffers.count;
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_loop_map values;
    sinter_loop_map_init(&values, program, program->host);
    int64_t symbols[] = {n, m_value, choice};
    for (int i = 0; i < 3; i++)
        sinter_loop_map_var(&values, program->host->scalar_parameters.items[i],
                            sinter_loop_int(&values.builder, symbols[i]));
    machine m = {.program = program,
                 .values = &values,
                 .root = SINTER_NEW_ARRAY(&arena, sinter_loop_buffer, count),
                 .offset = SINTER_NEW_ARRAY(&arena, uint64_t, count),
                 .bytes = SINTER_NEW_ARRAY(&arena, uint64_t, count),
                 .freed = SINTER_NEW_ARRAY(&arena, bool, count),
                 .expected = SINTER_NEW_ARRAY(&arena, uint32_t, count)};
    uint64_t workspace = (uint64_t)value_of(&m, program->workspace_bytes);
    m.units = workspace / UNIT;
    m.memory = SINTER_NEW_ARRAY(&arena, uint32_t, m.units + 1);
    execute(&m, program->host->body);
    CHECK_INT_EQ(m.damaged, 0);
    CHECK_INT_EQ(m.outside, 0);
    sinter_arena_deinit(&arena);
    return workspace;
}

static uint64_t
sum_of_sizes(sinter_loop_program *program) { /* at N = 30, M = 20, each buffer its own place */
    sinter_loop_map values;
    sinter_loop_map_init(&values, program, program->host);
    int64_t symbols[] = {30, 20, 5, 35};
    for (uint32_t i = 1; i <= 4 && i < program->host->vars.count; i++)
        sinter_loop_map_var(&values, i, sinter_loop_int(&values.builder, symbols[i - 1]));
    uint64_t total = 0;
    for (size_t i = 1; i < program->host->buffers.count; i++) {
        const sinter_loop_buffer_info *info = &program->host->buffers.items[i];
        if (info->scope != SINTER_SCOPE_HEAP) continue;
        uint64_t bits = sinter_dtype_infos[info->dtype].bits;
        for (uint32_t k = 0; k < info->rank; k++) {
            int64_t dim = 0;
            sinter_loop_is_const_int(sinter_loop_map_expr(&values, info->dims[k]), &dim);
            bits *= (uint64_t)dim;
        }
        total += (bits / 8 + UNIT) / UNIT * UNIT;
    }
    return total;
}

static void test_random_programs(void) {
    uint64_t planned = 0, separate = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        random_state = seed;
        bool late = seed % 3 == 0;
        sinter_loop_program *program = make_program(late);
        sinter_diag diag = {.handler = sinter_diag_print_handler, .user = stdout};
        CHECK(sinter_plan_memory(program, &diag));
        CHECK(program->workspace_bytes != NULL);
        for (int64_t choice = 0; choice < 10; choice += 3) {
            uint64_t bytes = run_program(program, 30, 20, choice);
            if (!late && !choice) planned += bytes, separate += sum_of_sizes(program);
            run_program(program, 1, 7, choice);
            run_program(program, 0, 0, choice);
            run_program(program, 100, 64, choice);
        }
        sinter_loop_program_destroy(program);
    }
    printf("random programs: %llu bytes planned, %llu without reuse\n", (unsigned long long)planned,
           (unsigned long long)separate);
    CHECK(planned * 3 < separate * 2);
}

/* ---- what is refused, what is left to the allocator ---- */

static void test_text(void) {
    static const char carried[] =
        "program \"p\" {\n"
        "  kernel @one(%y: f32[4] out) { for i in 0..4 { %y[i] = 1.0:f32 } }\n"
        "  kernel @two(%x: f32[4] in, %y: f32[4] out) { for i in 0..4 { %y[i] = %x[i] } }\n"
        "  host @main() {\n"
        "    alloc %a: f32[4] heap\n"
        "    call @one(%a)\n"
        "    bind %cur: f32[4] alias = %a + 0\n"
        "    for i in 0..3 {\n"
        "      alloc %b: f32[4] heap\n"
        "      call @two(%cur, %b)\n"
        "    }\n"
        "  }\n"
        "}\n";
    sinter_text text = {0};
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &text};
    sinter_loop_program *program = sinter_loop_parse("carried", carried, sizeof carried - 1, &diag);
    if (!CHECK(program != NULL)) {
        puts(text.data);
        return;
    }
    CHECK(sinter_plan_memory(program, &diag));
    int64_t bytes = 0;
    CHECK(sinter_loop_is_const_int(program->workspace_bytes, &bytes));
    CHECK_INT_EQ(bytes, 128); /* %a lives through the loop */
    sinter_loop_program_destroy(program);
    sinter_text_deinit(&text);
}

int main(void) {
    random_state = 7;
    test_pack();
    test_random_programs();
    test_text();
    return test_finish();
}
