/* Schedules (see schedule.h): finding loops, splitting, marks. Nests are in nest.c, memory in memory.c.
 * Needs: a function that the verifier accepts. Guarantees: so is the result, with the same values.
 * Test: tests/codegen/schedule/, tests/unit/loop_property_test.c */
#include "codegen/loops/independent.h"
#include "codegen/loops/ldmatrix.h"
#include "codegen/loops/mma.h"
#include "codegen/loops/wgmma.h"
#include "codegen/schedule/internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_UNROLL = 256 };

void sinter_schedule_init(sinter_schedule *schedule, sinter_loop_program *program,
                          sinter_loop_function *function) {
    *schedule = (sinter_schedule){.program = program, .function = function};
}

void sinter_schedule_deinit(sinter_schedule *schedule) {
    sinter_text_deinit(&schedule->reason);
}

bool sinter_schedule_refuse(sinter_schedule *schedule, const char *format, ...) {
    sinter_text message = {0};
    va_list list;
    va_start(list, format);
    sinter_text_format_list(&message, format, list);
    va_end(list);
    sinter_text_deinit(&schedule->reason);
    schedule->reason = message;
    return false;
}

/* ---- finding ---- */

typedef struct name_search {
    const sinter_loop_function *function;
    sinter_loop_stmt_kind kind;
    char name[128];
    long left; /* of that name, to be passed over */
    sinter_loop_var found;
} name_search;

static bool visit_named(void *user, sinter_loop_stmt *stmt) {
    name_search *search = user;
    if (!search->found && stmt->kind == search->kind &&
        !strcmp(search->function->vars.items[stmt->var].name, search->name) && --search->left == 0)
        search->found = stmt->var;
    return !search->found;
}

static sinter_loop_var find_named(const sinter_loop_function *function, const char *name,
                                  sinter_loop_stmt_kind kind) {
    name_search search = {.function = function, .kind = kind, .left = 1};
    const char *mark = strchr(name, '#');
    size_t size = mark ? (size_t)(mark - name) : strlen(name);
    if (size >= sizeof search.name) return 0;
    memcpy(search.name, name, size);
    if (mark) search.left = strtol(mark + 1, NULL, 10);
    sinter_loop_walk(function->body, visit_named, &search);
    return search.found;
}

sinter_loop_var sinter_schedule_find_loop(const sinter_loop_function *function, const char *name) {
    return find_named(function, name, SINTER_LOOP_FOR);
}

sinter_loop_var sinter_schedule_find_var(const sinter_loop_function *function, const char *name) {
    return find_named(function, name, SINTER_LOOP_DECLARE);
}

sinter_loop_buffer sinter_schedule_find_buffer(const sinter_loop_function *function,
                                               const char *name) {
    for (sinter_loop_buffer i = 1; i < function->buffers.count; i++)
        if (!strcmp(function->buffers.items[i].name, name)) return i;
    return 0;
}

static sinter_loop_stmt **find_link(sinter_loop_stmt **link, sinter_loop_stmt_kind kind,
                                    sinter_loop_var var) {
    sinter_loop_stmt **found = NULL;
    for (; *link && !found; link = &(*link)->next) {
        if ((*link)->kind == kind && (*link)->var == var) return link;
        found = find_link(&(*link)->body, kind, var);
        if (!found) found = find_link(&(*link)->else_body, kind, var);
    }
    return found;
}

sinter_loop_stmt **sinter_schedule_find_link(sinter_schedule *schedule, sinter_loop_stmt_kind kind,
                                             sinter_loop_var var) {
    sinter_loop_stmt **link = var ? find_link(&schedule->function->body, kind, var) : NULL;
    if (!link)
        sinter_schedule_refuse(schedule, kind == SINTER_LOOP_FOR ? "there is no such loop"
                                                                 : "there is no such variable");
    return link;
}

sinter_loop_stmt *sinter_schedule_find_behind(sinter_schedule *schedule,
                                              const sinter_loop_stmt *stmt, sinter_loop_var var) {
    sinter_loop_stmt *other = stmt->next;
    while (other && !(other->kind == SINTER_LOOP_FOR && other->var == var)) other = other->next;
    if (!other) sinter_schedule_refuse(schedule, "the second loop is not behind the first one");
    return other;
}

