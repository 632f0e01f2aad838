/* Exchanges between threads: what each rank gets, in what order sums are made, and what the survivors say of a rank that died, hangs or
 * runs another program. Run under the thread sanitizer too. */
#include "ir/type.h"
#include "runtime/collectives.h"
#include "runtime/exchange.h"
#include "tests/unit/test.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum { MOST = 8, SIZE = 130 };

typedef struct job {
    sinter_collectives *all;
    int64_t rank;
    int (*body)(struct job *job);
    int code;
    char message[256];
    float x[SIZE * MOST], y[SIZE * MOST];
    int8_t small[4], sums[4];
} job;

/* One exchange as an artifact makes it. */
static int exchange(job *j, int32_t kind, int32_t reduction, int32_t dtype, uint32_t index,
                    uint64_t over, uint64_t count, const void *source, void *target) {
    sinter_abi_exchange words = {kind, reduction, dtype, index, over, count, source, target, 0, 0};
    sinter_abi_call call = {.size = sizeof call,
                            .services = sinter_collectives_services(j->all, j->rank)};
    int code = call.services->exchange(&call, &words);
    if (code) memcpy(j->message, call.message, sizeof j->message);
    return code;
}

static int permute(job *j, uint32_t index, uint64_t count, int32_t from, int32_t to) {
    sinter_abi_exchange words = {.kind = SINTER_ABI_PERMUTE,
                                 .dtype = 1,
                                 .index = index,
                                 .count = count,
                                 .source = j->x,
                                 .target = j->y,
                                 .from = from,
                                 .to = to};
    sinter_abi_call call = {.size = sizeof call,
                            .services = sinter_collectives_services(j->all, j->rank)};
    int code = call.services->exchange(&call, &words);
    if (code) memcpy(j->message, call.message, sizeof j->message);
    return code;
}

static void *run(void *user) {
    job *j = user;
    j->code = j->body(j);
    sinter_collectives_leave(j->all, j->rank, j->code ? j->message : NULL);
    return NULL;
}

static bool any_order; /* of what start makes */

static job *start(const int64_t *axes, uint32_t axis_count, double seconds, int (*body)(job *)) {
    sinter_collectives *all = NULL;
    pthread_t threads[MOST];
    CHECK(sinter_collectives_create(axes, axis_count, seconds, &all) == NULL);
    if (any_order) sinter_collectives_allow_any_order(all);
    int64_t count = sinter_collectives_rank_count(all);
    job *jobs = calloc(MOST, sizeof *jobs);
    for (int64_t i = 0; i < count; i++) {
        jobs[i].all = all;
        jobs[i].rank = i;
        jobs[i].body = body;
        pthread_create(&threads[i], NULL, run, &jobs[i]);
    }
    for (int64_t i = 0; i < count; i++) pthread_join(threads[i], NULL);
    sinter_collectives_destroy(all);
    return jobs;
}

/* Mesh 2 x 3: over its last axis, its first, both. */
static int all_kinds(job *j) {
    int wrong = 0, r = (int)j->rank, row = r / 3, column = r % 3;
    for (uint32_t round = 0; round < 50; round++) {
        for (int i = 0; i < SIZE; i++) j->x[i] = (float)(100 * r + i);
        wrong += exchange(j, SINTER_ABI_ALL_REDUCE, SINTER_ABI_SUM, 1, 4 * round, 2, SIZE, j->x,
                          j->y) != 0;
        for (int i = 0; i < SIZE; i++) wrong += j->y[i] != (float)(300 * (3 * row + 1) + 3 * i);
        wrong += exchange(j, SINTER_ABI_ALL_GATHER, 0, 1, 4 * round + 1, 1, SIZE, j->x, j->y) != 0;
        for (int i = 0; i < 2 * SIZE; i++)
            wrong += j->y[i] != (float)(100 * (column + 3 * (i / SIZE)) + i % SIZE);
        for (int i = 0; i < 3 * SIZE; i++) j->x[i] = (float)(1000 * r + i);
        wrong += exchange(j, SINTER_ABI_REDUCE_SCATTER, SINTER_ABI_MAX, 1, 4 * round + 2, 2,
                          3 * SIZE, j->x, j->y) != 0;
        for (int i = 0; i < SIZE; i++)
            wrong += j->y[i] != (float)(1000 * (3 * row + 2) + column * SIZE + i);
        wrong +=
            exchange(j, SINTER_ABI_ALL_TO_ALL, 0, 1, 4 * round + 3, 0x0201, 6, j->x, j->y) != 0;
        for (int i = 0; i < 6; i++) wrong += j->y[i] != (float)(1000 * i + r);
    }
    return wrong;
}

