/* Runs of artifacts on a device. A session is what one run at a time needs there: a stream, a workspace, a place for each tensor
 * that its caller has on the host. Sessions are kept with the executable and used again, so a second run of the same shapes
 * allocates nothing. Where the artifact says that equal runs put equal work into the stream, the second of two is captured, and
 * from then on a run is one launch of the graph, between the copies of what is on the host. Ranks of a mesh exchange by NCCL (nccl.h), or on the
 * host: there and back again goes through pinned memory of the session. Exchanges are in no graph: each piece of a run between two of them is one.
 * Test: tests/unit/device_run_test.c */
#include "runtime/device_code.h"
#include "runtime/exchange.h"
#include "runtime/nccl.h"
#include "runtime/status.h"

#include <stdio.h>
#include <string.h>

/* Memory on the device that grows. */
typedef struct place {
    void *memory;
    uint64_t capacity;
} place;

/* Of a run that is repeated: work up to an exchange, or to the end, and that exchange. */
typedef struct piece {
    sinter_device_graph *graph; /* NULL: there is no work */
    bool exchanges;
    sinter_abi_exchange words;
} piece;

/* A run of more exchanges is launched kernel by kernel: graphs take memory of the device for as long as the session lives. */
enum { MOST_PIECES = 1024 };

typedef struct sinter_device_session {
    struct sinter_device_session *next;
    const sinter_executable *executable;
    sinter_device_code *code;
    sinter_device_stream *stream;
    void *native; /* the caller's stream, where is_bound */
    bool is_bound, is_busy;
    place workspace, failure;
    place *inputs, *outputs;      /* of tensors on the host */
    const void **input_addresses; /* of this run, on the device */
    void **output_addresses;      /* likewise; filled as the run asks */
    uint64_t *output_bytes;       /* likewise */
    piece *pieces;                /* of the run that is repeated, by the host's allocator */
    size_t piece_count, piece_capacity;
    bool is_capturing, has_work; /* a piece; there is something in it */
    uint64_t *key,
        *graph_key; /* what a run's work depends on: now; of the last run and the pieces */
    bool has_graph_key;
    uint64_t exchange_count;           /* of the run; of the last one */
    sinter_abi_device_failure *failed; /* pinned */
    place staging
        [SINTER_ABI_EXCHANGES_UNDER_WAY]; /* likewise: source and target of exchanges, by number, around */
    uint64_t begun, ended;                /* exchanges of the run */
    void *host_workspace;
    uint64_t host_workspace_bytes;
    int64_t *symbols;
    unsigned char *given;
    sinter_abi_tensor *host_inputs; /* what plan and run see of inputs on the device */
    void **host_copies;             /* pinned: data of inputs that the host looks at */
    uint64_t *host_copy_bytes;
    /* of the run under way */
    sinter_abi_device table;
    sinter_abi_call *call;
    sinter_status *status;
} session;

static const sinter_device_driver *driver_of(const session *s) {
    return s->code->device->driver;
}

static const sinter_abi_artifact *artifact_of(const session *s) {
    return s->executable->artifact;
}

/* Keeps the first thing that went wrong; false for anything. */
static bool keep(session *s, sinter_status *status) {
    if (!s->status)
        s->status = status;
    else
        sinter_status_destroy(status);
    return !s->status;
}

/* ---- memory ---- */

/* What the memory holds is lost. Sizes grow by half at least, so that slowly growing shapes seldom ask. */
static bool grow(session *s, place *p, uint64_t bytes) {
    if (p->memory && bytes <= p->capacity) return true;
    if (p->memory && bytes < p->capacity + p->capacity / 2) bytes = p->capacity + p->capacity / 2;
    void *old = p->memory;
    *p = (place){0};
    if (!keep(s, driver_of(s)->deallocate(s->stream, old)) ||
        !keep(s, driver_of(s)->allocate(s->stream, bytes, &p->memory)))
        return false;
    p->capacity = bytes;
    return true;
}

/* ---- what the artifact's run calls ---- */

static int32_t answer(const session *s) {
    return s->status ? SINTER_ABI_FAILED : SINTER_ABI_OK;
}

