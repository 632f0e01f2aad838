/* Exchanges of ranks by NCCL, which is emulated here between threads with a GPU each (tests/cuda_emulation/nccl.c): what each rank gets of each
 * kind, sums of each type to the bit as they are on the host, under way or not; what is said where a function fails, a rank has failed, or
 * does not come. */
#include "codegen/emit/cuda.h"
#include "runtime/collectives.h"
#include "runtime/nccl.h"
#include "runtime/nccl_library.h"
#include "tests/unit/device_support.h"

#include <pthread.h>
#include <stdlib.h>

enum { MOST = 9, BYTES = 80000, DEVICES = 8 };

typedef struct rank {
    struct job *job;
    int64_t number;
    sinter_device *device;
    sinter_device_stream *stream;
    sinter_nccl *nccl;
    sinter_device_module *module;
    sinter_device_function *combine;
    char source[BYTES], target[BYTES];
    sinter_status *status;
    bool is_idle; /* does nothing, as if it hung */
} rank;

typedef struct job {
    int64_t sizes[2], count;
    uint32_t axes;
    bool any_order, stays; /* stays: its ranks have devices and communicators already */
    double seconds;
    sinter_collectives *all;
    rank *ranks;
    void (*body)(rank *r, sinter_abi_call *call);
    sinter_abi_exchange words; /* of the body; addresses are the ranks' */
} job;

static void keep(rank *r, sinter_status *status) {
    if (r->status)
        sinter_status_destroy(status);
    else
        r->status = status;
}

/* ---- one exchange of all ranks ---- */

static uint64_t target_count(const rank *r, const sinter_abi_exchange *w) {
    sinter_exchange_mesh mesh;
    sinter_exchange_group group = {0};
    uint64_t count = w->count;
    GOOD(sinter_exchange_mesh_init(&mesh, r->job->sizes, r->job->axes));
    if (w->kind == SINTER_ABI_PERMUTE) return count;
    CHECK(sinter_exchange_find_group(&mesh, r->number, w->over, &group));
    if (w->kind == SINTER_ABI_ALL_GATHER) count *= (uint64_t)group.count;
    if (w->kind == SINTER_ABI_REDUCE_SCATTER) count /= (uint64_t)group.count;
    sinter_exchange_free_group(&group);
    return count;
}

/* From the rank's source to its target, by way of its device; phases: one call or two. */
static void exchange(rank *r, sinter_abi_call *call, sinter_abi_exchange words, bool phases) {
    const sinter_device_driver *d = r->device->driver;
    const size_t size = sinter_exchange_element_size(words.dtype);
    const uint64_t given = words.count * size, got = target_count(r, &words) * size;
    void *source = NULL, *target = NULL;
    const int32_t kind = words.kind;
    keep(r, d->allocate(r->stream, given, &source));
    if (!r->status) keep(r, d->allocate(r->stream, got, &target));
    if (!r->status)
        keep(r, d->copy(r->stream, source, r->source, given, SINTER_ABI_COPY_TO_DEVICE));
    words.source = source;
    words.target = target;
    for (int phase = 0; phase < (phases ? 2 : 1) && !r->status; phase++) {
        if (phases)
            words.kind = kind | (phase ? SINTER_ABI_EXCHANGE_ENDS : SINTER_ABI_EXCHANGE_BEGINS);
        CHECK(sinter_nccl_takes(r->nccl, &words, r->combine));
        keep(r, sinter_nccl_exchange(r->nccl, call, r->stream, &words, r->combine));
    }
    if (!r->status) keep(r, sinter_nccl_wait(r->nccl, r->stream));
    if (r->status) sinter_nccl_abort(r->nccl);
    if (!r->status) keep(r, d->copy(r->stream, r->target, target, got, SINTER_ABI_COPY_TO_HOST));
    if (target) sinter_status_destroy(d->deallocate(r->stream, target));
    if (source) sinter_status_destroy(d->deallocate(r->stream, source));
    sinter_status_destroy(d->stream_wait(r->stream));
}

static void once(rank *r, sinter_abi_call *call) {
    exchange(r, call, r->job->words, false);
}

static void in_two_calls(rank *r, sinter_abi_call *call) {
    exchange(r, call, r->job->words, true);
}

