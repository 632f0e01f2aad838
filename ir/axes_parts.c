/* Axes of ops that are more than their elements: what goes along index by index all the same, samples most often, heads of attention.
 * Test: tests/unit/axes_test.c, tests/suites/shard_values.py */
#include "ir/axes_internal.h"

#include <ctype.h>
#include <string.h>

/* ---- by the op table ---- */

typedef struct part {
    bool is_result;
    uint32_t index, axis;
    bool is_blocks; /* of all indices of the letter, one block after the other */
    bool is_read_whole;
} part;
typedef SINTER_VECTOR(part) part_list;
enum { READ_WHOLE = 26, LISTS }; /* lists by letter, and that of axes of all units */

static const sinter_type *type_at(const sinter_axes *axes, bool is_result, uint32_t index) {
    return is_result ? sinter_axes_result(axes, index) : sinter_axes_operand(axes, index);
}

/* The words for one tensor, "b.*", sort its axes by letter. False where its rank is another. */
static bool read_words(const sinter_axes *axes, const char *words, size_t length, bool is_result,
                       uint32_t index, part_list *letters) {
    const sinter_type *type = type_at(axes, is_result, index);
    bool rest = length && words[length - 1] == '*';
    uint32_t named = (uint32_t)length - rest;
    if (!type || !length) return true;
    if (type->rank < named || (!rest && type->rank != named)) return false;
    for (uint32_t i = 0; i < named; i++) {
        unsigned char word = (unsigned char)words[i];
        part p = {is_result, index, i, isupper(word) != 0, word == '+'};
        if (isalpha(word) || p.is_read_whole)
            sinter_vector_push(axes->arena,
                               &letters[isalpha(word) ? tolower(word) - 'a' : READ_WHOLE], p);
    }
    return true;
}