/* Neighbours first: (2^24 + 1) + (1 + 1); bytes wrap; NaN wins. */
static int in_order(job *j) {
    static const float terms[] = {16777216.0f, 1, 1, 1};
    j->x[0] = terms[j->rank];
    j->x[1] = j->rank == 2 ? NAN : 1.0f;
    for (int i = 0; i < 4; i++) j->small[i] = (int8_t)(i == 0 ? 100 : -(int)j->rank);
    int wrong =
        exchange(j, SINTER_ABI_ALL_REDUCE, SINTER_ABI_SUM, 1, 0, 1, 1, j->x, j->y) ||
        exchange(j, SINTER_ABI_ALL_REDUCE, SINTER_ABI_MAX, 1, 1, 1, 1, j->x + 1, j->y + 1) ||
        exchange(j, SINTER_ABI_ALL_REDUCE, SINTER_ABI_SUM, 3, 2, 1, 4, j->small, j->sums);
    return wrong + (j->y[0] != 16777218.0f) + !isnan(j->y[1]) + (j->sums[0] != (int8_t)400) +
           (j->sums[3] != -6);
}

/* Where any order will do: 1 + 1 + 1 are there before 2^24 comes, and make one step of it together; what has no order of its own, and what
 * is rounded after each term, stays as it is. */
static int as_they_come(job *j) {
    static const float terms[] = {16777216.0f, 1, 1, 1};
    struct timespec late = {.tv_nsec = 300000000};
    uint16_t half = j->rank ? 0x1000 : 0x3c00, sum = 0;
    j->x[0] = terms[j->rank];
    if (j->rank == 0) nanosleep(&late, NULL);
    int wrong = exchange(j, SINTER_ABI_ALL_REDUCE, SINTER_ABI_SUM, 1, 0, 1, 1, j->x, j->y);
    wrong += j->y[0] != 16777220.0f;
    for (int i = 0; i < 4 * SIZE; i++) j->x[i] = (float)(i % 7 + (int)j->rank);
    wrong += exchange(j, SINTER_ABI_REDUCE_SCATTER, SINTER_ABI_PROD, 1, 1, 1, 4 * SIZE, j->x, j->y);
    for (int i = 0; i < SIZE; i++) {
        int at = (i + SIZE * (int)j->rank) % 7;
        wrong += j->y[i] != (float)(at * (at + 1) * (at + 2) * (at + 3));
    }
    j->small[0] = (int8_t)(100 + j->rank);
    wrong += exchange(j, SINTER_ABI_ALL_REDUCE, SINTER_ABI_SUM, 3, 2, 1, 1, j->small, j->sums);
    if (j->rank == 0) nanosleep(&late, NULL);
    wrong += exchange(j, SINTER_ABI_ALL_REDUCE, SINTER_ABI_SUM, 10, 3, 1, 1, &half, &sum);
    return wrong + (j->sums[0] != (int8_t)406) + (sum != 0x3c01);
}