/* ---- ranks ---- */

static void *run_rank(void *user) {
    rank *r = user;
    job *j = r->job;
    sinter_exchange_mesh mesh;
    sinter_peers peers;
    sinter_abi_services services = *sinter_collectives_services(j->all, r->number);
    sinter_abi_call call = {.size = sizeof call, .services = &services};
    sinter_collectives_peers(j->all, r->number, &peers);
    if (!r->nccl) {
        keep(r, sinter_exchange_mesh_init(&mesh, j->sizes, j->axes));
        keep(r,
             sinter_nccl_create(r->device, &mesh, r->number, j->seconds, j->any_order, &r->nccl));
    }
    if (!r->status && !r->is_idle) {
        services.nccl = r->nccl;
        sinter_nccl_begin_run(r->nccl, &peers);
        j->body(r, &call);
    }
    if (r->is_idle) {
        const struct timespec pause = {.tv_sec = 1};
        nanosleep(&pause, NULL);
    }
    sinter_collectives_leave(j->all, r->number,
                             r->status ? sinter_status_message(r->status) : NULL);
    return NULL;
}

static void *end_rank(void *user) {
    rank *r = user;
    sinter_nccl_destroy(r->nccl);
    r->nccl = NULL;
    return NULL;
}

static void in_threads(job *j, void *(*what)(void *user)) {
    pthread_t threads[MOST];
    for (int64_t i = 0; i < j->count; i++)
        CHECK(!pthread_create(&threads[i], NULL, what, &j->ranks[i]));
    for (int64_t i = 0; i < j->count; i++) pthread_join(threads[i], NULL);
}

static void open_ranks(job *j, int64_t a, int64_t b) {
    j->sizes[0] = a;
    j->sizes[1] = b;
    j->axes = b ? 2 : 1;
    j->count = a * (b ? b : 1);
    if (j->seconds == 0) j->seconds = 20;
    j->ranks = calloc((size_t)j->count, sizeof *j->ranks);
    for (int64_t i = 0; i < j->count; i++) {
        char name[16];
        rank *r = &j->ranks[i];
        *r = (rank){.job = j, .number = i};
        snprintf(name, sizeof name, "cuda:%d", (int)i);
        GOOD(sinter_device_open(name, NULL, &r->device));
        GOOD(r->device->driver->stream_create(r->device, &r->stream));
        for (int k = 0; k < BYTES; k++) r->source[k] = (char)(rand() >> 8);
    }
}

/* All ranks at once; false where one failed. */
static bool run_job(job *j) {
    bool good = true;
    GOOD(sinter_collectives_create(j->sizes, j->axes, j->seconds, &j->all));
    in_threads(j, run_rank);
    for (int64_t i = 0; i < j->count; i++) good = good && !j->ranks[i].status;
    sinter_collectives_destroy(j->all);
    j->all = NULL;
    return good;
}

static void close_ranks(job *j) {
    in_threads(j, end_rank);
    for (int64_t i = 0; i < j->count; i++) {
        rank *r = &j->ranks[i];
        sinter_status_destroy(r->status);
        GOOD(r->device->driver->module_unload(r->module));
        GOOD(r->device->driver->stream_destroy(r->stream));
        sinter_device_close(r->device);
    }
    free(j->ranks);
}

/* ---- what each rank gets ---- */

static void fill_floats(job *j, int32_t dtype) {
    for (int64_t i = 0; i < j->count && (dtype == 1 || dtype == 11); i++)
        for (int k = 0; k < BYTES / 8; k++) {
            const double value = (rand() % 20001 - 10000) / 997.0;
            if (dtype == 1)
                ((float *)(void *)j->ranks[i].source)[k] =
                    k % 50 == 7 ? (i ? -0.0f : 0.0f) : (float)value;
            else
                ((double *)(void *)j->ranks[i].source)[k] = value;
        }
}