static int32_t on_launch(void *user, const sinter_abi_launch *launch) {
    session *s = user;
    s->has_work = true;
    const sinter_device_function *function =
        launch->kernel < artifact_of(s)->kernel_count ? s->code->functions[launch->kernel] : NULL;
    keep(s, function ? driver_of(s)->launch(s->stream, function, launch)
                     : SINTER_FAIL(SINTER_STATUS_BAD_ARTIFACT, "kernel %u is not on the device",
                                   launch->kernel));
    return answer(s);
}

static bool reset_failure(session *s) {
    s->failed->code = SINTER_ABI_OK;
    return keep(s, driver_of(s)->fill(s->stream, s->failure.memory, 0, sizeof *s->failed));
}

/* Puts the failure of kernels, if any, into the status; the stream was waited for. */
static void take_failure(session *s) {
    sinter_abi_device_failure failure = *s->failed;
    if (failure.code == SINTER_ABI_OK || !reset_failure(s)) return;
    sinter_abi_call none = {.size = sizeof none}, *call = s->call ? s->call : &none;
    call->message[0] = 0;
    if (s->code->code->explain) s->code->code->explain(call, &failure);
    keep(s, sinter_executable_failure(call, failure.code));
}

static bool fetch_failure(session *s) {
    s->has_work = true;
    return keep(s, driver_of(s)->copy(s->stream, s->failed, s->failure.memory, sizeof *s->failed,
                                      SINTER_ABI_COPY_TO_HOST));
}

/* How the rank's exchanges do without the host; NULL: they do not. */
static sinter_nccl *nccl_of(const session *s) {
    const sinter_abi_services *services = s->call ? s->call->services : NULL;
    return services && services->size > offsetof(sinter_abi_services, nccl) ? services->nccl : NULL;
}

static bool wait(session *s) {
    sinter_nccl *nccl = nccl_of(s);
    if (nccl && s->status) sinter_nccl_abort(nccl);
    const bool has_failed = s->status;
    bool good = keep(s, nccl && !has_failed ? sinter_nccl_wait(nccl, s->stream)
                                            : driver_of(s)->stream_wait(s->stream));
    if (nccl && !good && !has_failed) {
        sinter_nccl_abort(nccl);
        sinter_status_destroy(driver_of(s)->stream_wait(s->stream));
    }
    if (good) take_failure(s);
    return !s->status;
}

/* A copy to memory of the host that is not pinned waits for the stream, and knows no patience with other ranks: they come first. */
static bool come_to_exchanges(session *s) {
    return !nccl_of(s) || wait(s);
}

static int32_t on_copy(void *user, void *to, const void *from, uint64_t bytes, int32_t direction) {
    session *s = user;
    const bool waits = direction == SINTER_ABI_COPY_TO_HOST;
    if (waits && !come_to_exchanges(s)) return answer(s);
    s->has_work = true;
    bool good = keep(s, driver_of(s)->copy(s->stream, to, from, bytes, direction));
    if (good && direction == SINTER_ABI_COPY_TO_HOST && fetch_failure(s)) wait(s);
    return answer(s);
}

/* Kernels may read and write 16 bytes at once. */
static bool is_aligned(session *s, const sinter_abi_tensor *tensor, const char *name) {
    if ((uintptr_t)tensor->data % SINTER_ABI_DEVICE_ALIGNMENT == 0) return true;
    return keep(s, SINTER_FAIL(SINTER_STATUS_BAD_INPUT,
                               "'%s' lies at %p on the device, which is no multiple of %d bytes",
                               name, tensor->data, SINTER_ABI_DEVICE_ALIGNMENT));
}

static void *on_output(void *user, uint32_t index, uint64_t bytes) {
    session *s = user;
    if (index >= artifact_of(s)->output_count) {
        keep(s, SINTER_FAIL(SINTER_STATUS_BAD_ARTIFACT, "there is no output %u", index));
        return NULL;
    }
    s->output_bytes[index] = bytes;
    if (!s->is_bound) {
        if (!grow(s, &s->outputs[index], bytes)) return NULL;
        return s->output_addresses[index] = s->outputs[index].memory;
    }
    const sinter_abi_tensor *output = &s->call->outputs[index];
    if (!is_aligned(s, output, artifact_of(s)->outputs[index].name)) return NULL;
    if (output->bytes >= bytes && (output->data || !bytes))
        return s->output_addresses[index] = output->data ? output->data : s->failure.memory;
    keep(s, SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "output '%s' needs %llu bytes and has %llu",
                        artifact_of(s)->outputs[index].name, (unsigned long long)bytes,
                        (unsigned long long)(output->data ? output->bytes : 0)));
    return NULL;
}

