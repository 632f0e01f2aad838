/* Chooses Winograd's minimal filtering for 3x3 convolutions in f32: fewer multiplications, for transforms of input and result
 * and larger weights. The choice, and how tiles are blocked, goes by an estimate of cycles from the shapes and the machine
 * (ir/machine.h), unless another way was measured to be faster (ir/chooser.h); conv carries it in the attribute `winograd`, which
 * lowering reads (codegen/lower/winograd.c).
 *
 * Needs layouts settled: only convolutions with channels last and constant weights are looked at. Results change by rounding:
 * about 1e-5 of the largest element with tiles of 4, 1e-6 with tiles of 2. Test: tests/passes/winograd/ */
#include "ir/winograd.h"
#include "ir/cost.h"
#include "ir/machine.h"
#include "ir/stack.h"
#include "passes/pass.h"

#include <stdio.h>

enum {
    ASSUMED_BATCH = 16,         /* of a symbol that counts images, beside 1 */
    MAX_GROUP = 64,             /* images that go through a step together */
    MAX_PANEL = 64,             /* output channels at a time */
    MAX_BLOCK = 64,             /* tiles */
    WORKSPACE_BYTES = 16 << 20, /* that the scratch of a group may take */
    CACHE_SPEED = 8,            /* of the shared cache, times the memory's */
    BEYOND_SPEED = 2,           /* the same, of more than a core's share of it */
    DISTANCE = 2,               /* of cores, in that of neighbours, as a mean */
    GAIN_PERCENT = 90           /* of the direct time that Winograd's may take at most */
};

/* Vector instructions for one tile of one vector of channels: loads, arithmetic, stores. */
static const struct {
    int64_t tile;
    double input, output;
} forms[] = {{2, 64, 64}, {4, 192, 192}};
enum { FORM_COUNT = sizeof forms / sizeof *forms };

/* A convolution: extents of the result, channels, and the machine in numbers. */
typedef struct layer {
    int64_t batches[2]; /* numbers of images that it has to be good for */
    uint32_t batch_count;
    int64_t images; /* one of them */
    int64_t height, width, channels, filters;
    bool is_static; /* height and width are numbers */
    double lanes, products, memory, shared, l2, l3;
    double resident; /* bytes a cycle of weights at a run's first read: memory's or a cache's */
    double pairs;    /* 2 where the convolution itself would multiply pairs of bf16, else 1 */
} layer;

typedef struct plan {
    int64_t items[4]; /* tile edge; then the images of a group, or of a block rows and columns of
                         tiles and output channels */
    size_t count;
    double cycles; /* for an image; the sum over the numbers of images */
} plan;

static double vectors(const layer *l, int64_t channels) {
    double count = (double)channels / l->lanes;
    return (double)(int64_t)count < count ? (double)(int64_t)count + 1 : count;
}

static int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

static double direct_cycles(const layer *l, const plan *p) {
    (void)p;
    double filter = (double)(SINTER_WINOGRAD_TAPS * SINTER_WINOGRAD_TAPS * l->channels);
    double sums = (double)l->images * (double)l->height * (double)l->width * vectors(l, l->filters);
    return sums * filter / (l->products * l->pairs) +
           filter * (double)l->filters * sizeof(float) / (l->resident * l->pairs);
}

/* For an image, summed over the numbers of images. */
static double sum_cycles(layer *l, double (*cycles)(const layer *l, const plan *p), const plan *p) {
    double sum = 0;
    for (uint32_t i = 0; i < l->batch_count; i++) {
        l->images = l->batches[i];
        sum += cycles(l, p) / (double)l->images;
    }
    return sum;
}

/* ---- one way to do it ---- */

/* `tiles` of them a block. What all blocks but the first read of the weights comes from a cache. */
static double winograd_cycles(const layer *l, size_t form, double tiles, double blocks) {
    double places = (double)sinter_winograd_places(forms[form].tile);
    double in = vectors(l, l->channels), out = vectors(l, l->filters);
    double weights = places * (double)l->channels * (double)l->filters * (double)sizeof(float);
    /* A vector of weights is loaded once for all rows of a register tile. */
    double products = places * (tiles + 1) * (double)l->channels * out / l->products;
    double transforms = tiles * (in * forms[form].input + out * forms[form].output) / l->products;
    double again = weights > l->l2 ? (blocks - 1) * weights / (l->memory * CACHE_SPEED) : 0;
    return blocks * (products + transforms) + weights / l->resident + again;
}

static void keep_better(layer *l, double (*cycles)(const layer *l, const plan *p), plan *p,
                        plan *best) {
    p->cycles = sum_cycles(l, cycles, p);
    if (!best->count || p->cycles < best->cycles) *best = *p;
}

static size_t find_form(const plan *p) {
    size_t form = 0;
    while (forms[form].tile != p->items[0]) form++;
    return form;
}

static int64_t count_tiles(const layer *l, int64_t tile) {
    return ceil_div(l->height, tile) * ceil_div(l->width, tile);
}

