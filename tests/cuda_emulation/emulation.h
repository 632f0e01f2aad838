/* CUDA C++ on a CPU: what emitted kernels are compiled against where there is no GPU. Every access is checked.
 *
 * It stands in for the part of the prelude that only NVRTC sees (codegen/emit/cuda_prelude.h): the kernels are the very text.
 * Needs C++17, GCC or clang. A block's threads run one after the other, each as far as it gets: one that waits at a
 * barrier or for its warp keeps its stack, and the next one runs on another. Blocks follow each other.
 * Found out: elements outside of their buffer; elements that two threads write; elements of a block's or a thread's memory
 * that are read before they are written; two threads at one element of shared memory with no barrier in between; several
 * elements at once at a place that is no multiple of their size; barriers that not all threads reach. Counted: sectors of global memory and waves of shared memory per request.
 * The contract with the driver is emulated_kernel.h. Test: tests/cuda_emulation/ */
#pragma once
#include "tests/cuda_emulation/emulated_kernel.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <type_traits>
#include <ucontext.h>

#define __global__ __attribute__((visibility("hidden")))
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(threads)
#define __shared__ static __attribute__((aligned(128))) /* begins at the first bank */
#define __align__(bytes) __attribute__((aligned(bytes)))
#define SINTER_INLINE static inline

