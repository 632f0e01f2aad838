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

/* Memory of a block in rows of 128 bytes, from a multiple of 1024 on: piece p of 16 bytes of row r is the (p ^ r % 8)th (PTX ISA, 128B
 * swizzling mode). A piece stays together. */
template <class T, int N> struct swizzled {
    T data[N];
    static __device__ __forceinline__ int64_t place(int64_t i) {
        constexpr int PIECE = 16 / (int)sizeof(T);
        return i ^ (i / (8 * PIECE) & 7) * PIECE;
    }
    __device__ __forceinline__ T &operator[](int64_t i) { return data[place(i)]; }
    __device__ __forceinline__ const T &operator[](int64_t i) const { return data[place(i)]; }
};
/* What a launch gives in a kernel with such memory, which begins at a multiple of 1024: that, and what is beside it. */
extern __shared__ __align__(1024) unsigned char sinter_swizzled_memory[];
#define SINTER_ASKED_SWIZZLED(T, N, name, first) swizzled<T, N> &name = *(swizzled<T, N> *)(sinter_swizzled_memory + first)
#define SINTER_ASKED_BESIDE(T, N, name, first) shared<T, N> &name = *(shared<T, N> *)(sinter_swizzled_memory + first)

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
template <int N, class T, class B>
static __device__ __forceinline__ void sinter_copy(B &to, int64_t at, const T *from, int64_t from_at, bool there = true) {
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

/* Phases of so many warps' arrivals (PTX ISA, mbarrier), and pieces of a block's warps, which nothing else orders. Lanes are x and y. */
#if __CUDA_ARCH__ >= 900
/* The thread's warp is one of [first, end): the compiler is told that its lanes have that alike. */
static __device__ __forceinline__ bool sinter_is_warp(unsigned first, unsigned end) {
    const unsigned warp = __shfl_sync(~0u, threadIdx.z, 0);
    return warp >= first && warp < end;
}
template <int N> static __device__ __forceinline__ void sinter_begin_phases(shared<uint64_t, N> &phases, int arrivals) {
    if (threadIdx.x + threadIdx.y + threadIdx.z == 0) {
        for (int i = 0; i < N; i++)
            asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"((unsigned)__cvta_generic_to_shared(&phases.data[i])),
                         "r"(arrivals)
                         : "memory");
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); /* copies of boxes will count here */
    }
    __syncthreads();
}
/* What all lanes of the warp did before is seen by who awaits it. */
template <int N> static __device__ __forceinline__ void sinter_arrive(shared<uint64_t, N> &phases, int64_t i) {
    __syncwarp();
    if (threadIdx.x + threadIdx.y == 0)
        asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.shared::cta.b64 state, [%0];\n}" ::"r"(
                         (unsigned)__cvta_generic_to_shared(&phases.data[i]))
                     : "memory");
}
template <int N> static __device__ __forceinline__ void sinter_await(shared<uint64_t, N> &phases, int64_t i, int64_t phase) {
    const unsigned place = (unsigned)__cvta_generic_to_shared(&phases.data[i]);
    unsigned over;
    do
        asm volatile("{\n.reg .pred over;\nmbarrier.try_wait.parity.shared::cta.b64 over, [%1], %2;\nselp.u32 %0, 1, 0, over;\n}"
                     : "=r"(over)
                     : "r"(place), "r"((unsigned)phase & 1)
                     : "memory");
    while (!over);
}

/* codegen/loops/box.h: what the driver made for a launch, of whose tensor a box goes to memory of the block, from element `at` on, by the first
 * thread of a warp. The phase that comes next is not over before its bytes are there. Places are those of the innermost dim first. */
struct alignas(64) sinter_tensor_map {
    uint64_t words[16];
};
template <unsigned WARP, unsigned BYTES, class B, int N, class... P>
static __device__ __forceinline__ void sinter_copy_box(B &to, int64_t at, const sinter_tensor_map &map, shared<uint64_t, N> &phases,
                                                       int64_t i, P... places) {
    if (threadIdx.x + threadIdx.y != 0 || threadIdx.z != WARP) return;
    constexpr int RANK = sizeof...(P);
    const int p[] = {(int)places..., 0, 0, 0};
    const unsigned place = (unsigned)__cvta_generic_to_shared(&to.data[at]),
                   phase = (unsigned)__cvta_generic_to_shared(&phases.data[i]);
    asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(phase), "r"(BYTES) : "memory");
