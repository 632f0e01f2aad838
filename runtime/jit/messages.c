/* Tensors, and other words, as messages of a job of processes; see messages.h. Test: tests/suites/mpi.py */
#include "runtime/jit/messages.h"
#include "runtime/jit/engine.h"

#include <string.h>

enum { PROTOCOL = 4 };

bool sinter_messages_send(sinter_job *job, int64_t to, const void *data, size_t bytes,
                          sinter_diag *diag) {
    return sinter_engine_report(sinter_job_send(job, to, data, bytes), sinter_job_name(job), diag);
}

bool sinter_messages_receive(sinter_job *job, int64_t from, void *out_data, size_t bytes,
                             sinter_diag *diag) {
    return sinter_engine_report(sinter_job_receive(job, from, out_data, bytes),
                                sinter_job_name(job), diag);
}

bool sinter_messages_finish(sinter_job *job, const char *what, sinter_diag *diag) {
    return sinter_engine_report(sinter_job_finish(job, what), sinter_job_name(job), diag);
}

bool sinter_messages_pause(sinter_job *job, size_t rank, const char *what, sinter_diag *diag) {
    return rank % SINTER_MESSAGES_RANKS || sinter_messages_finish(job, what, diag);
}

/* ---- the start ---- */

bool sinter_messages_agree(sinter_job *job, uint64_t hash, sinter_diag *diag) {
    /* the order of sums is part of a word whose other bits are the same for ever, so that versions can tell each other apart */
    const uint64_t any_order = (uint64_t)sinter_job_allows_any_order(job) << 63;
    const uint64_t own[] = {PROTOCOL, SINTER_ABI_VERSION | any_order, hash};
    size_t count = (size_t)sinter_job_rank_count(job);
    if (sinter_job_rank(job))
        return sinter_messages_send(job, 0, own, sizeof own, diag) &&
               sinter_messages_finish(job, "the start", diag);
    uint64_t(*others)[3] = sinter_heap_alloc(count * sizeof *others);
    bool good = true;
    for (size_t rank = 1; good && rank < count; rank++)
        good = sinter_messages_receive(job, (int64_t)rank, others[rank], sizeof own, diag) &&
               sinter_messages_pause(job, rank, "the start", diag);
    good = good && sinter_messages_finish(job, "the start", diag);
    if (!good) return false; /* others may still write there */
    for (size_t rank = 1; good && rank < count; rank++) {
        const uint64_t *other = others[rank];
        if (!memcmp(other, own, sizeof own)) continue;
        const char *what = other[2] != own[2] ? "other programs"
                           : other[0] != own[0] || (other[1] ^ own[1]) << 1
                               ? "another version of Sinter"
                               : "another word on the order of sums (--no-deterministic)";
        good = sinter_error(diag, sinter_job_name(job),
                            "rank %zu has %s than rank 0: give all processes %s", rank, what,
                            other[2] != own[2] ? "one folder" : "the same");
    }
    sinter_heap_free(others);
    return good;
}

/* ---- tensors ---- */

bool sinter_messages_describe(const sinter_tensor *tensor, const char *name,
                              sinter_message_head *out_head, sinter_diag *diag) {
    if (tensor->kind != SINTER_TYPE_TENSOR || tensor->dtype == SINTER_DTYPE_string)
        return sinter_error(diag, name, "tensors of numbers only can be sent to other processes");
    *out_head = (sinter_message_head){.dtype = sinter_dtype_infos[tensor->dtype].onnx_code,
                                      .rank = tensor->rank,
                                      .bytes = sinter_tensor_bytes(tensor)};
    memcpy(out_head->dims, tensor->dims, tensor->rank * sizeof *tensor->dims);
    return true;
}

