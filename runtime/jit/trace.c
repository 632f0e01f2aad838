/* What native code does when; see trace.h. Test: tests/cli/trace.test, tests/suites/mpi.py */
#include "runtime/jit/trace.h"
#include "ir/base/clock.h"
#include "runtime/exchange.h"
#include "runtime/jit/messages.h"

#include <math.h>
#include <string.h>

/* ---- hearing ---- */

static void on_trace(void *user, uint32_t kernel, int32_t begin) {
    sinter_trace_services *s = user;
    if (begin) {
        s->begin = sinter_clock_seconds();
        return;
    }
    const sinter_trace_step step = {
        .index = kernel, .begin = s->begin, .end = sinter_clock_seconds()};
    s->listener->hear(s->listener->user, &step);
    if (s->before && s->before->trace) s->before->trace(s->before->user, kernel, begin);
}

/* The service before finds its own `user` in the call, so it is told of its own services. */
static int32_t on_exchange(sinter_abi_call *call, const sinter_abi_exchange *words) {
    const sinter_abi_services *own = call->services;
    const sinter_trace_services *s = own->user;
    sinter_exchange_phase phase;
    const sinter_abi_exchange plain = sinter_exchange_read(words, &phase);
    sinter_trace_step step = {.is_exchange = true,
                              .index =
                                  (uint32_t)plain.kind + (uint32_t)phase * SINTER_TRACE_EXCHANGES,
                              .bytes = plain.count * sinter_exchange_element_size(plain.dtype),
                              .begin = sinter_clock_seconds()};
    call->services = s->before;
    int32_t code = s->before->exchange(call, words);
    call->services = own;
    step.end = sinter_clock_seconds();
    if (!code) s->listener->hear(s->listener->user, &step);
    return code;
}

/* Each service has the same `user`, so what was there is called with its own. */
static void on_parallel_for(void *user, int64_t count, int64_t grain,
                            void (*body)(void *environment, int64_t first, int64_t last),
                            void *environment) {
    const sinter_abi_services *before = ((sinter_trace_services *)user)->before;
    before->parallel_for(before->user, count, grain, body, environment);
}

static void *on_allocate(void *user, size_t size, size_t alignment) {
    const sinter_abi_services *before = ((sinter_trace_services *)user)->before;
    return before->allocate(before->user, size, alignment);
}

static void on_deallocate(void *user, void *pointer, size_t size, size_t alignment) {
    const sinter_abi_services *before = ((sinter_trace_services *)user)->before;
    before->deallocate(before->user, pointer, size, alignment);
}

static void on_log(void *user, int32_t level, const char *message) {
    const sinter_abi_services *before = ((sinter_trace_services *)user)->before;
    before->log(before->user, level, message);
}

const sinter_abi_services *sinter_trace_wrap(sinter_trace_services *out,
                                             const sinter_abi_services *before,
                                             const sinter_listener *listener) {
    bool exchanges = before && before->size >= sizeof *before && before->exchange;
    *out = (sinter_trace_services){
        .own = {.size = sizeof out->own,
                .thread_count = before ? before->thread_count : 1,
                .user = out,
                .parallel_for = before && before->parallel_for ? on_parallel_for : NULL,
                .allocate = before && before->allocate ? on_allocate : NULL,
                .deallocate = before && before->deallocate ? on_deallocate : NULL,
                .log = before && before->log ? on_log : NULL,
                .trace = on_trace,
                .exchange = exchanges ? on_exchange : NULL},
        .before = before,
        .listener = listener};
    return &out->own;
}

/* ---- keeping ---- */

static uint32_t add_names(sinter_trace_lane *lane, const char *name, const char *nodes) {
    size_t at = lane->names.size;
    sinter_text_append(&lane->names, name, strlen(name) + 1);
    sinter_text_append(&lane->names, nodes, strlen(nodes) + 1);
    return (uint32_t)at;
}

static void add_event(void *user, const sinter_trace_step *step) {
    sinter_trace_lane *lane = user;
    if (lane->events.count == SINTER_TRACE_MOST_EVENTS) {
        lane->dropped++;
        return;
    }
    sinter_trace_event event = {.begin = step->begin,
                                .end = step->end,
                                .bytes = step->bytes,
                                .is_exchange = step->is_exchange};
    event.name = (step->is_exchange ? lane->exchanges.items : lane->kernels.items)[step->index];
    event.nodes = event.name + (uint32_t)strlen(lane->names.data + event.name) + 1;
    sinter_vector_push(&lane->arena, &lane->events, event);
}

