/* Metrics. Test: tests/unit/score_test.c */
#include "runtime/jit/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool sinter_metric_parse(const char *text, sinter_metric_info *out_metric) {
    static const struct {
        const char *name;
        sinter_metric kind;
    } names[] = {{"agreement", SINTER_METRIC_AGREEMENT},
                 {"cosine", SINTER_METRIC_COSINE},
                 {"mse", SINTER_METRIC_SQUARED_ERROR}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(text, names[i].name)) {
            *out_metric = (sinter_metric_info){names[i].kind, 1};
            return true;
        }
    char *end = NULL;
    if (strncmp(text, "top", 3)) return false;
    long long k = strtoll(text + 3, &end, 10);
    *out_metric = (sinter_metric_info){SINTER_METRIC_TOP, k};
    return end != text + 3 && !*end && k >= 1 && k < 1 << 20;
}

bool sinter_metric_needs_labels(const sinter_metric_info *metric) {
    return metric->kind == SINTER_METRIC_TOP;
}

void sinter_metric_print(const sinter_metric_info *metric, double score, sinter_text *text) {
    if (metric->kind == SINTER_METRIC_TOP || metric->kind == SINTER_METRIC_AGREEMENT)
        sinter_text_format(text, "%.2f %%", score);
    else
        sinter_text_format(text, "%.6g", score);
}

/* ---- answers ---- */

bool sinter_answers_collect(sinter_engine *engine, size_t output, const sinter_samples *samples,
                            sinter_answers *out_answers, sinter_diag *diag) {
    size_t output_count = sinter_engine_output_count(engine);
    size_t runs = sinter_samples_run_count(samples), in = sinter_samples_input_count(samples);
    sinter_tensor *inputs = sinter_heap_alloc((in + 1) * sizeof *inputs);
    sinter_tensor *outputs = sinter_heap_alloc((output_count + 1) * sizeof *outputs);
    *out_answers = (sinter_answers){sinter_heap_alloc((runs + 1) * sizeof(sinter_tensor)), 0};
    bool good = true;
    while (out_answers->count < runs && good) {
        sinter_samples_run_inputs(samples, out_answers->count, inputs);
        for (size_t i = 0; i < output_count; i++) outputs[i] = (sinter_tensor){0};
        good = sinter_engine_run(engine, inputs, outputs, diag);
        for (size_t i = 0; i < in; i++) sinter_tensor_deinit(&inputs[i]);
        for (size_t i = 0; i < output_count; i++)
            if (i == output && good)
                out_answers->runs[out_answers->count++] = outputs[i];
            else
                sinter_tensor_deinit(&outputs[i]);
    }
    sinter_heap_free(inputs);
    sinter_heap_free(outputs);
    if (!good) sinter_answers_deinit(out_answers);
    return good;
}

void sinter_answers_deinit(sinter_answers *answers) {
    for (size_t i = 0; i < answers->count; i++) sinter_tensor_deinit(&answers->runs[i]);
    sinter_heap_free(answers->runs);
    *answers = (sinter_answers){0};
}

/* ---- rows ---- */

typedef struct row {
    const sinter_tensor *tensor;
    int64_t first, size;
} row;

static double at(const row *r, int64_t i) {
    if (r->tensor->dtype == SINTER_DTYPE_f32)
        return (double)((const float *)r->tensor->data)[r->first + i];
    return sinter_tensor_get_double(r->tensor, r->first + i);
}

static int64_t largest(const row *r) {
    int64_t best = 0;
    for (int64_t i = 1; i < r->size; i++)
        if (at(r, i) > at(r, best)) best = i;
    return best;
}

/* Whether fewer than k elements come before that of the label: larger ones, and equal ones with a smaller index. */
static bool in_top(const row *r, int64_t label, int64_t k) {
    int64_t before = 0;
    if (label < 0 || label >= r->size || isnan(at(r, label))) return false;
    for (int64_t i = 0; i < r->size; i++)
        before += at(r, i) > at(r, label) || (i < label && at(r, i) == at(r, label));
    return before < k;
}

static double cosine(const row *a, const row *b) {
    double dot = 0, aa = 0, bb = 0;
    for (int64_t i = 0; i < a->size; i++) {
        dot += at(a, i) * at(b, i);
        aa += at(a, i) * at(a, i);
        bb += at(b, i) * at(b, i);
    }
    return aa > 0 && bb > 0 ? dot / sqrt(aa * bb) : aa == bb;
}

static double score_row(const sinter_metric_info *metric, const row *answer, const row *reference,
                        int64_t label) {
    double sum = 0;
    switch (metric->kind) {
    case SINTER_METRIC_TOP:
        return in_top(answer, label, metric->k) ? 100 : 0;
    case SINTER_METRIC_AGREEMENT:
        return largest(answer) == largest(reference) ? 100 : 0;
    case SINTER_METRIC_COSINE:
        return cosine(answer, reference);
    case SINTER_METRIC_SQUARED_ERROR:
        for (int64_t i = 0; i < answer->size; i++) {
            double difference = at(answer, i) - at(reference, i);
            sum += difference * difference;
        }
        return sum / (double)answer->size;
    }
    return 0;
}

/* ---- all ---- */

static int64_t rows_of(const sinter_tensor *tensor) {
    int64_t size = tensor->rank ? tensor->dims[tensor->rank - 1] : 1;
    return size ? sinter_tensor_count(tensor) / size : 0;
}

static bool check(const sinter_answers *answers, const sinter_answers *reference,
                  const sinter_tensor *labels, int64_t first_label, sinter_diag *diag) {
    int64_t rows = 0;
    for (size_t i = 0; i < answers->count; i++) {
        const sinter_tensor *a = &answers->runs[i], *r = reference ? &reference->runs[i] : a;
        if (a->kind != SINTER_TYPE_TENSOR || a->dtype == SINTER_DTYPE_string)
            return sinter_error(diag, "score", "the output is no tensor of numbers");
        if (a->rank != r->rank || memcmp(a->dims, r->dims, a->rank * sizeof *a->dims) != 0)
            return sinter_error(diag, "score", "the outputs to compare differ in shape");
        rows += rows_of(a);
    }
    if (!rows) return sinter_error(diag, "score", "the outputs are empty");
    if (!labels) return true;
    if (!sinter_dtype_is_integer(labels->dtype))
        return sinter_error(diag, "labels", "expected integers, found %s",
                            sinter_dtype_infos[labels->dtype].name);
    int64_t count = sinter_tensor_count(labels) - first_label;
    return count >= rows || sinter_error(diag, "labels", "%lld for %lld rows of the output",
                                         (long long)count, (long long)rows);
}

bool sinter_score(const sinter_metric_info *metric, const sinter_answers *answers,
                  const sinter_answers *reference, const sinter_tensor *labels, int64_t first_label,
                  double *out_score, sinter_diag *diag) {
    double sum = 0;
    int64_t count = 0;
    if (sinter_metric_needs_labels(metric))
        reference = NULL;
    else
        labels = NULL;
    if (!check(answers, reference, labels, first_label, diag)) return false;
    for (size_t i = 0; i < answers->count; i++) {
        const sinter_tensor *a = &answers->runs[i], *r = reference ? &reference->runs[i] : a;
        int64_t size = a->rank ? a->dims[a->rank - 1] : 1;
        for (int64_t k = 0; k < rows_of(a); k++, count++) {
            row answer = {a, k * size, size}, other = {r, k * size, size};
            int64_t label = labels ? sinter_tensor_get_int(labels, first_label + count) : 0;
            sum += score_row(metric, &answer, &other, label);
        }
    }
    *out_score = sum / (double)count;
    return true;
}