static double group_bytes(const layer *l, int64_t tile, int64_t images) {
    int64_t tiles = images * count_tiles(l, tile);
    return sinter_winograd_bytes(tile, tiles, l->channels) +
           sinter_winograd_bytes(tile, tiles, l->filters);
}

/* What lies between the steps goes through the shared cache, where it is too much for a core's. Threads share places, but made
 * them of tiles and go on with tiles: of two, each takes a fourth of it from the other core to read, and a fourth to write. A
 * block stays with its thread. */
static double group_cycles(const layer *l, const plan *p) {
    int64_t images = p->items[1] < l->images ? p->items[1] : l->images;
    double groups = (double)ceil_div(l->images, images);
    double bytes = group_bytes(l, p->items[0], images);
    double cycles =
        winograd_cycles(l, find_form(p), (double)(images * count_tiles(l, p->items[0])), groups);
    double speed = l->memory * (bytes > l->l3 ? BEYOND_SPEED : CACHE_SPEED);
    double tiles = (double)(l->images * count_tiles(l, p->items[0]));
    double exchanged = tiles * (double)sinter_winograd_places(p->items[0]) *
                       (double)(l->channels + l->filters) * sizeof(float) / 2;
    cycles += DISTANCE * exchanged / l->shared;
    return bytes > l->l2 / 2 ? cycles + groups * 2 * bytes / speed : cycles;
}

/* All tiles of a group of images through each step: its weights are read once. Groups leave no rest of a known number. */
static void try_groups(layer *l, size_t form, plan *best) {
    int64_t most = l->batch_count == 1 ? l->batches[0] : MAX_GROUP;
    for (int64_t group = 1; l->is_static && group <= most; group++) {
        bool fits = l->batch_count == 1 ? most % group == 0 : (group & (group - 1)) == 0;
        if (group_bytes(l, forms[form].tile, group) > WORKSPACE_BYTES) break;
        if (!fits) continue;
        plan p = {.items = {forms[form].tile, group}, .count = 2};
        keep_better(l, group_cycles, &p, best);
    }
}

/* The most output channels that leave no rest, whole vectors where that is possible. */
static int64_t choose_panel(const layer *l) {
    int64_t best = 0, lanes = (int64_t)l->lanes;
    if (l->filters <= MAX_PANEL) return l->filters;
    for (int64_t panel = MAX_PANEL; panel >= lanes && !best; panel--)
        if (l->filters % panel == 0 && panel % lanes == 0) best = panel;
    for (int64_t panel = MAX_PANEL; panel >= lanes && !best; panel--)
        if (l->filters % panel == 0) best = panel;
    return best ? best : l->filters;
}

static double block_cycles(const layer *l, const plan *p) {
    int64_t tile = p->items[0], rows = p->items[1], columns = p->items[2];
    int64_t blocks = l->images * ceil_div(ceil_div(l->height, tile), rows) *
                     ceil_div(ceil_div(l->width, tile), columns);
    return winograd_cycles(l, find_form(p), (double)(rows * columns), (double)blocks);
}

static void try_block(layer *l, size_t form, int64_t rows, int64_t columns, plan *best) {
    int64_t tile = forms[form].tile, panel = choose_panel(l), tiles = rows * columns;
    double limit = l->l2 / 2 < SINTER_STACK_BYTES ? l->l2 / 2 : SINTER_STACK_BYTES;
    if (sinter_winograd_bytes(tile, tiles, l->channels) +
            sinter_winograd_bytes(tile, tiles, panel) >
        limit)
        return;
    plan p = {.items = {tile, rows, columns, panel}, .count = 4};
    keep_better(l, block_cycles, &p, best);
}

/* Parts of a row of tiles, or several whole rows where these are a part of all. */
static void try_blocks(layer *l, size_t form, plan *best) {
    int64_t down = ceil_div(l->height, forms[form].tile),
            across = ceil_div(l->width, forms[form].tile);
    for (int64_t columns = 2; !l->is_static && columns <= MAX_BLOCK; columns *= 2)
        try_block(l, form, 1, columns, best);
    for (int64_t parts = 1; l->is_static && parts <= across; parts++)
        if (ceil_div(across, parts) <= MAX_BLOCK)
            try_block(l, form, 1, ceil_div(across, parts), best);
    for (int64_t rows = 2; l->is_static && rows < down && rows * across <= MAX_BLOCK; rows++)
        if (down % rows == 0) try_block(l, form, rows, across, best);
}

/* ---- which convolutions ---- */

static bool is_candidate(const sinter_module *module, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(module, node);
    if (info->op != SINTER_OP_conv || sinter_node_find_attr(module, node, "winograd")) return false;
    const sinter_tensor *weight = sinter_value_constant(module, info->operands[1]);
    return weight && sinter_winograd_takes(module, node, weight);
}