void sinter_trace_init(sinter_trace *trace) {
    *trace = (sinter_trace){0};
    sinter_arena_init(&trace->arena);
}

void sinter_trace_deinit(sinter_trace *trace) {
    for (size_t i = 0; i < trace->lanes.count; i++) {
        sinter_trace_lane *lane = trace->lanes.items[i];
        sinter_text_deinit(&lane->names);
        sinter_arena_deinit(&lane->arena);
    }
    sinter_arena_deinit(&trace->arena);
}

sinter_trace_lane *sinter_trace_add_lane(sinter_trace *trace, const char *name,
                                         const sinter_abi_artifact *artifact) {
    static const char *const exchanges[SINTER_TRACE_EXCHANGES] = SINTER_ABI_EXCHANGE_NAMES;
    static const char *const phases[] = {"", " begins", " ends"};
    sinter_trace_lane *lane = SINTER_NEW(&trace->arena, sinter_trace_lane);
    sinter_arena_init(&lane->arena);
    lane->name = sinter_arena_copy_string(&trace->arena, name, strlen(name));
    lane->listener = (sinter_listener){add_event, lane};
    for (uint32_t i = 0; artifact && i < artifact->kernel_count; i++) {
        const sinter_abi_kernel *kernel = &artifact->kernels[i];
        sinter_vector_push(&lane->arena, &lane->kernels,
                           add_names(lane, kernel->name, kernel->nodes ? kernel->nodes : ""));
    }
    for (size_t i = 0; artifact && i < 3 * SINTER_TRACE_EXCHANGES; i++) {
        const char *what =
            sinter_arena_format(&lane->arena, "%s%s", exchanges[i % SINTER_TRACE_EXCHANGES],
                                phases[i / SINTER_TRACE_EXCHANGES]);
        sinter_vector_push(&lane->arena, &lane->exchanges, add_names(lane, what, ""));
    }
    sinter_vector_push(&trace->arena, &trace->lanes, lane);
    return lane;
}

static void print_event(const sinter_trace_lane *lane, size_t number,
                        const sinter_trace_event *event, double start, sinter_text *text) {
    sinter_text_append_string(text, ",\n{\"name\":");
    sinter_text_json(text, sinter_string_of(lane->names.data + event->name));
    sinter_text_format(text,
                       ",\"cat\":\"%s\",\"ph\":\"X\",\"pid\":0,\"tid\":%zu,\"ts\":%.3f,"
                       "\"dur\":%.3f,\"args\":{",
                       event->is_exchange ? "exchange" : "kernel", number,
                       1e6 * (event->begin - start), 1e6 * (event->end - event->begin));
    if (event->is_exchange) {
        sinter_text_format(text, "\"bytes\":%llu", (unsigned long long)event->bytes);
    } else {
        sinter_text_append_string(text, "\"nodes\":");
        sinter_text_json(text, sinter_string_of(lane->names.data + event->nodes));
    }
    sinter_text_append_string(text, "}}");
}

void sinter_trace_print(const sinter_trace *trace, sinter_text *text) {
    double start = sinter_trace_start(trace);
    sinter_text_append_string(text, "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[");
    for (size_t i = 0; i < trace->lanes.count; i++) {
        const sinter_trace_lane *lane = trace->lanes.items[i];
        sinter_text_format(text,
                           "%s\n{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":0,\"tid\":%zu,"
                           "\"args\":{\"name\":",
                           i ? "," : "", i);
        sinter_text_json(text, sinter_string_of(lane->name));
        sinter_text_append_string(text, "}}");
        for (size_t k = 0; k < lane->events.count; k++)
            print_event(lane, i, &lane->events.items[k], start, text);
    }
    sinter_text_append_string(text, "\n]}\n");
}

double sinter_trace_start(const sinter_trace *trace) {
    double start = INFINITY;
    for (size_t i = 0; i < trace->lanes.count; i++)
        for (size_t k = 0; k < trace->lanes.items[i]->events.count; k++)
            start = fmin(start, trace->lanes.items[i]->events.items[k].begin);
    return start;
}

/* ---- between the processes of a job ---- */

