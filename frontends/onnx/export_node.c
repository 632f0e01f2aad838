/* IR node -> ONNX node: the rows of ops.def read backwards, a short table for ops that are an attribute value in
 * ONNX, constants as initializers, groups opened. Test: tests/suites/long/onnx_export.py */
#include "frontends/onnx/exporter.h"
#include "ir/mesh.h"
#include <inttypes.h>
#include <string.h>

static char *mutable_string(const char *text) { /* protobuf-c only reads through it */
    return (char *)(uintptr_t)text;
}

/* ---- which operator ---- */

/* Rules whose newest form has the operands, results and attributes of the IR op. */
static bool is_one_to_one(sinter_onnx_rule rule) {
    static const sinter_onnx_rule rules[] = {
        sinter_onnx_rule_generic, sinter_onnx_rule_split,        sinter_onnx_rule_resize,
        sinter_onnx_rule_clip,    sinter_onnx_rule_if,           sinter_onnx_rule_loop,
        sinter_onnx_rule_scan,    sinter_onnx_rule_sequence_map, sinter_onnx_rule_qlinear_binary,
        sinter_onnx_rule_chain,   sinter_onnx_rule_mod};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i] == rule) return true;
    return false;
}

/* ONNX's own domain before others, exact rows before n-ary ones, newer before older. */
static bool is_better(const sinter_onnx_row *a, const sinter_onnx_row *b) {
    bool own_a = strcmp(a->domain, "com.microsoft") != 0;
    bool own_b = strcmp(b->domain, "com.microsoft") != 0;
    if (own_a != own_b) return own_a;
    bool exact_a = a->rule == sinter_onnx_rule_generic;
    bool exact_b = b->rule == sinter_onnx_rule_generic;
    return exact_a != exact_b ? exact_a : a->since > b->since;
}

const sinter_onnx_row *sinter_onnx_export_row(sinter_op op) {
    const sinter_onnx_row *best = NULL;
    for (size_t i = 0; sinter_onnx_row_at(i); i++) {
        const sinter_onnx_row *row = sinter_onnx_row_at(i);
        if (row->op == op && is_one_to_one(row->rule) && strcmp(row->name, "Scatter") != 0 &&
            (!best || is_better(row, best)))
            best = row;
    }
    return best;
}

/* Ops that ONNX tells apart by an attribute. */
static const struct {
    sinter_op op;
    const char *name, *attribute, *text; /* text NULL: the number 1 */
} variants[] = {{SINTER_OP_gelu, "Gelu", "approximate", "none"},
                {SINTER_OP_gelu_tanh, "Gelu", "approximate", "tanh"},
                {SINTER_OP_fmod, "Mod", "fmod", NULL},
                {SINTER_OP_shift_left, "BitShift", "direction", "LEFT"},
                {SINTER_OP_shift_right, "BitShift", "direction", "RIGHT"}};

/* ---- attributes ---- */

static Onnx__AttributeProto *emit_attr(sinter_onnx_exporter *e, Onnx__NodeProto *node,
                                       const char *name, sinter_onnx_attr_type type) {
    Onnx__AttributeProto *a = SINTER_NEW(&e->arena, Onnx__AttributeProto);
    onnx__attribute_proto__init(a);
    a->name = mutable_string(name);
    a->has_type = 1;
    a->type = type;
    Onnx__AttributeProto **grown =
        SINTER_NEW_ARRAY(&e->arena, Onnx__AttributeProto *, node->n_attribute + 1);
    if (node->n_attribute) memcpy(grown, node->attribute, node->n_attribute * sizeof(*grown));
    grown[node->n_attribute++] = a;
    node->attribute = grown;
    return a;
}

static ProtobufCBinaryData bytes_of(sinter_arena *arena, sinter_string string) {
    return (ProtobufCBinaryData){string.size, sinter_arena_copy(arena, string.data, string.size)};
}

