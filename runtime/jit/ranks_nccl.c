/* Ranks on GPUs that exchange without the host (runtime/nccl.h): whether they can, and what each has for it. All decide alike, by what each
 * tells of its device and its library. Test: tests/suites/long/shard_cuda.py */
#include "runtime/jit/ranks_internal.h"
#include "runtime/nccl.h"
#include "runtime/nccl_library.h"

#include <stdio.h>
#include <string.h>

/* What a rank tells; of one size in all processes. */
typedef struct facts {
    unsigned char uuid[16];
    uint32_t wish, version; /* sinter_exchange_way; of the library, 0: it has none */
    char why[232];          /* it has none */
} facts;

static void find_facts(const sinter_ranks *r, int64_t rank, facts *out_facts) {
    nccl_functions call = {0};
    memset(out_facts, 0, sizeof *out_facts);
    memcpy(out_facts->uuid, r->devices[rank]->properties.uuid, sizeof out_facts->uuid);
    out_facts->wish = r->exchange;
    if (r->exchange == SINTER_EXCHANGE_HOST) return;
    sinter_status *status = sinter_nccl_open_library(&call);
    if (status)
        snprintf(out_facts->why, sizeof out_facts->why, "%s", sinter_status_message(status));
    else
        out_facts->version = (uint32_t)call.number;
    sinter_status_destroy(status);
}

/* Each process tells its own to all, as it exchanges on the host. */
static bool tell_facts(const sinter_ranks *r, sinter_job *job, facts *all, sinter_diag *diag) {
    sinter_abi_call call = {.size = sizeof call, .services = sinter_job_services(job)};
    const facts own = all[r->own];
    sinter_abi_exchange words = {.kind = SINTER_ABI_ALL_GATHER,
                                 .dtype = 2, /* uint8 */
                                 .count = sizeof own,
                                 .source = &own,
                                 .target = all};
    for (uint32_t i = 0; i < r->mesh.axis_count; i++) words.over |= (uint64_t)(i + 1) << (8 * i);
    return !call.services->exchange(&call, &words) ||
           sinter_error(diag, r->name, "%s", call.message);
}

/* Why they don't exchange without the host; false: they do. */
static bool find_obstacle(const sinter_ranks *r, const facts *all, char *why, size_t size) {
    for (int64_t i = 0; i < r->count; i++) {
        if (all[i].wish == SINTER_EXCHANGE_HOST)
            return snprintf(why, size, "rank %lld is to exchange by way of the host", (long long)i);
        for (int64_t k = 0; k < i; k++)
            if (!memcmp(all[i].uuid, all[k].uuid, sizeof all[i].uuid))
                return snprintf(why, size,
                                "ranks %lld and %lld share a device, which NCCL does not allow",
                                (long long)k, (long long)i);
    }
    for (int64_t i = 0; i < r->count; i++)
        if (!all[i].version || all[i].version / 100 != all[0].version / 100)
            return snprintf(why, size,
                            all[i].version ? "rank %lld has NCCL of another version"
                                           : "rank %lld: %s",
                            (long long)i, all[i].why);
    return false;
}

static bool make(sinter_ranks *r, int64_t rank, sinter_diag *diag) {
    int64_t sizes[SINTER_MESH_MAX_AXES];
    sinter_exchange_mesh mesh;
    for (uint32_t i = 0; i < r->mesh.axis_count; i++) sizes[i] = r->mesh.axes[i].size;
    return sinter_engine_report(sinter_exchange_mesh_init(&mesh, sizes, r->mesh.axis_count),
                                r->name, diag) &&
           sinter_engine_report(sinter_nccl_create(r->devices[rank], &mesh, rank, r->seconds,
                                                   r->any_order, &r->nccl[rank]),
                                r->name, diag);
}

bool sinter_ranks_join_devices(sinter_ranks *r, sinter_job *job, sinter_diag *diag) {
    char why[384] = "";
    const int64_t here = r->own < 0 ? 0 : r->own;
    const bool on_gpus = r->devices[here] && r->devices[here]->driver == &sinter_device_cuda;
    bool good = true;
    if (!on_gpus && r->exchange == SINTER_EXCHANGE_NCCL)
        return sinter_error(diag, r->name, "NCCL is for ranks on GPUs (--device=cuda)");
    if (!on_gpus || r->count < 2) return true;
    facts *all = sinter_heap_alloc((size_t)r->count * sizeof *all);
    for (int64_t i = 0; i < r->count; i++)
        if (r->devices[i]) find_facts(r, i, &all[i]);
    if (job) good = tell_facts(r, job, all, diag);
    const bool by_host = good && find_obstacle(r, all, why, sizeof why);
    if (by_host && r->exchange == SINTER_EXCHANGE_NCCL)
        good = sinter_error(diag, r->name, "no exchanges by NCCL: %s", why);
    if (by_host && r->exchange == SINTER_EXCHANGE_AUTO && here == 0)
        sinter_note(diag, r->name,
                    "ranks exchange by way of the host, not by NCCL: %s (--exchange=host: so it "
                    "is meant)",
                    why);
    sinter_heap_free(all);
    if (!good || by_host) return good;
    r->nccl = SINTER_NEW_ARRAY(&r->arena, struct sinter_nccl *, r->count);
    r->services = SINTER_NEW_ARRAY(&r->arena, sinter_abi_services, r->count);
    for (int64_t i = 0; good && i < r->count; i++)
        if (r->devices[i]) good = make(r, i, diag);
    return good;
}

const char *sinter_ranks_exchange(const sinter_ranks *r) {
    const sinter_device *device = r->devices[r->own < 0 ? 0 : r->own];
    if (r->count < 2 || !device || device->driver != &sinter_device_cuda) return NULL;
    return r->nccl ? "nccl" : "host";
}

const sinter_abi_services *sinter_ranks_get_services(sinter_ranks *r, int64_t rank,
                                                     const sinter_abi_services *host,
                                                     const sinter_peers *peers) {
    if (!r->nccl) return host;
    r->services[rank] = *host;
    r->services[rank].nccl = r->nccl[rank];
    sinter_nccl_begin_run(r->nccl[rank], peers);
    return &r->services[rank];
}

void sinter_ranks_abort_devices(sinter_ranks *r) {
    for (int64_t i = 0; r->nccl && i < r->count; i++)
        if (r->nccl[i]) sinter_nccl_abort(r->nccl[i]);
}

static void leave_some(void *environment, int64_t first, int64_t end) {
    const sinter_ranks *r = environment;
    for (int64_t i = first; i < end; i++) sinter_nccl_destroy(r->nccl[i]);
}

void sinter_ranks_leave_devices(sinter_ranks *r) {
    if (!r->nccl) return;
    if (r->failed) sinter_ranks_abort_devices(r);
    if (r->pool)
        sinter_pool_parallel_for(r->pool, r->count, 1, leave_some, r);
    else
        leave_some(r, 0, r->count);
    r->nccl = NULL;
}