/* The sum that is made on the host; NaNs are NaNs, whatever their bits. */
static bool is_sum(const job *j, const rank *r) {
    const sinter_abi_exchange *w = &j->words;
    const size_t size = sinter_exchange_element_size(w->dtype);
    const uint64_t count = target_count(r, w),
                   first = w->kind == SINTER_ABI_ALL_REDUCE ? 0 : (uint64_t)r->number * count;
    const void *sources[MOST];
    char *expected = malloc(count * size + 1);
    bool good = true;
    for (int64_t i = 0; i < j->count; i++) sources[i] = j->ranks[i].source;
    CHECK_INT_EQ(sinter_exchange_combine(w->dtype, w->reduction, sources, j->count, first,
                                         first + count, expected),
                 SINTER_ABI_OK);
    for (uint64_t i = 0; i < count && good; i++) {
        uint16_t bits = 0, other = 0;
        const uint16_t top = w->dtype == 10 ? 0x7c00 : 0x7f80;
        if (!memcmp(expected + i * size, r->target + i * size, size)) continue;
        if (size == 2) memcpy(&bits, expected + 2 * i, 2), memcpy(&other, r->target + 2 * i, 2);
        good =
            (w->dtype == 10 || w->dtype == 16) && (bits & 0x7fff) > top && (other & 0x7fff) > top;
        if (!good)
            printf("  type %d reduction %d element %llu of %llu\n", w->dtype, w->reduction,
                   (unsigned long long)i, (unsigned long long)count);
    }
    free(expected);
    return good;
}

/* The kernel for sums of the exchange, on each device. */
static void load_combine(job *j, const sinter_abi_exchange *words) {
    sinter_loop_stmt stmt = {
        .kind = SINTER_LOOP_EXCHANGE,
        .exchange = {.kind = words->kind, .reduction = words->reduction, .dtype = words->dtype}};
    const sinter_loop_function kernel = {.name = "sum", .body = &stmt};
    sinter_text text = {0}, image = {0};
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_cuda_write_combine_module(&kernel, &text);
    CHECK(compile_cuda(text.data, "sm_90", &image));
    for (int64_t i = 0; i < j->count && image.size; i++) {
        rank *r = &j->ranks[i];
        GOOD(r->device->driver->module_unload(r->module));
        r->module = NULL;
        GOOD(r->device->driver->module_load(r->device, image.data, image.size, &r->module));
        GOOD(r->device->driver->function_get(r->module, sinter_cuda_combine_symbol(&kernel, &arena),
                                             0, &r->combine));
    }
    sinter_arena_deinit(&arena);
    sinter_text_deinit(&text);
    sinter_text_deinit(&image);
}

static void test_sums(int64_t ranks) {
    static const struct {
        int32_t dtype, reduction;
    } cases[] = {
        {1, SINTER_ABI_SUM},   {1, SINTER_ABI_MAX},   {1, SINTER_ABI_MIN},  {11, SINTER_ABI_SUM},
        {10, SINTER_ABI_SUM},  {10, SINTER_ABI_PROD}, {10, SINTER_ABI_MAX}, {16, SINTER_ABI_SUM},
        {16, SINTER_ABI_PROD}, {16, SINTER_ABI_MIN},  {2, SINTER_ABI_SUM},  {3, SINTER_ABI_MAX},
        {4, SINTER_ABI_SUM},   {5, SINTER_ABI_PROD},  {5, SINTER_ABI_MIN},  {6, SINTER_ABI_SUM},
        {7, SINTER_ABI_PROD},  {12, SINTER_ABI_MAX},  {13, SINTER_ABI_SUM}};
    job j = {.body = once};
    open_ranks(&j, ranks, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t size = sinter_exchange_element_size(cases[i].dtype);
        j.words = (sinter_abi_exchange){.kind = SINTER_ABI_ALL_REDUCE,
                                        .reduction = cases[i].reduction,
                                        .dtype = cases[i].dtype,
                                        .index = (uint32_t)i,
                                        .over = 1};
        load_combine(&j, &j.words);
        fill_floats(&j, cases[i].dtype);
        const uint64_t counts[] = {1, 257, BYTES / 2 / size - 1};
        for (size_t k = 0; k < 3; k++) {
            j.words.kind = SINTER_ABI_ALL_REDUCE;
            j.words.count = counts[k];
            CHECK(run_job(&j));
            for (int64_t r = 0; r < j.count; r++) CHECK(is_sum(&j, &j.ranks[r]));
        }
        j.words.kind = SINTER_ABI_REDUCE_SCATTER;
        j.words.count = (uint64_t)ranks * 123;
        j.body = in_two_calls;
        CHECK(run_job(&j));
        for (int64_t r = 0; r < j.count; r++) CHECK(is_sum(&j, &j.ranks[r]));
        j.body = once;
    }
    close_ranks(&j);
}

