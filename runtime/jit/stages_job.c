/* Stages of a pipeline that are processes; see stages.h. The first process, which is rank 0 of stage 0, cuts the inputs into requests
 * and sends every other one its parts of them; then each process works on one request after the other, and in the end the first
 * one gets the outputs.
 *
 * In between a process talks to its neighbours only: the same rank of the stage before and of the one after. It hands on what it made and
 * what it got that later stages take, so that nobody waits for a stage that is more than one request away. A request is sent when the
 * one behind asks for it: as many are in flight as there are stages. Test: tests/suites/mpi.py, tests/suites/long/mpi_models.py */
#include "ir/sharding_tensor.h"
#include "runtime/jit/messages.h"
#include "runtime/jit/ranks_internal.h"
#include "runtime/jit/stages_internal.h"

#include <stdio.h>
#include <string.h>

typedef sinter_message_head head;

static int64_t micro_count(const sinter_stages *s) {
    return sinter_mesh_rank_count(&s->micro);
}

static const sinter_stage *stage_of(const sinter_stages *s, int64_t process) {
    return &s->stages.items[process / s->rank_count];
}

static bool has(const sinter_slot_list *list, uint32_t slot) {
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i] == slot) return true;
    return false;
}

/* Inputs that the stage takes; of outputs those that it gives. Lists are of slots, or of outputs; returns how many there are. */
static size_t list_inputs(const sinter_stages *s, const sinter_stage *stage, uint32_t *out_slots) {
    size_t count = 0;
    for (uint32_t slot = 0; slot < s->inputs.count; slot++)
        if (has(&stage->takes, slot)) out_slots[count++] = slot;
    return count;
}

static size_t list_outputs(const sinter_stages *s, const sinter_stage *stage,
                           uint32_t *out_outputs) {
    size_t count = 0;
    for (uint32_t i = 0; i < s->outputs.count; i++)
        if (has(&stage->gives, s->results.items[i])) out_outputs[count++] = i;
    return count;
}

/* Slots that are made up to `stage` and taken after it. */
static size_t list_crossing(const sinter_stages *s, uint32_t stage, uint32_t *out_slots) {
    size_t count = 0;
    uint32_t end = (uint32_t)s->inputs.count;
    for (uint32_t i = 0; i <= stage; i++) end += (uint32_t)s->stages.items[i].gives.count;
    for (uint32_t slot = (uint32_t)s->inputs.count; slot < end; slot++)
        for (size_t later = stage + 1; later < s->stages.count; later++)
            if (has(&s->stages.items[later].takes, slot)) {
                out_slots[count++] = slot;
                break;
            }
    return count;
}

/* ---- one process's part of a run ---- */

/* What one process has in a run; freed only after one that went well, as messages under way keep their memory. */
typedef struct part {
    sinter_stages *stages;
    sinter_tensor *slots;     /* by micro-batch, then by slot */
    uint32_t *before, *after; /* slots that come from the stage before, and go to the one after */
    size_t before_count, after_count;
    head *heads; /* room for those of one message */
    sinter_tensor *tensors;
} part;

static void init_part(part *p, sinter_stages *s) {
    size_t room = (size_t)s->slot_count + s->outputs.count + 1;
    *p = (part){.stages = s};
    p->slots = sinter_heap_alloc(((size_t)(micro_count(s) * s->slot_count) + 1) * sizeof *p->slots);
    p->before = sinter_heap_alloc(room * sizeof *p->before);
    p->after = sinter_heap_alloc(room * sizeof *p->after);
    p->heads = sinter_heap_alloc((size_t)micro_count(s) * room * sizeof *p->heads);
    p->tensors = sinter_heap_alloc((size_t)micro_count(s) * room * sizeof *p->tensors);
    if (s->own_stage) p->before_count = list_crossing(s, s->own_stage - 1, p->before);
    p->after_count = list_crossing(s, s->own_stage, p->after);
}

