/* Descriptions of hardware: their text, and what follows from them. Test: tests/unit/hardware_test.c */
#include "ir/hardware.h"
#include "ir/base/file.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const sinter_work_names[SINTER_WORK_COUNT] = {
    "product", "window", "winograd", "depthwise", "attention", "recurrent",
    "rows",    "pool",   "sample",   "elements",  "move"};

void sinter_hardware_init(sinter_hardware *hardware) {
    *hardware = (sinter_hardware){.name = "", .target = "", .devices = 1};
    sinter_arena_init(&hardware->arena);
}

void sinter_hardware_deinit(sinter_hardware *hardware) {
    sinter_arena_deinit(&hardware->arena);
}

/* ---- quantities: "83.2 GFLOP/s", "1 MiB", "300 ns" ---- */

typedef struct prefix {
    const char *text;
    double factor;
} prefix;
static const prefix prefixes[] = {{"", 1},     {"n", 1e-9},  {"u", 1e-6},     {"m", 1e-3},
                                  {"k", 1e3},  {"M", 1e6},   {"G", 1e9},      {"T", 1e12},
                                  {"P", 1e15}, {"Ki", 1024}, {"Mi", 1048576}, {"Gi", 1073741824}};
enum {
    PREFIX_COUNT = sizeof prefixes / sizeof *prefixes,
    FIRST_SMALL = 1,
    FIRST_LARGE = 4,
    END_LARGE = 9
};
static const double smallest = 1e-15, largest = 1e24;

/* The factor of "GB" where the unit is "B"; 0 where it is something else. */
static double factor_of(sinter_string word, const char *unit) {
    size_t size = strlen(unit);
    if (word.size < size || memcmp(word.data + word.size - size, unit, size) != 0) return 0;
    for (size_t i = 0; i < PREFIX_COUNT; i++)
        if (sinter_string_is((sinter_string){word.data, word.size - size}, prefixes[i].text))
            return prefixes[i].factor;
    return 0;
}

static double six_digits(double value) {
    char digits[64];
    snprintf(digits, sizeof digits, "%.6g", value);
    return strtod(digits, NULL);
}

/* As it is printed. */
static bool take_number(sinter_lexer *lexer, const char *position, double number,
                        double *out_number) {
    *out_number = six_digits(number);
    return (*out_number >= smallest && *out_number <= largest) ||
           sinter_lexer_error_at(lexer, position, "expected a number above 0, of less than 1e24");
}

static bool read_number(sinter_lexer *lexer, double *out_number) {
    const char *position = lexer->token.position;
    double number = 0;
    return sinter_lexer_expect_number(lexer, &number) &&
           take_number(lexer, position, number, out_number);
}

/* unit: "B", "s", "FLOP"; rate: of it a second. */
static bool read_quantity(sinter_lexer *lexer, const char *unit, bool rate, double *out_value) {
    const char *position = lexer->token.position;
    sinter_string word = {0};
    if (!read_number(lexer, out_value)) return false;
    double factor =
        lexer->token.kind == SINTER_TOKEN_IDENTIFIER ? factor_of(lexer->token.text, unit) : 0;
    if (factor == 0)
        return sinter_lexer_error(lexer,
                                  "expected a unit: %s%s, with a prefix such as k, M, G, m or u",
                                  unit, rate ? "/s" : "");
    if (!sinter_lexer_expect_identifier(lexer, &word)) return false;
    if (rate && (!sinter_lexer_expect(lexer, "/") || !sinter_lexer_expect(lexer, "s")))
        return false;
    return take_number(lexer, position, *out_value * factor, out_value);
}

static void print_quantity(double value, const char *unit, sinter_text *text) {
    size_t best = 0;
    value = six_digits(value); /* so that 999.9999 M is 1 G */
    for (size_t i = FIRST_LARGE; i < END_LARGE; i++)
        if (value >= prefixes[i].factor) best = i;
    if (value < 1)
        best = value < 1e-6 ? FIRST_SMALL : value < 1e-3 ? FIRST_SMALL + 1 : FIRST_SMALL + 2;
    sinter_text_format(text, "%.6g %s%s", value / prefixes[best].factor, prefixes[best].text, unit);
}

