/* Groups and sums of exchanges between ranks. Test: tests/unit/collectives_test.c */
#include "runtime/exchange.h"
#include "runtime/status.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BLOCK = 256 };

double sinter_exchange_clock(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

int32_t sinter_exchange_fail(sinter_abi_call *call, int32_t code, int64_t rank, const char *format,
                             ...) {
    va_list arguments;
    int length = snprintf(call->message, sizeof call->message, "rank %lld: ", (long long)rank);
    va_start(arguments, format);
    vsnprintf(call->message + length, sizeof call->message - (size_t)length, format, arguments);
    va_end(arguments);
    call->code = code;
    return code;
}

/* ---- groups ---- */

sinter_status *sinter_exchange_mesh_init(sinter_exchange_mesh *mesh, const int64_t *axis_sizes,
                                         uint32_t axis_count) {
    *mesh = (sinter_exchange_mesh){.axis_count = axis_count, .rank_count = 1};
    if (axis_count > SINTER_EXCHANGE_MAX_AXES)
        return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "a mesh of %u axes; at most %d", axis_count,
                           SINTER_EXCHANGE_MAX_AXES);
    for (uint32_t i = 0; i < axis_count; i++) {
        if (axis_sizes[i] < 1 || axis_sizes[i] > SINTER_EXCHANGE_MAX_RANKS / mesh->rank_count)
            return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "mesh axis %u has size %lld", i,
                               (long long)axis_sizes[i]);
        mesh->axis_sizes[i] = axis_sizes[i];
        mesh->rank_count *= axis_sizes[i];
    }
    return NULL;
}

static int64_t stride_of(const sinter_exchange_mesh *mesh, uint32_t axis) {
    int64_t stride = 1;
    for (uint32_t i = axis + 1; i < mesh->axis_count; i++) stride *= mesh->axis_sizes[i];
    return stride;
}

bool sinter_exchange_find_group(const sinter_exchange_mesh *mesh, int64_t rank, uint64_t over,
                                sinter_exchange_group *out_group) {
    uint32_t axes[SINTER_EXCHANGE_MAX_AXES], count = 0;
    int64_t base = rank;
    *out_group = (sinter_exchange_group){.count = 1};
    for (; over && count < SINTER_EXCHANGE_MAX_AXES; over >>= 8, count++) {
        axes[count] = (uint32_t)(over & 0xff) - 1;
        if (axes[count] >= mesh->axis_count) return false;
        int64_t size = mesh->axis_sizes[axes[count]], stride = stride_of(mesh, axes[count]);
        int64_t coordinate = rank / stride % size;
        out_group->place = out_group->place * size + coordinate;
        out_group->count *= size;
        base -= coordinate * stride;
    }
    if (over) return false;
    out_group->members = malloc((size_t)out_group->count * sizeof *out_group->members);
    if (!out_group->members) return false;
    for (int64_t place = 0; place < out_group->count; place++) {
        int64_t rest = place, member = base;
        for (uint32_t i = count; i-- > 0;) {
            int64_t size = mesh->axis_sizes[axes[i]];
            member += rest % size * stride_of(mesh, axes[i]);
            rest /= size;
        }
        out_group->members[place] = member;
    }
    return true;
}

void sinter_exchange_free_group(sinter_exchange_group *group) {
    free(group->members);
    group->members = NULL;
}

uint64_t sinter_exchange_share(const sinter_exchange_group *group, uint64_t count, int64_t place) {
    const uint64_t places = (uint64_t)group->count;
    return count / places * (uint64_t)place + count % places * (uint64_t)place / places;
}

/* ---- words ---- */

static const char *const names[] = SINTER_ABI_EXCHANGE_NAMES;

const char *sinter_exchange_name(const sinter_abi_exchange *words) {
    return names[words->kind];
}

size_t sinter_exchange_element_size(int32_t dtype) {
    static const unsigned char sizes[] = {0, 4, 1,  1, 2, 2, 4, 8, 0, 1, 2, 8, 4,
                                          8, 8, 16, 2, 1, 1, 1, 1, 0, 0, 0, 1};
    return dtype >= 0 && dtype < (int32_t)sizeof sizes ? sizes[dtype] : 0;
}

sinter_abi_exchange sinter_exchange_read(const sinter_abi_exchange *given,
                                         sinter_exchange_phase *out_phase) {
    const int32_t kind = given->kind & ~(SINTER_ABI_EXCHANGE_BEGINS | SINTER_ABI_EXCHANGE_ENDS);
    const bool pairs = kind == SINTER_ABI_PERMUTE;
    sinter_abi_exchange words = {.from = -1, .to = -1};
    memcpy(&words, given, pairs ? sizeof words : offsetof(sinter_abi_exchange, from));
    words.kind = kind;
    *out_phase = given->kind & SINTER_ABI_EXCHANGE_BEGINS ? SINTER_EXCHANGE_BEGINS
                 : given->kind & SINTER_ABI_EXCHANGE_ENDS ? SINTER_EXCHANGE_ENDS
                                                          : SINTER_EXCHANGE_WHOLE;
    return words;
}

