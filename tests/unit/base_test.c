/* ir/base: arena, vector, text, map, diagnostics. */
#include "ir/base/diag.h"
#include "ir/base/map.h"
#include "ir/base/splitmix.h"
#include "ir/base/vector.h"
#include "tests/unit/test.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

static void take_product(void *arena) {
    sinter_arena_alloc(arena, 100);
    sinter_arena_alloc_array(arena, SIZE_MAX / 2, 3);
}
static void take_enormous(void *arena) {
    sinter_arena_alloc(arena, SIZE_MAX - 3);
}

static void test_arena(void) {
    sinter_arena arena;
    sinter_arena_init(&arena);
    bool aligned = true, zeroed = true, apart = true;
    unsigned char *previous = NULL;
    for (size_t i = 0; i < 2000; i++) {
        size_t size = i * 37 % 3000;
        unsigned char *memory = sinter_arena_alloc(&arena, size);
        aligned &= (uintptr_t)memory % 16 == 0;
        for (size_t j = 0; j < size; j++) zeroed &= memory[j] == 0;
        memset(memory, 0xaa, size);
        if (previous) apart &= *previous == 0xaa;
        previous = size ? memory : NULL;
    }
    CHECK(aligned && zeroed && apart);
    unsigned char *large = sinter_arena_alloc(&arena, 5000000);
    large[0] = large[4999999] = 1;
    CHECK(arena.total >= 5000000);
    CHECK(sinter_arena_alloc(&arena, 0) != sinter_arena_alloc(&arena, 0));
    CHECK_STRING_EQ(sinter_arena_format(&arena, "%s-%d", "x", 42), "x-42");
    CHECK_STRING_EQ(sinter_arena_copy_string(&arena, "abcdef", 3), "abc");
    CHECK_STRING_EQ(sinter_arena_copy_string(&arena, NULL, 0), "");
    size_t wanted = 0;
    CHECK(!sinter_heap_guard(take_product, &arena, &wanted) && wanted == SIZE_MAX);
    CHECK(!sinter_heap_guard(take_enormous, &arena, &wanted) && wanted == SIZE_MAX - 3);
    sinter_arena_deinit(&arena);
    CHECK(arena.blocks == NULL);
}

/* What a guarded body does, and what it leaves behind. */
typedef struct guarded {
    char order[8]; /* letters of the resources in the order of their release */
    sinter_owned owned[3];
    sinter_text text;
    char *outer, *inner;
    bool fail;
} guarded;

static void append_letter(guarded *g, char letter) {
    g->order[strlen(g->order)] = letter;
}
static void release_a(void *user) {
    append_letter(user, 'a');
}
static void release_b(void *user) {
    append_letter(user, 'b');
}
static void release_c(void *user) {
    append_letter(user, 'c');
}

static void take_inner(void *user) {
    guarded *g = user;
    sinter_own(&g->owned[1], release_b, g);
    for (int i = 0; i < 1000; i++) sinter_text_append_string(&g->text, "moves a block of before");
    g->inner = sinter_heap_alloc(10);
    sinter_own(&g->owned[2], release_c, g);
    sinter_disown(&g->owned[2]);
    if (g->fail) sinter_out_of_memory(7);
}

static void take_outer(void *user) {
    guarded *g = user;
    size_t wanted = 0;
    sinter_own(&g->owned[0], release_a, g);
    g->outer = sinter_heap_alloc(10);
    sinter_text_append_string(&g->text, "begun outside");
    bool fail = g->fail;
    g->fail = true;
    CHECK(!sinter_heap_guard(take_inner, g, &wanted) && wanted == 7);
    CHECK_STRING_EQ(g->order, "b"); /* the outer guard's stays, and so does the text */
    CHECK(g->text.size > 20000 && strncmp(g->text.data, "begun outside", 13) == 0);
    g->fail = false;
    CHECK(sinter_heap_guard(take_inner, g, &wanted));
    if (fail) sinter_out_of_memory(8);
    sinter_disown(&g->owned[0]);
    sinter_disown(&g->owned[1]);
}

static void test_guard(void) {
    guarded good = {0}, bad = {.fail = true};
    size_t wanted = 0;
    CHECK(sinter_heap_guard(take_outer, &good, &wanted));
    CHECK_STRING_EQ(good.order, "b");
    good.inner[9] = good.outer[9] = 'x'; /* what is left is the caller's */
    sinter_heap_free(good.inner);
    sinter_heap_free(good.outer);
    sinter_text_deinit(&good.text);
    CHECK(!sinter_heap_guard(take_outer, &bad, &wanted) && wanted == 8);
    CHECK_STRING_EQ(bad.order, "bba"); /* newest first, the kept inner one with its outer guard */
}