static void deinit_part(part *p) {
    sinter_tensors_destroy(p->slots, (size_t)(micro_count(p->stages) * p->stages->slot_count));
    sinter_heap_free(p->before);
    sinter_heap_free(p->after);
    sinter_heap_free(p->heads);
    sinter_heap_free(p->tensors);
}

static bool finish_micro(const part *p, int64_t micro, sinter_diag *diag) {
    char what[40];
    snprintf(what, sizeof what, "request %lld", (long long)micro);
    return sinter_messages_finish(p->stages->job, what, diag);
}

/* Of the stage before; the messages of one request at a time. */
static bool receive_slots(part *p, int64_t micro, sinter_diag *diag) {
    sinter_job *job = p->stages->job;
    int64_t from = sinter_job_rank(job) - p->stages->rank_count;
    sinter_tensor *slots = p->slots + micro * p->stages->slot_count;
    if (!p->before_count) return true;
    if (!sinter_messages_receive(job, from, p->heads, p->before_count * sizeof *p->heads, diag) ||
        !finish_micro(p, micro, diag) ||
        !sinter_messages_receive_tensors(job, from, p->heads, p->tensors, p->before_count, diag))
        return false;
    for (size_t i = 0; i < p->before_count; i++) slots[p->before[i]] = p->tensors[i];
    return finish_micro(p, micro, diag);
}

static bool send_slots(part *p, int64_t micro, sinter_diag *diag) {
    sinter_job *job = p->stages->job;
    int64_t to = sinter_job_rank(job) + p->stages->rank_count;
    const sinter_tensor *slots = p->slots + micro * p->stages->slot_count;
    if (!p->after_count) return true;
    for (size_t i = 0; i < p->after_count; i++) {
        p->tensors[i] = slots[p->after[i]]; /* borrowed */
        if (!sinter_messages_describe(&p->tensors[i], "pipeline", &p->heads[i], diag)) return false;
    }
    return sinter_messages_send(job, to, p->heads, p->after_count * sizeof *p->heads, diag) &&
           sinter_messages_send_tensors(job, to, p->heads, p->tensors, p->after_count, diag) &&
           finish_micro(p, micro, diag);
}

static bool run_micro(part *p, int64_t micro, sinter_diag *diag) {
    const sinter_stages *s = p->stages;
    const sinter_stage *own = &s->stages.items[s->own_stage];
    sinter_engine *engine = sinter_stages_own_engine(s);
    sinter_tensor *slots = p->slots + micro * s->slot_count;
    sinter_tensor *inputs = sinter_heap_alloc((own->takes.count + 1) * sizeof *inputs);
    sinter_tensor *outputs = sinter_heap_alloc((own->gives.count + 1) * sizeof *outputs);
    for (size_t i = 0; i < own->takes.count; i++) inputs[i] = slots[own->takes.items[i]];
    const sinter_abi_services *services = sinter_job_services(s->job);
    sinter_peers peers;
    sinter_job_peers(s->job, &peers);
    if (own->ranks) services = sinter_ranks_get_services(own->ranks, s->own_rank, services, &peers);
    sinter_engine_set_services(engine, services);
    bool good = sinter_engine_run(engine, inputs, outputs, diag);
    for (size_t i = 0; good && i < own->gives.count; i++) slots[own->gives.items[i]] = outputs[i];
    sinter_heap_free(inputs);
    sinter_heap_free(outputs);
    return good;
}

static bool run_part(part *p, sinter_diag *diag) {
    bool good = true;
    for (int64_t micro = 0; good && micro < micro_count(p->stages); micro++)
        good = receive_slots(p, micro, diag) && run_micro(p, micro, diag) &&
               send_slots(p, micro, diag);
    return good;
}

/* ---- who leads ---- */

/* The rank's parts of inputs of a stage, out of those of requests. */
static bool cut_parts(const sinter_stages *s, const sinter_tensor *wholes, int64_t rank,
                      const uint32_t *slots, size_t count, sinter_tensor *out_parts,
                      sinter_diag *diag) {
    for (int64_t micro = 0; micro < micro_count(s); micro++)
        for (size_t i = 0; i < count; i++)
            if (!sinter_sharding_cut_tensor(&s->mesh, s->input_words.items[slots[i]].part, rank,
                                            &wholes[micro * s->slot_count + slots[i]],
                                            &out_parts[(size_t)micro * count + i], diag))
                return false;
    return true;
}