static bool find_path(sinter_loop_stmt **at, sinter_loop_stmt **link, sinter_arena *arena,
                      sinter_schedule_path *path) {
    for (; at != link && *at; at = &(*at)->next) {
        sinter_vector_push(arena, path, *at);
        if (find_path(&(*at)->body, link, arena, path) ||
            find_path(&(*at)->else_body, link, arena, path))
            return true;
        path->count--;
    }
    return at == link;
}

sinter_schedule_path sinter_schedule_path_to(const sinter_schedule *schedule,
                                             sinter_loop_stmt **link, sinter_arena *arena) {
    sinter_schedule_path path = {0};
    find_path(&schedule->function->body, link, arena, &path);
    return path;
}

bool sinter_schedule_in_axis(const sinter_schedule *schedule, sinter_loop_stmt **link,
                             sinter_loop_axis axis) {
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_schedule_path path = sinter_schedule_path_to(schedule, link, &scratch);
    bool inside = false;
    for (size_t i = 0; i < path.count; i++)
        inside |= path.items[i]->kind == SINTER_LOOP_FOR && path.items[i]->axis == axis;
    sinter_arena_deinit(&scratch);
    return inside;
}

typedef struct loop_search {
    sinter_loop_var var;
    sinter_loop_stmt *found;
} loop_search;

static bool visit_loop(void *user, sinter_loop_stmt *stmt) {
    loop_search *search = user;
    if (stmt->kind == SINTER_LOOP_FOR && stmt->var == search->var) search->found = stmt;
    return !search->found;
}

sinter_loop_stmt *sinter_schedule_get_loop(const sinter_loop_function *function,
                                           sinter_loop_var var) {
    loop_search search = {.var = var};
    sinter_loop_walk(function->body, visit_loop, &search);
    return search.found;
}

const char *sinter_schedule_var_name(const sinter_schedule *schedule, sinter_loop_var var) {
    return schedule->function->vars.items[var].name;
}

sinter_expr sinter_schedule_count(sinter_loop_builder *builder, const sinter_loop_stmt *loop) {
    sinter_expr length = sinter_loop_sub(builder, loop->upper, loop->lower);
    if (loop->step == 1) return length;
    length = sinter_loop_add(builder, length, sinter_loop_int(builder, loop->step - 1));
    return sinter_loop_div(builder, length, sinter_loop_int(builder, loop->step));
}

bool sinter_schedule_bounds_fixed(const sinter_loop_stmt *loop, const sinter_loop_stmt *first) {
    return sinter_loop_is_invariant(loop->lower, first) &&
           sinter_loop_is_invariant(loop->upper, first);
}

typedef struct mark_check {
    sinter_loop_scopes scopes;
    sinter_text reason;
    bool good;
} mark_check;

static bool is_concurrent(const sinter_loop_stmt *stmt) {
    return stmt->kind == SINTER_LOOP_FOR &&
           (stmt->axis == SINTER_AXIS_VECTOR || stmt->axis == SINTER_AXIS_PARALLEL ||
            stmt->axis == SINTER_AXIS_BLOCK || stmt->axis == SINTER_AXIS_THREAD);
}

static bool is_ldmatrix(const sinter_loop_stmt *stmt) {
    return stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_LDMATRIX;
}

static bool is_mma(const sinter_loop_stmt *stmt) {
    return stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_MMA;
}

static bool is_wgmma(const sinter_loop_stmt *stmt) {
    return stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_WGMMA;
}

