/* Memory that runs out: the n-th allocation fails, for every n that a load and a run of a small model take (an argument:
 * every so many of the larger models'; 29). Each time the answer is a status, nothing is left behind, and the next load
 * works. The linker sends the allocations of our code here (--wrap, see CMakeLists.txt); those of LLVM and libc are out of
 * reach. */
#include "tests/unit/artifact_support.h"
#include "tests/unit/test.h"

#include "runtime/jit/sinter.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *pointer, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *pointer);
void *__real_mmap(void *address, size_t size, int protection, int flags, int file, off_t offset);
int __real_munmap(void *address, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *pointer, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *pointer);
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int file, off_t offset);
int __wrap_munmap(void *address, size_t size);

/* ---- the injector ---- */

static _Atomic int64_t until_failure = -1; /* allocations that still succeed; negative: all do */
static _Atomic int64_t mapped;             /* bytes of whole pages */

/* Blocks alive, by open addressing; some that our code frees are libc's (realpath) and not in here. */
enum { SLOTS = 1 << 16 };
static const void *blocks[SLOTS];
static int64_t block_count;
static pthread_mutex_t blocks_lock = PTHREAD_MUTEX_INITIALIZER;

static size_t home(const void *pointer) {
    return (size_t)((uintptr_t)pointer / 16 * UINT64_C(0x9e3779b97f4a7c15) >> 48);
}

static size_t find_slot(const void *pointer) {
    size_t at = home(pointer);
    while (blocks[at] && blocks[at] != pointer) at = (at + 1) % SLOTS;
    return at;
}

static void *note(void *pointer) {
    if (!pointer) return NULL;
    pthread_mutex_lock(&blocks_lock);
    if (block_count > SLOTS / 2) abort();
    blocks[find_slot(pointer)] = pointer;
    block_count++;
    pthread_mutex_unlock(&blocks_lock);
    return pointer;
}

/* What follows in the run of slots moves up to fill the gap. */
static void empty_slot(size_t gap) {
    for (size_t at = (gap + 1) % SLOTS; blocks[at]; at = (at + 1) % SLOTS) {
        size_t distance = (at + SLOTS - home(blocks[at])) % SLOTS;
        if (distance < (at + SLOTS - gap) % SLOTS) continue;
        blocks[gap] = blocks[at];
        gap = at;
    }
    blocks[gap] = NULL;
    block_count--;
}

static void forget(const void *pointer) {
    if (!pointer) return;
    pthread_mutex_lock(&blocks_lock);
    size_t at = find_slot(pointer);
    if (blocks[at]) empty_slot(at);
    pthread_mutex_unlock(&blocks_lock);
}

static bool fails(void) {
    return until_failure >= 0 && until_failure-- == 0;
}

void *__wrap_malloc(size_t size) {
    return fails() ? NULL : note(__real_malloc(size));
}
void *__wrap_calloc(size_t count, size_t size) {
    return fails() ? NULL : note(__real_calloc(count, size));
}
void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    return fails() ? NULL : note(__real_aligned_alloc(alignment, size));
}
void *__wrap_realloc(void *pointer, size_t size) {
    if (fails()) return NULL;
    forget(pointer);
    return note(__real_realloc(pointer, size));
}
void __wrap_free(void *pointer) {
    forget(pointer);
    __real_free(pointer);
}
static int64_t whole_pages(size_t size) {
    int64_t page = sysconf(_SC_PAGESIZE);
    return ((int64_t)size + page - 1) / page * page;
}

void *__wrap_mmap(void *address, size_t size, int protection, int flags, int file, off_t offset) {
    if (fails()) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    if (!(flags & MAP_FIXED)) mapped += whole_pages(size);
    return __real_mmap(address, size, protection, flags, file, offset);
}
int __wrap_munmap(void *address, size_t size) {
    mapped -= whole_pages(size);
    return __real_munmap(address, size);
}

/* ---- what is tried ---- */

static float pixels[64];

static sinter_status *attempt(const char *path, const sinter_options *options, float *out_logits) {
    sinter_model *model = NULL;
    sinter_abi_tensor output,
        input = sinter_tensor_over(pixels, sizeof pixels, 1, 3, (const int64_t[]){1, 8, 8});
    sinter_status *status = sinter_load(path, options, &model);
    if (!status) status = sinter_run(model, &input, &output);
    if (!status) {
        memcpy(out_logits, output.data, sizeof(float[10]));
        sinter_outputs_free(model, &output);
    }
    sinter_destroy(model);
    return status;
}