/* The kernel alone, of more terms than it has in registers. */
static void test_many_terms(void) {
    enum { TERMS = 13, COUNT = 300 };
    const sinter_abi_exchange words = {.kind = SINTER_ABI_ALL_REDUCE, .dtype = 1};
    float terms[TERMS][COUNT], expected[COUNT], got[COUNT];
    const void *sources[TERMS];
    char *memory = NULL;
    job j = {0};
    open_ranks(&j, 1, 0);
    load_combine(&j, &words);
    rank *r = &j.ranks[0];
    const sinter_device_driver *d = r->device->driver;
    for (int t = 0; t < TERMS; t++) {
        for (int i = 0; i < COUNT; i++) terms[t][i] = (float)(rand() % 20001 - 10000) / 997;
        sources[t] = terms[t];
    }
    CHECK_INT_EQ(sinter_exchange_combine(1, SINTER_ABI_SUM, sources, TERMS, 0, COUNT, expected), 0);
    GOOD(d->allocate(r->stream, sizeof terms + sizeof got, (void **)&memory));
    GOOD(d->copy(r->stream, memory + sizeof got, terms, sizeof terms, SINTER_ABI_COPY_TO_DEVICE));
    const uint64_t arguments[] = {(uintptr_t)memory, (uintptr_t)(memory + sizeof got), COUNT,
                                  TERMS};
    const sinter_abi_launch launch = {.grid = {2, 1, 1},
                                      .block = {SINTER_ABI_COMBINE_THREADS, 1, 1},
                                      .argument_count = 4,
                                      .arguments = arguments};
    GOOD(d->launch(r->stream, r->combine, &launch));
    GOOD(d->copy(r->stream, got, memory, sizeof got, SINTER_ABI_COPY_TO_HOST));
    CHECK(!memcmp(got, expected, sizeof got));
    GOOD(d->deallocate(r->stream, memory));
    close_ranks(&j);
}

/* Moves over one axis of a mesh, over both in either order, and between any two ranks. */
static void test_moves(void) {
    static const uint64_t axes[] = {1, 2, 0x0201, 0x0102};
    enum { COUNT = 24, EACH = 4 };
    job j = {.body = once};
    sinter_exchange_mesh mesh;
    open_ranks(&j, 2, 3);
    GOOD(sinter_exchange_mesh_init(&mesh, j.sizes, 2));
    for (size_t a = 0; a < 4; a++)
        for (int32_t kind = SINTER_ABI_ALL_GATHER; kind <= SINTER_ABI_ALL_TO_ALL; kind += 2) {
            j.words =
                (sinter_abi_exchange){.kind = kind, .dtype = 6, .over = axes[a], .count = COUNT};
            CHECK(run_job(&j));
            for (int64_t i = 0; i < j.count; i++) {
                sinter_exchange_group g = {0};
                CHECK(sinter_exchange_find_group(&mesh, i, axes[a], &g));
                const size_t piece = kind == SINTER_ABI_ALL_GATHER ? COUNT * EACH
                                                                   : COUNT * EACH / (size_t)g.count,
                             from = kind == SINTER_ABI_ALL_GATHER ? 0 : (size_t)g.place * piece;
                for (int64_t p = 0; p < g.count; p++)
                    CHECK(!memcmp(j.ranks[i].target + (size_t)p * piece,
                                  j.ranks[g.members[p]].source + from, piece));
                sinter_exchange_free_group(&g);
            }
        }
    close_ranks(&j);
}

/* 0 to 2 to 1, 3 to itself; nobody gives to 0, which gets zeros. */
static void permute(rank *r, sinter_abi_call *call) {
    static const int32_t from[] = {-1, 2, 0, 3}, to[] = {2, -1, 1, 3};
    sinter_abi_exchange words = {.kind = SINTER_ABI_PERMUTE,
                                 .dtype = 3,
                                 .count = 1000,
                                 .from = from[r->number],
                                 .to = to[r->number]};
    exchange(r, call, words, false);
    for (int k = 0; k < 1000 && !r->status; k++)
        CHECK(r->target[k] == (r->number ? r->job->ranks[from[r->number]].source[k] : 0));
}

