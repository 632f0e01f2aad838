/* The format of google/iopddl, read by the lexer of our own texts. Test: tests/unit/choice_limit_test.c, tests/fuzz/choice_fuzz.c */
#include "passes/choice_file.h"
#include "ir/base/lex.h"

#include <math.h>

static const int64_t LARGEST = INT64_C(1) << 62; /* of any number, and of sums */

/* Rows of numbers, one after the other. */
typedef struct rows {
    SINTER_VECTOR(int64_t) numbers;
    SINTER_VECTOR(size_t) ends; /* by row, in numbers */
    bool seen;
} rows;

typedef struct reader {
    sinter_lexer lexer;
    rows intervals, costs, usages, edges, edge_costs;
    bool has_name, has_nodes, has_edges, has_limit;
    int64_t limit;
} reader;

/* ---- JSON ---- */

static bool read_number(reader *r, int64_t *out_number) {
    if (!sinter_lexer_expect_integer(&r->lexer, out_number)) return false;
    return (*out_number <= LARGEST && *out_number >= -LARGEST) ||
           sinter_lexer_error(&r->lexer, "the number before this is beyond 2^62");
}

static bool read_row(reader *r, rows *out) {
    if (!sinter_lexer_expect(&r->lexer, "[")) return false;
    for (bool first = true; !sinter_lexer_accept(&r->lexer, "]"); first = false) {
        int64_t number;
        if (!first && !sinter_lexer_expect(&r->lexer, ",")) return false;
        if (!read_number(r, &number)) return false;
        sinter_vector_push(r->lexer.arena, &out->numbers, number);
    }
    sinter_vector_push(r->lexer.arena, &out->ends, out->numbers.count);
    return true;
}

static bool read_rows(reader *r, rows *out) {
    if (out->seen) return sinter_lexer_error(&r->lexer, "this is there twice");
    out->seen = true;
    if (!sinter_lexer_expect(&r->lexer, "[")) return false;
    for (bool first = true; !sinter_lexer_accept(&r->lexer, "]"); first = false)
        if ((!first && !sinter_lexer_expect(&r->lexer, ",")) || !read_row(r, out)) return false;
    return true;
}

/* { "key": value, ... }: each key has a reader that says whether it knows it. */
static bool read_object(reader *r, bool (*read)(reader *, sinter_string)) {
    if (!sinter_lexer_expect(&r->lexer, "{")) return false;
    for (bool first = true; !sinter_lexer_accept(&r->lexer, "}"); first = false) {
        sinter_string key;
        if (!first && !sinter_lexer_expect(&r->lexer, ",")) return false;
        if (!sinter_lexer_expect_string(&r->lexer, &key) || !sinter_lexer_expect(&r->lexer, ":") ||
            !read(r, key))
            return false;
    }
    return true;
}

static bool unknown(reader *r, const char *expected) {
    return sinter_lexer_error(&r->lexer, "the key before this is none of %s", expected);
}

static bool first_time(reader *r, bool *seen) {
    if (*seen) return sinter_lexer_error(&r->lexer, "this is there twice");
    *seen = true;
    return true;
}

static bool read_nodes(reader *r, sinter_string key) {
    if (sinter_string_is(key, "intervals")) return read_rows(r, &r->intervals);
    if (sinter_string_is(key, "costs")) return read_rows(r, &r->costs);
    if (sinter_string_is(key, "usages")) return read_rows(r, &r->usages);
    return unknown(r, "intervals, costs, usages");
}

static bool read_edges(reader *r, sinter_string key) {
    if (sinter_string_is(key, "nodes")) return read_rows(r, &r->edges);
    if (sinter_string_is(key, "costs")) return read_rows(r, &r->edge_costs);
    return unknown(r, "nodes, costs");
}

static bool read_problem(reader *r, sinter_string key) {
    sinter_string name;
    if (sinter_string_is(key, "name"))
        return first_time(r, &r->has_name) && sinter_lexer_expect_string(&r->lexer, &name);
    if (sinter_string_is(key, "nodes"))
        return first_time(r, &r->has_nodes) && read_object(r, read_nodes);
    if (sinter_string_is(key, "edges"))
        return first_time(r, &r->has_edges) && read_object(r, read_edges);
    if (sinter_string_is(key, "usage_limit"))
        return first_time(r, &r->has_limit) && read_number(r, &r->limit);
    return unknown(r, "name, nodes, edges, usage_limit");
}

