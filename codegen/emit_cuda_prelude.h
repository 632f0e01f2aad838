/* What CUDA text begins with. It includes nothing: NVRTC runs where there are no headers. Other compilers are the emulation
 * of the tests, whose own header says all of this in checked forms (tests/cuda_emulation/emulation.h). */
/* Behind the number of a block's threads: how many blocks have to fit beside each other, where that was said (device_images.c). */
#ifndef SINTER_BLOCKS
#define SINTER_BLOCKS
#endif
#ifdef __CUDACC_RTC__
#pragma nv_diag_suppress 177 /* not every kernel uses every function */
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#define INT64_C(value) value##ll
#define UINT64_C(value) value##ull
#define INT32_MAX 0x7fffffff
#define INT32_MIN (-INT32_MAX - 1)
#define INT64_MAX 0x7fffffffffffffffll
#define INT64_MIN (-INT64_MAX - 1)
#define UINT64_MAX 0xffffffffffffffffull
#define NAN __int_as_float(0x7fc00000)
#define INFINITY __int_as_float(0x7f800000)
#define SINTER_INLINE static __device__ __forceinline__

/* Buffers of a kernel that it reads, and that it writes; no two share memory. */
template <class T> using in = const T *__restrict__;
template <class T> using out = T *__restrict__;

/* Memory of a thread. */
template <class T, int N> struct array {
    T data[N];
    __device__ __forceinline__ T &operator[](int64_t i) { return data[i]; }
    __device__ __forceinline__ const T &operator[](int64_t i) const { return data[i]; }
};

/* Memory of a block. */
template <class T, int N> using shared = array<T, N>;
/* The same, of what the launch asks for, from this byte on. */
extern __shared__ __align__(16) unsigned char sinter_block_memory[];
#define SINTER_ASKED_SHARED(T, N, name, first) shared<T, N> &name = *(shared<T, N> *)(sinter_block_memory + first)

/* How many elements a buffer has: for readers, and for the emulation. */
#define SINTER_EXTENT(buffer, count)

/* sinter_abi_device_failure: the first failure of a run is told. */
struct failure_record {
    int32_t code, message;
    int64_t values[6];
};
typedef failure_record *failure_place;
static __device__ __forceinline__ bool sinter_failed(failure_place place) {
    return *(volatile int32_t *)&place->code != 0;
}
template <class... V>
static __device__ void sinter_fail(failure_place place, int32_t code, int32_t message, V... values) {
    if (atomicCAS(&place->code, 0, code) != 0) return;
    const int64_t list[] = {0, (int64_t)values...};
    place->message = message;
    for (int i = 0; i < (int)sizeof...(V); i++) place->values[i] = list[i + 1];
}

/* Copies of 4, 8 or 16 bytes from global to shared memory that are under way until they were committed and waited for; of zeros if there
 * is nothing. */
#if __CUDA_ARCH__ >= 800
template <int N, class T, int M>
static __device__ __forceinline__ void sinter_copy(array<T, M> &to, int64_t at, const T *from, int64_t from_at, bool there = true) {
    const unsigned place = (unsigned)__cvta_generic_to_shared(&to[at]), bytes = there ? sizeof(T) * N : 0;
    const T *source = there ? from + from_at : from;
    if (sizeof(T) * N == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(place), "l"(source), "r"(bytes) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" ::"r"(place), "l"(source), "r"(bytes),
                     "n"(sizeof(T) * N == 4 ? 4 : 8)
                     : "memory");
}
static __device__ __forceinline__ void sinter_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> static __device__ __forceinline__ void sinter_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
#endif