/* ---- entries ---- */

static bool read_text(sinter_lexer *lexer, sinter_hardware *h, const char **out_text) {
    sinter_string text;
    if (!sinter_lexer_expect_string(lexer, &text)) return false;
    if (memchr(text.data, 0, text.size))
        return sinter_lexer_error(lexer, "expected a text without NUL");
    *out_text = sinter_string_copy(&h->arena, text).data;
    return true;
}

static bool read_devices(sinter_lexer *lexer, const char *what, int64_t *out_count) {
    const char *position = lexer->token.position;
    if (!sinter_lexer_expect_integer(lexer, out_count)) return false;
    return (*out_count >= 1 && *out_count <= SINTER_MESH_MAX_RANKS) ||
           sinter_lexer_error_at(lexer, position, "%s: expected a number from 1 to %d", what,
                                 SINTER_MESH_MAX_RANKS);
}

static bool read_dtype(sinter_lexer *lexer, sinter_dtype *out_dtype) {
    const char *position = lexer->token.position;
    sinter_string word = {0};
    if (!sinter_lexer_expect_identifier(lexer, &word)) return false;
    *out_dtype = sinter_dtype_find(word);
    return (sinter_dtype_is_float(*out_dtype) || sinter_dtype_is_integer(*out_dtype)) ||
           sinter_lexer_error_at(lexer, position,
                                 "expected the element type of numbers, found '%.*s'",
                                 SINTER_STRING_ARGS(word));
}

static bool read_compute(sinter_lexer *lexer, sinter_hardware *h) {
    sinter_dtype dtype;
    const char *position = lexer->token.position;
    if (!read_dtype(lexer, &dtype)) return false;
    if (h->compute[dtype] > 0)
        return sinter_lexer_error_at(lexer, position, "the rate of %s stands twice",
                                     sinter_dtype_infos[dtype].name);
    return read_quantity(lexer, "OP", true, &h->compute[dtype]);
}

static bool read_level(sinter_lexer *lexer, sinter_hardware *h) {
    sinter_hardware_level level = {0};
    const char *position = lexer->token.position;
    if (h->level_count == SINTER_HARDWARE_MAX_LEVELS)
        return sinter_lexer_error(lexer, "there are at most %d levels", SINTER_HARDWARE_MAX_LEVELS);
    if (!read_text(lexer, h, &level.name) || !read_quantity(lexer, "B", false, &level.bytes) ||
        !read_quantity(lexer, "B", true, &level.bandwidth))
        return false;
    if (h->level_count && h->levels[h->level_count - 1].bytes >= level.bytes)
        return sinter_lexer_error_at(lexer, position,
                                     "levels come in order: the one before holds as much");
    h->levels[h->level_count++] = level;
    return true;
}

static bool read_link(sinter_lexer *lexer, sinter_hardware *h) {
    sinter_hardware_link link = {0};
    const char *position = lexer->token.position;
    if (h->link_count == SINTER_HARDWARE_MAX_LINKS)
        return sinter_lexer_error(lexer, "there are at most %d kinds of links",
                                  SINTER_HARDWARE_MAX_LINKS);
    if (!read_devices(lexer, "devices of a link", &link.devices) ||
        !read_quantity(lexer, "s", false, &link.latency) ||
        !read_quantity(lexer, "B", true, &link.bandwidth))
        return false;
    int64_t inner = h->link_count ? h->links[h->link_count - 1].devices : 1;
    if (link.devices <= inner || link.devices % inner)
        return sinter_lexer_error_at(
            lexer, position,
            "links come from the innermost out: expected a multiple of %lld devices",
            (long long)inner);
    h->links[h->link_count++] = link;
    return true;
}

static bool read_work(sinter_lexer *lexer, sinter_work *out_work) {
    const char *position = lexer->token.position;
    sinter_string word = {0};
    if (!sinter_lexer_expect_identifier(lexer, &word)) return false;
    for (int i = 0; i < SINTER_WORK_COUNT; i++) {
        *out_work = (sinter_work)i;
        if (sinter_string_is(word, sinter_work_names[i])) return true;
    }
    return sinter_lexer_error_at(lexer, position,
                                 "expected a kind of work such as product, found '%.*s'",
                                 SINTER_STRING_ARGS(word));
}

