/* NVRTC, emulated and, where it is installed, NVIDIA's: architectures, what is wrong with a text, each of its functions failing,
 * the cache with a damaged entry, without a folder and with several processes at once. */
#include "tests/unit/device_support.h"

#include "ir/base/process.h"

#include <sys/stat.h>
#include <sys/wait.h>

static const char text[] = "extern \"C\" __global__ void add_one(float *x, long long n)\n"
                           "{\n"
                           "    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;\n"
                           "    if (i < n) x[i] += 1.0f;\n"
                           "}\n";

static sinter_arena arena;
static sinter_text said;
static sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &said};

static void forget(void) {
    sinter_text_deinit(&said);
}

static bool says(const char *what) {
    bool found = said.data && strstr(said.data, what);
    if (!found) printf("  said: %s\n", said.data ? said.data : "nothing");
    return found;
}

static void test_architectures(void) {
    static const struct {
        const char *text;
        uint32_t number, kind;
    } good[] = {{"sm_75", 75, SINTER_ABI_IMAGE_BINARY},
                {"sm_90a", 90, SINTER_ABI_IMAGE_EXACT},
                {"sm_120", 120, SINTER_ABI_IMAGE_BINARY},
                {"compute_80", 80, SINTER_ABI_IMAGE_TEXT}};
    static const char *const bad[] = {
        "",       "sm",    "sm_",    "sm_9",        "sm_90b",  "sm_90aa", "90",
        "sm_ 90", "sm_-9", "sm_090", "compute_90a", "sm_1000", "SM_90",   "sm_0x9"};
    uint32_t number = 0, kind = 9;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECK(sinter_nvrtc_architecture(good[i].text, &number, &kind) && number == good[i].number &&
              kind == good[i].kind);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (!CHECK(!sinter_nvrtc_architecture(bad[i], &number, &kind))) printf("  %s\n", bad[i]);
}

static bool compile(const sinter_nvrtc *nvrtc, const char *what, const char *architecture,
                    sinter_kernel_cache *cache, sinter_text *out_image) {
    forget();
    return sinter_nvrtc_compile(nvrtc, "test.cu", what, architecture, cache, out_image, NULL,
                                &diag);
}

/* Code and PTX, from one run. */
static bool compile_both(const sinter_nvrtc *nvrtc, const char *architecture,
                         sinter_kernel_cache *cache, sinter_text *out_image, sinter_text *out_ptx) {
    forget();
    return sinter_nvrtc_compile(nvrtc, "test.cu", text, architecture, cache, out_image, out_ptx,
                                &diag);
}

static bool is_same(const sinter_text *a, const sinter_text *b) {
    return a->size == b->size && a->size && !memcmp(a->data, b->data, a->size);
}

/* What comes of one run is what comes of two; PTX of sm_90a would be for that alone. */
static void test_both(const sinter_nvrtc *nvrtc) {
    sinter_text image = {0}, ptx = {0}, image_alone = {0}, ptx_alone = {0};
    CHECK(compile(nvrtc, text, "sm_80", NULL, &image_alone) &&
          compile(nvrtc, text, "compute_80", NULL, &ptx_alone));
    CHECK(compile_both(nvrtc, "sm_80", NULL, &image, &ptx));
    CHECK(is_same(&ptx, &ptx_alone) && image.size == image_alone.size && !is_same(&image, &ptx));
    CHECK(!compile_both(nvrtc, "sm_90a", NULL, &image, &ptx));
    CHECK(says("sm_90a': PTX for later ones comes with sm_90"));
    CHECK(!compile_both(nvrtc, "compute_80", NULL, &image, &ptx));
    sinter_text_deinit(&image);
    sinter_text_deinit(&ptx);
    sinter_text_deinit(&image_alone);
    sinter_text_deinit(&ptx_alone);
    forget();
}

static void test_errors(const sinter_nvrtc *nvrtc) {
    sinter_text image = {0};
    CHECK(!compile(nvrtc, "extern \"C\" __global__ void k(int *x) { *x = missing; }", "sm_90", NULL,
                   &image));
    CHECK(says("NVRTC_ERROR_COMPILATION") && says("missing") && says("test.cu"));
    CHECK(!compile(nvrtc, text, "sm_9", NULL, &image));
    CHECK(says("sm_9'") && says("expected sm_90"));
    CHECK(!compile(nvrtc, text, "sm_20", NULL, &image));
    CHECK(says("NVRTC_ERROR_INVALID_OPTION") && says("arch"));
    CHECK_INT_EQ(image.size, 0);
    sinter_text_deinit(&image);
    forget();
}