static void *on_allocate(void *user, uint64_t bytes) {
    session *s = user;
    void *memory = NULL;
    return keep(s, driver_of(s)->allocate(s->stream, bytes, &memory)) ? memory : NULL;
}

static void on_deallocate(void *user, void *pointer) {
    session *s = user;
    keep(s, driver_of(s)->deallocate(s->stream, pointer));
}

/* ---- exchanges of ranks ---- */

/* Copies of an exchange before this one may still be under way in what there is. */
static bool grow_staging(session *s, place *at, uint64_t bytes) {
    if (at->memory && bytes <= at->capacity) return true;
    if (!wait(s)) return false;
    void *old = at->memory;
    at->memory = NULL;
    at->capacity = bytes;
    return keep(s, driver_of(s)->deallocate_host(s->code->device, old)) &&
           keep(s, driver_of(s)->allocate_host(s->code->device, bytes, &at->memory));
}

/* The kernel that makes the sums of an exchange; NULL: the artifact has none. */
static const sinter_device_function *find_combine(const session *s,
                                                  const sinter_abi_exchange *words) {
    char symbol[64];
    snprintf(symbol, sizeof symbol, SINTER_ABI_COMBINE_SYMBOL, words->dtype, words->reduction);
    for (uint32_t i = 0; i < artifact_of(s)->kernel_count; i++) {
        const char *other = s->code->code->kernels[i].symbol;
        if (other && !strcmp(other, symbol)) return s->code->functions[i];
    }
    return NULL;
}