/* "efficiency product f32 (128, 768, 768) 0.84"; without sizes of all. */
static bool read_point(sinter_lexer *lexer, sinter_hardware *h) {
    sinter_hardware_point point = {0};
    if (h->points.count == SINTER_HARDWARE_MAX_POINTS)
        return sinter_lexer_error(lexer, "there are at most %d efficiencies",
                                  SINTER_HARDWARE_MAX_POINTS);
    if (!read_work(lexer, &point.work) || !read_dtype(lexer, &point.dtype)) return false;
    if (sinter_lexer_accept(lexer, "(")) {
        for (int i = 0; i < SINTER_WORK_SIZES; i++)
            if ((i && !sinter_lexer_expect(lexer, ",")) || !read_number(lexer, &point.sizes[i]))
                return false;
        if (!sinter_lexer_expect(lexer, ")")) return false;
    }
    if (!read_number(lexer, &point.efficiency)) return false;
    sinter_vector_push(&h->arena, &h->points, point);
    return true;
}

enum { SEEN_TARGET = 1, SEEN_DEVICES = 2, SEEN_PRICE = 4, SEEN_MEMORY = 8, SEEN_LAUNCH = 16 };

/* What may stand once. */
static bool read_once(sinter_lexer *lexer, sinter_hardware *h, uint32_t *seen, bool *out_known) {
    static const char *const words[] = {"target", "devices", "price", "memory", "launch"};
    uint32_t which = 0;
    const char *position = lexer->token.position;
    while (which < 5 && !sinter_lexer_is(lexer, words[which])) which++;
    *out_known = which < 5;
    if (!*out_known) return true;
    if (*seen >> which & 1)
        return sinter_lexer_error_at(lexer, position, "%s stands twice", words[which]);
    *seen |= 1u << which;
    sinter_lexer_next(lexer);
    switch (1u << which) {
    case SEEN_TARGET:
        return read_text(lexer, h, &h->target);
    case SEEN_DEVICES:
        return read_devices(lexer, "devices", &h->devices);
    case SEEN_PRICE:
        return read_number(lexer, &h->price);
    case SEEN_MEMORY:
        return read_quantity(lexer, "B", false, &h->memory);
    default:
        return read_quantity(lexer, "s", false, &h->launch);
    }
}

static bool read_entry(sinter_lexer *lexer, sinter_hardware *h, uint32_t *seen) {
    bool known = false;
    if (!read_once(lexer, h, seen, &known)) return false;
    if (known) return true;
    if (sinter_lexer_accept(lexer, "compute")) return read_compute(lexer, h);
    if (sinter_lexer_accept(lexer, "level")) return read_level(lexer, h);
    if (sinter_lexer_accept(lexer, "link")) return read_link(lexer, h);
    if (sinter_lexer_accept(lexer, "efficiency")) return read_point(lexer, h);
    return sinter_lexer_error_expected(
        lexer, "target, devices, price, memory, launch, compute, level, link, "
               "efficiency or '}'");
}

static bool check(sinter_lexer *lexer, sinter_hardware *h) {
    if (!(h->compute[SINTER_DTYPE_f32] > 0))
        return sinter_lexer_error(lexer, "compute is missing: compute f32 83 GOP/s");
    if (!h->level_count)
        return sinter_lexer_error(lexer, "the memory is missing: level \"memory\" 8 GB 15 GB/s");
    sinter_hardware_level *memory = &h->levels[h->level_count - 1];
    if (h->memory > 0) memory->bytes = h->memory;
    h->memory = memory->bytes;
    if (h->level_count > 1 && memory->bytes <= h->levels[h->level_count - 2].bytes)
        return sinter_lexer_error(lexer, "the memory of a device holds no more than its level %s",
                                  h->levels[h->level_count - 2].name);
    int64_t reached = h->link_count ? h->links[h->link_count - 1].devices : 1;
    if (reached < h->devices)
        return sinter_lexer_error(lexer,
                                  "%lld devices, but links of %lld at most: link %lld 1 us 10 GB/s",
                                  (long long)h->devices, (long long)reached, (long long)h->devices);
    return true;
}

