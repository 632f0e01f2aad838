/* codegen/kernel_cache.c: what is kept is found again by the same key alone, damage counts as absence, the oldest go first, and
 * a compilation that finds its kernels writes the same bytes as one that makes them, and finds those of a program that differs in
 * names where it was asked to leave them out. */
#include "codegen/kernel_cache.h"
#include "ir/parse.h"
#include "tests/unit/artifact_support.h"
#include "tests/unit/folder_support.h"
#include "tests/unit/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

static char folder[SINTER_FILE_FOLDER_BYTES];

/* The only entry, or the one numbered `index` in the folder's order. */
static void entry_path(const char *path, int index, char *out_path, size_t capacity) {
    DIR *directory = opendir(path);
    *out_path = 0;
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        if (entry->d_name[0] != '.' && index-- == 0)
            snprintf(out_path, capacity, "%s/%s", path, entry->d_name);
    if (directory) closedir(directory);
}

static void remove_entries(const char *path) {
    char entry[600];
    for (entry_path(path, 0, entry, sizeof entry); *entry; entry_path(path, 0, entry, sizeof entry))
        unlink(entry);
    rmdir(path);
}

static sinter_text text_of(const char *string) {
    sinter_text text = {0};
    sinter_text_append_string(&text, string);
    return text;
}

static bool finds(const sinter_kernel_cache *cache, const sinter_text *key, const char *object) {
    sinter_text found = {0};
    bool good = sinter_kernel_cache_find(cache, key, &found) && !strcmp(found.data, object);
    sinter_text_deinit(&found);
    return good;
}

static void test_entries(void) {
    char path[300], entry[600];
    snprintf(path, sizeof path, "%s/a/b", folder);
    sinter_diag diag = {.handler = sinter_diag_print_handler, .user = stdout};
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_kernel_cache cache;
    if (!CHECK(sinter_kernel_cache_open(&cache, path, &arena, &diag))) return;
    sinter_text key = text_of("key"), other = text_of("kez"), object = text_of("code"),
                fresh = text_of("more code");
    CHECK(!finds(&cache, &key, "code"));
    sinter_kernel_cache_store(&cache, &key, &object, &diag);
    CHECK(finds(&cache, &key, "code") && !finds(&cache, &other, "code"));
    sinter_kernel_cache_store(&cache, &key, &fresh, &diag); /* another process was there as well */
    CHECK(finds(&cache, &key, "more code"));
    CHECK_INT_EQ(support_count_files(path), 1);
    entry_path(path, 0, entry, sizeof entry);
    size_t size = 0;
    unsigned char *bytes = support_read(entry, &size);
    for (size_t i = 0; bytes && i < size; i++) { /* any byte */
        bytes[i] ^= 0x20;
        CHECK(support_write(entry, bytes, size) && !finds(&cache, &key, "more code"));
        bytes[i] ^= 0x20;
    }
    for (size_t i = 0; bytes && i < size; i++)
        CHECK(support_write(entry, bytes, i) && !finds(&cache, &key, "more code"));
    free(bytes);
    CHECK_INT_EQ(diag.error_count + diag.warning_count, 0);
    unlink(entry);
    CHECK(!rmdir(path));
    sinter_diag quiet = {0};
    sinter_kernel_cache_store(&cache, &key, &object, &quiet); /* the folder is gone */
    CHECK(quiet.warning_count == 1 && quiet.error_count == 0);
    CHECK(!sinter_kernel_cache_open(&cache, "/dev/null/cache", &arena, &quiet) &&
          quiet.error_count == 1);
    snprintf(path, sizeof path, "%s/a", folder);
    rmdir(path);
    sinter_text_deinit(&key);
    sinter_text_deinit(&other);
    sinter_text_deinit(&object);
    sinter_text_deinit(&fresh);
    sinter_arena_deinit(&arena);
}

