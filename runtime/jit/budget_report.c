/* The page of a search by budget. Test: tests/cli/compress_budget.test */
#include "runtime/jit/budget_report.h"

#include <math.h>

static const char head[] =
    "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<style>\n"
    ":root { color-scheme: light dark; --line: #8886; --soft: #8883; }\n"
    "body { font: 14px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 "
    "1rem; }\n"
    "h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }\n"
    "table { border-collapse: collapse; font-variant-numeric: tabular-nums; }\n"
    "th, td { text-align: right; padding: .15rem .6rem; border-bottom: 1px solid var(--line); }\n"
    "th:first-child, td:first-child, .words { text-align: left; }\n"
    "pre { background: var(--soft); padding: .7rem; overflow-x: auto; }\n"
    ".chosen { outline: 2px solid #2a7; outline-offset: -2px; font-weight: bold; }\n"
    ".wide { overflow-x: auto; } svg { max-width: 100%; height: auto; }\n"
    "svg text { font: 11px system-ui, sans-serif; fill: currentColor; }\n"
    ".grid { stroke: var(--line); } .front { fill: none; stroke: #58a; stroke-dasharray: 4 3; }\n"
    ".limit { stroke: #c50; stroke-dasharray: 6 4; }\n"
    ".fits { fill: #2a7; } .fails { fill: #c33; } .best { stroke: currentColor; stroke-width: 2; "
    "}\n"
    "</style>\n";

typedef struct page {
    const sinter_budget *budget;
    const sinter_budget_report *report;
    sinter_text *text;
} page;

static void put(const page *p, const char *string) {
    sinter_text_html(p->text, sinter_string_of(string));
}

static void put_score(const page *p, double score) {
    sinter_metric_print(&p->budget->options->judge->data.metric, score, p->text);
}

/* ---- what was asked and met ---- */

static void put_summary(const page *p) {
    const sinter_budget_report *r = p->report;
    const sinter_budget_candidate *best = sinter_budget_best(p->budget);
    sinter_text *text = p->text;
    sinter_text_append_string(text, "<title>");
    put(p, r->out_path);
    sinter_text_append_string(text, "</title>\n<h1>");
    put(p, r->path);
    sinter_text_append_string(text, " → ");
    put(p, r->out_path);
    sinter_text_format(text, "</h1>\n<p>Of %zu candidates the %s that loses at most ",
                       p->budget->candidates.count,
                       p->budget->options->by_latency ? "fastest" : "smallest");
    put(p, r->max_drop);
    sinter_text_append_string(text, " of ");
    put(p, r->metric);
    sinter_text_format(text,
                       ": it loses %.6g on %zu samples; calibrated with %zu others.%s</p>\n"
                       "<table><tr><th><th>original<th>compressed<th>\n",
                       best->lost, r->scored, r->calibrated,
                       p->budget->out_of_time ? " Time was up before all was tried." : "");
    sinter_text_format(text, "<tr><td>size<td>%.1f kB<td>%.1f kB<td>%.2f x\n",
                       r->original->bytes / 1e3, r->compressed->bytes / 1e3,
                       r->original->bytes / r->compressed->bytes);
    sinter_text_format(text, "<tr><td>latency<td>%.4f ms<td>%.4f ms<td>%.2f x\n<tr><td>",
                       1e3 * r->original->seconds, 1e3 * r->compressed->seconds,
                       r->original->seconds / r->compressed->seconds);
    put(p, r->metric);
    sinter_text_append_string(text, "<td>");
    put_score(p, r->original->score);
    sinter_text_append_string(text, "<td>");
    put_score(p, r->compressed->score);
    sinter_text_format(text, "<td>%+.6g\n</table>\n", r->compressed->score - r->original->score);
}

/* ---- plots ---- */

enum { WIDTH = 560, HEIGHT = 340, LEFT = 60, TOP = 20, RIGHT = 20, BOTTOM = 45 };

/* Loss over what is to be small; the top is somewhat beyond the budget, where what lies higher is drawn. */
typedef struct plot {
    const page *page;
    double most_x, least_y, most_y;
    bool seconds;
} plot;

static double place_x(const plot *p, double x) {
    return LEFT + x / p->most_x * (WIDTH - LEFT - RIGHT);
}

static double place_y(const plot *p, double y) {
    double inside = fmin(fmax(y, p->least_y), p->most_y);
    return TOP + (p->most_y - inside) / (p->most_y - p->least_y) * (HEIGHT - TOP - BOTTOM);
}

static double cost(const plot *p, const sinter_judged *judged) {
    return p->seconds ? 1e3 * judged->seconds : judged->bytes / 1e3;
}

/* Its time, on the machine as it was when the original was measured last. */
static double candidate_cost(const plot *p, const sinter_budget_candidate *c) {
    double ratio = p->page->report->original->seconds / c->original.seconds;
    return p->seconds ? 1e3 * c->result.seconds * ratio : c->result.bytes / 1e3;
}