/* Lets allocation after allocation fail, until one lies behind the end. keep: the first attempts of the process, which
 * build tables that stay. */
static void test_every(const char *path, const sinter_options *options, int64_t first, int64_t last,
                       int64_t stride, bool keep, const float *expected) {
    for (int64_t n = first; n < last; n += stride) {
        int64_t blocks_before = block_count, mapped_before = mapped;
        float logits[10];
        until_failure = n;
        sinter_status *status = attempt(path, options, logits);
        bool behind = until_failure >= 0;
        until_failure = -1;
        if (behind) {
            CHECK(status == NULL && !memcmp(logits, expected, sizeof logits));
            printf("%s: %lld allocations\n", path, (long long)n);
            return;
        }
        bool good = status && *sinter_status_message(status) &&
                    (sinter_status_get_code(status) == SINTER_STATUS_OUT_OF_MEMORY ||
                     sinter_status_get_code(status) == SINTER_STATUS_BAD_MODEL);
        if (!good)
            printf("%s: allocation %lld: status %d '%s'\n", path, (long long)n,
                   (int)sinter_status_get_code(status), sinter_status_message(status));
        CHECK(good);
        sinter_status_destroy(status);
        if (keep) continue;
        if (block_count != blocks_before || mapped != mapped_before)
            printf("%s: allocation %lld\n", path, (long long)n);
        CHECK_INT_EQ(block_count, blocks_before);
        CHECK_INT_EQ(mapped, mapped_before);
    }
}

/* The same answers from a text model, an artifact, and with the caller's allocator. */
static const char text_model[] = "module \"text\" {\n"
                                 "  graph (%x: f32[1,8,8]) {\n"
                                 "    %w = constant() {value = tensor<f32[2], [0.5, -2.0]>}\n"
                                 "    %s = constant() {value = tensor<i64[2], [32, 2]>}\n"
                                 "    %r = reshape(%x, %s)\n"
                                 "    %m = mul(%r, %w)\n"
                                 "    %t = transpose(%m) {perm = [1, 0]}\n"
                                 "    yield(%t)\n"
                                 "  }\n"
                                 "}\n";

static void *allocate(void *user, size_t size, size_t alignment) {
    (void)user;
    return __wrap_aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}
static void deallocate(void *user, void *pointer, size_t size, size_t alignment) {
    (void)user, (void)size, (void)alignment;
    __wrap_free(pointer);
}

static void test_kind(const char *path, const sinter_options *options, int64_t stride) {
    float expected[10];
    sinter_status *status = attempt(path, options, expected);
    if (!CHECK(status == NULL)) puts(sinter_status_message(status));
    test_every(path, options, 0, INT64_MAX, stride, false, expected);
}

/* Nothing may be in it that a file in the making left behind. */
static void remove_folder(const char *path) {
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (!CHECK(entry->d_name[0] != '.')) puts(entry->d_name);
        unlinkat(dirfd(folder), entry->d_name, 0);
    }
    if (folder) closedir(folder);
    CHECK(rmdir(path) == 0);
}

int main(int argument_count, char **arguments) {
    int64_t stride = argument_count > 1 ? atoll(arguments[1]) : 29;
    char folder[256], artifact[300], text[300];
    for (int i = 0; i < 64; i++) pixels[i] = (float)(i % 16);
    CHECK(sinter_file_make_folder(folder, NULL));
    snprintf(artifact, sizeof artifact, "%s/mlp.so", folder);
    snprintf(text, sizeof text, "%s/text.sir", folder);

    sinter_options options = SINTER_OPTIONS_INIT;
    options.compile_threads = 1;
    test_every("tests/models/mlp.onnx", &options, 0, 40, 1, true, NULL);
    test_kind("tests/models/mlp.onnx", &options, (stride + 9) / 10);
    CHECK(support_write(text, text_model, sizeof text_model - 1));
    test_kind(text, &options, 1);
    CHECK(support_compile("mlp", 0, "cpu", artifact));
    test_kind(artifact, NULL, 1);

    sinter_allocator allocator = {NULL, allocate, deallocate};
    CHECK(sinter_pool_create(2, &allocator, &options.pool) == NULL);
    options.dims = (const char *const[]){"batch=1", NULL};
    test_kind("tests/models/transformer.onnx", &options, stride);
    sinter_pool_destroy(options.pool);
    options.pool = NULL;
    options.thread_count = options.compile_threads = 2;
    options.cache_folder = folder;
    test_kind("tests/models/lstm.onnx", &options, stride);
    remove_folder(folder);
    return test_finish();
}
