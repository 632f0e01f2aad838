/* Exchanges under way: what each has to do is a list of steps, made when it begins (Hoefler, Lumsdaine, Rehm: Implementation and performance
 * analysis of non-blocking collective operations for MPI, 2007, have such lists). Messages of a round are begun together; when they are done
 * the next ones follow, whenever somebody looks: where a rank waits, begins or ends an exchange, and between its kernels. No thread does.
 * Test: tests/unit/job_test.c */
#include "runtime/job_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sinter_job_add(sinter_job_meeting *m, const sinter_job_step *step) {
    if (m->count == m->room) {
        size_t room = m->room ? 2 * m->room : 16;
        sinter_job_step *more = realloc(m->steps, room * sizeof *more);
        if (!more) {
            m->no_memory = true;
            return;
        }
        m->steps = more;
        m->room = room;
    }
    m->steps[m->count++] = *step;
}

void *sinter_job_get_room(sinter_job_meeting *m, uint64_t bytes) {
    void *room = malloc(bytes + 1);
    if (room)
        m->rooms[m->room_count++] = room;
    else
        m->no_memory = true;
    return room;
}

void sinter_job_release(sinter_job *job) {
    for (int i = 0; i < SINTER_ABI_EXCHANGES_UNDER_WAY; i++) {
        sinter_job_clear(&job->meetings[i]);
        free(job->meetings[i].steps);
    }
    free(job->joined);
}

void sinter_job_clear(sinter_job_meeting *m) {
    while (m->room_count) free(m->rooms[--m->room_count]);
    sinter_exchange_free_group(&m->group);
    m->count = m->at = 0;
    m->is_ready = m->no_memory = false;
    m->code = 0;
}

/* ---- one step ---- */

static void move(const sinter_job_step *s) {
    for (uint64_t i = 0; s->bytes && i < s->pieces; i++) {
        uint64_t piece = s->backwards ? s->pieces - 1 - i : i;
        memmove(s->to + piece * s->to_apart, s->from + piece * s->from_apart, s->bytes);
    }
}

static int combine(sinter_job_meeting *m, const sinter_job_step *s) {
    sinter_job *job = m->job;
    int32_t code = sinter_exchange_combine(m->words.dtype, m->words.reduction, s->sources,
                                           s->source_count, 0, s->count, s->to);
    if (!code) return 1;
    m->code = code;
    snprintf(job->why, sizeof job->why, "%s",
             code == SINTER_ABI_OUT_OF_MEMORY
                 ? "no memory for what other ranks send"
                 : "elements of this type can't be combined between ranks");
    return -1;
}

static int run(sinter_job_meeting *m, const sinter_job_step *s, sinter_job_patience how,
               int64_t *out_late) {
    sinter_transport *t = m->job->transport;
    switch (s->kind) {
    case SINTER_JOB_MOVE:
        move(s);
        return 1;
    case SINTER_JOB_COMBINE:
        return combine(m, s);
    case SINTER_JOB_SEND:
        return t->send(t, s->peer, m->tag, s->from, s->bytes);
    case SINTER_JOB_RECEIVE:
        return t->receive(t, s->peer, m->tag, s->to, s->bytes);
    case SINTER_JOB_FINISH:
        break;
    }
    return how == SINTER_JOB_POSTS ? 0 : t->test(t, m->tag, how == SINTER_JOB_WAITS, out_late);
}

/* ---- an exchange, and all ---- */

int sinter_job_advance(sinter_job_meeting *m, sinter_job_patience how, int64_t *out_late) {
    uint64_t rounds = m->job->rounds;
    while (m->at < m->count) {
        if (how == SINTER_JOB_WAITS && rounds != m->job->rounds &&
            m->steps[m->at].kind == SINTER_JOB_FINISH)
            return 0; /* others may have their turn */
        const sinter_job_step *step = &m->steps[m->at];
        int done = run(m, step, how, out_late);
        if (done < 0 && step->kind != SINTER_JOB_COMBINE) sinter_job_transport_failed(m->job);
        if (done <= 0) return done;
        m->job->rounds += step->kind == SINTER_JOB_FINISH;
        m->at++;
    }
    return 1;
}

bool sinter_job_advance_all(sinter_job *job) {
    for (uint64_t i = job->ended; i < job->begun; i++) {
        sinter_job_meeting *m = &job->meetings[i % SINTER_ABI_EXCHANGES_UNDER_WAY];
        int64_t late;
        if (m->is_ready && sinter_job_advance(m, SINTER_JOB_LOOKS, &late) < 0) return false;
    }
    return true;
}

/* What fails here fails again, and is told, where the exchange ends. Where time is simulated kernels take theirs elsewhere. */
void sinter_job_trace(void *user, uint32_t kernel, int32_t begin) {
    sinter_job *job = user;
    (void)kernel;
    if (!begin && job->begun > job->ended && !job->transport->pass) sinter_job_advance_all(job);
}