static bool check_mark(void *user, sinter_loop_stmt *stmt) {
    mark_check *check = user;
    sinter_loop_var group, member;
    if (check->good && is_concurrent(stmt))
        check->good = sinter_loop_independent(&check->scopes, stmt, NULL, 0, &check->reason);
    if (check->good && is_mma(stmt)) {
        const char *wrong = sinter_loop_check_mma(check->scopes.program, check->scopes.function,
                                                  stmt, &group, &member);
        check->good = !wrong;
        if (wrong) sinter_text_append_string(&check->reason, wrong);
    }
    if (check->good && is_ldmatrix(stmt)) {
        sinter_loop_ldmatrix found;
        const char *wrong = sinter_loop_check_ldmatrix(&check->scopes, stmt, &found);
        check->good = !wrong;
        if (wrong) sinter_text_append_string(&check->reason, wrong);
    }
    if (check->good && is_wgmma(stmt)) {
        sinter_loop_wgmma found;
        const char *wrong = sinter_loop_check_wgmma(&check->scopes, stmt, false, &found);
        check->good = !wrong;
        if (wrong) sinter_text_append_string(&check->reason, wrong);
    }
    return check->good;
}

static bool has_no_mark(void *user, sinter_loop_stmt *stmt) {
    bool *found = user;
    *found |= is_concurrent(stmt) || is_ldmatrix(stmt) || is_mma(stmt) || is_wgmma(stmt);
    return !*found;
}

sinter_loop_function *sinter_schedule_save(sinter_schedule *schedule) {
    bool marked = false;
    sinter_loop_walk(schedule->function->body, has_no_mark, &marked);
    return marked ? sinter_loop_clone_function(schedule->program, schedule->function) : NULL;
}

bool sinter_schedule_keeps_marks(sinter_schedule *schedule, const sinter_loop_function *saved) {
    if (!saved) return true;
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    mark_check check = {.good = true};
    sinter_loop_scopes_init(&check.scopes, schedule->program, schedule->function, &scratch);
    sinter_loop_walk(schedule->function->body, check_mark, &check);
    check.good = check.good &&
                 sinter_loop_groups_apart(&check.scopes, schedule->function->body, &check.reason);
    if (!check.good) {
        sinter_schedule_refuse(schedule, "%s", check.reason.data);
        *schedule->function = *saved;
    }
    sinter_text_deinit(&check.reason);
    sinter_arena_deinit(&scratch);
    return check.good;
}

/* ---- split ---- */

typedef struct split {
    sinter_schedule *schedule;
    sinter_loop_builder builder;
    sinter_loop_stmt **link, *loop;
    sinter_expr count, factor;
    sinter_loop_var outer, inner, tail;
} split;

static const char *suffixed(split *s, const char *suffix) {
    return sinter_arena_format(s->builder.arena, "%s%s",
                               sinter_schedule_var_name(s->schedule, s->loop->var), suffix);
}

/* lower + position * step */
static sinter_expr value_at(split *s, sinter_expr position) {
    sinter_expr distance =
        sinter_loop_mul(&s->builder, position, sinter_loop_int(&s->builder, s->loop->step));
    return sinter_loop_add(&s->builder, s->loop->lower, distance);
}

/* The loops in front of the builder's place, the body of the split one inside. */
static void build_split(split *s, sinter_expr blocks, bool guard) {
    sinter_loop_builder *b = &s->builder;
    sinter_expr zero = sinter_loop_int(b, 0);
    s->outer = sinter_loop_begin_for(b, suffixed(s, "o"), zero, blocks, 1, s->loop->axis);
    b->open->stmt->joined = s->loop->joined;
    s->inner = sinter_loop_begin_for(b, suffixed(s, "i"), zero, s->factor, 1, SINTER_AXIS_SERIAL);
    sinter_expr position =
        sinter_loop_add(b, sinter_loop_mul(b, sinter_loop_var_read(b, s->outer), s->factor),
                        sinter_loop_var_read(b, s->inner));
    if (guard)
        sinter_loop_begin_if(b, sinter_loop_compare(b, SINTER_SCALAR_lt, position, s->count));
    sinter_loop_map map;
    sinter_loop_map_init(&map, s->schedule->program, s->schedule->function);
    sinter_loop_map_var(&map, s->loop->var, value_at(s, position));
    sinter_loop_map_list(&map, s->loop->body);
    *b->tail = s->loop->body;
    if (guard) sinter_loop_end(b);
    sinter_loop_end(b);
    sinter_loop_end(b);
}

