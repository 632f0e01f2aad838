/* Warps that fill a ring and warps that multiply what is in it, ordered by phases: kernels that leave something out, and one that does it right, run
 * by the emulation header; what it finds goes to standard output. */
#include "codegen/emit/cuda_prelude.h"

enum { ROWS = 64, DEPTH = 64, COLUMNS = 32, STAGES = 3, STEPS = 7 };
enum mistake { NONE, NOT_AWAITED, EARLY_PHASE, NO_FENCE, NOT_FREED, FREED_EARLY, NO_ARRIVAL, FEW_ARRIVALS, COPY_UNDER_WAY };

static int left_value(int step, int row, int k) { return (step * 11 + row * 3 + k * 5) % 7 - 3; }
static int right_value(int step, int k, int column) { return (step + k * 2 + column * 3) % 5 - 2; }
static uint16_t bf16_of(int value) {
    const float wide = (float)value;
    uint32_t bits;
    memcpy(&bits, &wide, sizeof bits);
    return (uint16_t)(bits >> 16);
}

template <mistake M> static void run(in<uint16_t> x, out<float> y) {
    __shared__ __align__(1024) swizzled<uint16_t, STAGES * ROWS * DEPTH> left;
    __shared__ __align__(1024) swizzled<uint16_t, STAGES * DEPTH * 64> right;
    __shared__ shared<uint64_t, STAGES> full, empty;
    array<float, COLUMNS / 2> acc;
    SINTER_EXTENT(x, STEPS *ROWS *DEPTH);
    SINTER_EXTENT(y, ROWS *COLUMNS);
    sinter_begin_phases(full, M == FEW_ARRIVALS ? 8 : 4);
    sinter_begin_phases(empty, 4);
    const int lane = threadIdx.x + 4 * threadIdx.y + 32 * threadIdx.z;
    if (sinter_is_warp(4, 8)) {
        for (int step = 0; step < STEPS; step++) {
            const int slot = step % STAGES;
            if (M != NOT_FREED) sinter_await(empty, slot, step / STAGES - 1);
            for (int i = lane - 128; i < ROWS * DEPTH; i += 128)
                right[slot * DEPTH * 64 + i] = bf16_of(right_value(step, i / 64, i % 64));
            for (int i = (lane - 128) * 8; i < ROWS * DEPTH; i += 1024)
                sinter_copy<8>(left, slot * ROWS * DEPTH + i, x, step * ROWS * DEPTH + i);
            sinter_commit();
            if (M != COPY_UNDER_WAY) sinter_wait<0>();
            if (M != NO_FENCE) sinter_fence();
            if (M != NO_ARRIVAL || step < 4) sinter_arrive(full, slot);
        }
        sinter_wait<0>();
    }
    if (sinter_is_warp(0, 4)) {
        for (int i = 0; i < COLUMNS / 2; i++) acc[i] = 0;
        for (int step = 0; step < STEPS; step++) {
            const int slot = step % STAGES;
            if (M == NOT_AWAITED) __syncwarp();
            else sinter_await(full, slot, step / STAGES - (M == EARLY_PHASE && step >= STAGES));
            for (int k = 0; k < DEPTH; k += 16)
                sinter_wgmma_bf16<COLUMNS>(&acc[0], sinter_matrix<false, 0>(left, slot * ROWS * DEPTH + k),
                                           sinter_matrix<true, 4096>(right, (slot * DEPTH + k) * 64));
            sinter_commit_products();
            if (M == FREED_EARLY) sinter_arrive(empty, slot);
            sinter_wait_for_products<0>();
            if (M != FREED_EARLY) sinter_arrive(empty, slot);
        }
        for (int i = 0; i < COLUMNS / 2; i++)
            y[(threadIdx.z * 16 + threadIdx.y + i / 2 % 2 * 8) * COLUMNS + i / 4 * 8 + threadIdx.x * 2 + i % 2] = acc[i];
    }
}
#define KERNEL(name, mistake)                                                                                          \
    extern "C" __global__ void name(in<uint16_t> x, out<float> y) { run<mistake>(x, y); }
KERNEL(not_awaited, NOT_AWAITED)
KERNEL(early_phase, EARLY_PHASE)
KERNEL(no_fence, NO_FENCE)
KERNEL(not_freed, NOT_FREED)
KERNEL(freed_early, FREED_EARLY)
KERNEL(no_arrival, NO_ARRIVAL)
KERNEL(few_arrivals, FEW_ARRIVALS)
KERNEL(copy_under_way, COPY_UNDER_WAY)
KERNEL(right_order, NONE)

static __align__(16) uint16_t source[STEPS * ROWS * DEPTH];
static __align__(16) float target[ROWS * COLUMNS];

static int count_wrong(void) {
    int wrong = 0;
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        int sum = 0;
        for (int step = 0; step < STEPS; step++)
            for (int k = 0; k < DEPTH; k++)
                sum += left_value(step, i / COLUMNS, k) * right_value(step, k, i % COLUMNS);
        wrong += target[i] != (float)sum;
    }
    return wrong;
}

static int find(void *user, uint64_t address, uint64_t *out_base, uint64_t *out_bytes) {
    (void)user;
    *out_base = address;
    *out_bytes = address == (uint64_t)(uintptr_t)source ? sizeof source : sizeof target;
    return 1;
}

static void print(void *user, const char *kernel, const char *text) {
    (void)user;
    printf("%s: %s\n", kernel, text);
}

SINTER_EMULATED_MODULE(SINTER_EMULATED_KERNEL(not_awaited) SINTER_EMULATED_KERNEL(early_phase) SINTER_EMULATED_KERNEL(no_fence)
                           SINTER_EMULATED_KERNEL(not_freed) SINTER_EMULATED_KERNEL(freed_early)
                               SINTER_EMULATED_KERNEL(no_arrival) SINTER_EMULATED_KERNEL(few_arrivals)
                                   SINTER_EMULATED_KERNEL(copy_under_way) SINTER_EMULATED_KERNEL(right_order))

int main(void) {
    const uint64_t places[2] = {(uint64_t)(uintptr_t)source, (uint64_t)(uintptr_t)target};
    void *values[] = {(void *)&places[0], (void *)&places[1]};
    const sinter_emulated_host host = {NULL, find, print};
    uint32_t kernels;
    const sinter_emulated_kernel *list = sinter_emulated_kernels(&kernels);
    for (int i = 0; i < STEPS * ROWS * DEPTH; i++)
        source[i] = bf16_of(left_value(i / (ROWS * DEPTH), i / DEPTH % ROWS, i % DEPTH));
    for (uint32_t i = 0; i < kernels; i++) {
        const sinter_emulated_launch launch = {{1, 1, 1}, {4, 8, 8}, 0, 2, values, &host, NULL};
        list[i].launch(&list[i], &launch);
        printf("%s ran\n", list[i].name);
        if (!strcmp(list[i].name, "right_order")) printf("%d wrong sums\n", count_wrong());
    }
    return 0;
}
