/* Memory of a block, as emulation.h has it: each element knows who wrote and who read it last, in which interval between barriers, and
 * whether a copy to it is under way. Part of emulation.h, which includes it. Test: tests/codegen/emit_cuda/copies_early.test */
#pragma once

namespace emulation {

/* ---- fences and products of warpgroups ---- */

/* A number of each thread that grows, and what it was in its last epochs: others know of it what they have seen. */
struct growing {
    enum { KEPT = 16 };
    uint64_t block, values[KEPT];
    uint32_t of_epoch[KEPT], count;
    void put(uint64_t value) {
        const uint32_t epoch = epochs[own_warp()];
        if (block != block_serial) count = 0;
        block = block_serial;
        if (!count || of_epoch[(count - 1) % KEPT] != epoch) count++;
        of_epoch[(count - 1) % KEPT] = epoch;
        values[(count - 1) % KEPT] = value;
    }
    uint64_t known(uint32_t owner) const {
        for (uint32_t i = 0; block == block_serial && i < KEPT && i < count; i++)
            if (has_seen(owner, of_epoch[(count - 1 - i) % KEPT])) return values[(count - 1 - i) % KEPT];
        return 0;
    }
};
static uint64_t write_serial;        /* of writes to memory of a block */
static growing fences[MAX_THREADS];  /* the last write that a fence was behind */

/* Sums that a product adds to; of a group, which a wait tells the end of. */
struct product_sums {
    uint8_t *first; /* element_state */
    uint32_t count, group;
};
struct product_list {
    product_sums *items;
    size_t count, capacity;
    uint64_t block;
    uint32_t groups; /* committed */
    growing done;    /* groups */
};
static product_list products[MAX_THREADS];

static inline product_list *own_products(void) {
    product_list *list = &products[thread];
    if (list->block != block_serial) list->count = list->groups = 0;
    list->block = block_serial;
    return list;
}

__attribute__((destructor)) static void release_products(void) {
    for (uint32_t i = 0; i < MAX_THREADS; i++) free(products[i].items);
}

static inline void begin_sums(uint8_t *first, uint32_t count) {
    product_list *list = own_products();
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 64;
        list->items = (product_sums *)realloc(list->items, list->capacity * sizeof *list->items);
    }
    list->items[list->count++] = {first, count, list->groups};
    memset(first, SUM_UNDER_WAY, count);
}

/* Groups of a warpgroup that all of its threads have waited for, as is known to this thread's warp. */
static inline uint64_t groups_done(uint32_t warpgroup) {
    static struct {
        uint64_t block, least, version;
    } all[MAX_THREADS / WARP][MAX_WARPGROUPS], *found;
    found = all[own_warp()];
    const uint64_t version = versions[own_warp()];
    if (found[warpgroup].block == block_serial && found[warpgroup].version == version) return found[warpgroup].least;
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < WARPGROUP; i++) {
        const uint64_t known = products[warpgroup * WARPGROUP + i].done.known(warpgroup * WARPGROUP + i);
        if (known < least) least = known;
    }
    found[warpgroup] = {block_serial, least, version};
    return least;
}