static bool read_file(reader *r, sinter_string key) {
    return sinter_string_is(key, "problem") ? read_object(r, read_problem) : unknown(r, "problem");
}

/* ---- what the rows say ---- */

static size_t row(const rows *all, size_t index, const int64_t **out_numbers) {
    size_t begin = index ? all->ends.items[index - 1] : 0;
    *out_numbers = all->numbers.items + begin;
    return all->ends.items[index] - begin;
}

static const double *numbers_of(reader *r, const int64_t *numbers, size_t count) {
    double *items = SINTER_NEW_ARRAY(r->lexer.arena, double, count);
    for (size_t i = 0; i < count; i++) items[i] = (double)numbers[i];
    return items;
}

static bool error(const reader *r, const char *what, size_t index, const char *why) {
    return sinter_error(r->lexer.diag, r->lexer.path, "%s %zu: %s", what, index, why);
}

static bool add_node(reader *r, size_t index, sinter_choice_problem *problem,
                     sinter_choice_limit *limit) {
    const int64_t *interval, *costs, *usages;
    size_t options = row(&r->costs, index, &costs);
    if (row(&r->intervals, index, &interval) != 2)
        return error(r, "node", index, "expected an interval of two numbers");
    if (interval[1] < interval[0])
        return error(r, "node", index, "its interval ends before it begins");
    if (!options || options > UINT32_MAX) return error(r, "node", index, "it has no costs");
    if (row(&r->usages, index, &usages) != options)
        return error(r, "node", index, "expected as many usages as costs");
    for (size_t i = 0; i < options; i++)
        if (usages[i] < 0) return error(r, "node", index, "a usage is below 0");
    const sinter_choice_node node = {(uint32_t)options, numbers_of(r, costs, options)};
    const sinter_choice_holding holding = {interval[0], interval[1],
                                           numbers_of(r, usages, options)};
    sinter_vector_push(r->lexer.arena, &problem->nodes, node);
    sinter_vector_push(r->lexer.arena, &limit->nodes, holding);
    return true;
}

/* Costs of one node only. False: a sum is too large. */
static bool add_to_node(reader *r, sinter_choice_node *node, const int64_t *costs) {
    double *sums = SINTER_NEW_ARRAY(r->lexer.arena, double, node->option_count);
    for (uint32_t i = 0; i < node->option_count; i++) {
        sums[i] = node->costs[i] + (double)costs[i];
        if (fabs(sums[i]) > (double)LARGEST) return false;
    }
    node->costs = sums;
    return true;
}

static bool add_edge(reader *r, size_t index, sinter_choice_problem *problem) {
    const int64_t *ends, *costs;
    size_t count = row(&r->edges, index, &ends), cost_count = row(&r->edge_costs, index, &costs);
    size_t product = 1;
    if (count < 1 || count > 2) return error(r, "edge", index, "expected one node or two");
    for (size_t i = 0; i < count; i++) {
        if (ends[i] < 0 || (uint64_t)ends[i] >= problem->nodes.count)
            return error(r, "edge", index, "there is no such node");
        if (__builtin_mul_overflow(product, problem->nodes.items[ends[i]].option_count, &product))
            return error(r, "edge", index, "too many costs");
    }
    if (product != cost_count)
        return error(r, "edge", index,
                     "expected a cost for each combination of its nodes' options");
    if (count == 1)
        return add_to_node(r, &problem->nodes.items[ends[0]], costs) ||
               error(r, "edge", index, "the costs of its node are beyond 2^62");
    if (ends[0] == ends[1]) return error(r, "edge", index, "it joins a node with itself");
    const sinter_choice_edge edge = {(uint32_t)ends[0], (uint32_t)ends[1],
                                     numbers_of(r, costs, cost_count)};
    sinter_vector_push(r->lexer.arena, &problem->edges, edge);
    return true;
}

