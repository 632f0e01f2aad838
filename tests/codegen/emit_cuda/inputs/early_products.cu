/* Kernels that do with products of warpgroups what they must not, and one that does it right, run by the emulation header; what it finds goes to
 * standard output. The first operand lies along the reduction, the second across it. */
#include "codegen/emit/cuda_prelude.h"

enum { ROWS = 64, DEPTH = 64, COLUMNS = 32 };

static int left_value(int row, int k) { return (row * 3 + k * 5) % 7 - 3; }
static int right_value(int k, int column) { return (k * 2 + column * 3) % 5 - 2; }
static uint16_t bf16_of(int value) {
    const float wide = (float)value;
    uint32_t bits;
    memcpy(&bits, &wide, sizeof bits);
    return (uint16_t)(bits >> 16);
}

#define BEGIN                                                                                                          \
    __shared__ __align__(1024) swizzled<uint16_t, ROWS * DEPTH> left;                                                  \
    __shared__ __align__(1024) swizzled<uint16_t, DEPTH * 64> right;                                                   \
    array<float, COLUMNS / 2> acc;                                                                                     \
    SINTER_EXTENT(y, ROWS *COLUMNS);                                                                                   \
    const int lane = threadIdx.x + 4 * threadIdx.y + 32 * threadIdx.z;                                                 \
    for (int i = 0; i < COLUMNS / 2; i++) acc[i] = 0;                                                                  \
    for (int i = lane; i < ROWS * DEPTH; i += 128) {                                                                   \
        left[i] = bf16_of(left_value(i / DEPTH, i % DEPTH));                                                           \
        right[i] = bf16_of(right_value(i / 64, i % 64));                                                               \
    }
#define MULTIPLY                                                                                                       \
    for (int k = 0; k < DEPTH; k += 16)                                                                                \
        sinter_wgmma_bf16<COLUMNS>(&acc[0], sinter_matrix<false, 0>(left, k), sinter_matrix<true, 4096>(right, k * 64));
#define END                                                                                                            \
    for (int i = 0; i < COLUMNS / 2; i++)                                                                              \
        y[(threadIdx.z * 16 + threadIdx.y + i / 2 % 2 * 8) * COLUMNS + i / 4 * 8 + threadIdx.x * 2 + i % 2] = acc[i];

/* Reads sums while the products are under way. */
extern "C" __global__ void early(out<float> y) {
    BEGIN sinter_fence();
    __syncthreads();
    MULTIPLY sinter_commit_products();
    sinter_wait_for_products<1>();
    END sinter_wait_for_products<0>();
}
extern "C" __global__ void unfenced(out<float> y) {
    BEGIN __syncthreads();
    MULTIPLY sinter_commit_products();
    sinter_wait_for_products<0>();
    END
}
/* A fence behind the barrier is no news to others. */
extern "C" __global__ void late_fence(out<float> y) {
    BEGIN __syncthreads();
    sinter_fence();
    MULTIPLY sinter_commit_products();
    sinter_wait_for_products<0>();
    END
}
extern "C" __global__ void no_barrier(out<float> y) {
    BEGIN sinter_fence();
    MULTIPLY sinter_commit_products();
    sinter_wait_for_products<0>();
    END
}
extern "C" __global__ void overwritten(out<float> y) {
    BEGIN sinter_fence();
    __syncthreads();
    MULTIPLY sinter_commit_products();
    __syncthreads();
    left[lane] = 0;
    sinter_wait_for_products<0>();
    END
}
/* Other warps may wait still. */
extern "C" __global__ void alone(out<float> y) {
    BEGIN sinter_fence();
    __syncthreads();
    MULTIPLY sinter_commit_products();
    sinter_wait_for_products<0>();
    right[lane] = 0;
    END
}
extern "C" __global__ void amid(out<float> y) {
    BEGIN sinter_fence();
    __syncthreads();
    sinter_wgmma_bf16<COLUMNS>(&acc[0], sinter_matrix<false, 0>(left, 8), sinter_matrix<true, 4096>(right, 0));
    sinter_commit_products();
    sinter_wait_for_products<0>();
}
/* The last step lies beyond the operand's memory. */
extern "C" __global__ void beyond(out<float> y) {
    BEGIN sinter_fence();
    __syncthreads();
    sinter_wgmma_bf16<COLUMNS>(&acc[0], sinter_matrix<false, 0>(left, 0), sinter_matrix<true, 4096>(right, 56 * 64));
    sinter_commit_products();
    sinter_wait_for_products<0>();
}
extern "C" __global__ void half(out<float> y) {
    BEGIN sinter_fence();
    __syncthreads();
    MULTIPLY
}
extern "C" __global__ void right(out<float> y) {
    BEGIN sinter_fence();
    __syncthreads();
    MULTIPLY sinter_commit_products();
    sinter_wait_for_products<0>();
    __syncthreads();
    left[lane] = 0;
    END
}

