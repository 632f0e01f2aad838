/* Products of warpgroups, as emulation.h has them: operands are found by the very descriptor that the instruction would get (PTX ISA, "Matrix
 * Descriptor Format" and "Canonical Layouts" of wgmma), sums are where it leaves them. A product is under way until its thread has waited for its
 * group: sums that are touched meanwhile are found out, and operands that are written, or that were written with no fence and barrier since.
 * Part of emulation.h, which includes it. Test: tests/codegen/emit_cuda/products_early.test */
#pragma once

namespace emulation {

enum { GROUP_ROWS = 64, SWIZZLE_ROW = 128, MAX_COLUMNS = 256, MAX_DEPTH = 32 };

/* ---- operands ---- */

struct descriptor {
    uint32_t start, leading, stride, base, mode;
};
static inline descriptor decode(uint64_t bits) {
    return {(uint32_t)(bits & 0x3fff) << 4, (uint32_t)(bits >> 16 & 0x3fff) << 4, (uint32_t)(bits >> 32 & 0x3fff) << 4,
            (uint32_t)(bits >> 49 & 7), (uint32_t)(bits >> 62)};
}

/* The address of row or column i at step k of the reduction, of elements of so many bytes, with the 128-byte swizzle: of 18 bits. Along the
 * reduction 8 rows of 128 bytes are `stride` apart; across it 128 bytes of rows or columns are `leading` apart, and 8 steps `stride`. */
static inline uint32_t place_of(const descriptor *d, bool across, uint32_t bytes, uint32_t i, uint32_t k) {
    const uint32_t chunk = SWIZZLE_ROW / bytes;
    const uint32_t offset = across ? i / chunk * d->leading + k / 8 * d->stride + k % 8 * SWIZZLE_ROW + i % chunk * bytes
                                   : i / 8 * d->stride + i % 8 * SWIZZLE_ROW + k * bytes;
    const uint32_t address = d->start + offset;
    return address ^ (address >> 7 & 7) << 4;
}

/* Each warpgroup's operands of the product at hand, as its first thread has read them. */
template <class S> struct operands {
    static S left[MAX_WARPGROUPS][GROUP_ROWS][MAX_DEPTH], right[MAX_WARPGROUPS][MAX_COLUMNS][MAX_DEPTH];
};
template <class S> S operands<S>::left[MAX_WARPGROUPS][GROUP_ROWS][MAX_DEPTH];
template <class S> S operands<S>::right[MAX_WARPGROUPS][MAX_COLUMNS][MAX_DEPTH];

/* Reads an operand, and notes that the warpgroup's product does. */
template <class S, class O, class F> static void read_operand(S (*to)[MAX_DEPTH], const O &o, uint32_t rows, uint32_t depth, F value) {
    using T = typename std::remove_reference<decltype(o.buffer->data[0])>::type;
    const descriptor d = decode(o.descriptor);
    const uint32_t first = (uint32_t)(uintptr_t)o.buffer->data, bytes = sizeof(T), size = sizeof o.buffer->data;
    if (d.mode != 1 || d.base)
        find("a descriptor with swizzling mode %u and base offset %u, expected 1 and 0", d.mode, d.base);
    if ((uintptr_t)o.buffer->data % (8 * SWIZZLE_ROW)) find("a swizzled operand's memory is at no multiple of 1024 bytes");
    if (!O::across && (d.start - first) % SWIZZLE_ROW % (depth * bytes)) find("an operand begins amid the steps of a product");
    for (uint32_t i = 0; i < rows; i++)
        for (uint32_t k = 0; k < depth; k++) {
            const uint32_t at = (place_of(&d, O::across, bytes, i, k) - first) & 0x3ffff;
            if (at >= size || at % bytes) {
                find("an operand's element (%u, %u) is outside of its memory, at byte %u", i, k, at);
                return;
            }
            if (!o.buffer->check_product(at / bytes)) return;
            to[i][k] = value(o.buffer->data[at / bytes]);
        }
}

/* ---- products ---- */

template <class S, int DEPTH, int N, class C, class A, class B, class F, class G>
static void multiply_by_groups(C c, const A &a, const B &b, F of_left, G of_right, uint64_t site) {
    const uint32_t self = thread, group = self / WARPGROUP, lane = self % WARP, warp = self % WARPGROUP / WARP;
    wait(AT_WARPGROUP, site);
    if ((group + 1) * WARPGROUP > thread_count) {
        find("a warpgroup of %u threads", thread_count % WARPGROUP);
        return;
    }
    if (self % WARPGROUP == 0) { /* before any other goes on */
        read_operand(operands<S>::left[group], a, GROUP_ROWS, DEPTH, of_left);
        read_operand(operands<S>::right[group], b, N, DEPTH, of_right);
    }
    for (uint32_t e = 0; e < N / 2; e++) {
        const uint32_t row = warp * 16 + lane / 4 + 8 * (e / 2 % 2), column = e / 4 * 8 + lane % 4 * 2 + e % 2;
        S sum = c.begin_sum(e);
        for (uint32_t k = 0; k < DEPTH; k++)
            sum = matrices<S, 1>::add(sum, operands<S>::left[group][row][k], operands<S>::right[group][column][k]);
        c.of->data[c.index + e] = sum;
    }
    begin_sums(c.of->written + c.index, N / 2);
}

static inline void commit_products(void) { own_products()->groups++; }

/* All groups but the last `allowed` are done. */
static inline void wait_for_products(uint32_t allowed) {
    product_list *list = own_products();
    size_t left = 0;
    for (size_t i = 0; i < list->count; i++) {
        product_sums *s = &list->items[i];
        if (s->group + allowed >= list->groups) {
            list->items[left++] = *s;
            continue;
        }
        for (uint32_t k = 0; k < s->count; k++)
            if (s->first[k] == SUM_UNDER_WAY) s->first[k] = ELEMENT_WRITTEN;
    }
    list->count = left;
    for (size_t i = 0; i < left; i++) /* later products add to the same */
        memset(list->items[i].first, SUM_UNDER_WAY, list->items[i].count);
    if (list->groups > allowed) list->done.put(list->groups - allowed);
}

static inline void fence_memory(void) { fences[thread].put(write_serial); }

} // namespace emulation
