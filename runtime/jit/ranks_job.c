/* Ranks that are processes: the first one is who runs them, the others serve it. For each run it sends them what they have of the
 * inputs, takes part itself, and gets what they have of the outputs. Test: tests/suites/mpi.py */
#include "runtime/jit/ranks_internal.h"

#include <stdlib.h>
#include <string.h>

enum { ORDER_RUN = 1, ORDER_END = 2, PROTOCOL = 1 };

/* Ahead of the elements of a tensor. */
typedef struct head {
    int64_t dtype, rank, dims[SINTER_ABI_MAX_RANK];
    uint64_t bytes;
} head;

/* Ahead of the tensors of a run: what to do; then a head for each. */
typedef struct order {
    int64_t what;
} order;

static bool report(sinter_ranks *r, sinter_status *status, sinter_diag *diag) {
    if (!status) return true;
    r->failed = true;
    return sinter_engine_report(status, "ranks", diag);
}

/* ---- tensors as messages ---- */

static bool describe(const sinter_tensor *tensor, const char *name, head *out_head,
                     sinter_diag *diag) {
    if (tensor->kind != SINTER_TYPE_TENSOR || tensor->dtype == SINTER_DTYPE_string)
        return sinter_error(diag, name, "tensors of numbers only can be sent to other processes");
    *out_head = (head){.dtype = sinter_dtype_infos[tensor->dtype].onnx_code,
                       .rank = tensor->rank,
                       .bytes = sinter_tensor_bytes(tensor)};
    memcpy(out_head->dims, tensor->dims, tensor->rank * sizeof *tensor->dims);
    return true;
}

/* Room for what the head says. */
static bool make(const head *h, sinter_tensor *out_tensor, sinter_diag *diag) {
    sinter_dtype dtype = sinter_dtype_from_onnx((int32_t)h->dtype);
    if (dtype == SINTER_DTYPE_NONE || h->rank < 0 || h->rank > SINTER_MAX_RANK)
        return sinter_error(diag, "ranks", "another process sends a tensor of type %lld, rank %lld",
                            (long long)h->dtype, (long long)h->rank);
    if (!sinter_tensor_create(out_tensor, dtype, (uint32_t)h->rank, h->dims, diag)) return false;
    if (sinter_tensor_bytes(out_tensor) == h->bytes) return true;
    sinter_tensor_deinit(out_tensor);
    return sinter_error(diag, "ranks",
                        "another process sends %llu bytes for a tensor of another "
                        "size",
                        (unsigned long long)h->bytes);
}

/* The words, which stay until finish, then the tensors. */
static bool send_all(sinter_ranks *r, int64_t to, void *words, size_t word_bytes, const head *heads,
                     const sinter_tensor *tensors, size_t count, sinter_diag *diag) {
    if (!report(r, sinter_job_send(r->job, to, words, word_bytes), diag)) return false;
    for (size_t i = 0; i < count; i++)
        if (!report(r, sinter_job_send(r->job, to, tensors[i].data, heads[i].bytes), diag))
            return false;
    return true;
}

static bool receive_all(sinter_ranks *r, int64_t from, const head *heads, sinter_tensor *tensors,
                        size_t count, sinter_diag *diag) {
    for (size_t i = 0; i < count; i++)
        if (!make(&heads[i], &tensors[i], diag) ||
            !report(r,
                    sinter_job_receive(r->job, from, sinter_tensor_mutable(&tensors[i]),
                                       heads[i].bytes),
                    diag))
            return false;
    return true;
}

static void clear(sinter_tensor *tensors, size_t count) {
    for (size_t i = 0; i < count; i++) sinter_tensor_deinit(&tensors[i]);
    sinter_heap_free(tensors);
}

/* ---- the start ---- */

