/* Exchanges between ranks go on while kernels run that need not wait for them: a collective begins where its operand is there, and ends
 * (collective_wait) where its result is first read. What else is ready goes in between, from further down in the program, until the exchange is done
 * by described hardware, or, where nothing is known of that, as long as there is anything. What is given to others is kept until the exchange
 * ends, and what is made early until somebody reads it: that may take what a device has beside its weights, or, where nothing is known of it, a quarter more than
 * is alive at the peak as it stands. The schedule is a list schedule (Graham: Bounds for certain
 * multiprocessing anomalies, 1966) with links as a second machine.
 *
 * Programs of other ranks may have other kernels in between, so exchanges begin, and end, in the order in which they stand on every rank.
 * Needs: the program of one rank, after fusion. Guarantees: the same values, each node once; without sizes that only a run tells, whose order counts.
 * Test: tests/passes/shard_overlap/, tests/suites/shard_values.py */
#include "ir/cost.h"
#include "ir/estimate.h"
#include "ir/link_clock.h"
#include "passes/pass.h"

#include <math.h>
#include <string.h>

enum {
    TYPICAL = 128, /* what a symbol is taken for when sizes are compared */
    GROWTH = 4, /* a part of the peak by which it may grow where nobody says what memory there is */
    FARTHEST = 1024 /* nodes that are looked at for work in between */
};

/* A node where it stands in the new order; ends: of an exchange that began before. */
typedef struct item {
    sinter_node node;
    bool ends;
} item;

typedef struct overlap {
    sinter_module *module;
    const sinter_hardware *hardware; /* NULL: not known */
    sinter_arena *arena;
    sinter_region region;
    const int64_t *typical;
    /* by place in the region, from 1 */
    sinter_node *nodes;
    uint32_t count;
    double *seconds; /* of a node, and what is in it */
    bool *exchanges; /* the node, or what is in it */
    /* by node */
    uint32_t *place;
    /* by value */
    sinter_value *root; /* whose memory it is in */
    double *bytes;      /* of roots */
    uint32_t *last;     /* of roots: place of the last reader */
    /* of the order that is made */
    SINTER_VECTOR(item) items;
    uint32_t *missing; /* by place: results of others that are not there */
    bool *is_listed;   /* by place */
    uint32_t *readers; /* by root: those that are to come */
    sinter_link_clock clock;
    sinter_node under_way[SINTER_EXCHANGES_UNDER_WAY]; /* the oldest first */
    uint32_t under_way_count, next_exchange;           /* place: all before it have begun */
    double live, peak, most;                           /* most: that may be alive */
    double *load; /* by place: of live there as it stands, and what was moved ahead past it */
    uint32_t at;  /* place: all before it are listed */
} overlap;

static bool is_source(const overlap *o, sinter_node node) {
    return sinter_op_get_info(sinter_node_op(o->module, node))->pattern == SINTER_PATTERN_SOURCE;
}

static bool is_end(const overlap *o, sinter_node node) {
    return sinter_op_has_trait(sinter_node_op(o->module, node), SINTER_TRAIT_TERMINATOR);
}

/* It can be under way; other nodes that exchange do so while they run. */
static bool may_begin(const overlap *o, sinter_node node) {
    return sinter_op_sends(sinter_node_op(o->module, node));
}

/* In it, or in its regions. */
static bool exchanges(const overlap *o, sinter_node node) {
    if (sinter_node_exchanges(o->module, node)) return true;
    const sinter_node_info info = *sinter_node_get(o->module, node);
    for (uint32_t i = 0; i < info.region_count; i++)
        SINTER_FOR_NODES (o->module, info.regions[i], inside)
            if (exchanges(o, inside)) return true;
    return false;
}

/* ---- what is known of the program ---- */

/* Another name for the elements of its operand, as they lie. */
static bool renames(overlap *o, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(o->module, node);
    if (info->result_count != 1 || !info->operand_count || !info->operands[0] || !info->results[0])
        return false;
    if (info->op == SINTER_OP_identity) return true;
    if (sinter_op_get_info(info->op)->pattern != SINTER_PATTERN_VIEW) return false;
    sinter_dim read = sinter_cost_node(o->module, node).read_bytes;
    return read && sinter_dim_is(sinter_module_dims(o->module), read, 0);
}

static double value_bytes(overlap *o, sinter_value value) {
    int64_t bytes = 0;
    sinter_dim dim = sinter_cost_value_bytes(o->module, value);
    return dim && sinter_dim_evaluate(sinter_module_dims(o->module), dim, o->typical, &bytes)
               ? (double)bytes
               : 0;
}

