/* The table of dimension expressions: hash-consing, symbols, what the bounds of symbols imply,
 * evaluation and substitution. Expressions are simplified as they are made, in dim_simplify.c;
 * operands have smaller ids than the nodes made from them, so there are no cycles.
 * Test: tests/unit/dim_test.c */
#include "ir/dim_internal.h"

#include <assert.h>
#include <string.h>

__extension__ typedef __int128 wide;

sinter_dim_table *sinter_dim_table_create(sinter_arena *arena) {
    sinter_dim_table *table = SINTER_NEW(arena, sinter_dim_table);
    table->arena = arena;
    table->facts_epoch = table->memo_epoch = 1;
    sinter_map_init(&table->by_hash, arena);
    sinter_map_init(&table->by_name, arena);
    sinter_map_init(&table->by_prefix, arena);
    sinter_vector_push(arena, &table->nodes, (dim_node){0});
    return table;
}

const dim_node *dim_get(const sinter_dim_table *table, sinter_dim dim) {
    assert(dim && dim < table->nodes.count);
    return &table->nodes.items[dim];
}

static bool same_node(const dim_node *a, const dim_node *b) {
    return a->kind == b->kind && a->raw == b->raw && a->constant == b->constant &&
           a->symbol == b->symbol && a->operand_count == b->operand_count &&
           (a->operand_count == 0 ||
            memcmp(a->operands, b->operands, a->operand_count * sizeof *a->operands) == 0);
}

static sinter_dim intern(sinter_dim_table *table, dim_node node) {
    uint64_t head[] = {(uint64_t)node.kind, node.raw, (uint64_t)node.constant, node.symbol};
    uint64_t hash = sinter_hash(head, sizeof head, 0);
    hash = sinter_hash(node.operands, node.operand_count * sizeof *node.operands, hash);
    uint64_t first = 0;
    sinter_map_find(&table->by_hash, hash, &first);
    for (sinter_dim dim = (sinter_dim)first; dim; dim = dim_get(table, dim)->next)
        if (same_node(dim_get(table, dim), &node)) return dim;
    node.next = (sinter_dim)first;
    node.operands =
        sinter_arena_copy(table->arena, node.operands, node.operand_count * sizeof *node.operands);
    sinter_vector_push(table->arena, &table->nodes, node);
    sinter_dim dim = (sinter_dim)(table->nodes.count - 1);
    sinter_map_put(&table->by_hash, hash, dim);
    return dim;
}

sinter_dim dim_intern(sinter_dim_table *table, sinter_dim_kind kind, bool raw,
                      const sinter_dim *operands, uint32_t operand_count) {
    return intern(
        table,
        (dim_node){.kind = kind, .raw = raw, .operands = operands, .operand_count = operand_count});
}

sinter_dim sinter_dim_const(sinter_dim_table *table, int64_t value) {
    return intern(table, (dim_node){.kind = SINTER_DIM_CONST, .constant = value});
}

sinter_dim sinter_dim_symbol_named(sinter_dim_table *table, sinter_string name) {
    uint64_t found;
    if (sinter_map_find_string(&table->by_name, name, &found)) return (sinter_dim)found;
    sinter_dim_symbol *info = SINTER_NEW(table->arena, sinter_dim_symbol);
    info->name = sinter_arena_copy_string(table->arena, name.data, name.size);
    info->max = INT64_MAX;
    info->multiple = 1;
    uint32_t index = (uint32_t)table->symbols.count;
    sinter_dim dim = intern(table, (dim_node){.kind = SINTER_DIM_SYMBOL, .symbol = index});
    sinter_vector_push(table->arena, &table->symbols, (dim_symbol){info, dim});
    sinter_map_put_string(&table->by_name, name, dim);
    return dim;
}

sinter_dim sinter_dim_fresh(sinter_dim_table *table, const char *prefix) {
    sinter_string key = sinter_string_of(prefix), name = key;
    uint64_t number = 0, taken;
    sinter_map_find_string(&table->by_prefix, key, &number);
    while (number || sinter_map_find_string(&table->by_name, name, &taken)) {
        number++;
        name = sinter_string_of(
            sinter_arena_format(table->arena, "%s_%llu", prefix, (unsigned long long)number));
        if (!sinter_map_find_string(&table->by_name, name, &taken)) break;
    }
    sinter_map_put_string(&table->by_prefix, key, number);
    return sinter_dim_symbol_named(table, name);
}

