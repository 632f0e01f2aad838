/* Ranks that are processes: the first one is who runs them, the others serve it. For each run it sends them what they have of the
 * inputs, takes part itself, and gets what they have of the outputs. Test: tests/suites/mpi.py */
#include "runtime/jit/messages.h"
#include "runtime/jit/ranks_internal.h"

typedef sinter_message_head head;

/* ---- who leads ---- */

static bool deliver(sinter_ranks *r, int64_t rank, const sinter_tensor *inputs,
                    sinter_message_delivery *d, sinter_diag *diag) {
    sinter_messages_init_delivery(d, r->input_count);
    if (!sinter_ranks_cut_inputs(r, rank, inputs, d->tensors, diag)) return false;
    for (size_t i = 0; i < r->input_count; i++)
        if (!sinter_messages_describe(&d->tensors[i], r->inputs[i].name, &d->heads[i], diag))
            return false;
    return sinter_messages_deliver(r->job, rank, r->lanes != NULL, 1, d, diag);
}

static bool run_own(sinter_ranks *r, const sinter_tensor *parts, sinter_tensor *results,
                    sinter_diag *diag) {
    sinter_engine *engine = r->engines[r->own];
    sinter_peers peers;
    sinter_job_peers(r->job, &peers);
    sinter_engine_set_services(
        engine, sinter_ranks_get_services(r, r->own, sinter_job_services(r->job), &peers));
    return sinter_engine_report(sinter_job_start_run(r->job), sinter_job_name(r->job), diag) &&
           sinter_engine_run(engine, parts, results, diag) &&
           sinter_engine_report(sinter_job_end_run(r->job), sinter_job_name(r->job), diag);
}

/* Of all ranks but the first. */
static bool collect(sinter_ranks *r, sinter_tensor *results, sinter_diag *diag) {
    size_t outputs = r->output_count, count = (size_t)r->count;
    head *heads = sinter_heap_alloc((count * outputs + 1) * sizeof *heads);
    bool good = true;
    for (size_t rank = 1; good && rank < count; rank++)
        good = sinter_messages_receive(r->job, (int64_t)rank, heads + rank * outputs,
                                       outputs * sizeof *heads, diag) &&
               sinter_messages_pause(r->job, rank, "the outputs", diag);
    good = good && sinter_messages_finish(r->job, "the outputs", diag);
    for (size_t rank = 1; good && rank < count; rank++)
        good = sinter_messages_receive_tensors(r->job, (int64_t)rank, heads + rank * outputs,
                                               results + rank * outputs, outputs, diag) &&
               sinter_messages_pause(r->job, rank, "the outputs", diag);
    good = good && sinter_messages_finish(r->job, "the outputs", diag);
    if (good) sinter_heap_free(heads);
    return good;
}

/* What all ranks but the first did when. */
static bool collect_lanes(sinter_ranks *r, sinter_diag *diag) {
    bool good = true;
    for (int64_t rank = 1; r->lanes && good && rank < r->count; rank++)
        good = sinter_trace_receive(r->job, rank, r->lanes[rank], diag);
    return good;
}

bool sinter_ranks_lead(sinter_ranks *r, const sinter_tensor *inputs, sinter_tensor *out_outputs,
                       sinter_diag *diag) {
    size_t count = (size_t)r->count;
    sinter_message_delivery *deliveries = sinter_heap_alloc(count * sizeof *deliveries);
    sinter_tensor *parts = sinter_heap_alloc((r->input_count + 1) * sizeof *parts);
    sinter_tensor *results = sinter_heap_alloc((count * r->output_count + 1) * sizeof *results);
    bool good =
        !r->failed || sinter_error(diag, sinter_job_name(r->job), "the job has failed already");
    for (size_t rank = 1; good && rank < count; rank++)
        good = deliver(r, (int64_t)rank, inputs, &deliveries[rank], diag) &&
               sinter_messages_pause(r->job, rank, "the inputs", diag);
    good = good && sinter_ranks_cut_inputs(r, 0, inputs, parts, diag);
    good = good && sinter_messages_finish(r->job, "the inputs", diag);
    good = good && run_own(r, parts, results, diag) && collect(r, results, diag) &&
           collect_lanes(r, diag) && sinter_ranks_join_outputs(r, results, out_outputs, diag);
    r->failed = r->failed || !good;
    if (r->failed)
        return false; /* memory of messages under way stays: the job ends with the process */
    for (size_t rank = 1; rank < count; rank++) sinter_messages_deinit_delivery(&deliveries[rank]);
    sinter_tensors_destroy(parts, r->input_count);
    sinter_tensors_destroy(results, count * r->output_count);
    sinter_heap_free(deliveries);
    return good;
}

/* ---- who serves ---- */

static bool serve_outputs(sinter_ranks *r, const head *heads, sinter_diag *diag) {
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
    if (!good) return false;
    sinter_tensors_destroy(parts, r->input_count);
    sinter_tensors_destroy(results, r->output_count);
    sinter_heap_free(given);
    return true;
}

static bool serve_run(void *user, const sinter_message_order *order, const head *heads,
                      sinter_diag *diag) {
    sinter_ranks *r = user;
    sinter_trace trace;
    if (!order->is_traced) return serve_outputs(r, heads, diag);
    sinter_trace_init(&trace);
    sinter_ranks_set_trace(r, &trace, "");
    bool good = serve_outputs(r, heads, diag) && sinter_trace_send(r->job, r->lanes[r->own], diag);
    if (!good) return false; /* the others may still read the lane */
    sinter_ranks_set_trace(r, NULL, "");
    sinter_trace_deinit(&trace);
    return true;
}

bool sinter_ranks_serve(sinter_ranks *r, sinter_diag *diag) {
    bool good = sinter_messages_serve(r->job, r->input_count, serve_run, r, diag);
    r->failed = r->failed || !good;
    return good;
}

bool sinter_ranks_serves(const sinter_ranks *r) {
    return r->job && sinter_job_rank(r->job) != 0;
}

void sinter_ranks_end_job(sinter_ranks *r) {
    if (!r->job) return;
    if (!sinter_ranks_serves(r) && !r->failed && r->count == sinter_job_rank_count(r->job)) {
        sinter_diag quiet = {0};
        bool good = true;
        for (int64_t rank = 1; good && rank < r->count; rank++)
            good = sinter_messages_deliver_end(r->job, rank, &quiet) &&
                   sinter_messages_pause(r->job, (size_t)rank, "the end", &quiet);
        r->failed = !good || !sinter_messages_finish(r->job, "the end", &quiet);
    }
    sinter_job_close(r->job, r->failed);
    r->job = NULL;
}