static void list_nodes(overlap *o) {
    uint32_t values = sinter_module_value_limit(o->module);
    SINTER_FOR_NODES (o->module, o->region, node) o->count++;
    o->nodes = SINTER_NEW_ARRAY(o->arena, sinter_node, o->count + 1);
    o->load = SINTER_NEW_ARRAY(o->arena, double, o->count + 1);
    o->seconds = SINTER_NEW_ARRAY(o->arena, double, o->count + 1);
    o->exchanges = SINTER_NEW_ARRAY(o->arena, bool, o->count + 1);
    o->missing = SINTER_NEW_ARRAY(o->arena, uint32_t, o->count + 1);
    o->is_listed = SINTER_NEW_ARRAY(o->arena, bool, o->count + 1);
    o->place = SINTER_NEW_ARRAY(o->arena, uint32_t, sinter_module_node_limit(o->module));
    o->root = SINTER_NEW_ARRAY(o->arena, sinter_value, values);
    o->bytes = SINTER_NEW_ARRAY(o->arena, double, values);
    o->readers = SINTER_NEW_ARRAY(o->arena, uint32_t, values);
    o->last = SINTER_NEW_ARRAY(o->arena, uint32_t, values);
    uint32_t at = 0;
    for (sinter_value value = 1; value < values; value++) o->root[value] = value;
    SINTER_FOR_NODES (o->module, o->region, node) {
        o->nodes[++at] = node;
        o->place[node] = at;
        o->exchanges[at] = exchanges(o, node);
        const sinter_node_info info = *sinter_node_get(o->module, node);
        bool is_name = renames(o, node);
        if (is_name) o->root[info.results[0]] = o->root[info.operands[0]];
        for (uint32_t i = 0; i < info.result_count && !is_name && !is_source(o, node); i++)
            if (info.results[i]) o->bytes[info.results[i]] = value_bytes(o, info.results[i]);
    }
}

static void find_seconds(overlap *o) {
    sinter_estimate estimate;
    if (!o->hardware) return;
    sinter_estimate_module(o->module, o->hardware, o->arena, &estimate);
    for (size_t i = 0; i < estimate.steps.count; i++) {
        const sinter_estimate_step *step = &estimate.steps.items[i];
        sinter_node node = sinter_node_within(o->module, step->node, o->region);
        o->seconds[o->place[node]] += step->seconds;
    }
}

/* Sizes that a node tells are read behind it, whoever needs them; exchanges that are under way already were put so. */
static bool is_fit(const overlap *o) {
    sinter_dim_table *dims = sinter_module_dims(o->module);
    bool any = false;
    for (size_t i = 0; i < sinter_dim_symbol_count(dims); i++) {
        const sinter_dim_symbol *symbol =
            sinter_dim_get_symbol(dims, sinter_dim_symbol_at(dims, i));
        if (symbol->origin != SINTER_DIM_ORIGIN_INPUT &&
            sinter_value_get(o->module, symbol->value)->definition)
            return false;
    }
    SINTER_FOR_NODES (o->module, o->region, node) {
        if (sinter_node_op(o->module, node) == SINTER_OP_collective_wait) return false;
        any |= may_begin(o, node);
    }
    return any;
}

/* ---- an order ---- */

/* The place of who reads it here, or around; 0: elsewhere. */
static uint32_t reader_at(const overlap *o, sinter_value value, size_t use) {
    sinter_node node = sinter_value_get(o->module, value)->uses.items[use].node;
    node = sinter_node_within(o->module, node, o->region);
    return node ? o->place[node] : 0;
}

static void reset(overlap *o) {
    memset(o->missing, 0, (o->count + 1) * sizeof *o->missing);
    memset(o->is_listed, 0, (o->count + 1) * sizeof *o->is_listed);
    memset(o->readers, 0, sinter_module_value_limit(o->module) * sizeof *o->readers);
    o->items.count = 0;
    o->clock = (sinter_link_clock){0};
    o->under_way_count = 0;
    o->next_exchange = 1;
    o->live = o->peak = 0;
    for (uint32_t at = 1; at <= o->count; at++) {
        const sinter_node_info info = *sinter_node_get(o->module, o->nodes[at]);
        for (uint32_t i = 0; i < info.result_count; i++) {
            sinter_value result = info.results[i];
            size_t uses = result ? sinter_value_get(o->module, result)->uses.count : 0;
            o->readers[o->root[result]] += (uint32_t)uses;
            for (size_t u = 0; u < uses && !is_source(o, o->nodes[at]); u++) {
                uint32_t reader = reader_at(o, result, u);
                o->missing[reader]++;
                if (reader > o->last[o->root[result]]) o->last[o->root[result]] = reader;
            }
        }
    }
}

