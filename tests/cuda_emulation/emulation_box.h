/* Copies of boxes, as emulation.h has them: what the instruction does by a tensor map (PTX ISA, cp.async.bulk.tensor), whose bytes are there once the
 * phase is over that its thread arrives at next. Found out are maps that are none or of another shape, bytes that the phase is not told of, memory that
 * is not at a multiple of what the swizzle needs, elements that are touched before the phase was awaited, and copies that nobody waits for.
 * Part of emulation.h, which includes it. Test: tests/codegen/emit_cuda/boxes_early.test */
#pragma once

namespace emulation {

struct tensor_map {
    sinter_emulated_map map;
    unsigned char rest[EMULATED_MAP_BYTES - sizeof(sinter_emulated_map)];
};
static_assert(sizeof(tensor_map) == EMULATED_MAP_BYTES, "what a launch passes");
/* A box that is copied for the phase that comes next: it is there when that is over. */
struct pending_box {
    phase_state *phase;
    uint64_t block;
    void *to, *marks;
    void (*finish)(const pending_box *);
    unsigned char *bytes;
    size_t count;
    uint16_t writer;
};
static pending_box *boxes;
static size_t box_count, box_capacity;

__attribute__((destructor)) static void release_boxes(void) {
    for (size_t i = 0; i < box_count; i++) free(boxes[i].bytes);
    free(boxes);
}

/* The instruction writes it for all that awaited the phase, in the order of products. */
template <class T, int64_t N> static void finish_box(const pending_box *b) {
    typename shared<T, N>::mark *marks = (typename shared<T, N>::mark *)b->marks;
    memcpy(b->to, b->bytes, b->count * sizeof(T));
    for (size_t i = 0; i < b->count; i++) {
        marks[i].under_way = false;
        marks[i].serial = 0; /* no fence is asked for */
    }
}

static inline void end_boxes(const phase_state *p) {
    size_t left = 0;
    for (size_t i = 0; i < box_count; i++) {
        pending_box *b = &boxes[i];
        if (b->phase == p && b->block == block_serial) b->finish(b);
        if (b->phase == p || b->block != block_serial)
            free(b->bytes);
        else
            boxes[left++] = *b;
    }
    box_count = left;
}

static inline void find_boxes_left(void) {
    for (size_t i = 0; i < box_count; i++)
        if (boxes[i].block == block_serial) {
            find("a box that thread %u had copied is under way at the end of its block", boxes[i].writer);
            return;
        }
}

/* Where in the tensor an element of the box is; negative: outside. */
static inline int64_t place_in_map(const sinter_emulated_map *map, const int64_t *places, const uint32_t *within) {
    int64_t place = 0;
    for (uint32_t i = 0; i < map->rank; i++) {
        const int64_t at = places[i] + within[i];
        if (at < 0 || at >= (int64_t)map->dims[i]) return -1;
        place += at * (int64_t)(i ? map->strides[i - 1] : map->element_bytes);
    }
    return place;
}

template <uint32_t BYTES, class T, int64_t N, int64_t M>
__attribute__((noinline)) static void copy_box(swizzled<T, N> &to, int64_t at, const tensor_map &given, shared<uint64_t, M> &phases,
                                               int64_t i, const int64_t *places, uint32_t rank) {
    const sinter_emulated_map *map = &given.map;
    const uint64_t site = SINTER_EMULATION_SITE;
    phase_state *p = phases_at(phases, i);
    if (!p) return;
    if (map->magic != EMULATED_MAP_MAGIC || map->rank != rank || map->element_bytes != sizeof(T)) {
        find("a box of rank %u is copied by what is no map of such", rank);
        return;
    }
    size_t count = 1;
    for (uint32_t k = 0; k < rank; k++) count *= map->sizes[k];
    if (count * sizeof(T) != BYTES)
        find("a phase waits for %u bytes of a box of %u: it ends too early or never", BYTES, (unsigned)(count * sizeof(T)));
    if (map->sizes[0] * sizeof(T) != 128 || at % (1024 / (int64_t)sizeof(T)))
        find("a box that does not begin with eight rows of 128 bytes: element %lld, %u bytes in a row", (long long)at,
             (unsigned)(map->sizes[0] * sizeof(T)));
    if (at < 0 || at + (int64_t)count > N) {
        find("a box goes to elements %lld to %lld of %lld", (long long)at, (long long)(at + (int64_t)count), (long long)N);
        return;
    }
    uint64_t base = 0, bytes = 0;
    if (!launch->host->find(launch->host->user, map->address, &base, &bytes)) base = bytes = 0;
    pending_box b = {p,
                     block_serial,
                     &to.data[at],
                     &to.marks[at],
                     finish_box<T, N>,
                     (unsigned char *)calloc(count, sizeof(T)),
                     count,
                     (uint16_t)thread};
    uint32_t within[EMULATED_MAP_RANK] = {0};
    for (size_t k = 0; k < count; k++) {
        const int64_t place = place_in_map(map, places, within);
        const uint64_t from = map->address + (uint64_t)place;
        if (place >= 0 && (from < base || from + sizeof(T) > base + bytes)) {
            find("a box is copied from outside of a tensor's memory, %lld bytes behind its beginning", (long long)place);
            break;
        }
        if (place >= 0) memcpy(b.bytes + (size_t)swizzled<T, N>::place((int64_t)k) * sizeof(T), (const void *)(uintptr_t)from, sizeof(T));
        if (launch->counters && place >= 0 && within[0] == 0) {
            const int64_t left = (int64_t)map->dims[0] - places[0];
            const uint32_t row = left < (int64_t)map->sizes[0] ? (uint32_t)left : map->sizes[0];
            note(global_accesses, site, from, row * (uint32_t)sizeof(T));
        }
        for (uint32_t d = 0; d < rank && ++within[d] == map->sizes[d]; d++) within[d] = 0;
    }
    for (size_t k = 0; k < count; k++) {
        to.begin_write(at + (int64_t)k);
        to.marks[at + (int64_t)k].under_way = true;
    }
    memset(&to.data[at], 0xa5, count * sizeof(T));
    if (box_count == box_capacity) {
        box_capacity = box_capacity ? 2 * box_capacity : 16;
        boxes = (pending_box *)realloc(boxes, box_capacity * sizeof *boxes);
    }
    boxes[box_count++] = b;
}

} // namespace emulation
using sinter_tensor_map = emulation::tensor_map;
#define __grid_constant__
template <uint32_t WARP, uint32_t BYTES, class B, int64_t N, class... P>
static inline void sinter_copy_box(B &to, int64_t at, const sinter_tensor_map &map, emulation::shared<uint64_t, N> &phases, int64_t i,
                                   P... places) {
    if (threadIdx.x + threadIdx.y != 0 || threadIdx.z != WARP) return;
    const int64_t list[] = {(int64_t)places...};
    emulation::copy_box<BYTES>(to, at, map, phases, i, list, sizeof...(P));
}