#define SINTER_COPY_BOX(rank, list, ...)                                                                               \
    if (RANK == rank)                                                                                                  \
    asm volatile("cp.async.bulk.tensor." #rank "d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {" list "}], [%2];" \
                 ::"r"(place), "l"(&map), "r"(phase), __VA_ARGS__                                                      \
                 : "memory")
    SINTER_COPY_BOX(2, "%3, %4", "r"(p[0]), "r"(p[1]));
    SINTER_COPY_BOX(3, "%3, %4, %5", "r"(p[0]), "r"(p[1]), "r"(p[2]));
    SINTER_COPY_BOX(4, "%3, %4, %5, %6", "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3]));
    SINTER_COPY_BOX(5, "%3, %4, %5, %6, %7", "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3]), "r"(p[4]));
#undef SINTER_COPY_BOX
}
#endif

/* codegen/loops/ldmatrix.h: `at` is where a row of 16 bytes begins, of COUNT * 8 that the first lanes of a warp name. */
#if __CUDA_ARCH__ >= 750
template <int COUNT, bool TURNED, class T, class B>
static __device__ __forceinline__ void sinter_load_matrices(T *to, const B &from, int64_t at) {
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

/* codegen/loops/mma.def: the matrices of a warp, of which a thread has these registers. */
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

/* codegen/loops/wgmma.h: products of a warpgroup, which are under way until they were committed and waited for. */
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
/* What the thread wrote to shared memory is there for products behind a barrier. */
static __device__ __forceinline__ void sinter_fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
/* What it wrote to its sums is there for products. */
static __device__ __forceinline__ void sinter_begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
static __device__ __forceinline__ void sinter_commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> static __device__ __forceinline__ void sinter_wait_for_products() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}
/* The compiler moves nothing that touches these registers across it. */
template <int N> static __device__ __forceinline__ void sinter_hold(array<float, N> &sums) {
#pragma unroll
    for (int i = 0; i < N; i++) asm volatile("" : "+f"(sums.data[i])::"memory");
}
template <int N> static __device__ __forceinline__ void sinter_hold(array<int32_t, N> &sums) {
#pragma unroll
    for (int i = 0; i < N; i++) asm volatile("" : "+r"(sums.data[i])::"memory");
}
template <class B> static __device__ __forceinline__ uint32_t sinter_shared_place(const B &buffer, int64_t at) {
    return (uint32_t)__cvta_generic_to_shared(&buffer.data[at]);
}
/* 16 registers each. */
#define SINTER_R0 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define SINTER_R1 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define SINTER_R2 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define SINTER_R3 ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define SINTER_R4 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"
#define SINTER_R5 ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define SINTER_R6 ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111"
#define SINTER_R7 ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define SINTER_HELD4(letter, n) "+" letter(c[n]), "+" letter(c[n + 1]), "+" letter(c[n + 2]), "+" letter(c[n + 3])
#define SINTER_HELD(letter, n)                                                                                         \
    SINTER_HELD4(letter, n), SINTER_HELD4(letter, n + 4), SINTER_HELD4(letter, n + 8), SINTER_HELD4(letter, n + 12)
#define SINTER_HELD32(letter) SINTER_HELD(letter, 0)
#define SINTER_HELD64(letter) SINTER_HELD32(letter), SINTER_HELD(letter, 16)
#define SINTER_HELD96(letter) SINTER_HELD64(letter), SINTER_HELD(letter, 32)
#define SINTER_HELD128(letter) SINTER_HELD96(letter), SINTER_HELD(letter, 48)
#define SINTER_HELD160(letter) SINTER_HELD128(letter), SINTER_HELD(letter, 64)
#define SINTER_HELD192(letter) SINTER_HELD160(letter), SINTER_HELD(letter, 80)
#define SINTER_HELD224(letter) SINTER_HELD192(letter), SINTER_HELD(letter, 96)
#define SINTER_HELD256(letter) SINTER_HELD224(letter), SINTER_HELD(letter, 112)
/* tail: behind the operands; of floats, whether these lie across the reduction. */
#define SINTER_WGMMA_OF(columns, form, types, letter, registers, operands, tail)                                       \
    if (N == columns)                                                                                                  \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" #columns form types " {" registers "}, " operands tail ";"        \
                 : SINTER_HELD##columns(letter)                                                                        \
                 : "l"(a.descriptor), "l"(b.descriptor), "n"((int)A::across), "n"((int)B::across)                      \
                 : "memory")
#define SINTER_WGMMA(name, form, types, sum, letter, TAIL)                                                             \
    template <int N, class A, class B> static __device__ __forceinline__ void sinter_wgmma_##name(sum *c, A a, B b) {  \
        static_assert(N % 32 == 0 && N <= 256, "columns are in whole warps");                                          \
        SINTER_WGMMA_OF(32, form, types, letter, SINTER_R0, "%16, %17", TAIL("%18", "%19"));                           \
        SINTER_WGMMA_OF(64, form, types, letter, SINTER_R0 SINTER_R1, "%32, %33", TAIL("%34", "%35"));                 \
        SINTER_WGMMA_OF(96, form, types, letter, SINTER_R0 SINTER_R1 SINTER_R2, "%48, %49", TAIL("%50", "%51"));       \
        SINTER_WGMMA_OF(128, form, types, letter, SINTER_R0 SINTER_R1 SINTER_R2 SINTER_R3, "%64, %65", TAIL("%66", "%67"));\
        SINTER_WGMMA_OF(160, form, types, letter, SINTER_R0 SINTER_R1 SINTER_R2 SINTER_R3 SINTER_R4, "%80, %81", TAIL("%82", "%83"));\
        SINTER_WGMMA_OF(192, form, types, letter, SINTER_R0 SINTER_R1 SINTER_R2 SINTER_R3 SINTER_R4 SINTER_R5, "%96, %97", TAIL("%98", "%99"));\
        SINTER_WGMMA_OF(224, form, types, letter, SINTER_R0 SINTER_R1 SINTER_R2 SINTER_R3 SINTER_R4 SINTER_R5 SINTER_R6, "%112, %113", TAIL("%114", "%115"));\
        SINTER_WGMMA_OF(256, form, types, letter, SINTER_R0 SINTER_R1 SINTER_R2 SINTER_R3 SINTER_R4 SINTER_R5 SINTER_R6 SINTER_R7, "%128, %129", TAIL("%130", "%131"));\
    }