static void add_live(overlap *o, double bytes) {
    o->live += bytes;
    if (o->live > o->peak) o->peak = o->live;
}

static void release_operands(overlap *o, sinter_node node) {
    const sinter_node_info info = *sinter_node_get(o->module, node);
    for (uint32_t i = 0; i < info.operand_count; i++) {
        sinter_value root = info.operands[i] ? o->root[info.operands[i]] : 0;
        if (root && o->readers[root] && !--o->readers[root]) o->live -= o->bytes[root];
    }
    for (uint32_t i = 0; i < info.region_count; i++)
        SINTER_FOR_NODES (o->module, info.regions[i], inside) release_operands(o, inside);
}

static double bytes_of_results(const overlap *o, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(o->module, node);
    double bytes = 0;
    for (uint32_t i = 0; i < info->result_count; i++)
        if (info->results[i]) bytes += o->bytes[info->results[i]];
    return bytes;
}

/* Its results are there. */
static void deliver(overlap *o, sinter_node node) {
    const sinter_node_info info = *sinter_node_get(o->module, node);
    for (uint32_t i = 0; i < info.result_count && !is_source(o, node); i++) {
        size_t uses =
            info.results[i] ? sinter_value_get(o->module, info.results[i])->uses.count : 0;
        for (size_t u = 0; u < uses; u++) o->missing[reader_at(o, info.results[i], u)]--;
    }
}

static void list(overlap *o, uint32_t at, bool ends) {
    const item one = {o->nodes[at], ends};
    sinter_vector_push(o->arena, &o->items, one);
    o->is_listed[at] = true;
}

static void end_oldest(overlap *o) {
    sinter_node node = o->under_way[0];
    o->under_way_count--;
    memmove(o->under_way, o->under_way + 1, o->under_way_count * sizeof *o->under_way);
    if (o->hardware) sinter_link_clock_wait(&o->clock, node);
    list(o, o->place[node], true);
    deliver(o, node);
    release_operands(o, node);
}

/* Whether so many bytes more may be alive at places [first, end); then they are. */
static bool take_memory(overlap *o, uint32_t first, uint32_t end, double bytes) {
    for (uint32_t at = first; at < end; at++)
        if (o->load[at] + bytes > o->most) return false;
    for (uint32_t at = first; at < end; at++) o->load[at] += bytes;
    return true;
}

/* What is given is kept until somebody reads what it becomes. */
static bool take_memory_of_source(overlap *o, uint32_t at) {
    sinter_value result = sinter_node_result(o->module, o->nodes[at], 0),
                 root = o->root[sinter_node_operand(o->module, o->nodes[at], 0)];
    uint32_t first = o->count;
    for (size_t u = 0; u < sinter_value_get(o->module, result)->uses.count; u++)
        if (reader_at(o, result, u) < first) first = reader_at(o, result, u);
    return take_memory(o, o->last[root] + 1, first + 1, o->bytes[root]);
}

static void begin(overlap *o, uint32_t at) {
    sinter_hardware_rounds rounds;
    if (o->under_way_count == SINTER_EXCHANGES_UNDER_WAY) end_oldest(o);
    list(o, at, false);
    add_live(o, bytes_of_results(o, o->nodes[at]));
    o->under_way[o->under_way_count++] = o->nodes[at];
    if (o->hardware) {
        sinter_estimate_rounds(o->module, o->nodes[at], o->hardware, o->arena, &rounds);
        sinter_link_clock_begin(&o->clock, o->nodes[at], &rounds);
    }
    if (take_memory_of_source(o, at)) return;
    while (o->under_way_count) end_oldest(o);
}

/* The next ones in their order, as far as what they give is there. */
static void begin_ready(overlap *o) {
    for (; o->next_exchange <= o->count; o->next_exchange++) {
        uint32_t at = o->next_exchange;
        if (o->is_listed[at] || !o->exchanges[at]) continue;
        if (!may_begin(o, o->nodes[at]) || o->missing[at] ||
            !take_memory(o, o->at, at, bytes_of_results(o, o->nodes[at])))
            return;
        begin(o, at);
    }
}

static void run(overlap *o, uint32_t at) {
    list(o, at, false);
    add_live(o, bytes_of_results(o, o->nodes[at]));
    deliver(o, o->nodes[at]);
    release_operands(o, o->nodes[at]);
    sinter_link_clock_work(&o->clock, o->seconds[at]);
    begin_ready(o);
}

