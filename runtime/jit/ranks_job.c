/* Ranks that are processes: the first one is who runs them, the others serve it. For each run it sends them what they have of the
 * inputs, takes part itself, and gets what they have of the outputs. Test: tests/suites/mpi.py */
#include "runtime/jit/messages.h"
#include "runtime/jit/ranks_internal.h"

#include <stdlib.h>
#include <string.h>

typedef sinter_message_order order;
typedef sinter_message_head head;

static void clear(sinter_tensor *tensors, size_t count) {
    for (size_t i = 0; i < count; i++) sinter_tensor_deinit(&tensors[i]);
    sinter_heap_free(tensors);
}

/* ---- who leads ---- */

/* What one other process gets; lives until it is sent. */
typedef struct delivery {
    sinter_tensor *parts;
    char *words; /* an order, then heads */
} delivery;

static size_t order_bytes(size_t tensors) {
    return sizeof(order) + tensors * sizeof(head);
}

static bool deliver(sinter_ranks *r, int64_t rank, const sinter_tensor *inputs, delivery *d,
                    sinter_diag *diag) {
    const order run = {SINTER_MESSAGE_RUN};
    d->parts = sinter_heap_alloc((r->input_count + 1) * sizeof *d->parts);
    d->words = sinter_heap_alloc(order_bytes(r->input_count));
    memcpy(d->words, &run, sizeof run);
    head *heads = (head *)(void *)(d->words + sizeof run);
    if (!sinter_ranks_cut_inputs(r, rank, inputs, d->parts, diag)) return false;
    for (size_t i = 0; i < r->input_count; i++)
        if (!sinter_messages_describe(&d->parts[i], r->inputs[i].name, &heads[i], diag))
            return false;
    return sinter_messages_send(r->job, rank, d->words, order_bytes(r->input_count), diag) &&
           sinter_messages_send_tensors(r->job, rank, heads, d->parts, r->input_count, diag);
}

static bool run_own(sinter_ranks *r, const sinter_tensor *parts, sinter_tensor *results,
                    sinter_diag *diag) {
    sinter_engine *engine = r->engines[r->own];
    sinter_engine_set_services(engine, sinter_job_services(r->job));
    return sinter_engine_report(sinter_job_start_run(r->job), "ranks", diag) &&
           sinter_engine_run(engine, parts, results, diag) &&
           sinter_engine_report(sinter_job_end_run(r->job), "ranks", diag);
}

/* Of all ranks but the first. */
static bool collect(sinter_ranks *r, sinter_tensor *results, sinter_diag *diag) {
    size_t outputs = r->output_count, count = (size_t)r->count;
    head *heads = sinter_heap_alloc((count * outputs + 1) * sizeof *heads);
    bool good = true;
    for (size_t rank = 1; good && rank < count; rank++)
        good = sinter_messages_receive(r->job, (int64_t)rank, heads + rank * outputs,
                                       outputs * sizeof *heads, diag);
    good = good && sinter_messages_finish(r->job, "the outputs", diag);
    for (size_t rank = 1; good && rank < count; rank++)
        good = sinter_messages_receive_tensors(r->job, (int64_t)rank, heads + rank * outputs,
                                               results + rank * outputs, outputs, diag);
    good = good && sinter_messages_finish(r->job, "the outputs", diag);
    if (good) sinter_heap_free(heads);
    return good;
}

bool sinter_ranks_lead(sinter_ranks *r, const sinter_tensor *inputs, sinter_tensor *out_outputs,
                       sinter_diag *diag) {
    size_t count = (size_t)r->count;
    delivery *deliveries = sinter_heap_alloc(count * sizeof *deliveries);
    sinter_tensor *parts = sinter_heap_alloc((r->input_count + 1) * sizeof *parts);
    sinter_tensor *results = sinter_heap_alloc((count * r->output_count + 1) * sizeof *results);
    bool good = !r->failed || sinter_error(diag, "ranks", "the job has failed already");
    for (size_t rank = 1; good && rank < count; rank++)
        good = deliver(r, (int64_t)rank, inputs, &deliveries[rank], diag);
    good = good && sinter_ranks_cut_inputs(r, 0, inputs, parts, diag);
    good = good && sinter_messages_finish(r->job, "the inputs", diag);
    good = good && run_own(r, parts, results, diag) && collect(r, results, diag) &&
           sinter_ranks_join_outputs(r, results, out_outputs, diag);
    r->failed = r->failed || !good;
    if (r->failed)
        return false; /* memory of messages under way stays: the job ends with the process */
    for (size_t rank = 1; rank < count; rank++) {
        clear(deliveries[rank].parts, r->input_count);
        sinter_heap_free(deliveries[rank].words);
    }
    clear(parts, r->input_count);
    clear(results, count * r->output_count);
    sinter_heap_free(deliveries);
    return good;
}

/* ---- who serves ---- */

static bool serve_run(sinter_ranks *r, const head *heads, sinter_diag *diag) {
    sinter_tensor *parts = sinter_heap_alloc((r->input_count + 1) * sizeof *parts);
    sinter_tensor *results = sinter_heap_alloc((r->output_count + 1) * sizeof *results);
    head *given = sinter_heap_alloc((r->output_count + 1) * sizeof *given);
    bool good = sinter_messages_receive_tensors(r->job, 0, heads, parts, r->input_count, diag) &&
                sinter_messages_finish(r->job, "the inputs", diag) &&
                run_own(r, parts, results, diag);
    for (size_t i = 0; good && i < r->output_count; i++)
        good = sinter_messages_describe(&results[i], r->outputs[i].name, &given[i], diag);
    good = good && sinter_messages_send(r->job, 0, given, r->output_count * sizeof *given, diag) &&
           sinter_messages_send_tensors(r->job, 0, given, results, r->output_count, diag) &&
           sinter_messages_finish(r->job, "the outputs", diag);
    r->failed = r->failed || !good;
    if (r->failed) return false;
    clear(parts, r->input_count);
    clear(results, r->output_count);
    sinter_heap_free(given);
    return true;
}

bool sinter_ranks_serve(sinter_ranks *r, sinter_diag *diag) {
    char *words = sinter_heap_alloc(order_bytes(r->input_count));
    order next = {0};
    bool good = true;
    while (good) {
        good = sinter_messages_receive(r->job, 0, words, order_bytes(r->input_count), diag) &&
               sinter_messages_finish(r->job, "the next run", diag);
        if (good) memcpy(&next, words, sizeof next);
        if (!good || next.what == SINTER_MESSAGE_END) break;
        good = serve_run(r, (const head *)(const void *)(words + sizeof next), diag);
    }
    r->failed = r->failed || !good;
    if (good) sinter_heap_free(words);
    return good;
}

bool sinter_ranks_serves(const sinter_ranks *r) {
    return r->job && sinter_job_rank(r->job) != 0;
}

void sinter_ranks_end_job(sinter_ranks *r) {
    if (!r->job) return;
    if (!sinter_ranks_serves(r) && !r->failed && r->count == sinter_job_rank_count(r->job)) {
        const order end = {SINTER_MESSAGE_END};
        char *words = sinter_heap_alloc(order_bytes(r->input_count));
        sinter_diag quiet = {0};
        memcpy(words, &end, sizeof end);
        bool good = true;
        for (int64_t rank = 1; good && rank < r->count; rank++)
            good = sinter_messages_send(r->job, rank, words, order_bytes(r->input_count), &quiet);
        r->failed = !good || !sinter_messages_finish(r->job, "the end", &quiet);
        if (!r->failed) sinter_heap_free(words);
    }
    sinter_job_close(r->job, r->failed);
    r->job = NULL;
}