static bool deliver(const sinter_stages *s, const sinter_tensor *wholes, int64_t process,
                    sinter_message_delivery *d, sinter_diag *diag) {
    uint32_t *slots = sinter_heap_alloc((s->inputs.count + 1) * sizeof *slots);
    size_t each = list_inputs(s, stage_of(s, process), slots);
    sinter_messages_init_delivery(d, (size_t)micro_count(s) * each);
    bool good = cut_parts(s, wholes, process % s->rank_count, slots, each, d->tensors, diag);
    for (size_t i = 0; good && i < d->count; i++)
        good = sinter_messages_describe(&d->tensors[i], s->inputs.items[slots[i % each]].name,
                                        &d->heads[i], diag);
    sinter_heap_free(slots);
    return good &&
           sinter_messages_deliver(s->job, process, s->lanes != NULL, micro_count(s), d, diag);
}

/* The first process's own inputs. */
static bool cut_own(part *p, const sinter_tensor *wholes, sinter_diag *diag) {
    const sinter_stages *s = p->stages;
    const sinter_stage *own = &s->stages.items[0];
    bool good = true;
    for (int64_t micro = 0; micro < micro_count(s); micro++)
        for (uint32_t slot = 0; good && slot < s->inputs.count; slot++)
            if (has(&own->takes, slot))
                good = sinter_sharding_cut_tensor(&s->mesh, s->input_words.items[slot].part, 0,
                                                  &wholes[micro * s->slot_count + slot],
                                                  &p->slots[micro * s->slot_count + slot], diag);
    return good;
}

/* Outputs of a stage, from the processes that have them; results: by rank, then by micro-batch, then by output. */
static bool collect_stage(part *p, int64_t stage, const uint32_t *outputs, size_t count,
                          sinter_tensor *results, sinter_diag *diag) {
    const sinter_stages *s = p->stages;
    size_t all = (size_t)micro_count(s) * count;
    for (int64_t rank = 0; rank < s->rank_count; rank++) {
        int64_t process = stage * s->rank_count + rank;
        sinter_tensor *own = results + (size_t)rank * all;
        if (!process) {
            for (size_t i = 0; i < all; i++)
                sinter_tensor_copy(&own[i], &p->slots[(int64_t)(i / count) * s->slot_count +
                                                      s->results.items[outputs[i % count]]]);
            continue;
        }
        if (!sinter_messages_receive(s->job, process, p->heads, all * sizeof *p->heads, diag) ||
            !sinter_messages_finish(s->job, "the outputs", diag) ||
            !sinter_messages_receive_tensors(s->job, process, p->heads, own, all, diag) ||
            !sinter_messages_finish(s->job, "the outputs", diag))
            return false;
    }
    return true;
}

/* Those parts become what each request gives as a whole. */
static bool join_stage(const sinter_stages *s, const uint32_t *outputs, size_t count,
                       const sinter_tensor *results, sinter_tensor *wholes, sinter_diag *diag) {
    const sinter_tensor **list = sinter_heap_alloc((size_t)s->rank_count * sizeof *list);
    size_t all = (size_t)micro_count(s) * count;
    bool good = true;
    for (size_t i = 0; good && i < all; i++) {
        uint32_t output = outputs[i % count], slot = s->results.items[output];
        sinter_tensor *whole = &wholes[(int64_t)(i / count) * s->slot_count + slot];
        for (int64_t rank = 0; rank < s->rank_count; rank++)
            list[rank] = &results[(size_t)rank * all + i];
        sinter_tensor_deinit(whole); /* two outputs may be one value */
        good = sinter_sharding_join_tensors(&s->mesh, s->output_words.items[output].part, list,
                                            whole, diag);
    }
    sinter_heap_free(list);
    return good;
}