/* Bytes, unsigned and signed, with both operands along the reduction; two warpgroups, each with rows of its own. */
extern "C" __global__ void bytes(out<float> y) {
    __shared__ __align__(1024) swizzled<uint8_t, 2 * ROWS * 128> rows;
    __shared__ __align__(1024) swizzled<int8_t, COLUMNS * 128> columns;
    array<int32_t, COLUMNS / 2> acc;
    SINTER_EXTENT(y, 2 * ROWS * COLUMNS);
    const int lane = threadIdx.x + 4 * threadIdx.y + 32 * threadIdx.z, group = threadIdx.z / 4;
    for (int i = 0; i < COLUMNS / 2; i++) acc[i] = i;
    for (int i = lane; i < 2 * ROWS * 128; i += 256) rows[i] = (uint8_t)(left_value(i / 128, i % 128) + 250);
    for (int i = lane; i < COLUMNS * 128; i += 256) columns[i] = (int8_t)right_value(i % 128, i / 128);
    sinter_fence();
    __syncthreads();
    for (int k = 0; k < 128; k += 32)
        sinter_wgmma_u8i8<COLUMNS>(&acc[0], sinter_matrix<false, 0>(rows, group * ROWS * 128 + k),
                                   sinter_matrix<false, 0>(columns, k));
    sinter_commit_products();
    sinter_wait_for_products<0>();
    for (int i = 0; i < COLUMNS / 2; i++)
        y[(threadIdx.z * 16 + threadIdx.y + i / 2 % 2 * 8) * COLUMNS + i / 4 * 8 + threadIdx.x * 2 + i % 2] = (float)(acc[i] - i);
}

static float target[2 * ROWS * COLUMNS];

static int count_wrong(int rows, int depth, int more) {
    int wrong = 0;
    for (int i = 0; i < rows * COLUMNS; i++) {
        int sum = 0;
        for (int k = 0; k < depth; k++) sum += (left_value(i / COLUMNS, k) + more) * right_value(k, i % COLUMNS);
        wrong += target[i] != (float)sum;
    }
    return wrong;
}

static int find(void *user, uint64_t address, uint64_t *out_base, uint64_t *out_bytes) {
    (void)user;
    *out_base = (uint64_t)(uintptr_t)target;
    *out_bytes = sizeof target;
    return address == *out_base;
}

static void print(void *user, const char *kernel, const char *text) {
    (void)user;
    printf("%s: %s\n", kernel, text);
}

SINTER_EMULATED_MODULE(SINTER_EMULATED_KERNEL(early) SINTER_EMULATED_KERNEL(unfenced) SINTER_EMULATED_KERNEL(late_fence)
                           SINTER_EMULATED_KERNEL(no_barrier) SINTER_EMULATED_KERNEL(overwritten)
                               SINTER_EMULATED_KERNEL(alone) SINTER_EMULATED_KERNEL(amid) SINTER_EMULATED_KERNEL(beyond)
                                   SINTER_EMULATED_KERNEL(half) SINTER_EMULATED_KERNEL(right)
                                       SINTER_EMULATED_KERNEL(bytes))

int main(void) {
    const uint64_t place = (uint64_t)(uintptr_t)target;
    void *values[] = {(void *)&place};
    const sinter_emulated_host host = {NULL, find, print};
    uint32_t kernels;
    const sinter_emulated_kernel *list = sinter_emulated_kernels(&kernels);
    for (uint32_t i = 0; i < kernels; i++) {
        const bool half = !strcmp(list[i].name, "half"), right = !strcmp(list[i].name, "right"),
                   bytes = !strcmp(list[i].name, "bytes");
        const sinter_emulated_launch launch = {{1, 1, 1}, {4, 8, half ? 2u : bytes ? 8u : 4u}, 0, 1, values, &host, NULL};
        list[i].launch(&list[i], &launch);
        printf("%s ran\n", list[i].name);
        if (right) printf("%d wrong sums\n", count_wrong(ROWS, DEPTH, 0));
        if (bytes) printf("%d wrong sums\n", count_wrong(2 * ROWS, 128, 250));
    }
    return 0;
}
