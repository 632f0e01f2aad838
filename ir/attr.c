/* Attribute values: constructors, equality, copies, and what a node's attribute is when the node
 * doesn't say: the default of its op's schema. Float defaults are binary32, like the attributes of
 * files. The table of defaults is made once, on first use. Test: tests/unit/graph_test.c */
#include "ir/graph_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- constructors ---- */

sinter_attr sinter_attr_int(const char *name, int64_t value) {
    return (sinter_attr){
        .name = sinter_string_of(name), .kind = SINTER_ATTR_INT, .int_value = value};
}

sinter_attr sinter_attr_float(const char *name, double value) {
    return (sinter_attr){
        .name = sinter_string_of(name), .kind = SINTER_ATTR_FLOAT, .float_value = value};
}

sinter_attr sinter_attr_string(const char *name, sinter_string value) {
    return (sinter_attr){
        .name = sinter_string_of(name), .kind = SINTER_ATTR_STRING, .string_value = value};
}

sinter_attr sinter_attr_ints(const char *name, const int64_t *items, size_t count) {
    return (sinter_attr){.name = sinter_string_of(name),
                         .kind = SINTER_ATTR_INTS,
                         .ints = {.items = items, .count = count}};
}

sinter_attr sinter_attr_strings(const char *name, const sinter_string *items, size_t count) {
    return (sinter_attr){.name = sinter_string_of(name),
                         .kind = SINTER_ATTR_STRINGS,
                         .strings = {.items = items, .count = count}};
}

sinter_attr sinter_attr_dtype(const char *name, sinter_dtype dtype) {
    return (sinter_attr){.name = sinter_string_of(name), .kind = SINTER_ATTR_DTYPE, .dtype = dtype};
}

sinter_attr sinter_attr_tensor(const char *name, const sinter_tensor *tensor) {
    return (sinter_attr){
        .name = sinter_string_of(name), .kind = SINTER_ATTR_TENSOR, .tensor = tensor};
}

/* ---- copies ---- */

sinter_attr sinter_attr_copy(sinter_arena *arena, const sinter_attr *attr) {
    sinter_attr copy = *attr;
    copy.name = sinter_string_copy(arena, attr->name);
    switch (attr->kind) {
    case SINTER_ATTR_STRING:
        copy.string_value = sinter_string_copy(arena, attr->string_value);
        break;
    case SINTER_ATTR_INTS:
        copy.ints.items =
            sinter_arena_copy(arena, attr->ints.items, attr->ints.count * sizeof *attr->ints.items);
        break;
    case SINTER_ATTR_FLOATS:
        copy.floats.items = sinter_arena_copy(arena, attr->floats.items,
                                              attr->floats.count * sizeof *attr->floats.items);
        break;
    case SINTER_ATTR_STRINGS: {
        sinter_string *items = SINTER_NEW_ARRAY(arena, sinter_string, attr->strings.count);
        for (size_t i = 0; i < attr->strings.count; i++)
            items[i] = sinter_string_copy(arena, attr->strings.items[i]);
        copy.strings.items = items;
        break;
    }
    case SINTER_ATTR_TYPE: {
        sinter_type *type = SINTER_NEW(arena, sinter_type);
        *type = sinter_graph_copy_type(arena, attr->type);
        copy.type = type;
        break;
    }
    case SINTER_ATTR_NONE:
    case SINTER_ATTR_INT:
    case SINTER_ATTR_FLOAT:
    case SINTER_ATTR_TENSOR:
    case SINTER_ATTR_DTYPE:
        break;
    }
    return copy;
}

/* ---- equality ---- */

static bool tensor_equal(const sinter_tensor *a, const sinter_tensor *b) {
    if (a == b) return true;
    if (a->kind != b->kind || a->dtype != b->dtype || a->rank != b->rank ||
        a->item_count != b->item_count)
        return false;
    for (uint32_t i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i]) return false;
    for (size_t i = 0; i < a->item_count; i++)
        if (!tensor_equal(&a->items[i], &b->items[i])) return false;
    if (a->kind != SINTER_TYPE_TENSOR || a->data == b->data) return true;
    if (a->dtype != SINTER_DTYPE_string)
        return memcmp(a->data, b->data, sinter_tensor_bytes(a)) == 0;
    for (int64_t i = 0, count = sinter_tensor_count(a); i < count; i++)
        if (!sinter_string_equal(sinter_tensor_get_string(a, i), sinter_tensor_get_string(b, i)))
            return false;
    return true;
}

