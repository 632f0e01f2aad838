/* Makes a model smaller inside of a budget: the smallest one that loses no more of top-1 accuracy than it may.
 *
 *   cc compress.c $(pkg-config --cflags --libs sinter) -o compress
 *   ./compress model.onnx small.onnx 1% pixels=images.npy labels.npy
 */
#include <sinter/sinter.h>
#include <stdio.h>

static void show(void *user, const char *line)
{
    (void)user;
    fprintf(stderr, "%s\n", line);
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: %s MODEL OUT MAX_DROP INPUT=SAMPLES LABELS\n", argv[0]);
        return 2;
    }
    const char *samples[] = {argv[4], NULL};
    sinter_compress_options options = SINTER_COMPRESS_OPTIONS_INIT;
    options.max_drop = argv[3];
    options.samples = samples;
    options.labels = argv[5];
    options.settings = "int8,int4,ternary";
    options.progress = show;

    sinter_compress_result result;
    sinter_status *status = sinter_compress(argv[1], argv[2], &options, &result);
    if (status) {
        fprintf(stderr, "%s\n", sinter_status_message(status));
        sinter_status_destroy(status);
        return result.over_budget ? 1 : 2;
    }
    printf("%.1f -> %.1f kB, %.4f -> %.4f ms, %.2f -> %.2f %%\n", result.original.bytes / 1e3,
           result.compressed.bytes / 1e3, 1e3 * result.original.seconds, 1e3 * result.compressed.seconds,
           result.original.score, result.compressed.score);
    return 0;
}
