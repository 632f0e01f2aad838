/* Models measured beside the one that they were made from. Test: tests/cli/compress.test, tests/cli/compress_budget.test */
#include "runtime/jit/judge.h"
#include "frontends/import.h"
#include "ir/base/clock.h"
#include "ir/infer.h"
#include "runtime/jit/inputs.h"
#include <string.h>
#include <sys/stat.h>

enum { LEAST_ROUNDS = 3 };

static sinter_engine *open_original(const sinter_judge *judge, const char *path,
                                    sinter_diag *diag) {
    sinter_module *module = sinter_import_file_bound(path, judge->data.dims, diag);
    return module ? sinter_engine_create(module, judge->data.engine, diag) : NULL;
}

/* What was made of the original: dims that got a number are numbers there, those that got bounds have lost them on the way. */
static sinter_engine *open_made(const sinter_judge *judge, const char *path, sinter_diag *diag) {
    sinter_module *module = sinter_import_file(path, diag);
    for (const char *const *dim = judge->data.dims; module && dim && *dim; dim++) {
        if (!sinter_infer_has_symbol(module, *dim) || sinter_infer_bind_text(module, *dim, diag))
            continue;
        sinter_module_destroy(module);
        module = NULL;
    }
    return module ? sinter_engine_create(module, judge->data.engine, diag) : NULL;
}

static double file_bytes(const char *path) {
    struct stat info;
    sinter_text data = {0};
    double bytes = stat(path, &info) ? 0 : (double)info.st_size;
    sinter_text_format(&data, "%s.data", path); /* weights of large models */
    if (!stat(data.data, &info)) bytes += (double)info.st_size;
    sinter_text_deinit(&data);
    return bytes;
}

/* ---- inputs ---- */

static bool make_input(sinter_module *module, uint32_t index, const int64_t *bindings,
                       sinter_tensor *out, sinter_diag *diag) {
    const sinter_type *type = sinter_value_type(module, sinter_module_input(module, index));
    const char *name = sinter_module_input_name(module, index);
    int64_t dims[SINTER_MAX_RANK];
    if (type->kind != SINTER_TYPE_TENSOR)
        return sinter_error(diag, name, "is not a tensor: samples are needed");
    for (uint32_t i = 0; i < type->rank; i++)
        if (!sinter_dim_evaluate(sinter_module_dims(module), type->dims[i], bindings, &dims[i]))
            return sinter_error(diag, name, "its shape is not known: samples are needed");
    return sinter_tensor_create(out, type->dtype, type->rank, dims, diag);
}

/* Symbolic dims are 1, or the least that they may be. */
static bool make_inputs(sinter_judge *judge, sinter_diag *diag) {
    sinter_module *module = sinter_engine_module(judge->original);
    uint64_t state = 1;
    bool good = true;
    sinter_arena arena;
    sinter_arena_init(&arena);
    const int64_t *bindings = sinter_dim_assume(sinter_module_dims(module), &arena, 1);
    for (uint32_t i = 0; i < judge->input_count && good; i++) {
        good = make_input(module, i, bindings, &judge->inputs[i], diag);
        if (good) sinter_inputs_fill(&judge->inputs[i], &state);
    }
    sinter_arena_deinit(&arena);
    return good;
}

/* One sample, or as many as the model takes at once. */
static bool bind_inputs(sinter_judge *judge, sinter_diag *diag) {
    judge->input_count = sinter_engine_input_count(judge->original);
    judge->inputs = sinter_heap_alloc((judge->input_count + 1) * sizeof *judge->inputs);
    if (!judge->data.samples) return make_inputs(judge, diag);
    sinter_samples *one =
        sinter_samples_slice(judge->data.samples, 0, sinter_samples_step(judge->data.samples));
    sinter_samples_run_inputs(one, 0, judge->inputs);
    sinter_samples_destroy(one);
    return true;
}

/* ---- times ---- */

static bool run_once(const sinter_judge *judge, sinter_engine *engine, double *out_seconds,
                     sinter_diag *diag) {
    size_t count = sinter_engine_output_count(engine);
    sinter_tensor *outputs = sinter_heap_alloc((count + 1) * sizeof *outputs);
    double begin = sinter_clock_seconds();
    bool good = sinter_engine_run(engine, judge->inputs, outputs, diag);
    *out_seconds = sinter_clock_seconds() - begin;
    sinter_tensors_deinit(outputs, count);
    sinter_heap_free(outputs);
    return good;
}

bool sinter_judge_race(const sinter_judge *judge, sinter_engine *const engines[2], double seconds,
                       double out_seconds[2], sinter_diag *diag) {
    double start = sinter_clock_seconds(), taken = 0;
    for (int round = 0; round < LEAST_ROUNDS || sinter_clock_seconds() - start < seconds; round++)
        for (int i = 0; i < 2; i++) {
            if (!run_once(judge, engines[i], &taken, diag)) return false;
            if (!round || taken < out_seconds[i]) out_seconds[i] = taken;
        }
    return true;
}

/* ---- scores ---- */

static bool score(const sinter_judge *judge, const sinter_answers *answers, double *out_score,
                  sinter_diag *diag) {
    const sinter_judge_data *data = &judge->data;
    return sinter_score(&data->metric, answers, &judge->answers, data->labels,
                        (int64_t)data->first_sample, out_score, diag);
}

static bool score_engine(const sinter_judge *judge, sinter_engine *engine, double *out_score,
                         sinter_diag *diag) {
    sinter_answers answers;
    *out_score = 0;
    if (!judge->data.samples) return true;
    if (!sinter_answers_collect(engine, judge->data.output, judge->data.samples, &answers, diag))
        return false;
    bool good = score(judge, &answers, out_score, diag);
    sinter_answers_deinit(&answers);
    return good;
}

bool sinter_judge_open(sinter_judge *out_judge, const sinter_judge_data *data, const char *path,
                       sinter_diag *diag) {
    sinter_judge *judge = out_judge;
    *judge = (sinter_judge){.data = *data};
    judge->of_original.bytes = file_bytes(path);
    judge->original = open_original(judge, path, diag);
    bool good = judge->original && bind_inputs(judge, diag);
    if (good && data->samples)
        good = sinter_answers_collect(judge->original, data->output, data->samples, &judge->answers,
                                      diag) &&
               score(judge, &judge->answers, &judge->of_original.score, diag);
    if (!good) sinter_judge_close(judge);
    return good;
}

void sinter_judge_close(sinter_judge *judge) {
    for (size_t i = 0; i < judge->input_count; i++)
        if (judge->inputs[i].kind) sinter_tensor_deinit(&judge->inputs[i]);
    sinter_heap_free(judge->inputs);
    if (judge->answers.runs) sinter_answers_deinit(&judge->answers);
    sinter_engine_destroy(judge->original);
    *judge = (sinter_judge){0};
}

bool sinter_judge_measure(sinter_judge *judge, const char *path, double seconds,
                          sinter_judged *out_original, sinter_judged *out_judged,
                          sinter_diag *diag) {
    double times[2];
    sinter_engine *engine = open_made(judge, path, diag);
    if (!engine) return false;
    sinter_engine *const engines[2] = {judge->original, engine};
    *out_judged = (sinter_judged){.bytes = file_bytes(path)};
    bool good = score_engine(judge, engine, &out_judged->score, diag) &&
                sinter_judge_race(judge, engines, seconds, times, diag);
    *out_original = judge->of_original;
    if (good) {
        out_original->seconds = times[0];
        out_judged->seconds = times[1];
    }
    sinter_engine_destroy(engine);
    return good;
}
