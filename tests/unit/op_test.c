/* The op table: every row is well formed, and its columns are read as they are written. */
#include "ir/op.h"
#include "ir/scalar.h"
#include "tests/unit/test.h"

#include <pthread.h>

static sinter_arena arena;

static void test_names(void) {
    bool good = true;
    for (int op = 1; op < SINTER_OP_COUNT; op++) {
        const sinter_op_info *info = sinter_op_get_info((sinter_op)op);
        good &= sinter_op_find(sinter_string_of(info->name)) == (sinter_op)op;
    }
    CHECK(good);
    CHECK_INT_EQ(sinter_op_find(SINTER_STRING("matmul")), SINTER_OP_matmul);
    CHECK_INT_EQ(sinter_op_find(SINTER_STRING("if")), SINTER_OP_if);
    CHECK_INT_EQ(sinter_op_find(SINTER_STRING("no_such_op")), SINTER_OP_NONE);
    CHECK_INT_EQ(sinter_op_find(SINTER_STRING("none")), SINTER_OP_NONE);
    CHECK_INT_EQ(sinter_op_get_info(SINTER_OP_NONE)->operand_count, 0);
}

static bool is_lower_name(sinter_string name, bool allow_capitals) {
    if (name.size == 0) return false;
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];
        bool capital = allow_capitals && c >= 'A' && c <= 'Z';
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || capital))
            return false;
    }
    return true;
}

static bool check_operands(const sinter_operand_info *operands, uint32_t count) {
    bool good = true;
    for (uint32_t i = 0; i < count; i++) {
        good &= is_lower_name(operands[i].name, false);
        good &= operands[i].arity != SINTER_ARITY_VARIADIC || i + 1 == count;
        for (uint32_t j = 0; j < i; j++)
            good &= !sinter_string_equal(operands[i].name, operands[j].name);
    }
    return good;
}

/* Elementwise bodies parse over the names of the row, but for the two that are rules of their own. */
static bool check_body(const sinter_op_info *info) {
    sinter_string names[32];
    uint32_t count = 0;
    for (uint32_t i = 0; i < info->operand_count; i++) names[count++] = info->operands[i].name;
    for (uint32_t i = 0; i < info->attribute_count; i++) names[count++] = info->attributes[i].name;
    sinter_text message = {0};
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &message};
    sinter_scalar_body body;
    bool good = strcmp(info->body, "quantize") == 0 || strcmp(info->body, "dequantize") == 0 ||
                strcmp(info->body, "lookup") == 0 ||
                sinter_scalar_parse(&arena, info->body, names, count, &body, &diag);
    if (!good) printf("%s", message.data);
    sinter_text_deinit(&message);
    return good;
}

static void test_rows(void) {
    for (int op = 1; op < SINTER_OP_COUNT; op++) {
        const sinter_op_info *info = sinter_op_get_info((sinter_op)op);
        bool good = check_operands(info->operands, info->operand_count) &&
                    check_operands(info->results, info->result_count) && info->doc[0];
        for (uint32_t i = 0; i < info->attribute_count; i++) {
            const sinter_attr_info *attribute = &info->attributes[i];
            good &= is_lower_name(attribute->name, true) && attribute->kind != SINTER_ATTR_NONE;
            good &= !(attribute->required && attribute->has_default);
            good &= sinter_op_find_attribute((sinter_op)op, attribute->name) == (int)i;
        }
        if (info->pattern == SINTER_PATTERN_ELEMENTWISE) good &= check_body(info);
        if (!CHECK(good)) printf("  op %s\n", info->name);
    }
}

static void test_columns(void) {
    const sinter_op_info *conv = sinter_op_get_info(SINTER_OP_conv);
    CHECK_INT_EQ(conv->operand_count, 3);
    CHECK(sinter_string_is(conv->operands[2].name, "b"));
    CHECK_INT_EQ(conv->operands[1].arity, SINTER_ARITY_ONE);
    CHECK_INT_EQ(conv->operands[2].arity, SINTER_ARITY_OPTIONAL);
    CHECK_INT_EQ(conv->pattern, SINTER_PATTERN_WINDOW);
    const sinter_attr_info *group =
        &conv->attributes[sinter_op_find_attribute(SINTER_OP_conv, SINTER_STRING("group"))];
    CHECK(group->kind == SINTER_ATTR_INT && group->has_default && !group->required);
    CHECK(sinter_string_is(group->default_text, "1"));
    const sinter_attr_info *pads =
        &conv->attributes[sinter_op_find_attribute(SINTER_OP_conv, SINTER_STRING("pads"))];
    CHECK(pads->kind == SINTER_ATTR_INTS && !pads->has_default && !pads->required);
    const sinter_op_info *cast = sinter_op_get_info(SINTER_OP_cast);
    const sinter_attr_info *to =
        &cast->attributes[sinter_op_find_attribute(SINTER_OP_cast, SINTER_STRING("to"))];
    CHECK(to->kind == SINTER_ATTR_DTYPE && to->required);
    CHECK_INT_EQ(sinter_op_find_attribute(SINTER_OP_cast, SINTER_STRING("axis")), -1);
    const sinter_op_info *concat = sinter_op_get_info(SINTER_OP_concat);
    CHECK(concat->operand_count == 1 && concat->operands[0].arity == SINTER_ARITY_VARIADIC);
    CHECK(sinter_op_has_trait(SINTER_OP_add, SINTER_TRAIT_COMMUTATIVE));
    CHECK(!sinter_op_has_trait(SINTER_OP_sub, SINTER_TRAIT_COMMUTATIVE));
    CHECK(sinter_op_has_trait(SINTER_OP_ceil, SINTER_TRAIT_IDEMPOTENT));
    CHECK(sinter_op_has_trait(SINTER_OP_ceil, SINTER_TRAIT_MONOTONE));
    CHECK(sinter_op_has_trait(SINTER_OP_yield, SINTER_TRAIT_TERMINATOR));
}

static void *first_use(void *result) {
    *(sinter_op *)result = sinter_op_find(SINTER_STRING("softmax"));
    return NULL;
}

/* Runs first, so that the tables are built by whichever thread comes first. */
static void test_threads(void) {
    pthread_t threads[8];
    sinter_op found[8] = {0};
    for (int i = 0; i < 8; i++) pthread_create(&threads[i], NULL, first_use, &found[i]);
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        CHECK_INT_EQ(found[i], SINTER_OP_softmax);
    }
}

int main(void) {
    sinter_arena_init(&arena);
    test_threads();
    test_names();
    test_rows();
    test_columns();
    sinter_arena_deinit(&arena);
    return test_finish();
}
