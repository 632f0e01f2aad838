/* What a layer is known by. Test: tests/unit/tuning_test.c */
#include "ir/chooser.h"
#include "ir/base/map.h"

enum { MOST_NODES = 64 }; /* of a group that is fused, at least */

static void describe_values(const sinter_module *module, const sinter_value *values, uint32_t count,
                            sinter_text *text) {
    for (uint32_t i = 0; i < count; i++) {
        sinter_text_append_string(text, i ? ", " : " ");
        if (values[i])
            sinter_type_print(sinter_module_dims(module), sinter_value_type(module, values[i]),
                              text);
    }
}

/* Shapes, and the attributes that windows have: numbers and words. */
static void describe_node(const sinter_module *module, sinter_node node, sinter_text *text) {
    const sinter_node_info *info = sinter_node_get(module, node);
    sinter_text_append_string(text, sinter_op_get_info(info->op)->name);
    describe_values(module, info->operands, info->operand_count, text);
    sinter_text_append_string(text, " ->");
    describe_values(module, info->results, info->result_count, text);
    for (uint32_t i = 0; i < info->attribute_count; i++) {
        const sinter_attr *attr = &info->attributes[i];
        sinter_text_append_string(text, " ");
        sinter_text_append(text, attr->name.data, attr->name.size);
        for (size_t k = 0; attr->kind == SINTER_ATTR_INTS && k < attr->ints.count; k++)
            sinter_text_format(text, " %lld", (long long)attr->ints.items[k]);
        if (attr->kind == SINTER_ATTR_INT)
            sinter_text_format(text, " %lld", (long long)attr->int_value);
        if (attr->kind == SINTER_ATTR_STRING)
            sinter_text_append(text, attr->string_value.data, attr->string_value.size);
    }
    sinter_text_append_string(text, "\n");
}

uint32_t sinter_chooser_ask(const sinter_chooser *chooser, const sinter_module *module,
                            const sinter_node *nodes, uint32_t count, const char *question,
                            const sinter_chooser_answer *answers, uint32_t answer_count) {
    const char *locations[MOST_NODES];
    if (!chooser || answer_count < 2) return 0;
    if (count > MOST_NODES) count = MOST_NODES;
    sinter_text text = {0};
    sinter_text_format(&text, "%s\n", question);
    for (uint32_t i = 0; i < count; i++) {
        describe_node(module, nodes[i], &text);
        locations[i] = sinter_node_get(module, nodes[i])->location;
    }
    const sinter_chooser_question asked = {.layer = sinter_hash(text.data, text.size, 0),
                                           .text = question,
                                           .answers = answers,
                                           .answer_count = answer_count,
                                           .locations = locations,
                                           .location_count = count};
    sinter_text_deinit(&text);
    return chooser->choose(chooser->user, &asked);
}