/* What a rank gives lies in front of what it gets. */
static uint64_t find_target(const sinter_abi_exchange *words) {
    enum { ALIGNMENT = 64 };
    const uint64_t given = words->count * sinter_exchange_element_size(words->dtype);
    return (given + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* The words on the host of an exchange that begins or ends now. */
static sinter_abi_exchange find_staged(const session *s, const sinter_abi_exchange *words) {
    const bool ends = words->kind & SINTER_ABI_EXCHANGE_ENDS;
    sinter_abi_exchange staged = *words;
    char *memory = s->staging[(ends ? s->ended : s->begun) % SINTER_ABI_EXCHANGES_UNDER_WAY].memory;
    staged.source = memory;
    staged.target = memory + find_target(words);
    return staged;
}

/* Room, and what the rank gives, as work of the stream. */
static bool put_on_host(session *s, const sinter_abi_exchange *words, uint64_t target_count) {
    const uint64_t size = sinter_exchange_element_size(words->dtype),
                   bytes = find_target(words) + target_count * size;
    place *at = &s->staging[s->begun % SINTER_ABI_EXCHANGES_UNDER_WAY];
    if (words->kind & SINTER_ABI_EXCHANGE_ENDS) return true;
    return grow_staging(s, at, bytes + !bytes) &&
           keep(s, driver_of(s)->copy(s->stream, at->memory, words->source, words->count * size,
                                      SINTER_ABI_COPY_TO_HOST)) &&
           fetch_failure(s);
}

static bool exchange_on_host(session *s, const sinter_abi_exchange *words) {
    const bool begins = words->kind & SINTER_ABI_EXCHANGE_BEGINS,
               ends = words->kind & SINTER_ABI_EXCHANGE_ENDS;
    const sinter_abi_exchange staged = find_staged(s, words);
    if (!ends && !wait(s)) return false;
    s->begun += !ends;
    const int32_t code = s->call->services->exchange(s->call, &staged);
    if (code) return keep(s, sinter_executable_failure(s->call, code));
    s->ended += !begins;
    return true;
}

/* What the rank got, as work of the stream again. */
static void take_from_host(session *s, const sinter_abi_exchange *words, const void *got,
                           uint64_t target_count) {
    if (words->kind & SINTER_ABI_EXCHANGE_BEGINS) return;
    s->has_work = true;
    keep(s, driver_of(s)->copy(s->stream, words->target, got,
                               target_count * sinter_exchange_element_size(words->dtype),
                               SINTER_ABI_COPY_TO_DEVICE));
}

/* Whether NCCL makes the exchange; *out_combine: the kernel that it needs for sums. */
static bool is_by_nccl(const session *s, const sinter_abi_exchange *words,
                       const sinter_device_function **out_combine) {
    *out_combine = nccl_of(s) ? find_combine(s, words) : NULL;
    return nccl_of(s) && sinter_nccl_takes(nccl_of(s), words, *out_combine);
}

/* Between two pieces of work. */
static bool meet_others(session *s, const sinter_abi_exchange *words) {
    const sinter_device_function *combine;
    if (is_by_nccl(s, words, &combine))
        return keep(s, sinter_nccl_exchange(nccl_of(s), s->call, s->stream, words, combine));
    return exchange_on_host(s, words);
}

static bool has_others(session *s) {
    const sinter_abi_services *services = s->call->services;
    if (services && services->size > offsetof(sinter_abi_services, exchange) && services->exchange)
        return true;
    return keep(
        s, SINTER_FAIL(SINTER_STATUS_FAILED, "a program of several ranks needs the others to run"));
}

static bool begin_piece(session *s);
static bool end_piece(session *s, const sinter_abi_exchange *words);

static int32_t on_exchange(void *user, const sinter_abi_exchange *given, uint64_t target_count) {
    session *s = user;
    const sinter_device_function *combine;
    sinter_exchange_phase phase;
    sinter_abi_exchange words = sinter_exchange_read(given, &phase);
    words.kind = given->kind;
    if (!has_others(s)) return answer(s);
    const bool by_host = !is_by_nccl(s, &words, &combine), captures = s->is_capturing;
    s->exchange_count++;
    if (by_host && !put_on_host(s, &words, target_count)) return answer(s);
    const void *got = by_host ? find_staged(s, &words).target : NULL;
    if ((captures && !end_piece(s, &words)) || !meet_others(s, &words) ||
        (captures && !begin_piece(s)))
        return answer(s);
    if (by_host) take_from_host(s, &words, got, target_count);
    return answer(s);
}

/* ---- one run ---- */

static bool is_on_host(const session *s, uint32_t input) {
    const unsigned char *flags = s->code->code->host_inputs;
    return flags && flags[input];
}

/* Tensors on the host get a place on the device. */
static void upload(session *s) {
    const sinter_abi_artifact *artifact = artifact_of(s);
    for (uint32_t i = 0; i < artifact->input_count && !s->status; i++) {
        const sinter_abi_tensor *input = &s->call->inputs[i];
        if (input->bytes && !input->data)
            keep(s, SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "input '%s' has no data",
                                artifact->inputs[i].name));
        else if (grow(s, &s->inputs[i], input->bytes))
            keep(s, driver_of(s)->copy(s->stream, s->inputs[i].memory, input->data, input->bytes,
                                       SINTER_ABI_COPY_TO_DEVICE));
        s->input_addresses[i] = s->inputs[i].memory;
    }
}

/* Tensors on the device are where they are; what plan and run look at comes to the host, which waits for it. */
static void look_at_inputs(session *s) {
    const sinter_abi_artifact *artifact = artifact_of(s);
    bool copied = false;
    for (uint32_t i = 0; i < artifact->input_count && !s->status; i++) {
        s->input_addresses[i] = s->host_inputs[i].data;
        if (!is_aligned(s, &s->host_inputs[i], artifact->inputs[i].name) || !is_on_host(s, i))
            continue;
        const uint64_t bytes = s->host_inputs[i].bytes;
        if (!s->host_copies[i] || bytes > s->host_copy_bytes[i]) {
            void *old = s->host_copies[i];
            s->host_copies[i] = NULL;
            keep(s, driver_of(s)->deallocate_host(s->code->device, old));
            if (!keep(s, driver_of(s)->allocate_host(s->code->device, bytes, &s->host_copies[i])))
                return;
            s->host_copy_bytes[i] = bytes;
        }
        keep(s, driver_of(s)->copy(s->stream, s->host_copies[i], s->input_addresses[i], bytes,
                                   SINTER_ABI_COPY_TO_HOST));
        s->host_inputs[i].data = s->host_copies[i];
        copied = true;
    }
    if (copied) keep(s, driver_of(s)->stream_wait(s->stream));
}

static bool plan(session *s) {
    sinter_abi_call *call = s->call;
    int32_t code = artifact_of(s)->plan(call);
    if (code) return keep(s, sinter_executable_failure(call, code));
    if (call->workspace_bytes > s->host_workspace_bytes || !s->host_workspace) {
        sinter_device_delete(s->code->device, s->host_workspace, s->host_workspace_bytes);
        s->host_workspace_bytes = call->workspace_bytes ? call->workspace_bytes : 64;
        s->host_workspace = sinter_device_new(s->code->device, s->host_workspace_bytes);
        if (!s->host_workspace)
            return keep(s, SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY,
                                       "no memory for a workspace of %llu bytes",
                                       (unsigned long long)call->workspace_bytes));
    }
    call->workspace = s->host_workspace;
    call->workspace_bytes = s->host_workspace_bytes;
    return grow(s, &s->workspace, call->device_workspace_bytes);
}