/* Room for what the head says. */
static bool make(const sinter_job *job, const sinter_message_head *h, sinter_tensor *out_tensor,
                 sinter_diag *diag) {
    sinter_dtype dtype = sinter_dtype_from_onnx((int32_t)h->dtype);
    if (dtype == SINTER_DTYPE_NONE || h->rank < 0 || h->rank > SINTER_MAX_RANK)
        return sinter_error(diag, sinter_job_name(job),
                            "another process sends a tensor of type %lld, rank %lld",
                            (long long)h->dtype, (long long)h->rank);
    if (!sinter_tensor_create(out_tensor, dtype, (uint32_t)h->rank, h->dims, diag)) return false;
    if (sinter_tensor_bytes(out_tensor) == h->bytes) return true;
    sinter_tensor_deinit(out_tensor);
    return sinter_error(diag, sinter_job_name(job),
                        "another process sends %llu bytes for a tensor of another size",
                        (unsigned long long)h->bytes);
}

bool sinter_messages_send_tensors(sinter_job *job, int64_t to, const sinter_message_head *heads,
                                  const sinter_tensor *tensors, size_t count, sinter_diag *diag) {
    for (size_t i = 0; i < count; i++)
        if (!sinter_messages_send(job, to, tensors[i].data, heads[i].bytes, diag)) return false;
    return true;
}

bool sinter_messages_receive_tensors(sinter_job *job, int64_t from,
                                     const sinter_message_head *heads, sinter_tensor *out_tensors,
                                     size_t count, sinter_diag *diag) {
    for (size_t i = 0; i < count; i++)
        if (!make(job, &heads[i], &out_tensors[i], diag) ||
            !sinter_messages_receive(job, from, sinter_tensor_mutable(&out_tensors[i]),
                                     heads[i].bytes, diag))
            return false;
    return true;
}

/* ---- runs ---- */

void sinter_messages_init_delivery(sinter_message_delivery *d, size_t count) {
    d->count = count;
    d->tensors = sinter_heap_alloc((count + 1) * sizeof *d->tensors);
    d->heads = sinter_heap_alloc((count + 1) * sizeof *d->heads);
}

void sinter_messages_deinit_delivery(sinter_message_delivery *d) {
    sinter_tensors_destroy(d->tensors, d->count);
    sinter_heap_free(d->heads);
}

bool sinter_messages_deliver(sinter_job *job, int64_t to, bool is_traced, int64_t requests,
                             sinter_message_delivery *d, sinter_diag *diag) {
    d->order = (sinter_message_order){SINTER_MESSAGE_RUN, is_traced, requests};
    return sinter_messages_send(job, to, &d->order, sizeof d->order, diag) &&
           (!d->count ||
            sinter_messages_send(job, to, d->heads, d->count * sizeof *d->heads, diag)) &&
           sinter_messages_send_tensors(job, to, d->heads, d->tensors, d->count, diag);
}

bool sinter_messages_deliver_end(sinter_job *job, int64_t to, sinter_diag *diag) {
    static const sinter_message_order order = {SINTER_MESSAGE_END, 0, 0};
    return sinter_messages_send(job, to, &order, sizeof order, diag);
}

static bool serve_one(sinter_job *job, const sinter_message_order *order, size_t count,
                      sinter_messages_run *run, void *user, sinter_diag *diag) {
    sinter_message_head *heads = sinter_heap_alloc((count + 1) * sizeof *heads);
    bool good = !count || (sinter_messages_receive(job, 0, heads, count * sizeof *heads, diag) &&
                           sinter_messages_finish(job, "the next run", diag));
    if (!good || !run(user, order, heads, diag)) return false; /* others may still write there */
    sinter_heap_free(heads);
    return true;
}

bool sinter_messages_serve(sinter_job *job, size_t count, sinter_messages_run *run, void *user,
                           sinter_diag *diag) {
    sinter_message_order *order = sinter_heap_alloc(sizeof *order);
    for (;;) {
        if (!sinter_messages_receive(job, 0, order, sizeof *order, diag) ||
            !sinter_messages_finish(job, "the next run", diag))
            return false; /* the others may still write there */
        if (order->what == SINTER_MESSAGE_END) break;
        if (!serve_one(job, order, (size_t)order->requests * count, run, user, diag)) return false;
    }
    sinter_heap_free(order);
    return true;
}