static bool strings_equal(const sinter_attr *a, const sinter_attr *b) {
    if (a->strings.count != b->strings.count) return false;
    for (size_t i = 0; i < a->strings.count; i++)
        if (!sinter_string_equal(a->strings.items[i], b->strings.items[i])) return false;
    return true;
}

/* Floats by their bits: -0 and 0 differ, a NaN equals itself. */
bool sinter_attr_equal(const sinter_attr *a, const sinter_attr *b) {
    if (a->kind != b->kind || !sinter_string_equal(a->name, b->name)) return false;
    switch (a->kind) {
    case SINTER_ATTR_NONE:
        return true;
    case SINTER_ATTR_INT:
        return a->int_value == b->int_value;
    case SINTER_ATTR_FLOAT:
        return memcmp(&a->float_value, &b->float_value, sizeof a->float_value) == 0;
    case SINTER_ATTR_STRING:
        return sinter_string_equal(a->string_value, b->string_value);
    case SINTER_ATTR_INTS:
        return a->ints.count == b->ints.count &&
               (a->ints.count == 0 ||
                memcmp(a->ints.items, b->ints.items, a->ints.count * sizeof *a->ints.items) == 0);
    case SINTER_ATTR_FLOATS:
        return a->floats.count == b->floats.count &&
               (a->floats.count == 0 || memcmp(a->floats.items, b->floats.items,
                                               a->floats.count * sizeof *a->floats.items) == 0);
    case SINTER_ATTR_STRINGS:
        return strings_equal(a, b);
    case SINTER_ATTR_TENSOR:
        return tensor_equal(a->tensor, b->tensor);
    case SINTER_ATTR_TYPE:
        return sinter_type_equal(a->type, b->type);
    case SINTER_ATTR_DTYPE:
        return a->dtype == b->dtype;
    }
    return false;
}

/* ---- defaults ---- */

/* Words of "[a b c]", on the heap for the life of the process. */
static size_t split_list(sinter_string text, sinter_string **out_words) {
    sinter_string *words = sinter_heap_alloc((text.size + 1) * sizeof *words);
    size_t count = 0;
    for (size_t i = 1; i + 1 < text.size; i++) {
        if (text.data[i] == ' ') continue;
        size_t start = i;
        while (i + 1 < text.size && text.data[i] != ' ') i++;
        words[count++] = (sinter_string){text.data + start, i - start};
    }
    *out_words = words;
    return count;
}

static double read_float(sinter_string text) {
    char buffer[64] = {0};
    assert(text.size < sizeof buffer);
    memcpy(buffer, text.data, text.size);
    return (double)strtof(buffer, NULL);
}

static int64_t read_int(sinter_string text) {
    bool negative = text.size > 0 && text.data[0] == '-';
    int64_t value = 0;
    for (size_t i = negative; i < text.size; i++) value = value * 10 + (text.data[i] - '0');
    return negative ? -value : value;
}

static sinter_attr read_default(const sinter_attr_info *info) {
    sinter_attr attr = {.name = info->name, .kind = info->kind};
    sinter_string text = info->default_text, *words = NULL;
    switch (info->kind) {
    case SINTER_ATTR_INT:
        attr.int_value = read_int(text);
        break;
    case SINTER_ATTR_FLOAT:
        attr.float_value = read_float(text);
        break;
    case SINTER_ATTR_STRING:
        attr.string_value = text;
        break;
    case SINTER_ATTR_DTYPE:
        attr.dtype = sinter_dtype_find(text);
        break;
    case SINTER_ATTR_INTS: {
        size_t count = split_list(text, &words);
        int64_t *items = sinter_heap_alloc((count + 1) * sizeof *items);
        for (size_t i = 0; i < count; i++) items[i] = read_int(words[i]);
        attr.ints.items = items;
        attr.ints.count = count;
        sinter_heap_free(words);
        break;
    }
    case SINTER_ATTR_FLOATS: {
        size_t count = split_list(text, &words);
        double *items = sinter_heap_alloc((count + 1) * sizeof *items);
        for (size_t i = 0; i < count; i++) items[i] = read_float(words[i]);
        attr.floats.items = items;
        attr.floats.count = count;
        sinter_heap_free(words);
        break;
    }
    case SINTER_ATTR_STRINGS:
        attr.strings.count = split_list(text, &words);
        attr.strings.items = words;
        break;
    case SINTER_ATTR_NONE:
    case SINTER_ATTR_TENSOR:
    case SINTER_ATTR_TYPE:
        assert(!"ops.def: this kind of attribute has no default");
    }
    return attr;
}