/* [symbols | address and bytes of each input | of each output | workspace | NCCL] */
static size_t key_count(const sinter_abi_artifact *artifact) {
    return artifact->symbol_count + 2 * ((size_t)artifact->input_count + artifact->output_count) +
           2;
}

static void write_key(session *s) {
    const sinter_abi_artifact *artifact = artifact_of(s);
    uint64_t *at = s->key;
    for (uint32_t i = 0; i < artifact->symbol_count; i++) *at++ = (uint64_t)s->call->symbols[i];
    for (uint32_t i = 0; i < artifact->input_count; i++) {
        *at++ = (uintptr_t)s->input_addresses[i];
        *at++ = s->call->inputs[i].bytes;
    }
    for (uint32_t i = 0; i < artifact->output_count; i++) {
        *at++ = (uintptr_t)(s->is_bound ? s->call->outputs[i].data : s->outputs[i].memory);
        *at++ = s->is_bound ? s->call->outputs[i].bytes : 0;
    }
    *at++ = (uintptr_t)s->workspace.memory;
    *at = (uintptr_t)nccl_of(s);
}

/* All of a run that is on the device. */
static void submit(session *s) {
    int32_t code = artifact_of(s)->run(s->call);
    if (code) keep(s, s->status ? NULL : sinter_executable_failure(s->call, code));
    if (!s->status) fetch_failure(s);
}

/* ---- runs that are repeated ---- */

static void drop_pieces(session *s) {
    for (size_t i = 0; i < s->piece_count; i++)
        keep(s, driver_of(s)->graph_destroy(s->pieces[i].graph));
    s->piece_count = 0;
}

static bool begin_piece(session *s) {
    s->has_work = false;
    s->is_capturing = keep(s, driver_of(s)->capture_begin(s->stream));
    return s->is_capturing;
}

static bool grow_pieces(session *s) {
    if (s->piece_count < s->piece_capacity) return true;
    const size_t capacity = 2 * s->piece_capacity + 1;
    piece *more = sinter_device_new(s->code->device, capacity * sizeof *more);
    if (!more)
        return keep(s, SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "no memory for a list of graphs"));
    if (s->piece_count) memcpy(more, s->pieces, s->piece_count * sizeof *more);
    sinter_device_delete(s->code->device, s->pieces, s->piece_capacity * sizeof *s->pieces);
    s->pieces = more;
    s->piece_capacity = capacity;
    return true;
}

/* What was captured is kept, and put into the stream. words: of the exchange behind it; NULL: it is the last one. */
static bool end_piece(session *s, const sinter_abi_exchange *words) {
    piece one = {.exchanges = words != NULL};
    if (words) one.words = *words;
    s->is_capturing = false;
    keep(s, driver_of(s)->capture_end(s->stream, &one.graph));
    if (!s->has_work || s->status) {
        keep(s, driver_of(s)->graph_destroy(one.graph));
        one.graph = NULL;
    }
    if (s->status || !grow_pieces(s)) {
        keep(s, driver_of(s)->graph_destroy(one.graph));
        return false;
    }
    s->pieces[s->piece_count++] = one;
    return !one.graph || keep(s, driver_of(s)->graph_launch(one.graph, s->stream));
}

