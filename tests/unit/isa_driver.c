/* Runs an artifact that is linked in, on a machine that may not be this one.
 *
 *     isa_driver IN OUT
 *
 * IN: for each input its rank, its dims, its size in bytes and its data; then the bytes that there are for each output, or
 * ALLOCATE where the artifact takes memory itself, as it must where only the run knows the shape. OUT: for each output
 * element type (as in ONNX), rank, dims, size in bytes and data. Numbers are 64 bits, little-endian. Compiled by
 * tests/unit/emit_support.h and tests/suites/support/linked.py. */
#include "runtime/abi.h"

#include <stdio.h>
#include <stdlib.h>

const sinter_abi_artifact *sinter_artifact(void);

#define ALLOCATE UINT64_MAX
enum { INPUTS = 64, OUTPUTS = 4096 };

static uint64_t read_number(FILE *file) {
    uint64_t number = 0;
    if (fread(&number, sizeof number, 1, file) != 1) exit(4);
    return number;
}

static void write_number(uint64_t number, FILE *file) {
    if (fwrite(&number, sizeof number, 1, file) != 1) exit(6);
}

static void *allocate(uint64_t size) {
    void *data = aligned_alloc(64, (size + 64) / 64 * 64);
    if (!data) exit(5);
    return data;
}

static void read_input(FILE *file, const sinter_abi_io *io, sinter_abi_tensor *out_tensor) {
    *out_tensor = (sinter_abi_tensor){.rank = (int32_t)read_number(file), .dtype = io->dtype};
    if (out_tensor->rank < 0 || out_tensor->rank > SINTER_ABI_MAX_RANK) exit(4);
    for (int32_t i = 0; i < out_tensor->rank; i++) out_tensor->dims[i] = (int64_t)read_number(file);
    out_tensor->bytes = read_number(file);
    out_tensor->data = allocate(out_tensor->bytes);
    if (fread(out_tensor->data, 1, out_tensor->bytes, file) != out_tensor->bytes) exit(4);
}

static void read_room(FILE *file, const sinter_abi_io *io, sinter_abi_tensor *out_tensor) {
    uint64_t room = read_number(file);
    *out_tensor = (sinter_abi_tensor){.rank = io->rank, .dtype = io->dtype};
    if (room == ALLOCATE) return;
    out_tensor->data = allocate(room);
    out_tensor->bytes = room;
}

static void write_output(const sinter_abi_tensor *tensor, FILE *file) {
    write_number((uint64_t)tensor->dtype, file);
    write_number((uint64_t)tensor->rank, file);
    for (int32_t i = 0; i < tensor->rank; i++) write_number((uint64_t)tensor->dims[i], file);
    write_number(tensor->bytes, file);
    if (fwrite(tensor->data, 1, tensor->bytes, file) != tensor->bytes) exit(6);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    const sinter_abi_artifact *artifact = sinter_artifact();
    static sinter_abi_tensor inputs[INPUTS], outputs[OUTPUTS];
    FILE *file = fopen(argv[1], "rb");
    if (!file || artifact->input_count > INPUTS || artifact->output_count > OUTPUTS) return 3;
    for (uint32_t i = 0; i < artifact->input_count; i++)
        read_input(file, &artifact->inputs[i], &inputs[i]);
    for (uint32_t i = 0; i < artifact->output_count; i++)
        read_room(file, &artifact->outputs[i], &outputs[i]);
    fclose(file);
    sinter_abi_call call = {
        .size = sizeof call, .weights = artifact->weights, .inputs = inputs, .outputs = outputs};
    call.symbols = allocate(artifact->symbol_count * sizeof *call.symbols);
    int32_t code = artifact->plan(&call);
    if (!code) {
        call.workspace = allocate(call.workspace_bytes);
        code = artifact->run(&call);
        free(call.workspace);
    }
    free(call.symbols);
    if (code) {
        fprintf(stderr, "code %d: %s\n", (int)code, call.message);
        return 1;
    }
    file = fopen(argv[2], "wb");
    for (uint32_t i = 0; file && i < artifact->output_count; i++) write_output(&outputs[i], file);
    return !file || fclose(file) != 0;
}
