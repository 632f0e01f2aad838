/* Narrow tables: what rows are taken from (embeddings) becomes bytes with a scale for each row where the recipe rounds weights, and f16
 * or bf16 where it says so; nothing makes up for fewer bits there, so bytes are the least. A row is made floats after it is taken:
 *   gather(table, i)  ->  cast(gather(bytes, i)) * gather(scales, i)
 * which every engine runs as it is, without ever having the table as floats. Small tables stay. Test: tests/passes/quantize_tables/ */
#include "passes/layer.h"
#include "passes/pass.h"

#include <math.h>

enum { LEAST_ITEMS = 1024, LARGEST_BYTE = 127 };

/* What became of a constant that several nodes may read. */
typedef struct narrow_table {
    sinter_value items, scales; /* scales 0: none */
} narrow_table;

typedef struct quantizer {
    sinter_pass_context *context;
    sinter_rewrite *rewrite;
    sinter_map known; /* by constant: index of a narrow table */
    SINTER_VECTOR(narrow_table) tables;
} quantizer;

static bool check_finite(const quantizer *q, const sinter_table *table) {
    const float *items = table->items->data;
    for (int64_t i = 0; i < sinter_tensor_count(table->items); i++)
        if (!isfinite(items[i]))
            return sinter_error(q->rewrite->build.diag, "quantize-tables",
                                "table '%s' has an element that is not finite (%g)", table->name,
                                (double)items[i]);
    return true;
}

/* Tables of another float type need no scales. */
static bool make_floats(quantizer *q, const sinter_table *table, sinter_dtype dtype,
                        narrow_table *out) {
    sinter_tensor tensor;
    const float *items = table->items->data;
    if (!sinter_tensor_create(&tensor, dtype, table->items->rank, table->items->dims,
                              q->rewrite->build.diag))
        return false;
    for (int64_t i = 0; i < sinter_tensor_count(table->items); i++)
        sinter_tensor_set_double(&tensor, i, (double)items[i]);
    *out = (narrow_table){sinter_build_constant(&q->rewrite->build, tensor), 0};
    return out->items != 0;
}

/* The largest element of a row is the largest byte. */
static bool make_bytes(quantizer *q, const sinter_table *table, narrow_table *out) {
    sinter_diag *diag = q->rewrite->build.diag;
    const sinter_tensor *from = table->items;
    sinter_tensor bytes, scales;
    int64_t rows = from->dims[0], width = sinter_tensor_count(from) / rows;
    int64_t dims[SINTER_MAX_RANK] = {rows};
    for (uint32_t i = 1; i < from->rank; i++) dims[i] = 1;
    if (!sinter_tensor_create(&bytes, SINTER_DTYPE_i8, from->rank, from->dims, diag)) return false;
    if (!sinter_tensor_create(&scales, SINTER_DTYPE_f32, from->rank, dims, diag)) {
        sinter_tensor_deinit(&bytes);
        return false;
    }
    float *scale = sinter_tensor_mutable(&scales);
    int8_t *to = sinter_tensor_mutable(&bytes);
    for (int64_t r = 0; r < rows; r++, to += width) {
        const float *row = (const float *)from->data + r * width;
        float size = 0;
        for (int64_t i = 0; i < width; i++) size = fmaxf(size, fabsf(row[i]));
        scale[r] = size / LARGEST_BYTE;
        if (!(scale[r] > 0x1p-100f)) scale[r] = 1; /* nothing but zeros */
        for (int64_t i = 0; i < width; i++) to[i] = (int8_t)rintf(row[i] / scale[r]);
    }
    out->items = sinter_build_constant(&q->rewrite->build, bytes);
    out->scales = sinter_build_constant(&q->rewrite->build, scales);
    return out->items && out->scales;
}

static bool find_narrow(quantizer *q, const sinter_table *table, const sinter_layer_recipe *recipe,
                        narrow_table *out) {
    sinter_value value = sinter_node_operand(q->context->module, table->node, 0);
    uint64_t index = 0;
    bool is_wide =
        recipe->grid == SINTER_WEIGHT_GRID_FLOAT && sinter_dtype_infos[recipe->storage].bits > 8;
    if (!sinter_map_find(&q->known, value, &index)) {
        narrow_table made;
        if (!check_finite(q, table) || !(is_wide ? make_floats(q, table, recipe->storage, &made)
                                                 : make_bytes(q, table, &made)))
            return false;
        index = q->tables.count;
        sinter_vector_push(&q->context->scratch, &q->tables, made);
        sinter_map_put(&q->known, value, index);
    }
    *out = q->tables.items[index];
    return true;
}

static sinter_value take_rows(quantizer *q, const sinter_table *table, sinter_value items) {
    sinter_value operands[2] = {items, sinter_node_operand(q->context->module, table->node, 1)};
    return sinter_build(&q->rewrite->build, SINTER_OP_gather, operands, 2, NULL, 0);
}

static bool quantize(quantizer *q, const sinter_table *table, const sinter_layer_recipe *recipe) {
    sinter_builder *build = &q->rewrite->build;
    sinter_rewrite_at(q->rewrite, table->node);
    build->location = NULL; /* names of their own */
    narrow_table narrow;
    if (!find_narrow(q, table, recipe, &narrow)) return false;
    sinter_value rows = take_rows(q, table, narrow.items);
    if (rows) rows = sinter_build_cast(build, rows, SINTER_DTYPE_f32);
    sinter_value scales = rows && narrow.scales ? take_rows(q, table, narrow.scales) : 0;
    if (scales) rows = sinter_build_binary(build, SINTER_OP_mul, rows, scales);
    if (!rows || (narrow.scales && !scales)) return false;
    sinter_rewrite_replace(q->rewrite, sinter_node_result(q->context->module, table->node, 0),
                           rows);
    return true;
}

void sinter_pass_quantize_tables(sinter_pass_context *context) {
    const sinter_compression *compression = context->options->compression;
    if (!compression || !compression->recipe) return;
    quantizer q = {.context = context, .rewrite = &context->rewrite};
    sinter_map_init(&q.known, &context->scratch);
    sinter_table_list tables = sinter_table_find_all(context->module, &context->scratch);
    sinter_layer_recipe *recipes =
        SINTER_NEW_ARRAY(&context->scratch, sinter_layer_recipe, tables.count);
    sinter_map stay; /* constants that a reader wants as they are */
    sinter_map_init(&stay, &context->scratch);
    for (size_t i = 0; i < tables.count; i++) {
        const sinter_table *table = &tables.items[i];
        if (!sinter_recipe_find(compression->recipe, table->name, &recipes[i],
                                q.rewrite->build.diag))
            return;
        if (recipes[i].grid == SINTER_WEIGHT_GRID_NONE ||
            sinter_tensor_count(table->items) < LEAST_ITEMS)
            sinter_map_put(&stay, sinter_node_operand(context->module, table->node, 0), 1);
    }
    for (size_t i = 0; i < tables.count; i++) {
        uint64_t ignored = 0;
        sinter_value value = sinter_node_operand(context->module, tables.items[i].node, 0);
        if (sinter_map_find(&stay, value, &ignored)) continue;
        if (!quantize(&q, &tables.items[i], &recipes[i])) return;
    }
}