/* A loop over a copy of the body for what the blocks leave over. */
static void build_tail(split *s, sinter_expr blocks) {
    sinter_loop_builder *b = &s->builder;
    sinter_expr first = value_at(s, sinter_loop_mul(b, blocks, s->factor));
    s->tail = sinter_loop_begin_for(b, suffixed(s, "t"), first, s->loop->upper, s->loop->step,
                                    s->loop->axis);
    sinter_loop_map map;
    sinter_loop_map_init(&map, s->schedule->program, s->schedule->function);
    sinter_loop_map_var(&map, s->loop->var, sinter_loop_var_read(b, s->tail));
    *b->tail = sinter_loop_clone_list(&map, s->loop->body);
    sinter_loop_end(b);
}

static bool is_zero(sinter_expr expr) {
    int64_t value;
    return sinter_loop_is_const_int(expr, &value) && value == 0;
}

/* Finds the loop and counts its iterations. */
static bool begin_split(split *s, sinter_schedule *schedule, sinter_loop_var var) {
    sinter_loop_stmt **link = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, var);
    if (!link) return false;
    *s = (split){.schedule = schedule, .link = link, .loop = *link};
    if (s->loop->axis == SINTER_AXIS_UNROLL || s->loop->axis == SINTER_AXIS_VECTOR)
        return sinter_schedule_refuse(schedule, "the loop is marked already");
    /* The bounds move inside, where they are evaluated again. */
    if (!sinter_schedule_bounds_fixed(s->loop, s->loop->body))
        return sinter_schedule_refuse(schedule, "the body changes the bounds");
    sinter_loop_builder_init(&s->builder, schedule->program, schedule->function);
    s->count = sinter_schedule_count(&s->builder, s->loop);
    return true;
}

static bool is_exact(split *s) {
    return is_zero(sinter_loop_rem(&s->builder, s->count, s->factor));
}

/* Whole blocks, or with `guard` all that have an iteration. */
static sinter_expr count_blocks(split *s, bool guard) {
    sinter_loop_builder *b = &s->builder;
    sinter_expr last = sinter_loop_sub(b, s->factor, sinter_loop_int(b, 1));
    return sinter_loop_div(b, guard ? sinter_loop_add(b, s->count, last) : s->count, s->factor);
}

static bool finish_split(split *s, sinter_expr blocks, bool guard, bool peel) {
    sinter_loop_builder *b = &s->builder;
    sinter_loop_function *saved = sinter_schedule_save(s->schedule);
    *s->link = s->loop->next;
    b->tail = s->link;
    if (peel) build_tail(s, blocks); /* before the body changes; the split goes in front */
    b->tail = s->link;
    build_split(s, blocks, guard);
    return sinter_schedule_keeps_marks(s->schedule, saved);
}

bool sinter_schedule_split(sinter_schedule *schedule, sinter_loop_var var, int64_t factor,
                           sinter_schedule_tail tail, sinter_loop_var *out_outer,
                           sinter_loop_var *out_inner, sinter_loop_var *out_tail) {
    split s;
    if (!begin_split(&s, schedule, var)) return false;
    if (factor < 1) return sinter_schedule_refuse(schedule, "the factor must be positive");
    s.factor = sinter_loop_int(&s.builder, factor);
    bool exact = is_exact(&s);
    if (!exact && tail == SINTER_TAIL_EXACT)
        return sinter_schedule_refuse(
            schedule, "the factor %" PRId64 " does not provably divide the count", factor);
    bool guard = !exact && tail == SINTER_TAIL_GUARD, peel = !exact && tail == SINTER_TAIL_PEEL;
    if (!finish_split(&s, count_blocks(&s, guard), guard, peel)) return false;
    if (out_outer) *out_outer = s.outer;
    if (out_inner) *out_inner = s.inner;
    if (out_tail) *out_tail = s.tail;
    return true;
}