/* What is no file is not waited for, nor read without an end, and an entry takes its place. */
static void test_strangers(void) {
    char path[300], entry[600], inside[700];
    snprintf(path, sizeof path, "%s/strangers", folder);
    sinter_diag diag = {.handler = sinter_diag_print_handler, .user = stdout};
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_kernel_cache cache;
    if (!CHECK(sinter_kernel_cache_open(&cache, path, &arena, &diag))) return;
    sinter_text key = text_of("key"), object = text_of("code");
    CHECK(sinter_kernel_cache_store(&cache, &key, &object, &diag));
    entry_path(path, 0, entry, sizeof entry);
    for (int kind = 0; kind < 4; kind++) {
        CHECK(!unlink(entry));
        CHECK(kind == 0   ? !mkfifo(entry, 0600)
              : kind == 1 ? !symlink("/dev/zero", entry)
              : kind == 2 ? !mkdir(entry, 0700)
                          : support_write(entry, "", 0) && !truncate(entry, (off_t)1 << 40));
        CHECK(!finds(&cache, &key, "code"));
        CHECK(sinter_kernel_cache_store(&cache, &key, &object, &diag));
        CHECK(finds(&cache, &key, "code"));
    }
    CHECK_INT_EQ(diag.error_count + diag.warning_count, 0);
    CHECK(!unlink(entry) && !mkdir(entry, 0700));
    snprintf(inside, sizeof inside, "%s/somebody's", entry);
    CHECK(support_write(inside, "", 0));
    sinter_diag quiet = {0};
    CHECK(!sinter_kernel_cache_store(&cache, &key, &object, &quiet)); /* that is not thrown away */
    CHECK_INT_EQ(quiet.warning_count, 1);
    CHECK(!unlink(inside) && !rmdir(entry) && !rmdir(path));
    CHECK(!sinter_kernel_cache_open(&cache, "", &arena, &quiet));
    sinter_text_deinit(&key);
    sinter_text_deinit(&object);
    sinter_arena_deinit(&arena);
}

static void test_trim(void) {
    char path[300], entry[600];
    snprintf(path, sizeof path, "%s/trim", folder);
    sinter_diag diag = {.handler = sinter_diag_print_handler, .user = stdout};
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_kernel_cache cache;
    if (!CHECK(sinter_kernel_cache_open(&cache, path, &arena, &diag))) return;
    enum { COUNT = 10, OBJECT_BYTES = 1000 };
    static char zeros[OBJECT_BYTES];
    sinter_text object = {0}, keys[COUNT] = {{0}};
    sinter_text_append(&object, zeros, sizeof zeros);
    for (int i = 0; i < COUNT; i++) {
        sinter_text_format(&keys[i], "key %d", i);
        sinter_kernel_cache_store(&cache, &keys[i], &object, &diag);
    }
    for (int i = 0; i < COUNT; i++) { /* long ago, all of them */
        entry_path(path, i, entry, sizeof entry);
        CHECK(!utimensat(AT_FDCWD, entry, (struct timespec[]){{1000, 0}, {1000, 0}}, 0));
    }
    sinter_text found = {0};
    CHECK(sinter_kernel_cache_find(&cache, &keys[7], &found)); /* and this one now */
    sinter_kernel_cache_trim(&cache, 3 * OBJECT_BYTES + 500);
    CHECK_INT_EQ(support_count_files(path), 3);
    CHECK(sinter_kernel_cache_find(&cache, &keys[7], &found));
    remove_entries(path);
    for (int i = 0; i < COUNT; i++) sinter_text_deinit(&keys[i]);
    sinter_text_deinit(&object);
    sinter_text_deinit(&found);
    sinter_arena_deinit(&arena);
}

static bool compile(const char *cache, const char *path, sinter_diag *diag) {
    sinter_engine_options options = SINTER_ENGINE_OPTIONS_INIT;
    options.target = "so";
    options.cache = cache;
    sinter_module *module = sinter_import_file("tests/models/cnn.onnx", diag);
    sinter_engine *engine = module ? sinter_engine_create(module, &options, diag) : NULL;
    bool good = engine && sinter_engine_package(engine, path, diag);
    if (engine) sinter_engine_destroy(engine);
    return good;
}