/* Around a ring of six; then two swap, one gives to itself, one gives and gets nothing, and two have half a pair. */
static int around(job *j) {
    static const int32_t from[] = {1, 0, 2, -1, 5, -1}, to[] = {1, 0, 2, -1, -1, 4};
    int32_t r = (int32_t)j->rank;
    int wrong = 0;
    for (uint32_t round = 0; round < 50; round++) {
        for (int i = 0; i < SIZE; i++) j->x[i] = (float)(1000 * r + i) + 0.5f * (float)round;
        wrong += permute(j, 2 * round, SIZE, (r + 5) % 6, (r + 1) % 6);
        for (int i = 0; i < SIZE; i++)
            wrong += j->y[i] != (float)(1000 * ((r + 5) % 6) + i) + 0.5f * (float)round;
        wrong += permute(j, 2 * round + 1, SIZE, from[r], to[r]);
        for (int i = 0; i < SIZE; i++)
            wrong +=
                j->y[i] != (from[r] < 0 ? 0 : (float)(1000 * from[r] + i) + 0.5f * (float)round);
    }
    return wrong;
}

/* 1 + 2^-11 + 2^-11 in f16, two by two: each half step is lost to even; bf16 the same at 2^-8. -0 stays, infinity comes. */
static int narrow_sums(job *j) {
    static const uint16_t half[4][5] = {{0x3c00, 0x8000, 0x7bff, 0x0001, 0x7e00},
                                        {0x1000, 0x8000, 0x5000, 0x0001, 0x3c00},
                                        {0x1000, 0x8000, 0x0000, 0x03ff, 0x3c00},
                                        {0x0000, 0x8000, 0x0000, 0x0000, 0x3c00}};
    static const uint16_t half_sums[] = {0x3c00, 0x8000, 0x7c00, 0x0401, 0x7e00};
    static const uint16_t brain[4][3] = {
        {0x3f80, 0x7f7f, 0x0001}, {0x3b80, 0x7b00, 0x0001}, {0x3b80, 0, 0x007e}, {0, 0, 0}};
    static const uint16_t brain_sums[] = {0x3f80, 0x7f80, 0x0080};
    uint16_t sums[5];
    int wrong =
        exchange(j, SINTER_ABI_ALL_REDUCE, SINTER_ABI_SUM, 10, 0, 1, 5, half[j->rank], sums);
    for (int i = 0; i < 5; i++) wrong += sums[i] != half_sums[i];
    wrong += exchange(j, SINTER_ABI_ALL_REDUCE, SINTER_ABI_SUM, 16, 1, 1, 3, brain[j->rank], sums);
    for (int i = 0; i < 3; i++) wrong += sums[i] != brain_sums[i];
    return wrong;
}

/* Both want to get, nobody gives to the other. */
static int one_sided(job *j) {
    return permute(j, 0, 4, (int32_t)j->rank ^ 1, -1);
}

static int one_dies(job *j) {
    if (j->rank == 2) {
        snprintf(j->message, sizeof j->message, "the disk is full");
        return 1;
    }
    /* first with the neighbour, then with all: those who miss a survivor still name who is to blame */
    int code = exchange(j, SINTER_ABI_ALL_REDUCE, SINTER_ABI_SUM, 1, 7, 2, 4, j->x, j->y);
    return code ? code
                : exchange(j, SINTER_ABI_ALL_REDUCE, SINTER_ABI_SUM, 1, 8, 0x0201, 4, j->x, j->y);
}

static int one_hangs(job *j) {
    struct timespec time = {.tv_sec = 1};
    if (j->rank == 1) nanosleep(&time, NULL);
    return exchange(j, SINTER_ABI_ALL_REDUCE, SINTER_ABI_SUM, 1, 3, 0x0201, 4, j->x, j->y);
}

static int one_differs(job *j) {
    return exchange(j, SINTER_ABI_ALL_REDUCE, SINTER_ABI_SUM, 1, 0, 0x0201, j->rank == 3 ? 5 : 4,
                    j->x, j->y);
}

/* Each comes in time for the one before it, but not for the first. */
static int each_later(job *j) {
    int64_t milliseconds = 350 * j->rank;
    struct timespec time = {.tv_sec = milliseconds / 1000,
                            .tv_nsec = milliseconds % 1000 * 1000000};
    nanosleep(&time, NULL);
    return exchange(j, SINTER_ABI_ALL_REDUCE, SINTER_ABI_SUM, 1, 3, 0x0201, 4, j->x, j->y);
}

