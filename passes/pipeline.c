/* The order of passes, as straight lists with the reasons. A pass may stand in a list more than once.
 * Test: tests/passes/manager/pipeline.sir */
#include "ir/sharding.h"
#include "passes/pass.h"

#include <string.h>

/* -O0: only what makes later stages simpler to read. */
static const char level_0[] = "eliminate-dead,"
                              "fold-sequences," /* there are none in loops */
                              "decompose,"
                              "eliminate-dead";

/* -O1 and up. */
static const char level_1[] =
    /* Fewer and simpler nodes first: shape arithmetic becomes numbers or dims, views become reshapes. */
    "fold-constants,"
    /* Positions are numbers now; sequences are gone before anything else looks. */
    "fold-sequences,"
    "canonicalize,"
    "eliminate-common,"
    "eliminate-dead,"
    /* One form of each, whatever the exporter. */
    "recognize,"
    "recognize-attention,"
    /* Composite operators become what lowering knows. */
    "decompose,"
    /* Decompositions bring constants and views of their own. */
    "fold-constants,"
    "canonicalize,"
    /* Queries, keys and values at once are three products: their weights are sliced, their views meet those of the users. */
    "split-contraction,"
    "fold-constants,"
    "canonicalize,"
    /* Batch normalisations and scales are now products and sums with constants: they go into weights. */
    "fold-scale,"
    "eliminate-common,"
    "eliminate-dead,"
    /* Weights are constants and chains are short: what is quantized becomes integer arithmetic, which brings constants. */
    "recognize-integer,"
    "fold-constants,"
    "canonicalize,"
    /* What follows is by the order of elements in memory; views that this brings cancel or become reshapes. */
    "propagate-layouts,"
    /* Its channels lie together now, and move as one between positions. */
    "split-conv-transpose,"
    "canonicalize,"
    "eliminate-common,"
    "eliminate-dead,"
    /* No view stands between what quantizes and what is computed from that. */
    "tabulate,"
    "eliminate-dead,"
    /* Layouts are known, convolutions still stand alone. */
    "winograd,"
    /* Nothing may fold the casts of weights any more. */
    "lower-precision,"
    /* What attention's products read is known. */
    "tile-attention,"
    /* Channels are last; what makes a sum's operand has not taken in anything yet. */
    "split-reductions,"
    /* The same of windows, of which none is a convolution's. */
    "split-windows,"
    /* Nothing may join paddings any more. */
    "split-padding,"
    /* One kernel, one pass over memory. From here on groups hide their nodes from the passes above. */
    "fuse,"
    /* Groups have copies of their own of small constants. */
    "eliminate-dead,"
    /* Nodes are kernels now, and what they take is known. */
    "shard-overlap";

/* Before layers are compressed, where the result is to be exported: only what standard operators can say. */
static const char preparation[] =
    /* Weights behind views and casts become constants. */
    "fold-constants,"
    "canonicalize,"
    "eliminate-common,"
    "eliminate-dead,"
    "expose-layers,"
    /* What is quantized already is to be compressed anew: from floats. */
    "dequantize,"
    /* Transposed weights; what is left of batch normalisations meets its layer. */
    "fold-constants,"
    "canonicalize,"
    "fold-scale,"
    "eliminate-common,"
    "eliminate-dead";

const char *sinter_pipeline_of_preparation(void) {
    return preparation;
}

const char *sinter_pipeline_of_level(int level) {
    return level <= 0 ? level_0 : level_1;
}

const char *sinter_pipeline_to_integers(sinter_arena *arena) {
    static const char last[] = "recognize-integer";
    return sinter_arena_copy_string(arena, level_1,
                                    strstr(level_1, last) + sizeof last - 1 - level_1);
}

const char *sinter_pipeline_of_partition(void) {
    return "shard-partition,shard-simplify,shard-hierarchy,eliminate-common,eliminate-dead";
}

bool sinter_pipeline_run_rank(sinter_module *module, int64_t rank,
                              const sinter_pipeline_options *options, sinter_diag *diag) {
    sinter_mesh mesh = *sinter_module_mesh(module);
    mesh.rank = rank;
    sinter_module_set_mesh(module, &mesh);
    return sinter_pipeline_run_list(module, "shard-localize,eliminate-dead", options, diag);
}