static bool read_all(sinter_lexer *lexer, sinter_hardware *h) {
    uint32_t seen = 0;
    if (!sinter_lexer_expect(lexer, "hardware") || !read_text(lexer, h, &h->name) ||
        !sinter_lexer_expect(lexer, "{"))
        return false;
    while (!sinter_lexer_is(lexer, "}"))
        if (!read_entry(lexer, h, &seen)) return false;
    if (!check(lexer, h)) return false;
    sinter_lexer_next(lexer);
    return lexer->token.kind == SINTER_TOKEN_END ||
           sinter_lexer_error_expected(lexer, "the end of the file");
}

bool sinter_hardware_parse(const char *path, const char *text, size_t size,
                           sinter_hardware *out_hardware, sinter_diag *diag) {
    sinter_lexer lexer;
    sinter_hardware_init(out_hardware);
    sinter_lexer_init(&lexer, path, text, size, &out_hardware->arena, diag);
    if (read_all(&lexer, out_hardware)) return true;
    sinter_hardware_deinit(out_hardware);
    return false;
}

bool sinter_hardware_read(const char *path, sinter_hardware *out_hardware, sinter_diag *diag) {
    sinter_text text = {0};
    bool good =
        sinter_file_read_text(path, &text, diag) &&
        sinter_hardware_parse(path, text.data ? text.data : "", text.size, out_hardware, diag);
    sinter_text_deinit(&text);
    return good;
}

static void print_point(const sinter_hardware_point *point, sinter_text *text) {
    sinter_text_format(text, "  efficiency %s %s", sinter_work_names[point->work],
                       sinter_dtype_infos[point->dtype].name);
    if (point->sizes[0] > 0)
        sinter_text_format(text, " (%.6g, %.6g, %.6g)", point->sizes[0], point->sizes[1],
                           point->sizes[2]);
    sinter_text_format(text, " %.6g\n", point->efficiency);
}

bool sinter_hardware_check_ranks(const sinter_hardware *h, const sinter_mesh *mesh, int64_t stages,
                                 sinter_diag *diag) {
    int64_t ranks = sinter_mesh_rank_count(mesh);
    if (stages > 1)
        return ranks * stages <= h->devices ||
               sinter_error(diag, h->name,
                            "%lld stages of %lld ranks each, but %lld devices to run them on: make "
                            "fewer stages or a smaller mesh, or describe as many devices",
                            (long long)stages, (long long)ranks, (long long)h->devices);
    return ranks <= h->devices ||
           sinter_error(diag, h->name,
                        "%lld ranks, but %lld devices to run them on: make the mesh smaller, or "
                        "describe as many devices",
                        (long long)ranks, (long long)h->devices);
}

void sinter_hardware_print(const sinter_hardware *h, sinter_text *text) {
    sinter_text_append_string(text, "hardware ");
    sinter_text_quote(text, sinter_string_of(h->name));
    sinter_text_append_string(text, " {\n");
    if (*h->target) {
        sinter_text_append_string(text, "  target ");
        sinter_text_quote(text, sinter_string_of(h->target));
        sinter_text_append_string(text, "\n");
    }
    sinter_text_format(text, "  devices %lld\n", (long long)h->devices);
    if (h->price > 0)
        sinter_text_format(text, "  price %.6g // dollars an hour, of all devices\n", h->price);
    sinter_text_append_string(text, "  memory ");
    print_quantity(h->memory, "B", text);
    if (h->launch > 0) {
        sinter_text_append_string(text, "\n  launch ");
        print_quantity(h->launch, "s", text);
    }
    for (int i = 0; i < SINTER_DTYPE_COUNT; i++) {
        if (h->compute[i] <= 0) continue;
        sinter_text_format(text, "\n  compute %s ", sinter_dtype_infos[i].name);
        print_quantity(h->compute[i], "OP/s", text);
    }
    for (uint32_t i = 0; i < h->level_count; i++) {
        sinter_text_append_string(text, "\n  level ");
        sinter_text_quote(text, sinter_string_of(h->levels[i].name));
        sinter_text_append_string(text, " ");
        print_quantity(h->levels[i].bytes, "B ", text);
        print_quantity(h->levels[i].bandwidth, "B/s", text);
    }
    for (uint32_t i = 0; i < h->link_count; i++) {
        sinter_text_format(text, "\n  link %lld ", (long long)h->links[i].devices);
        print_quantity(h->links[i].latency, "s ", text);
        print_quantity(h->links[i].bandwidth, "B/s", text);
    }
    sinter_text_append_string(text, "\n");
    for (size_t i = 0; i < h->points.count; i++) print_point(&h->points.items[i], text);
    sinter_text_append_string(text, "}\n");
}

