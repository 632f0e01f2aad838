/* See crew.h. */
#include "codegen/crew.h"
#include "ir/base/arena.h"
#include "ir/base/heap.h"
#include "ir/base/vector.h"

#include <locale.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

enum { THREADS_LIMIT = 64, STACK_BYTES = 8 << 20 }; /* LLVM recurses */

typedef struct message {
    sinter_severity severity;
    const char *where, *text;
} message;

typedef struct job {
    sinter_arena arena; /* of what was said */
    SINTER_VECTOR(message) messages;
    bool good;
} job;

typedef struct shift {
    const sinter_crew *crew;
    job *jobs;
    locale_t locale; /* of the thread that calls, for those that help it */
    pthread_mutex_t lock;
    size_t done; /* told to the listener; under the lock */
    atomic_size_t next;
    atomic_bool failed;
} shift;

typedef struct worker {
    shift *shift;
    void *own;
    sinter_owned owned; /* what it has in `own` */
    sinter_owned left;  /* the memory of its jobs */
    bool finished;      /* not: it ran out of memory, */
    size_t wanted;      /* of so much */
} worker;

static void keep_message(void *user, sinter_severity severity, const char *where,
                         const char *text) {
    job *j = user;
    message kept = {severity, sinter_arena_format(&j->arena, "%s", where ? where : ""),
                    sinter_arena_format(&j->arena, "%s", text)};
    sinter_vector_push(&j->arena, &j->messages, kept);
}

static void say_again(const job *j, sinter_diag *diag) {
    for (size_t i = 0; i < j->messages.count; i++) {
        const message *m = &j->messages.items[i];
        if (m->severity == SINTER_SEVERITY_ERROR)
            sinter_error(diag, m->where, "%s", m->text);
        else if (m->severity == SINTER_SEVERITY_WARNING)
            sinter_warning(diag, m->where, "%s", m->text);
        else
            sinter_note(diag, m->where, "%s", m->text);
    }
}

static void release_own(void *user) {
    worker *w = user;
    if (w->shift->crew->release) w->shift->crew->release(w->own);
}

static void tell_progress(shift *s) {
    if (!s->crew->progress) return;
    pthread_mutex_lock(&s->lock);
    s->crew->progress(s->crew->listener, ++s->done, s->crew->count);
    pthread_mutex_unlock(&s->lock);
}

static void do_jobs(void *user) {
    worker *w = user;
    shift *s = w->shift;
    sinter_own(&w->owned, release_own, w);
    for (size_t i; !s->failed && (i = s->next++) < s->crew->count;) {
        job *j = &s->jobs[i];
        sinter_diag diag = {keep_message, j, 0, 0};
        j->good = s->crew->work(s->crew->user, i, w->own, &diag);
        if (!j->good) s->failed = true;
        tell_progress(s);
    }
    sinter_disown(&w->owned);
    release_own(w);
}

static void *work(void *user) {
    worker *w = user;
    uselocale(w->shift->locale);
    w->finished = sinter_heap_guard_thread(do_jobs, w, &w->left, &w->wanted);
    if (!w->finished) w->shift->failed = true;
    return NULL;
}

static size_t count_threads(const sinter_crew *crew) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t wanted = crew->threads ? crew->threads : cores > 0 ? (size_t)cores : 1;
    if (wanted > crew->count) wanted = crew->count;
    return wanted > THREADS_LIMIT ? THREADS_LIMIT : wanted;
}

/* No thread that can't be started is missed: the caller is one. */
static void run_workers(shift *s, sinter_arena *arena) {
    size_t wanted = count_threads(s->crew), started = 0;
    worker workers[THREADS_LIMIT];
    pthread_t threads[THREADS_LIMIT];
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    for (size_t i = 0; i < wanted; i++)
        workers[i] =
            (worker){.shift = s, .own = SINTER_NEW_ARRAY(arena, char, s->crew->own_bytes + 1)};
    while (started + 1 < wanted &&
           !pthread_create(&threads[started], &attributes, work, &workers[started]))
        started++;
    pthread_attr_destroy(&attributes);
    work(&workers[started]);
    for (size_t i = 0; i < started; i++) pthread_join(threads[i], NULL);
    for (size_t i = 0; i <= started; i++) sinter_heap_take_over(&workers[i].left);
    for (size_t i = 0; i <= started; i++)
        if (!workers[i].finished) sinter_out_of_memory(workers[i].wanted);
}

bool sinter_crew_run(const sinter_crew *crew, sinter_diag *diag) {
    if (!crew->count) return true;
    sinter_arena arena;
    sinter_arena_init(&arena);
    shift s = {.crew = crew,
               .jobs = SINTER_NEW_ARRAY(&arena, job, crew->count),
               .locale = uselocale((locale_t)0),
               .lock = PTHREAD_MUTEX_INITIALIZER};
    for (size_t i = 0; i < crew->count; i++) sinter_arena_init(&s.jobs[i].arena);
    run_workers(&s, &arena);
    for (size_t i = 0; i < crew->count; i++) {
        say_again(&s.jobs[i], diag);
        sinter_arena_deinit(&s.jobs[i].arena);
    }
    sinter_arena_deinit(&arena);
    return !s.failed;
}
