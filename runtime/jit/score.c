/* Metrics. Test: tests/unit/score_test.c */
#include "runtime/jit/score.h"
#include "frontends/import.h"
#include "ir/base/file.h"
#include "ir/base/process.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

const char sinter_metric_names[] =
    "top1, top5, ..., agreement, cosine, mse, perplexity or command:PROGRAM";

bool sinter_metric_parse(const char *text, sinter_metric_info *out_metric) {
    static const struct {
        const char *name;
        sinter_metric kind;
    } names[] = {{"agreement", SINTER_METRIC_AGREEMENT},
                 {"cosine", SINTER_METRIC_COSINE},
                 {"mse", SINTER_METRIC_SQUARED_ERROR},
                 {"perplexity", SINTER_METRIC_PERPLEXITY}};
    static const char command[] = "command:";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(text, names[i].name)) {
            *out_metric = (sinter_metric_info){names[i].kind, 1, NULL};
            return true;
        }
    if (!strncmp(text, command, strlen(command))) {
        *out_metric = (sinter_metric_info){SINTER_METRIC_COMMAND, 1, text + strlen(command)};
        return *out_metric->command != 0;
    }
    char *end = NULL;
    if (strncmp(text, "top", 3)) return false;
    long long k = strtoll(text + 3, &end, 10);
    *out_metric = (sinter_metric_info){SINTER_METRIC_TOP, k, NULL};
    return end != text + 3 && !*end && k >= 1 && k < 1 << 20;
}

bool sinter_metric_needs_labels(const sinter_metric_info *metric) {
    return metric->kind == SINTER_METRIC_TOP || metric->kind == SINTER_METRIC_PERPLEXITY;
}

static bool is_percentage(const sinter_metric_info *metric) {
    return metric->kind == SINTER_METRIC_TOP || metric->kind == SINTER_METRIC_AGREEMENT;
}

void sinter_metric_print(const sinter_metric_info *metric, double score, sinter_text *text) {
    sinter_text_format(text, is_percentage(metric) ? "%.2f %%" : "%.6g", score);
}

double sinter_metric_loss(const sinter_metric_info *metric, double original, double score) {
    bool less_is_better =
        metric->kind == SINTER_METRIC_SQUARED_ERROR || metric->kind == SINTER_METRIC_PERPLEXITY;
    return less_is_better ? score - original : original - score;
}

bool sinter_metric_parse_drop(const sinter_metric_info *metric, const char *text, double original,
                              double *out_loss) {
    char *end = NULL;
    double number = strtod(text, &end);
    bool is_share = *end == '%' && !end[1];
    if (end == text || (*end && !is_share) || !isfinite(number) || number < 0) return false;
    *out_loss = is_share && !is_percentage(metric) ? number / 100 * fabs(original) : number;
    return !is_share || metric->kind != SINTER_METRIC_SQUARED_ERROR;
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
        sinter_tensors_deinit(inputs, in);
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
    sinter_tensors_deinit(answers->runs, answers->count);
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

/* -log softmax(row)[label]; infinite where the label is none of the row's. */
static double surprise(const row *r, int64_t label) {
    double sum = 0, highest = at(r, largest(r));
    if (label < 0 || label >= r->size) return INFINITY;
    for (int64_t i = 0; i < r->size; i++) sum += exp(at(r, i) - highest);
    return log(sum) + highest - at(r, label);
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
    case SINTER_METRIC_PERPLEXITY:
        return surprise(answer, label);
    case SINTER_METRIC_COMMAND:
        break;
    }
    return 0;
}

/* ---- a program's score ---- */

/* All answers along the first axis. */
static bool join_answers(const sinter_answers *answers, sinter_tensor *out_all, sinter_diag *diag) {
    const sinter_tensor *first = &answers->runs[0];
    int64_t dims[SINTER_MAX_RANK] = {0};
    bool fits = first->rank > 0;
    for (uint32_t axis = 1; axis < first->rank; axis++) dims[axis] = first->dims[axis];
    for (size_t i = 0; i < answers->count && fits; i++) {
        const sinter_tensor *a = &answers->runs[i];
        fits = a->rank == first->rank &&
               !memcmp(a->dims + 1, dims + 1, (first->rank - 1) * sizeof *dims);
        dims[0] += fits ? a->dims[0] : 0;
    }
    if (!fits)
        return sinter_error(diag, "score",
                            "the answers of the runs can't be put one after the other: their "
                            "shapes differ by more than the first axis");
    if (!sinter_tensor_create(out_all, first->dtype, first->rank, dims, diag)) return false;
    char *to = sinter_tensor_mutable(out_all);
    for (size_t i = 0; i < answers->count; i++) {
        size_t bytes = sinter_tensor_bytes(&answers->runs[i]);
        memcpy(to, answers->runs[i].data, bytes);
        to += bytes;
    }
    return true;
}

static bool read_number(const char *command, const char *path, double *out_score,
                        sinter_diag *diag) {
    sinter_text said = {0};
    char *end = NULL;
    bool good = sinter_file_read_text(path, &said, diag);
    if (good) {
        const char *text = said.data ? said.data : "";
        *out_score = strtod(text, &end);
        good = end != text && !end[strspn(end, " \t\r\n")] && isfinite(*out_score);
        if (!good)
            sinter_error(diag, command, "expected it to print one number, it said '%.*s'",
                         (int)strcspn(text, "\n"), text);
    }
    sinter_text_deinit(&said);
    return good;
}

static bool run_command(const char *command, const char *folder, const sinter_tensor *all,
                        double *out_score, sinter_diag *diag) {
    char answers[SINTER_FILE_FOLDER_BYTES + 16], said[SINTER_FILE_FOLDER_BYTES + 16];
    snprintf(answers, sizeof answers, "%s/answers.npy", folder);
    snprintf(said, sizeof said, "%s/said", folder);
    if (!sinter_tensor_write_file(answers, all, diag)) return false;
    const char *const arguments[] = {command, answers, NULL};
    int status = 0, error = sinter_process_run(arguments, folder, said, &status);
    if (error) return sinter_error(diag, command, "can't be started: %s", strerror(error));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return sinter_error(diag, command, "ended with status %d",
                            WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    return read_number(command, said, out_score, diag);
}

static bool score_by_command(const sinter_metric_info *metric, const sinter_answers *answers,
                             double *out_score, sinter_diag *diag) {
    char folder[SINTER_FILE_FOLDER_BYTES];
    sinter_tensor all;
    if (!join_answers(answers, &all, diag)) return false;
    bool good = sinter_file_make_folder(folder, diag);
    if (good) {
        good = run_command(metric->command, folder, &all, out_score, diag);
        sinter_file_remove_folder(folder);
    }
    sinter_tensor_deinit(&all);
    return good;
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
    if (metric->kind == SINTER_METRIC_COMMAND)
        return score_by_command(metric, answers, out_score, diag);
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
    if (metric->kind == SINTER_METRIC_PERPLEXITY) *out_score = exp(*out_score);
    return true;
}