/* The first comes when two are there, and reads from one after the other; the last one then has other words. Whoever fails gives its memory
 * back at once, which others may be about to read. */
static _Atomic int comers;

static int one_frees(job *j) {
    enum { LARGE = 1 << 22 };
    struct timespec little = {.tv_nsec = 200000};
    float *source = calloc(LARGE, sizeof *source), *target = calloc(LARGE / 4, sizeof *target);
    while (j->rank == 0 && comers < 2) nanosleep(&little, NULL);
    while (j->rank == 3 && comers < 3) nanosleep(&little, NULL);
    if (j->rank == 0) nanosleep(&little, NULL);
    comers++;
    int code = exchange(j, SINTER_ABI_REDUCE_SCATTER, SINTER_ABI_SUM, 1, 0, 0x0201,
                        j->rank == 3 ? LARGE - 4 : LARGE, source, target);
    free(source);
    free(target);
    return code;
}

/* Every rank gets what it should. */
static void expect_right(const int64_t *axes, uint32_t axis_count, int (*body)(job *)) {
    job *jobs = start(axes, axis_count, 60, body);
    for (int i = 0; i < MOST; i++) CHECK_INT_EQ(jobs[i].code, 0); /* 0 as well where no rank is */
    free(jobs);
}

static void expect(int (*body)(job *), double seconds, int64_t but, const char *part) {
    static const int64_t axes[] = {2, 2};
    job *jobs = start(axes, 2, seconds, body);
    for (int i = 0; i < 4; i++) {
        if (i == but) continue;
        CHECK(jobs[i].code != 0);
        if (!CHECK(strstr(jobs[i].message, part) != NULL))
            printf("  rank %d says \"%s\", expected \"%s\"\n", i, jobs[i].message, part);
    }
    free(jobs);
}

/* Whatever a model's elements are, ranks can hand them on. */
static void test_collectives__element_types(void) {
    for (int dtype = 1; dtype < SINTER_DTYPE_COUNT; dtype++) {
        const sinter_dtype_info *info = &sinter_dtype_infos[dtype];
        bool whole = info->bits >= 8 && info->bits % 8 == 0 && dtype != SINTER_DTYPE_string;
        if (whole) CHECK_INT_EQ(sinter_exchange_element_size(info->onnx_code), info->bits / 8);
    }
}

int main(void) {
    test_collectives__element_types();
    static const int64_t mesh[] = {2, 3}, four[] = {4}, bad[] = {0};
    sinter_collectives *none = NULL;
    expect_right(mesh, 2, all_kinds);
    expect_right(mesh, 2, around);
    expect_right(four, 1, narrow_sums);
    expect_right(four, 1, in_order);
    expect(one_dies, 60, 2, "rank 2 has ended: the disk is full");
    expect(one_hangs, 0.2, 1, "rank 1 did not come to all_reduce 3 within 0.2 seconds");
    expect(one_differs, 60, -1, "rank");
    expect(one_sided, 60, -1, "rank");
    any_order = true;
    expect_right(mesh, 2, all_kinds);
    expect_right(four, 1, as_they_come);
    expect(one_dies, 60, 2, "rank 2 has ended: the disk is full");
    expect(one_hangs, 0.2, 1, "rank 1 did not come to all_reduce 3 within 0.2 seconds");
    expect(one_differs, 60, -1, "rank");
    expect(each_later, 0.5, -1, "did not come to all_reduce 3 within 0.5 seconds");
    for (int round = 0; round < 10; round++) {
        comers = 0;
        expect(one_frees, 60, -1, "rank");
    }
    sinter_status *status = sinter_collectives_create(bad, 1, 1, &none);
    CHECK(status != NULL);
    sinter_status_destroy(status);
    return test_finish();
}