bool sinter_dim_is_const(const sinter_dim_table *table, sinter_dim dim, int64_t *out_value) {
    if (!dim || dim_get(table, dim)->kind != SINTER_DIM_CONST) return false;
    *out_value = dim_get(table, dim)->constant;
    return true;
}

bool sinter_dim_is(const sinter_dim_table *table, sinter_dim dim, int64_t value) {
    int64_t constant;
    return sinter_dim_is_const(table, dim, &constant) && constant == value;
}

sinter_dim_kind sinter_dim_get_kind(const sinter_dim_table *table, sinter_dim dim) {
    return dim_get(table, dim)->kind;
}

size_t sinter_dim_operands(const sinter_dim_table *table, sinter_dim dim,
                           const sinter_dim **out_operands) {
    const dim_node *node = dim_get(table, dim);
    *out_operands = node->operands;
    return node->operand_count;
}

sinter_dim_symbol *sinter_dim_get_symbol(sinter_dim_table *table, sinter_dim dim) {
    const dim_node *node = dim_get(table, dim);
    assert(node->kind == SINTER_DIM_SYMBOL);
    table->facts_epoch++; /* the caller may change the bounds */
    return table->symbols.items[node->symbol].info;
}

size_t sinter_dim_symbol_count(const sinter_dim_table *table) {
    return table->symbols.count;
}

sinter_dim sinter_dim_symbol_at(const sinter_dim_table *table, size_t index) {
    assert(index < table->symbols.count);
    return table->symbols.items[index].dim;
}

size_t sinter_dim_symbol_index(const sinter_dim_table *table, sinter_dim symbol) {
    const dim_node *node = dim_get(table, symbol);
    assert(node->kind == SINTER_DIM_SYMBOL);
    return node->symbol;
}

int dim_compare(const sinter_dim_table *table, sinter_dim a, sinter_dim b) {
    if (a == b) return 0;
    const dim_node *x = dim_get(table, a), *y = dim_get(table, b);
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    if (x->kind == SINTER_DIM_CONST) return x->constant < y->constant ? -1 : 1;
    if (x->kind == SINTER_DIM_SYMBOL) {
        int order = strcmp(table->symbols.items[x->symbol].info->name,
                           table->symbols.items[y->symbol].info->name);
        return order ? order : x->symbol < y->symbol ? -1 : 1; /* names may hold a NUL */
    }
    for (uint32_t i = 0; i < x->operand_count && i < y->operand_count; i++) {
        int order = dim_compare(table, x->operands[i], y->operands[i]);
        if (order) return order;
    }
    if (x->operand_count != y->operand_count) return x->operand_count < y->operand_count ? -1 : 1;
    return x->raw < y->raw ? -1 : 1;
}

/* ---- what is known: intervals and divisors ---- */

int64_t dim_gcd(int64_t a, int64_t b) {
    uint64_t x = a < 0 ? 0 - (uint64_t)a : (uint64_t)a, y = b < 0 ? 0 - (uint64_t)b : (uint64_t)b;
    while (y) {
        uint64_t rest = x % y;
        x = y;
        y = rest;
    }
    return x > INT64_MAX ? 1 : (int64_t)x; /* 2^63 cannot be said; 1 is always true */
}

int64_t dim_floor_modulo(int64_t a, int64_t b) {
    int64_t rest = b == -1 ? 0 : a % b; /* INT64_MIN % -1 has no answer in C */
    return rest && (rest < 0) != (b < 0) ? rest + b : rest;
}

