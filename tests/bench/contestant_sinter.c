/* A compiled artifact as a contestant: outputs and context are taken once, in huge pages where they fill some.
 * Test: tests/cli/beside.test */
#include "ir/base/heap.h"
#include "runtime/sinter_runtime.h"
#include "tests/bench/contestant.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct artifact_run {
    sinter_executable *executable;
    sinter_pool *pool;
    sinter_abi_tensor inputs[64], outputs[64];
    void *context;
    uint64_t context_bytes;
} artifact_run;

static bool fine(sinter_status *status) {
    if (!status) return true;
    fprintf(stderr, "beside: error: %s\n", sinter_status_message(status));
    sinter_status_destroy(status);
    return false;
}

static bool run(void *state) {
    artifact_run *r = state;
    return fine(sinter_executable_run(r->executable, r->inputs, r->outputs,
                                      sinter_pool_services(r->pool), r->context, r->context_bytes));
}

static bool output(void *state, size_t index, sinter_tensor *out_tensor) {
    artifact_run *r = state;
    if (index >= sinter_executable_describe(r->executable)->output_count) return false;
    const sinter_abi_tensor *one = &r->outputs[index];
    *out_tensor = (sinter_tensor){.dtype = sinter_dtype_from_onnx(one->dtype),
                                  .rank = (uint32_t)one->rank,
                                  .data = one->data};
    memcpy(out_tensor->dims, one->dims, (size_t)one->rank * sizeof(int64_t));
    return true;
}

static void destroy(void *state) {
    artifact_run *r = state;
    if (r->executable)
        for (uint32_t i = 0; i < sinter_executable_describe(r->executable)->output_count; i++)
            sinter_output_free(&r->outputs[i], sinter_pool_services(r->pool));
    free(r->context);
    sinter_pool_destroy(r->pool);
    sinter_executable_destroy(r->executable);
    sinter_heap_free(r);
}

static void *take_pages(uint64_t bytes) {
    size_t page = bytes < SINTER_ABI_HUGE_PAGE ? 4096 : SINTER_ABI_HUGE_PAGE;
    size_t size = (bytes / page + 1) * page;
    void *pages = aligned_alloc(page, size);
    if (pages && page == SINTER_ABI_HUGE_PAGE) madvise(pages, size, MADV_HUGEPAGE);
    return pages;
}

/* The first run gives the outputs their memory, which later ones fill again. */
static bool prepare(artifact_run *r, const feeds *inputs) {
    const sinter_abi_artifact *about = sinter_executable_describe(r->executable);
    if (about->input_count > inputs->count || about->input_count > 64 || about->output_count > 64) {
        fprintf(stderr, "beside: error: %s takes %u inputs, %zu are given\n", about->name,
                about->input_count, inputs->count);
        return false;
    }
    for (uint32_t i = 0; i < about->input_count; i++) {
        const sinter_tensor *given = &inputs->items[i];
        sinter_abi_tensor *one = &r->inputs[i];
        one->dtype = sinter_dtype_infos[given->dtype].onnx_code;
        one->rank = (int32_t)given->rank;
        memcpy(one->dims, given->dims, given->rank * sizeof(int64_t));
        one->data = (void *)(uintptr_t)given->data;
        one->bytes = sinter_tensor_bytes(given);
    }
    if (!fine(sinter_executable_plan(r->executable, r->inputs, r->outputs, &r->context_bytes)))
        return false;
    r->context = take_pages(r->context_bytes);
    return r->context && run(r);
}

bool contestant_open_sinter(const char *artifact, int threads, const feeds *inputs,
                            contestant *out) {
    artifact_run *r = sinter_heap_alloc(sizeof *r);
    *out = (contestant){r, run, output, destroy};
    return fine(sinter_executable_load(artifact, NULL, &r->executable)) &&
           fine(sinter_pool_create((uint32_t)threads, NULL, &r->pool)) && prepare(r, inputs);
}
