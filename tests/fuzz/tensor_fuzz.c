/* Tensor files of any content: no crash, every refusal has a message, and a tensor that was read is written and
 * read back equal. The first byte picks the kind of file. */
#include "frontends/import.h"
#include "ir/base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PATH_BYTES = SINTER_FILE_FOLDER_BYTES + 16 };
static char folder[SINTER_FILE_FOLDER_BYTES];
static char input[PATH_BYTES], output[PATH_BYTES], again[PATH_BYTES];

static void remove_files(void) {
    unlink(input);
    unlink(output);
    unlink(again);
    rmdir(folder);
}

static void prepare(void) {
    if (input[0]) return;
    if (!sinter_file_make_folder(folder, NULL)) abort();
    snprintf(input, sizeof input, "%s/input.pb", folder);
    snprintf(output, sizeof output, "%s/output.npy", folder);
    snprintf(again, sizeof again, "%s/again.pb", folder);
    atexit(remove_files);
}

static void check_copy(const char *path, const sinter_tensor *tensor, const sinter_type *type,
                       sinter_dim_table *dims) {
    sinter_tensor copy;
    sinter_text why = {0};
    if (!sinter_tensor_write_file(path, tensor, NULL)) return; /* .npy holds no sequences */
    if (!sinter_tensor_read_file(path, type, dims, &copy, NULL)) abort();
    if (!sinter_tensor_compare(&copy, tensor, 0, 0, &why)) abort();
    sinter_tensor_deinit(&copy);
    sinter_text_deinit(&why);
}

/* Every array that an archive says it has is read, or refused with a message. */
static void read_archive(sinter_dim_table *dims) {
    sinter_text names = {0};
    size_t count = 0;
    sinter_diag diag = {0};
    if (!sinter_tensor_archive_names(input, &names, &count, &diag) && diag.error_count == 0)
        abort();
    const char *name = names.data;
    for (size_t i = 0; i < count && i < 16; i++, name += strlen(name) + 1) {
        sinter_tensor tensor = {0};
        sinter_diag why = {0};
        if (!sinter_tensor_read_named(input, name, NULL, dims, &tensor, &why) &&
            why.error_count == 0)
            abort();
        sinter_tensor_deinit(&tensor);
    }
    sinter_text_deinit(&names);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const sinter_type_kind kinds[] = {SINTER_TYPE_TENSOR, SINTER_TYPE_SEQUENCE,
                                             SINTER_TYPE_OPTIONAL};
    if (size == 0) return 0;
    prepare();
    FILE *file = fopen(input, "wb");
    if (!file) abort();
    fwrite(data + 1, 1, size - 1, file);
    fclose(file);
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_dim_table *dims = sinter_dim_table_create(&arena);
    sinter_type any = {0}, expected = {.kind = kinds[data[0] % 3], .element = &any};
    const sinter_type *type =
        data[0] % 3 ? &expected : NULL; /* tensors say themselves what they are */
    sinter_diag diag = {0};
    sinter_tensor tensor = {0};
    if (sinter_tensor_read_file(input, type, dims, &tensor, &diag)) {
        sinter_type read = {.kind = tensor.kind, .dtype = tensor.dtype, .rank = tensor.rank};
        sinter_dim exact[SINTER_MAX_RANK] = {0};
        for (uint32_t i = 0; i < tensor.rank; i++)
            exact[i] = sinter_dim_const(dims, tensor.dims[i]);
        read.dims = exact;
        read.element = &any;
        check_copy(output, &tensor, &read, dims);
        check_copy(again, &tensor, &read, dims);
    } else if (diag.error_count == 0) {
        abort();
    }
    sinter_tensor_deinit(&tensor);
    read_archive(dims);
    sinter_arena_deinit(&arena);
    return 0;
}
