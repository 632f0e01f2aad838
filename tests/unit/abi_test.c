/* The contract by hand: what the compiler emits, written out for a model y[N] = x[N] * w[0] + w[1], and a caller without any
 * runtime. Then outputs in the memory of inputs, in code that the compiler made. */
#include "codegen/compile.h"
#include "runtime/abi.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the artifact ---- */

static int32_t fail(sinter_abi_call *call, int32_t code, const char *message) {
    snprintf(call->message, sizeof call->message, "%s", message);
    return call->code = code;
}

static int32_t plan(sinter_abi_call *call) {
    const sinter_abi_tensor *x = &call->inputs[0];
    sinter_abi_tensor *y = &call->outputs[0];
    call->code = SINTER_ABI_OK;
    if (x->dtype != 1 || x->rank != 1 || x->dims[0] < 0)
        return fail(call, SINTER_ABI_BAD_INPUT, "input 'x': expected f32[N]");
    call->symbols[0] = x->dims[0];
    y->dtype = 1;
    y->rank = 1;
    y->dims[0] = x->dims[0];
    call->workspace_bytes = 0;
    return SINTER_ABI_OK;
}

typedef struct environment {
    const float *x, *w;
    float *y;
} environment;

static void body(void *user, int64_t first, int64_t last) {
    const environment *e = user;
    for (int64_t i = first; i < last; i++) e->y[i] = e->x[i] * e->w[0] + e->w[1];
}

static int32_t run(sinter_abi_call *call) {
    const sinter_abi_services *services = call->services;
    sinter_abi_tensor *y = &call->outputs[0];
    uint64_t bytes = (uint64_t)call->symbols[0] * sizeof(float);
    if (call->inputs[0].bytes < bytes)
        return fail(call, SINTER_ABI_BAD_INPUT, "input 'x' is too small");
    if (!y->data)
        y->data = services && services->allocate
                      ? services->allocate(services->user, (bytes + 63) / 64 * 64, 64)
                      : aligned_alloc(64, (bytes + 63) / 64 * 64);
    else if (y->bytes < bytes)
        return fail(call, SINTER_ABI_BAD_INPUT, "output 'y' is too small");
    if (!y->data) return fail(call, SINTER_ABI_OUT_OF_MEMORY, "no memory for y");
    y->bytes = bytes;
    environment e = {call->inputs[0].data, call->weights, y->data};
    if (services && services->parallel_for)
        services->parallel_for(services->user, call->symbols[0], 1024, body, &e);
    else
        body(&e, 0, call->symbols[0]);
    return SINTER_ABI_OK;
}

static const sinter_abi_artifact *demo_artifact(void) {
    static const _Alignas(64) float weights[16] = {3, 1};
    static const int64_t dims[] = {-1};
    static const char *const names[] = {"N"};
    static const sinter_abi_io x = {"x", 1, 1, dims, names}, y = {"y", 1, 1, dims, names};
    static const sinter_abi_symbol symbol = {"N", 0, INT64_MAX, 1};
    static const sinter_abi_artifact artifact = {.magic = SINTER_ABI_MAGIC,
                                                 .version = SINTER_ABI_VERSION,
                                                 .size = sizeof artifact,
                                                 .input_count = 1,
                                                 .output_count = 1,
                                                 .symbol_count = 1,
                                                 .name = "demo",
                                                 .target = "c",
                                                 .cpu_features = "",
                                                 .inputs = &x,
                                                 .outputs = &y,
                                                 .symbols = &symbol,
                                                 .weights_bytes = sizeof weights,
                                                 .weights = weights,
                                                 .plan = plan,
                                                 .run = run};
    return &artifact;
}

/* ---- its caller ---- */

static int chunks;
static void in_two(void *user, int64_t count, int64_t grain, void (*part)(void *, int64_t, int64_t),
                   void *env) {
    (void)user, (void)grain;
    part(env, count / 2, count);
    part(env, 0, count / 2);
    chunks += 2;
}

static void test_by_hand(void) {
    const sinter_abi_artifact *artifact = demo_artifact();
    sinter_abi_services services = {
        .size = sizeof services, .thread_count = 2, .parallel_for = in_two};
    float x[5] = {0, 1, 2, 3, 4}, y[5];
    int64_t symbols[1];
    sinter_abi_tensor in = {.data = x, .bytes = sizeof x, .dims = {5}, .rank = 1, .dtype = 1},
                      out = {.data = y, .bytes = sizeof y};
    sinter_abi_call call = {.size = sizeof call,
                            .weights = artifact->weights,
                            .inputs = &in,
                            .outputs = &out,
                            .services = &services,
                            .symbols = symbols};
    CHECK_INT_EQ(artifact->plan(&call), SINTER_ABI_OK);
    CHECK_INT_EQ(out.dims[0], 5);
    CHECK_INT_EQ(artifact->run(&call), SINTER_ABI_OK);
    CHECK(y[0] == 1 && y[4] == 13 && chunks == 2);
    call.services = NULL;
    out.data = NULL;
    CHECK_INT_EQ(artifact->run(&call), SINTER_ABI_OK);
    CHECK(out.data && !memcmp(out.data, y, sizeof y));
    free(out.data);
    in.rank = 2;
    CHECK_INT_EQ(artifact->plan(&call), SINTER_ABI_BAD_INPUT);
    CHECK_STRING_EQ(call.message, "input 'x': expected f32[N]");
}