/* Runs, and keeps what it put into the stream. */
static void capture(session *s) {
    if (!begin_piece(s)) return;
    submit(s);
    if (s->is_capturing) end_piece(s, NULL);
    if (s->status) drop_pieces(s);
}

static void replay(session *s) {
    for (size_t i = 0; i < s->piece_count && !s->status; i++) {
        const piece *one = &s->pieces[i];
        if (one->graph) keep(s, driver_of(s)->graph_launch(one->graph, s->stream));
        if (!s->status && one->exchanges && has_others(s)) meet_others(s, &one->words);
    }
}

/* Whether an equal run does equal work. The driver's default stream can't be captured. */
static bool may_repeat(const session *s) {
    const uint32_t flags = s->code->code->flags;
    return (!s->is_bound || s->native) &&
           (flags & SINTER_ABI_DEVICE_STATIC ||
            (flags & SINTER_ABI_DEVICE_PIECES && s->exchange_count < MOST_PIECES));
}

static void execute(session *s) {
    const size_t bytes = key_count(artifact_of(s)) * sizeof *s->key;
    write_key(s);
    const bool same = may_repeat(s) && s->has_graph_key && !memcmp(s->key, s->graph_key, bytes);
    if (same && s->piece_count) {
        replay(s);
        return;
    }
    if (!same) {
        if (s->piece_count && s->is_bound)
            keep(s, driver_of(s)->stream_wait(s->stream)); /* it may run yet */
        drop_pieces(s);
        s->has_graph_key = false;
        if (s->status) return;
    }
    s->exchange_count = 0;
    if (same) {
        capture(s);
        return;
    }
    submit(s);
    write_key(s); /* outputs have their places now */
    memcpy(s->graph_key, s->key, bytes);
    s->has_graph_key = !s->status;
}

static bool take_memory(session *s, sinter_abi_tensor *output, uint32_t index) {
    const uint64_t bytes = s->output_bytes[index];
    if (s->given[index] && output->bytes >= bytes) return true;
    if (s->given[index])
        return keep(s, SINTER_FAIL(SINTER_STATUS_BAD_INPUT,
                                   "output '%s' needs %llu bytes and has %llu",
                                   artifact_of(s)->outputs[index].name, (unsigned long long)bytes,
                                   (unsigned long long)output->bytes));
    output->data = sinter_service_allocate(s->call->services, bytes);
    if (output->data) return true;
    return keep(s, SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY,
                               "no memory for the %llu bytes of output '%s'",
                               (unsigned long long)bytes, artifact_of(s)->outputs[index].name));
}

static void download(session *s) {
    if (!come_to_exchanges(s)) return;
    for (uint32_t i = 0; i < artifact_of(s)->output_count && !s->status; i++) {
        sinter_abi_tensor *output = &s->call->outputs[i];
        if (!take_memory(s, output, i)) return;
        output->bytes = s->output_bytes[i];
        keep(s, driver_of(s)->copy(s->stream, output->data, s->output_addresses[i], output->bytes,
                                   SINTER_ABI_COPY_TO_HOST));
    }
}

/* The table that the artifact's run gets, and the run. The status is the session's, taken from it. */
static sinter_status *run(session *s, sinter_abi_call *call) {
    const sinter_abi_artifact *artifact = artifact_of(s);
    s->call = call;
    s->begun = s->ended = 0;
    call->symbols = s->symbols;
    for (uint32_t i = 0; i < artifact->output_count; i++)
        s->given[i] = call->outputs[i].data != NULL;
    if (s->is_bound) look_at_inputs(s);
    if (!s->status && plan(s) && !s->is_bound) upload(s);
    s->table = (sinter_abi_device){.size = sizeof s->table,
                                   .multiprocessors = s->code->device->properties.multiprocessors,
                                   .user = s,
                                   .weights = s->code->weights,
                                   .workspace = s->workspace.memory,
                                   .failure = s->failure.memory,
                                   .inputs = s->input_addresses,
                                   .launch = on_launch,
                                   .copy = on_copy,
                                   .output = on_output,
                                   .allocate = on_allocate,
                                   .deallocate = on_deallocate,
                                   .exchange = on_exchange,
                                   .most_maps = SINTER_ABI_MOST_MAPS};
    call->device = &s->table;
    if (!s->status) execute(s);
    if (s->is_bound) {
        for (uint32_t i = 0; i < artifact->output_count; i++)
            if (!s->status) call->outputs[i].bytes = s->output_bytes[i];
    } else {
        if (!s->status) download(s);
        /* Also after a failure: nothing of the run may be under way when its tensors go. */
        wait(s);
        if (s->status) sinter_executable_drop_outputs(call, s->given, artifact->output_count);
    }
    if (s->status) s->has_graph_key = false;
    sinter_status *status = s->status;
    s->status = NULL;
    s->call = NULL;
    return status;
}