bool sinter_ranks_agree(sinter_ranks *r, sinter_diag *diag) {
    const uint64_t own[] = {PROTOCOL, SINTER_ABI_VERSION, r->hash};
    size_t count = (size_t)sinter_job_rank_count(r->job);
    if (sinter_job_rank(r->job))
        return report(r, sinter_job_send(r->job, 0, own, sizeof own), diag) &&
               report(r, sinter_job_finish(r->job, "the start"), diag);
    uint64_t(*others)[3] = sinter_heap_alloc(count * sizeof *others);
    bool good = true;
    for (size_t rank = 1; good && rank < count; rank++)
        good = report(r, sinter_job_receive(r->job, (int64_t)rank, others[rank], sizeof own), diag);
    good = good && report(r, sinter_job_finish(r->job, "the start"), diag);
    for (size_t rank = 1; good && rank < count; rank++)
        if (memcmp(others[rank], own, sizeof own) != 0)
            good = sinter_error(
                diag, "ranks", "rank %zu has %s than rank 0: give all processes one folder", rank,
                others[rank][2] != own[2] ? "other programs" : "another version of Sinter");
    sinter_heap_free(others);
    r->failed = r->failed || !good;
    return good;
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
    const order run = {ORDER_RUN};
    d->parts = sinter_heap_alloc((r->input_count + 1) * sizeof *d->parts);
    d->words = sinter_heap_alloc(order_bytes(r->input_count));
    memcpy(d->words, &run, sizeof run);
    head *heads = (head *)(void *)(d->words + sizeof run);
    if (!sinter_ranks_cut_inputs(r, rank, inputs, d->parts, diag)) return false;
    for (size_t i = 0; i < r->input_count; i++)
        if (!describe(&d->parts[i], r->inputs[i].name, &heads[i], diag)) return false;
    return send_all(r, rank, d->words, order_bytes(r->input_count), heads, d->parts, r->input_count,
                    diag);
}

static bool run_own(sinter_ranks *r, const sinter_tensor *parts, sinter_tensor *results,
                    sinter_diag *diag) {
    sinter_engine *engine = r->engines[sinter_job_rank(r->job)];
    sinter_engine_set_services(engine, sinter_job_services(r->job));
    return sinter_engine_run(engine, parts, results, diag);
}

/* Of all ranks but the first. */
static bool collect(sinter_ranks *r, sinter_tensor *results, sinter_diag *diag) {
    size_t outputs = r->output_count, count = (size_t)r->count;
    head *heads = sinter_heap_alloc((count * outputs + 1) * sizeof *heads);
    bool good = true;
    for (size_t rank = 1; good && rank < count; rank++)
        good = report(r,
                      sinter_job_receive(r->job, (int64_t)rank, heads + rank * outputs,
                                         outputs * sizeof *heads),
                      diag);
    good = good && report(r, sinter_job_finish(r->job, "the outputs"), diag);
    for (size_t rank = 1; good && rank < count; rank++)
        good = receive_all(r, (int64_t)rank, heads + rank * outputs, results + rank * outputs,
                           outputs, diag);
    good = good && report(r, sinter_job_finish(r->job, "the outputs"), diag);
    sinter_heap_free(heads);
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
    good = good && report(r, sinter_job_finish(r->job, "the inputs"), diag);
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
    bool good = receive_all(r, 0, heads, parts, r->input_count, diag) &&
                report(r, sinter_job_finish(r->job, "the inputs"), diag) &&
                run_own(r, parts, results, diag);
    for (size_t i = 0; good && i < r->output_count; i++)
        good = describe(&results[i], r->outputs[i].name, &given[i], diag);
    good = good &&
           send_all(r, 0, given, r->output_count * sizeof *given, given, results, r->output_count,
                    diag) &&
           report(r, sinter_job_finish(r->job, "the outputs"), diag);
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
        good = report(r, sinter_job_receive(r->job, 0, words, order_bytes(r->input_count)), diag) &&
               report(r, sinter_job_finish(r->job, "the next run"), diag);
        if (good) memcpy(&next, words, sizeof next);
        if (!good || next.what == ORDER_END) break;
        good = serve_run(r, (const head *)(const void *)(words + sizeof next), diag);
    }
    sinter_heap_free(words);
    return good;
}

bool sinter_ranks_serves(const sinter_ranks *r) {
    return r->job && sinter_job_rank(r->job) != 0;
}

void sinter_ranks_end_job(sinter_ranks *r) {
    if (!r->job) return;
    if (!sinter_ranks_serves(r) && !r->failed && r->count == sinter_job_rank_count(r->job)) {
        const order end = {ORDER_END};
        char *words = sinter_heap_alloc(order_bytes(r->input_count));
        sinter_diag quiet = {0};
        memcpy(words, &end, sizeof end);
        bool good = true;
        for (int64_t rank = 1; good && rank < r->count; rank++)
            good = report(r, sinter_job_send(r->job, rank, words, order_bytes(r->input_count)),
                          &quiet);
        if (good) report(r, sinter_job_finish(r->job, "the end"), &quiet);
        if (!r->failed) sinter_heap_free(words);
    }
    sinter_job_close(r->job, r->failed);
    r->job = NULL;
}