bool sinter_schedule_split_parts(sinter_schedule *schedule, sinter_loop_var var, int64_t most,
                                 int64_t least, sinter_loop_var *out_outer,
                                 sinter_loop_var *out_inner) {
    split s;
    if (!begin_split(&s, schedule, var)) return false;
    if (most < 1 || least < 1)
        return sinter_schedule_refuse(schedule, "there must be parts, and iterations in them");
    sinter_loop_builder *b = &s.builder;
    sinter_expr parts = sinter_loop_int(b, most);
    sinter_expr length = sinter_loop_add(b, s.count, sinter_loop_int(b, most - 1));
    s.factor = sinter_loop_max(b, sinter_loop_div(b, length, parts), sinter_loop_int(b, least));
    bool guard = !is_exact(&s);
    /* The minimum changes nothing: it shows how many there are at most. */
    if (!finish_split(&s, sinter_loop_min(b, count_blocks(&s, guard), parts), guard, false))
        return false;
    if (out_outer) *out_outer = s.outer;
    if (out_inner) *out_inner = s.inner;
    return true;
}

/* ---- cut ---- */

/* The loop from `lower` to `upper` around a body that is its own already, in front of the builder's place. */
static sinter_loop_var build_part(sinter_loop_map *map, const sinter_loop_stmt *loop,
                                  const char *name, sinter_expr lower, sinter_expr upper,
                                  sinter_loop_stmt *body) {
    sinter_loop_builder *b = &map->builder;
    sinter_loop_var var = sinter_loop_begin_for(b, name, lower, upper, 1, loop->axis);
    sinter_loop_map_var(map, loop->var, sinter_loop_var_read(b, var));
    sinter_loop_map_list(map, body);
    *b->tail = body;
    sinter_loop_end(b);
    return var;
}

/* The loop in two, of which the second begins at `middle`. */
static bool cut(sinter_schedule *schedule, sinter_loop_stmt **link, sinter_expr upper_of_first,
                sinter_expr middle, sinter_loop_var *out_first, sinter_loop_var *out_second) {
    sinter_loop_stmt *loop = *link;
    sinter_loop_function *saved = sinter_schedule_save(schedule);
    sinter_loop_map map, other;
    sinter_loop_map_init(&map, schedule->program, schedule->function);
    sinter_loop_stmt *copy = sinter_loop_clone_list(&map, loop->body);
    const char *name = sinter_schedule_var_name(schedule, loop->var);
    *link = loop->next;
    map.builder.tail = link;
    sinter_loop_var first = build_part(&map, loop, name, loop->lower, upper_of_first, copy);
    sinter_loop_map_init(&other, schedule->program, schedule->function);
    other.builder.tail = map.builder.tail;
    sinter_loop_var second =
        build_part(&other, loop, name, sinter_loop_max(&other.builder, loop->lower, middle),
                   loop->upper, loop->body);
    if (!sinter_schedule_keeps_marks(schedule, saved)) return false;
    if (out_first) *out_first = first;
    if (out_second) *out_second = second;
    return true;
}

/* Where the loop hangs, if it may be cut; NULL with a reason. */
static sinter_loop_stmt **find_uncut(sinter_schedule *schedule, sinter_loop_var var) {
    sinter_loop_stmt **link = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, var);
    if (!link) return NULL;
    const sinter_loop_stmt *loop = *link;
    bool marked = loop->axis != SINTER_AXIS_SERIAL && loop->axis != SINTER_AXIS_PARALLEL;
    if (loop->step != 1 || marked)
        sinter_schedule_refuse(schedule, "the loop is marked already or has a step");
    else if (!sinter_schedule_bounds_fixed(loop, loop->body))
        sinter_schedule_refuse(schedule, "the body changes the bounds");
    else
        return link;
    return NULL;
}

bool sinter_schedule_cut(sinter_schedule *schedule, sinter_loop_var var, int64_t at,
                         sinter_loop_var *out_first, sinter_loop_var *out_second) {
    sinter_loop_stmt **link = find_uncut(schedule, var);
    int64_t lower, upper;
    if (!link) return false;
    if ((sinter_loop_is_const_int((*link)->lower, &lower) && at <= lower) ||
        (sinter_loop_is_const_int((*link)->upper, &upper) && at >= upper))
        return sinter_schedule_refuse(schedule, "all iterations are on one side");
    sinter_loop_builder b;
    sinter_loop_builder_init(&b, schedule->program, schedule->function);
    sinter_expr middle = sinter_loop_int(&b, at);
    return cut(schedule, link, sinter_loop_min(&b, (*link)->upper, middle), middle, out_first,
               out_second);
}

