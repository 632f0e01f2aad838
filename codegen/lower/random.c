/* Lowering of the ops that draw random numbers, as ir/random.h defines them: an element of a random node is a function of
 * its position (Philox), so that elements can be made in any order; dropout in training mode draws from MT19937 in the
 * order of the elements. Test: tests/ops/random.sir, dropout.sir */
#include "ir/random.h"
#include "codegen/lower/write.h"

static sinter_expr unsigned_number(sinter_kernel *k, uint64_t value) {
    return sinter_loop_const_int(&k->build, SINTER_DTYPE_u64, (int64_t)value);
}

/* Words 0 and 1 of Philox block `index` under the key, as u64 below 2^32. */
static void philox(sinter_kernel *k, uint64_t key, sinter_expr index, sinter_expr *out_words) {
    uint32_t low = (uint32_t)key, high = (uint32_t)(key >> 32);
    sinter_expr mask = unsigned_number(k, 0xffffffff), c[4];
    c[0] = FORMULA(k, "a & b", index, mask);
    c[1] = FORMULA(k, "a >> 32", index);
    c[2] = c[3] = unsigned_number(k, 0);
    for (int round = 0; round < 10; ++round) {
        sinter_expr a = sinter_write_let(k, "a", FORMULA(k, "a * 0xD2511F53", c[0])),
                    b = sinter_write_let(k, "b", FORMULA(k, "a * 0xCD9E8D57", c[2]));
        sinter_expr next[4] = {FORMULA(k, "a >> 32 ^ b ^ c", b, c[1], unsigned_number(k, low)),
                               FORMULA(k, "a & b", b, mask),
                               FORMULA(k, "a >> 32 ^ b ^ c", a, c[3], unsigned_number(k, high)),
                               FORMULA(k, "a & b", a, mask)};
        for (int i = 0; i < 4; ++i) c[i] = sinter_write_let(k, "word", next[i]);
        low += 0x9E3779B9;
        high += 0xBB67AE85;
    }
    out_words[0] = c[0];
    out_words[1] = c[1];
}

static sinter_expr real(sinter_kernel *k, sinter_expr word) {
    return sinter_write_cast(k, word, SINTER_DTYPE_f64);
}

/* 53 bits where wide, else 24. */
static sinter_expr uniform(sinter_kernel *k, const sinter_expr *words, bool wide) {
    if (!wide) return FORMULA(k, "a / 16777216", real(k, FORMULA(k, "a >> 8", words[0])));
    return FORMULA(k, "(a * 67108864 + b) / 9007199254740992",
                   real(k, FORMULA(k, "a >> 5", words[0])),
                   real(k, FORMULA(k, "a >> 6", words[1])));
}

static sinter_expr normal(sinter_kernel *k, const sinter_expr *words) {
    sinter_expr u = FORMULA(k, "(a + 1) / 16777216", real(k, FORMULA(k, "a >> 8", words[0]))),
                v = FORMULA(k, "a / 16777216", real(k, FORMULA(k, "a >> 8", words[1])));
    return FORMULA(k, "sqrt(-2 * log(a)) * cos(2 * pi * b)", u, v);
}

/* Row-major position of an element of a value. */
static sinter_expr position_of(sinter_kernel *k, sinter_value value, const sinter_expr *index) {
    sinter_type type = sinter_write_type(k, value);
    sinter_expr position = sinter_write_int(k, 0);
    for (uint32_t d = 0; d < type.rank; ++d)
        position = FORMULA(k, "a * b + c", position, sinter_kernel_dim(k, type.dims[d]), index[d]);
    return sinter_write_let(k, "position", sinter_write_cast(k, position, SINTER_DTYPE_u64));
}

sinter_expr sinter_lower_random(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                const sinter_expr *index) {
    sinter_module *module = kernel->lower->module;
    sinter_op op = sinter_node_get(module, node)->op;
    bool is_normal = op == SINTER_OP_random_normal || op == SINTER_OP_random_normal_like;
    sinter_value y = sinter_write_result(kernel, node, result);
    sinter_dtype dtype = sinter_write_type(kernel, y).dtype;
    sinter_expr words[2];
    philox(kernel, sinter_random_key(module, node), position_of(kernel, y, index), words);
    double start = sinter_node_get_float(module, node, is_normal ? "mean" : "low", 0);
    double scale = is_normal ? sinter_node_get_float(module, node, "scale", 1)
                             : sinter_node_get_float(module, node, "high", 1) - start;
    sinter_expr drawn =
        is_normal ? normal(kernel, words) : uniform(kernel, words, dtype == SINTER_DTYPE_f64);
    drawn =
        FORMULA(kernel, "c + b * a", drawn, sinter_write_number(kernel, SINTER_DTYPE_f64, scale),
                sinter_write_number(kernel, SINTER_DTYPE_f64, start));
    return sinter_write_cast(kernel, drawn, sinter_dtype_compute(dtype));
}