#define SINTER_TURNS(left, right) ", 1, 1, 1, " left ", " right
#define SINTER_STRAIGHT(left, right) ", 1"
SINTER_WGMMA(bf16, "k16", ".f32.bf16.bf16", float, "f", SINTER_TURNS)
SINTER_WGMMA(f16, "k16", ".f32.f16.f16", float, "f", SINTER_TURNS)
SINTER_WGMMA(i8, "k32", ".s32.s8.s8", int32_t, "r", SINTER_STRAIGHT)
SINTER_WGMMA(u8, "k32", ".s32.u8.u8", int32_t, "r", SINTER_STRAIGHT)
SINTER_WGMMA(u8i8, "k32", ".s32.u8.s8", int32_t, "r", SINTER_STRAIGHT)
SINTER_WGMMA(i8u8, "k32", ".s32.s8.u8", int32_t, "r", SINTER_STRAIGHT)
#elif __CUDA_ARCH__ >= 800
/* Elsewhere, as in PTX for later GPUs, warps do it by themselves, at once. */
static __device__ __forceinline__ void sinter_fence() {}
static __device__ __forceinline__ void sinter_begin_products() {}
static __device__ __forceinline__ void sinter_commit_products() {}
template <int N> static __device__ __forceinline__ void sinter_wait_for_products() {}
template <class S> static __device__ __forceinline__ void sinter_hold(S &) {}
template <class B> static __device__ __forceinline__ uint32_t sinter_shared_place(const B &, int64_t) { return 0; }
#define SINTER_BY_WARPS
template <class S> static __device__ __forceinline__ S *sinter_next(S *sums, int count) { return sums + count; }
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
template <class T, int N, class Memory>
static __device__ __forceinline__ void sinter_read(array<T, N> &to, const Memory &from, int64_t at) {
    constexpr int COUNT = sizeof(T) * N <= 16 ? N : 16 / sizeof(T);
#pragma unroll
    for (int i = 0; i < N; i += COUNT) {
        const sinter_piece<T, COUNT> piece = *(const sinter_piece<T, COUNT> *)&from[at + i];
#pragma unroll
        for (int k = 0; k < COUNT; k++) to.data[i + k] = piece.data[k];
    }
}
template <class T, int N, class Memory>
static __device__ __forceinline__ void sinter_write(Memory &&to, int64_t at, const array<T, N> &from) {
    constexpr int COUNT = sizeof(T) * N <= 16 ? N : 16 / sizeof(T);
#pragma unroll
    for (int i = 0; i < N; i += COUNT) {
        sinter_piece<T, COUNT> piece;
#pragma unroll
        for (int k = 0; k < COUNT; k++) piece.data[k] = from.data[i + k];
        *(sinter_piece<T, COUNT> *)&to[at + i] = piece;
    }
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

/* An operand of a warpgroup's product, from element `at` of swizzled memory on. It lies along the reduction, in rows of 128 bytes; across: in
 * chunks of 128 bytes, CHUNK elements apart. What the instruction is told of it is PTX ISA's matrix descriptor. */
template <class B, bool ACROSS, int64_t CHUNK> struct sinter_operand {
    static constexpr bool across = ACROSS;
    static constexpr int64_t chunk = CHUNK, row = 128 / sizeof(B::data[0]);
    B *buffer;
    int64_t at;
    uint64_t descriptor;
};
template <bool ACROSS, int64_t CHUNK, class B> SINTER_INLINE sinter_operand<B, ACROSS, CHUNK> sinter_matrix(B &buffer, int64_t at) {
    constexpr uint64_t leading = ACROSS ? CHUNK * sizeof(B::data[0]) : 16, stride = 8 * 128, swizzle_of_128 = 1;
    const uint64_t place = sinter_shared_place(buffer, at);
    return {&buffer, at,
            (place & 0x3ffff) >> 4 | (leading & 0x3ffff) >> 4 << 16 | (stride & 0x3ffff) >> 4 << 32 | swizzle_of_128 << 62};
}
#ifdef SINTER_BY_WARPS
/* Row or column i of an operand, step k. */
template <class O> SINTER_INLINE auto sinter_element_of(O o, int64_t i, int64_t k) {
    return (*o.buffer)[o.at + (O::across ? i / O::row * O::chunk + k * O::row + i % O::row : i * O::row + k)];
}
/* The instruction of codegen/loops/mma.def, as often as a warp's part of the product has it: sums are where that has them. */
#define SINTER_WGMMA_BY_WARPS(name, T, U, PACKED)                                                                      \
    template <int N, class C, class A, class B> SINTER_INLINE void sinter_wgmma_##name(C c, A a, B b) {                \
        const int64_t t = threadIdx.x, g = threadIdx.y, w = threadIdx.z % 4;                                           \
        array<T, 4 * PACKED> left;                                                                                     \
        _Pragma("unroll") for (int q = 0; q < 4 * PACKED; q++) left[q] =                                               \
            sinter_element_of(a, w * 16 + g + q / PACKED % 2 * 8, t * PACKED + q % PACKED + q / PACKED / 2 * 4 * PACKED); \
        _Pragma("unroll") for (int j = 0; j < N / 8; j++) {                                                            \
            array<U, 2 * PACKED> right;                                                                                \
            _Pragma("unroll") for (int q = 0; q < 2 * PACKED; q++) right[q] =                                          \
                sinter_element_of(b, j * 8 + g, t * PACKED + q % PACKED + q / PACKED * 4 * PACKED);                    \
            sinter_mma_##name(sinter_next(c, 4 * j), &left[0], &right[0]);                                             \
        }                                                                                                              \
    }
SINTER_WGMMA_BY_WARPS(bf16, uint16_t, uint16_t, 2)
SINTER_WGMMA_BY_WARPS(f16, uint16_t, uint16_t, 2)
SINTER_WGMMA_BY_WARPS(i8, int8_t, int8_t, 4)
SINTER_WGMMA_BY_WARPS(u8, uint8_t, uint8_t, 4)
SINTER_WGMMA_BY_WARPS(u8i8, uint8_t, int8_t, 4)
SINTER_WGMMA_BY_WARPS(i8u8, int8_t, uint8_t, 4)
#endif