static bool build(reader *r, sinter_choice_problem *problem, sinter_choice_limit *limit) {
    size_t nodes = r->costs.ends.count, edges = r->edges.ends.count;
    if (!r->has_nodes)
        return sinter_error(r->lexer.diag, r->lexer.path, "there are no nodes in it");
    if (r->intervals.ends.count != nodes || r->usages.ends.count != nodes)
        return sinter_error(r->lexer.diag, r->lexer.path,
                            "expected as many intervals and usages as costs of nodes, found %zu, "
                            "%zu, %zu",
                            r->intervals.ends.count, r->usages.ends.count, nodes);
    if (r->edge_costs.ends.count != edges)
        return sinter_error(r->lexer.diag, r->lexer.path,
                            "%zu edges have nodes, %zu have costs: expected as many", edges,
                            r->edge_costs.ends.count);
    if (nodes > SINTER_CHOICE_MAX_NODES || edges > UINT32_MAX / 2)
        return sinter_error(r->lexer.diag, r->lexer.path, "%zu nodes, expected %d at most", nodes,
                            SINTER_CHOICE_MAX_NODES);
    if (r->has_limit && r->limit < 0)
        return sinter_error(r->lexer.diag, r->lexer.path, "the usage_limit is below 0");
    limit->most = r->has_limit ? (double)r->limit : INFINITY;
    for (size_t i = 0; i < nodes; i++)
        if (!add_node(r, i, problem, limit)) return false;
    for (size_t i = 0; i < edges; i++)
        if (!add_edge(r, i, problem)) return false;
    return true;
}

bool sinter_choice_parse(const char *path, const char *text, size_t size, sinter_arena *arena,
                         sinter_choice_problem *out_problem, sinter_choice_limit *out_limit,
                         sinter_diag *diag) {
    reader r = {0};
    *out_problem = (sinter_choice_problem){0};
    *out_limit = (sinter_choice_limit){0};
    sinter_lexer_init(&r.lexer, path, text, size, arena, diag);
    if (!read_object(&r, read_file)) return false;
    if (r.lexer.token.kind != SINTER_TOKEN_END)
        return sinter_lexer_error_expected(&r.lexer, "the end of the file");
    return build(&r, out_problem, out_limit);
}

/* ---- printing ---- */

static void print_row(const double *numbers, size_t count, sinter_text *text) {
    sinter_text_append_string(text, "[");
    for (size_t i = 0; i < count; i++)
        sinter_text_format(text, "%s%.0f", i ? ", " : "", numbers[i]);
    sinter_text_append_string(text, "]");
}

void sinter_choice_print(const sinter_choice_problem *problem, const sinter_choice_limit *limit,
                         sinter_text *text) {
    size_t nodes = problem->nodes.count, edges = problem->edges.count;
    sinter_text_append_string(text,
                              "{\"problem\": {\"name\": \"\", \"nodes\": {\n\"intervals\": [");
    for (size_t i = 0; i < nodes; i++)
        sinter_text_format(text, "%s[%lld, %lld]", i ? ", " : "",
                           (long long)limit->nodes.items[i].begin,
                           (long long)limit->nodes.items[i].end);
    for (int part = 0; part < 2; part++) {
        sinter_text_append_string(text, part ? "],\n\"usages\": [" : "],\n\"costs\": [");
        for (size_t i = 0; i < nodes; i++) {
            const sinter_choice_node *node = &problem->nodes.items[i];
            if (i) sinter_text_append_string(text, ", ");
            print_row(part ? limit->nodes.items[i].held : node->costs, node->option_count, text);
        }
    }
    sinter_text_append_string(text, "]}, \"edges\": {\n\"nodes\": [");
    for (size_t i = 0; i < edges; i++)
        sinter_text_format(text, "%s[%u, %u]", i ? ", " : "", problem->edges.items[i].a,
                           problem->edges.items[i].b);
    sinter_text_append_string(text, "],\n\"costs\": [");
    for (size_t i = 0; i < edges; i++) {
        const sinter_choice_edge *edge = &problem->edges.items[i];
        if (i) sinter_text_append_string(text, ", ");
        print_row(edge->costs,
                  (size_t)problem->nodes.items[edge->a].option_count *
                      problem->nodes.items[edge->b].option_count,
                  text);
    }
    sinter_text_append_string(text, "]}");
    if (isfinite(limit->most)) sinter_text_format(text, ", \"usage_limit\": %.0f", limit->most);
    sinter_text_append_string(text, "}}\n");
}
