/* Artifact files of any content: no crash and no read outside of the file, every refusal has a message, and what is accepted
 * holds together; so for its description, of which all is read. An odd first byte mends the checksums, so that the checks behind them are reached. */
#include "runtime/artifact_file.h"
#include "runtime/device_code.h"
#include "runtime/jit/artifact_description.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void mend(unsigned char *image, size_t size) {
    sinter_abi_trailer t;
    if (size < sizeof t) return;
    memcpy(&t, image + size - sizeof t, sizeof t);
    t.magic = SINTER_ABI_MAGIC;
    t.version = SINTER_ABI_VERSION;
    if (t.weights_offset <= size) t.head_hash = sinter_abi_hash(image, t.weights_offset, 0);
    if (t.weights_offset <= size && t.weights_bytes <= size - t.weights_offset)
        t.weights_hash = sinter_abi_hash(image + t.weights_offset, t.weights_bytes, 0);
    t.trailer_hash = sinter_abi_hash(&t, offsetof(sinter_abi_trailer, trailer_hash), t.machine);
    memcpy(image + size - sizeof t, &t, sizeof t);
}

static void check(const unsigned char *image, size_t size, bool verify) {
    sinter_artifact_file file;
    sinter_status *status = sinter_artifact_check("fuzz", image, size, verify, &file);
    if (status && (!sinter_status_get_code(status) || !*sinter_status_message(status))) abort();
    if (!status) {
        const sinter_abi_trailer *t = &file.trailer;
        if (t->file_bytes != size || t->code_bytes + strlen(file.features) + 1 > t->weights_offset)
            abort();
        if (t->weights_offset + t->weights_bytes + sizeof *t != size) abort();
    }
    sinter_status_destroy(status);
}

static size_t read_values(const sinter_abi_io *values, uint32_t count) {
    size_t length = 0;
    for (uint32_t i = 0; i < count; i++) {
        length += strlen(values[i].name);
        for (int32_t d = 0; d < values[i].rank; d++)
            length += strlen(values[i].dim_names[d]) + (size_t)(values[i].dims[d] & 1);
    }
    return length;
}

static void describe(const unsigned char *image, size_t size) {
    sinter_text said = {0};
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &said};
    sinter_artifact_description description;
    bool good = sinter_artifact_describe_image("fuzz", image, size, &description, &diag);
    if (good != !said.size) abort();
    if (good) {
        const sinter_abi_artifact *a = description.artifact;
        const sinter_abi_device_code *code = sinter_artifact_device_code(a);
        volatile size_t length = strlen(a->name) + strlen(a->target);
        length += read_values(a->inputs, a->input_count) + read_values(a->outputs, a->output_count);
        for (uint32_t i = 0; i < a->symbol_count; i++) length += strlen(a->symbols[i].name);
        for (uint32_t i = 0; i < a->kernel_count; i++) length += strlen(a->kernels[i].name);
        for (uint32_t i = 0; i < a->donation_count; i++) length += a->donations[i].input;
        for (uint32_t i = 0; code && i < code->image_count; i++) length += code->images[i].kind;
    }
    sinter_artifact_description_deinit(&description);
    sinter_text_deinit(&said);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    unsigned char *image =
        malloc(size - 1 ? size - 1 : 1); /* no larger: the sanitizer sees every step outside */
    if (!image) return 0;
    memcpy(image, data + 1, size - 1);
    if (data[0] & 1) mend(image, size - 1);
    check(image, size - 1, false);
    check(image, size - 1, true);
    describe(image, size - 1);
    free(image);
    return 0;
}