static void set_string(sinter_onnx_exporter *e, Onnx__NodeProto *node, const char *name,
                       sinter_string value) {
    Onnx__AttributeProto *a = emit_attr(e, node, name, SINTER_ONNX_STRING);
    a->has_s = 1;
    a->s = bytes_of(&e->arena, value);
}

void sinter_onnx_emit_int(sinter_onnx_exporter *e, Onnx__NodeProto *node, const char *name,
                          int64_t value) {
    Onnx__AttributeProto *a = emit_attr(e, node, name, SINTER_ONNX_INT);
    a->has_i = 1;
    a->i = value;
}

static void set_list(sinter_onnx_exporter *e, Onnx__NodeProto *node, const char *name,
                     const sinter_attr *attr) {
    static const sinter_onnx_attr_type types[] = {[SINTER_ATTR_INTS] = SINTER_ONNX_INTS,
                                                  [SINTER_ATTR_FLOATS] = SINTER_ONNX_FLOATS,
                                                  [SINTER_ATTR_STRINGS] = SINTER_ONNX_STRINGS};
    Onnx__AttributeProto *a = emit_attr(e, node, name, types[attr->kind]);
    if (attr->kind == SINTER_ATTR_INTS) {
        a->n_ints = attr->ints.count;
        a->ints = sinter_arena_copy(&e->arena, attr->ints.items, a->n_ints * sizeof *a->ints);
    } else if (attr->kind == SINTER_ATTR_FLOATS) {
        a->n_floats = attr->floats.count;
        a->floats = SINTER_NEW_ARRAY(&e->arena, float, a->n_floats);
        for (size_t i = 0; i < a->n_floats; i++) a->floats[i] = (float)attr->floats.items[i];
    } else {
        a->n_strings = attr->strings.count;
        a->strings = SINTER_NEW_ARRAY(&e->arena, ProtobufCBinaryData, a->n_strings);
        for (size_t i = 0; i < a->n_strings; i++)
            a->strings[i] = bytes_of(&e->arena, attr->strings.items[i]);
    }
}

static void write_attr(sinter_onnx_exporter *e, Onnx__NodeProto *node, const sinter_attr *attr) {
    const char *name = sinter_arena_copy_string(&e->arena, attr->name.data, attr->name.size);
    Onnx__AttributeProto *a;
    switch (attr->kind) {
    case SINTER_ATTR_INT:
        sinter_onnx_emit_int(e, node, name, attr->int_value);
        break;
    case SINTER_ATTR_FLOAT:
        a = emit_attr(e, node, name, SINTER_ONNX_FLOAT);
        a->has_f = 1;
        a->f = (float)attr->float_value;
        break;
    case SINTER_ATTR_STRING:
        set_string(e, node, name, attr->string_value);
        break;
    case SINTER_ATTR_INTS:
    case SINTER_ATTR_FLOATS:
    case SINTER_ATTR_STRINGS:
        set_list(e, node, name, attr);
        break;
    case SINTER_ATTR_TENSOR:
        a = emit_attr(e, node, name, SINTER_ONNX_TENSOR);
        a->t = sinter_tensor_proto_write(&e->arena, attr->tensor, NULL);
        break;
    case SINTER_ATTR_TYPE:
        a = emit_attr(e, node, name, SINTER_ONNX_TYPE_PROTO);
        a->tp = sinter_onnx_write_type(e, attr->type);
        break;
    case SINTER_ATTR_DTYPE:
        if (attr->dtype)
            sinter_onnx_emit_int(e, node, name, sinter_dtype_infos[attr->dtype].onnx_code);
        break;
    case SINTER_ATTR_NONE:
        break;
    }
}

/* ---- nodes ---- */

static Onnx__NodeProto *new_node(sinter_onnx_exporter *e, sinter_onnx_body *body, const char *op,
                                 size_t inputs, size_t outputs) {
    Onnx__NodeProto *node = SINTER_NEW(&e->arena, Onnx__NodeProto);
    onnx__node_proto__init(node);
    node->op_type = mutable_string(op);
    node->n_input = inputs;
    node->input = SINTER_NEW_ARRAY(&e->arena, char *, inputs);
    node->n_output = outputs;
    node->output = SINTER_NEW_ARRAY(&e->arena, char *, outputs);
    sinter_vector_push(&e->arena, &body->nodes, node);
    return node;
}