static sinter_once table_once = SINTER_ONCE_INIT;
static char *table;
static int builds;
static void build_table(void) {
    table = sinter_heap_alloc(10);
    if (++builds == 1) sinter_out_of_memory(5);
}
static void use_table(void *fail) {
    sinter_once_run(&table_once, build_table);
    if (fail) sinter_out_of_memory(6);
}

static void test_once(void) {
    size_t wanted = 0;
    CHECK(!sinter_heap_guard(use_table, NULL, &wanted) && wanted == 5);    /* not built */
    CHECK(!sinter_heap_guard(use_table, &wanted, &wanted) && wanted == 6); /* built and kept */
    table[9] = 'x';
    use_table(NULL);
    CHECK_INT_EQ(builds, 2);
}

static void test_vector(void) {
    sinter_arena arena;
    sinter_arena_init(&arena);
    SINTER_VECTOR(int) numbers = {0};
    for (int i = 0; i < 1000; i++) sinter_vector_push(&arena, &numbers, i * 3);
    CHECK_INT_EQ(numbers.count, 1000);
    bool good = true;
    for (int i = 0; i < 1000; i++) good &= numbers.items[i] == i * 3;
    CHECK(good);
    sinter_vector_reserve(&arena, &numbers, 5000);
    CHECK(numbers.capacity >= 5000 && numbers.items[999] == 2997);
    sinter_arena_deinit(&arena);
}

static void check_quote(sinter_string string, const char *expected) {
    sinter_text text = {0}, back = {0};
    sinter_text_quote(&text, string);
    CHECK_STRING_EQ(text.data, expected);
    const char *cursor = text.data;
    CHECK(sinter_text_unquote(&back, &cursor, text.data + text.size));
    CHECK(cursor == text.data + text.size);
    CHECK(sinter_string_equal((sinter_string){back.data, back.size}, string));
    sinter_text_deinit(&text);
    sinter_text_deinit(&back);
}

static void check_unquote_fails(const char *quoted, size_t place) {
    sinter_text text = {0};
    const char *cursor = quoted;
    CHECK(!sinter_text_unquote(&text, &cursor, quoted + strlen(quoted)));
    CHECK_INT_EQ(cursor - quoted, place);
    sinter_text_deinit(&text);
}

static void test_text(void) {
    CHECK(sinter_string_is(SINTER_STRING("abc"), "abc"));
    CHECK(!sinter_string_is(SINTER_STRING("abc"), "abcd"));
    CHECK(sinter_string_equal((sinter_string){0}, sinter_string_of("")));
    CHECK_INT_EQ(sinter_string_of(NULL).size, 0);
    sinter_text text = {0};
    for (int i = 0; i < 100; i++) sinter_text_format(&text, "%d,", i);
    CHECK_INT_EQ(text.size, 290);
    CHECK(text.data[text.size] == 0);
    sinter_text_deinit(&text);
    CHECK(sinter_string_is_identifier(sinter_string_of("_a1")));
    CHECK(!sinter_string_is_identifier(sinter_string_of("1a")));
    CHECK(!sinter_string_is_identifier(sinter_string_of("a.b")));
    CHECK(!sinter_string_is_identifier(sinter_string_of("")));
    char name[] = "past+1:\xc3\xa9";
    sinter_make_identifier(name);
    CHECK_STRING_EQ(name, "past_1___");
    check_quote(SINTER_STRING(""), "\"\"");
    check_quote(SINTER_STRING("a\"b\\c\n\t"), "\"a\\\"b\\\\c\\n\\t\"");
    check_quote(SINTER_STRING("\0\x1f\x7f"), "\"\\x00\\x1f\\x7f\"");
    check_quote(SINTER_STRING("\xc3\xa9\xf0\x9f\x98\x80"), "\"\xc3\xa9\xf0\x9f\x98\x80\"");
    check_quote(SINTER_STRING("\xc3(\xff\xed\xa0\x80"), "\"\\xc3(\\xff\\xed\\xa0\\x80\"");
    check_quote(SINTER_STRING("\xc1\xa0\xe0\x80\xaf"), "\"\\xc1\\xa0\\xe0\\x80\\xaf\"");
    check_unquote_fails("abc", 0);
    check_unquote_fails("\"abc", 4);
    check_unquote_fails("\"a\nb\"", 2);
    check_unquote_fails("\"a\\q\"", 2);
    check_unquote_fails("\"a\\x4\"", 2);
    check_unquote_fails("\"a\\", 2);
}