/* oldest: NULL where nothing is under way. */
static bool is_next(sinter_exchange_phase phase, const sinter_abi_exchange *words,
                    const sinter_abi_exchange *oldest) {
    if (phase != SINTER_EXCHANGE_ENDS) return phase == SINTER_EXCHANGE_BEGINS || !oldest;
    return oldest && words->kind == oldest->kind && words->index == oldest->index &&
           words->count == oldest->count && words->source == oldest->source &&
           words->target == oldest->target;
}

int32_t sinter_exchange_take_turn(const sinter_exchange_turns *t, sinter_abi_call *call,
                                  const sinter_abi_exchange *given) {
    sinter_exchange_phase phase;
    const sinter_abi_exchange words = sinter_exchange_read(given, &phase);
    int32_t code = 0;
    if (!is_next(phase, &words, t->begun > t->ended ? t->oldest : NULL))
        return sinter_exchange_fail(call, SINTER_ABI_FAILED, t->rank,
                                    "exchange %u does not end in its turn", words.index);
    if (phase != SINTER_EXCHANGE_ENDS && t->begun - t->ended == SINTER_ABI_EXCHANGES_UNDER_WAY)
        return sinter_exchange_fail(call, SINTER_ABI_FAILED, t->rank,
                                    "more than %d exchanges under way at a time",
                                    SINTER_ABI_EXCHANGES_UNDER_WAY);
    if (phase != SINTER_EXCHANGE_ENDS) code = t->begin(t->user, call, &words);
    if (!code && phase != SINTER_EXCHANGE_BEGINS) code = t->end(t->user, call);
    return code;
}

bool sinter_exchange_check(const sinter_exchange_mesh *mesh, const sinter_abi_exchange *words) {
    if (words->kind < 0 || words->kind >= (int32_t)(sizeof names / sizeof *names)) return false;
    if (!sinter_exchange_element_size(words->dtype)) return false;
    return words->kind != SINTER_ABI_PERMUTE ||
           (words->from < mesh->rank_count && words->to < mesh->rank_count);
}

/* ---- combining ---- */

/* How elements of a type are held while they are combined. */
typedef enum holding {
    HELD_FLOAT,
    HELD_DOUBLE,
    HELD_NARROW, /* a float of 16 bits, as a double that is rounded after each step */
    HELD_I8,
    HELD_U8,
    HELD_I16,
    HELD_U16,
    HELD_I32,
    HELD_U32,
    HELD_I64,
    HELD_U64,
    HELD_NOT
} holding;

static holding holding_of(int32_t dtype) {
    static const unsigned char by_code[] = {HELD_NOT,    HELD_FLOAT,  HELD_U8,  HELD_I8,  HELD_U16,
                                            HELD_I16,    HELD_I32,    HELD_I64, HELD_NOT, HELD_NOT,
                                            HELD_NARROW, HELD_DOUBLE, HELD_U32, HELD_U64, HELD_NOT,
                                            HELD_NOT,    HELD_NARROW};
    return dtype >= 0 && dtype < (int32_t)sizeof by_code ? by_code[dtype] : HELD_NOT;
}

/* A float format of 16 bits. */
typedef struct narrow {
    int fraction_bits, exponent_bias;
    double least, magic,
        beyond; /* smallest normal; 1.5 * 2^52 steps of those below it; what rounds to infinity */
} narrow;
static const narrow half = {10, 15, 0x1p-14, 0x1.8p28, 0x1p16};
static const narrow brain = {7, 127, 0x1p-126, 0x1.8p-81, 0x1p128};

/* To the nearest number of the format, ties to even. */
static double round_narrow(double x, const narrow *format) {
    if (isnan(x)) return x;
    if (fabs(x) < format->least) return copysign(fabs(x) + format->magic - format->magic, x);
    int drop = 52 - format->fraction_bits;
    uint64_t bits, unit = UINT64_C(1) << drop;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + unit / 2 - 1 + (bits >> drop & 1)) & ~(unit - 1);
    memcpy(&x, &bits, sizeof bits);
    return fabs(x) >= format->beyond ? copysign((double)INFINITY, x) : x;
}