enum { CLOCK_READINGS = 8 };
static const char what[] = "the time line";

/* What is sent first. */
typedef struct lane_head {
    uint64_t events, names, dropped; /* how many events; bytes; events that are not there */
} lane_head;

static bool tell_clock(sinter_job *job, sinter_diag *diag) {
    int64_t asks = 0;
    if (!sinter_messages_receive(job, 0, &asks, sizeof asks, diag) ||
        !sinter_messages_finish(job, what, diag))
        return false;
    double clock = sinter_clock_seconds();
    return sinter_messages_send(job, 0, &clock, sizeof clock, diag) &&
           sinter_messages_finish(job, what, diag);
}

/* How much later it is by the clock of the other process: its answer lies between two readings of this one, so each bounds the difference
 * from both sides. None where that can be, as on one machine, else the middle of what is left. */
static bool compare_clocks(sinter_job *job, int64_t from, double *out_later, sinter_diag *diag) {
    double least = -INFINITY, most = INFINITY;
    for (int64_t i = 0; i < CLOCK_READINGS; i++) {
        double clock = 0, asked = sinter_clock_seconds();
        if (!sinter_messages_send(job, from, &i, sizeof i, diag) ||
            !sinter_messages_receive(job, from, &clock, sizeof clock, diag) ||
            !sinter_messages_finish(job, what, diag))
            return false;
        least = fmax(least, clock - sinter_clock_seconds());
        most = fmin(most, clock - asked);
    }
    *out_later = least <= 0 && most >= 0 ? 0 : 0.5 * (least + most);
    return true;
}

bool sinter_trace_send(sinter_job *job, const sinter_trace_lane *lane, sinter_diag *diag) {
    lane_head head = {lane->events.count, lane->names.size, lane->dropped};
    for (int i = 0; i < CLOCK_READINGS; i++)
        if (!tell_clock(job, diag)) return false;
    return sinter_messages_send(job, 0, &head, sizeof head, diag) &&
           sinter_messages_finish(job, what, diag) &&
           sinter_messages_send(job, 0, lane->events.items,
                                head.events * sizeof *lane->events.items, diag) &&
           sinter_messages_send(job, 0, lane->names.data, head.names, diag) &&
           sinter_messages_finish(job, what, diag);
}

/* Events of the clock of this process; their names are those that came. */
static bool take_events(sinter_trace_lane *lane, const sinter_trace_event *events, size_t count,
                        const char *names, size_t bytes, double later, sinter_diag *diag) {
    size_t base = lane->names.size;
    bool good = bytes && !names[bytes - 1];
    for (size_t i = 0; i < count && good; i++) {
        sinter_trace_event event = events[i];
        good = event.name < bytes && event.nodes < bytes;
        event.begin -= later;
        event.end -= later;
        event.name += (uint32_t)base;
        event.nodes += (uint32_t)base;
        sinter_vector_push(&lane->arena, &lane->events, event);
    }
    if (!good && count) return sinter_error(diag, lane->name, "its time line has no names");
    sinter_text_append(&lane->names, names, bytes);
    return true;
}

bool sinter_trace_receive(sinter_job *job, int64_t from, sinter_trace_lane *lane,
                          sinter_diag *diag) {
    enum { MOST_NAMES = 1 << 30 };
    lane_head head = {0};
    double later;
    if (!compare_clocks(job, from, &later, diag) ||
        !sinter_messages_receive(job, from, &head, sizeof head, diag) ||
        !sinter_messages_finish(job, what, diag))
        return false;
    if (head.events > SINTER_TRACE_MOST_EVENTS || head.names > MOST_NAMES)
        return sinter_error(diag, lane->name, "its time line has %llu steps, %llu bytes of names",
                            (unsigned long long)head.events, (unsigned long long)head.names);
    sinter_trace_event *events = sinter_heap_alloc((head.events + 1) * sizeof *events);
    char *names = sinter_heap_alloc(head.names + 1);
    if (!sinter_messages_receive(job, from, events, head.events * sizeof *events, diag) ||
        !sinter_messages_receive(job, from, names, head.names, diag) ||
        !sinter_messages_finish(job, what, diag))
        return false; /* the other process may still write there */
    lane->dropped += head.dropped;
    bool good = take_events(lane, events, head.events, names, head.names, later, diag);
    sinter_heap_free(events);
    sinter_heap_free(names);
    return good;
}