static void check_number(double value, const char *expected, const char *expected_float) {
    sinter_text text = {0};
    sinter_text_double(&text, value);
    CHECK_STRING_EQ(text.data, expected);
    text.size = 0;
    sinter_text_float(&text, (float)value);
    CHECK_STRING_EQ(text.data, expected_float);
    sinter_text_deinit(&text);
}

static void test_numbers(void) {
    check_number(0, "0.0", "0.0");
    check_number(-0.0, "-0.0", "-0.0");
    check_number(1, "1.0", "1.0");
    check_number(0.1, "0.1", "0.1");
    check_number(1.0 / 3, "0.3333333333333333", "0.33333334");
    check_number(1e-5, "1e-05", "1e-05");
    check_number(1e20, "1e+20", "1e+20");
    check_number(INFINITY, "inf", "inf");
    check_number(-INFINITY, "-inf", "-inf");
    check_number(NAN, "nan", "nan");
    check_number(16777217, "16777217.0", "16777216.0");
    check_number(DBL_MAX, "1.7976931348623157e+308", "inf");
    check_number(0x1p-1074, "5e-324", "0.0");
    check_number(0x1p-149, "1.401298464324817e-45", "1e-45");
}

static void test_map(void) {
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_map map, names;
    sinter_map_init(&map, &arena);
    sinter_map_init(&names, &arena);
    uint64_t value = 7;
    CHECK(!sinter_map_find(&map, 5, &value) && value == 7);
    bool good = true;
    for (uint64_t i = 0; i < 5000; i++) {
        char name[16];
        sinter_map_put(&map, i << 32, i);
        snprintf(name, sizeof name, "n%d", (int)i);
        sinter_map_put_string(&names, sinter_string_of(name), i); /* the key is copied */
    }
    for (uint64_t i = 0; i < 5000; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", (int)i);
        good &= sinter_map_find(&map, i << 32, &value) && value == i;
        good &= sinter_map_find_string(&names, sinter_string_of(name), &value) && value == i;
    }
    CHECK(good);
    CHECK_INT_EQ(names.count, 5000);
    CHECK(!sinter_map_find(&map, 1, &value));
    CHECK(!sinter_map_find_string(&names, SINTER_STRING("n5000"), &value));
    sinter_map_put_string(&names, SINTER_STRING(""), 1);
    sinter_map_put_string(&names, (sinter_string){0}, 2);
    CHECK(sinter_map_find_string(&names, SINTER_STRING(""), &value) && value == 2);
    CHECK_INT_EQ(names.count, 5001);
    sinter_arena_deinit(&arena);
    /* Stable across machines and versions. */
    CHECK(sinter_hash("sinter", 6, 0) == UINT64_C(0x79b30b203bfc05fe));
    CHECK(sinter_hash("", 0, 1) != sinter_hash("", 0, 2));
    CHECK(sinter_hash("\0", 1, 0) != sinter_hash("\0\0", 2, 0));
}

static void test_diag(void) {
    sinter_text text = {0};
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &text};
    CHECK(!sinter_error(&diag, "file.sir:3:7", "expected %d, found %s", 3, "x"));
    sinter_note(&diag, "file.sir:1:1", "defined here");
    sinter_warning(&diag, "", "odd");
    sinter_error(&diag, NULL, "lost");
    CHECK_STRING_EQ(text.data, "file.sir:3:7: error: expected 3, found x\n"
                               "file.sir:1:1: note: defined here\n"
                               "warning: odd\n"
                               "error: lost\n");
    CHECK_INT_EQ(diag.error_count, 2);
    CHECK_INT_EQ(diag.warning_count, 1);
    CHECK(!sinter_error(NULL, "", "ignored"));
    sinter_text_deinit(&text);
    char printed[64] = "";
    FILE *file = tmpfile();
    if (CHECK(file != NULL)) {
        sinter_diag_print_handler(file, SINTER_SEVERITY_NOTE, "here", "text");
        rewind(file);
        CHECK(fgets(printed, sizeof printed, file) != NULL);
        CHECK_STRING_EQ(printed, "here: note: text\n");
        fclose(file);
    }
}

/* As the authors' own program prints them. */
static void test_splitmix(void) {
    uint64_t zero = 0, other = 1234567;
    CHECK(sinter_splitmix(&zero) == UINT64_C(0xe220a8397b1dcdaf));
    CHECK(sinter_splitmix(&other) == UINT64_C(6457827717110365317));
    CHECK(sinter_splitmix(&other) == UINT64_C(3203168211198807973));
}

int main(void) {
    test_arena();
    test_guard();
    test_once();
    test_vector();
    test_text();
    test_numbers();
    test_map();
    test_diag();
    test_splitmix();
    return test_finish();
}
