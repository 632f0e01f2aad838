/* What the loader refuses, and that it does so before dlopen: every flipped bit, every cut, other versions, other CPUs; and
 * that weights are mapped where the contract says. */
#include "runtime/artifact_file.h"
#include "runtime/cpu_features.h"
#include "tests/unit/artifact_support.h"
#include "tests/unit/test.h"

/* The code of a check; its message goes into out_message. */
static sinter_status_code check(const void *image, size_t size, bool verify,
                                char out_message[512]) {
    sinter_artifact_file file;
    sinter_status *status = sinter_artifact_check("m.so", image, size, verify, &file);
    sinter_status_code code = sinter_status_get_code(status);
    snprintf(out_message, 512, "%s", sinter_status_message(status));
    sinter_status_destroy(status);
    return code;
}

static void test_flipped_bits(void) {
    char message[512];
    size_t size;
    unsigned char *image = support_image("", 0, &size);
    CHECK_INT_EQ(check(image, size, true, message), SINTER_STATUS_OK);
    int accepted = 0;
    for (size_t i = 0; i < size; i++)
        for (int bit = 0; bit < 8; bit++) {
            image[i] ^= (unsigned char)(1 << bit);
            accepted += check(image, size, false, message) == SINTER_STATUS_OK;
            image[i] ^= (unsigned char)(1 << bit);
        }
    CHECK_INT_EQ(accepted, 0);
    for (size_t cut = 0; cut < size; cut++)
        accepted += check(image, cut, false, message) == SINTER_STATUS_OK;
    CHECK_INT_EQ(accepted, 0);
    CHECK_INT_EQ(check(image + 8, size - 8, false, message), SINTER_STATUS_BAD_ARTIFACT);
    free(image);
}

static void test_weights(uint64_t bytes) {
    char message[512];
    size_t size;
    unsigned char *image = support_image("", bytes, &size);
    size_t weights = size - sizeof(sinter_abi_trailer) - bytes;
    CHECK_INT_EQ(weights % sinter_abi_weights_alignment(bytes), 0);
    CHECK_INT_EQ(check(image, size, true, message), SINTER_STATUS_OK);
    image[weights + 7] ^= 1;
    CHECK_INT_EQ(check(image, size, false, message), SINTER_STATUS_OK);
    CHECK_INT_EQ(check(image, size, true, message), SINTER_STATUS_BAD_ARTIFACT);
    CHECK_STRING_EQ(message,
                    "m.so: damaged or incomplete artifact: the checksum of its weights is wrong");
    image[weights - 1] ^= 1; /* even the zeros before them count */
    CHECK_INT_EQ(check(image, size, false, message), SINTER_STATUS_BAD_ARTIFACT);
    free(image);
}

static void test_other_machines(void) {
    char message[512];
    size_t size;
    unsigned char *image = support_image("no_such_feature,nor_this", 0, &size);
    CHECK_INT_EQ(check(image, size, false, message), SINTER_STATUS_WRONG_CPU);
    CHECK_STRING_EQ(message,
                    "m.so: this CPU lacks what it was compiled for: no_such_feature nor_this");
    sinter_abi_trailer t;
    memcpy(&t, image + size - sizeof t, sizeof t);
    t.version = 2;
    memcpy(image + size - sizeof t, &t, sizeof t);
    CHECK_INT_EQ(check(image, size, false, message), SINTER_STATUS_BAD_ARTIFACT);
    CHECK_STRING_EQ(message,
                    "m.so: artifact of version 2; this runtime speaks version 1: compile it again");
    CHECK_INT_EQ(check("hello", 5, false, message), SINTER_STATUS_BAD_ARTIFACT);
    CHECK_STRING_EQ(message, "m.so: not an artifact: too short");
    free(image);
}

/* Every feature that a target may demand is one that the loader can ask for; on this machine both agree with LLVM. */
static void test_features(void) {
    static const struct {
        const char *arch, *cpuinfo;
    } rows[] = {
#define FEATURE(arch, name, llvm, cpuinfo, implies) {#arch, cpuinfo},
#include "codegen/target.def"
    };
    static const char *const known[] = {
#define X86(name, leaf, subleaf, register, bit, state) "x86_64 " name,
#define ARM(name, word, bit) "aarch64 " name,
#include "runtime/cpu_features.def"
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char wanted[64];
        bool found = false;
        snprintf(wanted, sizeof wanted, "%s %s", rows[i].arch, rows[i].cpuinfo);
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            found = found || !strcmp(known[k], wanted);
        if (!CHECK(found)) puts(wanted);
    }
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_target native;
    char missing[512];
    CHECK(sinter_target_parse("cpu:native", &arena, &native, NULL));
    if (!CHECK(sinter_cpu_has_all(native.required, missing, sizeof missing))) puts(missing);
    CHECK(!sinter_cpu_has("no_such_feature", 15));
    char small[8];
    CHECK(!sinter_cpu_has_all("no_such_feature", small,
                              sizeof small)); /* does not fit, and says no all the same */
    sinter_arena_deinit(&arena);
}