bool sinter_schedule_cut_end(sinter_schedule *schedule, sinter_loop_var var, int64_t count,
                             sinter_loop_var *out_first, sinter_loop_var *out_second) {
    sinter_loop_stmt **link = find_uncut(schedule, var);
    int64_t trips;
    if (!link) return false;
    if (count < 1 || (sinter_loop_trip_count(*link, &trips) && trips <= count))
        return sinter_schedule_refuse(schedule, "all iterations are on one side");
    sinter_loop_builder b;
    sinter_loop_builder_init(&b, schedule->program, schedule->function);
    sinter_expr middle = sinter_loop_sub(&b, (*link)->upper, sinter_loop_int(&b, count));
    return cut(schedule, link, middle, middle, out_first, out_second);
}

/* ---- marks ---- */

static bool check_serial(sinter_schedule *schedule, const sinter_loop_stmt *loop) {
    return loop->axis == SINTER_AXIS_SERIAL ||
           sinter_schedule_refuse(schedule, "the loop is marked already");
}

bool sinter_schedule_unroll(sinter_schedule *schedule, sinter_loop_var var) {
    sinter_loop_stmt *loop = sinter_schedule_get_loop(schedule->function, var);
    int64_t count;
    if (!loop) return sinter_schedule_refuse(schedule, "there is no such loop");
    if (!check_serial(schedule, loop)) return false;
    if (!sinter_loop_trip_count(loop, &count) || count > MAX_UNROLL)
        return sinter_schedule_refuse(
            schedule, "the loop does not have a constant count of at most %d", MAX_UNROLL);
    loop->axis = SINTER_AXIS_UNROLL;
    return true;
}

/* What the body of a vector loop can't be made of; NULL: nothing. */
static const char *find_unfit(const sinter_loop_function *function, const sinter_loop_stmt *first,
                              sinter_loop_var lane) {
    const char *found = NULL;
    for (const sinter_loop_stmt *stmt = first; stmt && !found; stmt = stmt->next) {
        switch (stmt->kind) {
        case SINTER_LOOP_FOR:
            if (stmt->axis == SINTER_AXIS_VECTOR) found = "there is a vector axis inside";
            if (sinter_loop_expr_uses(stmt->lower, lane) ||
                sinter_loop_expr_uses(stmt->upper, lane))
                found = "the bounds of a loop inside differ between lanes";
            break;
        case SINTER_LOOP_STORE:
            if (sinter_dtype_infos[function->buffers.items[stmt->buffer].dtype].bits < 8)
                found = "elements share bytes";
            break;
        case SINTER_LOOP_IF:
        case SINTER_LOOP_DECLARE:
        case SINTER_LOOP_ASSIGN:
        case SINTER_LOOP_COMMENT:
            break;
        default:
            found = "the body has a statement that lanes can't run together";
        }
        if (!found) found = find_unfit(function, stmt->body, lane);
        if (!found) found = find_unfit(function, stmt->else_body, lane);
    }
    return found;
}

/* The loop's iterations, or the loops of all groups from here on, may run at the same time. */
static bool may_run_at_once(sinter_schedule *schedule, const sinter_loop_stmt *loop, bool groups) {
    sinter_arena scratch;
    sinter_loop_scopes scopes;
    sinter_text reason = {0};
    sinter_arena_init(&scratch);
    sinter_loop_scopes_init(&scopes, schedule->program, schedule->function, &scratch);
    bool ok = groups ? sinter_loop_groups_apart(&scopes, loop, &reason)
                     : sinter_loop_independent(&scopes, loop, NULL, 0, &reason);
    if (!ok) sinter_schedule_refuse(schedule, "%s", reason.data);
    sinter_text_deinit(&reason);
    sinter_arena_deinit(&scratch);
    return ok;
}