/* More exchanges than are remembered, without a wait; eight of them under way. */
static void many(rank *r, sinter_abi_call *call) {
    enum { UNDER_WAY = SINTER_ABI_EXCHANGES_UNDER_WAY, ROUNDS = 20 };
    const sinter_device_driver *d = r->device->driver;
    int32_t *memory = NULL, expected[UNDER_WAY], got[UNDER_WAY];
    sinter_abi_exchange words = {.dtype = 6, .over = 1, .count = 1};
    keep(r, d->allocate(r->stream, 2 * sizeof expected, (void **)&memory));
    for (int i = 0; i < UNDER_WAY; i++) expected[i] = i + 1;
    if (!r->status)
        keep(r, d->copy(r->stream, memory, expected, sizeof expected, SINTER_ABI_COPY_TO_DEVICE));
    for (int round = 0; round < ROUNDS && !r->status; round++) {
        for (int phase = 0; phase < 2; phase++)
            for (int i = 0; i < UNDER_WAY && !r->status; i++) {
                words.kind = phase ? SINTER_ABI_EXCHANGE_ENDS : SINTER_ABI_EXCHANGE_BEGINS;
                words.index = (uint32_t)i;
                words.source = memory + i;
                words.target = memory + UNDER_WAY + i;
                keep(r, sinter_nccl_exchange(r->nccl, call, r->stream, &words, NULL));
            }
        if (!r->status)
            keep(r, d->copy(r->stream, memory, memory + UNDER_WAY, sizeof expected,
                            SINTER_ABI_COPY_ON_DEVICE));
    }
    if (!r->status) keep(r, sinter_nccl_wait(r->nccl, r->stream));
    if (!r->status) keep(r, d->copy(r->stream, got, memory, sizeof got, SINTER_ABI_COPY_TO_HOST));
    for (int i = 0; i < UNDER_WAY && !r->status; i++) CHECK_INT_EQ(got[i], (i + 1) << ROUNDS);
    words.kind = SINTER_ABI_EXCHANGE_ENDS;
    FAILS_SAYING(sinter_nccl_exchange(r->nccl, call, r->stream, &words, NULL),
                 SINTER_STATUS_BAD_ARTIFACT, "does not end in its turn");
    sinter_status_destroy(d->deallocate(r->stream, memory));
    sinter_status_destroy(d->stream_wait(r->stream));
}

static void test_body(void (*body)(rank *r, sinter_abi_call *call), int64_t ranks) {
    job j = {.body = body};
    open_ranks(&j, ranks, 0);
    CHECK(run_job(&j));
    close_ranks(&j);
}

/* In any order floats are NCCL's to add: close, but not the tree. */
static void test_any_order(void) {
    job j = {.body = once, .any_order = true};
    open_ranks(&j, 4, 0);
    fill_floats(&j, 1);
    j.words =
        (sinter_abi_exchange){.kind = SINTER_ABI_ALL_REDUCE, .dtype = 1, .over = 1, .count = 5000};
    CHECK(run_job(&j)); /* without a kernel of the artifact's */
    bool differs = false;
    for (int i = 0; i < 5000; i++) {
        float sum = 0;
        for (int r = 0; r < 4; r++) sum += ((const float *)(const void *)j.ranks[r].source)[i];
        const float got = ((const float *)(const void *)j.ranks[1].target)[i];
        CHECK(got - sum < 1e-4f && sum - got < 1e-4f);
        differs |= memcmp(&got, &sum, sizeof sum) != 0;
    }
    CHECK(differs);
    close_ranks(&j);
}

/* ---- what goes wrong ---- */

/* Some rank says each of the texts. */
static void says(const job *j, const char *first, const char *second) {
    bool found = false;
    for (int64_t i = 0; i < j->count; i++) {
        const char *text = j->ranks[i].status ? sinter_status_message(j->ranks[i].status) : "";
        found |= strstr(text, first) && strstr(text, second);
    }
    if (!CHECK(found))
        for (int64_t i = 0; i < j->count; i++)
            if (j->ranks[i].status) printf("  %s\n", sinter_status_message(j->ranks[i].status));
}