sinter_expr sinter_lower_bernoulli(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                   const sinter_expr *index) {
    sinter_value x = sinter_write_operand(kernel, node, 0),
                 y = sinter_write_result(kernel, node, result);
    sinter_expr words[2];
    philox(kernel, sinter_random_key(kernel->lower->module, node), position_of(kernel, y, index),
           words);
    sinter_expr drawn =
        uniform(kernel, words, sinter_write_type(kernel, x).dtype == SINTER_DTYPE_f64);
    sinter_expr hit =
        FORMULA(kernel, "a < b", drawn, real(kernel, sinter_lower_element(kernel, x, index)));
    return sinter_write_cast(kernel, hit, sinter_dtype_compute(sinter_write_type(kernel, y).dtype));
}

/* Classes by their unnormalised log probabilities: the first whose cumulated probability is above a uniform draw. */
bool sinter_lower_multinomial(sinter_kernel *kernel, sinter_node node) {
    sinter_kernel *k = kernel;
    sinter_value x = sinter_write_operand(k, node, 0), y = sinter_write_result(k, node, 0);
    sinter_expr classes = sinter_kernel_dim_of(k, x, 1), at[2], in[2], words[2];
    sinter_write_check(k, FORMULA(k, "a >= 1", classes), "multinomial: %0 classes", classes);
    sinter_loop_var high, total, sum, class;
    at[0] = in[0] = sinter_kernel_begin_for(k, "row", sinter_kernel_dim_of(k, y, 0));
    high = sinter_write_var(k, "high",
                            FORMULA(k, "-inf", sinter_write_number(k, SINTER_DTYPE_f64, 0)));
    in[1] = sinter_kernel_begin_for(k, "c", classes);
    sinter_expr item = sinter_write_let(k, "x", real(k, sinter_lower_element(k, x, in)));
    sinter_write_set(k, high, FORMULA(k, "select(b > a, b, a)", sinter_write_get(k, high), item));
    sinter_write_end(k);
    total = sinter_write_var(k, "total", sinter_write_number(k, SINTER_DTYPE_f64, 0));
    in[1] = sinter_kernel_begin_for(k, "c", classes);
    item = real(k, sinter_lower_element(k, x, in));
    sinter_write_add(k, total, FORMULA(k, "exp(a - b)", item, sinter_write_get(k, high)));
    sinter_write_end(k);
    at[1] = sinter_kernel_begin_for(k, "sample", sinter_kernel_dim_of(k, y, 1));
    philox(k, sinter_random_key(k->lower->module, node), position_of(k, y, at), words);
    sinter_expr wanted = sinter_write_let(
        k, "wanted", FORMULA(k, "a * b", uniform(k, words, true), sinter_write_get(k, total)));
    sum = sinter_write_var(k, "sum", sinter_write_number(k, SINTER_DTYPE_f64, 0));
    class = sinter_write_var(k, "class", sinter_write_int(k, -1));
    in[1] = sinter_kernel_begin_for(k, "c", classes);
    item = real(k, sinter_lower_element(k, x, in));
    sinter_write_add(k, sum, FORMULA(k, "exp(a - b)", item, sinter_write_get(k, high)));
    sinter_expr found =
        FORMULA(k, "a < 0 && b > c", sinter_write_get(k, class), sinter_write_get(k, sum), wanted);
    sinter_write_set(k, class,
                     FORMULA(k, "select(a, b, c)", found, in[1], sinter_write_get(k, class)));
    sinter_write_end(k);
    sinter_expr last = FORMULA(k, "select(a < 0, b - 1, a)", sinter_write_get(k, class), classes);
    sinter_lower_store(k, y, at, sinter_write_cast(k, last, sinter_write_type(k, y).dtype));
    sinter_kernel_end_loops(k, 2);
    return true;
}

/* ---- dropout in training mode ---- */

enum { TWISTER_WORDS = 624 };

typedef struct twister {
    sinter_kernel *k;
    sinter_loop_buffer state; /* u32 [624] */
    sinter_loop_var position; /* i64 */
} twister;

static sinter_expr word_at(twister *t, sinter_expr i) {
    return sinter_write_load1(t->k, t->state, i);
}

