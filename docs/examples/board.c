/* A model on a board: emitted C, all memory static, no heap, no thread, no file.
 *
 *   sinter compile tests/models/mlp.onnx --dim batch=1 --target=cpu:x86-64-v2 -o mlp.c
 *   cc -std=c17 -Os -DSINTER_BOARD -I. docs/examples/board.c -lm
 *
 * The target only says how wide the loops are: 16-byte vectors, as on most boards. Test: tests/cli/board.test */
#include "mlp.c"

static const float pixels[64] = {0, 0, 1,  14, 6, 0, 0,  0, 0, 0, 7,  15, 1,  0,  0,  0, /**/
                                 0, 0, 13, 7,  0, 0, 0,  0, 0, 0, 13, 5,  0,  0,  0,  0, /**/
                                 0, 0, 14, 7,  5, 4, 1,  0, 0, 0, 10, 16, 13, 14, 14, 0, /**/
                                 0, 0, 9,  14, 1, 4, 16, 3, 0, 0, 1,  12, 13, 16, 9,  1};
static float logits[10];
static _Alignas(64) unsigned char workspace[SINTER_WORKSPACE_BYTES + 64];

int main(void) {
    sinter_abi_tensor input = {.data = (void *)(uintptr_t)pixels, /* read only */
                               .bytes = sizeof pixels,
                               .rank = 3,
                               .dims = {1, 8, 8},
                               .dtype = 1};
    sinter_abi_tensor output = {.data = logits, .bytes = sizeof logits};
    sinter_abi_call call = {
        .size = sizeof call, .inputs = &input, .outputs = &output, .workspace = workspace};
    const sinter_abi_artifact *model = sinter_artifact();
    if (model->plan(&call) || model->run(&call)) return 100 + call.code;
    int best = 0;
    for (int i = 1; i < 10; i++)
        if (logits[i] > logits[best]) best = i;
    return best; /* a board would light a lamp */
}