struct dim3 {
    uint32_t x, y, z;
};
static dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {

enum {
    MAX_PARAMETERS = 64,
    MAX_THREADS = 1024,
    WARP = 32,
    WARPGROUP = 4 * WARP,
    MAX_WARPGROUPS = MAX_THREADS / WARPGROUP,
    STACK_BYTES = 256 << 10
};

/* ---- the launch at hand ---- */

struct parameter {
    uint64_t bits;           /* as given */
    uint64_t base, limit;    /* of the allocation around it; equal: there is none */
    int64_t count;           /* elements, where the kernel has said so; -1: not known */
    uint64_t *writers;       /* by element: 1 + thread, and the interval between barriers above it */
    const char *name;
};

enum state : uint8_t { READY, AT_BARRIER, AT_WARP, AT_WARPGROUP, AT_PHASE, DONE };

struct access {
    uint64_t site, address;
    uint32_t occurrence, bytes;
};
struct access_list {
    access *items;
    size_t count, capacity;
};

static const sinter_emulated_launch *launch;
static const char *kernel_name;
static parameter parameters[MAX_PARAMETERS];
static uint32_t thread_count, thread;
static uint64_t block_serial; /* of all launches: what a block before wrote is not written */
static uint32_t interval;     /* between barriers of the block */

static state states[MAX_THREADS];
static uint64_t sites[MAX_THREADS]; /* where a thread waits */
static uint32_t findings;
static access_list global_accesses[MAX_THREADS / WARP], shared_accesses[MAX_THREADS / WARP];

static inline void find(const char *format, ...) {
    if (findings++ >= 8) return; /* one mistake is made by many threads */
    char text[512];
    va_list list;
    va_start(list, format);
    size_t size = (size_t)snprintf(text, sizeof text, "block %u,%u,%u thread %u,%u,%u: ", blockIdx.x, blockIdx.y,
                                   blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
    vsnprintf(text + size, sizeof text - size, format, list);
    va_end(list);
    launch->host->finding(launch->host->user, kernel_name, text);
}

/* ---- counting ---- */

static inline void note(access_list *lists, uint64_t site, uint64_t address, uint32_t bytes) {
    access_list *list = &lists[thread / WARP];
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 1024;
        list->items = (access *)realloc(list->items, list->capacity * sizeof *list->items);
    }
    uint32_t occurrence = 0;
    for (size_t i = list->count; i-- > 0;) /* the last of this thread there; accesses of a thread are together */
        if (list->items[i].site == site && (list->items[i].occurrence >> 16) % WARP == thread % WARP) {
            occurrence = (list->items[i].occurrence & 0xffff) + 1;
            break;
        }
    list->items[list->count++] = {site, address, occurrence | thread % WARP << 16, bytes};
}

static inline int by_request(const void *a, const void *b) {
    const access *x = (const access *)a, *y = (const access *)b;
    uint32_t ox = x->occurrence & 0xffff, oy = y->occurrence & 0xffff;
    if (x->site != y->site) return x->site < y->site ? -1 : 1;
    if (ox != oy) return ox < oy ? -1 : 1;
    return x->address < y->address ? -1 : x->address > y->address;
}

/* Distinct words that meet in the worst bank, of accesses in the order of their addresses by lanes [first, end). */
static inline uint32_t waves_of_lanes(const access *items, size_t count, uint32_t first, uint32_t end) {
    uint32_t worst = 0, in_bank[32] = {0};
    uint64_t next = 0; /* words below it were counted */
    for (size_t i = 0; i < count; i++) {
        const uint32_t lane = items[i].occurrence >> 16;
        if (lane < first || lane >= end) continue;
        for (uint64_t word = items[i].address / 4; word <= (items[i].address + items[i].bytes - 1) / 4; word++) {
            if (word < next) continue;
            next = word + 1;
            const uint32_t full = ++in_bank[word % 32];
            if (full > worst) worst = full;
        }
    }
    return worst;
}

/* Lanes that touch 8 or 16 bytes at once take turns: 16 or 8 of them, 128 bytes. */
static inline uint32_t waves_of(const access *items, size_t count) {
    uint32_t waves = 0;
    const uint32_t turn = items->bytes <= 4 ? WARP : 4 * WARP / items->bytes;
    for (uint32_t first = 0; first < WARP; first += turn) waves += waves_of_lanes(items, count, first, first + turn);
    return waves;
}

/* Distinct units of so many bytes that accesses, in the order of their addresses, touch. */
static inline uint32_t units_of(const access *items, size_t count, uint32_t unit) {
    uint32_t units = 0;
    uint64_t next = 0; /* units below it were counted */
    for (size_t i = 0; i < count; i++)
        for (uint64_t at = items[i].address / unit; at <= (items[i].address + items[i].bytes - 1) / unit; at++) {
            if (at < next) continue;
            next = at + 1;
            units++;
        }
    return units;
}

/* The fewest waves: 32 words each, of the lanes that have their turn. */
static inline uint32_t least_waves_of(const access *items, size_t count) {
    uint32_t turns = 0;
    const uint32_t turn = items->bytes <= 4 ? WARP : 4 * WARP / items->bytes, words = units_of(items, count, 4);
    for (uint32_t first = 0; first < WARP; first += turn) {
        bool some = false;
        for (size_t i = 0; i < count; i++) some |= (items[i].occurrence >> 16) / turn == first / turn;
        turns += some;
    }
    return turns > (words + 31) / 32 ? turns : (words + 31) / 32;
}

static inline uint32_t sectors_of(const access *items, size_t count) {
    return units_of(items, count, 32);
}

/* As many as the bytes would fill, wherever they lay. */
static inline uint32_t least_sectors_of(const access *items, size_t count) {
    return (units_of(items, count, 1) + 31) / 32;
}

static inline void count_requests(access_list *lists, bool shared) {
    sinter_emulated_counters *counters = launch->counters;
    for (uint32_t warp = 0; warp < MAX_THREADS / WARP; warp++) {
        access_list *list = &lists[warp];
        qsort(list->items, list->count, sizeof *list->items, by_request);
        for (size_t i = 0, end; i < list->count; i = end) {
            const access *first = &list->items[i];
            for (end = i; end < list->count && list->items[end].site == first->site &&
                          (list->items[end].occurrence & 0xffff) == (first->occurrence & 0xffff);)
                end++;
            if (shared) {
                counters->shared_requests++;
                counters->shared_waves += waves_of(first, end - i);
                counters->shared_least_waves += least_waves_of(first, end - i);
                continue;
            }
            counters->global_requests++;
            counters->global_sectors += sectors_of(first, end - i);
            counters->global_least_sectors += least_sectors_of(first, end - i);
        }
        list->count = 0;
    }
}

#define SINTER_EMULATION_SITE ((uint64_t)(uintptr_t)__builtin_return_address(0))

/* ---- threads ---- */

struct fiber {
    jmp_buf here;
    ucontext_t context;
    char *stack;
    uint32_t thread;
    bool started;
};
static fiber *fibers[MAX_THREADS + 1]; /* one for each thread that waits, and one that runs */
static uint32_t fiber_count, idle_count;
static fiber *idle[MAX_THREADS + 1], *waiting[MAX_THREADS], *current;
static jmp_buf scheduler;
static uint32_t next_thread;
static void (*body)(void);

static inline void place(uint32_t number) {
    thread = number;
    threadIdx = {number % blockDim.x, number / blockDim.x % blockDim.y, number / blockDim.x / blockDim.y};
}

static inline void leave(void) {
    if (!_setjmp(current->here)) _longjmp(scheduler, 1);
}

/* A fiber takes threads until there are no more, then waits to be used again. */
static inline void run_fiber(void) {
    for (;;) {
        while (next_thread < thread_count) {
            uint32_t number = next_thread++;
            current->thread = number;
            place(number);
            body();
            states[current->thread] = DONE;
        }
        idle[idle_count++] = current;
        leave();
    }
}

static inline fiber *take_fiber(void) {
    if (idle_count) return idle[--idle_count];
    fiber *fresh = (fiber *)calloc(1, sizeof *fresh);
    fresh->stack = (char *)malloc(STACK_BYTES);
    fibers[fiber_count++] = fresh;
    return fresh;
}

/* As the module is unloaded: all of them are idle. */
__attribute__((destructor)) static void release_fibers(void) {
    for (uint32_t i = 0; i < fiber_count; i++) {
        free(fibers[i]->stack);
        free(fibers[i]);
    }
}

static inline void enter(fiber *next) {
    current = next;
    if (_setjmp(scheduler)) return;
    if (next->started) _longjmp(next->here, 1);
    next->started = true;
    getcontext(&next->context);
    next->context.uc_stack.ss_sp = next->stack;
    next->context.uc_stack.ss_size = STACK_BYTES;
    next->context.uc_link = NULL;
    makecontext(&next->context, run_fiber, 0);
    setcontext(&next->context);
}

static inline void wait(state what, uint64_t site) {
    uint32_t self = thread;
    states[self] = what;
    sites[self] = site;
    waiting[self] = current;
    leave();
    place(self);
}

static inline void resume(uint32_t number) {
    states[number] = READY;
    place(number);
    enter(waiting[number]);
}

/* All live threads of [first, end) wait for the same thing at the same place. */
static inline bool all_wait(uint32_t first, uint32_t end, state what, bool *out_apart) {
    uint64_t site = 0;
    bool some = false;
    for (uint32_t i = first; i < end; i++) {
        if (states[i] == DONE) continue;
        if (states[i] != what) return false;
        if (some && sites[i] != site) *out_apart = true;
        site = sites[i];
        some = true;
    }
    return some;
}

/* Warps, or warpgroups, whose threads have all come. */
static inline bool release(uint32_t size, state what) {
    bool moved = false, apart = false;
    for (uint32_t first = 0; first < thread_count; first += size) {
        uint32_t end = first + size < thread_count ? first + size : thread_count;
        if (!all_wait(first, end, what, &apart)) continue;
        if (apart) find("lanes of a %s meet in different operations", what == AT_WARP ? "warp" : "warpgroup");
        for (uint32_t i = first; i < end; i++)
            if (states[i] == what) resume(i);
        moved = true;
    }
    return moved;
}

} // namespace emulation
#include "tests/cuda_emulation/emulation_phases.h"
namespace emulation {

static inline void find_boxes_left(void);

static inline void run_block(void) {
    block_serial++;
    interval = 0;
    begin_epochs();
    next_thread = 0;
    for (uint32_t i = 0; i < thread_count; i++) states[i] = READY;
    while (next_thread < thread_count) enter(take_fiber());
    for (;;) {
        while (release(WARP, AT_WARP) || release(WARPGROUP, AT_WARPGROUP) || release_phases()) continue;
        bool apart = false;
        if (all_wait(0, thread_count, AT_BARRIER, &apart)) {
            if (apart) find("threads of a block wait at different barriers");
            if (launch->counters) launch->counters->barriers++;
            begin_epochs();
            for (uint32_t i = 0; i < thread_count; i++)
                if (states[i] == AT_BARRIER) resume(i);
            continue;
        }
        bool stuck = false;
        for (uint32_t i = 0; i < thread_count; i++)
            if (states[i] != DONE) {
                if (!stuck) tell_stuck(i);
                stuck = true;
                resume(i);
            }
        if (!stuck) break;
    }
    find_boxes_left();
    if (!launch->counters) return;
    count_requests(global_accesses, false);
    count_requests(shared_accesses, true);
}

/* ---- warps ---- */

static uint64_t lanes[2][MAX_THREADS];
static uint8_t parity[MAX_THREADS];

template <class T> static inline T exchange(T value, uint32_t from, uint64_t site) {
    const uint32_t side = parity[thread] ^= 1, self = thread, first = self / WARP * WARP;
    memcpy(&lanes[side][self], &value, sizeof value);
    wait(AT_WARP, site);
    if (first + from >= thread_count) {
        find("a lane reads from lane %u, which is not there", from);
        return value;
    }
    memcpy(&value, &lanes[side][first + from], sizeof value);
    return value;
}

/* ---- memory ---- */

static inline bool reaches(parameter *p, int64_t index, uint32_t bytes, bool writes) {
    const int64_t room = p->count >= 0 ? p->count : (int64_t)((p->limit - p->bits) / bytes);
    if (index >= 0 && index < room) return true;
    find("%s[%lld] is %s, which has %lld elements", p->name ? p->name : "a buffer", (long long)index,
         writes ? "written" : "read", (long long)room);
    return false;
}

static inline void mark_write(parameter *p, int64_t index) {
    if (p->count <= 0) return;
    if (!p->writers) p->writers = (uint64_t *)calloc((size_t)p->count, sizeof *p->writers);
    const uint64_t block =
        ((uint64_t)blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const uint64_t self = 1 + block * thread_count + thread, mark = self << 16 | (interval & 0xffff);
    const uint64_t before = p->writers[index];
    const bool same_block = before && ((before >> 16) - 1) / thread_count == block;
    if (before && before >> 16 != self && (!same_block || (before & 0xffff) == (mark & 0xffff)))
        find("%s[%lld] is written by two threads", p->name, (long long)index);
    p->writers[index] = mark;
}

/* The element was written by another block, or by another thread since the last barrier. */
static inline void check_read(parameter *p, int64_t index) {
    if (!p->writers || !p->writers[index]) return;
    const uint64_t block =
        ((uint64_t)blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const uint64_t self = 1 + block * thread_count + thread, before = p->writers[index];
    if (before >> 16 == self) return;
    const bool same_block = ((before >> 16) - 1) / thread_count == block;
    if (!same_block || (before & 0xffff) == (interval & 0xffff))
        find("%s[%lld] is read by one thread and written by another", p->name, (long long)index);
}

template <class T> struct element {
    parameter *of;
    int64_t index;
    uint64_t site;
    T *address() const { return (T *)(uintptr_t)(of->bits + (uint64_t)index * sizeof(T)); }
    void note_access() const {
        if (launch->counters) note(global_accesses, site, (uint64_t)(uintptr_t)address(), sizeof(T));
    }
    operator T() const {
        if (!reaches(of, index, sizeof(T), false)) return T();
        check_read(of, index);
        note_access();
        return *address();
    }
    const element &operator=(T value) const {
        if (!reaches(of, index, sizeof(T), true)) return *this;
        mark_write(of, index);
        note_access();
        *address() = value;
        return *this;
    }
    const element &operator=(const element &other) const { return *this = (T)other; }
    element operator&() const { return *this; }
};

struct buffer {
    parameter *of;
    void extent(int64_t count, const char *name, uint32_t bytes) {
        of->name = name;
        of->count = count;
        if (count > 0 && of->bits + (uint64_t)count * bytes > of->limit) {
            find("%s has %lld elements of %u bytes, %llu bytes are there", name, (long long)count, bytes,
                 (unsigned long long)(of->limit - of->bits));
            of->count = (int64_t)((of->limit - of->bits) / bytes);
        }
    }
};

template <class T> struct in : buffer {
    using type = T;
    static constexpr bool is_constant = true;
    __attribute__((noinline)) T operator[](int64_t index) const {
        if (!reaches(of, index, sizeof(T), false)) return T();
        const T *place = (const T *)(uintptr_t)(of->bits + (uint64_t)index * sizeof(T));
        if (launch->counters) note(global_accesses, SINTER_EMULATION_SITE, (uint64_t)(uintptr_t)place, sizeof(T));
        return *place;
    }
};

template <class T> struct out : buffer {
    using type = T;
    static constexpr bool is_constant = false;
    __attribute__((noinline)) element<T> operator[](int64_t index) const {
        return {of, index, SINTER_EMULATION_SITE};
    }
};

/* Memory of a thread. */
enum element_state : uint8_t { ELEMENT_UNWRITTEN, ELEMENT_WRITTEN, SUM_UNDER_WAY };
template <class T, int64_t N> struct array {
    T data[N];
    uint8_t written[N]; /* element_state */
    array() { memset(written, ELEMENT_UNWRITTEN, sizeof written); }
    struct slot {
        array *of;
        int64_t index;
        operator T() const {
            if (of->written[index] == SUM_UNDER_WAY)
                find("element %lld of an array is read while a product that adds to it is under way", (long long)index);
            else if (!of->written[index])
                find("element %lld of an array is read before it is written", (long long)index);
            return of->data[index];
        }
        const slot &operator=(T value) const {
            if (of->written[index] == SUM_UNDER_WAY)
                find("element %lld of an array is written while a product that adds to it is under way", (long long)index);
            of->data[index] = value;
            of->written[index] = ELEMENT_WRITTEN;
            return *this;
        }
        /* What a product of a warpgroup adds to. */
        T begin_sum(int64_t distance) const {
            if (index + distance >= N || !of->written[index + distance]) {
                find("element %lld of an array is a sum before it is written", (long long)(index + distance));
                return T();
            }
            return of->data[index + distance];
        }
        const slot &operator=(const slot &other) const { return *this = (T)other; }
        slot operator&() const { return *this; }
        slot at(int64_t distance) const { return (*of)[index + distance]; }
    };
    slot operator[](int64_t index) {
        if (index >= 0 && index < N) return {this, index};
        find("element %lld of an array of %lld", (long long)index, (long long)N);
        return {this, 0};
    }
};

/* ---- matrices of a warp ---- */

static inline float of_bf16(uint16_t bits) {
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}
static inline float of_f16(uint16_t bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float value = exponent == 31  ? (fraction ? NAN : INFINITY)
                  : exponent == 0 ? ldexpf((float)fraction, -24)
                                  : ldexpf((float)(1024 + fraction), exponent - 25);
    return bits >> 15 ? -value : value;
}
/* 10 bits of mantissa, the nearest, ties away from zero (PTX ISA, cvt.rna.tf32.f32). */
static inline float of_tf32(float value) {
    uint32_t bits;
    if (isnan(value)) return value;
    memcpy(&bits, &value, sizeof bits);
    bits = (bits + (1u << 12)) >> 13 << 13;
    memcpy(&value, &bits, sizeof value);
    return value;
}
template <class T> static inline int32_t of_integer(T value) { return value; }

/* An instruction of codegen/loops/mma.def with `packed` elements in a register: lanes show each other what they have. */
template <class S, int packed> struct matrices {
    static S left[2][MAX_THREADS][4 * packed], right[2][MAX_THREADS][2 * packed];
    template <class C, class A, class B, class F, class G>
    static void multiply(C c, A a, B b, F of_left, G of_right, uint64_t site) {
        const uint32_t side = parity[thread] ^= 1, self = thread, first = self / WARP * WARP, lane = self % WARP;
        for (int i = 0; i < 4 * packed; i++) left[side][self][i] = of_left(a.at(i));
        for (int i = 0; i < 2 * packed; i++) right[side][self][i] = of_right(b.at(i));
        wait(AT_WARP, site);
        if (first + WARP > thread_count) {
            find("a warp of %u lanes multiplies matrices", thread_count - first);
            return;
        }
        for (uint32_t e = 0; e < 4; e++) {
            const uint32_t row = lane / 4 + 8 * (e / 2), column = lane % 4 * 2 + e % 2;
            S sum = c.at(e);
            for (uint32_t k = 0; k < 8 * packed; k++) {
                const uint32_t member = k % (4 * packed) / packed, upper = k / (4 * packed);
                const S x = left[side][first + row % 8 * 4 + member][(row / 8 + 2 * upper) * packed + k % packed];
                const S y = right[side][first + column * 4 + member][upper * packed + k % packed];
                sum = add(sum, x, y);
            }
            c.at(e) = sum;
        }
    }
    static float add(float sum, float x, float y) { return sum + x * y; }
    static int32_t add(int32_t sum, int32_t x, int32_t y) { return (int32_t)((uint32_t)sum + (uint32_t)(x * y)); }
};
template <class S, int packed> S matrices<S, packed>::left[2][MAX_THREADS][4 * packed];
template <class S, int packed> S matrices<S, packed>::right[2][MAX_THREADS][2 * packed];

/* ---- several elements at once ---- */

/* All are there, and the place is a multiple of what is touched at once; counted as one access. */
template <class T> static inline bool touch(parameter *of, int64_t at, int64_t count, bool writes, uint64_t site) {
    const uint64_t place = of->bits + (uint64_t)at * sizeof(T), bytes = (uint64_t)count * sizeof(T);
    for (int64_t i = 0; i < count; i++)
        if (!reaches(of, at + i, sizeof(T), writes)) return false;
    if (place % bytes)
        find("%s[%lld]: %u bytes at once, which are not at a multiple of that", of->name ? of->name : "a buffer",
             (long long)at, (unsigned)bytes);
    if (launch->counters) note(global_accesses, site, place, (uint32_t)bytes);
    return true;
}

template <class T, int64_t N> static constexpr int64_t piece_of(void) {
    return sizeof(T) * N <= 16 ? N : (int64_t)(16 / sizeof(T));
}

template <class T, int64_t N, class B>
__attribute__((noinline)) static void read_wide(array<T, N> &to, B from, int64_t at) {
    constexpr int64_t COUNT = piece_of<T, N>();
    constexpr bool written = !B::is_constant;
    parameter *of = from.of;
    for (int64_t i = 0; i < N; i += COUNT) {
        if (!touch<T>(of, at + i, COUNT, false, SINTER_EMULATION_SITE)) return;
        for (int64_t k = i; k < i + COUNT; k++) {
            if (written) check_read(of, at + k);
            to[k] = ((const T *)(uintptr_t)of->bits)[at + k];
        }
    }
}

template <class T, int64_t N>
__attribute__((noinline)) static void write_wide(out<T> to, int64_t at, array<T, N> &from) {
    constexpr int64_t COUNT = piece_of<T, N>();
    parameter *of = to.of;
    for (int64_t i = 0; i < N; i += COUNT) {
        if (!touch<T>(of, at + i, COUNT, true, SINTER_EMULATION_SITE)) return;
        for (int64_t k = i; k < i + COUNT; k++) {
            mark_write(of, at + k);
            ((T *)(uintptr_t)of->bits)[at + k] = from[k];
        }
    }
}

} // namespace emulation
#include "tests/cuda_emulation/emulation_block.h"
#include "tests/cuda_emulation/emulation_warpgroup.h"
#include "tests/cuda_emulation/emulation_call.h"

/* ---- the words of the prelude ---- */

using emulation::array;
using emulation::in;
using emulation::out;
using emulation::shared;
using emulation::swizzled;
typedef emulation::failure_record *failure_place;

#define sinter_read emulation::read_wide
#define sinter_write emulation::write_wide

#define sinter_copy emulation::copy_to_shared
#define sinter_commit() emulation::commit_copies()
template <uint32_t N> static inline void sinter_wait() { emulation::wait_for_copies(N); }

#define SINTER_EXTENT(buffer, count) buffer.extent(count, #buffer, sizeof(typename decltype(buffer)::type))

static inline bool sinter_failed(failure_place place) { return place->code != 0; }
template <class... V> static inline void sinter_fail(failure_place place, int32_t code, int32_t message, V... values) {
    if (place->code) return;
    const int64_t list[] = {0, (int64_t)values...};
    place->code = code;
    place->message = message;
    for (size_t i = 0; i < sizeof...(V); i++) place->values[i] = list[i + 1];
}
template <class T, class F> static inline void sinter_update(emulation::element<T> place, F after) {
    if (!emulation::reaches(place.of, place.index, sizeof(T), true)) return;
    place.note_access();
    *place.address() = after(*place.address());
}

#define SINTER_ASKED_SHARED(T, N, name, first)                                                                         \
    static __align__(128) shared<T, N> name;                                                                           \
    if (emulation::launch->shared_bytes < (first) + (N) * sizeof(T))                                                   \
        emulation::find("%s ends at byte %llu of the block's memory, the launch asks for %u", #name,                   \
                        (unsigned long long)((first) + (N) * sizeof(T)), emulation::launch->shared_bytes)
#define __syncthreads() emulation::wait(emulation::AT_BARRIER, (uint64_t)__LINE__)
#define __syncwarp() emulation::wait(emulation::AT_WARP, (uint64_t)__LINE__)
#define sinter_shuffle_xor(value, distance)                                                                            \
    emulation::exchange(value, emulation::thread % emulation::WARP ^ (uint32_t)(distance), (uint64_t)__LINE__)
#define sinter_shuffle(value, lane) emulation::exchange(value, (uint32_t)(lane), (uint64_t)__LINE__)

#define SINTER_ASKED_SWIZZLED(T, N, name, first)                                                                       \
    static __align__(1024) swizzled<T, N> name;                                                                        \
    if (emulation::launch->shared_bytes < (first) + (N) * sizeof(T) || (first) % 1024)                                 \
        emulation::find("%s begins at byte %llu of the block's memory and ends at %llu, the launch asks for %u", #name, \
                        (unsigned long long)(first), (unsigned long long)((first) + (N) * sizeof(T)),                  \
                        emulation::launch->shared_bytes)
#define SINTER_ASKED_BESIDE SINTER_ASKED_SHARED

#define sinter_load_matrices emulation::load_matrices

#define SINTER_MMA(sum, packed, of_left, of_right, c, a, b)                                                            \
    emulation::matrices<sum, packed>::multiply(c, a, b, emulation::of_left, emulation::of_right, (uint64_t)__LINE__)
#define sinter_mma_bf16(c, a, b) SINTER_MMA(float, 2, of_bf16, of_bf16, c, a, b)
#define sinter_mma_f16(c, a, b) SINTER_MMA(float, 2, of_f16, of_f16, c, a, b)
#define sinter_mma_tf32(c, a, b) SINTER_MMA(float, 1, of_tf32, of_tf32, c, a, b)
#define sinter_mma_i8(c, a, b) SINTER_MMA(int32_t, 4, of_integer<int8_t>, of_integer<int8_t>, c, a, b)
#define sinter_mma_u8(c, a, b) SINTER_MMA(int32_t, 4, of_integer<uint8_t>, of_integer<uint8_t>, c, a, b)
#define sinter_mma_u8i8(c, a, b) SINTER_MMA(int32_t, 4, of_integer<uint8_t>, of_integer<int8_t>, c, a, b)
#define sinter_mma_i8u8(c, a, b) SINTER_MMA(int32_t, 4, of_integer<int8_t>, of_integer<uint8_t>, c, a, b)

/* Products of warpgroups; of other code than sm_90a's the prelude has them by warps. */
template <class B> static inline uint32_t sinter_shared_place(const B &buffer, int64_t at) {
    return (uint32_t)(uintptr_t)&buffer.data[at];
}
#ifdef SINTER_BY_WARPS
#define sinter_fence()
#define sinter_commit_products()
template <uint32_t N> static inline void sinter_wait_for_products() {}
template <class C> static inline C sinter_next(C sums, int count) { return sums.at(count); }
#else
#define sinter_fence() emulation::fence_memory()
#define sinter_commit_products() emulation::commit_products()
template <uint32_t N> static inline void sinter_wait_for_products() { emulation::wait_for_products(N); }
#define SINTER_WGMMA(name, sum, depth, of_left, of_right)                                                              \
    template <int N, class C, class A, class B> __attribute__((noinline)) static void sinter_wgmma_##name(C c, A a, B b) { \
        emulation::multiply_by_groups<sum, depth, N>(c, a, b, emulation::of_left, emulation::of_right,                 \
                                                     SINTER_EMULATION_SITE);                                           \
    }
SINTER_WGMMA(bf16, float, 16, of_bf16, of_bf16)
SINTER_WGMMA(f16, float, 16, of_f16, of_f16)
SINTER_WGMMA(i8, int32_t, 32, of_integer<int8_t>, of_integer<int8_t>)
SINTER_WGMMA(u8, int32_t, 32, of_integer<uint8_t>, of_integer<uint8_t>)
SINTER_WGMMA(u8i8, int32_t, 32, of_integer<uint8_t>, of_integer<int8_t>)
SINTER_WGMMA(i8u8, int32_t, 32, of_integer<int8_t>, of_integer<uint8_t>)
#endif
#define sinter_hold(sums)
#define sinter_begin_products()

#define SINTER_EMULATED_KERNEL(kernel)                                                                                 \
    {#kernel, emulation::entry<kernel>::parameter_count, emulation::entry<kernel>::map_count, emulation::entry<kernel>::run},
#define SINTER_EMULATED_MODULE(kernels)                                                                                \
    extern "C" __attribute__((visibility("default"))) const sinter_emulated_kernel *sinter_emulated_kernels(           \
        uint32_t *out_count);                                                                                          \
    extern "C" const sinter_emulated_kernel *sinter_emulated_kernels(uint32_t *out_count) {                            \
        static const sinter_emulated_kernel list[] = {kernels};                                                        \
        *out_count = sizeof list / sizeof *list;                                                                       \
        return list;                                                                                                   \
    }