/* codegen/loop_ldmatrix.h: `at` is where a row of 16 bytes begins, of COUNT * 8 that the first lanes of a warp name. */
#if __CUDA_ARCH__ >= 750
template <int COUNT, bool TURNED, class T, int M>
static __device__ __forceinline__ void sinter_load_matrices(T *to, const array<T, M> &from, int64_t at) {
    const unsigned place = (unsigned)__cvta_generic_to_shared(&from[at]);
    unsigned words[4];
#define SINTER_LDMATRIX(form)                                                                                          \
    if (COUNT == 2)                                                                                                    \
        asm volatile("ldmatrix.sync.aligned.m8n8.x2" form ".shared.b16 {%0, %1}, [%2];"                                \
                     : "=r"(words[0]), "=r"(words[1])                                                                  \
                     : "r"(place)                                                                                      \
                     : "memory");                                                                                      \
    else                                                                                                               \
        asm volatile("ldmatrix.sync.aligned.m8n8.x4" form ".shared.b16 {%0, %1, %2, %3}, [%4];"                        \
                     : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])                                  \
                     : "r"(place)                                                                                      \
                     : "memory")
    if (TURNED) {
        SINTER_LDMATRIX(".trans");
    } else {
        SINTER_LDMATRIX("");
    }
#undef SINTER_LDMATRIX
    memcpy(to, words, COUNT * sizeof *words);
}
#endif

/* codegen/mma.def: the matrices of a warp, of which a thread has these registers. */
#if __CUDA_ARCH__ >= 800
template <class T> static __device__ __forceinline__ unsigned sinter_word(const T *elements, int number) {
    unsigned word;
    memcpy(&word, elements + number * (int)(4 / sizeof(T)), sizeof word);
    return word;
}
#define SINTER_MMA(name, shape, types, sum, letter)                                                                    \
    template <class A, class B>                                                                                        \
    static __device__ __forceinline__ void sinter_mma_##name(sum *c, const A *a, const B *b) {                         \
        asm volatile("mma.sync.aligned." shape ".row.col." types " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "     \
                     "{%0, %1, %2, %3};"                                                                               \
                     : "+" letter(c[0]), "+" letter(c[1]), "+" letter(c[2]), "+" letter(c[3])                          \
                     : "r"(sinter_word(a, 0)), "r"(sinter_word(a, 1)), "r"(sinter_word(a, 2)),                         \
                       "r"(sinter_word(a, 3)), "r"(sinter_word(b, 0)), "r"(sinter_word(b, 1)));                        \
    }
SINTER_MMA(bf16, "m16n8k16", "f32.bf16.bf16.f32", float, "f")
SINTER_MMA(f16, "m16n8k16", "f32.f16.f16.f32", float, "f")
SINTER_MMA(i8, "m16n8k32", "s32.s8.s8.s32", int32_t, "r")
SINTER_MMA(u8, "m16n8k32", "s32.u8.u8.s32", int32_t, "r")
SINTER_MMA(u8i8, "m16n8k32", "s32.u8.s8.s32", int32_t, "r")
SINTER_MMA(i8u8, "m16n8k32", "s32.s8.u8.s32", int32_t, "r")
#undef SINTER_MMA
/* round_tf32; NaN stays one. */
static __device__ __forceinline__ unsigned sinter_tf32(float value) {
    unsigned rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(value));
    return rounded;
}
template <class A, class B> static __device__ __forceinline__ void sinter_mma_tf32(float *c, const A *a, const B *b) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(sinter_tf32(a[0])), "r"(sinter_tf32(a[1])), "r"(sinter_tf32(a[2])), "r"(sinter_tf32(a[3])),
                   "r"(sinter_tf32(b[0])), "r"(sinter_tf32(b[1])));
}
#endif