static const char *const symbols[] = {
#define NVRTC(name, symbol, parameters) #symbol,
#include "codegen/nvrtc.def"
#undef NVRTC
};

/* Not those that give something back; the version is asked for as it is opened. */
static void test_failures(const sinter_nvrtc *nvrtc) {
    int failed = 0;
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        char wish[64];
        sinter_text image = {0}, later = {0};
        if (strstr(symbols[i], "Log") || strstr(symbols[i], "Destroy") ||
            strstr(symbols[i], "Version"))
            continue;
        snprintf(wish, sizeof wish, "%s=11", symbols[i]);
        setenv("SINTER_EMULATION_NVRTC_FAIL", wish, 1);
        bool binary = compile(nvrtc, text, "sm_90", NULL, &image);
        bool told = binary || says("NVRTC_ERROR_INTERNAL_ERROR");
        bool ptx = compile(nvrtc, text, "compute_90", NULL, &image);
        CHECK(told && (ptx || says("NVRTC_ERROR_INTERNAL_ERROR")) && !(binary && ptx));
        failed += !binary + !ptx;
        CHECK(!compile_both(nvrtc, "sm_90", NULL, &image, &later) &&
              says("NVRTC_ERROR_INTERNAL_ERROR"));
        unsetenv("SINTER_EMULATION_NVRTC_FAIL");
        sinter_text_deinit(&later);
        sinter_text_deinit(&image);
    }
    CHECK_INT_EQ(failed, 2 + 2 + 2 + 2); /* create and compile for both, two more for each */
    sinter_nvrtc again;
    setenv("SINTER_EMULATION_NVRTC_FAIL", "nvrtcVersion=11", 1);
    forget();
    CHECK(!sinter_nvrtc_open(&again, &arena, &diag) && says("NVRTC_ERROR_INTERNAL_ERROR"));
    unsetenv("SINTER_EMULATION_NVRTC_FAIL");
    forget();
}

/* ---- the cache ---- */

/* With no C++ compiler, what comes must be from the cache. */
static bool is_cached(const sinter_nvrtc *nvrtc, sinter_kernel_cache *cache,
                      const sinter_text *expected) {
    sinter_text image = {0};
    setenv("CXX", "false", 1);
    bool found = compile(nvrtc, text, "sm_90", cache, &image);
    unsetenv("CXX");
    bool same =
        found && image.size == expected->size && !memcmp(image.data, expected->data, image.size);
    sinter_text_deinit(&image);
    return same;
}

/* The PTX that came with the code is found alone, the code with it, and both are made where one is missing. */
static void test_cache_of_both(const sinter_nvrtc *nvrtc, sinter_kernel_cache *cache) {
    sinter_text image = {0}, ptx = {0}, alone = {0}, code = {0}, later = {0};
    CHECK(compile(nvrtc, text, "sm_86", cache, &code));
    setenv("CXX", "false", 1);
    CHECK(!compile_both(nvrtc, "sm_86", cache, &image, &ptx));
    unsetenv("CXX");
    CHECK(image.size == 0 && ptx.size == 0);
    CHECK(compile_both(nvrtc, "sm_86", cache, &image, &ptx));
    setenv("CXX", "false", 1);
    CHECK(compile_both(nvrtc, "sm_86", cache, &code, &later) && is_same(&later, &ptx));
    CHECK(compile(nvrtc, text, "compute_86", cache, &alone) && is_same(&alone, &ptx));
    unsetenv("CXX");
    sinter_text_deinit(&image);
    sinter_text_deinit(&ptx);
    sinter_text_deinit(&alone);
    sinter_text_deinit(&code);
    sinter_text_deinit(&later);
}

static void spoil(const char *folder) {
    char command[256];
    snprintf(
        command, sizeof command,
        "for f in %s/*.kernel; do printf X | dd of=$f bs=1 seek=900 conv=notrunc status=none; done",
        folder);
    CHECK(system(command) == 0);
}

