/* Programs of ranks as threads of a process: those that are the same share their code and weights, and run at once;
 * what differs inside of a branch counts; runs that are repeated on GPUs. */
#include "ir/parse.h"
#include "runtime/device_code.h"
#include "runtime/jit/ranks_internal.h"
#include "tests/unit/device_support.h"

/* y = x * w + c on two ranks, x cut; c is the same for both of them where it is of one element. */
static const char model[] = "module \"m\" {\n"
                            "  mesh a=2\n"
                            "  graph (%%x: f32[4] shard(a)) {\n"
                            "    %%w = constant() {value = tensor<f32[], [2]>}\n"
                            "    %%c = constant() {value = tensor<f32[%s]>}\n"
                            "    %%m = mul(%%x, %%w)\n"
                            "    %%y = add(%%m, %%c)\n"
                            "    yield(%%y)\n"
                            "  }\n"
                            "}\n";

static void print(void *user, sinter_severity severity, const char *where, const char *message) {
    (void)user;
    (void)severity;
    printf("%s: %s\n", where, message);
}

static void test_sharing(const sinter_engine_options *options, const char *constant, bool shares,
                         const float *expected) {
    char text[1024];
    sinter_diag diag = {.handler = print};
    const sinter_ranks_options how = {0};
    snprintf(text, sizeof text, model, constant);
    sinter_module *module = sinter_parse_module("test", text, strlen(text), &diag);
    if (!CHECK(module && sinter_ranks_partition(module, &how, &diag))) return;
    sinter_ranks *ranks = sinter_ranks_create(module, options, 20, &diag);
    if (CHECK(ranks)) {
        CHECK_INT_EQ(sinter_engine_artifact(ranks->engines[0]) ==
                         sinter_engine_artifact(ranks->engines[1]),
                     shares);
        if (options->device) {
            CHECK_INT_EQ(ranks->devices[0]->ordinal, options->device->ordinal);
            CHECK_INT_EQ(ranks->devices[1]->ordinal, options->one_device ? 1 : 0);
        }
        sinter_tensor x = {0}, y = {0};
        const int64_t dims[] = {4};
        CHECK(sinter_tensor_create(&x, SINTER_DTYPE_f32, 1, dims, &diag));
        for (int run = 0; run < 20; run++) {
            for (int i = 0; i < 4; i++) ((float *)sinter_tensor_mutable(&x))[i] = (float)(i + run);
            if (!CHECK(sinter_ranks_run(ranks, &x, &y, &diag))) break;
            for (int i = 0; i < 4; i++)
                CHECK(((const float *)y.data)[i] == expected[i] + 2 * (float)run);
            sinter_tensor_deinit(&y);
        }
        sinter_tensor_deinit(&x);
    }
    sinter_ranks_destroy(ranks);
    sinter_module_destroy(module);
}

/* A constant that a branch multiplies by what all ranks have together. */
static const char branch[] = "module \"b\" {\n"
                             "  mesh a=2\n"
                             "  graph (%x: f32[4] shard(a), %c: bool[]) {\n"
                             "    %w = constant() {value = tensor<f32[4], [1, 2, 3, 4]>}\n"
                             "    %y = if(%c) ({\n"
                             "      %m = mul(%x, %w)\n"
                             "      yield(%m)\n"
                             "    }, {\n"
                             "      yield(%w)\n"
                             "    })\n"
                             "    yield(%y)\n"
                             "  }\n"
                             "}\n";