static double load_narrow(const void *data, uint64_t index, const narrow *format) {
    uint16_t bits;
    memcpy(&bits, (const unsigned char *)data + 2 * index, sizeof bits);
    int fraction_bits = format->fraction_bits, top = (1 << (15 - fraction_bits)) - 1;
    int exponent = bits >> fraction_bits & top, fraction = bits & ((1 << fraction_bits) - 1);
    double value;
    if (exponent == top)
        value = fraction ? (double)NAN : (double)INFINITY;
    else if (exponent == 0)
        value = ldexp(fraction, 1 - format->exponent_bias - fraction_bits);
    else {
        uint64_t wide = (uint64_t)(exponent - format->exponent_bias + 1023) << 52 |
                        (uint64_t)fraction << (52 - fraction_bits);
        memcpy(&value, &wide, sizeof value);
    }
    return bits >> 15 ? -value : value;
}

/* A number of the format. */
static void store_narrow(void *data, uint64_t index, double x, const narrow *format) {
    int fraction_bits = format->fraction_bits, top = (1 << (15 - fraction_bits)) - 1;
    uint64_t wide;
    uint16_t bits;
    memcpy(&wide, &x, sizeof wide);
    if (isnan(x))
        bits = (uint16_t)(top << fraction_bits | 1 << (fraction_bits - 1));
    else if (isinf(x))
        bits = (uint16_t)(top << fraction_bits);
    else if (fabs(x) < format->least)
        bits = (uint16_t)ldexp(fabs(x), format->exponent_bias - 1 + fraction_bits);
    else
        bits = (uint16_t)((((wide >> 52 & 0x7ff) - 1023 + (uint64_t)format->exponent_bias)
                           << fraction_bits) |
                          (wide >> (52 - fraction_bits) & ((1u << fraction_bits) - 1)));
    bits = (uint16_t)(bits | (wide >> 63) << 15);
    memcpy((unsigned char *)data + 2 * index, &bits, sizeof bits);
}

/* x[i] and y[i] become out[i], which may be either of them. The compiler is asked to make vectors of these loops (CMakeLists.txt). */
#define PAIR_LOOP(type, result, rounded)                                                           \
 for (uint64_t i = 0; i < count; i++) {                                                            \
  type a = x[i], b = y[i], c = (type)(result);                                                     \
  out[i] = rounded;                                                                                \
 }
#define COMBINE(name, type, sum, product, rounded)                                                     \
 static void pair_##name(const type *x, const type *y, type *out, uint64_t count, int32_t how,         \
                         const narrow *format) {                                                       \
  (void)format;                                                                                        \
  if (how == SINTER_ABI_SUM)                                                                           \
   PAIR_LOOP(type, sum, rounded)                                                                       \
  else if (how == SINTER_ABI_PROD)                                                                     \
   PAIR_LOOP(type, product, rounded)                                                                   \
  else if (how == SINTER_ABI_MAX)                                                                      \
   PAIR_LOOP(type, a != a || b != b ? (a != a ? a : b) : a > b ? a : b, c)                             \
  else                                                                                                 \
   PAIR_LOOP(type, a != a || b != b ? (a != a ? a : b) : a > b ? b : a, c)                             \
 }                                                                                                     \
 /* values[place][i], i < count <= BLOCK, become values[0][i]: the tree, where those that are        \
  * closer than `step` are sums already. */ \
 static void combine_##name(type(*values)[BLOCK], int64_t places, int64_t step, uint64_t count,        \
                            int32_t how, const narrow *format) {                                       \
  for (; step < places; step *= 2)                                                                     \
   for (int64_t p = 0; p + step < places; p += 2 * step)                                               \
    pair_##name(values[p], values[p + step], values[p], count, how, format);                           \
 }
COMBINE(float, float, a + b, a *b, c)
COMBINE(double, double, a + b, a *b, c)
COMBINE(narrow, double, a + b, a *b, round_narrow(c, format))
/* Integers wrap: their sums and products are those of `wide`, which is no narrower than an unsigned int. */
#define COMBINE_INTEGERS(name, type, wide)                                                         \
 COMBINE(name, type, (wide)a + (wide)b, (wide)a * (wide)b, c)
COMBINE_INTEGERS(i8, int8_t, uint32_t)
COMBINE_INTEGERS(u8, uint8_t, uint32_t)
COMBINE_INTEGERS(i16, int16_t, uint32_t)
COMBINE_INTEGERS(u16, uint16_t, uint32_t)
COMBINE_INTEGERS(i32, int32_t, uint32_t)
COMBINE_INTEGERS(u32, uint32_t, uint32_t)
COMBINE_INTEGERS(i64, int64_t, uint64_t)
COMBINE_INTEGERS(u64, uint64_t, uint64_t)

