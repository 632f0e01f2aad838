/* Runs a compiled model on ones, with threads and with all memory its own. No compiler is needed to build or run this.
 *
 *   sinter compile model.onnx -o model.so
 *   cc aot.c $(pkg-config --cflags --libs sinter_runtime) -o aot
 *   ./aot model.so
 */
#include <sinter/sinter_runtime.h>
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
        fprintf(stderr, "usage: %s MODEL.so\n", argv[0]);
        return 2;
    }
    sinter_executable *model;
    sinter_pool *pool;
    sinter_status *status = sinter_executable_load(argv[1], NULL, &model);
    if (status) return fail(status);
    status = sinter_pool_create(2, NULL, &pool);
    if (status) return fail(status);

    /* One float input and one float output; symbolic dims are 1 here. */
    const sinter_abi_artifact *about = sinter_executable_describe(model);
    const sinter_abi_io *io = &about->inputs[0];
    if (about->input_count != 1 || about->output_count != 1 || io->dtype != 1 || about->outputs[0].dtype != 1) {
        fprintf(stderr, "this example is for models with one float input and one float output\n");
        return 1;
    }
    sinter_abi_tensor input = {.dtype = io->dtype, .rank = io->rank}, output = {0};
    int64_t count = 1;
    for (int32_t i = 0; i < io->rank; i++) count *= input.dims[i] = io->dims[i] < 0 ? 1 : io->dims[i];
    input.bytes = (uint64_t)count * sizeof(float);
    input.data = malloc(input.bytes);
    if (!input.data) return 1;
    for (int64_t i = 0; i < count; i++) ((float *)input.data)[i] = 1;

    /* plan says the output's shape and how much memory a run takes. */
    uint64_t context_bytes;
    status = sinter_executable_plan(model, &input, &output, &context_bytes);
    if (status) return fail(status);
    output.bytes = sizeof(float);
    for (int32_t i = 0; i < output.rank; i++) output.bytes *= (uint64_t)output.dims[i];
    output.data = malloc(output.bytes);
    void *context = aligned_alloc(64, context_bytes ? context_bytes : 64);
    if (!output.data || !context) return 1;

    status = sinter_executable_run(model, &input, &output, sinter_pool_services(pool), context, context_bytes);
    if (status) return fail(status);
    printf("%s:", about->outputs[0].name);
    for (uint64_t i = 0; i < output.bytes / sizeof(float) && i < 10; i++)
        printf(" %g", (double)((float *)output.data)[i]);
    printf("\n");

    free(context);
    free(output.data);
    free(input.data);
    sinter_pool_destroy(pool);
    sinter_executable_destroy(model);
    return 0;
}