static void test_branch(void) {
    sinter_diag diag = {.handler = print};
    const sinter_ranks_options how = {0};
    const sinter_engine_options options = SINTER_ENGINE_OPTIONS_INIT;
    sinter_module *module = sinter_parse_module("test", branch, strlen(branch), &diag);
    if (!CHECK(module && sinter_ranks_partition(module, &how, &diag))) return;
    sinter_ranks *ranks = sinter_ranks_create(module, &options, 20, &diag);
    sinter_tensor inputs[2] = {0}, y = {0};
    const int64_t dims[] = {4};
    if (CHECK(ranks && sinter_tensor_create(&inputs[0], SINTER_DTYPE_f32, 1, dims, &diag) &&
              sinter_tensor_create(&inputs[1], SINTER_DTYPE_bool, 0, NULL, &diag))) {
        for (int i = 0; i < 4; i++) ((float *)sinter_tensor_mutable(&inputs[0]))[i] = 10;
        for (int chosen = 0; chosen < 2; chosen++) {
            sinter_tensor_set_int(&inputs[1], 0, chosen);
            if (!CHECK(sinter_ranks_run(ranks, inputs, &y, &diag))) break;
            for (int i = 0; i < 4; i++)
                CHECK(((const float *)y.data)[i] == (float)((chosen ? 10 : 1) * (i + 1)));
            sinter_tensor_deinit(&y);
        }
    }
    sinter_tensor_deinit(&inputs[0]);
    sinter_tensor_deinit(&inputs[1]);
    sinter_ranks_destroy(ranks);
    sinter_module_destroy(module);
}

/* Programs that differ by what they have of a constant, or by whom they send to, inside of a branch alone. */
static void test_identity(const char *line, bool are_one) {
    char text[1024];
    sinter_diag diag = {.handler = print};
    sinter_ranks_identity identities[2];
    snprintf(text, sizeof text,
             "module \"i\" {\n"
             "  mesh a=2\n"
             "  graph (%%x: f32[2], %%c: bool[]) {\n"
             "    %%w = constant() {value = tensor<f32[4], [1, 2, 3, 4]>}\n"
             "    %%y = if(%%c) ({\n"
             "      %%p = %s\n"
             "      %%m = mul(%%p, %%x)\n"
             "      yield(%%m)\n"
             "    }, {\n"
             "      yield(%%x)\n"
             "    })\n"
             "    yield(%%y)\n"
             "  }\n"
             "}\n",
             line);
    sinter_module *module = sinter_parse_module("test", text, strlen(text), &diag);
    if (!CHECK(module != NULL)) return;
    for (int64_t rank = 0; rank < 2; rank++) {
        sinter_module *program = sinter_ranks_program(module, rank, &diag);
        if (CHECK(program != NULL)) identities[rank] = sinter_ranks_identify(program, rank);
        sinter_module_destroy(program);
    }
    CHECK_INT_EQ(sinter_ranks_identity_is(identities[0], identities[1]), are_one);
    sinter_module_destroy(module);
}

/* A layer whose units are cut: its ranks exchange in each step, from inside of the host's loop. */
static const char repeated[] =
    "module \"r\" {\n"
    "  mesh a=2\n"
    "  graph (%x: f32[3,1,4], %w: f32[1,4,4] shard(_, a, _), %r: f32[1,4,4] shard(_, a, _)) {\n"
    "    %y, %h = rnn(%x, %w, %r) {hidden_size = 4}\n"
    "    %t = tanh(%y)\n"
    "    yield(%t)\n"
    "  }\n"
    "}\n";

enum { REPEATED_INPUTS = 3 };

static bool make_inputs(sinter_tensor *inputs, float first, sinter_diag *diag) {
    static const int64_t dims[REPEATED_INPUTS][3] = {{3, 1, 4}, {1, 4, 4}, {1, 4, 4}};
    bool good = true;
    for (int k = 0; k < REPEATED_INPUTS; k++) {
        good = good && sinter_tensor_create(&inputs[k], SINTER_DTYPE_f32, 3, dims[k], diag);
        for (int64_t i = 0; good && i < sinter_tensor_count(&inputs[k]); i++)
            ((float *)sinter_tensor_mutable(&inputs[k]))[i] =
                first * (float)(i % 5 - 2) * 0.25f + (float)k * 0.125f;
    }
    return good;
}