/* A cache that takes nothing is said once for a compilation, not for each kernel; this one is packaged twice. */
static void test_full(const char *cache, const char *path, int kernels) {
    char command[1000];
    snprintf(command, sizeof command,
             "cd %s && for e in *; do rm $e && mkdir $e && touch $e/x || exit; done", cache);
    CHECK(system(command) == 0);
    CHECK_INT_EQ(support_count_files(cache), kernels);
    sinter_diag diag = {0};
    CHECK(compile(cache, path, &diag));
    CHECK_INT_EQ(diag.warning_count, 2);
    snprintf(command, sizeof command, "rm -r %s", cache);
    CHECK(system(command) == 0);
}

static void test_compilation(void) {
    char cache[300], path[300];
    size_t sizes[3] = {0};
    unsigned char *bytes[3] = {0};
    snprintf(cache, sizeof cache, "%s/kernels", folder);
    snprintf(path, sizeof path, "%s/m.so", folder);
    sinter_diag diag = {.handler = sinter_diag_print_handler, .user = stdout};
    for (int i = 0; i < 3; i++) { /* without, filling, finding */
        CHECK(compile(i ? cache : NULL, path, &diag));
        bytes[i] = support_read(path, &sizes[i]);
        CHECK(bytes[i] && sizes[i] == sizes[0] && !memcmp(bytes[i], bytes[0], sizes[0]));
    }
    CHECK_INT_EQ(diag.warning_count, 0);
    int kernels = (int)support_count_files(cache);
    CHECK(kernels > 1);
    for (int i = 0; i < 3; i++) free(bytes[i]);
    test_full(cache, path, kernels);
    unlink(path);
}

/* How many files a program for memory adds whose values are called by these names. */
static int64_t count_added(const char *cache, bool nameless, const char *input, const char *output,
                           const char *factor) {
    char text[400];
    snprintf(text, sizeof text,
             "module \"%s\" { graph (%%%s: f32[4]) {"
             " %%c = constant() {value = tensor<f32[4], [1, 2, 3, %s]>}"
             " %%%s = mul(%%%s, %%c) yield(%%%s) } }",
             input, input, factor, output, input, output);
    sinter_diag diag = {.handler = sinter_diag_print_handler, .user = stdout};
    sinter_engine_options options = SINTER_ENGINE_OPTIONS_INIT;
    options.cache = cache;
    options.nameless = nameless;
    int64_t before = (int64_t)support_count_files(cache);
    sinter_module *module = sinter_parse_module("text", text, strlen(text), &diag);
    sinter_engine *engine = module ? sinter_engine_create(module, &options, &diag) : NULL;
    if (!CHECK(engine)) return -1;
    const float x[4] = {1, 1, 1, 1};
    sinter_tensor in = {.kind = SINTER_TYPE_TENSOR,
                        .dtype = SINTER_DTYPE_f32,
                        .rank = 1,
                        .dims = {4},
                        .data = x},
                  out = {0};
    CHECK(sinter_engine_run(engine, &in, &out, &diag));
    CHECK(sinter_tensor_get_double(&out, 2) == 3);
    CHECK(sinter_tensor_get_double(&out, 3) == atof(factor));
    const char *called = sinter_engine_artifact(engine)->inputs[0].name;
    CHECK(nameless == (strcmp(called, input) != 0));
    sinter_tensor_deinit(&out);
    sinter_engine_destroy(engine);
    return (int64_t)support_count_files(cache) - before;
}

/* Weights are no code: programs that differ in them, and in names, are the same. */
static void test_nameless(void) {
    char cache[300];
    snprintf(cache, sizeof cache, "%s/nameless", folder);
    CHECK(!mkdir(cache, 0700));
    CHECK_INT_EQ(count_added(cache, true, "x", "y", "4"), 2);
    CHECK_INT_EQ(count_added(cache, true, "first", "second", "5"), 0);
    CHECK_INT_EQ(count_added(cache, false, "x", "y", "4"), 1); /* the host */
    CHECK_INT_EQ(count_added(cache, false, "x", "y", "5"), 0);
    CHECK_INT_EQ(count_added(cache, false, "first", "second", "5"), 1);
    remove_entries(cache);
}

int main(void) {
    if (!CHECK(sinter_file_make_folder(folder, NULL))) return test_finish();
    test_entries();
    test_strangers();
    test_trim();
    test_compilation();
    test_nameless();
    CHECK(!rmdir(folder));
    return test_finish();
}
