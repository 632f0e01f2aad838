/* What warps of a block know of each other, and phases, as emulation.h has them: whatever order threads run in, a warp has seen of another one what
 * barriers, and phases that it awaited, tell. Part of emulation.h, which includes it. Test: tests/codegen/emit_cuda/phases_early.test */
#pragma once

namespace emulation {

/* What warps know of each other: each counts epochs, which end with barriers and where it arrives at phases; of another one a warp has seen
 * those before a number, which barriers and phases that it awaits tell. */
struct knowledge {
    uint32_t before[MAX_THREADS / 32];
    void take(const knowledge &other) {
        for (uint32_t i = 0; i < MAX_THREADS / 32; i++)
            if (other.before[i] > before[i]) before[i] = other.before[i];
    }
};
static knowledge seen[MAX_THREADS / 32];
static uint32_t epochs[MAX_THREADS / 32];
static uint64_t versions[MAX_THREADS / 32]; /* of what is seen */
static inline uint32_t own_warp(void) { return thread / 32; }
/* This thread's warp has seen what that thread did in that epoch of its warp. */
static inline bool has_seen(uint32_t other, uint32_t epoch) {
    return seen[own_warp()].before[other / 32] > epoch;
}

/* All know of all what was before a barrier. */
static inline void begin_epochs(void) {
    interval++;
    for (uint32_t i = 0; i < MAX_THREADS / WARP; i++) epochs[i]++;
    for (uint32_t i = 0; i < MAX_THREADS / WARP; i++) {
        memcpy(seen[i].before, epochs, sizeof epochs);
        versions[i]++;
    }
}

/* Phases of a block (PTX ISA, mbarrier): how many arrivals each is of, those of this one, and what the warps knew that came to the last ones. */
enum { MAX_PHASES = 64, KNOWN_PHASES = 2 };
struct phase_state {
    const void *place;
    uint64_t block;
    uint32_t arrivals, arrived, over;
    knowledge coming, known[KNOWN_PHASES];
};
static phase_state all_phases[MAX_PHASES];
static const phase_state *awaited[MAX_THREADS];
static int64_t awaited_phase[MAX_THREADS];

static inline phase_state *find_phases(const void *place) {
    for (uint32_t i = 0; i < MAX_PHASES; i++)
        if (all_phases[i].block == block_serial && all_phases[i].place == place) return &all_phases[i];
    return NULL;
}

static inline void begin_phases(const void *place, uint32_t arrivals) {
    if (find_phases(place)) return;
    for (uint32_t i = 0; i < MAX_PHASES; i++) {
        if (all_phases[i].block == block_serial) continue;
        all_phases[i] = {place, block_serial, arrivals, 0, 0, {}, {}};
        return;
    }
    find("a block has more than %u phases", (unsigned)MAX_PHASES);
}

/* Parity is all that the instruction is told: the phase before a phase of its parity is over. */
static inline bool is_over(const phase_state *p, int64_t phase) { return (p->over & 1) != (phase & 1); }

/* Warps whose threads all await phases that are over. */
static inline bool release_phases(void) {
    bool moved = false;
    for (uint32_t i = 0; i < thread_count; i++)
        if (states[i] == AT_PHASE && is_over(awaited[i], awaited_phase[i])) {
            resume(i);
            moved = true;
        }
    return moved;
}

/* Nobody goes on, this thread neither. */
static inline void tell_stuck(uint32_t number) {
    const phase_state *p = awaited[number];
    if (states[number] == AT_PHASE)
        find("thread %u awaits phase %lld, of which %u of %u arrivals have come", number, (long long)awaited_phase[number], p->arrived,
             p->arrivals);
    else
        find("a barrier that not all threads of the block reach");
}

} // namespace emulation