/* The hash may be taken in parts of whole words; nothing but zeros hides in a short last one. */
static void test_hash(void) {
    unsigned char data[40];
    for (int i = 0; i < 40; i++) data[i] = (unsigned char)(i * 7);
    uint64_t whole = sinter_abi_hash(data, 40, 0);
    CHECK(whole == sinter_abi_hash(data + 16, 24, sinter_abi_hash(data, 16, 0)));
    data[38] = data[39] = 0;
    CHECK(sinter_abi_hash(data, 38, 0) == sinter_abi_hash(data, 40, 0));
    CHECK(sinter_abi_hash(data, 32, 0) != sinter_abi_hash(data, 40, 0));
    CHECK_INT_EQ(sinter_abi_hash(data, 0, 5), 5);
    CHECK_INT_EQ(sizeof(sinter_abi_trailer), 80);
}

/* ---- donations ---- */

/* next = 2 * (x + state): state is dead when next is written. sum reads x in the kernel that writes it, so it gets nothing. */
static const char state_text[] =
    "program \"state\" {\n"
    "  input \"x\": f32[8]\n"
    "  input \"state\": f32[\"N\"]\n"
    "  symbol \"N\": 0..9223372036854775807 multiple 1 from input 1 dim 0\n"
    "  kernel @mix(%x: f32[8] in, %s: f32[N] in, %t: f32[N] out, N: i64) {\n"
    "    for i in 0..N { if i < 8 { %t[i] = %x[i] + %s[i] } else { %t[i] = %s[i] } }\n"
    "  }\n"
    "  kernel @twice(%t: f32[N] in, %y: f32[N] out, N: i64) { for i in 0..N { %y[i] = %t[i] + "
    "%t[i] } }\n"
    "  kernel @copy(%x: f32[8] in, %y: f32[8] out) { for i in 0..8 { %y[i] = %x[i] } }\n"
    "  host @main(%x: f32[8] in 0, %state: f32[N] in 1, %next: f32[N] out 0, %same: f32[8] out 1, "
    "N: i64) {\n"
    "    alloc %t: f32[N] heap\n"
    "    call @mix(%x, %state, %t, N)\n"
    "    alloc %next: f32[N] out 0\n"
    "    call @twice(%t, %next, N)\n"
    "    alloc %same: f32[8] out 1\n"
    "    call @copy(%x, %same)\n"
    "  }\n"
    "  output \"next\": f32[\"N\"] = [N]\n"
    "  output \"same\": f32[8] = [8]\n"
    "}\n";

static void test_donation(void) {
    sinter_diag diag = {.handler = sinter_diag_print_handler, .user = stdout};
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_target target;
    sinter_text text = {0};
    sinter_loop_program *program =
        sinter_loop_parse("state", state_text, sizeof state_text - 1, &diag);
    if (!CHECK(program && sinter_plan_memory(program, &diag) &&
               sinter_target_parse("cpu", &arena, &target, &diag)))
        return;
    sinter_loop_print(program, &text);
    CHECK(strstr(text.data, "  donate output 0 takes input 1\n") != NULL);
    CHECK(strstr(text.data, "donate output 1") == NULL);
    sinter_loop_program *again = sinter_loop_parse("again", text.data, text.size, &diag);
    CHECK(again && again->donations.count == 1 && again->donations.items[0].input == 1);
    sinter_jit *jit =
        sinter_jit_create(program, &target, &(sinter_codegen_options){.level = 2}, &diag);
    const sinter_abi_artifact *artifact = jit ? sinter_jit_artifact(jit) : NULL;
    if (CHECK(artifact && artifact->donation_count == 1 && artifact->donations[0].output == 0 &&
              artifact->donations[0].input == 1)) {
        float x[8] = {1, 2, 3}, state[10] = {0}, same[8];
        int64_t symbols[1];
        _Alignas(64) char workspace[256];
        sinter_abi_tensor in[] = {
            {.data = x, .bytes = sizeof x, .dims = {8}, .rank = 1, .dtype = 1},
            {.data = state, .bytes = sizeof state, .dims = {10}, .rank = 1, .dtype = 1}};
        sinter_abi_tensor out[] = {{.data = state, .bytes = sizeof state},
                                   {.data = same, .bytes = sizeof same}};
        sinter_abi_call call = {.size = sizeof call,
                                .inputs = in,
                                .outputs = out,
                                .symbols = symbols,
                                .workspace = workspace};
        for (int step = 0; step < 3; step++) {
            CHECK_INT_EQ(artifact->plan(&call), SINTER_ABI_OK);
            CHECK(call.workspace_bytes <= sizeof workspace);
            CHECK_INT_EQ(artifact->run(&call), SINTER_ABI_OK);
        }
        CHECK(state[0] == 14 && state[1] == 28 && state[2] == 42 &&
              state[9] == 0); /* ((1 * 2 + 1) * 2 + 1) * 2 */
    }
    if (jit) sinter_jit_destroy(jit);
    if (again) sinter_loop_program_destroy(again);
    sinter_loop_program_destroy(program);
    sinter_text_deinit(&text);
    sinter_arena_deinit(&arena);
}

int main(void) {
    test_by_hand();
    test_hash();
    test_donation();
    return test_finish();
}