static void test_files(void) {
    char folder[SINTER_FILE_FOLDER_BYTES], path[256], copy[256];
    CHECK(sinter_file_make_folder(folder, NULL));
    snprintf(path, sizeof path, "%s/m.so", folder);
    snprintf(copy, sizeof copy, "%s/copy.so", folder);
    CHECK(support_compile("mlp", 0, "cpu", path));
    sinter_load_options options = {.size = sizeof options, .verify = true};
    sinter_executable *first = NULL, *second = NULL;
    CHECK(sinter_executable_load(path, &options, &first) == NULL);
    CHECK(sinter_executable_load(path, NULL, &second) == NULL); /* the same file twice */
    CHECK(first && sinter_executable_describe(first)->weights_bytes > 0);
    CHECK_STRING_EQ(sinter_executable_describe(first)->inputs[0].name, "pixels");
    sinter_executable_destroy(first);
    CHECK_STRING_EQ(sinter_executable_describe(second)->outputs[0].name, "logits");
    /* Another model under the same name while the first is loaded. */
    CHECK(support_compile("lstm", 0, "cpu", path));
    CHECK(sinter_executable_load(path, NULL, &first) == NULL);
    CHECK_STRING_EQ(sinter_executable_describe(first)->name, "lstm");
    CHECK_STRING_EQ(sinter_executable_describe(second)->name, "mlp");
    sinter_executable_destroy(first);
    sinter_executable_destroy(second);

    size_t size = 0;
    unsigned char *bytes = support_read(path, &size);
    CHECK(bytes != NULL);
    bytes[0x200] ^= 0x40;
    CHECK(support_write(copy, bytes, size));
    sinter_status *status = sinter_executable_load(copy, NULL, &first);
    CHECK_INT_EQ(sinter_status_get_code(status), SINTER_STATUS_BAD_ARTIFACT);
    CHECK(first == NULL);
    sinter_status_destroy(status);
    /* Weights of somebody else, with sums that are right. */
    bytes[0x200] ^= 0x40;
    sinter_abi_trailer t;
    memcpy(&t, bytes + size - sizeof t, sizeof t);
    bytes[t.weights_offset] ^= 1;
    t.weights_hash = sinter_abi_hash(bytes + t.weights_offset, t.weights_bytes, 0);
    t.trailer_hash = sinter_abi_hash(&t, offsetof(sinter_abi_trailer, trailer_hash), t.machine);
    memcpy(bytes + size - sizeof t, &t, sizeof t);
    CHECK(support_write(copy, bytes, size));
    status = sinter_executable_load(copy, &options, &first);
    CHECK_INT_EQ(sinter_status_get_code(status), SINTER_STATUS_BAD_ARTIFACT);
    CHECK(strstr(sinter_status_message(status), "do not belong together") != NULL);
    sinter_status_destroy(status);
    CHECK(support_write(copy, "", 0));
    status = sinter_executable_load(copy, NULL, &first);
    CHECK_INT_EQ(sinter_status_get_code(status), SINTER_STATUS_BAD_ARTIFACT);
    sinter_status_destroy(status);
    status = sinter_executable_load(folder, NULL, &first);
    CHECK_INT_EQ(sinter_status_get_code(status), SINTER_STATUS_UNREADABLE);
    sinter_status_destroy(status);
    unlink(copy);
    status = sinter_executable_load(copy, NULL, &first);
    CHECK_INT_EQ(sinter_status_get_code(status), SINTER_STATUS_UNREADABLE);
    CHECK(strstr(sinter_status_message(status), "No such file") != NULL);
    sinter_status_destroy(status);
    free(bytes);
    unlink(path);
    rmdir(folder);
}

int main(void) {
    test_flipped_bits();
    test_weights(100);
    test_weights(SINTER_ABI_HUGE_PAGE);
    test_other_machines();
    test_features();
    test_files();
    return test_finish();
}
