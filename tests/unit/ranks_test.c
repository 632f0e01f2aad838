/* Programs of ranks as threads of a process: those that are the same share their code and weights, and run at once. */
#include "ir/parse.h"
#include "runtime/jit/ranks_internal.h"
#include "tests/unit/test.h"

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

static void test_sharing(const char *constant, bool shares, const float *expected) {
    char text[1024];
    sinter_diag diag = {.handler = print};
    const sinter_ranks_options how = {0};
    const sinter_engine_options options = SINTER_ENGINE_OPTIONS_INIT;
    snprintf(text, sizeof text, model, constant);
    sinter_module *module = sinter_parse_module("test", text, strlen(text), &diag);
    if (!CHECK(module && sinter_ranks_partition(module, &how, &diag))) return;
    sinter_ranks *ranks = sinter_ranks_create(module, &options, 20, &diag);
    if (CHECK(ranks)) {
        CHECK_INT_EQ(sinter_engine_artifact(ranks->engines[0]) ==
                         sinter_engine_artifact(ranks->engines[1]),
                     shares);
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

int main(void) {
    test_sharing("], [1", true, (const float[]){1, 3, 5, 7});
    test_sharing("4], [1, 2, 3, 4", false, (const float[]){1, 4, 7, 10});
    return test_finish();
}