/* A sum, pieces and messages, in one run. */
static void all_kinds(rank *r, sinter_abi_call *call) {
    sinter_abi_exchange words = {.dtype = 6, .over = 1, .count = 64};
    static const int32_t kinds[] = {SINTER_ABI_ALL_REDUCE, SINTER_ABI_REDUCE_SCATTER,
                                    SINTER_ABI_ALL_GATHER, SINTER_ABI_ALL_TO_ALL};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && !r->status; i++) {
        words.kind = kinds[i];
        words.index = (uint32_t)i;
        exchange(r, call, words, false);
    }
}

/* Each function fails at each of its calls, and some rank says so; all end. Those of the end have nobody to tell. */
static void test_failures(void) {
    static const char *const symbols[] = {"ncclGetUniqueId", "ncclCommInitRankConfig",
                                          "ncclAllReduce",   "ncclReduceScatter",
                                          "ncclAllGather",   "ncclSend",
                                          "ncclRecv",        "ncclGroupStart",
                                          "ncclGroupEnd",    "ncclCommGetAsyncError"};
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        char wish[64];
        job j = {.body = all_kinds, .seconds = 20};
        open_ranks(&j, 2, 0);
        snprintf(wish, sizeof wish, "%s@1=3", symbols[i]);
        setenv("SINTER_EMULATION_NCCL_FAIL", wish, 1);
        nccl_functions call;
        GOOD(sinter_nccl_open_library(&call)); /* counts anew */
        CHECK(!run_job(&j));
        unsetenv("SINTER_EMULATION_NCCL_FAIL");
        says(&j, symbols[i], "internal error (3): the emulation was told so");
        close_ranks(&j);
    }
}

static void with(const char *variable, const char *value, const char *first, const char *second) {
    job j = {.body = all_kinds, .seconds = 0.3};
    open_ranks(&j, 2, 0);
    if (variable) setenv(variable, value, 1);
    j.ranks[1].is_idle = !variable;
    const double begun = sinter_exchange_clock();
    CHECK(!run_job(&j));
    CHECK(sinter_exchange_clock() - begun < 20);
    if (variable) unsetenv(variable);
    says(&j, first, second);
    close_ranks(&j);
}

static void test_library(void) {
    nccl_functions call;
    setenv("SINTER_EMULATION_NCCL_VERSION", "21304", 1);
    FAILS_SAYING(sinter_nccl_open_library(&call), SINTER_STATUS_NO_DEVICE, "version 2.13.4",
                 "2.14");
    setenv("SINTER_EMULATION_NCCL_VERSION", "2708", 1);
    FAILS_SAYING(sinter_nccl_open_library(&call), SINTER_STATUS_NO_DEVICE, "version 2.7.8");
    unsetenv("SINTER_EMULATION_NCCL_VERSION");
    GOOD(sinter_nccl_open_library(&call));
    CHECK_INT_EQ(call.number, 22100);
    setenv("SINTER_CUDA_PATH", "tests/cuda_emulation/missing", 1);
    sinter_status *status = sinter_nccl_open_library(&call); /* NVIDIA's, where it is installed */
    if (status)
        printf("no NCCL here: its functions are not looked for: %s\n",
               sinter_status_message(status));
    else
        CHECK(call.number >= NCCL_LEAST_VERSION && strlen(call.error_text(NCCL_SYSTEM_ERROR)) > 0);
    sinter_status_destroy(status);
    use_emulation();
}

int main(void) {
    use_emulation();
    setenv("SINTER_EMULATION_DEVICES", "8", 1);
    test_library();
    test_moves();
    test_body(permute, 4);
    test_body(many, 2);
    test_any_order();
    test_sums(3);
    test_many_terms();
    test_failures();
    with("SINTER_EMULATION_NCCL_HANG", "1@2", "all_gather 2", "did not end it within 0.3 seconds");
    with("SINTER_EMULATION_NCCL_LOSE", "1@1", "remote process exited", "(6)");
    with(NULL, NULL, "rank 1 ", "all_gather");
    return test_finish();
}
