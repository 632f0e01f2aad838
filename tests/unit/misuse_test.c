/* The public library called wrongly, and given wrong files: every time a status with the right code and a message that names
 * what is wrong, and the model goes on working. */
#include "runtime/jit/sinter.h"
#include "tests/unit/artifact_support.h"
#include "tests/unit/test.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

static char folder[SINTER_FILE_FOLDER_BYTES];

static const char *in_folder(const char *name) {
    static char path[SINTER_FILE_FOLDER_BYTES + 100];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void expect(sinter_status *status, sinter_status_code code, const char *part) {
    if (!CHECK(sinter_status_get_code(status) == code &&
               strstr(sinter_status_message(status), part) != NULL))
        printf("%d: %s\n", (int)sinter_status_get_code(status), sinter_status_message(status));
    sinter_status_destroy(status);
}

/* A model of a few lines. */
static sinter_model *load_text(const char *text) {
    sinter_model *model = NULL;
    const char *path = in_folder("m.sir");
    CHECK(sinter_file_write(path, text, strlen(text), NULL));
    expect(sinter_load(path, NULL, &model), SINTER_STATUS_OK, "");
    return model;
}

/* ---- NULL ---- */

static void test_null(sinter_model *model) {
    const sinter_status_code bad = SINTER_STATUS_BAD_INPUT;
    sinter_model *none = NULL;
    sinter_executable *executable = NULL;
    sinter_abi_tensor tensor = {0};
    uint64_t bytes;
    expect(sinter_load(NULL, NULL, &none), bad, "path: expected an address, found NULL");
    expect(sinter_load("tests/models/mlp.onnx", NULL, NULL), bad, "out_model");
    expect(sinter_run(NULL, &tensor, &tensor), bad, "model: expected an address, found NULL");
    expect(sinter_run(model, NULL, &tensor), bad, "inputs: expected an address, found NULL");
    expect(sinter_run(model, &tensor, NULL), bad, "outputs: expected an address, found NULL");
    expect(sinter_run_into(NULL, &tensor, &tensor), bad, "model");
    expect(sinter_run_into(model, &tensor, NULL), bad, "outputs");
    expect(sinter_set_threads(NULL, 1), bad, "model");
    expect(sinter_pool_create(1, NULL, NULL), bad, "NULL");
    expect(sinter_executable_load(NULL, NULL, &executable), bad, "path");
    expect(sinter_executable_load("m.so", NULL, NULL), bad, "out_executable");
    expect(sinter_executable_wrap(sinter_describe(model), NULL, NULL, NULL), bad, "NULL");
    expect(sinter_executable_plan(NULL, &tensor, &tensor, &bytes), bad, "executable");
    expect(sinter_executable_run(NULL, &tensor, &tensor, NULL, NULL, 0), bad, "executable");
    CHECK(sinter_describe(NULL) == NULL && sinter_executable_describe(NULL) == NULL);
    sinter_outputs_free(NULL, &tensor);
    sinter_outputs_free(model, NULL);
    sinter_output_free(NULL, NULL);
    sinter_destroy(NULL);
    sinter_executable_destroy(NULL);
    sinter_pool_destroy(NULL);
    sinter_status_destroy(NULL);
}

/* ---- tensors ---- */

enum { COUNT = 64 };

static void test_tensors(sinter_model *model) {
    static float pixels[COUNT + 1], logits[20];
    char *odd = (char *)pixels + 1;
    const int64_t dims[] = {1, 8, 8};
    const struct {
        int32_t rank, dtype;
        int64_t batch;
        uint64_t bytes;
        const void *data;
        const char *part;
    } rows[] = {
        {3, 1, -1, COUNT * 4, pixels, "dim 0 is negative"},
        {3, 1, INT64_MIN, COUNT * 4, pixels, "dim 0 is negative"},
        {3, 1, 2, COUNT * 4, pixels, "needs 512 bytes and has 256"},
        {3, 1, 1, COUNT * 4 - 1, pixels, "needs 256 bytes and has 255"},
        {3, 1, 1, COUNT * 4, NULL, "'pixels' has no data"},
        {3, 1, 1, COUNT * 4, odd, "input 'pixels' is not aligned to its elements"},
        {2, 1, 1, COUNT * 4, pixels, "expected rank 3, found rank 2"},
        {-1, 1, 1, COUNT * 4, pixels, "found rank -1"},
        {1000000, 1, 1, COUNT * 4, pixels, "found rank 1000000"},
        {3, 11, 1, COUNT * 8, pixels, "expected element type f32 (ONNX code 1), found code 11"},
        {3, 0, 1, COUNT * 4, pixels, "found code 0"},
        {3, -7, 1, COUNT * 4, pixels, "found code -7"},
        {3, 8, 1, COUNT * 4, pixels, "found code 8"}, /* strings */
    };
    sinter_abi_tensor out = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sinter_abi_tensor in =
            sinter_tensor_over(rows[i].data, rows[i].bytes, rows[i].dtype, 3, dims);
        in.rank = rows[i].rank;
        in.dims[0] = rows[i].batch;
        expect(sinter_run(model, &in, &out), SINTER_STATUS_BAD_INPUT, rows[i].part);
        CHECK(out.data == NULL);
    }
    sinter_abi_tensor in = sinter_tensor_over(pixels, COUNT * 4, 1, 3, dims);
    in.dims[0] = INT64_MAX;
    expect(sinter_run(model, &in, &out), SINTER_STATUS_OVERFLOW, "overflows");
    in.dims[0] = 1;
    out = (sinter_abi_tensor){.data = (char *)logits + 2, .bytes = 40};
    expect(sinter_run_into(model, &in, &out), SINTER_STATUS_BAD_INPUT,
           "output 'logits' is not aligned to its elements");
    out = (sinter_abi_tensor){.data = logits, .bytes = 39};
    expect(sinter_run_into(model, &in, &out), SINTER_STATUS_BAD_INPUT, "needs 40 bytes and has 39");
    out = (sinter_abi_tensor){.data = logits, .bytes = UINT64_MAX};
    expect(sinter_run_into(model, &in, &out), SINTER_STATUS_OK, "");
    CHECK_INT_EQ(out.bytes, 40);
    expect(sinter_set_threads(model, 1000000), SINTER_STATUS_BAD_INPUT,
           "a pool of 1000000 threads");
    expect(sinter_set_threads(model, UINT32_MAX), SINTER_STATUS_BAD_INPUT, "expected 1 to");
    in.dims[0] = 0; /* nothing to do is no mistake */
    expect(sinter_run(model, &in, &out), SINTER_STATUS_OK, "");
    sinter_outputs_free(model, &out);
}

