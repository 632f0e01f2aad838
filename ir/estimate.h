/* How long a module takes on described hardware (ir/hardware.h): the sum over the nodes of its main region, which are its kernels once it is
 * fused, of what bounds each: its products, its bytes, or the launch; and of its exchanges with other ranks.
 *
 * The roofline (Williams, Waterman, Patterson: Roofline, 2009), with the efficiencies that the hardware says. Bytes come from where
 * they lie: weights from the level that holds all weights of the module, as until a kernel's turn comes again all others have been
 * read; the rest from the level that holds what the kernel moves. Symbols count as 1, or as near to it as they may be.
 * Test: tests/unit/estimate_test.c, tests/cli/plan.test */
#pragma once
#include "ir/hardware.h"

typedef struct sinter_estimate_step {
    sinter_node node;
    sinter_work work;
    sinter_dtype dtype;               /* of the products */
    double sizes[SINTER_WORK_SIZES];  /* see sinter_work */
    double multiply_adds, operations; /* of products; of everything else */
    double weight_bytes, moved_bytes; /* read of constants; everything else, read and written */
    double exchanged_bytes;           /* with other ranks: of the whole, see sinter_hardware_exchange */
    double compute_seconds, memory_seconds, launch_seconds, link_seconds;
    double seconds;
} sinter_estimate_step;

typedef enum sinter_bound { SINTER_BOUND_COMPUTE, SINTER_BOUND_MEMORY, SINTER_BOUND_LAUNCH, SINTER_BOUND_LINK, SINTER_BOUND_COUNT } sinter_bound;
extern const char *const sinter_bound_names[SINTER_BOUND_COUNT];

typedef struct sinter_estimate {
    SINTER_VECTOR(sinter_estimate_step) steps; /* in program order; nodes that cost nothing have none */
    double seconds;
    double bound_seconds[SINTER_BOUND_COUNT]; /* parts of it */
    double weight_bytes;   /* of all constants */
    double activation_bytes; /* at most alive at a time, inputs and outputs included */
    double exchanged_bytes;
    double hidden_seconds; /* of exchanges, while kernels run; not in `seconds` */
    uint32_t unknown; /* nodes whose work only a run can tell: loops of unknown length count once */
} sinter_estimate;

/* In the arena. */
void sinter_estimate_module(sinter_module *module, const sinter_hardware *hardware, sinter_arena *arena,
                            sinter_estimate *out_estimate);
/* One node by itself, its operands and results whole; weight_bytes: of all weights of the module. Scratch is taken from the arena. */
sinter_estimate_step sinter_estimate_node(sinter_module *module, sinter_node node, const sinter_hardware *hardware,
                                          double weight_bytes, sinter_arena *arena);
/* The rounds of a collective. */
void sinter_estimate_rounds(sinter_module *module, sinter_node node, const sinter_hardware *hardware, sinter_arena *arena,
                            sinter_hardware_rounds *out_rounds);
/* What most of its time goes to. */
sinter_bound sinter_estimate_bound(const sinter_estimate *estimate);
/* Operations of a scalar expression of the op's row, for one element: those of expansions counted, a division as some. */
double sinter_estimate_operations(sinter_op op);