bool sinter_schedule_is_independent(sinter_schedule *schedule, const sinter_loop_stmt *loop) {
    return may_run_at_once(schedule, loop, false);
}

int64_t sinter_schedule_trips(const sinter_schedule *schedule, sinter_loop_var loop) {
    const sinter_loop_stmt *stmt = loop ? sinter_schedule_get_loop(schedule->function, loop) : NULL;
    int64_t count;
    return stmt && sinter_loop_trip_count(stmt, &count) ? count : -1;
}

void sinter_schedule_start_at_zero(sinter_schedule *schedule, sinter_loop_var var) {
    sinter_loop_stmt *loop = sinter_schedule_get_loop(schedule->function, var);
    int64_t lower, count;
    if (!sinter_loop_is_const_int(loop->lower, &lower) || !sinter_loop_trip_count(loop, &count) ||
        (!lower && loop->step == 1))
        return;
    sinter_loop_map map;
    sinter_loop_map_init(&map, schedule->program, schedule->function);
    sinter_loop_builder *b = &map.builder;
    sinter_expr step = sinter_loop_int(b, loop->step);
    loop->lower = sinter_loop_int(b, 0);
    loop->upper = sinter_loop_int(b, count);
    loop->step = 1;
    sinter_loop_take_range(b, loop);
    sinter_expr value = sinter_loop_mul(b, sinter_loop_var_read(b, var), step);
    sinter_loop_map_var(&map, var, sinter_loop_add(b, value, sinter_loop_int(b, lower)));
    sinter_loop_map_list(&map, loop->body);
}

bool sinter_schedule_vectorize(sinter_schedule *schedule, sinter_loop_var var) {
    sinter_loop_stmt **link = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, var);
    if (!link) return false;
    sinter_loop_stmt *loop = *link;
    int64_t lower, count;
    if (!check_serial(schedule, loop)) return false;
    if (sinter_schedule_in_axis(schedule, link, SINTER_AXIS_VECTOR))
        return sinter_schedule_refuse(schedule, "the loop is inside of a vector axis");
    if (!sinter_loop_trip_count(loop, &count) || count < 1 || (count & (count - 1)) ||
        count > MAX_UNROLL)
        return sinter_schedule_refuse(
            schedule, "the count is no constant power of two of at most %d", MAX_UNROLL);
    const char *unfit = find_unfit(schedule->function, loop->body, var);
    if (unfit) return sinter_schedule_refuse(schedule, "%s", unfit);
    if (!may_run_at_once(schedule, loop, false)) return false;
    sinter_loop_is_const_int(loop->lower, &lower);
    bool moves = lower != 0 || loop->step != 1;
    sinter_loop_function *saved =
        moves ? sinter_loop_clone_function(schedule->program, schedule->function) : NULL;
    if (moves) sinter_schedule_start_at_zero(schedule, var);
    loop->axis = SINTER_AXIS_VECTOR;
    return sinter_schedule_keeps_marks(schedule, saved);
}

static bool stores_below_bytes(const sinter_loop_function *function,
                               const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next)
        if ((stmt->kind == SINTER_LOOP_STORE &&
             sinter_dtype_infos[function->buffers.items[stmt->buffer].dtype].bits < 8) ||
            stores_below_bytes(function, stmt->body) ||
            stores_below_bytes(function, stmt->else_body))
            return true;
    return false;
}

bool sinter_schedule_reduces(const sinter_loop_stmt *first, sinter_loop_var var) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next)
        if ((stmt->kind == SINTER_LOOP_REDUCE && (!var || stmt->var == var)) ||
            sinter_schedule_reduces(stmt->body, var) ||
            sinter_schedule_reduces(stmt->else_body, var))
            return true;
    return false;
}

