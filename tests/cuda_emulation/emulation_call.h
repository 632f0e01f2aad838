/* Launches of kernels, as emulation.h has them: arguments as the kernel's parameters, and all blocks one after the other.
 * Part of emulation.h, which includes it. Test: tests/cuda_emulation/ */
#pragma once

namespace emulation {

struct failure_record {
    int32_t code, message;
    int64_t values[6];
};

template <class A> struct from {
    static A make(parameter *p) {
        A value;
        memcpy(&value, &p->bits, sizeof value);
        return value;
    }
    static constexpr bool is_buffer = false;
};
template <class T> struct from<in<T>> {
    static in<T> make(parameter *p) { return {{p}}; }
    static constexpr bool is_buffer = true;
};
template <class T> struct from<out<T>> {
    static out<T> make(parameter *p) { return {{p}}; }
    static constexpr bool is_buffer = true;
};
template <> struct from<tensor_map> {
    static tensor_map make(parameter *p) {
        tensor_map value;
        memcpy(&value, launch->arguments[p - parameters], sizeof value);
        return value;
    }
    static constexpr bool is_buffer = false;
};
template <> struct from<failure_record *> {
    static failure_record *make(parameter *p) { return (failure_record *)(uintptr_t)p->bits; }
    static constexpr bool is_buffer = true;
};

template <class... A> struct call {
    template <class... D> static void go(void (*kernel)(A...), D... done) {
        if constexpr (sizeof...(D) == sizeof...(A))
            kernel(done...);
        else
            next(kernel, (types *)0, done...);
    }
    struct types {};
    template <size_t I, class First, class... Rest> struct nth {
        using type = typename nth<I - 1, Rest...>::type;
    };
    template <class First, class... Rest> struct nth<0, First, Rest...> {
        using type = First;
    };
    template <class... D> static void next(void (*kernel)(A...), types *, D... done) {
        go(kernel, done..., from<typename nth<sizeof...(D), A...>::type>::make(&parameters[sizeof...(D)]));
    }
    static void resolve(void) {
        const bool buffers[] = {from<A>::is_buffer..., false};
        for (uint32_t i = 0; i < sizeof...(A); i++) {
            parameter *p = &parameters[i];
            free(p->writers);
            *p = {0, 0, 0, -1, NULL, NULL};
            memcpy(&p->bits, launch->arguments[i], sizeof p->bits);
            uint64_t bytes = 0;
            if (!buffers[i]) continue;
            if (launch->host->find(launch->host->user, p->bits, &p->base, &bytes))
                p->limit = p->base + bytes;
            else
                p->base = p->limit = p->bits; /* an empty buffer may be anywhere: its first access is found */
        }
    }
};

template <auto kernel> struct entry;
template <class... A, void (*kernel)(A...)> struct entry<kernel> {
    static constexpr uint32_t parameter_count = sizeof...(A);
    static constexpr uint32_t map_count = (0 + ... + (uint32_t)std::is_same<A, tensor_map>::value);
    static void run(const sinter_emulated_kernel *self, const sinter_emulated_launch *wanted) {
        launch = wanted;
        kernel_name = self->name;
        findings = 0;
        blockDim = {wanted->block[0], wanted->block[1], wanted->block[2]};
        gridDim = {wanted->grid[0], wanted->grid[1], wanted->grid[2]};
        thread_count = blockDim.x * blockDim.y * blockDim.z;
        if (wanted->argument_count != sizeof...(A) || sizeof...(A) > MAX_PARAMETERS || thread_count > MAX_THREADS) {
            find("launched with %u arguments of %u, and %u threads", wanted->argument_count, (unsigned)sizeof...(A),
                 thread_count);
            return;
        }
        call<A...>::resolve();
        body = [] { call<A...>::go(kernel); };
        for (uint32_t z = 0; z < gridDim.z; z++)
            for (uint32_t y = 0; y < gridDim.y; y++)
                for (uint32_t x = 0; x < gridDim.x; x++) {
                    blockIdx = {x, y, z};
                    run_block();
                }
    }
};

} // namespace emulation

