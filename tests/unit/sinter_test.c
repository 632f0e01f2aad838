/* The public library: load, describe, run, run into the caller's memory, threads changed under way, statuses with messages. */
#include "runtime/jit/sinter.h"
#include "tests/unit/artifact_support.h"
#include "tests/unit/test.h"

#include <locale.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { BATCH = 3 };
static float pixels[BATCH * 64];

static sinter_abi_tensor input(int64_t batch) {
    return sinter_tensor_over(pixels, (uint64_t)batch * 64 * sizeof(float), 1, 3,
                              (int64_t[]){batch, 8, 8});
}

static void expect(sinter_status *status, sinter_status_code code, const char *part) {
    CHECK_INT_EQ(sinter_status_get_code(status), code);
    if (!CHECK(strstr(sinter_status_message(status), part) != NULL))
        puts(sinter_status_message(status));
    sinter_status_destroy(status);
}

typedef struct job {
    sinter_model *model;
    const float *expected;
    bool good;
} job;

static void *run_many(void *user) {
    job *j = user;
    j->good = true;
    for (int i = 0; i < 60 && j->good; i++) {
        int64_t batch = 1 + i % BATCH;
        sinter_abi_tensor in = input(batch), out;
        j->good = !sinter_run(j->model, &in, &out) &&
                  !memcmp(out.data, j->expected, (size_t)batch * 10 * sizeof(float));
        if (j->good) sinter_outputs_free(j->model, &out);
    }
    return NULL;
}

static void test_model(void) {
    sinter_model *model = NULL;
    sinter_abi_tensor in = input(BATCH), out;
    CHECK(sinter_load("tests/models/mlp.onnx", NULL, &model) == NULL);
    if (!model) return;
    const sinter_abi_artifact *about = sinter_describe(model);
    CHECK_INT_EQ(about->input_count, 1);
    CHECK_STRING_EQ(about->inputs[0].name, "pixels");
    CHECK_STRING_EQ(about->inputs[0].dim_names[0], "batch");
    CHECK_INT_EQ(about->outputs[0].dims[1], 10);
    CHECK(sinter_run(model, &in, &out) == NULL);
    CHECK_INT_EQ(out.bytes, BATCH * 10 * sizeof(float));

    /* Into the caller's memory: the same bits, and a buffer that is too small is refused. */
    float mine[BATCH * 10];
    sinter_abi_tensor into = {.data = mine, .bytes = sizeof mine};
    CHECK(sinter_run_into(model, &in, &into) == NULL);
    CHECK(!memcmp(mine, out.data, sizeof mine));
    into.bytes = 8;
    expect(sinter_run_into(model, &in, &into), SINTER_STATUS_BAD_INPUT,
           "output 'logits' needs 120 bytes and has 8");
    into.data = NULL;
    expect(sinter_run_into(model, &in, &into), SINTER_STATUS_BAD_INPUT,
           "output 'logits' has no memory");
    in.dims[1] = 9;
    expect(sinter_run(model, &in, &into), SINTER_STATUS_BAD_INPUT, "expected dim 1 of 8, found 9");

    /* Many threads run while the pool is changed under them. */
    pthread_t threads[6];
    job jobs[6];
    for (int i = 0; i < 6; i++) {
        jobs[i] = (job){model, out.data, false};
        CHECK(pthread_create(&threads[i], NULL, run_many, &jobs[i]) == 0);
    }
    for (uint32_t i = 0; i < 12; i++) CHECK(sinter_set_threads(model, 1 + i % 4) == NULL);
    for (int i = 0; i < 6; i++) {
        pthread_join(threads[i], NULL);
        CHECK(jobs[i].good);
    }
    expect(sinter_set_threads(model, 0), SINTER_STATUS_BAD_INPUT, "a pool of 0 threads");
    sinter_outputs_free(model, &out);
    CHECK(out.data == NULL);
    sinter_destroy(model);
    sinter_destroy(NULL);
}

static _Atomic int64_t outstanding, allocations;
static void *counted_allocate(void *user, size_t size, size_t alignment) {
    (void)user;
    outstanding += (int64_t)size;
    allocations++;
    return aligned_alloc(alignment, size);
}
static void counted_deallocate(void *user, void *pointer, size_t size, size_t alignment) {
    (void)user, (void)alignment;
    outstanding -= (int64_t)size;
    free(pointer);
}