/* ---- memory that is both ---- */

static void test_overlaps(void) {
    sinter_model *model = load_text("module \"swap\" { graph (%a: f32[8], %b: f32[8]) {"
                                    " %x = sub(%b, %a) %y = mul(%x, %b) yield(%x, %y) } }");
    if (!model) return;
    static float a[16], b[8], x[8], y[8];
    const int64_t dims[] = {8};
    sinter_abi_tensor in[] = {sinter_tensor_over(a, 32, 1, 1, dims),
                              sinter_tensor_over(b, 32, 1, 1, dims)};
    const struct {
        float *x, *y;
        const char *part; /* NULL: allowed */
    } rows[] = {{a, y, "lies in the memory of input"},
                {a + 3, y, "lies in the memory of input"},
                {x, b + 7, "lies in the memory of input"},
                {x, x, "have the same memory"},
                {a + 8, y, NULL}, /* straight behind it */
                {x, y, NULL}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sinter_abi_tensor out[] = {{.data = rows[i].x, .bytes = 32},
                                   {.data = rows[i].y, .bytes = 32}};
        expect(sinter_run_into(model, in, out),
               rows[i].part ? SINTER_STATUS_BAD_INPUT : SINTER_STATUS_OK,
               rows[i].part ? rows[i].part : "");
    }
    in[1] = in[0]; /* two inputs may be one */
    sinter_abi_tensor out[] = {{.data = x, .bytes = 32}, {.data = y, .bytes = 32}};
    expect(sinter_run_into(model, in, out), SINTER_STATUS_OK, "");
    sinter_destroy(model);
}

/* ---- files ---- */

