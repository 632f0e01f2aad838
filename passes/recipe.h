/* What compression does to each layer of a model, as data: flags and searches make recipes, passes read them, a file states
 * them, and the same recipe with the same samples gives the same bytes.
 *
 * The text is a list of rules: "default" or, in quotes, the name of a layer (passes/layer.h; '*' stands for any characters),
 * then words, each a key and its value. What a layer gets is what all rules say that match it, later ones over earlier ones:
 *   default weights=int8 per=channel activations=u8 observe=mse
 *   "/layer1.*" weights=int4 per=group:32 prune=2:4    // comments are as in .sir
 * Grammar: docs/compress.md. Test: tests/unit/recipe_test.c */
#pragma once
#include "ir/type.h"

/* Numbers that weights may be, times a scale. */
typedef enum sinter_weight_grid {
    SINTER_WEIGHT_GRID_NONE,         /* as they are */
    SINTER_WEIGHT_GRID_INTEGER,      /* symmetric: -2^(bits-1) .. 2^(bits-1)-1; asymmetric: 0 .. 2^bits-1, less a zero point */
    SINTER_WEIGHT_GRID_TERNARY,      /* -1, 0, 1 */
    SINTER_WEIGHT_GRID_BINARY,       /* -1, 1 */
    SINTER_WEIGHT_GRID_POWER_OF_TWO, /* 0 and, for e of 0 .. 2^(bits-1)-2, -2^e and 2^e */
    SINTER_WEIGHT_GRID_FLOAT         /* `storage`, without a scale: f16, bf16; with one: f8e4m3fn, f8e5m2 */
} sinter_weight_grid;

/* Which weights may be other than zero. */
typedef enum sinter_prune_pattern {
    SINTER_PRUNE_NONE,
    SINTER_PRUNE_UNSTRUCTURED, /* a share `ratio` of the layer's weights goes */
    SINTER_PRUNE_N_OF_M,       /* of each `of` consecutive weights along the reduction `keep` stay */
    SINTER_PRUNE_BLOCK,        /* blocks of `block_rows` outputs x `block_columns` steps of the reduction go together */
    SINTER_PRUNE_CHANNELS      /* outputs go, with all that depends on them */
} sinter_prune_pattern;

/* By what the weights that go are chosen. */
typedef enum sinter_prune_score {
    SINTER_SCORE_MAGNITUDE,   /* |w|; of a block or channel their sum */
    SINTER_SCORE_SQUARE,      /* w^2 */
    SINTER_SCORE_RANDOM,      /* seeded */
    SINTER_SCORE_ACTIVATION,  /* |w| times the norm of what it meets: Wanda, arXiv 2306.11695 */
    SINTER_SCORE_SECOND_ORDER /* w^2 / [H^-1]_jj: optimal brain surgeon; SparseGPT, arXiv 2301.00774 */
} sinter_prune_score;

typedef enum sinter_rounding {
    SINTER_ROUND_NEAREST,
    SINTER_ROUND_GPTQ,       /* errors are made up for by the weights that are left: arXiv 2210.17323 */
    SINTER_ROUND_COMPENSATED /* that, and then a search among neighbouring levels (passes/solve.h) */
} sinter_rounding;

/* By what the channels between layers are rotated (passes/rotate_channels.c). */
typedef enum sinter_rotation { SINTER_ROTATE_NONE, SINTER_ROTATE_HADAMARD } sinter_rotation;

/* How the range of what a layer reads is chosen. */
typedef enum sinter_observer {
    SINTER_OBSERVE_MIN_MAX,
    SINTER_OBSERVE_PERCENTILE,
    SINTER_OBSERVE_SQUARED_ERROR,
    SINTER_OBSERVE_ENTROPY
} sinter_observer;

enum { SINTER_PER_CHANNEL = 0, SINTER_PER_TENSOR = -1 }; /* of `group` */

