/* Checks a node against its row of ops.def. Test: tests/ir/verify_schema.sir */
#include "ir/schema.h"

const char *sinter_schema_kind_name(sinter_attr_kind kind) {
    static const char *const names[] = {
        [SINTER_ATTR_NONE] = "none",       [SINTER_ATTR_INT] = "int",
        [SINTER_ATTR_FLOAT] = "float",     [SINTER_ATTR_STRING] = "string",
        [SINTER_ATTR_INTS] = "ints",       [SINTER_ATTR_FLOATS] = "floats",
        [SINTER_ATTR_STRINGS] = "strings", [SINTER_ATTR_TENSOR] = "tensor",
        [SINTER_ATTR_TYPE] = "type",       [SINTER_ATTR_DTYPE] = "dtype"};
    return names[kind];
}

/* Regions that nodes of the op own: 0 but for control ops. */
static uint32_t region_count(sinter_op op) {
    switch (op) {
    case SINTER_OP_if:
        return 2;
    case SINTER_OP_group:
    case SINTER_OP_loop:
    case SINTER_OP_scan:
    case SINTER_OP_sequence_map:
        return 1;
    default:
        return 0;
    }
}

typedef struct checker {
    const char *where;
    const sinter_op_info *op;
    sinter_diag *diag;
} checker;

/* items: NULL where all `count` are there. */
static bool check_places(const checker *state, const char *what, const char *label,
                         const sinter_operand_info *places, uint32_t place_count,
                         const sinter_value *items, uint32_t count) {
    bool ok = true;
    bool variadic = place_count && places[place_count - 1].arity == SINTER_ARITY_VARIADIC;
    if (count > place_count && !variadic)
        ok = sinter_error(state->diag, state->where, "%s: expected at most %u %ss, found %u [%s]",
                          state->op->name, place_count, what, count, label);
    for (uint32_t i = 0; i < place_count; i++) {
        bool there = i < count && (!items || items[i]);
        if (places[i].arity == SINTER_ARITY_ONE && !there)
            ok = sinter_error(state->diag, state->where, "%s: %s '%.*s' is missing [%s]",
                              state->op->name, what, SINTER_STRING_ARGS(places[i].name), label);
    }
    for (uint32_t i = variadic ? place_count - 1 : count; items && i < count; i++)
        if (!items[i])
            ok = sinter_error(state->diag, state->where,
                              "%s: %s %u is absent, but only optional ones may be [%s]",
                              state->op->name, what, i, label);
    return ok;
}

static bool check_attributes(const checker *state, const sinter_attr *items, uint32_t count) {
    bool ok = true;
    const sinter_op_info *op = state->op;
    for (uint32_t i = 0; i < count; i++) {
        const sinter_attr_info *known = NULL;
        for (uint32_t k = 0; k < op->attribute_count && !known; k++)
            if (sinter_string_equal(op->attributes[k].name, items[i].name))
                known = &op->attributes[k];
        if (!known)
            ok = sinter_error(state->diag, state->where,
                              "%s: unknown attribute '%.*s'; known: %s [graph_c5]", op->name,
                              SINTER_STRING_ARGS(items[i].name),
                              op->attribute_count ? op->attributes_text : "none");
        else if (known->kind != items[i].kind)
            ok = sinter_error(
                state->diag, state->where, "%s: attribute '%.*s': expected %s, found %s [graph_c6]",
                op->name, SINTER_STRING_ARGS(items[i].name), sinter_schema_kind_name(known->kind),
                sinter_schema_kind_name(items[i].kind));
        else if (!sinter_op_allows_text(known, items[i].string_value))
            ok = sinter_error(
                state->diag, state->where,
                "%s: attribute '%.*s' is '%.*s', expected one of: %.*s [graph_c9]", op->name,
                SINTER_STRING_ARGS(known->name),
                (int)(items[i].string_value.size < 64 ? items[i].string_value.size : 64),
                items[i].string_value.data, SINTER_STRING_ARGS(known->choices));
        for (uint32_t k = 0; k < i; k++)
            if (sinter_string_equal(items[k].name, items[i].name))
                ok = sinter_error(state->diag, state->where,
                                  "%s: attribute '%.*s' is given twice [graph_c5]", op->name,
                                  SINTER_STRING_ARGS(items[i].name));
    }
    for (uint32_t k = 0; k < op->attribute_count; k++) {
        bool found = !op->attributes[k].required;
        for (uint32_t i = 0; i < count && !found; i++)
            found = sinter_string_equal(op->attributes[k].name, items[i].name);
        if (!found)
            ok = sinter_error(state->diag, state->where,
                              "%s: attribute '%.*s' (%s) is missing [graph_c7]", op->name,
                              SINTER_STRING_ARGS(op->attributes[k].name),
                              sinter_schema_kind_name(op->attributes[k].kind));
    }
    return ok;
}

bool sinter_schema_check(const char *where, const sinter_node_spec *spec,
                         const sinter_value *results, sinter_diag *diag) {
    checker state = {.where = where, .op = sinter_op_get_info(spec->op), .diag = diag};
    bool ok = check_places(&state, "operand", "graph_c3", state.op->operands,
                           state.op->operand_count, spec->operands, spec->operand_count);
    ok &= check_places(&state, "result", "graph_c4", state.op->results, state.op->result_count,
                       results, spec->result_count);
    ok &= check_attributes(&state, spec->attributes, spec->attribute_count);
    uint32_t regions = region_count(spec->op);
    if (spec->region_count != regions)
        ok = sinter_error(diag, where, "%s: expected %u regions, found %u [graph_c8]",
                          state.op->name, regions, spec->region_count);
    return ok;
}
