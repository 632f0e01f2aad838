/* See link_clock.h. Test: tests/unit/estimate_test.c */
#include "ir/link_clock.h"

#include <math.h>

static bool is_done(const sinter_link_exchange *x) {
    return x->round >= x->rounds.count;
}

/* The round at hand: its bytes go when links are free. */
static void send(sinter_link_clock *c, sinter_link_exchange *x) {
    double start = c->free > c->now ? c->free : c->now, seconds = x->rounds.seconds[x->round];
    c->free = start + seconds - x->rounds.latency[x->round];
    x->end = start + seconds;
}

/* When the next round of any of them ends; infinity: they are done. */
static double next_end(const sinter_link_clock *c) {
    double end = INFINITY;
    for (uint32_t i = 0; i < c->count; i++)
        if (!is_done(&c->under_way[i])) end = fmin(end, c->under_way[i].end);
    return end;
}

/* Rounds that have ended by now are followed by the next ones. */
static void look(sinter_link_clock *c) {
    for (uint32_t i = 0; i < c->count; i++) {
        sinter_link_exchange *x = &c->under_way[i];
        if (is_done(x) || x->end > c->now) continue;
        if (++x->round < x->rounds.count) send(c, x);
    }
}

void sinter_link_clock_work(sinter_link_clock *c, double seconds) {
    c->now += seconds;
    look(c);
}

void sinter_link_clock_begin(sinter_link_clock *c, sinter_node node,
                             const sinter_hardware_rounds *rounds) {
    sinter_link_exchange *x = &c->under_way[c->count++];
    *x = (sinter_link_exchange){.node = node, .rounds = *rounds};
    if (rounds->count) send(c, x);
}

double sinter_link_clock_wait(sinter_link_clock *c, sinter_node node) {
    double start = c->now;
    uint32_t at = 0;
    while (at < c->count && c->under_way[at].node != node) at++;
    if (at == c->count) return 0;
    while (!is_done(&c->under_way[at])) {
        c->now = fmax(c->now, next_end(c));
        look(c);
    }
    for (c->count--; at < c->count; at++) c->under_way[at] = c->under_way[at + 1];
    return c->now - start;
}

bool sinter_link_clock_is_done(const sinter_link_clock *c) {
    const sinter_link_exchange *oldest = &c->under_way[0];
    return !c->count || is_done(oldest) ||
           (oldest->round + 1 == oldest->rounds.count && oldest->end <= c->now);
}