/* ---- what follows ---- */

double sinter_hardware_rate(const sinter_hardware *h, sinter_dtype dtype) {
    const sinter_dtype_info *own = &sinter_dtype_infos[dtype];
    bool is_float = sinter_dtype_is_float(dtype);
    double best = 0;
    if (h->compute[dtype] > 0) return h->compute[dtype];
    for (int i = 0; i < SINTER_DTYPE_COUNT; i++) { /* u8 as i8, bf16 as f16 */
        const sinter_dtype_info *other = &sinter_dtype_infos[i];
        if (other->bits == own->bits && sinter_dtype_is_float((sinter_dtype)i) == is_float &&
            h->compute[i] > best)
            best = h->compute[i];
    }
    return best > 0 ? best : h->compute[SINTER_DTYPE_f32];
}

double sinter_hardware_bandwidth(const sinter_hardware *h, double held) {
    uint32_t level = 0;
    while (level + 1 < h->level_count && held > h->levels[level].bytes) level++;
    return h->levels[level].bandwidth;
}

static double distance(const sinter_hardware_point *point, const double *sizes) {
    double sum = 0;
    for (int i = 0; i < SINTER_WORK_SIZES; i++) {
        if (point->sizes[i] <= 0 || sizes[i] <= 0) continue;
        double apart = log2(point->sizes[i] / sizes[i]);
        sum += apart * apart;
    }
    return sum;
}

/* How alike a point's type is: as wide, of the same class, neither. */
static int likeness(sinter_dtype a, sinter_dtype b) {
    if (sinter_dtype_is_float(a) != sinter_dtype_is_float(b)) return 0;
    return sinter_dtype_infos[a].bits == sinter_dtype_infos[b].bits ? 2 : 1;
}

double sinter_hardware_efficiency(const sinter_hardware *h, sinter_work work, sinter_dtype dtype,
                                  const double sizes[SINTER_WORK_SIZES]) {
    double weights = 0, sum = 0;
    int most = 0;
    for (size_t i = 0; i < h->points.count; i++) {
        const sinter_hardware_point *point = &h->points.items[i];
        if (point->work == work && likeness(point->dtype, dtype) > most)
            most = likeness(point->dtype, dtype);
    }
    for (size_t i = 0; i < h->points.count; i++) {
        const sinter_hardware_point *point = &h->points.items[i];
        if (point->work != work || likeness(point->dtype, dtype) != most) continue;
        double apart = distance(point, sizes) + 0.01, weight = 1 / (apart * apart);
        weights += weight;
        sum += weight * log(point->efficiency);
    }
    return weights > 0 ? exp(sum / weights) : 1;
}

/* ---- collectives ---- */

typedef struct exchange {
    const sinter_hardware *hardware;
    const sinter_mesh *mesh;
    const sinter_mesh_axes *over;
    int64_t members, last; /* last: places that are left when halving ends */
    int rounds;            /* of halving */
    sinter_hardware_rounds *out;
} exchange;

static void add_round(sinter_hardware_rounds *out, double seconds, double latency) {
    out->latency[out->count] = fmin(seconds, latency);
    out->seconds[out->count++] = seconds;
}

/* The innermost link that joins two ranks. */
static const sinter_hardware_link *link_between(const sinter_hardware *h, int64_t a, int64_t b) {
    uint32_t link = 0;
    while (link + 1 < h->link_count && a / h->links[link].devices != b / h->links[link].devices)
        link++;
    return &h->links[link];
}