/* Memory of a block. */
template <class T, int64_t N> struct shared {
    struct mark {
        uint64_t block;                       /* that wrote it last */
        uint32_t write_epoch;
        uint16_t writer;
        bool under_way;                       /* the writer's copy, which nobody has waited for */
        uint64_t read_block;
        uint32_t read_warps;                         /* a bit for each that has read it, in this epoch of its own last: */
        uint32_t read_epochs[MAX_THREADS / WARP];
        uint16_t readers[MAX_THREADS / WARP];        /* MAX_THREADS where there were several in that */
        uint64_t serial, product_block;
        uint32_t product[MAX_WARPGROUPS]; /* 1 + the last group of the warpgroup's products that reads it; 0: none */
    };
    T data[N];
    mark marks[N];
    void check_read(int64_t index) {
        mark *m = &marks[index];
        if (m->block == block_serial && m->under_way)
            find("element %lld of shared memory is read while thread %u's copy to it is under way", (long long)index,
                 m->writer);
        else if (m->block != block_serial)
            find("element %lld of shared memory is read before it is written", (long long)index);
        else if (m->writer != thread && !has_seen(m->writer, m->write_epoch))
            find("element %lld of shared memory: thread %u wrote it, and no barrier came since", (long long)index,
                 m->writer);
        const uint32_t warp = own_warp();
        if (m->read_block != block_serial) m->read_warps = 0;
        const bool others = m->read_warps >> warp & 1 && m->read_epochs[warp] == epochs[warp] && m->readers[warp] != thread;
        m->readers[warp] = others ? (uint16_t)MAX_THREADS : (uint16_t)thread;
        m->read_epochs[warp] = epochs[warp];
        m->read_warps |= 1u << warp;
        m->read_block = block_serial;
    }
    void begin_write(int64_t index) {
        mark *m = &marks[index];
        if (m->block == block_serial && m->under_way)
            find("element %lld of shared memory is written while thread %u's copy to it is under way", (long long)index,
                 m->writer);
        else if (m->block == block_serial && m->writer != thread && !has_seen(m->writer, m->write_epoch))
            find("element %lld of shared memory is written by threads %u and %u", (long long)index, m->writer, thread);
        for (uint32_t left = m->read_block == block_serial ? m->read_warps : 0; left; left &= left - 1) {
            const uint32_t warp = (uint32_t)__builtin_ctz(left);
            if (m->readers[warp] == thread || has_seen(warp * WARP, m->read_epochs[warp])) continue;
            find("element %lld of shared memory is written, another thread read it, and no barrier came since", (long long)index);
            break;
        }
        for (uint32_t i = 0; m->product_block == block_serial && i < MAX_WARPGROUPS; i++)
            if (m->product[i] > groups_done(i))
                find("element %lld of shared memory is written while a product of warpgroup %u that reads it is under way",
                     (long long)index, i);
        m->block = block_serial;
        m->write_epoch = epochs[own_warp()];
        m->writer = (uint16_t)thread;
        m->under_way = false;
        m->serial = ++write_serial;
    }
    /* A product of this thread's warpgroup reads it; false: it can't. */
    bool check_product(int64_t index) {
        mark *m = &marks[index];
        const char *wrong = m->block != block_serial                         ? "before it is written"
                            : m->under_way                                   ? "while a copy to it is under way"
                            : !has_seen(m->writer, m->write_epoch)            ? "with no barrier since it was written"
                            : fences[m->writer].known(m->writer) < m->serial         ? "with no fence behind what wrote it"
                                                                             : NULL;
        if (wrong) find("element %lld of shared memory is multiplied %s", (long long)index, wrong);
        if (m->product_block != block_serial) memset(m->product, 0, sizeof m->product);
        m->product_block = block_serial;
        m->product[thread / WARPGROUP] = 1 + own_products()->groups;
        return !wrong;
    }
    struct slot {
        shared *of;
        int64_t index;
        uint64_t site;
        void note_access() const {
            if (launch->counters) note(shared_accesses, site, (uint64_t)(uintptr_t)&of->data[index], sizeof(T));
        }
        operator T() const {
            of->check_read(index);
            note_access();
            return of->data[index];
        }
        const slot &operator=(T value) const {
            of->begin_write(index);
            note_access();
            of->data[index] = value;
            return *this;
        }
        const slot &operator=(const slot &other) const { return *this = (T)other; }
    };
    __attribute__((noinline)) slot operator[](int64_t index) {
        if (index >= 0 && index < N) return {this, index, SINTER_EMULATION_SITE};
        find("element %lld of shared memory of %lld", (long long)index, (long long)N);
        return {this, 0, 0};
    }
};

/* The same in rows of 128 bytes, whose pieces of 16 have another order (PTX ISA, 128B swizzling mode). */
template <class T, int64_t N> struct swizzled : shared<T, N> {
    static int64_t place(int64_t index) {
        const int64_t byte = index * (int64_t)sizeof(T);
        return (byte ^ (byte >> 7 & 7) << 4) / (int64_t)sizeof(T);
    }
    __attribute__((noinline)) typename shared<T, N>::slot operator[](int64_t index) {
        if (index >= 0 && index < N) return {this, place(index), SINTER_EMULATION_SITE};
        find("element %lld of shared memory of %lld", (long long)index, (long long)N);
        return {this, 0, 0};
    }
};

/* Where a piece of up to 16 bytes lies that begins with this element. */
template <class T, int64_t N> static inline int64_t piece_at(const shared<T, N> &, int64_t at) { return at; }
template <class T, int64_t N> static inline int64_t piece_at(const swizzled<T, N> &, int64_t at) {
    return at >= 0 && at < N ? swizzled<T, N>::place(at) : at;
}