int64_t dim_floor_divide(int64_t a, int64_t b) {
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static bool is_infinite(int64_t x) {
    return x == INT64_MAX || x == INT64_MIN;
}

static int64_t clamp(wide x) {
    return x > INT64_MAX ? INT64_MAX : x < INT64_MIN ? INT64_MIN : (int64_t)x;
}

/* For ends of intervals on the same side, where an infinity absorbs. */
static int64_t add_bounds(int64_t a, int64_t b) {
    if (is_infinite(a)) return a;
    return is_infinite(b) ? b : clamp((wide)a + b);
}

static int64_t multiply_bounds(int64_t a, int64_t b) {
    if (a == 0 || b == 0) return 0;
    if (is_infinite(a) || is_infinite(b)) return (a < 0) != (b < 0) ? INT64_MIN : INT64_MAX;
    return clamp((wide)a * b);
}

/* b >= 1 */
static int64_t divide_bounds(int64_t a, int64_t b) {
    if (is_infinite(b)) return a < 0 ? (is_infinite(a) ? a : -1) : is_infinite(a) ? a : 0;
    return is_infinite(a) ? a : dim_floor_divide(a, b);
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static dim_facts add_facts(dim_facts a, dim_facts b) {
    return (dim_facts){add_bounds(a.min, b.min), add_bounds(a.max, b.max),
                       dim_gcd(a.multiple, b.multiple)};
}

static dim_facts multiply_facts(dim_facts a, dim_facts b) {
    int64_t corners[] = {multiply_bounds(a.min, b.min), multiply_bounds(a.min, b.max),
                         multiply_bounds(a.max, b.min), multiply_bounds(a.max, b.max)};
    dim_facts facts = {corners[0], corners[0], 0};
    for (int i = 1; i < 4; i++) {
        facts.min = smaller(facts.min, corners[i]);
        facts.max = larger(facts.max, corners[i]);
    }
    if (__builtin_mul_overflow(a.multiple, b.multiple, &facts.multiple))
        facts.multiple = larger(a.multiple, b.multiple);
    return facts;
}

static dim_facts floordiv_facts(dim_facts a, dim_facts b) {
    dim_facts facts = {INT64_MIN, INT64_MAX, 1};
    if (a.multiple == 0) return (dim_facts){0, 0, 0};
    if (b.min == b.max && b.min > 0 && a.multiple % b.min == 0) facts.multiple = a.multiple / b.min;
    if (b.min < 0) return facts;
    int64_t least = larger(b.min, 1); /* dividing by zero gives no value at all */
    int64_t most = larger(b.max, least);
    facts.min = divide_bounds(a.min, a.min < 0 ? least : most);
    facts.max = divide_bounds(a.max, a.max < 0 ? most : least);
    return facts;
}

static dim_facts mod_facts(dim_facts a, dim_facts b) {
    dim_facts facts = {INT64_MIN, INT64_MAX, dim_gcd(a.multiple, b.multiple)};
    if (b.min >= 0) {
        facts.min = 0;
        facts.max = is_infinite(b.max) ? INT64_MAX : larger(b.max - 1, 0);
        if (a.min >= 0) facts.max = smaller(facts.max, a.max);
    } else if (b.max <= 0) {
        facts.min = is_infinite(b.min) ? INT64_MIN : b.min + 1;
        facts.max = 0;
    }
    return facts;
}

static dim_facts union_facts(dim_facts a, dim_facts b) {
    return (dim_facts){smaller(a.min, b.min), larger(a.max, b.max),
                       dim_gcd(a.multiple, b.multiple)};
}

static dim_facts constant_facts(int64_t value) {
    return (dim_facts){value, value, dim_gcd(value, 0)};
}

static dim_facts compute_facts(const sinter_dim_table *table, const dim_node *node) {
    if (node->kind == SINTER_DIM_CONST) return constant_facts(node->constant);
    if (node->kind == SINTER_DIM_SYMBOL) {
        const sinter_dim_symbol *symbol = table->symbols.items[node->symbol].info;
        return (dim_facts){symbol->min, symbol->max, larger(symbol->multiple, 1)};
    }
    dim_facts a = dim_get_facts(table, node->operands[0]);
    dim_facts b = dim_get_facts(table, node->operands[1]);
    switch (node->kind) {
    case SINTER_DIM_FLOORDIV:
        return floordiv_facts(a, b);
    case SINTER_DIM_MOD:
        return mod_facts(a, b);
    case SINTER_DIM_MIN:
        return (dim_facts){smaller(a.min, b.min), smaller(a.max, b.max),
                           dim_gcd(a.multiple, b.multiple)};
    case SINTER_DIM_MAX:
        return (dim_facts){larger(a.min, b.min), larger(a.max, b.max),
                           dim_gcd(a.multiple, b.multiple)};
    case SINTER_DIM_SELECT:
        return union_facts(b, dim_get_facts(table, node->operands[2]));
    default:
        break;
    }
    for (uint32_t i = 1; i < node->operand_count; i++) {
        b = dim_get_facts(table, node->operands[i]);
        a = node->kind == SINTER_DIM_MUL ? multiply_facts(a, b) : add_facts(a, b);
    }
    return a;
}

dim_facts dim_get_facts(const sinter_dim_table *table, sinter_dim dim) {
    const dim_node *node = dim_get(table, dim);
    if (node->facts_epoch == table->facts_epoch)
        return (dim_facts){node->min, node->max, node->multiple};
    dim_facts facts = compute_facts(table, node);
    dim_node *cache = &table->nodes.items[dim]; /* a cache: the table means the same after it */
    cache->min = facts.min;
    cache->max = facts.max;
    cache->multiple = facts.multiple;
    cache->facts_epoch = table->facts_epoch;
    return facts;
}

dim_facts dim_polynomial_facts(const sinter_dim_table *table, const dim_polynomial *polynomial) {
    dim_facts total = constant_facts(0);
    for (uint32_t i = 0; i < polynomial->count; i++) {
        const dim_term *term = &polynomial->terms[i];
        dim_facts product = constant_facts(term->coefficient);
        for (uint32_t j = 0; j < term->degree; j++)
            product = multiply_facts(product, dim_get_facts(table, term->factors[j]));
        total = add_facts(total, product);
    }
    return total;
}

void sinter_dim_range(const sinter_dim_table *table, sinter_dim dim, int64_t *out_min,
                      int64_t *out_max) {
    dim_facts facts = dim_get_facts(table, dim);
    *out_min = facts.min;
    *out_max = facts.max;
}

int64_t sinter_dim_known_multiple(const sinter_dim_table *table, sinter_dim dim) {
    return dim_get_facts(table, dim).multiple;
}

/* ---- evaluation and substitution ---- */

static bool evaluate(const sinter_dim_table *table, sinter_dim dim, const int64_t *bindings,
                     int64_t *out_value);

/* In 128 bits, so that only a result out of range fails, not the order of the terms. */
static bool evaluate_sum(const sinter_dim_table *table, const dim_node *node,
                         const int64_t *bindings, int64_t *out_value) {
    wide total = node->kind == SINTER_DIM_MUL;
    bool zero = false, overflow = false;
    for (uint32_t i = 0; i < node->operand_count; i++) {
        int64_t value;
        if (!evaluate(table, node->operands[i], bindings, &value)) return false;
        if (node->kind == SINTER_DIM_ADD)
            total += value;
        else if (value == 0)
            zero = true;
        else
            overflow |= __builtin_mul_overflow(total, (wide)value, &total);
    }
    if (zero) total = 0;
    if (!zero && (overflow || total != (wide)(int64_t)total)) return false;
    *out_value = (int64_t)total;
    return true;
}

static bool evaluate_node(const sinter_dim_table *table, const dim_node *node,
                          const int64_t *bindings, int64_t *out_value) {
    int64_t a, b;
    switch (node->kind) {
    case SINTER_DIM_CONST:
        *out_value = node->constant;
        return true;
    case SINTER_DIM_SYMBOL:
        *out_value = bindings[node->symbol];
        return true;
    case SINTER_DIM_ADD:
    case SINTER_DIM_MUL:
        return evaluate_sum(table, node, bindings, out_value);
    case SINTER_DIM_SELECT:
        return evaluate(table, node->operands[0], bindings, &a) &&
               evaluate(table, node->operands[a >= 0 ? 1 : 2], bindings, out_value);
    default:
        break;
    }
    if (!evaluate(table, node->operands[0], bindings, &a) ||
        !evaluate(table, node->operands[1], bindings, &b))
        return false;
    switch (node->kind) {
    case SINTER_DIM_FLOORDIV:
        if (b == 0 || (a == INT64_MIN && b == -1)) return false;
        *out_value = dim_floor_divide(a, b);
        return true;
    case SINTER_DIM_MOD:
        if (b == 0) return false;
        *out_value = dim_floor_modulo(a, b);
        return true;
    default:
        *out_value = node->kind == SINTER_DIM_MIN ? smaller(a, b) : larger(a, b);
        return true;
    }
}

static bool evaluate(const sinter_dim_table *table, sinter_dim dim, const int64_t *bindings,
                     int64_t *out_value) {
    dim_node *node = &table->nodes.items[dim]; /* mutable for the memo only */
    if (node->memo_epoch != table->memo_epoch) {
        node->memo_valid = evaluate_node(table, node, bindings, &node->memo);
        node->memo_epoch = table->memo_epoch;
    }
    *out_value = node->memo;
    return node->memo_valid;
}

const int64_t *sinter_dim_assume(sinter_dim_table *table, sinter_arena *arena, int64_t value) {
    size_t count = sinter_dim_symbol_count(table);
    int64_t *bindings = SINTER_NEW_ARRAY(arena, int64_t, count + 1);
    for (size_t i = 0; i < count; i++) {
        const sinter_dim_symbol *symbol =
            sinter_dim_get_symbol(table, sinter_dim_symbol_at(table, i));
        int64_t multiple = symbol->multiple > 1 ? symbol->multiple : 1;
        int64_t near = value < symbol->min   ? symbol->min
                       : value > symbol->max ? symbol->max
                                             : value;
        int64_t over = (near % multiple + multiple) % multiple;
        bindings[i] = over && near - over >= symbol->min ? near - over
                      : over                             ? near - over + multiple
                                                         : near;
    }
    return bindings;
}

bool sinter_dim_evaluate(const sinter_dim_table *table, sinter_dim dim, const int64_t *bindings,
                         int64_t *out_value) {
    if (!dim) return false;
    const dim_node *node = dim_get(table, dim);
    if (node->kind == SINTER_DIM_CONST) return evaluate_node(table, node, bindings, out_value);
    ((sinter_dim_table *)table)->memo_epoch++; /* forget the memos of other bindings */
    int64_t value;
    if (!evaluate(table, dim, bindings, &value)) return false;
    *out_value = value;
    return true;
}

sinter_dim sinter_dim_binary(sinter_dim_table *table, sinter_dim_kind kind, sinter_dim a,
                             sinter_dim b) {
    switch (kind) {
    case SINTER_DIM_ADD:
        return sinter_dim_add(table, a, b);
    case SINTER_DIM_MUL:
        return sinter_dim_mul(table, a, b);
    case SINTER_DIM_FLOORDIV:
        return sinter_dim_floordiv(table, a, b);
    case SINTER_DIM_MOD:
        return sinter_dim_mod(table, a, b);
    case SINTER_DIM_MIN:
        return sinter_dim_min(table, a, b);
    case SINTER_DIM_MAX:
        return sinter_dim_max(table, a, b);
    case SINTER_DIM_CONST:
    case SINTER_DIM_SYMBOL:
    case SINTER_DIM_SELECT:
        break;
    }
    assert(!"a dim of two operands");
    return 0;
}

static sinter_dim substitute(sinter_dim_table *table, sinter_dim dim, const sinter_dim *bindings);

static sinter_dim substitute_node(sinter_dim_table *table, sinter_dim dim,
                                  const sinter_dim *bindings) {
    dim_node node = *dim_get(table, dim); /* a copy: the nodes move as new ones are made */
    if (node.kind == SINTER_DIM_CONST) return dim;
    if (node.kind == SINTER_DIM_SYMBOL) return bindings[node.symbol] ? bindings[node.symbol] : dim;
    sinter_dim first = substitute(table, node.operands[0], bindings);
    if (node.kind == SINTER_DIM_SELECT) {
        sinter_dim a = substitute(table, node.operands[1], bindings);
        return sinter_dim_select(table, first, a, substitute(table, node.operands[2], bindings));
    }
    for (uint32_t i = 1; i < node.operand_count; i++)
        first = sinter_dim_binary(table, node.kind, first,
                                  substitute(table, node.operands[i], bindings));
    return first;
}

static sinter_dim substitute(sinter_dim_table *table, sinter_dim dim, const sinter_dim *bindings) {
    if (dim_get(table, dim)->memo_epoch == table->memo_epoch)
        return (sinter_dim)dim_get(table, dim)->memo;
    sinter_dim result = substitute_node(table, dim, bindings);
    dim_node *node = &table->nodes.items[dim];
    node->memo = result;
    node->memo_epoch = table->memo_epoch;
    return result;
}

sinter_dim sinter_dim_substitute(sinter_dim_table *table, sinter_dim dim,
                                 const sinter_dim *bindings) {
    if (!dim) return 0;
    table->memo_epoch++;
    return substitute(table, dim, bindings);
}

bool sinter_dim_reads(sinter_dim_table *table, sinter_dim dim, uint32_t value) {
    if (sinter_dim_get_kind(table, dim) == SINTER_DIM_SYMBOL) {
        const sinter_dim_symbol *symbol = sinter_dim_get_symbol(table, dim);
        return symbol->origin != SINTER_DIM_ORIGIN_INPUT && symbol->value == value;
    }
    const sinter_dim *operands = NULL;
    size_t count = sinter_dim_operands(table, dim, &operands);
    for (size_t i = 0; i < count; i++)
        if (sinter_dim_reads(table, operands[i], value)) return true;
    return false;
}