/* ---- sessions ---- */

static void destroy(session *s) {
    const sinter_abi_artifact *artifact = artifact_of(s);
    const sinter_device_driver *driver = driver_of(s);
    sinter_device *device = s->code->device;
    const size_t in = artifact->input_count, out = artifact->output_count;
    if (s->stream) sinter_status_destroy(driver->stream_wait(s->stream));
    for (size_t i = 0; i < s->piece_count; i++)
        sinter_status_destroy(driver->graph_destroy(s->pieces[i].graph));
    sinter_device_delete(device, s->pieces, s->piece_capacity * sizeof *s->pieces);
    for (size_t i = 0; i < in; i++) {
        if (s->inputs && s->inputs[i].memory)
            sinter_status_destroy(driver->deallocate(s->stream, s->inputs[i].memory));
        if (s->host_copies)
            sinter_status_destroy(driver->deallocate_host(device, s->host_copies[i]));
    }
    for (size_t i = 0; i < out && s->outputs; i++)
        if (s->outputs[i].memory)
            sinter_status_destroy(driver->deallocate(s->stream, s->outputs[i].memory));
    if (s->workspace.memory)
        sinter_status_destroy(driver->deallocate(s->stream, s->workspace.memory));
    if (s->failure.memory) sinter_status_destroy(driver->deallocate(s->stream, s->failure.memory));
    sinter_status_destroy(driver->deallocate_host(device, s->failed));
    for (int i = 0; i < SINTER_ABI_EXCHANGES_UNDER_WAY; i++)
        sinter_status_destroy(driver->deallocate_host(device, s->staging[i].memory));
    sinter_status_destroy(driver->stream_destroy(s->stream));
    sinter_device_delete(device, s->host_workspace, s->host_workspace_bytes);
#define TABLES(X)                                                                                  \
 X(inputs, in)                                                                                     \
 X(outputs, out)                                                                                   \
 X(input_addresses, in)                                                                            \
 X(output_addresses, out)                                                                          \
 X(output_bytes, out)                                                                              \
 X(symbols, artifact->symbol_count)                                                                \
 X(given, out)                                                                                     \
 X(host_inputs, in)                                                                                \
 X(host_copies, in)                                                                                \
 X(host_copy_bytes, in)                                                                            \
 X(key, key_count(artifact))                                                                       \
 X(graph_key, key_count(artifact))
#define DELETE(table, count)                                                                       \
 sinter_device_delete(device, s->table, ((size_t)(count) + 1) * sizeof *s->table);
    TABLES(DELETE)
#undef DELETE
    sinter_device_delete(device, s, sizeof *s);
}

static bool make_tables(session *s) {
    const sinter_abi_artifact *artifact = artifact_of(s);
    sinter_device *device = s->code->device;
    const size_t in = artifact->input_count, out = artifact->output_count;
    bool good = true;
#define NEW(table, count)                                                                          \
 s->table = sinter_device_new(device, ((size_t)(count) + 1) * sizeof *s->table);                   \
 good = good && s->table;
    TABLES(NEW)
#undef NEW
#undef TABLES
    return good;
}

