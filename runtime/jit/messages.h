/* What the processes of a job say to each other beside the exchanges of their programs: whether they belong together, and tensors,
 * each with a head that says what it is. A message under way keeps its memory until finish; after an error memory of messages
 * stays theirs, and the process has to end with a status that is not 0. Used by ranks_job.c and stages_job.c.
 * Test: tests/suites/mpi.py, tests/suites/long/mpi_failures.py */
#pragma once
#include "ir/tensor.h"
#include "runtime/job.h"

/* What the first process wants of the others: ahead of the heads and tensors of a run. */
enum { SINTER_MESSAGE_RUN = 1, SINTER_MESSAGE_END = 2 };
typedef struct sinter_message_order {
    int64_t what;
    int64_t is_traced; /* RUN: what was done when is asked for behind it (trace.h) */
    int64_t requests;  /* RUN: that it is cut into */
} sinter_message_order;

/* Ahead of the elements of a tensor. */
typedef struct sinter_message_head {
    int64_t dtype, rank, dims[SINTER_ABI_MAX_RANK]; /* dtype: ONNX code */
    uint64_t bytes;
} sinter_message_head;

/* Whether all processes came with the same programs, by a hash of what names them, and with the same word on the order of sums; called by all, once. False after an error. */
bool sinter_messages_agree(sinter_job *job, uint64_t hash, sinter_diag *diag);

/* Tensors of numbers; others are an error. name: of the tensor, for it. */
bool sinter_messages_describe(const sinter_tensor *tensor, const char *name, sinter_message_head *out_head, sinter_diag *diag);
/* Begun: bytes that the other side receives as they are; tensors, as many and as large as the heads say. */
bool sinter_messages_send(sinter_job *job, int64_t to, const void *data, size_t bytes, sinter_diag *diag);
bool sinter_messages_receive(sinter_job *job, int64_t from, void *out_data, size_t bytes, sinter_diag *diag);
bool sinter_messages_send_tensors(sinter_job *job, int64_t to, const sinter_message_head *heads, const sinter_tensor *tensors,
                                  size_t count, sinter_diag *diag);
/* Tensors are created; they hold what was sent when finish has returned. */
bool sinter_messages_receive_tensors(sinter_job *job, int64_t from, const sinter_message_head *heads, sinter_tensor *out_tensors,
                                     size_t count, sinter_diag *diag);
/* Until all that was begun is done. what: for messages, "the inputs". */
bool sinter_messages_finish(sinter_job *job, const char *what, sinter_diag *diag);
/* The first rank's, after those of a rank: waits for all that are under way where these are of many ranks, as each costs whoever looks at the
 * others. */
enum { SINTER_MESSAGES_RANKS = 64 };
bool sinter_messages_pause(sinter_job *job, size_t rank, const char *what, sinter_diag *diag);

/* A run that the first process orders of another, with tensors that are its own. */
typedef struct sinter_message_delivery {
    size_t count;
    sinter_tensor *tensors;
    sinter_message_head *heads; /* of them */
    sinter_message_order order;
} sinter_message_delivery;
/* Of empty tensors: to be put there, and described. */
void sinter_messages_init_delivery(sinter_message_delivery *delivery, size_t count);
void sinter_messages_deinit_delivery(sinter_message_delivery *delivery);
/* Begun: the delivery stays as it is until finish has returned. requests: 1 where runs are not cut. */
bool sinter_messages_deliver(sinter_job *job, int64_t to, bool is_traced, int64_t requests, sinter_message_delivery *delivery,
                             sinter_diag *diag);
/* There are no more runs. */
bool sinter_messages_deliver_end(sinter_job *job, int64_t to, sinter_diag *diag);

/* On another process: runs until there are no more. `run` gets the order and the heads of `count` tensors a request, which come next. */
typedef bool sinter_messages_run(void *user, const sinter_message_order *order, const sinter_message_head *heads, sinter_diag *diag);
bool sinter_messages_serve(sinter_job *job, size_t count, sinter_messages_run *run, void *user, sinter_diag *diag);