bool sinter_schedule_parallelize(sinter_schedule *schedule, sinter_loop_var var) {
    sinter_loop_function *function = schedule->function;
    sinter_loop_stmt *loop = function->body;
    while (loop && !(loop->kind == SINTER_LOOP_FOR && loop->var == var)) loop = loop->next;
    if (!loop || function == schedule->program->host)
        return sinter_schedule_refuse(schedule,
                                      "there is no such loop at the top level of the kernel");
    if (!check_serial(schedule, loop)) return false;
    if (stores_below_bytes(function, loop->body))
        return sinter_schedule_refuse(schedule, "elements share bytes");
    if (sinter_schedule_reduces(loop->body, 0))
        return sinter_schedule_refuse(schedule, "threads of a pool do not meet in a reduction");
    if (sinter_loop_exchanges(loop->body))
        return sinter_schedule_refuse(schedule, "ranks exchange in the loop");
    if (!may_run_at_once(schedule, loop, false)) return false;
    loop->axis = SINTER_AXIS_PARALLEL;
    return true;
}

bool sinter_schedule_bind(sinter_schedule *schedule, sinter_loop_var var, sinter_loop_axis axis) {
    sinter_loop_stmt **link = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, var);
    if (!link) return false;
    sinter_loop_stmt *loop = *link;
    if (!check_serial(schedule, loop)) return false;
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_schedule_path path = sinter_schedule_path_to(schedule, link, &scratch);
    bool fits = true;
    for (size_t i = 0; i < path.count; i++) {
        const sinter_loop_stmt *around = path.items[i];
        bool is_block = around->kind == SINTER_LOOP_FOR && around->axis == SINTER_AXIS_BLOCK;
        fits &= axis == SINTER_AXIS_BLOCK
                    ? is_block
                    : around->kind != SINTER_LOOP_FOR || around->axis == SINTER_AXIS_SERIAL ||
                          is_block || around->axis == SINTER_AXIS_THREAD;
    }
    sinter_arena_deinit(&scratch);
    if (!fits || schedule->function == schedule->program->host)
        return sinter_schedule_refuse(schedule, "no such axis may be inside of what is around it");
    if (stores_below_bytes(schedule->function, loop->body))
        return sinter_schedule_refuse(schedule, "elements share bytes");
    if (!may_run_at_once(schedule, loop, false)) return false;
    loop->axis = axis;
    return true;
}

bool sinter_schedule_join(sinter_schedule *schedule, sinter_loop_var var) {
    sinter_loop_stmt *group = NULL, *loop = schedule->function->body;
    for (; loop && !(loop->kind == SINTER_LOOP_FOR && loop->var == var); loop = loop->next)
        if (!loop->joined) group = loop;
    if (!group || !loop || loop->joined)
        return sinter_schedule_refuse(schedule, "there is nothing before it to join");
    loop->joined = true;
    const sinter_loop_stmt *end = group;
    while (end != loop && sinter_loop_group_end(end) != end) end = end->next;
    bool joins = end == loop;
    if (!joins)
        sinter_schedule_refuse(schedule, "the two are no parallel loops of constant counts");
    loop->joined = joins && may_run_at_once(schedule, group, true);
    return loop->joined;
}

bool sinter_schedule_unite(sinter_schedule *schedule, sinter_loop_var var) {
    sinter_loop_stmt *before = NULL, *loop = schedule->function->body;
    for (; loop && !(loop->kind == SINTER_LOOP_FOR && loop->var == var); loop = loop->next)
        before = loop;
    if (!loop || !loop->joined)
        return sinter_schedule_refuse(schedule, "there is no such loop, joined to the one before");
    if (before->step != loop->step || !sinter_loop_expr_equal(before->lower, loop->lower) ||
        !sinter_loop_expr_equal(before->upper, loop->upper))
        return sinter_schedule_refuse(schedule, "the two have other bounds");
    sinter_loop_map map;
    sinter_loop_map_init(&map, schedule->program, schedule->function);
    sinter_loop_map_var(&map, var, sinter_loop_var_read(&map.builder, before->var));
    sinter_loop_map_list(&map, loop->body);
    sinter_loop_stmt **end = &before->body;
    while (*end) end = &(*end)->next;
    *end = loop->body;
    before->next = loop->next;
    return true;
}
