/* Packages: names, bytes that repeat, objects with the weights in their own section, C with the weights beside it. */
#include "codegen/package.h"
#include "tests/unit/artifact_support.h"
#include "tests/unit/folder_support.h"
#include "tests/unit/test.h"

static char folder[SINTER_FILE_FOLDER_BYTES];

static const char *in_folder(const char *name) {
    static char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* ---- names ---- */

static void test_names(void) {
    sinter_arena arena;
    sinter_arena_init(&arena);
    CHECK_STRING_EQ(sinter_package_identifier("a/b/mobile-net.v2/model.so", &arena), "model");
    CHECK_STRING_EQ(sinter_package_identifier("3-layers.o", &arena), "model_3_layers");
    CHECK_STRING_EQ(sinter_package_identifier("out/.o", &arena), "model_");
    sinter_arena_deinit(&arena);
}

/* ---- kinds ---- */

/* y = x + w, with `count` numbers of weights. */
static sinter_loop_program *make_program(int64_t count, sinter_diag *diag) {
    sinter_text text = {0};
    sinter_text_format(
        &text,
        "program \"sum\" {\n  input \"x\": f32[%lld]\n  constant 0: f32[%lld] = ...\n"
        "  kernel @sum(%%x: f32[%lld] in, %%w: f32[%lld] in, %%y: f32[%lld] out) {\n"
        "    for i in 0..%lld { %%y[i] = %%x[i] + %%w[i] }\n  }\n"
        "  host @main(%%x: f32[%lld] in 0, %%y: f32[%lld] out 0) {\n"
        "    buffer %%w: f32[%lld] constant 0\n    alloc %%y: f32[%lld] out 0\n    call @sum(%%x, "
        "%%w, %%y)\n  }\n"
        "  output \"y\": f32[%lld] = [%lld]\n}\n",
        (long long)count, (long long)count, (long long)count, (long long)count, (long long)count,
        (long long)count, (long long)count, (long long)count, (long long)count, (long long)count,
        (long long)count, (long long)count);
    sinter_loop_program *program = sinter_loop_parse("sum", text.data, text.size, diag);
    sinter_text_deinit(&text);
    if (!program) return NULL;
    sinter_tensor *weights = &program->constants.items[0].tensor;
    sinter_tensor_deinit(weights);
    memset(weights, 0, sizeof *weights);
    if (!sinter_tensor_create(weights, SINTER_DTYPE_f32, 1, &count, diag)) return NULL;
    for (int64_t i = 0; i < count; i++) sinter_tensor_set_double(weights, i, (double)i);
    return sinter_plan_memory(program, diag) ? program : NULL;
}

static void check_object(const char *path, int64_t count) {
    size_t size = 0;
    unsigned char *bytes = support_read(path, &size);
    Elf64_Ehdr head;
    if (!CHECK(bytes && size > sizeof head)) return;
    memcpy(&head, bytes, sizeof head);
    Elf64_Shdr *sections = calloc(head.e_shnum, sizeof *sections);
    memcpy(sections, bytes + head.e_shoff, head.e_shnum * sizeof *sections);
    const Elf64_Shdr *found = NULL;
    const char *names = (const char *)bytes + sections[head.e_shstrndx].sh_offset;
    for (uint16_t i = 0; i < head.e_shnum; i++)
        if (!strcmp(names + sections[i].sh_name, ".sinter_weights")) found = &sections[i];
    if (!CHECK(found)) return;
    CHECK(found->sh_size >= (uint64_t)count * 4 && found->sh_offset + found->sh_size == size &&
          found->sh_offset % 64 == 0);
    float value;
    memcpy(&value, bytes + found->sh_offset + 4 * 17, sizeof value);
    CHECK(value == 17);
    free(sections);
    free(bytes);
}

/* They are what the file holds, at a huge page, and stay so when the file changes. */
static void check_copied_weights(const char *path, const unsigned char *bytes, size_t size) {
    sinter_load_options options = {.size = sizeof options, .copy_weights = true};
    sinter_executable *executable = NULL;
    sinter_abi_trailer t;
    uint64_t count = 0;
    memcpy(&t, bytes + size - sizeof t, sizeof t);
    if (!CHECK(sinter_executable_load(path, &options, &executable) == NULL)) return;
    const void *weights = sinter_executable_weights(executable, &count);
    CHECK_INT_EQ(count, t.weights_bytes);
    CHECK_INT_EQ((uintptr_t)weights % SINTER_ABI_HUGE_PAGE, 0);
    CHECK(memcmp(weights, bytes + t.weights_offset, count) == 0);
    FILE *file = fopen(path, "r+b");
    if (CHECK(file != NULL)) {
        CHECK(fseek(file, (long)t.weights_offset, SEEK_SET) == 0);
        CHECK_INT_EQ(fputc(bytes[t.weights_offset] ^ 1, file), bytes[t.weights_offset] ^ 1);
        CHECK(fclose(file) == 0);
        CHECK(memcmp(weights, bytes + t.weights_offset, count) == 0);
    }
    sinter_executable_destroy(executable);
}

static void test_kinds(void) {
    enum { FEW = 100, MANY = 3 << 19 };
    sinter_diag diag = {.handler = sinter_diag_print_handler, .user = stdout};
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_target target;
    CHECK(sinter_target_parse("cpu", &arena, &target, &diag));
    sinter_loop_program *few = make_program(FEW, &diag), *many = make_program(MANY, &diag);
    if (!CHECK(few && many)) return;
    char path[300];
    snprintf(path, sizeof path, "%s", in_folder("m.o"));
    CHECK(sinter_package(many, &target, &(sinter_codegen_options){.level = 2},
                         SINTER_PACKAGE_OBJECT, path, &diag));
    check_object(path, MANY);
    CHECK_INT_EQ(support_count_files(folder), 2); /* and m.h */
    unlink(path);
    unlink(in_folder("m.h"));
    snprintf(path, sizeof path, "%s", in_folder("m.c"));
    CHECK(sinter_package(few, &target, &(sinter_codegen_options){.level = 2}, SINTER_PACKAGE_C,
                         path, &diag));
    CHECK_INT_EQ(support_count_files(folder), 1);
    CHECK(sinter_package(many, &target, &(sinter_codegen_options){.level = 2}, SINTER_PACKAGE_C,
                         path, &diag));
    CHECK_INT_EQ(support_count_files(folder), 2);
    size_t size = 0, again = 0;
    free(support_read(in_folder("m.weights"), &size));
    CHECK_INT_EQ(size, MANY * 4);
    unlink(path);
    unlink(in_folder("m.weights"));
    snprintf(path, sizeof path, "%s", in_folder("m.so"));
    CHECK(sinter_package(many, &target, &(sinter_codegen_options){.level = 2},
                         SINTER_PACKAGE_SHARED, path, &diag));
    unsigned char *first = support_read(path, &size);
    CHECK(sinter_package(many, &target, &(sinter_codegen_options){.level = 2},
                         SINTER_PACKAGE_SHARED, path, &diag));
    unsigned char *second = support_read(path, &again);
    CHECK(first && second && size == again && !memcmp(first, second, size));
    CHECK(size > 2 * SINTER_ABI_HUGE_PAGE);
    if (first) check_copied_weights(path, first, size);
    free(first);
    free(second);
    unlink(path);
    CHECK_INT_EQ(support_count_files(folder), 0);
    sinter_loop_program_destroy(few);
    sinter_loop_program_destroy(many);
    sinter_arena_deinit(&arena);
}

int main(void) {
    if (!CHECK(sinter_file_make_folder(folder, NULL))) return test_finish();
    test_names();
    test_kinds();
    rmdir(folder);
    return test_finish();
}