static plot make_plot(const page *of, bool seconds) {
    const sinter_budget *b = of->budget;
    plot p = {.page = of, .seconds = seconds};
    p.most_x = cost(&p, of->report->original);
    for (size_t i = 0; i < b->candidates.count; i++) {
        const sinter_budget_candidate *c = &b->candidates.items[i];
        p.most_x = fmax(p.most_x, candidate_cost(&p, c));
        p.least_y = fmin(p.least_y, c->lost);
        p.most_y = fmax(p.most_y, c->lost);
    }
    double limit = b->options->allowed > 0 ? 4 * b->options->allowed : p.most_y;
    p.most_y = fmin(p.most_y, limit);
    if (!(p.most_y > p.least_y)) p.most_y = p.least_y + 1;
    p.most_x = p.most_x > 0 ? 1.05 * p.most_x : 1;
    return p;
}

static void put_axes(const plot *p) {
    sinter_text *text = p->page->text;
    enum { TICKS = 5 };
    for (int i = 0; i <= TICKS; i++) {
        double x = p->most_x * i / TICKS, y = p->least_y + (p->most_y - p->least_y) * i / TICKS;
        sinter_text_format(text,
                           "<path class=\"grid\" d=\"M%d %.1fH%d\"/>"
                           "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.3g</text>"
                           "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.3g</text>\n",
                           LEFT, place_y(p, y), WIDTH - RIGHT, LEFT - 6, place_y(p, y) + 4, y,
                           place_x(p, x), HEIGHT - BOTTOM + 16, x);
    }
    sinter_text_format(text,
                       "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n"
                       "<text x=\"14\" y=\"%d\" transform=\"rotate(-90 14 %d)\" "
                       "text-anchor=\"middle\">lost</text>\n",
                       (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8,
                       p->seconds ? "latency, ms" : "size, kB", (TOP + HEIGHT - BOTTOM) / 2,
                       (TOP + HEIGHT - BOTTOM) / 2);
}

static void put_point(const plot *p, double x, double y, const char *kind, const char *name) {
    sinter_text *text = p->page->text;
    sinter_text_format(text, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\" class=\"%s\"><title>",
                       place_x(p, x), place_y(p, y), kind);
    put(p->page, name);
    sinter_text_format(text, ": %.6g %s, %.6g lost</title></circle>\n", x, p->seconds ? "ms" : "kB",
                       y);
}

/* The candidates that no other one beats in both, from left to right. */
static void put_front(const plot *p) {
    const sinter_budget *b = p->page->budget;
    sinter_text *text = p->page->text;
    double x = -1, lost = INFINITY;
    sinter_text_append_string(text, "<path class=\"front\" d=\"");
    for (bool first = true;; first = false) {
        const sinter_budget_candidate *next = NULL;
        for (size_t i = 0; i < b->candidates.count; i++) {
            const sinter_budget_candidate *c = &b->candidates.items[i];
            double here = candidate_cost(p, c), there = next ? candidate_cost(p, next) : INFINITY;
            bool before = here < there || (here == there && c->lost < next->lost);
            if (here > x && c->lost < lost && before) next = c;
        }
        if (!next) break;
        x = candidate_cost(p, next);
        lost = next->lost;
        sinter_text_format(text, "%s%.1f %.1f", first ? "M" : "L", place_x(p, x), place_y(p, lost));
    }
    sinter_text_append_string(text, "\"/>\n");
}

static void put_plot(const page *of, bool seconds) {
    const sinter_budget *b = of->budget;
    plot p = make_plot(of, seconds);
    sinter_text_format(of->text,
                       "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
                       "viewBox=\"0 0 %d %d\" role=\"img\">\n",
                       WIDTH, HEIGHT, WIDTH, HEIGHT);
    put_axes(&p);
    sinter_text_format(of->text, "<path class=\"limit\" d=\"M%d %.1fH%d\"/>\n", LEFT,
                       place_y(&p, b->options->allowed), WIDTH - RIGHT);
    put_front(&p);
    put_point(&p, cost(&p, of->report->original), 0, "fits", "original");
    for (size_t i = 0; i < b->candidates.count; i++) {
        const sinter_budget_candidate *c = &b->candidates.items[i];
        put_point(&p, candidate_cost(&p, c), c->lost,
                  i == b->best ? "fits best"
                  : c->fits    ? "fits"
                               : "fails",
                  i == b->best ? "best" : c->from);
    }
    sinter_text_append_string(of->text, "</svg>\n");
}

/* ---- tables ---- */

static void put_sensitivity_cell(const page *p, const sinter_front_point *point, bool chosen) {
    static const double least = 1e-5; /* what is as good as nothing; at 1 the outputs say nothing */
    sinter_text *text = p->text;
    if (point->state == SINTER_FRONT_REFUSED || point->state == SINTER_FRONT_UNKNOWN) {
        sinter_text_format(text, "<td>%s", point->state == SINTER_FRONT_REFUSED ? "–" : "");
        return;
    }
    double heat = 1 - log(fmin(fmax(point->loss, least), 1)) / log(least);
    sinter_text_format(text, "<td%s style=\"background: rgb(200 60 40 / %.2f)\">%s%.2g",
                       chosen ? " class=\"chosen\"" : "", 0.7 * heat,
                       point->state == SINTER_FRONT_ESTIMATED ? "~" : "", point->loss);
}

static void put_sensitivities(const page *p) {
    const sinter_budget *b = p->budget;
    const int32_t *choices = sinter_budget_best(b)->choices;
    sinter_text *text = p->text;
    sinter_text_append_string(
        text, "<h2>Sensitivity</h2>\n<p>What becomes of the outputs where the layer alone has the "
              "setting: squared error over their variance. ~ is an estimate, – is a setting that "
              "the layer can't have, the chosen ones have a frame.</p>\n"
              "<div class=\"wide\"><table><tr><th>layer");
    for (size_t s = 0; s < b->settings.count; s++) {
        sinter_text_append_string(text, "<th>");
        put(p, b->settings.items[s].name);
    }
    for (size_t i = 0; i < b->layers.count; i++) {
        sinter_text_append_string(text, "\n<tr><td>");
        put(p, b->layers.items[i].name);
        for (size_t s = 0; s < b->settings.count; s++)
            put_sensitivity_cell(p, &b->table.points[i * b->settings.count + s],
                                 choices[i] == (int32_t)s);
    }
    sinter_text_append_string(text, "\n</table></div>\n");
}

static void put_layers(const page *p) {
    const sinter_budget *b = p->budget;
    const int32_t *choices = sinter_budget_best(b)->choices;
    sinter_text *text = p->text;
    sinter_text_append_string(text, "<h2>Layers before and after</h2>\n<table><tr><th>layer<th>"
                                    "weights<th>before<th>after<th class=\"words\">what was done");
    for (size_t i = 0; i < b->layers.count; i++) {
        const sinter_budget_layer *l = &b->layers.items[i];
        double before = (double)l->weights * (double)sizeof(float), after = before;
        if (choices[i] >= 0) after -= b->saved[i * b->settings.count + (size_t)choices[i]];
        sinter_text_append_string(text, "\n<tr><td>");
        put(p, l->name);
        sinter_text_format(text, "<td>%lld<td>%.2f kB<td>%.2f kB<td class=\"words\">",
                           (long long)l->weights, before / 1e3, after / 1e3);
        put(p, choices[i] >= 0 ? b->settings.items[choices[i]].words : "stays as it is");
    }
    sinter_text_append_string(text, "\n</table>\n");
}

static void put_candidates(const page *p) {
    const sinter_budget *b = p->budget;
    sinter_text *text = p->text;
    sinter_text_append_string(text, "<h2>Candidates</h2>\n<table><tr><th>part of the search<th>"
                                    "size<th>latency<th>original beside it<th>score<th>lost<th>");
    for (size_t i = 0; i < b->candidates.count; i++) {
        const sinter_budget_candidate *c = &b->candidates.items[i];
        sinter_text_format(text, "\n<tr><td>%s<td>%.1f kB<td>%.4f ms<td>%.4f ms<td>", c->from,
                           c->result.bytes / 1e3, 1e3 * c->result.seconds,
                           1e3 * c->original.seconds);
        put_score(p, c->result.score);
        sinter_text_format(text, "<td>%.6g<td>%s", c->lost,
                           i == b->best ? "best"
                           : c->fits    ? "fits"
                                        : "loses too much");
    }
    sinter_text_append_string(text, "\n</table>\n");
}

static void put_recipe(const page *p) {
    sinter_text recipe = {0};
    sinter_recipe_print(p->budget->recipe, &recipe);
    sinter_text_append_string(p->text, "<h2>Recipe</h2>\n<pre>");
    put(p, recipe.data);
    sinter_text_append_string(p->text, "</pre>\n");
    sinter_text_deinit(&recipe);
    if (!p->report->command) return;
    sinter_text_append_string(p->text, "<h2>Command</h2>\n<pre>");
    put(p, p->report->command);
    sinter_text_append_string(p->text, "</pre>\n");
}

void sinter_budget_print_report(const sinter_budget *budget, const sinter_budget_report *report,
                                sinter_text *text) {
    const page p = {budget, report, text};
    sinter_text_append_string(text, head);
    put_summary(&p);
    sinter_text_append_string(text,
                              "<h2>The front</h2>\n<p>Candidates by what they lose; above the "
                              "line is more than the budget, and what lies higher is drawn "
                              "at the top.</p>\n");
    put_plot(&p, false);
    put_plot(&p, true);
    put_sensitivities(&p);
    put_layers(&p);
    put_candidates(&p);
    put_recipe(&p);
    sinter_text_append_string(text, "</html>\n");
}