static double over_link(const sinter_hardware_link *link, double bytes) {
    return link->latency + bytes / link->bandwidth;
}

/* Places a and b of the group that `base` is in. */
static const sinter_hardware_link *link_of(const exchange *e, int64_t base, int64_t a, int64_t b) {
    return link_between(e->hardware, sinter_mesh_rank_at(e->mesh, e->over, base, a),
                        sinter_mesh_rank_at(e->mesh, e->over, base, b));
}

static double between(const exchange *e, int64_t base, int64_t a, int64_t b, double bytes) {
    return over_link(link_of(e, base, a, b), bytes);
}

static bool is_power_of_two(int64_t number) {
    return (number & (number - 1)) == 0;
}

/* Whether all places of all groups have links like place 0 of the first one: nothing lies across a server's end. */
static bool is_even(const exchange *e) {
    for (uint32_t i = 0; i < e->mesh->axis_count; i++)
        if (!is_power_of_two(e->mesh->axes[i].size)) return false;
    for (uint32_t i = 0; i + 1 < e->hardware->link_count; i++)
        if (!is_power_of_two(e->hardware->links[i].devices)) return false;
    return true;
}

/* ---- halves ---- */

/* What each place does next: with the partner of a round of halving, or with all that are left; so many bytes to and from each. */
typedef struct stage {
    int round; /* -1: with all that are left */
    double bytes;
} stage;

enum { MAX_STAGES = SINTER_HARDWARE_MAX_ROUNDS };
static_assert(SINTER_MESH_MAX_RANKS >> (SINTER_HARDWARE_MAX_ROUNDS / 2 - 1) == 0,
              "a round down and one back for each time that ranks are halved, and two more");

static bool can_halve(const exchange *e) {
    return e->last <= SINTER_HARDWARE_DIRECT_RANKS;
}

/* All bytes to and from a partner in each round, or half as many as in the round before. Returns their number. */
static int list_stages(const exchange *e, double bytes, bool halves, stage *out_stages) {
    for (int round = 0; round < e->rounds; round++) {
        bytes /= halves ? 2 : 1;
        out_stages[round] = (stage){round, bytes};
    }
    if (halves) bytes /= (double)e->last;
    out_stages[e->rounds] = (stage){-1, bytes};
    return e->rounds + 1;
}

/* The i-th of those that a place is left with. */
static int64_t left_place(const exchange *e, int64_t place, int64_t i) {
    return (place & (((int64_t)1 << e->rounds) - 1)) + (i << e->rounds);
}

/* Of one place; with all that are left at once. */
static double stage_seconds(const exchange *e, int64_t base, int64_t place, const stage *s) {
    double loads[SINTER_HARDWARE_MAX_LINKS] = {0}, seconds = 0;
    if (s->round >= 0) return between(e, base, place, place ^ ((int64_t)1 << s->round), s->bytes);
    for (int64_t i = 0; i < e->last; i++) {
        int64_t other = left_place(e, place, i);
        if (other != place) loads[link_of(e, base, place, other) - e->hardware->links] += s->bytes;
    }
    for (uint32_t i = 0; i < e->hardware->link_count; i++)
        if (loads[i] > 0) seconds = fmax(seconds, over_link(&e->hardware->links[i], loads[i]));
    return seconds;
}

/* What would be left of it without bytes. */
static double stage_latency(const exchange *e, int64_t base, int64_t place, const stage *s) {
    const stage empty = {s->round, s->bytes * 1e-12};
    return stage_seconds(e, base, place, &empty);
}

/* When those that a place is with in the stage are there. */
static double start_of(const exchange *e, int64_t place, const stage *s, const double *clocks) {
    double start = clocks[place];
    if (s->round >= 0) return fmax(start, clocks[place ^ ((int64_t)1 << s->round)]);
    for (int64_t i = 0; i < e->last; i++) start = fmax(start, clocks[left_place(e, place, i)]);
    return start;
}

