/* Compiles a model in memory and runs it once on ones.
 *
 *   cc jit.c $(pkg-config --cflags --libs sinter) -o jit
 *   ./jit model.onnx
 */
#include <sinter/sinter.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(sinter_status *status)
{
    fprintf(stderr, "%s\n", sinter_status_message(status));
    sinter_status_destroy(status);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s MODEL\n", argv[0]);
        return 2;
    }
    sinter_model *model;
    sinter_status *status = sinter_load(argv[1], NULL, &model);
    if (status) return fail(status);

    /* One float input; symbolic dims are 1 here. */
    const sinter_abi_artifact *about = sinter_describe(model);
    const sinter_abi_io *io = &about->inputs[0];
    if (about->input_count != 1 || io->dtype != 1) {
        fprintf(stderr, "this example is for models with one float input\n");
        return 1;
    }
    int64_t dims[SINTER_ABI_MAX_RANK], count = 1;
    for (int32_t i = 0; i < io->rank; i++) count *= dims[i] = io->dims[i] < 0 ? 1 : io->dims[i];
    float *data = malloc((size_t)count * sizeof *data);
    sinter_abi_tensor *outputs = calloc(about->output_count, sizeof *outputs);
    if (!data || !outputs) return 1;
    for (int64_t i = 0; i < count; i++) data[i] = 1;

    sinter_abi_tensor input = sinter_tensor_over(data, (uint64_t)count * sizeof *data, io->dtype, io->rank, dims);
    status = sinter_set_threads(model, 2);
    if (!status) status = sinter_run(model, &input, outputs);
    if (status) return fail(status);
    printf("%s:", about->outputs[0].name);
    for (uint64_t i = 0; i < outputs[0].bytes / sizeof(float) && i < 10; i++)
        printf(" %g", (double)((float *)outputs[0].data)[i]);
    printf("\n");

    sinter_outputs_free(model, outputs);
    sinter_destroy(model);
    free(outputs);
    free(data);
    return 0;
}