typedef struct sinter_layer_recipe {
    /* weights=int8|uint4|ternary|binary|power_of_two:4|f16|...; per=channel|tensor|group:32; rounding=; clip= */
    sinter_weight_grid grid;
    uint32_t bits;            /* 2 to 8, of INTEGER; 2 to 5, of POWER_OF_TWO: exponent and sign */
    bool asymmetric;          /* uint4: a zero point beside the scale */
    sinter_dtype storage;     /* of FLOAT */
    int64_t group;            /* weights along the reduction that share a scale; or SINTER_PER_CHANNEL, SINTER_PER_TENSOR */
    sinter_rounding rounding;
    double clip;              /* weights beyond this quantile of |w| of the layer are cut to it; 1: none */
    /* prune=none|0.5|2:4|block4x4:0.7|channels:0.3|macs:0.3; score=magnitude|random:7|... */
    sinter_prune_pattern pattern;
    double ratio;             /* share of the weights (blocks, channels) that goes, 0 to below 1 */
    bool by_work;             /* of CHANNELS: the share is of the multiply-adds, of all layers that say so together */
    uint32_t keep, of;        /* N of M */
    uint32_t block_rows, block_columns;
    sinter_prune_score score;
    uint64_t seed;            /* of RANDOM */
    /* schedule=one_shot|gradual:4 */
    uint32_t rounds;          /* in which what is pruned goes: after each what is left makes up for it, and is scored anew */
    /* cut=none|0.25|last:0.25 */
    double cut;               /* share of the blocks that goes, of those all of whose layers say so; 0: none */
    bool cut_last;            /* the last ones; else those that matter least */
    sinter_rotation rotation; /* rotate=none|hadamard: of channels between layers that all say so */
    /* activations=none|u8|i8|u16|i16|dynamic|dynamic:row; smooth=none|0.5; keep=none|0.01; observe=min_max|percentile:99.99|mse|entropy */
    sinter_dtype activations; /* what the layer reads is rounded to; NONE: floats */
    bool dynamic;             /* by scales from the data of each run, not from samples: to u8 by one scale, or .. */
    bool by_row;              /* .. to i8, each row by a scale of its own */
    double most_change;       /* left as it is where rounding what it reads changes the outputs more (passes/keep.h); 0: never */
    double smooth;            /* how much of what differs between channels goes into weights, 0 (none) to 1 */
    sinter_observer observer;
    double percentile;        /* of PERCENTILE */
} sinter_layer_recipe;

/* Whether single weights become zero, rather than channels going, or nothing. */
static inline bool sinter_layer_recipe_masks(const sinter_layer_recipe *recipe) {
    return recipe->pattern != SINTER_PRUNE_NONE && recipe->pattern != SINTER_PRUNE_CHANNELS;
}

/* Whether what is done to a layer is made up for by what is left of it, as samples tell. */
static inline bool sinter_layer_recipe_compensates(const sinter_layer_recipe *recipe) {
    return recipe->rounding != SINTER_ROUND_NEAREST;
}

typedef struct sinter_recipe sinter_recipe;
/* Without rules: every layer stays as it is (rounding and score have their defaults: the best there is). */
sinter_recipe *sinter_recipe_create(void);
void sinter_recipe_destroy(sinter_recipe *recipe); /* NULL allowed */
/* Appends the rules of a text; errors are at path:line:column. */
bool sinter_recipe_parse(sinter_recipe *recipe, const char *path, const char *text, size_t size, sinter_diag *diag);
bool sinter_recipe_read_file(sinter_recipe *recipe, const char *path, sinter_diag *diag);
/* Appends a rule of one word, as flags state it: layer NULL is "default"; errors are at `where`. */
bool sinter_recipe_set(sinter_recipe *recipe, const char *layer, const char *key, const char *value, const char *where,
                       sinter_diag *diag);
/* The text, a line a rule; parsing it gives the same recipe. */
void sinter_recipe_print(const sinter_recipe *recipe, sinter_text *text);
/* What a layer of that name gets. False after an error: words that don't go together, named with the layer. */
bool sinter_recipe_find(const sinter_recipe *recipe, const char *layer, sinter_layer_recipe *out_layer, sinter_diag *diag);
/* The words of one layer's recipe, "weights=int8 per=channel ...", those that do something. */
void sinter_layer_recipe_print(const sinter_layer_recipe *layer, sinter_text *text);
/* Each rule that names a layer must match one of these names. */
bool sinter_recipe_check_names(const sinter_recipe *recipe, const char *const *names, size_t count, sinter_diag *diag);
