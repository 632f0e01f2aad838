/* Concrete tensors: creation with every size checked, sharing, element access. Elements are read and
 * written through double or int64 by the class of the dtype; sub-byte ones are packed low bits first.
 * Test: tests/unit/tensor_test.c */
#include "ir/tensor.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void append_type(sinter_text *text, sinter_dtype dtype, uint32_t rank, const int64_t *dims) {
    sinter_text_format(text, "%s[", sinter_dtype_infos[dtype].name);
    for (uint32_t i = 0; i < rank; i++)
        sinter_text_format(text, "%s%lld", i ? "," : "", (long long)dims[i]);
    sinter_text_append_string(text, "]");
}

static bool size_error(sinter_diag *diag, sinter_dtype dtype, uint32_t rank, const int64_t *dims,
                       const char *problem) {
    sinter_text type = {0};
    append_type(&type, dtype, rank, dims);
    sinter_error(diag, "", "tensor %s: %s", type.data, problem);
    sinter_text_deinit(&type);
    return false;
}

/* A zero anywhere makes the tensor empty, however large the other dims are. */
static bool count_elements(uint32_t rank, const int64_t *dims, uint64_t *out_count) {
    uint64_t count = 1;
    bool overflow = false, zero = false;
    for (uint32_t i = 0; i < rank; i++) {
        zero |= dims[i] == 0;
        if (dims[i]) overflow |= __builtin_mul_overflow(count, (uint64_t)dims[i], &count);
    }
    *out_count = zero ? 0 : count;
    return zero || (!overflow && count <= INT64_MAX);
}

/* What the machine has in all: a tensor beyond that is a mistake, or an attack. */
static uint64_t physical_memory(void) {
    long pages = sysconf(_SC_PHYS_PAGES), page_size = sysconf(_SC_PAGESIZE);
    return pages > 0 && page_size > 0 ? (uint64_t)pages * (uint64_t)page_size : UINT64_MAX;
}

static void release_strings(void *user, void *data, size_t size) {
    (void)user;
    sinter_string *strings = data;
    for (size_t i = 0; i < size / sizeof *strings; i++) sinter_heap_free((void *)strings[i].data);
    sinter_heap_free(strings);
}

static sinter_storage *create_storage(sinter_dtype dtype, size_t size) {
    if (dtype != SINTER_DTYPE_string) return sinter_storage_create(size);
    return sinter_storage_wrap(sinter_heap_alloc(size), size, release_strings, NULL);
}

bool sinter_tensor_create(sinter_tensor *out_tensor, sinter_dtype dtype, uint32_t rank,
                          const int64_t *dims, sinter_diag *diag) {
    int64_t own_dims[SINTER_MAX_RANK]; /* dims may be those of *out_tensor */
    for (uint32_t i = 0; i < rank && i < SINTER_MAX_RANK; i++) own_dims[i] = dims[i];
    dims = own_dims;
    *out_tensor = (sinter_tensor){0};
    if (dtype == SINTER_DTYPE_NONE || (unsigned)dtype >= SINTER_DTYPE_COUNT)
        return sinter_error(diag, "", "a tensor needs an element type");
    if (rank > SINTER_MAX_RANK)
        return sinter_error(diag, "", "a tensor of rank %u: at most %d dims are supported", rank,
                            SINTER_MAX_RANK);
    for (uint32_t i = 0; i < rank; i++)
        if (dims[i] < 0) return size_error(diag, dtype, rank, dims, "a dim is negative");
    uint64_t count, bytes;
    if (!count_elements(rank, dims, &count) || !sinter_dtype_bytes(dtype, count, &bytes) ||
        bytes > SIZE_MAX)
        return size_error(diag, dtype, rank, dims, "its size overflows 64 bits");
    sinter_storage *storage =
        bytes <= physical_memory() ? create_storage(dtype, (size_t)bytes) : NULL;
    if (!storage) {
        char problem[64];
        snprintf(problem, sizeof problem, "%llu bytes are more than can be had",
                 (unsigned long long)bytes);
        return size_error(diag, dtype, rank, dims, problem);
    }
    out_tensor->kind = SINTER_TYPE_TENSOR;
    out_tensor->dtype = dtype;
    out_tensor->rank = rank;
    if (rank) memcpy(out_tensor->dims, dims, rank * sizeof *dims);
    out_tensor->storage = storage;
    out_tensor->data = sinter_storage_data(storage);
    return true;
}

void sinter_tensor_copy(sinter_tensor *out_tensor, const sinter_tensor *source) {
    sinter_tensor copy = *source;
    sinter_storage_retain(copy.storage);
    if (source->item_count) {
        copy.items = sinter_heap_alloc(source->item_count * sizeof *copy.items);
        for (size_t i = 0; i < source->item_count; i++)
            sinter_tensor_copy(&copy.items[i], &source->items[i]);
    } else {
        copy.items = NULL;
    }
    *out_tensor = copy;
}

void sinter_tensor_deinit(sinter_tensor *tensor) {
    sinter_storage_release_reference(tensor->storage);
    sinter_tensors_destroy(tensor->items, tensor->item_count);
    *tensor = (sinter_tensor){0};
}

void sinter_tensors_deinit(sinter_tensor *tensors, size_t count) {
    for (size_t i = 0; i < count; i++) sinter_tensor_deinit(&tensors[i]);
}