static bool read_signature(const sinter_axes *axes, const char *body, part_list *letters) {
    bool is_result = false;
    uint32_t index = 0;
    while (*body && *body != ' ') {
        size_t length = strspn(body, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.*+");
        if (!read_words(axes, body, length, is_result, index, letters)) return false;
        body += length;
        if (*body == '-') {
            is_result = true;
            index = 0;
            body += 2;
        } else if (*body == ',') {
            index++;
            body++;
        }
    }
    return true;
}

/* What all axes of the letter that are no blocks have in common; 0: nothing. */
static sinter_dim size_of_letter(const sinter_axes *axes, const part_list *list) {
    sinter_dim size = 0;
    for (size_t i = 0; i < list->count; i++) {
        const part *p = &list->items[i];
        sinter_dim dim = type_at(axes, p->is_result, p->index)->dims[p->axis];
        if (p->is_blocks) continue;
        if (size && dim != size) return 0;
        size = dim;
    }
    return size;
}

/* Axes of all units. */
static void link_read_whole(sinter_axes *axes, const part_list *list, uint32_t factor) {
    for (size_t i = 0; i < list->count; i++) {
        const part *p = &list->items[i];
        sinter_dim size = axes->map->factors.items[factor].size;
        if (type_at(axes, p->is_result, p->index)->dims[p->axis] != size) continue;
        sinter_axes_link_part(axes, (sinter_axis_link){.factor = factor,
                                                       .is_result = p->is_result,
                                                       .index = p->index,
                                                       .axis = p->axis,
                                                       .run = 1,
                                                       .blocks = 1,
                                                       .is_read_whole = true});
    }
}

/* Units of a recurrence, with axes that hold them once a gate. */
static void describe_units(sinter_axes *axes, const part_list *list, const part_list *whole,
                           sinter_dim size) {
    int64_t units = 0, length = 0;
    if (!sinter_axes_number(axes, size, &units) || units < 1) return;
    for (size_t i = 0; i < list->count; i++) {
        const part *p = &list->items[i];
        const sinter_type *type = type_at(axes, p->is_result, p->index);
        if (!sinter_axes_number(axes, type->dims[p->axis], &length) || length % units) return;
    }
    uint32_t factor = sinter_axes_factor(axes, SINTER_AXIS_STEPWISE, size);
    for (size_t i = 0; i < list->count; i++) {
        const part *p = &list->items[i];
        sinter_axes_number(axes, type_at(axes, p->is_result, p->index)->dims[p->axis], &length);
        sinter_axes_link_part(axes, (sinter_axis_link){.factor = factor,
                                                       .is_result = p->is_result,
                                                       .index = p->index,
                                                       .axis = p->axis,
                                                       .run = 1,
                                                       .blocks = length / units,
                                                       .period = units});
    }
    link_read_whole(axes, whole, factor);
}

void sinter_axes_describe_parts(sinter_axes *axes, const char *body) {
    part_list letters[LISTS] = {{0}};
    int choice = (sinter_node_get_int(axes->module, axes->node, "layout", 0) != 0) +
                 2 * (sinter_op_is_recurrent(axes->info.op) && !sinter_axes_operand(axes, 1));
    for (const char *other; choice > 0 && (other = strstr(body, " | ")); choice--) body = other + 3;
    if (!read_signature(axes, body, letters)) return;
    for (int letter = 0; letter < 26; letter++) {
        const part_list *list = &letters[letter];
        sinter_dim size = size_of_letter(axes, list);
        bool has_blocks = false, in_result = false;
        for (size_t i = 0; i < list->count; i++) {
            has_blocks |= list->items[i].is_blocks;
            in_result |= list->items[i].is_result;
        }
        if (size && has_blocks) describe_units(axes, list, &letters[READ_WHOLE], size);
        if (!size || has_blocks) continue;
        uint32_t factor =
            sinter_axes_factor(axes, in_result ? SINTER_AXIS_ALONG : SINTER_AXIS_INNER, size);
        for (size_t i = 0; i < list->count; i++)
            sinter_axes_link(axes, factor, list->items[i].is_result, list->items[i].index,
                             list->items[i].axis);
    }
}

/* ---- attention ---- */

enum { Q, K, V, MASK, PAST_KEY, PAST_VALUE, LENGTHS, OPERANDS };
enum { Y, PRESENT_KEY, PRESENT_VALUE, SCORES, RESULTS };

/* Which axis of a mask, counted from the right, is as long as `size` (1), repeated (0), or something else (-1). */
static int look_at_mask(const sinter_axes *axes, uint32_t from_right, sinter_dim size) {
    const sinter_type *mask = sinter_axes_operand(axes, MASK);
    if (!mask || mask->rank < from_right) return 0;
    sinter_dim dim = mask->dims[mask->rank - from_right];
    return dim == size ? 1 : sinter_dim_is(axes->dims, dim, 1) ? 0 : -1;
}

static void describe_samples(sinter_axes *axes) {
    sinter_dim size = sinter_axes_operand(axes, Q)->dims[0];
    int mask = look_at_mask(axes, 4, size);
    if (mask < 0) return;
    for (uint32_t i = 0; i < OPERANDS; i++) {
        const sinter_type *type = sinter_axes_operand(axes, i);
        if (i != MASK && type && (!type->rank || type->dims[0] != size)) return;
    }
    uint32_t factor = sinter_axes_factor(axes, SINTER_AXIS_ALONG, size);
    for (uint32_t i = 0; i < OPERANDS; i++)
        if (sinter_axes_operand(axes, i) && (i != MASK || mask))
            sinter_axes_link(axes, factor, false, i, 0);
    for (uint32_t i = 0; i < RESULTS; i++)
        if (sinter_axes_result(axes, i)) sinter_axes_link(axes, factor, true, i, 0);
}

/* Heads of an operand or result: an axis of their own, or the outer digit of the last one. */
static bool link_heads(sinter_axes *axes, uint32_t factor, bool is_result, uint32_t index,
                       int64_t heads) {
    const sinter_type *type = type_at(axes, is_result, index);
    int64_t length = 0;
    if (!type) return true;
    uint32_t axis = type->rank == 3 ? 2 : 1;
    if (!sinter_axes_number(axes, type->dims[axis], &length) || length % heads) return false;
    sinter_axis_link link = {.factor = factor,
                             .is_result = is_result,
                             .index = index,
                             .axis = axis,
                             .run = length / heads,
                             .blocks = 1};
    sinter_axes_link_part(axes, link);
    return true;
}

/* Of the keys; queries, results and scores have as many for each of them. */
static void describe_heads(sinter_axes *axes) {
    const sinter_type *q = sinter_axes_operand(axes, Q), *k = sinter_axes_operand(axes, K);
    int64_t heads = 0, queries = 0;
    if (q->rank == 3) {
        queries = sinter_node_get_int(axes->module, axes->node, "q_num_heads", 0);
        heads = sinter_node_get_int(axes->module, axes->node, "kv_num_heads", 0);
    } else if (!sinter_axes_number(axes, q->dims[1], &queries) ||
               !sinter_axes_number(axes, k->dims[1], &heads)) {
        return;
    }
    int mask = look_at_mask(axes, 3, sinter_dim_const(axes->dims, queries));
    if (heads < 1 || queries % heads || mask < 0) return;
    size_t link_count = axes->map->links.count;
    uint32_t factor =
        sinter_axes_factor(axes, SINTER_AXIS_ALONG, sinter_dim_const(axes->dims, heads));
    bool good = true;
    for (uint32_t i = 0; i < OPERANDS; i++)
        if (i != MASK && i != LENGTHS) good = good && link_heads(axes, factor, false, i, heads);
    for (uint32_t i = 0; i < RESULTS; i++) good = good && link_heads(axes, factor, true, i, heads);
    if (mask) {
        sinter_axis_link link = {.factor = factor,
                                 .index = MASK,
                                 .axis = sinter_axes_operand(axes, MASK)->rank - 3,
                                 .run = queries / heads,
                                 .blocks = 1};
        sinter_axes_link_part(axes, link);
    }
    if (good) return;
    axes->map->links.count = link_count;
    axes->map->factors.count--;
}

void sinter_axes_describe_attention(sinter_axes *axes) {
    const sinter_type *q = sinter_axes_operand(axes, Q), *k = sinter_axes_operand(axes, K),
                      *v = sinter_axes_operand(axes, V), *y = sinter_axes_result(axes, Y);
    if (!q || !k || !v || !y || q->rank < 3 || q->rank > 4 || k->rank != q->rank ||
        v->rank != q->rank || y->rank != q->rank)
        return;
    describe_samples(axes);
    describe_heads(axes);
}
