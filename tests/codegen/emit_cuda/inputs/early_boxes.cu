/* A warp that has boxes copied to a ring and warps that multiply what is in it, ordered by phases: kernels that leave something out, and one that does it
 * right, run by the emulation header; what it finds goes to standard output. */
#include "codegen/emit/cuda_prelude.h"

enum { ROWS = 64, DEPTH = 64, COLUMNS = 32, STAGES = 3, STEPS = 7, LENGTH = STEPS * DEPTH - 24 };
enum mistake { NONE, NOT_AWAITED, FREED_EARLY, FEW_BYTES, NO_MAP, OTHER_RANK, AMID_ROWS, LEFT_BEHIND };

static int left_value(int row, int k) { return (row * 3 + k * 5) % 7 - 3; }
static int right_value(int column, int k) { return (k * 2 + column * 3) % 5 - 2; }
static uint16_t bf16_of(int value) {
    const float wide = (float)value;
    uint32_t bits;
    memcpy(&bits, &wide, sizeof bits);
    return (uint16_t)(bits >> 16);
}

template <mistake M> static void run(out<float> y, const sinter_tensor_map &a, const sinter_tensor_map &b) {
    __shared__ __align__(1024) swizzled<uint16_t, STAGES * ROWS * DEPTH> left;
    __shared__ __align__(1024) swizzled<uint16_t, STAGES * COLUMNS * DEPTH> right;
    __shared__ shared<uint64_t, STAGES> full, empty;
    array<float, COLUMNS / 2> acc;
    SINTER_EXTENT(y, ROWS *COLUMNS);
    sinter_begin_phases(full, 1);
    sinter_begin_phases(empty, 4);
    if (sinter_is_warp(4, 5)) {
        for (int step = 0; step < STEPS; step++) {
            const int slot = step % STAGES;
            sinter_await(empty, slot, step / STAGES - 1);
            if (M == OTHER_RANK)
                sinter_copy_box<4, ROWS * DEPTH * 2>(left, slot * ROWS * DEPTH, a, full, slot, step * DEPTH, 0, 0);
            else
                sinter_copy_box<4, M == FEW_BYTES ? 4096 : ROWS * DEPTH * 2>(left, slot * ROWS * DEPTH + (M == AMID_ROWS && !step) * 64,
                                                                              M == NO_MAP ? b : a, full, slot, step * DEPTH, 0);
            sinter_copy_box<4, COLUMNS * DEPTH * 2>(right, slot * COLUMNS * DEPTH, b, full, slot, step * DEPTH, 0);
            sinter_arrive(full, slot);
        }
        if (M == LEFT_BEHIND) {
            sinter_await(empty, 1, 2 - 1);
            sinter_copy_box<4, COLUMNS * DEPTH * 2>(right, COLUMNS * DEPTH, b, full, 1, 0, 0);
        }
    }
    if (sinter_is_warp(0, 4)) {
        for (int i = 0; i < COLUMNS / 2; i++) acc[i] = 0;
        for (int step = 0; step < STEPS; step++) {
            const int slot = step % STAGES;
            if (M == NOT_AWAITED && step == 1) __syncwarp();
            else sinter_await(full, slot, step / STAGES);
            for (int k = 0; k < DEPTH; k += 16)
                sinter_wgmma_bf16<COLUMNS>(&acc[0], sinter_matrix<false, 0>(left, slot * ROWS * DEPTH + k),
                                           sinter_matrix<false, 0>(right, slot * COLUMNS * DEPTH + k));
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
    extern "C" __global__ void name(out<float> y, const __grid_constant__ sinter_tensor_map a, const __grid_constant__ sinter_tensor_map b) { \
        run<mistake>(y, a, b);                                                                                         \
    }
KERNEL(not_awaited, NOT_AWAITED)
KERNEL(freed_early, FREED_EARLY)
KERNEL(few_bytes, FEW_BYTES)
KERNEL(no_map, NO_MAP)
KERNEL(other_rank, OTHER_RANK)
KERNEL(amid_rows, AMID_ROWS)
KERNEL(left_behind, LEFT_BEHIND)
KERNEL(long_dims, NONE)
KERNEL(right_order, NONE)

static __align__(16) uint16_t left_source[ROWS * LENGTH], right_source[COLUMNS * LENGTH];
static __align__(16) float target[ROWS * COLUMNS];

static int count_wrong(void) {
    int wrong = 0;
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        int sum = 0;
        for (int k = 0; k < LENGTH; k++) sum += left_value(i / COLUMNS, k) * right_value(i % COLUMNS, k);
        wrong += target[i] != (float)sum;
    }
    return wrong;
}

static int find(void *user, uint64_t address, uint64_t *out_base, uint64_t *out_bytes) {
    (void)user;
    *out_base = address;
    *out_bytes = address == (uint64_t)(uintptr_t)left_source    ? sizeof left_source
                 : address == (uint64_t)(uintptr_t)right_source ? sizeof right_source
                                                                : sizeof target;
    return 1;
}

static void print(void *user, const char *kernel, const char *text) {
    (void)user;
    printf("%s: %s\n", kernel, text);
}

SINTER_EMULATED_MODULE(SINTER_EMULATED_KERNEL(not_awaited) SINTER_EMULATED_KERNEL(freed_early) SINTER_EMULATED_KERNEL(few_bytes)
                           SINTER_EMULATED_KERNEL(no_map) SINTER_EMULATED_KERNEL(other_rank) SINTER_EMULATED_KERNEL(amid_rows)
                               SINTER_EMULATED_KERNEL(left_behind) SINTER_EMULATED_KERNEL(long_dims) SINTER_EMULATED_KERNEL(right_order))

static sinter_tensor_map map_of(const uint16_t *source, uint32_t rows, uint64_t length) {
    sinter_tensor_map made = {};
    made.map = {(uint64_t)(uintptr_t)source, {length, rows}, {LENGTH * 2}, {64, rows}, 2, 2, EMULATED_MAP_MAGIC};
    return made;
}

int main(void) {
    const sinter_emulated_host host = {NULL, find, print};
    uint32_t kernels;
    const sinter_emulated_kernel *list = sinter_emulated_kernels(&kernels);
    for (int i = 0; i < ROWS * LENGTH; i++) left_source[i] = bf16_of(left_value(i / LENGTH, i % LENGTH));
    for (int i = 0; i < COLUMNS * LENGTH; i++) right_source[i] = bf16_of(right_value(i / LENGTH, i % LENGTH));
    for (uint32_t i = 0; i < kernels; i++) {
        const uint64_t place = (uint64_t)(uintptr_t)target;
        const bool longer = !strcmp(list[i].name, "long_dims");
        sinter_tensor_map a = map_of(left_source, ROWS, longer ? LENGTH + 8 : LENGTH), b = map_of(right_source, COLUMNS, LENGTH);
        if (!strcmp(list[i].name, "no_map")) b.map.magic = 0;
        void *values[] = {(void *)&place, (void *)&a, (void *)&b};
        const sinter_emulated_launch launch = {{1, 1, 1}, {4, 8, 5}, 0, 3, values, &host, NULL};
        list[i].launch(&list[i], &launch);
        printf("%s ran\n", list[i].name);
        if (!strcmp(list[i].name, "right_order")) printf("%d wrong sums\n", count_wrong());
    }
    return 0;
}