/* Something else to do while the oldest exchange is under way; false: there is nothing. */
static bool fill(overlap *o, uint32_t from) {
    if (!o->under_way_count || (o->hardware && sinter_link_clock_is_done(&o->clock))) return false;
    for (uint32_t at = from + 1; at <= o->count && at <= from + FARTHEST; at++) {
        sinter_node node = o->nodes[at];
        const sinter_node_info *info = sinter_node_get(o->module, node);
        if (o->is_listed[at] || o->missing[at] || is_end(o, node) ||
            (info->region_count && info->op != SINTER_OP_group) || o->exchanges[at] ||
            !take_memory(o, from, at, bytes_of_results(o, node)))
            continue;
        run(o, at);
        return true;
    }
    return false;
}

static void make_order(overlap *o) {
    reset(o);
    o->at = 1;
    for (uint32_t at = 1; at <= o->count; at++)
        if (is_source(o, o->nodes[at])) run(o, at);
    for (uint32_t at = 1; at <= o->count; at++) {
        sinter_node node = o->nodes[at];
        o->at = at;
        bool alone = (o->exchanges[at] && !may_begin(o, node)) || is_end(o, node);
        while (!o->is_listed[at] && (o->missing[at] || (alone && o->under_way_count)))
            if (!o->missing[at] || !fill(o, at)) end_oldest(o);
        if (o->is_listed[at]) continue;
        if (may_begin(o, node))
            begin_ready(o);
        else
            run(o, at);
    }
}

/* As the nodes stand. */
static void weigh_program(overlap *o) {
    reset(o);
    for (uint32_t at = 1; at <= o->count; at++) {
        add_live(o, bytes_of_results(o, o->nodes[at]));
        o->load[at] = o->live;
        release_operands(o, o->nodes[at]);
    }
    o->most = o->peak + o->peak / GROWTH;
    if (o->hardware)
        o->most = fmax(o->peak, o->hardware->memory - sinter_cost_weight_bytes(o->module));
}

/* ---- the change ---- */

static bool ends_at_once(const overlap *o, size_t i) {
    return i + 1 < o->items.count && o->items.items[i + 1].ends &&
           o->items.items[i + 1].node == o->items.items[i].node;
}

/* In place of a collective one that begins, and its end, which it returns. */
static sinter_node part(overlap *o, sinter_rewrite *rewrite, sinter_node node,
                        sinter_node *out_end) {
    const sinter_node_info info = *sinter_node_get(o->module, node);
    sinter_rewrite_at(rewrite, node);
    sinter_value x = info.operands[0];
    sinter_value begun =
        sinter_build(&rewrite->build, info.op, &x, 1, info.attributes, info.attribute_count);
    sinter_value both[] = {begun, x};
    sinter_value done =
        begun ? sinter_build(&rewrite->build, SINTER_OP_collective_wait, both, 2, NULL, 0) : 0;
    if (!done) return 0;
    *out_end = sinter_value_definition(o->module, done);
    sinter_rewrite_replace_node(rewrite, node, &done);
    return sinter_value_definition(o->module, begun);
}

static void apply(overlap *o, sinter_rewrite *rewrite) {
    sinter_node last = o->nodes[o->count];
    sinter_node *ends = SINTER_NEW_ARRAY(o->arena, sinter_node, o->count + 1);
    for (size_t i = 0; i < o->items.count; i++) {
        sinter_node node = o->items.items[i].node;
        uint32_t at = o->place[node];
        bool whole = !may_begin(o, node) || ends_at_once(o, i);
        if (node == last) continue;
        if (o->items.items[i].ends) {
            if (ends[at]) sinter_rewrite_move(rewrite, ends[at], last);
            continue;
        }
        if (!whole) node = part(o, rewrite, node, &ends[at]);
        if (!node) return; /* the sink has heard of it */
        sinter_rewrite_move(rewrite, node, last);
    }
}

static bool has_any_under_way(const overlap *o) {
    for (size_t i = 0; i < o->items.count; i++)
        if (!o->items.items[i].ends && may_begin(o, o->items.items[i].node) && !ends_at_once(o, i))
            return true;
    return false;
}

void sinter_pass_shard_overlap(sinter_pass_context *context) {
    overlap o = {.module = context->module,
                 .hardware = context->options->hardware,
                 .arena = &context->scratch,
                 .region = sinter_module_main(context->module)};
    if (sinter_module_mesh(o.module)->rank < 0 || !is_fit(&o)) return;
    o.typical = sinter_dim_assume(sinter_module_dims(o.module), o.arena, TYPICAL);
    list_nodes(&o);
    find_seconds(&o);
    weigh_program(&o);
    make_order(&o);
    if (o.peak <= o.most && has_any_under_way(&o)) apply(&o, &context->rewrite);
}
