/* A description of hardware: devices that are alike, what each of them can do at most, how they are linked, and what they cost.
 * It is a text file (docs/plan.md), written by hand or by `sinter bench --calibrate`; ir/estimate.h makes times of it.
 *
 * A device runs one rank. Numbers are seconds, bytes, operations a second (a multiply-add is two), dollars an hour.
 * Test: tests/unit/hardware_test.c, tests/fuzz/hardware_fuzz.c */
#pragma once
#include "ir/mesh.h"

/* Kinds of work, each with an efficiency of its own: the share of the roofline that kernels of the kind reach. */
typedef enum sinter_work {
    SINTER_WORK_product,    /* matrix product, convolution of one tap: rows, columns, depth */
    SINTER_WORK_window,     /* convolution of several taps: the same of its matrix product */
    SINTER_WORK_winograd,   /* the same; operations are counted as without the trick */
    SINTER_WORK_depthwise,  /* each channel by itself: elements of the result, channels, taps */
    SINTER_WORK_attention,  /* both products: queries, keys, length of a head */
    SINTER_WORK_recurrent,  /* rows of a step, which is the batch, units of all gates, depth */
    SINTER_WORK_rows,       /* reductions and normalisations: elements, operations of each, length of a row */
    SINTER_WORK_pool,       /* elements of the result, taps, 1 */
    SINTER_WORK_sample,     /* elements between those of an image: elements of the result, 1, 1 */
    SINTER_WORK_elements,   /* element by element: elements, operations of each, 1 */
    SINTER_WORK_move,       /* views and gathers that are kernels of their own: elements, bytes of each, 1 */
    SINTER_WORK_COUNT
} sinter_work;
extern const char *const sinter_work_names[SINTER_WORK_COUNT];

enum { SINTER_HARDWARE_MAX_LEVELS = 6, SINTER_HARDWARE_MAX_LINKS = 6, SINTER_HARDWARE_MAX_POINTS = 1024, SINTER_WORK_SIZES = 3 };

/* What holds data, the nearest first; the last one is the memory. */
typedef struct sinter_hardware_level {
    const char *name;
    double bytes;     /* that it holds of a device's; infinite for the memory */
    double bandwidth; /* bytes a second that a device reads */
} sinter_hardware_level;

/* `devices` neighbours can reach each other by it. */
typedef struct sinter_hardware_link {
    int64_t devices;
    double latency;   /* of one message */
    double bandwidth; /* bytes a second of each device, all at once */
} sinter_hardware_link;

/* A kernel that was measured, or what is believed of all sizes. */
typedef struct sinter_hardware_point {
    sinter_work work;
    sinter_dtype dtype;
    double sizes[SINTER_WORK_SIZES]; /* 0: any */
    double efficiency;               /* of the roofline; may be above 1 where less is done than is counted */
} sinter_hardware_point;

typedef struct sinter_hardware {
    sinter_arena arena;
    const char *name;
    const char *target; /* that code is for, as --target has it; "" for the machine at hand */
    int64_t devices;
    double price;  /* of all devices */
    double memory; /* of a device */
    double launch; /* seconds that a kernel costs, however short */
    double compute[SINTER_DTYPE_COUNT]; /* by element type of products; 0: not said */
    sinter_hardware_level levels[SINTER_HARDWARE_MAX_LEVELS];
    uint32_t level_count;
    sinter_hardware_link links[SINTER_HARDWARE_MAX_LINKS]; /* the innermost first */
    uint32_t link_count;
    SINTER_VECTOR(sinter_hardware_point) points;
} sinter_hardware;

void sinter_hardware_init(sinter_hardware *hardware);
void sinter_hardware_deinit(sinter_hardware *hardware);
/* On success the caller deinits it, after an error there is nothing to deinit. */
bool sinter_hardware_parse(const char *path, const char *text, size_t size, sinter_hardware *out_hardware, sinter_diag *diag);
bool sinter_hardware_read(const char *path, sinter_hardware *out_hardware, sinter_diag *diag);
/* Whether there is a device for each rank of a mesh in each of so many stages of a pipeline (1: there is none), else an error. */
bool sinter_hardware_check_ranks(const sinter_hardware *hardware, const sinter_mesh *mesh, int64_t stages, sinter_diag *diag);
/* Reads back to the same; six digits of each number are kept. */
void sinter_hardware_print(const sinter_hardware *hardware, sinter_text *text);

/* Operations a second in products of this type: its own rate, else that of the type of its class that has one, else of f32. */
double sinter_hardware_rate(const sinter_hardware *hardware, sinter_dtype dtype);
/* Bytes a second from where a set of `held` bytes lies. */
double sinter_hardware_bandwidth(const sinter_hardware *hardware, double held);
/* By the points of the work, near ones first (inverse distance in powers of two); those of types
 * as wide where there are any, else of the same class. 1 where nothing is said. */
double sinter_hardware_efficiency(const sinter_hardware *hardware, sinter_work work, sinter_dtype dtype,
                                  const double sizes[SINTER_WORK_SIZES]);
/* Groups of so many ranks exchange directly, all with all; sums of so few bytes are exchanged whole (runtime/job_internal.h). */
enum { SINTER_HARDWARE_DIRECT_RANKS = 8, SINTER_HARDWARE_SHORT_BYTES = 16384 };
/* Seconds of a collective (SINTER_OP_all_reduce, ...) over a group of ranks, of `bytes`, those of the whole: what all_gather and
 * all_to_all put together or cut, what is summed. Ranks lie on devices in order. Message by message as runtime/job_exchange.c sends them, each
 * a latency and its bytes over the innermost link that joins the two; what adds is not counted. */
double sinter_hardware_exchange(const sinter_hardware *hardware, const sinter_mesh *mesh, const sinter_mesh_axes *over,
                                sinter_op op, double bytes);
/* The same, round by round: messages of one are begun together, when those before it are done. Of trees, which places go through in different rounds,
 * equal ones. */
enum { SINTER_HARDWARE_MAX_ROUNDS = 64 };
typedef struct sinter_hardware_rounds {
    uint32_t count;
    double seconds[SINTER_HARDWARE_MAX_ROUNDS], latency[SINTER_HARDWARE_MAX_ROUNDS]; /* latency: of these, while links carry other messages */
} sinter_hardware_rounds;
void sinter_hardware_exchange_rounds(const sinter_hardware *hardware, const sinter_mesh *mesh, const sinter_mesh_axes *over, sinter_op op,
                                     double bytes, sinter_hardware_rounds *out_rounds);
/* The same of a collective_permute, whose pairs (from, to) say who sends what to whom: the slowest counts. count: of the numbers. */
double sinter_hardware_permute(const sinter_hardware *hardware, const int64_t *pairs, size_t count, double bytes);
void sinter_hardware_permute_rounds(const sinter_hardware *hardware, const int64_t *pairs, size_t count, double bytes,
                                    sinter_hardware_rounds *out_rounds);