/* resides: all weights are still in the core's cache when the next run begins. */
static layer describe(const sinter_module *module, sinter_node node, const sinter_machine *machine,
                      const int64_t *bindings, bool resides) {
    const sinter_node_info *info = sinter_node_get(module, node);
    const sinter_tensor *weight = sinter_value_constant(module, info->operands[1]);
    const sinter_type *type = sinter_value_type(module, info->results[0]);
    const sinter_dim_table *dims = sinter_module_dims(module);
    layer l = {.channels = weight->dims[1],
               .filters = weight->dims[0],
               .lanes = machine->vector_bytes / sizeof(float),
               .products = machine->products,
               .memory = machine->memory_bytes,
               .shared = machine->shared_bytes,
               .l2 = machine->l2_bytes,
               .l3 = machine->l3_bytes,
               .resident = resides ? machine->near_bytes : machine->memory_bytes,
               .pairs = 1};
    int64_t *extents[3] = {&l.images, &l.height, &l.width}, number;
    l.is_static = true;
    for (int i = 0; i < 3; i++) {
        if (!sinter_dim_evaluate(dims, type->dims[i], bindings, extents[i]) || *extents[i] < 1)
            *extents[i] = i ? SINTER_ASSUMED_DIM : 1;
        if (i) l.is_static &= sinter_dim_is_const(dims, type->dims[i], &number);
    }
    bool is_known = sinter_dim_is_const(dims, type->dims[0], &number);
    l.batches[l.batch_count++] = is_known ? l.images : 1;
    if (!is_known && l.images > 1)
        l.batches[l.batch_count++] = l.images < ASSUMED_BATCH ? l.images : ASSUMED_BATCH;
    return l;
}

/* None, and the best in groups and in blocks of each form: those that there are, the model's favourite first. */
static uint32_t list_plans(layer *l, plan *out_plans) {
    void (*const tries[])(layer *, size_t, plan *) = {try_groups, try_blocks};
    uint32_t count = 1, best = 1;
    out_plans[0] = (plan){.cycles = sum_cycles(l, direct_cycles, NULL) * GAIN_PERCENT / 100};
    for (size_t form = 0; form < FORM_COUNT; form++)
        for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
            plan found = {0};
            tries[i](l, form, &found);
            if (!found.count) continue;
            if (found.cycles < out_plans[best].cycles || count == 1) best = count;
            out_plans[count++] = found;
        }
    if (count == 1 || out_plans[best].cycles > out_plans[0].cycles) return count;
    plan direct = out_plans[0];
    out_plans[0] = out_plans[best];
    out_plans[best] = direct;
    return count;
}

/* "direct", "4 images 2", "4 tiles 1x7 x 64". */
static sinter_chooser_answer name_plan(const plan *p) {
    sinter_chooser_answer answer = {"direct"};
    long long items[4];
    for (int i = 0; i < 4; i++) items[i] = (long long)p->items[i];
    if (p->count == 2)
        snprintf(answer.text, sizeof answer.text, "%lld images %lld", items[0], items[1]);
    if (p->count == 4)
        snprintf(answer.text, sizeof answer.text, "%lld tiles %lldx%lld x %lld", items[0], items[1],
                 items[2], items[3]);
    return answer;
}

static void choose(sinter_pass_context *context, sinter_node node, layer *l) {
    plan plans[2 * FORM_COUNT + 1] = {{{0}, 0, 0}};
    sinter_chooser_answer answers[2 * FORM_COUNT + 1];
    uint32_t count = list_plans(l, plans);
    for (uint32_t i = 0; i < count; i++) answers[i] = name_plan(&plans[i]);
    const plan *chosen = &plans[sinter_chooser_ask(context->options->chooser, context->module,
                                                   &node, 1, "winograd", answers, count)];
    if (!chosen->count) return;
    sinter_attr attr = sinter_attr_ints("winograd", chosen->items, chosen->count);
    sinter_rewrite_set_attr(&context->rewrite, node, &attr);
}

typedef struct chooser {
    sinter_pass_context *context;
    const int64_t *bindings; /* of symbols */
    bool resides;            /* the model's weights, in the core's cache */
} chooser;

static void visit(void *user, sinter_node node) {
    const chooser *c = user;
    sinter_pass_context *context = c->context;
    if (!is_candidate(context->module, node)) return;
    layer l = describe(context->module, node, context->options->machine, c->bindings, c->resides);
    if (context->options->precision == SINTER_PRECISION_bf16 &&
        context->options->machine->pairs_of_bf16)
        l.pairs = 2;
    choose(context, node, &l);
}

void sinter_pass_winograd(sinter_pass_context *context) {
    if (context->options->machine->has_device)
        return; /* whose blocks stage the window as it is: transforms would be passes over memory */
    sinter_dim_table *dims = sinter_module_dims(context->module);
    chooser c = {context, sinter_dim_assume(dims, &context->scratch, SINTER_ASSUMED_DIM),
                 2 * sinter_cost_weight_bytes(context->module) <=
                     context->options->machine->l2_bytes};
    sinter_pass_visit_nodes(context->module, visit, &c);
}