const char *sinter_onnx_emit(sinter_onnx_exporter *e, sinter_onnx_body *body, const char *op,
                             const char *const *inputs, size_t input_count, const char *output) {
    Onnx__NodeProto *node = new_node(e, body, op, input_count, 1);
    for (size_t i = 0; i < input_count; i++) node->input[i] = mutable_string(inputs[i]);
    node->output[0] = mutable_string(output ? output : sinter_onnx_unique_name(e, "dim"));
    return node->output[0];
}

/* The name that the file of origin gave the node, once; else its first result's. */
static const char *node_name(sinter_onnx_exporter *e, const sinter_node_info *info,
                             const char *result) {
    const char *start = info->location ? strstr(info->location, "node '") : NULL;
    const char *end = start ? strstr(start, "' (") : NULL;
    const char *name = result;
    uint64_t ignored;
    if (end) {
        start += strlen("node '");
        name = sinter_arena_copy_string(&e->arena, start, (size_t)(end - start));
    }
    if (!*name || sinter_map_find_string(&e->nodes, sinter_string_of(name), &ignored))
        name = result;
    const char *base = name;
    for (uint32_t i = 1; sinter_map_find_string(&e->nodes, sinter_string_of(name), &ignored); i++)
        name = sinter_arena_format(&e->arena, "%s_%" PRIu32, base, i);
    sinter_map_put_string(&e->nodes, sinter_string_of(name), 1);
    return name;
}

static bool write_regions(sinter_onnx_exporter *e, Onnx__NodeProto *proto, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(e->module, node);
    for (uint32_t i = 0; i < info->region_count; i++) {
        const char *name = info->op != SINTER_OP_if ? "body" : i ? "else_branch" : "then_branch";
        Onnx__AttributeProto *a = emit_attr(e, proto, name, SINTER_ONNX_GRAPH);
        a->g = sinter_onnx_write_region(e, info->regions[i], name);
        if (!a->g) return false;
    }
    return true;
}

/* A transpose that moves the channels to axis 1, or back to the end. */
static const char *emit_layout(sinter_onnx_exporter *e, sinter_onnx_body *body, const char *input,
                               const char *output, uint32_t rank, bool to_last) {
    const char *result = sinter_onnx_emit(e, body, "Transpose", &input, 1, output);
    Onnx__NodeProto *node = body->nodes.items[body->nodes.count - 1];
    Onnx__AttributeProto *perm = emit_attr(e, node, "perm", SINTER_ONNX_INTS);
    perm->n_ints = rank;
    perm->ints = SINTER_NEW_ARRAY(&e->arena, int64_t, rank);
    for (uint32_t i = 1; i < rank; i++)
        perm->ints[i] = to_last ? (i + 1 < rank ? i + 1 : 1) : (i > 1 ? i - 1 : rank - 1);
    return result;
}

