/* Kernels that do with copies under way what they must not, run by the emulation header; what it finds goes to standard output. */

/* Reads what it copies: before the commit and the wait, after a wait that leaves the group pending, as it should. */
extern "C" __global__ void early(in<float> x, out<float> y) {
    SINTER_EXTENT(x, 32);
    SINTER_EXTENT(y, 32);
    __shared__ shared<float, 32> tile;
    sinter_copy<1>(tile, threadIdx.x, x, threadIdx.x);
    sinter_commit();
    sinter_wait<1>();
    y[threadIdx.x] = tile[threadIdx.x];
}
/* Another thread's copy is there after a barrier alone. */
extern "C" __global__ void apart(in<float> x, out<float> y) {
    SINTER_EXTENT(x, 32);
    SINTER_EXTENT(y, 32);
    __shared__ shared<float, 32> tile;
    sinter_copy<1>(tile, threadIdx.x, x, threadIdx.x);
    sinter_commit();
    sinter_wait<0>();
    y[threadIdx.x] = tile[threadIdx.x ^ 1];
}
/* Copies to where others read since the last barrier. */
extern "C" __global__ void over(in<float> x, out<float> y) {
    SINTER_EXTENT(x, 32);
    SINTER_EXTENT(y, 32);
    __shared__ shared<float, 32> tile;
    tile[threadIdx.x] = 0;
    __syncthreads();
    y[threadIdx.x] = tile[threadIdx.x ^ 1];
    sinter_copy<1>(tile, threadIdx.x, x, threadIdx.x);
    sinter_commit();
    sinter_wait<0>();
}
extern "C" __global__ void misplaced(in<float> x, out<float> y) {
    SINTER_EXTENT(x, 32);
    SINTER_EXTENT(y, 32);
    __shared__ shared<float, 40> tile;
    sinter_copy<4>(tile, threadIdx.x + 2, x, 0);
}
extern "C" __global__ void loads(in<float> x, out<float> y) {
    SINTER_EXTENT(x, 32);
    SINTER_EXTENT(y, 32);
    __shared__ shared<uint16_t, 256> tile;
    array<uint16_t, 4> part;
    sinter_load_matrices<2, false>(&part[0], tile, 8 * threadIdx.x + 4);
}
extern "C" __global__ void right(in<float> x, out<float> y) {
    SINTER_EXTENT(x, 32);
    SINTER_EXTENT(y, 32);
    __shared__ shared<float, 32> tile;
    sinter_copy<1>(tile, threadIdx.x, x, threadIdx.x);
    sinter_commit();
    sinter_wait<0>();
    __syncthreads();
    y[threadIdx.x] = tile[threadIdx.x ^ 1];
}

static float source[32], target[32];

static int find(void *user, uint64_t address, uint64_t *out_base, uint64_t *out_bytes) {
    (void)user;
    const uint64_t places[] = {(uint64_t)(uintptr_t)source, (uint64_t)(uintptr_t)target};
    for (uint64_t place : places)
        if (address == place) {
            *out_base = place;
            *out_bytes = sizeof source;
            return 1;
        }
    return 0;
}

static void print(void *user, const char *kernel, const char *text) {
    (void)user;
    printf("%s: %s\n", kernel, text);
}

SINTER_EMULATED_MODULE(SINTER_EMULATED_KERNEL(early) SINTER_EMULATED_KERNEL(apart) SINTER_EMULATED_KERNEL(over)
                           SINTER_EMULATED_KERNEL(misplaced) SINTER_EMULATED_KERNEL(loads) SINTER_EMULATED_KERNEL(right))

int main(int count, char **arguments) {
    const uint32_t threads = count > 1 ? (uint32_t)atoi(arguments[1]) : 2;
    const uint64_t places[] = {(uint64_t)(uintptr_t)source, (uint64_t)(uintptr_t)target};
    void *values[] = {(void *)&places[0], (void *)&places[1]};
    const sinter_emulated_host host = {NULL, find, print};
    const sinter_emulated_launch launch = {{1, 1, 1}, {threads, 1, 1}, 0, 2, values, &host, NULL};
    uint32_t kernels;
    const sinter_emulated_kernel *list = sinter_emulated_kernels(&kernels);
    for (uint32_t i = 0; i < kernels; i++) {
        list[i].launch(&list[i], &launch);
        printf("%s ran\n", list[i].name);
    }
    return 0;
}