/* Reads, computes, writes what nobody else wrote in between; for elements of 1, 2, 4 and 8 bytes. */
template <class T, class F> static __device__ __forceinline__ void sinter_update(T *place, F after) {
    if (sizeof(T) == 8) {
        unsigned long long *word = (unsigned long long *)place, seen = *word, wanted, next;
        do {
            wanted = seen;
            T element;
            memcpy(&element, &wanted, sizeof element);
            element = after(element);
            memcpy(&next, &element, sizeof element);
            seen = atomicCAS(word, wanted, next);
        } while (seen != wanted);
        return;
    }
    unsigned long long at = (unsigned long long)place;
    const unsigned shift = (unsigned)(at & 3) * 8;
    unsigned *word = (unsigned *)(at & ~3ull), seen = *word, wanted, next;
    const unsigned mask = sizeof(T) == 4 ? ~0u : (1u << sizeof(T) * 8 % 32) - 1u;
    do {
        wanted = seen;
        const unsigned bits = wanted >> shift;
        T element;
        memcpy(&element, &bits, sizeof(T) < 4 ? sizeof(T) : 4);
        element = after(element);
        unsigned result = 0;
        memcpy(&result, &element, sizeof(T) < 4 ? sizeof(T) : 4);
        next = (wanted & ~(mask << shift)) | ((result & mask) << shift);
        seen = atomicCAS(word, wanted, next);
    } while (seen != wanted);
}

/* Elements that follow each other, by accesses of up to 16 bytes, whose places are multiples of their size. */
template <class T, int N> struct alignas(sizeof(T) * N) sinter_piece {
    T data[N];
};
template <class T, int N> static __device__ __forceinline__ void sinter_read(array<T, N> &to, const T *from, int64_t at) {
    constexpr int COUNT = sizeof(T) * N <= 16 ? N : 16 / sizeof(T);
#pragma unroll
    for (int i = 0; i < N; i += COUNT) {
        const sinter_piece<T, COUNT> piece = *(const sinter_piece<T, COUNT> *)(from + at + i);
#pragma unroll
        for (int k = 0; k < COUNT; k++) to.data[i + k] = piece.data[k];
    }
}
template <class T, int N> static __device__ __forceinline__ void sinter_write(T *to, int64_t at, const array<T, N> &from) {
    constexpr int COUNT = sizeof(T) * N <= 16 ? N : 16 / sizeof(T);
#pragma unroll
    for (int i = 0; i < N; i += COUNT) {
        sinter_piece<T, COUNT> piece;
#pragma unroll
        for (int k = 0; k < COUNT; k++) piece.data[k] = from.data[i + k];
        *(sinter_piece<T, COUNT> *)(to + at + i) = piece;
    }
}

/* The same of memory of the block. */
template <class T, int N, int M>
static __device__ __forceinline__ void sinter_read(array<T, N> &to, const array<T, M> &from, int64_t at) {
    sinter_read(to, from.data, at);
}
template <class T, int N, int M>
static __device__ __forceinline__ void sinter_write(array<T, M> &to, int64_t at, const array<T, N> &from) {
    sinter_write(to.data, at, from);
}

/* The value of the lane of this warp whose number differs in these bits; all lanes are there. */
template <class T> static __device__ __forceinline__ T sinter_shuffle_xor(T value, int bits) {
    unsigned words[(sizeof(T) + 3) / 4] = {0};
    memcpy(words, &value, sizeof value);
    for (int i = 0; i < (int)(sizeof words / 4); i++) words[i] = __shfl_xor_sync(~0u, words[i], bits);
    memcpy(&value, words, sizeof value);
    return value;
}
#endif

/* The values of THREADS threads, a power of two and all that the block has, become one: within warps, then the warps' results. */
template <int THREADS, class T, class F> static __device__ __forceinline__ T sinter_reduce(T value, F step) {
    for (int bits = (THREADS < 32 ? THREADS : 32) / 2; bits >= 1; bits /= 2)
        value = step(value, sinter_shuffle_xor(value, bits));
    if (THREADS <= 32) return value;
    __shared__ shared<T, THREADS / 32 + 1> warps;
    __syncthreads(); /* who reads what the one before left */
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
    __syncthreads();
    value = warps[threadIdx.x % (THREADS / 32 + !(THREADS / 32))];
    for (int bits = THREADS / 64; bits >= 1; bits /= 2) value = step(value, sinter_shuffle_xor(value, bits));
    return value;
}
