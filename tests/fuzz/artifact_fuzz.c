/* Artifact files of any content: no crash and no read outside of the file, every refusal has a message, and what is accepted
 * holds together. An odd first byte mends the checksums, so that the checks behind them are reached. */
#include "runtime/artifact_file.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    unsigned char *image =
        malloc(size - 1 ? size - 1 : 1); /* no larger: the sanitizer sees every step outside */
    if (!image) return 0;
    memcpy(image, data + 1, size - 1);
    if (data[0] & 1) mend(image, size - 1);
    check(image, size - 1, false);
    check(image, size - 1, true);
    free(image);
    return 0;
}