static bool collect(part *p, sinter_tensor *wholes, sinter_diag *diag) {
    const sinter_stages *s = p->stages;
    uint32_t *outputs = sinter_heap_alloc((s->outputs.count + 1) * sizeof *outputs);
    bool good = true;
    for (size_t stage = 0; good && stage < s->stages.count; stage++) {
        size_t count = list_outputs(s, &s->stages.items[stage], outputs);
        size_t all = (size_t)(s->rank_count * micro_count(s)) * count;
        sinter_tensor *results = sinter_heap_alloc((all + 1) * sizeof *results);
        if (count)
            good = collect_stage(p, (int64_t)stage, outputs, count, results, diag) &&
                   join_stage(s, outputs, count, results, wholes, diag);
        if (good) sinter_tensors_destroy(results, all);
    }
    sinter_heap_free(outputs);
    return good;
}

/* ---- what was done when ---- */

sinter_engine *sinter_stages_own_engine(const sinter_stages *s) {
    const sinter_stage *own = &s->stages.items[s->own_stage];
    return own->ranks ? own->ranks->engines[s->own_rank] : own->engine;
}

void sinter_stages_set_job_trace(sinter_stages *s, sinter_trace *trace) {
    sinter_engine *engine = sinter_stages_own_engine(s);
    int64_t processes = sinter_job_rank_count(s->job), own = sinter_job_rank(s->job);
    s->lanes = trace ? SINTER_NEW_ARRAY(&trace->arena, sinter_trace_lane *, processes) : NULL;
    for (int64_t i = 0; trace && i < processes; i++) {
        char rank[40] = "", name[80];
        if (s->mesh.axis_count)
            snprintf(rank, sizeof rank, " rank %lld", (long long)(i % s->rank_count));
        snprintf(name, sizeof name, "stage %lld%s", (long long)(i / s->rank_count), rank);
        s->lanes[i] =
            sinter_trace_add_lane(trace, name, i == own ? sinter_engine_artifact(engine) : NULL);
    }
    sinter_engine_set_listener(engine, trace ? &s->lanes[own]->listener : NULL);
}

static bool collect_lanes(const sinter_stages *s, sinter_diag *diag) {
    bool good = true;
    int64_t processes = sinter_job_rank_count(s->job);
    for (int64_t process = 1; s->lanes && good && process < processes; process++)
        good = sinter_trace_receive(s->job, process, s->lanes[process], diag);
    return good;
}

bool sinter_stages_lead(sinter_stages *s, const sinter_tensor *inputs, sinter_tensor *out_outputs,
                        sinter_diag *diag) {
    if (s->failed) return sinter_error(diag, sinter_job_name(s->job), "the job has failed already");
    int64_t processes = sinter_job_rank_count(s->job);
    size_t slots = (size_t)(micro_count(s) * s->slot_count);
    sinter_tensor *wholes = sinter_heap_alloc((slots + 1) * sizeof *wholes);
    sinter_message_delivery *deliveries = sinter_heap_alloc((size_t)processes * sizeof *deliveries);
    part own;
    init_part(&own, s);
    bool good = sinter_stages_cut_inputs(s, inputs, wholes, diag);
    for (int64_t process = 1; good && process < processes; process++)
        good = deliver(s, wholes, process, &deliveries[process], diag);
    good = good && sinter_messages_finish(s->job, "the inputs", diag) &&
           cut_own(&own, wholes, diag) && run_part(&own, diag) && collect(&own, wholes, diag) &&
           collect_lanes(s, diag) && sinter_stages_join_outputs(s, wholes, out_outputs, diag);
    s->failed = !good;
    if (s->failed)
        return false; /* memory of messages under way stays: the job ends with the process */
    for (int64_t process = 1; process < processes; process++)
        sinter_messages_deinit_delivery(&deliveries[process]);
    sinter_heap_free(deliveries);
    deinit_part(&own);
    sinter_tensors_destroy(wholes, slots);
    return true;
}

