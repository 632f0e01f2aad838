/* Metrics on small answers, and what can't be scored. */
#include "runtime/jit/score.h"
#include "tests/unit/test.h"

#include <math.h>
#include <stdlib.h>

static sinter_text messages;
static sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &messages};

static sinter_tensor rows(const float *items, int64_t count, int64_t size) {
    sinter_tensor tensor;
    CHECK(sinter_tensor_create(&tensor, SINTER_DTYPE_f32, 2, (int64_t[]){count, size}, &diag));
    memcpy(sinter_tensor_mutable(&tensor), items, sizeof(float) * (size_t)(count * size));
    return tensor;
}

static double score(const char *name, const sinter_answers *a, const sinter_answers *r,
                    const sinter_tensor *labels, int64_t first) {
    sinter_metric_info metric;
    double value = -1;
    CHECK(sinter_metric_parse(name, &metric));
    CHECK(sinter_score(&metric, a, r, labels, first, &value, &diag));
    return value;
}

/* What may be lost of a score of 80, as text; -1: not understood. */
static double drop(const char *name, const char *text) {
    sinter_metric_info metric;
    double loss = -1;
    CHECK(sinter_metric_parse(name, &metric));
    return sinter_metric_parse_drop(&metric, text, 80, &loss) ? loss : -1;
}

static void test_drop(void) {
    CHECK_DOUBLE_EQ(drop("top1", "1%"), 1);
    CHECK_DOUBLE_EQ(drop("agreement", "0.5"), 0.5);
    CHECK_DOUBLE_EQ(drop("perplexity", "10%"), 8);
    CHECK_DOUBLE_EQ(drop("mse", "0.5"), 0.5);
    CHECK_DOUBLE_EQ(drop("mse", "1%"), -1);
    CHECK_DOUBLE_EQ(drop("top1", "-1"), -1);
    CHECK_DOUBLE_EQ(drop("top1", "1 %"), -1);
    CHECK_DOUBLE_EQ(drop("top1", ""), -1);
    CHECK_DOUBLE_EQ(drop("top1", "nan"), -1);
    sinter_metric_info top = {SINTER_METRIC_TOP, 1, NULL};
    sinter_metric_info error = {SINTER_METRIC_SQUARED_ERROR, 1, NULL};
    CHECK_DOUBLE_EQ(sinter_metric_loss(&top, 80, 79), 1);
    CHECK_DOUBLE_EQ(sinter_metric_loss(&error, 0, 2), 2);
}

int main(void) {
    /* two runs of two rows and one */
    static const float got[9] = {1, 3, 2, 5, 4, 4, 0, 0, NAN};
    static const float expected[9] = {1, 3, 2, 4, 5, 4, 2, 0, 0};
    sinter_tensor a[2] = {rows(got, 2, 3), rows(got + 6, 1, 3)};
    sinter_tensor e[2] = {rows(expected, 2, 3), rows(expected + 6, 1, 3)};
    sinter_answers answers = {a, 2}, two = {a, 1}, other = {e, 1};
    sinter_tensor labels;
    CHECK(sinter_tensor_create(&labels, SINTER_DTYPE_i64, 1, (int64_t[]){4}, &diag));
    static const int64_t right[4] = {9, 2, 2, 2};
    for (int i = 0; i < 4; i++) sinter_tensor_set_int(&labels, i, right[i]);
    CHECK_DOUBLE_EQ(score("top1", &two, NULL, &labels, 1), 0);
    CHECK_DOUBLE_EQ(score("top2", &two, NULL, &labels, 1),
                    50); /* of equal ones the first comes first */
    CHECK_DOUBLE_EQ(score("top3", &two, NULL, &labels, 1), 100);
    CHECK(fabs(score("top3", &answers, NULL, &labels, 1) - 200.0 / 3) <
          1e-12); /* NaN is no answer */
    CHECK_DOUBLE_EQ(score("agreement", &two, &other, NULL, 0), 50);
    CHECK_DOUBLE_EQ(score("mse", &two, &other, NULL, 0), 1.0 / 3);
    CHECK(fabs(score("cosine", &two, &other, NULL, 0) - (1 + 56 / 57.0) / 2) < 1e-12);
    CHECK(fabs(score("perplexity", &two, NULL, &labels, 2) -
               exp((log(exp(-1) + 1 + exp(-2)) + 1 + log(1 + 2 * exp(-1)) + 1) / 2)) < 1e-9);
    sinter_metric_info metric;
    double value;
    CHECK(!sinter_metric_parse("top0", &metric) && !sinter_metric_parse("best", &metric));
    CHECK(sinter_metric_parse("top1", &metric));
    CHECK(!sinter_score(&metric, &answers, NULL, &labels, 2, &value, &diag));
    CHECK(strstr(messages.data, "labels: error: 2 for 3 rows of the output"));
    CHECK(!sinter_score(&metric, &two, NULL, &a[0], 0, &value, &diag));
    CHECK(strstr(messages.data, "labels: error: expected integers, found f32"));
    CHECK(!sinter_metric_parse("command:", &metric));
    CHECK(sinter_metric_parse("command:false", &metric));
    CHECK(!sinter_score(&metric, &answers, NULL, NULL, 0, &value, &diag));
    CHECK(strstr(messages.data, "false: error: ended with status 1"));
    CHECK(sinter_metric_parse("command:true", &metric));
    CHECK(!sinter_score(&metric, &answers, NULL, NULL, 0, &value, &diag));
    CHECK(strstr(messages.data, "true: error: expected it to print one number"));
    test_drop();
    for (int i = 0; i < 2; i++) sinter_tensor_deinit(&a[i]), sinter_tensor_deinit(&e[i]);
    sinter_tensor_deinit(&labels);
    sinter_text_deinit(&messages);
    return test_finish();
}
