/* Concrete tensors and the storage behind them. Storage is refcounted and may be a mapped file, so
 * a weight is never copied on its way from the file to the artifact. */
#pragma once
#include "ir/type.h"

typedef struct sinter_storage sinter_storage;
typedef void (*sinter_storage_release)(void *user, void *data, size_t size);
/* Takes over `data`; release is called when the last reference goes (NULL: nothing to do). */
sinter_storage *sinter_storage_wrap(void *data, size_t size, sinter_storage_release release, void *user);
/* Zeroed heap memory, 64-byte aligned; NULL where it can't be had. */
sinter_storage *sinter_storage_create(size_t size);
/* Maps a whole file read-only; reports to diag and returns NULL where it can't. */
sinter_storage *sinter_storage_map_file(const char *path, sinter_diag *diag);
sinter_storage *sinter_storage_retain(sinter_storage *storage);
void sinter_storage_release_reference(sinter_storage *storage); /* NULL allowed */
const void *sinter_storage_data(const sinter_storage *storage);
size_t sinter_storage_size(const sinter_storage *storage);
/* The bytes were read and will not be soon: where they are a mapped file's, their pages may leave memory (they come back
 * when read). Nothing happens to other storage. */
void sinter_storage_drop_pages(const sinter_storage *storage, const void *data, size_t size);

/* A value at run time or a constant. Tensor: data is packed row-major, little-endian. String tensors hold an array
 * of sinter_string whose bytes are owned by `storage` too. Sequences and optionals hold items. */
typedef struct sinter_tensor {
    sinter_type_kind kind;
    sinter_dtype dtype;
    uint32_t rank;
    int64_t dims[SINTER_MAX_RANK];
    const void *data; /* inside storage */
    sinter_storage *storage; /* one reference owned by this tensor; NULL where borrowed */
    struct sinter_tensor *items; /* of a sequence; an optional has 0 or 1. Owned */
    size_t item_count;
} sinter_tensor;

/* Fresh zeroed storage; false (with an error) when the size overflows or exceeds what can be had. */
bool sinter_tensor_create(sinter_tensor *out_tensor, sinter_dtype dtype, uint32_t rank, const int64_t *dims,
                          sinter_diag *diag);
void sinter_tensor_copy(sinter_tensor *out_tensor, const sinter_tensor *source); /* shares storage */
void sinter_tensor_deinit(sinter_tensor *tensor);
void sinter_tensors_deinit(sinter_tensor *tensors, size_t count);
void sinter_tensors_destroy(sinter_tensor *tensors, size_t count); /* of an array from sinter_heap_alloc, too */
int64_t sinter_tensor_count(const sinter_tensor *tensor); /* elements */
size_t sinter_tensor_bytes(const sinter_tensor *tensor);
void *sinter_tensor_mutable(sinter_tensor *tensor); /* data, for a tensor just created */
/* Element access through the widest type of the class; sub-byte types are unpacked. Index is linear.
 * Floats of every width convert through double exactly; storing rounds to nearest even (saturating
 * where the type has no infinity, as ONNX Cast with saturate=1). */
double sinter_tensor_get_double(const sinter_tensor *tensor, int64_t index);
int64_t sinter_tensor_get_int(const sinter_tensor *tensor, int64_t index); /* u64 by its bits */
void sinter_tensor_set_double(sinter_tensor *tensor, int64_t index, double value);
void sinter_tensor_set_int(sinter_tensor *tensor, int64_t index, int64_t value); /* wraps */
sinter_string sinter_tensor_get_string(const sinter_tensor *tensor, int64_t index);
/* Copies the bytes; the tensor must have been created with dtype string. */
void sinter_tensor_set_string(sinter_tensor *tensor, int64_t index, sinter_string value);

/* Bit-level conversions of one element, the one home of the narrow float formats. Encoding rounds to nearest even
 * (f8e8m0: to the nearest power of two). Beyond the largest number the 8-bit formats saturate, infinity included,
 * or give their infinity or NaN as ONNX Cast says; f4e2m1 always saturates and turns NaN into -0; wider formats
 * give infinity. */
double sinter_float_decode(sinter_dtype dtype, uint64_t bits);
uint64_t sinter_float_encode(sinter_dtype dtype, double value, bool saturate);
/* With 10 bits of mantissa, the nearest, ties away from zero (tf32: PTX ISA, cvt.rna.tf32.f32); NaN stays as it is. */
float sinter_float_round_tf32(float value);
/* Many f32 as elements of f16 or bf16, not saturating: the same bits, quickly. */
void sinter_float_encode_all(sinter_dtype dtype, const float *values, int64_t count, uint16_t *out_bits);
/* The low bits of value as an element of an integer (or bool: value != 0) dtype. */
int64_t sinter_integer_wrap(sinter_dtype dtype, int64_t value);
/* Truncated toward zero, NaN gives 0. Out of range: i32, i64, u64 and what is narrower than i32 saturate to
 * themselves or to i32, u32 to i64; then the low bits count. (fptosi.sat.i32, fptosi.sat.i64, truncation.)
 * u64 takes negative numbers through i64. bool: value != 0. */
int64_t sinter_integer_from_double(sinter_dtype dtype, double value);

/* Comparison used by every test: |a-b| <= atol + rtol*|b|, NaN equals NaN; dtype and shape exact.
 * On mismatch writes a sentence (first place, counts, worst) into out_message and returns false. */
bool sinter_tensor_compare(const sinter_tensor *got, const sinter_tensor *expected, double rtol, double atol,
                           sinter_text *out_message);
/* max|got - expected| / max|expected| of two tensors of numbers, the worst one over the elements of
 * sequences and optionals; 0 where nothing differs, infinite where types, shapes or
 * strings do or where an expected tensor of zeros is missed. */
double sinter_tensor_relative_error(const sinter_tensor *got, const sinter_tensor *expected);