/* The same in memory of the block: the place of a piece, counted as one access. */
template <class T, int64_t N> static inline bool touch_shared(shared<T, N> &of, int64_t at, int64_t count, uint64_t site) {
    const uint64_t place = (uint64_t)(uintptr_t)&of.data[at], bytes = (uint64_t)count * sizeof(T);
    if (at < 0 || at + count > N) {
        find("element %lld of shared memory of %lld", (long long)at, (long long)N);
        return false;
    }
    if (place % bytes)
        find("element %lld of shared memory: %u bytes at once, which are not at a multiple of that", (long long)at,
             (unsigned)bytes);
    if (launch->counters) note(shared_accesses, site, place, (uint32_t)bytes);
    return true;
}

template <class T, int64_t N, int64_t M, template <class, int64_t> class S>
__attribute__((noinline)) static void read_wide(array<T, N> &to, S<T, M> &from, int64_t at) {
    constexpr int64_t COUNT = piece_of<T, N>();
    for (int64_t i = 0; i < N; i += COUNT) {
        const int64_t first = piece_at(from, at + i);
        if (!touch_shared(from, first, COUNT, SINTER_EMULATION_SITE)) return;
        for (int64_t k = 0; k < COUNT; k++) {
            from.check_read(first + k);
            to[i + k] = from.data[first + k];
        }
    }
}

template <class T, int64_t N, int64_t M, template <class, int64_t> class S>
__attribute__((noinline)) static void write_wide(S<T, M> &to, int64_t at, array<T, N> &from) {
    constexpr int64_t COUNT = piece_of<T, N>();
    for (int64_t i = 0; i < N; i += COUNT) {
        const int64_t first = piece_at(to, at + i);
        if (!touch_shared(to, first, COUNT, SINTER_EMULATION_SITE)) return;
        for (int64_t k = 0; k < COUNT; k++) {
            to.begin_write(first + k);
            to.data[first + k] = from[i + k];
        }
    }
}

/* ---- matrices ---- */

/* Rows of 16 bytes whose places lanes show each other, counted as the accesses of 16 bytes that they are: 8 lanes at once. */
template <int COUNT, bool TURNED, class P, class T, int64_t N, template <class, int64_t> class S>
__attribute__((noinline)) static void load_matrices(P to, S<T, N> &from, int64_t row_at) {
    constexpr int64_t ELEMENTS = 4 / sizeof(T), ROW = 16 / sizeof(T);
    const uint64_t site = SINTER_EMULATION_SITE;
    const int64_t at = piece_at(from, row_at);
    const uint32_t side = parity[thread] ^= 1, self = thread, first = self / WARP * WARP, lane = self % WARP;
    if (lane < 8 * COUNT && !touch_shared(from, at, ROW, site)) return;
    lanes[side][self] = (uint64_t)at;
    wait(AT_WARP, site);
    if (first + WARP > thread_count) {
        find("a warp of %u lanes loads matrices", thread_count - first);
        return;
    }
    for (uint32_t matrix = 0; matrix < COUNT; matrix++)
        for (uint32_t e = 0; e < ELEMENTS; e++) {
            const uint32_t pair = lane % 4 * ELEMENTS + e, row = TURNED ? pair : lane / 4, column = TURNED ? lane / 4 : pair;
            const int64_t place = (int64_t)lanes[side][first + 8 * matrix + row] + column;
            if (place < 0 || place >= N) return; /* its lane has found that */
            from.check_read(place);
            to.at(matrix * ELEMENTS + e) = from.data[place];
        }
}

/* ---- phases ---- */

static inline void end_boxes(const phase_state *p);

template <int64_t N> static inline phase_state *phases_at(shared<uint64_t, N> &phases, int64_t i) {
    phase_state *found = i >= 0 && i < N ? find_phases(&phases.data[i]) : NULL;
    if (!found) find("there are no phases %lld of %lld", (long long)i, (long long)N);
    return found;
}

template <int64_t N> static void make_phases(shared<uint64_t, N> &phases, uint32_t arrivals, uint64_t site) {
    for (int64_t i = 0; i < N; i++) begin_phases(&phases.data[i], arrivals);
    wait(AT_BARRIER, site);
}

/* The warp's first lane arrives, for all: what they know, and this epoch of theirs, is what who awaits it will have seen. */
template <int64_t N> static void arrive(shared<uint64_t, N> &phases, int64_t i, uint64_t site) {
    wait(AT_WARP, site);
    phase_state *p = phases_at(phases, i);
    const uint32_t warp = own_warp();
    if (!p || thread % WARP) return;
    knowledge known = seen[warp];
    known.before[warp] = ++epochs[warp];
    p->coming.take(known);
    if (++p->arrived < p->arrivals) return;
    p->known[p->over++ % KNOWN_PHASES] = p->coming;
    p->coming = {};
    p->arrived = 0;
    end_boxes(p);
}