/* ---- who serves ---- */

static bool give_outputs(part *p, sinter_diag *diag) {
    const sinter_stages *s = p->stages;
    uint32_t *outputs = sinter_heap_alloc((s->outputs.count + 1) * sizeof *outputs);
    size_t count = list_outputs(s, &s->stages.items[s->own_stage], outputs),
           all = (size_t)micro_count(s) * count;
    bool good = true;
    for (size_t i = 0; good && i < all; i++) {
        uint32_t output = outputs[i % count];
        p->tensors[i] = p->slots[(int64_t)(i / count) * s->slot_count +
                                 s->results.items[output]]; /* borrowed */
        good = sinter_messages_describe(&p->tensors[i], s->outputs.items[output].name, &p->heads[i],
                                        diag);
    }
    sinter_heap_free(outputs);
    if (!all) return good;
    return good && sinter_messages_send(s->job, 0, p->heads, all * sizeof *p->heads, diag) &&
           sinter_messages_send_tensors(s->job, 0, p->heads, p->tensors, all, diag) &&
           sinter_messages_finish(s->job, "the outputs", diag);
}

/* The inputs that the own stage takes. */
typedef struct service {
    sinter_stages *stages;
    uint32_t *slots;
    size_t count;
} service;

/* heads: of those of each request. */
static bool serve_outputs(const service *v, const head *heads, sinter_diag *diag) {
    part p;
    init_part(&p, v->stages);
    size_t all = (size_t)micro_count(v->stages) * v->count;
    bool good = sinter_messages_receive_tensors(v->stages->job, 0, heads, p.tensors, all, diag) &&
                sinter_messages_finish(v->stages->job, "the inputs", diag);
    for (size_t i = 0; good && i < all; i++)
        p.slots[(int64_t)(i / v->count) * v->stages->slot_count + v->slots[i % v->count]] =
            p.tensors[i];
    good = good && run_part(&p, diag) && give_outputs(&p, diag);
    if (good) deinit_part(&p);
    return good;
}

static bool serve_run(void *user, const sinter_message_order *order, const head *heads,
                      sinter_diag *diag) {
    const service *v = user;
    sinter_stages *s = v->stages;
    sinter_trace trace;
    s->micro.axes[0].size = order->requests;
    if (!order->is_traced) return serve_outputs(v, heads, diag);
    sinter_trace_init(&trace);
    sinter_stages_set_job_trace(s, &trace);
    bool good = serve_outputs(v, heads, diag) &&
                sinter_trace_send(s->job, s->lanes[sinter_job_rank(s->job)], diag);
    if (!good) return false; /* the others may still read the lane */
    sinter_stages_set_job_trace(s, NULL);
    sinter_trace_deinit(&trace);
    return true;
}

bool sinter_stages_serve(sinter_stages *s, sinter_diag *diag) {
    service v = {s, sinter_heap_alloc((s->inputs.count + 1) * sizeof *v.slots), 0};
    v.count = list_inputs(s, &s->stages.items[s->own_stage], v.slots);
    bool good = sinter_messages_serve(s->job, v.count, serve_run, &v, diag);
    s->failed = s->failed || !good;
    sinter_heap_free(v.slots);
    return good;
}

bool sinter_stages_serves(const sinter_stages *s) {
    return s->job && sinter_job_rank(s->job) != 0;
}

static bool say_end(sinter_stages *s, sinter_diag *diag) {
    int64_t processes = sinter_job_rank_count(s->job);
    bool good = true;
    for (int64_t process = 1; good && process < processes; process++)
        good = sinter_messages_deliver_end(s->job, process, diag);
    return good && sinter_messages_finish(s->job, "the end", diag);
}

void sinter_stages_end_job(sinter_stages *s) {
    sinter_diag quiet = {0};
    if (!s->job) return;
    if (!s->failed && !sinter_stages_serves(s)) s->failed = !say_end(s, &quiet);
    sinter_job_close(s->job, s->failed);
    s->job = NULL;
}