/* Room for a block of elements of any type. */
typedef struct block {
    double doubles[BLOCK];
} block;

typedef struct combination {
    holding held;
    int32_t reduction;
    const narrow *format;
    const void *const *sources;
    int64_t count;
} combination;

/* Elements of all sources, widened. */
static void load_block(const combination *c, block *values, uint64_t first, uint64_t count) {
    for (int64_t p = 0; p < c->count; p++) {
        const char *source = c->sources[p];
        for (uint64_t i = 0; i < count; i++)
            values[p].doubles[i] = load_narrow(source, first + i, c->format);
    }
}

/* What is held as it lies in memory: the lowest step of the tree reads the sources where they are, and two make the sum at once. */
#define COMBINE_SOURCES(name, type)                                                                \
 static void combine_##name##_sources(const combination *c, block *values, uint64_t first,         \
                                      uint64_t count, void *target) {                              \
  type(*sums)[BLOCK] = (void *)values;                                                             \
  for (int64_t p = 0; p < c->count; p += 2) {                                                      \
   const type *x = (const type *)c->sources[p] + first;                                            \
   if (p + 1 == c->count)                                                                          \
    memcpy(sums[p], x, count * sizeof *x);                                                         \
   else                                                                                            \
    pair_##name(x, (const type *)c->sources[p + 1] + first, c->count == 2 ? target : sums[p],      \
                count, c->reduction, NULL);                                                        \
  }                                                                                                \
  if (c->count == 2) return;                                                                       \
  combine_##name(sums, c->count, 2, count, c->reduction, NULL);                                    \
  memcpy(target, sums[0], count * sizeof(type));                                                   \
 }
COMBINE_SOURCES(float, float)
COMBINE_SOURCES(double, double)
COMBINE_SOURCES(i8, int8_t)
COMBINE_SOURCES(u8, uint8_t)
COMBINE_SOURCES(i16, int16_t)
COMBINE_SOURCES(u16, uint16_t)
COMBINE_SOURCES(i32, int32_t)
COMBINE_SOURCES(u32, uint32_t)
COMBINE_SOURCES(i64, int64_t)
COMBINE_SOURCES(u64, uint64_t)

/* Elements [first, first + count) of all sources, to `target` on. */
static void combine_block(const combination *c, block *values, uint64_t first, uint64_t count,
                          void *target) {
    static void (*const ways[])(const combination *, block *, uint64_t, uint64_t, void *) = {
        [HELD_FLOAT] = combine_float_sources, [HELD_DOUBLE] = combine_double_sources,
        [HELD_I8] = combine_i8_sources,       [HELD_U8] = combine_u8_sources,
        [HELD_I16] = combine_i16_sources,     [HELD_U16] = combine_u16_sources,
        [HELD_I32] = combine_i32_sources,     [HELD_U32] = combine_u32_sources,
        [HELD_I64] = combine_i64_sources,     [HELD_U64] = combine_u64_sources};
    void *all = values;
    if (c->held != HELD_NARROW) {
        ways[c->held](c, values, first, count, target);
        return;
    }
    load_block(c, values, first, count);
    combine_narrow((double(*)[BLOCK])all, c->count, 1, count, c->reduction, c->format);
    for (uint64_t i = 0; i < count; i++) store_narrow(target, i, values[0].doubles[i], c->format);
}

bool sinter_exchange_depends_on_order(const sinter_abi_exchange *words, int64_t ranks) {
    holding held = holding_of(words->dtype);
    return ranks > 2 &&
           (words->kind == SINTER_ABI_ALL_REDUCE || words->kind == SINTER_ABI_REDUCE_SCATTER) &&
           (words->reduction == SINTER_ABI_SUM || words->reduction == SINTER_ABI_PROD) &&
           (held == HELD_FLOAT || held == HELD_DOUBLE);
}

int32_t sinter_exchange_combine(int32_t dtype, int32_t reduction, const void *const *sources,
                                int64_t count, uint64_t first, uint64_t end, void *target) {
    const combination c = {.held = holding_of(dtype),
                           .reduction = reduction,
                           .format = dtype == 10 ? &half : &brain,
                           .sources = sources,
                           .count = count};
    const size_t size = sinter_exchange_element_size(dtype);
    if (c.held == HELD_NOT) return SINTER_ABI_FAILED;
    block *values = malloc((size_t)count * sizeof *values);
    if (!values) return SINTER_ABI_OUT_OF_MEMORY;
    for (uint64_t at = first; at < end; at += BLOCK)
        combine_block(&c, values, at, end - at < BLOCK ? end - at : BLOCK,
                      (char *)target + (at - first) * size);
    free(values);
    return SINTER_ABI_OK;
}