/* A run that repeats what was captured has the bits of one that is the first of its programs. */
static void test_repeated(const sinter_engine_options *options) {
    enum { TIMES = 4 };
    sinter_diag diag = {.handler = print};
    const sinter_ranks_options how = {0};
    sinter_tensor inputs[REPEATED_INPUTS] = {{0}}, y = {0}, expected = {0};
    sinter_module *module = sinter_parse_module("test", repeated, strlen(repeated), &diag);
    if (!CHECK(module && sinter_ranks_partition(module, &how, &diag))) return;
    sinter_ranks *ranks = sinter_ranks_create(module, options, 20, &diag),
                 *fresh = sinter_ranks_create(module, options, 20, &diag);
    for (int run = 0; run < TIMES && CHECK(ranks && fresh); run++) {
        for (int k = 0; k < REPEATED_INPUTS; k++) sinter_tensor_deinit(&inputs[k]);
        sinter_tensor_deinit(&y);
        CHECK(make_inputs(inputs, (float)(run + 1), &diag) &&
              sinter_ranks_run(ranks, inputs, &y, &diag));
    }
    if (CHECK(y.data && sinter_ranks_run(fresh, inputs, &expected, &diag)))
        CHECK(!memcmp(y.data, expected.data, sinter_tensor_bytes(&y)));
    const sinter_abi_device_code *code =
        sinter_artifact_device_code(sinter_engine_artifact(ranks->engines[0]));
    CHECK_INT_EQ(code->flags, SINTER_ABI_DEVICE_PIECES);
    for (int k = 0; k < REPEATED_INPUTS; k++) sinter_tensor_deinit(&inputs[k]);
    sinter_tensor_deinit(&y);
    sinter_tensor_deinit(&expected);
    sinter_ranks_destroy(fresh);
    sinter_ranks_destroy(ranks);
    sinter_module_destroy(module);
}

/* Two emulated GPUs: ranks have one each, and code and weights there, unless they are to share one. The second of them is followed by
 * the first. */
static void test_devices(void) {
    sinter_diag diag = {.handler = print};
    sinter_arena names;
    sinter_engine_options options = SINTER_ENGINE_OPTIONS_INIT;
    sinter_device_turns turns = {0};
    sinter_device *device = NULL, *next = NULL;
    uint32_t count = 0;
    use_emulation();
    setenv("SINTER_EMULATION_DEVICES", "2", 1);
    sinter_arena_init(&names);
    GOOD(sinter_device_count("cuda", &count));
    CHECK_INT_EQ(count, 2);
    GOOD(sinter_device_open("cuda:1", NULL, &options.device));
    if (CHECK(options.device != NULL)) {
        options.target = sinter_engine_device_target(options.device, &names, &diag);
        turns.first = options.device;
        for (int64_t i = 0; i < 4; i++) {
            GOOD(sinter_device_turns_get(&turns, i, &device));
            CHECK(device && device->ordinal == (i + 1) % 2);
            CHECK(i % 2 || device == options.device);
            CHECK(i < 2 || i % 2 == 0 || device == next);
            if (i == 1) next = device;
        }
        sinter_device_turns_close(&turns);
        test_sharing(&options, "], [1", false, (const float[]){1, 3, 5, 7});
        for (int way = SINTER_EXCHANGE_HOST; way <= SINTER_EXCHANGE_NCCL; way++) {
            options.exchange = (sinter_exchange_way)way;
            test_repeated(&options);
        }
        options.exchange = SINTER_EXCHANGE_AUTO;
        options.one_device = true;
        test_sharing(&options, "], [1", true, (const float[]){1, 3, 5, 7});
        sinter_device_close(options.device);
    }
    sinter_arena_deinit(&names);
    unsetenv("SINTER_EMULATION_DEVICES");
}

int main(void) {
    const sinter_engine_options options = SINTER_ENGINE_OPTIONS_INIT;
    test_branch();
    test_identity("shard_slice(%w) {over = [\"a\"], axis = 0}", false);
    test_identity("collective_permute(%x) {pairs = [0, 1, 1, 0]}", false);
    test_identity("all_reduce(%x) {over = [\"a\"]}", true);
    test_sharing(&options, "], [1", true, (const float[]){1, 3, 5, 7});
    test_devices();
    test_sharing(&options, "4], [1, 2, 3, 4", false, (const float[]){1, 4, 7, 10});
    return test_finish();
}