void sinter_tensors_destroy(sinter_tensor *tensors, size_t count) {
    sinter_tensors_deinit(tensors, count);
    sinter_heap_free(tensors);
}

int64_t sinter_tensor_count(const sinter_tensor *tensor) {
    int64_t count = 1;
    for (uint32_t i = 0; i < tensor->rank; i++) {
        if (tensor->dims[i] == 0) return 0;
        bool overflow = __builtin_mul_overflow(count, tensor->dims[i], &count);
        if (overflow) count = 0; /* only where a later dim is 0: creation checks */
    }
    return count;
}

size_t sinter_tensor_bytes(const sinter_tensor *tensor) {
    uint64_t bytes = 0;
    bool fits = sinter_dtype_bytes(tensor->dtype, (uint64_t)sinter_tensor_count(tensor), &bytes);
    assert(fits);
    return fits ? (size_t)bytes : 0;
}

void *sinter_tensor_mutable(sinter_tensor *tensor) {
    return (void *)tensor->data;
}

/* ---- elements ---- */

/* The bits of one element, at most 64 of them. */
static uint64_t load_bits(const sinter_tensor *tensor, int64_t index) {
    const uint8_t *data = tensor->data;
    uint32_t bits = sinter_dtype_infos[tensor->dtype].bits;
    switch (bits) {
    case 8:
        return data[index];
    case 16: {
        uint16_t value;
        memcpy(&value, data + index * 2, sizeof value);
        return value;
    }
    case 32: {
        uint32_t value;
        memcpy(&value, data + index * 4, sizeof value);
        return value;
    }
    case 64: {
        uint64_t value;
        memcpy(&value, data + index * 8, sizeof value);
        return value;
    }
    default: {
        assert(bits == 2 || bits == 4);
        int64_t per_byte = 8 / bits;
        return data[index / per_byte] >> (index % per_byte * bits) & ((1u << bits) - 1);
    }
    }
}

static void store_bits(sinter_tensor *tensor, int64_t index, uint64_t value) {
    uint8_t *data = sinter_tensor_mutable(tensor);
    uint32_t bits = sinter_dtype_infos[tensor->dtype].bits;
    if (bits >= 8) {
        assert(bits <= 64);
        memcpy(data + index * (bits / 8), &value, bits / 8); /* little-endian, as the header says */
        return;
    }
    int64_t per_byte = 8 / bits;
    uint32_t shift = (uint32_t)(index % per_byte) * bits, mask = ((1u << bits) - 1) << shift;
    uint8_t *byte = &data[index / per_byte];
    *byte = (uint8_t)((*byte & ~mask) | ((uint32_t)value << shift & mask));
}

double sinter_tensor_get_double(const sinter_tensor *tensor, int64_t index) {
    switch (sinter_dtype_infos[tensor->dtype].class) {
    case SINTER_CLASS_FLOAT:
        return sinter_float_decode(tensor->dtype, load_bits(tensor, index));
    case SINTER_CLASS_COMPLEX: { /* the real part */
        sinter_tensor parts = {.data = tensor->data, .dtype = SINTER_DTYPE_f32};
        if (tensor->dtype == SINTER_DTYPE_c128) parts.dtype = SINTER_DTYPE_f64;
        return sinter_tensor_get_double(&parts, index * 2);
    }
    case SINTER_CLASS_UINT:
        return (double)load_bits(tensor, index);
    default:
        return (double)sinter_tensor_get_int(tensor, index);
    }
}

int64_t sinter_tensor_get_int(const sinter_tensor *tensor, int64_t index) {
    switch (sinter_dtype_infos[tensor->dtype].class) {
    case SINTER_CLASS_INT:
    case SINTER_CLASS_UINT:
    case SINTER_CLASS_BOOL:
        return sinter_integer_wrap(tensor->dtype, (int64_t)load_bits(tensor, index));
    default:
        return sinter_integer_from_double(SINTER_DTYPE_i64,
                                          sinter_tensor_get_double(tensor, index));
    }
}

void sinter_tensor_set_double(sinter_tensor *tensor, int64_t index, double value) {
    if (sinter_dtype_is_float(tensor->dtype))
        store_bits(tensor, index, sinter_float_encode(tensor->dtype, value, true));
    else
        store_bits(tensor, index, (uint64_t)sinter_integer_from_double(tensor->dtype, value));
}

void sinter_tensor_set_int(sinter_tensor *tensor, int64_t index, int64_t value) {
    if (sinter_dtype_is_float(tensor->dtype))
        sinter_tensor_set_double(tensor, index, (double)value);
    else
        store_bits(tensor, index, (uint64_t)sinter_integer_wrap(tensor->dtype, value));
}

sinter_string sinter_tensor_get_string(const sinter_tensor *tensor, int64_t index) {
    assert(tensor->dtype == SINTER_DTYPE_string);
    sinter_string value = ((const sinter_string *)tensor->data)[index];
    return value.data ? value : (sinter_string){"", 0};
}

void sinter_tensor_set_string(sinter_tensor *tensor, int64_t index, sinter_string value) {
    assert(tensor->dtype == SINTER_DTYPE_string);
    sinter_string *slot = (sinter_string *)sinter_tensor_mutable(tensor) + index;
    char *copy = sinter_heap_alloc(value.size + 1);
    if (value.size) memcpy(copy, value.data, value.size);
    sinter_heap_free((void *)slot->data); /* after the copy: the value may be the old one */
    *slot = (sinter_string){copy, value.size};
}
