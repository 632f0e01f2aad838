/* codegen/object.c: what is joined runs the same whatever number of threads made the parts, joining again changes nothing, two
 * definitions and foreign machines are refused, and damaged objects are an error or an object, never a crash. */
#include "codegen/compile.h"
#include "codegen/object.h"
#include "tests/unit/test.h"

#include <elf.h>
#include <stdio.h>
#include <string.h>

static const char text[] = "program \"two\" {\n"
                           "  input \"x\": f32[64]\n"
                           "  kernel @half(%x: f32[64] in, %y: f32[64] out) {\n"
                           "    for i in 0..64 { %y[i] = %x[i] * 0.5:f32 }\n"
                           "  }\n"
                           "  kernel @spread(%x: f32[64] in, %y: f32[64] out) {\n"
                           "    for i in 0..64 parallel { %y[i] = exp(%x[i]) + 0.25:f32 }\n"
                           "  }\n"
                           "  host @main(%x: f32[64] in 0, %y: f32[64] out 0) {\n"
                           "    alloc %t: f32[64] heap\n"
                           "    alloc %y: f32[64] out 0\n"
                           "    call @half(%x, %t)\n"
                           "    call @spread(%t, %y)\n"
                           "    free %t\n"
                           "  }\n"
                           "  output \"y\": f32[64] = [64]\n"
                           "}\n";
static const sinter_object_blob no_blob;

static bool make_object(const char *target_text, uint32_t jobs, const char *symbol,
                        sinter_text *out_object) {
    sinter_diag diag = {.handler = sinter_diag_print_handler, .user = stdout};
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_target target;
    sinter_loop_program *program = sinter_loop_parse("two", text, sizeof text - 1, &diag);
    bool good =
        program && sinter_target_parse(target_text, &arena, &target, &diag) &&
        sinter_plan_memory(program, &diag) &&
        sinter_emit_llvm(program, &target, &(sinter_codegen_options){.level = 2, .jobs = jobs},
                         SINTER_LLVM_OBJECT, symbol, false, out_object, &diag);
    if (program) sinter_loop_program_destroy(program);
    sinter_arena_deinit(&arena);
    return good;
}

static bool same(const sinter_text *a, const sinter_text *b) {
    return a->size == b->size && !memcmp(a->data, b->data, a->size);
}

static void test_jobs(const char *target) {
    sinter_text one = {0}, four = {0}, again = {0};
    sinter_diag diag = {.handler = sinter_diag_print_handler, .user = stdout};
    CHECK(make_object(target, 1, "two_artifact", &one) &&
          make_object(target, 4, "two_artifact", &four));
    CHECK(same(&one, &four));
    CHECK(sinter_object_join(&one, NULL, 1, &no_blob, &again, &diag) && same(&one, &again));
    sinter_text_deinit(&one);
    sinter_text_deinit(&four);
    sinter_text_deinit(&again);
}

static bool has_text(const sinter_text *object, const char *wanted) {
    size_t size = strlen(wanted) + 1; /* with its end */
    for (size_t at = 0; at + size <= object->size; at++)
        if (!memcmp(object->data + at, wanted, size)) return true;
    return false;
}

/* Kernels are made nameless and named where they are joined, with what belongs to them. */
static void test_names(void) {
    sinter_text object = {0};
    CHECK(make_object("cpu:x86-64-v3", 1, "two_artifact", &object));
    CHECK(has_text(&object, "kernel.half") && has_text(&object, "kernel.spread"));
    CHECK(has_text(&object, "kernel.spread.body"));
    CHECK(!has_text(&object, SINTER_OBJECT_NAMELESS));
    CHECK(!has_text(&object, SINTER_OBJECT_NAMELESS ".body"));
    sinter_text_deinit(&object);
}

static void check_refused(const sinter_text *objects, size_t count, const sinter_object_blob *blob,
                          const char *message) {
    sinter_text said = {0}, joined = {0};
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &said};
    CHECK(!sinter_object_join(objects, NULL, count, blob, &joined, &diag));
    if (!CHECK(said.data && strstr(said.data, message)))
        printf("  said: %s\n", said.data ? said.data : "");
    sinter_text_deinit(&said);
    sinter_text_deinit(&joined);
}

static void test_refusals(void) {
    sinter_text objects[2] = {{0}};
    CHECK(make_object("cpu:x86-64-v3", 2, "same", &objects[0]) &&
          make_object("cpu:x86-64-v3", 2, "same", &objects[1]));
    check_refused(objects, 2, &no_blob, "'same' is defined twice");
    check_refused(objects, 1, &(sinter_object_blob){".w", "nowhere", 64},
                  "nothing refers to 'nowhere'");
    sinter_text_deinit(&objects[1]);
    objects[1] = (sinter_text){0};
    CHECK(make_object("cpu:aarch64", 2, "other", &objects[1]));
    check_refused(objects, 2, &no_blob, "different machines");
    sinter_text_deinit(&objects[0]);
    sinter_text_deinit(&objects[1]);
}

static void join_quietly(const char *data, size_t size) {
    sinter_text object = {0}, joined = {0};
    sinter_text_append(&object, data, size); /* of its own, so that a sanitizer sees its end */
    sinter_diag diag = {0};
    bool good = sinter_object_join(&object, NULL, 1, &no_blob, &joined, &diag);
    CHECK(good == (diag.error_count == 0));
    sinter_text_deinit(&object);
    sinter_text_deinit(&joined);
}

static void test_damage(void) {
    sinter_text object = {0};
    if (!CHECK(make_object("cpu:x86-64-v3", 2, "two_artifact", &object))) return;
    for (size_t size = 0; size < object.size; size += 1 + object.size / 997)
        join_quietly(object.data, size);
    uint64_t state = 1;
    Elf64_Ehdr head;
    memcpy(&head, object.data, sizeof head);
    for (int i = 0; i < 20000; i++) { /* in the headers, where it matters most, and anywhere */
        state = state * 6364136223846793005u + 1442695040888963407u;
        size_t from = i % 2 ? head.e_shoff : 0, span = object.size - from,
               at = from + (state >> 33) % span;
        char kept = object.data[at];
        object.data[at] = (char)(state >> 25);
        join_quietly(object.data, object.size);
        object.data[at] = kept;
    }
    sinter_text_deinit(&object);
}

int main(void) {
    test_jobs("cpu:x86-64-v3");
    test_jobs("cpu:aarch64");
    test_names();
    test_refusals();
    test_damage();
    return test_finish();
}