/* Ends of stages, each with the last place of a group, where they are later than those of groups before; clocks: room for two a place. */
static void find_ends(const exchange *e, int64_t base, const stage *stages, int count,
                      double *clocks, double *ends) {
    double *now = clocks, *next = clocks + e->members;
    for (int64_t place = 0; place < e->members; place++) now[place] = 0;
    for (int i = 0; i < count; i++) {
        for (int64_t place = 0; place < e->members; place++)
            next[place] =
                start_of(e, place, &stages[i], now) + stage_seconds(e, base, place, &stages[i]);
        double *before = now;
        now = next;
        next = before;
        for (int64_t place = 0; place < e->members; place++) ends[i] = fmax(ends[i], now[place]);
    }
}

/* As long as the slowest group takes. */
static void run_stages(const exchange *e, const stage *stages, int count) {
    double ends[MAX_STAGES] = {0};
    if (is_even(e)) {
        for (int i = 0; i < count; i++)
            add_round(e->out, stage_seconds(e, 0, 0, &stages[i]),
                      stage_latency(e, 0, 0, &stages[i]));
        return;
    }
    double *clocks = sinter_heap_alloc(2 * (size_t)e->members * sizeof *clocks);
    for (int64_t base = 0; base < sinter_mesh_rank_count(e->mesh); base++)
        if (sinter_mesh_place(e->mesh, e->over, base) == 0)
            find_ends(e, base, stages, count, clocks, ends);
    sinter_heap_free(clocks);
    for (int i = 0; i < count; i++)
        add_round(e->out, ends[i] - (i ? ends[i - 1] : 0), stage_latency(e, 0, 0, &stages[i]));
}

/* Down to the shares, and back to all of it; either or both. */
static void halves(const exchange *e, double bytes, bool down, bool back) {
    stage stages[MAX_STAGES];
    int count = list_stages(e, bytes, true, stages);
    for (int i = 0; i < count; i++) stages[count + i] = stages[count - 1 - i];
    run_stages(e, down ? stages : stages + count, down && back ? 2 * count : count);
}

static void whole(const exchange *e, double bytes) {
    stage stages[MAX_STAGES];
    run_stages(e, stages, list_stages(e, bytes, false, stages));
}

/* All with all at once. */
static void all_at_once(const exchange *e, double bytes) {
    exchange direct = *e;
    const stage one = {-1, bytes};
    direct.rounds = 0;
    direct.last = e->members;
    run_stages(&direct, &one, 1);
}

/* ---- trees: of groups that can't be halved, which lie across links as they happen to ---- */

/* Until a place has the sum of places [place, place + reach): its own half and the other, then a message. */
static double climb(const exchange *e, int64_t base, int64_t place, int64_t reach, double bytes) {
    int64_t half = reach / 2, other = place + half;
    if (reach < 2) return 0;
    double own = climb(e, base, place, half, bytes);
    if (other >= e->members) return own;
    return fmax(own, climb(e, base, other, half, bytes)) + between(e, base, place, other, bytes);
}

/* Messages of so many bytes are on their way when their sender goes on; it waits for the arrival of longer ones. As SMPI has it
 * (smpi/send-is-detached-thresh), and MPI most often. */
enum { EAGER_BYTES = 65536 };

/* Until places [place, place + reach) have what this one has, all of it or each its share; who has the most to pass on is first. */
static double descend(const exchange *e, int64_t base, int64_t place, int64_t reach, double bytes,
                      bool shares) {
    double sent = 0, seconds = 0;
    for (int64_t step = reach / 2; step > 0; step /= 2) {
        int64_t other = place + step, left = e->members - other;
        if (left <= 0) continue;
        double part = (double)(left < step ? left : step) / (double)e->members;
        double size = shares ? bytes * part : bytes;
        double there = sent + between(e, base, place, other, size);
        if (size > EAGER_BYTES) sent = there;
        seconds = fmax(seconds, there + descend(e, base, other, step, bytes, shares));
    }
    return seconds;
}

