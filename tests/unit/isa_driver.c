/* Runs an artifact that is linked in, on a machine that may not be this one: reads `isa_in` (for each input its size
 * in bytes, u64, and its data; then the size of each output), writes the outputs to `isa_out`. Shapes are constant, so
 * nothing is allocated but here. Compiled by tests/unit/emit_support.h for isa_test.c. */
#include "runtime/abi.h"

#include <stdio.h>
#include <stdlib.h>

const sinter_abi_artifact *sinter_artifact(void);

static uint64_t read_size(FILE *file) {
    uint64_t size = 0;
    if (fread(&size, sizeof size, 1, file) != 1) exit(4);
    return size;
}

static void describe(const sinter_abi_io *io, FILE *file, sinter_abi_tensor *out_tensor) {
    uint64_t size = read_size(file), room = (size + 64) / 64 * 64;
    *out_tensor = (sinter_abi_tensor){
        .data = aligned_alloc(64, room), .bytes = size, .rank = io->rank, .dtype = io->dtype};
    if (!out_tensor->data) exit(5);
    for (int32_t i = 0; i < io->rank; i++) out_tensor->dims[i] = io->dims[i];
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    const sinter_abi_artifact *artifact = sinter_artifact();
    static sinter_abi_tensor inputs[64], outputs[4096];
    FILE *file = fopen(argv[1], "rb");
    if (!file || artifact->input_count > 64 || artifact->output_count > 4096) return 3;
    for (uint32_t i = 0; i < artifact->input_count; i++) {
        describe(&artifact->inputs[i], file, &inputs[i]);
        if (fread(inputs[i].data, 1, inputs[i].bytes, file) != inputs[i].bytes) return 4;
    }
    for (uint32_t i = 0; i < artifact->output_count; i++)
        describe(&artifact->outputs[i], file, &outputs[i]);
    fclose(file);
    sinter_abi_call call = {
        .size = sizeof call, .weights = artifact->weights, .inputs = inputs, .outputs = outputs};
    int32_t code = artifact->plan(&call);
    if (!code) {
        call.workspace = aligned_alloc(64, (call.workspace_bytes + 64) / 64 * 64);
        code = artifact->run(&call);
        free(call.workspace);
    }
    if (code) {
        fprintf(stderr, "code %d: %s\n", (int)code, call.message);
        return 1;
    }
    file = fopen(argv[2], "wb");
    for (uint32_t i = 0; file && i < artifact->output_count; i++)
        fwrite(outputs[i].data, 1, outputs[i].bytes, file);
    return !file || fclose(file) != 0;
}
