/* What emitted C is written with. */
/* Sizes computed from dims: an overflow is noted and reported later. */
static inline int64_t sinter_checked_add(int64_t a, int64_t b, bool *overflow) {
    *overflow |= b > 0 ? a > INT64_MAX - b : a < INT64_MIN - b;
    return (int64_t)((uint64_t)a + (uint64_t)b);
}
static inline int64_t sinter_checked_sub(int64_t a, int64_t b, bool *overflow) {
    *overflow |= b < 0 ? a > INT64_MAX + b : a < INT64_MIN + b;
    return (int64_t)((uint64_t)a - (uint64_t)b);
}
static inline int64_t sinter_checked_mul(int64_t a, int64_t b, bool *overflow) {
    int64_t product = (int64_t)((uint64_t)a * (uint64_t)b);
    *overflow |= a != 0 && (product / a != b || (a == -1 && b == INT64_MIN));
    return product;
}

/* Without these builtins all runs on one thread. */
#ifdef __GNUC__
#define SINTER_LOAD(place, out) __atomic_load(place, out, __ATOMIC_RELAXED)
#define SINTER_EXCHANGE(place, expected, desired)                                                  \
    __atomic_compare_exchange(place, expected, desired, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)
#else
#define SINTER_LOAD(place, out) (*(out) = *(place))
#define SINTER_EXCHANGE(place, expected, desired) (*(place) = *(desired), true)
#endif

/* Is this the first failure of the call, the one that is told? */
static inline bool sinter_is_first(sinter_abi_call *call, int32_t code) {
    int32_t none = 0;
    SINTER_LOAD(&call->code, &none);
    return none == 0 && SINTER_EXCHANGE(&call->code, &none, &code);
}

static inline int32_t sinter_fail(sinter_abi_call *call, int32_t code, const char *format, ...) {
    if (!sinter_is_first(call, code)) return code;
#ifdef SINTER_BOARD
    size_t size = strlen(format);
    if (size >= sizeof call->message) size = sizeof call->message - 1;
    memcpy(call->message, format, size);
    call->message[size] = 0;
#else
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(call->message, sizeof call->message, format, arguments);
    va_end(arguments);
#endif
    return code;
}

typedef struct {
    void *data;
    int64_t bytes;
} sinter_block;

static inline void *sinter_allocate(sinter_abi_call *call, int64_t bytes) {
    size_t size = bytes > 0 ? ((size_t)bytes + 63) / 64 * 64 : 64;
    if (call->services && call->services->allocate)
        return call->services->allocate(call->services->user, size, 64);
#ifdef SINTER_BOARD
    return NULL;
#else
    return aligned_alloc(64, size);
#endif
}

static inline void sinter_release(sinter_abi_call *call, sinter_block *block) {
    if (!block->data) return;
    size_t size = block->bytes > 0 ? ((size_t)block->bytes + 63) / 64 * 64 : 64;
    if (call->services && call->services->deallocate)
        call->services->deallocate(call->services->user, block->data, size, 64);
#ifndef SINTER_BOARD
    else
        free(block->data);
#endif
    block->data = NULL;
}

static inline void sinter_trace(sinter_abi_call *call, uint32_t kernel, int32_t begin) {
    if (call->services && call->services->trace)
        call->services->trace(call->services->user, kernel, begin);
}

static inline int32_t sinter_exchange(sinter_abi_call *call, int32_t kind, int32_t reduction, int32_t dtype, uint32_t index,
                                      uint64_t over, int64_t count, const void *source, void *target, int32_t from,
                                      int32_t to) {
    const sinter_abi_exchange words = {kind, reduction, dtype, index, over, (uint64_t)count, source, target, from, to};
    const sinter_abi_services *services = call->services;
    if (services && services->size > offsetof(sinter_abi_services, exchange) && services->exchange)
        return services->exchange(call, &words);
    return sinter_fail(call, SINTER_ABI_FAILED, "a program of several ranks needs the others to run");
}