/* Options of compilation are refused for what is compiled already. */
static void test_artifact_options(void) {
    char folder[256], path[300];
    CHECK(sinter_file_make_folder(folder, NULL));
    snprintf(path, sizeof path, "%s/mlp.so", folder);
    CHECK(support_compile("mlp", 0, "cpu", path));
    const sinter_options refused[] = {
        {.size = sizeof(sinter_options), .thread_count = 1, .target = "cpu"},
        {.size = sizeof(sinter_options), .thread_count = 1, .passes = "fuse"},
        {.size = sizeof(sinter_options),
         .thread_count = 1,
         .dims = (const char *const[]){"batch=2", NULL}},
        {.size = sizeof(sinter_options), .thread_count = 1, .tuning = "cnn.tuning"}};
    static const char *const messages[] = {
        "sinter_options.target does not apply", "sinter_options.passes does not apply",
        "sinter_options.dims does not apply", "sinter_options.tuning does not apply"};
    sinter_model *model = NULL;
    for (int i = 0; i < 4; i++) {
        sinter_status *status = sinter_load(path, &refused[i], &model);
        CHECK(strstr(sinter_status_message(status), path) != NULL);
        expect(status, SINTER_STATUS_BAD_INPUT, messages[i]);
        CHECK(model == NULL);
    }
    CHECK(sinter_load(path, NULL, &model) == NULL);
    sinter_destroy(model);
    remove(path);
    rmdir(folder);
}

static void test_options(void) {
    sinter_options options = SINTER_OPTIONS_INIT;
    sinter_model *model = NULL;
    sinter_pool *pool = NULL;
    sinter_abi_tensor in = input(2), out;
    sinter_allocator allocator = {NULL, counted_allocate, counted_deallocate};
    CHECK(sinter_pool_create(2, &allocator, &pool) == NULL);
    int64_t in_pool = outstanding;
    CHECK(in_pool > 0);
    options.dims = (const char *const[]){"batch=2", NULL};
    options.pool = pool;
    options.level = 1;
    CHECK(sinter_load("tests/models/cnn.onnx", &options, &model) == NULL);
    CHECK(model && sinter_describe(model)->inputs[0].dims[0] == 2);
    int64_t before = allocations;
    CHECK(sinter_run(model, &in, &out) == NULL);
    CHECK_INT_EQ(allocations, before + 2);       /* the output and the context */
    CHECK(sinter_set_threads(model, 1) == NULL); /* memory stays the affair of the caller's pool */
    sinter_outputs_free(model, &out);
    CHECK(sinter_run(model, &in, &out) == NULL);
    sinter_outputs_free(model, &out);
    sinter_destroy(model);
    CHECK_INT_EQ(outstanding, in_pool); /* nothing is left but the pool itself */
    options.dims = (const char *const[]){"batch=two", NULL};
    expect(sinter_load("tests/models/cnn.onnx", &options, &model), SINTER_STATUS_BAD_MODEL,
           "expected NAME=NUMBER or NAME=MIN..MAX");
    CHECK(model == NULL);
    options.dims = NULL;
    options.tuning = "tests/models/none.tuning";
    expect(sinter_load("tests/models/cnn.onnx", &options, &model), SINTER_STATUS_BAD_MODEL,
           "none.tuning");
    options.tuning = "tests/fuzz/corpus/tuning_fuzz/empty.tuning";
    expect(sinter_load("tests/models/cnn.onnx", &options, &model), SINTER_STATUS_BAD_MODEL,
           "the tuning was measured for another target");
    options.tuning = NULL;
    options.target = "cpu:pentium";
    expect(sinter_load("tests/models/cnn.onnx", &options, &model), SINTER_STATUS_BAD_MODEL,
           "unknown CPU 'pentium'");
    options.target = "eval";
    expect(sinter_load("tests/models/cnn.onnx", &options, &model), SINTER_STATUS_BAD_INPUT,
           "target is 'eval'");
    options.level = 4;
    options.target = NULL;
    expect(sinter_load("tests/models/cnn.onnx", &options, &model), SINTER_STATUS_BAD_INPUT,
           "level is 4");
    options.size = 8;
    expect(sinter_load("tests/models/cnn.onnx", &options, &model), SINTER_STATUS_BAD_INPUT,
           "SINTER_OPTIONS_INIT");
    expect(sinter_load("tests/models/none.onnx", NULL, &model), SINTER_STATUS_BAD_MODEL,
           "none.onnx");
    expect(sinter_load("tests/models/none.so", NULL, &model), SINTER_STATUS_UNREADABLE, "none.so");
    expect(sinter_load("tests/models/README.md", NULL, &model), SINTER_STATUS_BAD_MODEL,
           "README.md");
    sinter_pool_destroy(pool);
    CHECK_INT_EQ(outstanding, 0);
    test_artifact_options();
}