/* defaults[op][i] belongs to attribute i of the schema; kind NONE where it has none. */
static const sinter_attr *defaults[SINTER_OP_COUNT];

static void make_defaults(void) {
    for (uint32_t op = 1; op < SINTER_OP_COUNT; op++) {
        const sinter_op_info *info = sinter_op_get_info((sinter_op)op);
        sinter_attr *items = sinter_heap_alloc((info->attribute_count + 1) * sizeof *items);
        for (uint32_t i = 0; i < info->attribute_count; i++)
            if (info->attributes[i].has_default) items[i] = read_default(&info->attributes[i]);
        defaults[op] = items;
    }
}

/* ---- attributes of a node ---- */

const sinter_attr *sinter_node_find_attr(const sinter_module *module, sinter_node node,
                                         const char *name) {
    static sinter_once once = SINTER_ONCE_INIT;
    const sinter_node_info *info = sinter_node_get(module, node);
    for (uint32_t i = 0; i < info->attribute_count; i++)
        if (sinter_string_is(info->attributes[i].name, name)) return &info->attributes[i];
    int index = sinter_op_find_attribute(info->op, sinter_string_of(name));
    if (index < 0) return NULL;
    sinter_once_run(&once, make_defaults);
    const sinter_attr *attr = &defaults[info->op][index];
    return attr->kind == SINTER_ATTR_NONE ? NULL : attr;
}

static const sinter_attr *find_kind(const sinter_module *module, sinter_node node, const char *name,
                                    sinter_attr_kind kind) {
    const sinter_attr *attr = sinter_node_find_attr(module, node, name);
    return attr && attr->kind == kind ? attr : NULL;
}

int64_t sinter_node_get_int(const sinter_module *module, sinter_node node, const char *name,
                            int64_t otherwise) {
    const sinter_attr *attr = find_kind(module, node, name, SINTER_ATTR_INT);
    return attr ? attr->int_value : otherwise;
}

double sinter_node_get_float(const sinter_module *module, sinter_node node, const char *name,
                             double otherwise) {
    const sinter_attr *attr = find_kind(module, node, name, SINTER_ATTR_FLOAT);
    return attr ? attr->float_value : otherwise;
}

sinter_string sinter_node_get_string(const sinter_module *module, sinter_node node,
                                     const char *name) {
    const sinter_attr *attr = find_kind(module, node, name, SINTER_ATTR_STRING);
    return attr ? attr->string_value : (sinter_string){"", 0};
}

size_t sinter_node_get_ints(const sinter_module *module, sinter_node node, const char *name,
                            const int64_t **out_items) {
    const sinter_attr *attr = find_kind(module, node, name, SINTER_ATTR_INTS);
    *out_items = attr ? attr->ints.items : NULL;
    return attr ? attr->ints.count : 0;
}

int64_t sinter_node_get_int_at(const sinter_module *module, sinter_node node, const char *name,
                               size_t i, int64_t otherwise) {
    const int64_t *items = NULL;
    return i < sinter_node_get_ints(module, node, name, &items) ? items[i] : otherwise;
}

uint32_t sinter_node_get_axis(const sinter_module *module, sinter_node node, int64_t otherwise,
                              uint32_t rank) {
    int64_t axis = sinter_node_get_int(module, node, "axis", otherwise);
    return (uint32_t)(axis < 0 ? axis + rank : axis);
}

size_t sinter_node_get_floats(const sinter_module *module, sinter_node node, const char *name,
                              const double **out_items) {
    const sinter_attr *attr = find_kind(module, node, name, SINTER_ATTR_FLOATS);
    *out_items = attr ? attr->floats.items : NULL;
    return attr ? attr->floats.count : 0;
}

sinter_dtype sinter_node_get_dtype(const sinter_module *module, sinter_node node,
                                   const char *name) {
    const sinter_attr *attr = find_kind(module, node, name, SINTER_ATTR_DTYPE);
    return attr ? attr->dtype : SINTER_DTYPE_NONE;
}