/* Attributes of windows and attention that ONNX has no word for: what the layout and the way to compute are, and how exactly. */
static bool is_of_layout(sinter_string name) {
    static const char *const names[] = {"channels_last", "winograd", "blocks", "factor_precision"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (sinter_string_is(name, names[i])) return true;
    return false;
}

static bool write_plain(sinter_onnx_exporter *e, sinter_onnx_body *body, sinter_node node) {
    const sinter_node_info info = *sinter_node_get(e->module, node);
    const sinter_onnx_row *row = sinter_onnx_export_row(info.op);
    const char *name = row ? row->name : NULL;
    size_t variant = 0;
    while (variant < sizeof variants / sizeof *variants && variants[variant].op != info.op)
        variant++;
    bool varied = variant < sizeof variants / sizeof *variants;
    if (varied) name = variants[variant].name;
    if (!name)
        return sinter_error(e->diag, sinter_node_where(e->module, node), "%s has no ONNX operator",
                            sinter_op_get_info(info.op)->name);
    if (sinter_node_exchanges(e->module, node))
        return sinter_error(e->diag, sinter_node_where(e->module, node),
                            "%s is cut over ranks, which ONNX has no word for: export the program "
                            "of all ranks, before shard-partition",
                            sinter_op_get_info(info.op)->name);
    if (sinter_op_is_recurrent(info.op) && !info.operands[1])
        return sinter_error(e->diag, sinter_node_where(e->module, node),
                            "%s is given the products of its inputs (pass split-projections), "
                            "which ONNX has no word for",
                            sinter_op_get_info(info.op)->name);
    /* ONNX windows have their channels at axis 1. */
    bool transposed = sinter_op_get_info(info.op)->pattern == SINTER_PATTERN_WINDOW &&
                      sinter_node_get_int(e->module, node, "channels_last", 0) != 0;
    uint32_t rank = transposed ? sinter_value_type(e->module, info.operands[0])->rank : 0;
    const char *data =
        transposed
            ? emit_layout(e, body, sinter_onnx_value_name(e, info.operands[0]), NULL, rank, false)
            : NULL;
    Onnx__NodeProto *proto = new_node(e, body, name, info.operand_count, info.result_count);
    for (uint32_t i = 0; i < info.operand_count; i++)
        proto->input[i] = mutable_string(
            transposed && i == 0 ? data : sinter_onnx_value_name(e, info.operands[i]));
    for (uint32_t i = 0; i < info.result_count; i++)
        proto->output[i] = mutable_string(sinter_onnx_value_name(e, info.results[i]));
    while (proto->n_output > 1 && !*proto->output[proto->n_output - 1]) proto->n_output--;
    proto->name = mutable_string(node_name(e, &info, proto->n_output ? proto->output[0] : ""));
    if (row && !varied && *row->domain) {
        proto->domain = mutable_string(row->domain);
        sinter_map_put_string(&e->domains, sinter_string_of(row->domain), 1);
    }
    for (uint32_t i = 0; i < info.attribute_count; i++)
        if (!transposed || !is_of_layout(info.attributes[i].name))
            write_attr(e, proto, &info.attributes[i]);
    if (transposed) {
        const char *output = proto->output[0];
        proto->output[0] = mutable_string(sinter_onnx_unique_name(e, "channels_first"));
        emit_layout(e, body, proto->output[0], output, rank, true);
    }
    if (varied && variants[variant].text)
        set_string(e, proto, variants[variant].attribute, sinter_string_of(variants[variant].text));
    else if (varied)
        sinter_onnx_emit_int(e, proto, variants[variant].attribute, 1);
    return write_regions(e, proto, node);
}

/* A group is its region's nodes, whose arguments and yields are the group's operands and results. */
static bool write_group(sinter_onnx_exporter *e, sinter_onnx_body *body, sinter_node node) {
    const sinter_node_info info = *sinter_node_get(e->module, node);
    const sinter_region_info region = *sinter_region_get(e->module, info.regions[0]);
    for (uint32_t i = 0; i < region.argument_count; i++)
        e->names[region.arguments[i]] = sinter_onnx_value_name(e, info.operands[i]);
    bool ok = true;
    for (sinter_node inside = region.first; inside && inside != region.last;
         inside = sinter_node_get(e->module, inside)->next)
        ok &= sinter_onnx_write_node(e, body, inside);
    for (uint32_t i = 0; i < info.result_count; i++) {
        const char *input =
            sinter_onnx_value_name(e, sinter_node_operand(e->module, region.last, i));
        if (info.results[i])
            sinter_onnx_emit(e, body, "Identity", &input, 1,
                             sinter_onnx_value_name(e, info.results[i]));
    }
    return ok;
}

static bool write_constant(sinter_onnx_exporter *e, sinter_onnx_body *body, sinter_node node) {
    sinter_value value = sinter_node_get(e->module, node)->results[0];
    Onnx__TensorProto *tensor = sinter_tensor_proto_write(
        &e->arena, sinter_value_constant(e->module, value), sinter_onnx_value_name(e, value));
    sinter_vector_push(&e->arena, &body->initializers, tensor);
    return true;
}

static bool write_dim_vector(sinter_onnx_exporter *e, sinter_onnx_body *body, sinter_node node) {
    const int64_t *dims;
    size_t count = sinter_node_get_ints(e->module, node, "dims", &dims);
    return sinter_onnx_write_dims(
        e, body, sinter_node_where(e->module, node), dims, count,
        sinter_onnx_value_name(e, sinter_node_get(e->module, node)->results[0]));
}

static const char *emit_cast(sinter_onnx_exporter *e, sinter_onnx_body *body, const char *x,
                             sinter_dtype to) {
    const char *y = sinter_onnx_emit(e, body, "Cast", &x, 1, NULL);
    sinter_onnx_emit_int(e, body->nodes.items[body->nodes.count - 1], "to",
                         sinter_dtype_infos[to].onnx_code);
    return y;
}

/* Indices of Gather that are below 0 count from the end: bytes by their bits. */
static bool write_lookup(sinter_onnx_exporter *e, sinter_onnx_body *body, sinter_node node) {
    const sinter_node_info info = *sinter_node_get(e->module, node);
    const char *bytes = sinter_onnx_value_name(e, info.operands[0]);
    const char *indices = emit_cast(e, body, bytes, SINTER_DTYPE_i32);
    const char *operands[2] = {sinter_onnx_value_name(e, info.operands[1]), indices};
    sinter_onnx_emit(e, body, "Gather", operands, 2, sinter_onnx_value_name(e, info.results[0]));
    return true;
}

/* MatMulInteger sums up in 32 bits; more are a MatMul of int64. */
static bool write_matmul_integer(sinter_onnx_exporter *e, sinter_onnx_body *body,
                                 sinter_node node) {
    const sinter_node_info info = *sinter_node_get(e->module, node);
    sinter_dtype sums = sinter_node_get_dtype(e->module, node, "to");
    const char *factors[2];
    if (sums == SINTER_DTYPE_i32) return write_plain(e, body, node);
    for (uint32_t i = 0; i < 2; i++) {
        sinter_value zero = sinter_node_operand(e->module, node, i + 2);
        factors[i] = emit_cast(e, body, sinter_onnx_value_name(e, info.operands[i]), sums);
        if (!zero) continue;
        if (i == 0 && sinter_value_type(e->module, zero)->rank == 1)
            return sinter_error(e->diag, sinter_node_where(e->module, node),
                                "matmul_integer to i64 with a zero point for each row has no ONNX "
                                "operator: give it the rank of the rows' matrix");
        const char *pair[2] = {factors[i],
                               emit_cast(e, body, sinter_onnx_value_name(e, zero), sums)};
        factors[i] = sinter_onnx_emit(e, body, "Sub", pair, 2, NULL);
    }
    sinter_onnx_emit(e, body, "MatMul", factors, 2, sinter_onnx_value_name(e, info.results[0]));
    return true;
}

/* Ops that are not one node in ONNX. */
static const struct {
    sinter_op op;
    bool (*write)(sinter_onnx_exporter *, sinter_onnx_body *, sinter_node);
} writers[] = {{SINTER_OP_constant, write_constant},
               {SINTER_OP_dim_vector, write_dim_vector},
               {SINTER_OP_lookup, write_lookup},
               {SINTER_OP_matmul_integer, write_matmul_integer},
               {SINTER_OP_group, write_group}};

bool sinter_onnx_write_node(sinter_onnx_exporter *e, sinter_onnx_body *body, sinter_node node) {
    sinter_op op = sinter_node_get(e->module, node)->op;
    for (size_t i = 0; i < sizeof writers / sizeof *writers; i++)
        if (writers[i].op == op) return writers[i].write(e, body, node);
    return write_plain(e, body, node);
}