/* A locale with a decimal comma, from the system or made in the folder; false where neither is to be had. */
static bool set_comma_locale(const char *folder) {
    if (setlocale(LC_ALL, "de_DE.UTF-8")) return true;
    char command[2 * SINTER_FILE_FOLDER_BYTES + 100];
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8 >%s/log 2>&1",
             folder, folder);
    if (system(command)) puts("note: localedef can't make a locale here");
    setenv("LOCPATH", folder, 1);
    return setlocale(LC_ALL, "de_DE.UTF-8") != NULL;
}

/* Numbers in models, tables and options have a point, also where the program writes a comma. */
static void test_locale(void) {
    char folder[SINTER_FILE_FOLDER_BYTES], path[SINTER_FILE_FOLDER_BYTES + 20];
    if (!CHECK(sinter_file_make_folder(folder, NULL))) return;
    snprintf(path, sizeof path, "%s/slope.sir", folder);
    const char *text = "module \"slope\" { graph (%x: f32[2]) {"
                       " %y = leaky_relu(%x) %z = mul(%y, %y) yield(%z) } }";
    CHECK(sinter_file_write(path, text, strlen(text), NULL));
    if (set_comma_locale(folder)) {
        sinter_model *model = NULL;
        float x[2] = {-100, 3}, y[2] = {0};
        sinter_abi_tensor in = sinter_tensor_over(x, sizeof x, 1, 1, (int64_t[]){2});
        sinter_abi_tensor out = {.data = y, .bytes = sizeof y};
        CHECK(sinter_load(path, NULL, &model) == NULL);
        CHECK(model && sinter_run_into(model, &in, &out) == NULL);
        CHECK_DOUBLE_EQ((double)y[0], 1); /* the slope is 0.01 unless the node says otherwise */
        CHECK_DOUBLE_EQ((double)y[1], 9);
        CHECK_STRING_EQ(localeconv()->decimal_point, ","); /* the caller's is as it was */
        sinter_destroy(model);
        setlocale(LC_ALL, "C");
    }
    char command[SINTER_FILE_FOLDER_BYTES + 20];
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK(system(command) == 0);
}

/* One step of a cache [2,N,3] for each of two states; sizes are of floats. */
enum { CACHE = 2 * 5 * 3 };
static void step(sinter_model *model, float *k, float *v, const float *new_rows, int64_t *at,
                 float *out_k, float *out_v) {
    const int64_t dims[] = {2, CACHE / 6, 3}, row_dims[] = {2, 1, 3}, two[] = {2};
    sinter_abi_tensor inputs[] = {
        sinter_tensor_over(k, CACHE * sizeof *k, 1, 3, dims),
        sinter_tensor_over(v, CACHE * sizeof *v, 1, 3, dims),
        sinter_tensor_over(new_rows, 6 * sizeof *new_rows, 1, 3, row_dims),
        sinter_tensor_over(at, 2 * sizeof *at, 7, 1, two)};
    sinter_abi_tensor outputs[] = {{.data = out_k, .bytes = CACHE * sizeof *out_k},
                                   {.data = out_v, .bytes = CACHE * sizeof *out_v}};
    CHECK(sinter_run_into(model, inputs, outputs) == NULL);
}

/* A cache is updated where it is when the caller says so: nothing but the new rows is written. */
static void test_cache(void) {
    char folder[SINTER_FILE_FOLDER_BYTES], path[SINTER_FILE_FOLDER_BYTES + 20];
    if (!CHECK(sinter_file_make_folder(folder, NULL))) return;
    snprintf(path, sizeof path, "%s/cache.sir", folder);
    const char *text =
        "module \"cache\" { graph (%k: f32[2,N,3], %v: f32[2,N,3], %new: f32[2,1,3], %at: i64[2]) {"
        " %pv = tensor_scatter(%v, %new, %at) %pk = tensor_scatter(%k, %new, %at)"
        " yield(%pk, %pv) } }";
    CHECK(sinter_file_write(path, text, strlen(text), NULL));
    sinter_model *model = NULL;
    CHECK(sinter_load(path, NULL, &model) == NULL);
    if (CHECK(model != NULL)) {
        const sinter_abi_artifact *artifact = sinter_describe(model);
        CHECK_INT_EQ(artifact->donation_count, 2);
        for (uint32_t i = 0; i < artifact->donation_count; i++) /* k for k, v for v */
            CHECK_INT_EQ(artifact->donations[i].output, artifact->donations[i].input);
        float k[CACHE], v[CACHE], out_k[CACHE], out_v[CACHE], rows[6] = {-1, -2, -3, -4, -5, -6};
        int64_t at[2] = {1, 4};
        for (int i = 0; i < CACHE; i++) k[i] = (float)i, v[i] = (float)(100 + i);
        step(model, k, v, rows, at, out_k, out_v); /* apart: the old ones stay */
        for (int i = 0; i < CACHE; i++) {
            bool is_new = (i >= 3 && i < 6) || i >= 27;
            float row = is_new ? rows[i < 6 ? i - 3 : i - 24] : 0;
            CHECK(k[i] == (float)i && out_k[i] == (is_new ? row : k[i]));
            CHECK(v[i] == (float)(100 + i) && out_v[i] == (is_new ? row : v[i]));
        }
        step(model, k, v, rows, at, k, v);
        CHECK(memcmp(k, out_k, sizeof k) == 0 && memcmp(v, out_v, sizeof v) == 0);
        sinter_destroy(model);
    }
    remove(path);
    rmdir(folder);
}