/* Where the failure was, at the end of its message. True. */
static inline bool sinter_place(sinter_abi_call *call, const char *text) {
    size_t used = strlen(call->message), size = strlen(text), room = sizeof call->message - 1 - used;
    if (size > room) size = room;
    memcpy(call->message + used, text, size);
    call->message[used + size] = 0;
    return true;
}

static inline void sinter_parallel_for(sinter_abi_call *call, int64_t count, int64_t grain,
                                       void (*body)(void *, int64_t, int64_t), void *environment) {
#ifdef __GNUC__
    if (count > (grain + SINTER_ABI_GRAIN_PARTS - 1) / SINTER_ABI_GRAIN_PARTS && call->services && call->services->parallel_for) {
        call->services->parallel_for(call->services->user, count, grain, body, environment);
        return;
    }
#endif
    (void)call;
    body(environment, 0, count);
}

/* Element types, ranks and the dims that are numbers. */
static inline int32_t sinter_check_inputs(sinter_abi_call *call, const sinter_abi_io *inputs, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const sinter_abi_tensor *got = &call->inputs[i];
        const char *name = inputs[i].name;
        if (got->dtype != inputs[i].dtype)
            return sinter_fail(call, SINTER_ABI_BAD_INPUT,
                               "input '%s': expected element type of ONNX code %d, found code %d", name,
                               inputs[i].dtype, got->dtype);
        if (got->rank != inputs[i].rank)
            return sinter_fail(call, SINTER_ABI_BAD_INPUT, "input '%s': expected rank %d, found rank %d", name,
                               inputs[i].rank, got->rank);
        for (int32_t axis = 0; axis < got->rank; axis++) {
            if (got->dims[axis] < 0)
                return sinter_fail(call, SINTER_ABI_BAD_INPUT, "input '%s': dim %d is negative", name, axis);
            if (inputs[i].dims[axis] >= 0 && inputs[i].dims[axis] != got->dims[axis])
                return sinter_fail(call, SINTER_ABI_BAD_INPUT, "input '%s': expected dim %d of %lld, found %lld",
                                   name, axis, (long long)inputs[i].dims[axis], (long long)got->dims[axis]);
        }
    }
    return 0;
}

/* The data of an input; NULL after a failure, and where it is empty and not there. */
static inline void *sinter_input(sinter_abi_call *call, uint32_t index, int64_t bytes, size_t alignment,
                                 const char *name) {
    const sinter_abi_tensor *tensor = &call->inputs[index];
    if ((uint64_t)bytes > tensor->bytes)
        sinter_fail(call, SINTER_ABI_BAD_INPUT, "input '%s' needs %lld bytes and has %lld", name, (long long)bytes,
                    (long long)tensor->bytes);
    else if (bytes && !tensor->data)
        sinter_fail(call, SINTER_ABI_BAD_INPUT, "input '%s' has no data", name);
    else if ((uintptr_t)tensor->data % alignment)
        sinter_fail(call, SINTER_ABI_BAD_INPUT, "input '%s' is not aligned to its elements", name);
    return tensor->data;
}

/* Memory of an output: the caller's, or fresh memory for the caller. NULL after a failure. */
static inline void *sinter_output(sinter_abi_call *call, uint32_t index, int64_t bytes, size_t alignment,
                                  const char *name) {
    sinter_abi_tensor *tensor = &call->outputs[index];
    if (!tensor->data) {
        tensor->data = sinter_allocate(call, bytes);
        if (!tensor->data) {
            sinter_fail(call, SINTER_ABI_OUT_OF_MEMORY, "no memory for the %lld bytes of %s", (long long)bytes, name);
            return NULL;
        }
    } else if ((uint64_t)bytes > tensor->bytes) {
        sinter_fail(call, SINTER_ABI_BAD_INPUT, "output '%s' needs %lld bytes and has %lld", name, (long long)bytes,
                    (long long)tensor->bytes);
        return NULL;
    } else if ((uintptr_t)tensor->data % alignment) {
        sinter_fail(call, SINTER_ABI_BAD_INPUT, "output '%s' is not aligned to its elements", name);
        return NULL;
    }
    tensor->bytes = (uint64_t)bytes;
    return tensor->data;
}