template <int64_t N> static void await(shared<uint64_t, N> &phases, int64_t i, int64_t phase, uint64_t site) {
    phase_state *p = phases_at(phases, i);
    if (!p) return;
    awaited[thread] = p;
    awaited_phase[thread] = phase;
    wait(AT_PHASE, site);
    if ((int64_t)p->over <= phase) return; /* nobody comes any more */
    if ((int64_t)p->over != phase + 1)
        find("phase %lld of phases %lld is awaited, which %u others have followed", (long long)phase, (long long)i,
             (unsigned)(p->over - phase - 1));
    if (phase < 0) return;
    seen[own_warp()].take(p->known[phase % KNOWN_PHASES]);
    versions[own_warp()]++;
}

} // namespace emulation
#include "tests/cuda_emulation/emulation_box.h"
namespace emulation {

/* ---- copies under way ---- */

/* What a thread began to copy to shared memory: the bytes are there from its wait on (PTX ISA, cp.async.wait_group), for others
 * from the barrier behind it. */
struct pending_copy {
    void *marks; /* the first element's */
    void *to;
    void (*finish)(pending_copy *);
    uint32_t group, count;
    unsigned char bytes[16];
};
struct pending_list {
    pending_copy *items;
    size_t count, capacity;
    uint32_t groups; /* committed */
    uint64_t block;
};
static pending_list pending[MAX_THREADS];

static inline pending_list *own_pending(void) {
    pending_list *list = &pending[thread];
    if (list->block != block_serial) list->count = list->groups = 0;
    list->block = block_serial;
    return list;
}

__attribute__((destructor)) static void release_pending(void) {
    for (uint32_t i = 0; i < MAX_THREADS; i++) free(pending[i].items);
}

template <class T, int64_t N> static void finish_copy(pending_copy *c) {
    typename shared<T, N>::mark *marks = (typename shared<T, N>::mark *)c->marks;
    memcpy(c->to, c->bytes, c->count * sizeof(T));
    for (uint32_t i = 0; i < c->count; i++) {
        marks[i].under_way = false;
        marks[i].write_epoch = epochs[own_warp()];
        marks[i].serial = ++write_serial;
    }
}

static inline void commit_copies(void) { own_pending()->groups++; }

static inline void wait_for_copies(uint32_t allowed) {
    pending_list *list = own_pending();
    size_t left = 0;
    for (size_t i = 0; i < list->count; i++) {
        pending_copy *c = &list->items[i];
        if (c->group + allowed >= list->groups)
            list->items[left++] = *c;
        else
            c->finish(c);
    }
    list->count = left;
}

template <int64_t COUNT, class T, int64_t N, template <class, int64_t> class S>
__attribute__((noinline)) static void copy_to_shared(S<T, N> &to, int64_t index, in<T> input, int64_t from, bool there = true) {
    const int64_t at = piece_at(to, index);
    parameter *of = input.of;
    constexpr int64_t BYTES = COUNT * (int64_t)sizeof(T);
    static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "a copy is of 4, 8 or 16 bytes");
    const uint64_t site = SINTER_EMULATION_SITE;
    if (!touch_shared(to, at, COUNT, site) || (there && !touch<T>(of, from, COUNT, false, site))) return;
    pending_list *list = own_pending();
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 64;
        list->items = (pending_copy *)realloc(list->items, list->capacity * sizeof *list->items);
    }
    pending_copy *c = &list->items[list->count++];
    *c = {&to.marks[at], &to.data[at], finish_copy<T, N>, list->groups, (uint32_t)COUNT, {0}};
    if (there) memcpy(c->bytes, (const T *)(uintptr_t)of->bits + from, BYTES);
    memset(&to.data[at], 0xa5, BYTES);
    for (int64_t i = 0; i < COUNT; i++) {
        to.begin_write(at + i);
        to.marks[at + i].under_way = true;
    }
}


} // namespace emulation
#define sinter_begin_phases(phases, arrivals) emulation::make_phases(phases, arrivals, (uint64_t)__LINE__)
#define sinter_arrive(phases, i) emulation::arrive(phases, i, (uint64_t)__LINE__)
#define sinter_await(phases, i, phase) emulation::await(phases, i, phase, (uint64_t)__LINE__)
static inline bool sinter_is_warp(uint32_t first, uint32_t end) { return threadIdx.z >= first && threadIdx.z < end; }