static sinter_status *create(const sinter_executable *executable, bool is_bound, void *native,
                             session **out_session) {
    sinter_device_code *code = executable->device_code;
    const sinter_device_driver *driver = code->device->driver;
    session *s = sinter_device_new(code->device, sizeof *s);
    *out_session = NULL;
    if (!s) return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "no memory for a run");
    *s = (session){.executable = executable,
                   .code = code,
                   .is_bound = is_bound,
                   .native = native,
                   .is_busy = true};
    if (!make_tables(s))
        keep(s, SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "no memory for the tables of a run"));
    if (!s->status)
        keep(s, is_bound ? driver->stream_wrap(code->device, native, &s->stream)
                         : driver->stream_create(code->device, &s->stream));
    if (!s->status)
        keep(s, driver->allocate_host(code->device, sizeof *s->failed, (void **)&s->failed));
    if (!s->status && grow(s, &s->failure, sizeof *s->failed)) reset_failure(s);
    sinter_status *status = s->status;
    if (status)
        destroy(s);
    else
        *out_session = s;
    return status;
}

static session *find(sinter_device_code *code, bool is_bound, void *native) {
    session *s = code->sessions;
    while (s && (s->is_busy || s->is_bound != is_bound || s->native != native)) s = s->next;
    return s;
}

/* One that nobody uses, or a new one. */
static sinter_status *borrow(const sinter_executable *executable, bool is_bound, void *native,
                             session **out_session) {
    sinter_device_code *code = executable->device_code;
    pthread_mutex_lock(&code->lock);
    session *s = find(code, is_bound, native);
    if (s) s->is_busy = true;
    pthread_mutex_unlock(&code->lock);
    *out_session = s;
    if (s) return NULL;
    sinter_status *status = create(executable, is_bound, native, out_session);
    if (status) return status;
    pthread_mutex_lock(&code->lock);
    (*out_session)->next = code->sessions;
    code->sessions = *out_session;
    pthread_mutex_unlock(&code->lock);
    return NULL;
}

static void give_back(session *s) {
    pthread_mutex_lock(&s->code->lock);
    s->is_busy = false;
    pthread_mutex_unlock(&s->code->lock);
}

void sinter_device_sessions_destroy(sinter_device_code *code) {
    for (session *next, *s = code->sessions; s; s = next) {
        next = s->next;
        destroy(s);
    }
    code->sessions = NULL;
}

/* ---- entries ---- */

sinter_status *sinter_device_code_run(const sinter_executable *executable,
                                      const sinter_abi_tensor *inputs, sinter_abi_tensor *outputs,
                                      const sinter_abi_services *services) {
    session *s;
    sinter_status *status = borrow(executable, false, NULL, &s);
    if (status) return status;
    sinter_abi_call call = {.size = sizeof call,
                            .weights = executable->weights,
                            .inputs = sinter_executable_inputs(inputs),
                            .outputs = outputs,
                            .services = services};
    status = run(s, &call);
    give_back(s);
    return status;
}

static sinter_status *check_stream(const sinter_executable *executable) {
    if (!executable)
        return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "executable: expected an address, found NULL");
    if (executable->device_code) return NULL;
    return SINTER_FAIL(SINTER_STATUS_WRONG_DEVICE, "%s: runs on the CPU, which has no streams",
                       executable->artifact->name);
}

sinter_status *sinter_executable_run_on_stream(const sinter_executable *executable,
                                               const sinter_abi_tensor *inputs,
                                               sinter_abi_tensor *outputs,
                                               const sinter_abi_services *services, void *stream) {
    session *s = NULL;
    sinter_status *status = check_stream(executable);
    if (!status) status = sinter_executable_check_arguments(executable, inputs, outputs);
    if (!status) status = sinter_executable_check_overlaps(executable->artifact, inputs, outputs);
    if (!status) status = borrow(executable, true, stream, &s);
    if (status) return status;
    sinter_abi_call call = {.size = sizeof call,
                            .weights = executable->weights,
                            .inputs = s->host_inputs,
                            .outputs = outputs,
                            .services = services};
    if (executable->artifact->input_count)
        memcpy(s->host_inputs, inputs, executable->artifact->input_count * sizeof *inputs);
    status = run(s, &call);
    give_back(s);
    return status;
}

sinter_status *sinter_executable_wait(const sinter_executable *executable, void *stream) {
    session *s = NULL;
    sinter_status *status = check_stream(executable);
    if (!status) status = borrow(executable, true, stream, &s);
    if (status) return status;
    wait(s);
    status = s->status;
    s->status = NULL;
    give_back(s);
    return status;
}