static void write_image(const char *name, uint32_t machine, uint32_t version, size_t cut) {
    size_t size;
    unsigned char *image = support_image("", 0, &size);
    Elf64_Ehdr head;
    sinter_abi_trailer t;
    memcpy(&head, image, sizeof head);
    memcpy(&t, image + size - sizeof t, sizeof t);
    if (machine) head.e_machine = (Elf64_Half)(t.machine = machine);
    if (version) t.version = version;
    memcpy(image, &head, sizeof head);
    t.head_hash = sinter_abi_hash(image, t.weights_offset, 0);
    t.trailer_hash = sinter_abi_hash(&t, offsetof(sinter_abi_trailer, trailer_hash), t.machine);
    memcpy(image + size - sizeof t, &t, sizeof t);
    CHECK(support_write(in_folder(name), image, size - cut));
    free(image);
}

static void test_files(void) {
    sinter_model *model = NULL;
    write_image("riscv.so", EM_RISCV, 0, 0);
    write_image("future.so", 0, 2, 0);
    write_image("cut.so", 0, 0, 1);
    write_image("bare.so", 0, 0, 0); /* all checks are passed, and then the system can't load it */
    CHECK(support_write(in_folder("empty.so"), "", 0));
    CHECK(support_write(in_folder("text.so"), "module", 6));
    CHECK(!mkdir(in_folder("folder.so"), 0700));
    CHECK(!mkfifo(in_folder("pipe.so"), 0600));
    CHECK(!symlink("/dev/zero", in_folder("zero.so")));
    CHECK(!symlink("loop.so", in_folder("loop.so")));
    static const struct {
        const char *name;
        sinter_status_code code;
        const char *part;
    } rows[] = {
        {"riscv.so", SINTER_STATUS_WRONG_CPU, "compiled for another processor"},
        {"future.so", SINTER_STATUS_BAD_ARTIFACT, "version 2"},
        {"cut.so", SINTER_STATUS_BAD_ARTIFACT, "cut off"},
        {"bare.so", SINTER_STATUS_FAILED, "the system can't load it"},
        {"empty.so", SINTER_STATUS_BAD_ARTIFACT, "not an artifact: too short"},
        {"text.so", SINTER_STATUS_BAD_ARTIFACT, "not an artifact: too short"},
        {"folder.so", SINTER_STATUS_UNREADABLE, "not a regular file"},
        {"pipe.so", SINTER_STATUS_UNREADABLE, "not a regular file"},
        {"zero.so", SINTER_STATUS_UNREADABLE, "not a regular file"},
        {"loop.so", SINTER_STATUS_UNREADABLE, "can't be opened"},
        {"none.so", SINTER_STATUS_UNREADABLE, "can't be opened"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sinter_status *status = sinter_load(in_folder(rows[i].name), NULL, &model);
        CHECK(model == NULL && strstr(sinter_status_message(status), rows[i].name));
        expect(status, rows[i].code, rows[i].part);
    }
    rmdir(in_folder("folder.so"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) unlink(in_folder(rows[i].name));
    expect(sinter_load("/proc/self/exe", NULL, &model), SINTER_STATUS_BAD_ARTIFACT,
           "not an artifact");
}

/* ---- many at once ---- */

static void *load_and_run(void *user) {
    bool *good = user;
    static float pixels[COUNT];
    for (int i = 0; i < 3; i++) {
        sinter_model *model = NULL;
        sinter_abi_tensor in =
            sinter_tensor_over(pixels, sizeof pixels, 1, 3, (int64_t[]){1, 8, 8});
        sinter_abi_tensor out;
        if (sinter_load("tests/models/mlp.onnx", NULL, &model)) return NULL;
        if (sinter_run(model, &in, &out)) return NULL;
        sinter_outputs_free(model, &out);
        sinter_destroy(model);
    }
    *good = true;
    return NULL;
}

static void test_concurrent_loads(void) {
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    bool good[THREADS] = {false};
    for (int i = 0; i < THREADS; i++)
        CHECK(!pthread_create(&threads[i], NULL, load_and_run, &good[i]));
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        CHECK(good[i]);
    }
}

int main(void) {
    if (!CHECK(sinter_file_make_folder(folder, NULL))) return test_finish();
    sinter_model *model = NULL;
    CHECK(sinter_load("tests/models/mlp.onnx", NULL, &model) == NULL);
    if (model) {
        test_null(model);
        test_tensors(model);
    }
    sinter_destroy(model);
    test_overlaps();
    test_files();
    test_concurrent_loads();
    unlink(in_folder("m.sir"));
    CHECK(!rmdir(folder));
    return test_finish();
}