static char last_line[200];

static void hear(void *user, const char *line) {
    ++*(int *)user;
    snprintf(last_line, sizeof last_line, "%s", line);
}

/* By rules, and what is wrong with options. */
static void test_compress(void) {
    static const char model[] = "tests/models/mlp.onnx";
    const char *samples[] = {"pixels=tests/models/digits_test_images.npy", NULL};
    sinter_compress_options options = SINTER_COMPRESS_OPTIONS_INIT;
    sinter_compress_result result;
    char folder[] = "/tmp/sinter-compress-XXXXXX", out[64];
    int heard = 0;
    if (!CHECK(mkdtemp(folder) != NULL)) return;
    snprintf(out, sizeof out, "%s/small.onnx", folder);
    options.rules = "default weights=int8 activations=u8";
    options.samples = samples;
    options.labels = "tests/models/digits_test_labels.npy";
    options.progress = hear;
    options.user = &heard;
    expect(sinter_compress(model, out, &options, &result), SINTER_STATUS_OK, "");
    CHECK(result.compressed.bytes < 0.4 * result.original.bytes);
    CHECK(result.compressed.score > result.original.score - 1 && result.scored_on > 300);
    CHECK(heard > 2 && last_line[0]);

    sinter_model *small = NULL;
    expect(sinter_load(out, NULL, &small), SINTER_STATUS_OK, "");
    sinter_destroy(small);
    remove(out);

    options.max_drop = "0.0000001";
    options.metric = "mse";
    expect(sinter_compress(model, out, &options, &result), SINTER_STATUS_BAD_MODEL,
           "labels do nothing with mse");
    options.labels = NULL;
    options.rules = NULL;
    options.settings = "ternary";
    expect(sinter_compress(model, out, &options, &result), SINTER_STATUS_OVER_BUDGET,
           "candidates loses at most 1e-07 of mse");
    CHECK(result.over_budget == 1 && result.lost > 1e-7 && result.candidates > 0);
    options.goal = "beauty";
    expect(sinter_compress(model, out, &options, NULL), SINTER_STATUS_BAD_MODEL, "beauty");
    options.size = 8;
    expect(sinter_compress(model, out, &options, NULL), SINTER_STATUS_BAD_INPUT, "size is 8");
    expect(sinter_compress(NULL, out, NULL, NULL), SINTER_STATUS_BAD_INPUT, "path");
    expect(sinter_compress("nowhere.onnx", out, NULL, NULL), SINTER_STATUS_BAD_MODEL, "nowhere");

    /* What is read is not written over, and nothing twice. */
    options.size = sizeof options;
    options.goal = NULL;
    expect(sinter_compress(model, "tests/../tests/models/mlp.onnx", &options, NULL),
           SINTER_STATUS_BAD_MODEL, "would overwrite what is read: tests/models/mlp.onnx");
    options.report = "tests/models/digits_test_images.npy";
    expect(sinter_compress(model, out, &options, NULL), SINTER_STATUS_BAD_MODEL,
           "would overwrite what is read: tests/models/digits_test_images.npy");
    options.report = out;
    expect(sinter_compress(model, out, &options, NULL), SINTER_STATUS_BAD_MODEL,
           "two that are written are this file");
    CHECK(rmdir(folder) == 0); /* nothing else was written */
}

int main(void) {
    for (int i = 0; i < BATCH * 64; i++) pixels[i] = (float)(i % 16);
    test_locale(); /* first: tables that are made once are made in it */
    test_model();
    test_options();
    test_cache();
    test_compress();
    return test_finish();
}