/* Up, and down with all of it or shares, in the group that takes longest. */
static void tree(const exchange *e, double bytes, bool shares) {
    int64_t reach = 1, ranks = sinter_mesh_rank_count(e->mesh);
    double seconds = 0;
    int rounds = 0;
    for (; reach < e->members; reach *= 2) rounds += 2;
    for (int64_t base = 0; base < ranks; base++)
        if (sinter_mesh_place(e->mesh, e->over, base) == 0)
            seconds = fmax(seconds, climb(e, base, 0, reach, bytes) +
                                        descend(e, base, 0, reach, bytes, shares));
    for (int i = 0; i < rounds; i++)
        add_round(e->out, seconds / rounds, between(e, 0, 0, e->members - 1, 0));
}

/* Each round with twice as many parts, from as many places on; as long as the slowest of all groups takes. */
static void doubling(const exchange *e, double bytes) {
    int64_t ranks = sinter_mesh_rank_count(e->mesh);
    for (int64_t have = 1; have < e->members; have *= 2) {
        int64_t count = e->members - have < have ? e->members - have : have;
        double part = bytes * (double)count / (double)e->members, longest = 0;
        for (int64_t rank = 0; rank < ranks; rank++) {
            int64_t place = sinter_mesh_place(e->mesh, e->over, rank);
            longest = fmax(longest, between(e, rank, place, (place + have) % e->members, part));
        }
        add_round(e->out, longest, between(e, 0, 0, e->members - 1, 0));
    }
}

static void reduce(const exchange *e, double bytes) {
    if (!can_halve(e))
        tree(e, bytes, false);
    else if (bytes <= SINTER_HARDWARE_SHORT_BYTES)
        whole(e, bytes);
    else
        halves(e, bytes, true, true);
}

void sinter_hardware_exchange_rounds(const sinter_hardware *h, const sinter_mesh *mesh,
                                     const sinter_mesh_axes *over, sinter_op op, double bytes,
                                     sinter_hardware_rounds *out) {
    exchange e = {h, mesh, over, sinter_mesh_axes_product(mesh, over), 0, 0, out};
    out->count = 0;
    if (e.members <= 1 || !h->link_count) return;
    for (e.last = e.members; !can_halve(&e) && e.last % 2 == 0; e.last /= 2) e.rounds++;
    switch (op) {
    case SINTER_OP_all_reduce:
        reduce(&e, bytes);
        return;
    case SINTER_OP_reduce_scatter:
        if (can_halve(&e))
            halves(&e, bytes, true, false);
        else
            tree(&e, bytes, true);
        return;
    case SINTER_OP_all_gather:
        if (can_halve(&e))
            halves(&e, bytes, false, true);
        else
            doubling(&e, bytes);
        return;
    case SINTER_OP_all_to_all:
        all_at_once(&e, bytes / (double)e.members);
        return;
    default: /* pieces for neighbours, some of which are as far away as any */
        add_round(out, between(&e, 0, 0, e.members - 1, bytes),
                  between(&e, 0, 0, e.members - 1, 0));
    }
}

double sinter_hardware_exchange(const sinter_hardware *h, const sinter_mesh *mesh,
                                const sinter_mesh_axes *over, sinter_op op, double bytes) {
    sinter_hardware_rounds rounds;
    double seconds = 0;
    sinter_hardware_exchange_rounds(h, mesh, over, op, bytes, &rounds);
    for (uint32_t i = 0; i < rounds.count; i++) seconds += rounds.seconds[i];
    return seconds;
}

void sinter_hardware_permute_rounds(const sinter_hardware *h, const int64_t *pairs, size_t count,
                                    double bytes, sinter_hardware_rounds *out) {
    double seconds = 0, latency = 0;
    for (size_t i = 0; i + 1 < count && h->link_count; i += 2) {
        const sinter_hardware_link *link = link_between(h, pairs[i], pairs[i + 1]);
        if (pairs[i] == pairs[i + 1] || over_link(link, bytes) < seconds) continue;
        seconds = over_link(link, bytes);
        latency = link->latency;
    }
    out->count = 0;
    add_round(out, seconds, latency);
}

double sinter_hardware_permute(const sinter_hardware *h, const int64_t *pairs, size_t count,
                               double bytes) {
    sinter_hardware_rounds rounds;
    sinter_hardware_permute_rounds(h, pairs, count, bytes, &rounds);
    return rounds.seconds[0];
}