static void seed(twister *t, uint32_t value) {
    sinter_kernel *k = t->k;
    t->state = sinter_write_stack(k, "twister", SINTER_DTYPE_u32, TWISTER_WORDS);
    t->position = sinter_write_var(k, "position", sinter_write_int(k, TWISTER_WORDS));
    sinter_write_store1(k, t->state, sinter_write_int(k, 0),
                        sinter_loop_const_int(&k->build, SINTER_DTYPE_u32, value));
    sinter_expr i =
        sinter_write_for(k, "i", sinter_write_int(k, 1), sinter_write_int(k, TWISTER_WORDS));
    sinter_expr previous = sinter_write_let(k, "previous", word_at(t, FORMULA(k, "a - 1", i)));
    sinter_write_store1(k, t->state, i,
                        FORMULA(k, "1812433253 * (a ^ (a >> 30)) + b", previous,
                                sinter_write_cast(k, i, SINTER_DTYPE_u32)));
    sinter_write_end(k);
}

static void renew(twister *t) {
    sinter_kernel *k = t->k;
    sinter_expr i = sinter_kernel_begin_for(k, "i", sinter_write_int(k, TWISTER_WORDS));
    sinter_expr next = word_at(t, FORMULA(k, "rem(a + 1, 624)", i)),
                far = word_at(t, FORMULA(k, "rem(a + 397, 624)", i));
    sinter_expr joined = sinter_write_let(
        k, "joined", FORMULA(k, "(a & 0x80000000) | (b & 0x7fffffff)", word_at(t, i), next));
    sinter_write_store1(
        k, t->state, i,
        FORMULA(k, "b ^ (a >> 1) ^ select((a & 1) != 0, 0x9908b0df, a - a)", joined, far));
    sinter_write_end(k);
    sinter_write_set(k, t->position, sinter_write_int(k, 0));
}

static sinter_expr next_word(twister *t) {
    sinter_kernel *k = t->k;
    sinter_write_if(k, FORMULA(k, "a == 624", sinter_write_get(k, t->position)));
    renew(t);
    sinter_write_end(k);
    sinter_expr y = sinter_write_let(k, "y", word_at(t, sinter_write_get(k, t->position)));
    sinter_write_add(k, t->position, sinter_write_int(k, 1));
    y = sinter_write_let(k, "y", FORMULA(k, "a ^ (a >> 11)", y));
    y = sinter_write_let(k, "y", FORMULA(k, "a ^ ((a << 7) & 0x9d2c5680)", y));
    y = sinter_write_let(k, "y", FORMULA(k, "a ^ ((a << 15) & 0xefc60000)", y));
    return sinter_write_let(k, "y", FORMULA(k, "a ^ (a >> 18)", y));
}

bool sinter_lower_dropout(sinter_kernel *kernel, sinter_node node) {
    sinter_kernel *k = kernel;
    sinter_value x = sinter_write_operand(k, node, 0), y = sinter_write_result(k, node, 0),
                 mask = sinter_write_result(k, node, 1);
    sinter_dtype compute = sinter_dtype_compute(sinter_write_type(k, x).dtype);
    sinter_expr ratio = sinter_write_let(k, "ratio",
                                         sinter_write_scalar(k, node, 1, SINTER_DTYPE_f64, 0.5)),
                training = sinter_write_scalar(k, node, 2, SINTER_DTYPE_i64, 0);
    sinter_write_check(k, FORMULA(k, "a == 0 || (b >= 0 && b < 1)", training, ratio),
                       "dropout: the ratio is not in [0, 1)", sinter_write_int(k, 0));
    sinter_expr drops =
        sinter_write_let(k, "drops", FORMULA(k, "a != 0 && b > 0", training, ratio));
    twister t = {.k = k};
    seed(&t, (uint32_t)sinter_random_key(k->lower->module, node));
    sinter_expr at[SINTER_MAX_RANK], words[2];
    sinter_kernel_begin_loops(k, x, at);
    for (int i = 0; i < 2; ++i) words[i] = next_word(&t);
    sinter_expr drawn = uniform(k, words, true);
    sinter_expr kept = sinter_write_let(k, "kept", FORMULA(k, "!a || b >= c", drops, drawn, ratio));
    sinter_expr element = sinter_write_let(k, "x", sinter_lower_element(k, x, at));
    sinter_expr raised =
        sinter_write_cast(k, FORMULA(k, "a / (1 - b)", real(k, element), ratio), compute);
    sinter_expr dropped = sinter_write_number(k, compute, 0);
    sinter_lower_store(
        k, y, at,
        FORMULA(k, "select(a, select(b, c, d), e)", drops, kept, raised, dropped, element));
    if (mask) sinter_lower_store(k, mask, at, kept);
    sinter_kernel_end_loops(k, sinter_write_type(k, x).rank);
    return true;
}