static void test_processes(const sinter_nvrtc *nvrtc, sinter_kernel_cache *cache) {
    pid_t children[4];
    for (int i = 0; i < 4; i++) {
        children[i] = fork();
        if (children[i]) continue;
        sinter_text image = {0};
        bool good = compile(nvrtc, text, "sm_80", cache, &image) && !said.size;
        sinter_text_deinit(&image);
        forget();
        _exit(good ? 0 : 1);
    }
    for (int i = 0; i < 4; i++) {
        int status = -1;
        CHECK(waitpid(children[i], &status, 0) == children[i] && status == 0);
    }
}

static void test_cache(const sinter_nvrtc *nvrtc) {
    char folder[] = "/tmp/sinter_nvrtc_test_XXXXXX", command[64];
    sinter_text image = {0}, again = {0};
    sinter_kernel_cache cache;
    if (!CHECK(mkdtemp(folder) != NULL)) return;
    CHECK(sinter_kernel_cache_open(&cache, folder, &arena, &diag));
    CHECK(compile(nvrtc, text, "sm_90", &cache, &image) && !said.size);
    CHECK(is_cached(nvrtc, &cache, &image));
    spoil(folder);
    CHECK(!is_cached(nvrtc, &cache, &image));
    CHECK(compile(nvrtc, text, "sm_90", &cache, &again) && !said.size);
    CHECK(is_cached(nvrtc, &cache, &again));
    test_processes(nvrtc, &cache);
    test_cache_of_both(nvrtc, &cache);
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK(system(command) == 0);
    CHECK(compile(nvrtc, text, "sm_90", &cache, &again) && says("are not kept"));
    sinter_text_deinit(&image);
    sinter_text_deinit(&again);
    forget();
}

/* ---- where it is looked for ---- */

static void test_broken(void) {
    char folder[] = "/tmp/sinter_nvrtc_test_XXXXXX", path[128];
    sinter_nvrtc nvrtc;
    if (!CHECK(mkdtemp(folder) != NULL)) return;
    snprintf(path, sizeof path, "%s/lib64", folder);
    CHECK(mkdir(path, 0700) == 0);
    snprintf(path, sizeof path, "%s/lib64/libnvrtc.so.12", folder);
    CHECK(sinter_file_write(path, "junk", 4, NULL));
    setenv("SINTER_CUDA_PATH", folder, 1);
    CHECK(!sinter_nvrtc_open(&nvrtc, &arena, &diag));
    CHECK(says(path) && says("not found"));
    forget();
    unlink(path);
    snprintf(path, sizeof path, "%s/lib64", folder);
    rmdir(path);
    rmdir(folder);
    use_emulation();
}

/* NVIDIA's own: real machine code for each architecture, and PTX. */
static void test_real(void) {
    sinter_nvrtc nvrtc;
    unsetenv("SINTER_CUDA_PATH");
    setenv("VIRTUAL_ENV", "build/venv", 0);
    if (!sinter_nvrtc_open(&nvrtc, &arena, NULL)) {
        printf("NVRTC is not installed: it is not tested\n");
        return;
    }
    static const char *const architectures[] = {"sm_75", "sm_80", "sm_90a", "compute_80"};
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++) {
        sinter_text image = {0};
        bool is_text = architectures[i][0] == 'c';
        if (!CHECK(compile(&nvrtc, text, architectures[i], NULL, &image)) && said.data)
            puts(said.data);
        CHECK(image.size > 100 &&
              (is_text ? strstr(image.data, ".target sm_80") && !image.data[image.size - 1]
                       : !memcmp(image.data, "\177ELF", 4)));
        sinter_text_deinit(&image);
    }
    test_errors(&nvrtc);
    test_both(&nvrtc);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    sinter_arena_init(&arena);
    test_architectures();
    test_real();
    use_emulation();
    sinter_nvrtc nvrtc;
    if (CHECK(sinter_nvrtc_open(&nvrtc, &arena, &diag))) {
        CHECK(strstr(nvrtc.path, "cuda_emulation") != NULL);
        test_errors(&nvrtc);
        test_both(&nvrtc);
        test_failures(&nvrtc);
        test_cache(&nvrtc);
    }
    test_broken();
    sinter_arena_deinit(&arena);
    forget();
    return test_finish();
}
