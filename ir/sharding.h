/* What each rank of the module's mesh (ir/mesh.h) has of a value: for each dim the mesh axes that it is cut over, and the axes
 * along which the ranks hold terms of a sum, or copies.
 *
 * Before partitioning this is said of whole values: by a user, a file, or shard-propagate. After it the program is that of one
 * rank, types are those of its parts, and only inputs and outputs have words, which say how large the whole was.
 * Text: docs/shard.md. Test: tests/ir/sharding.sir, verify_sharding.sir */
#pragma once
#include "ir/mesh.h"

enum { SINTER_SHARD_WHOLE_OF_RUN = -1 }; /* ":?": of a symbol of indices, of which each run has a number */

/* What the number of a run may be. most: 0 where there is no limit; multiple: of which it is one, 0 or 1 any. */
typedef struct sinter_shard_range {
    int64_t least, most, multiple;
} sinter_shard_range;

typedef struct sinter_shard_dim {
    sinter_mesh_axes axes; /* none: not cut */
    bool is_open;          /* propagation may cut it further */
    uint32_t priority;     /* 0 first: who is heard before whom when shardings spread */
    int64_t whole;         /* 0: the value is whole; else it is a rank's part of so many indices, or SINTER_SHARD_WHOLE_OF_RUN */
    sinter_shard_range range; /* of SINTER_SHARD_WHOLE_OF_RUN */
} sinter_shard_dim;

typedef struct sinter_sharding {
    sinter_shard_dim *dims;
    uint32_t rank;
    uint32_t partial;    /* a bit a mesh axis: the value is the sum of what the ranks along it hold */
    uint32_t replicated; /* a bit a mesh axis: no dim may be cut over it */
} sinter_sharding;

const sinter_sharding *sinter_value_sharding(const sinter_module *module, sinter_value value); /* NULL: nothing is said */
/* Copied; NULL: nothing is said any more. */
void sinter_value_set_sharding(sinter_module *module, sinter_value value, const sinter_sharding *sharding);
sinter_value sinter_sharding_find_value(const sinter_module *module, sinter_string name); /* 0: none has the name */
sinter_sharding *sinter_sharding_copy(sinter_arena *arena, const sinter_sharding *sharding);
/* All dims whole; open or closed. */
sinter_sharding sinter_sharding_whole(sinter_arena *arena, uint32_t rank, bool is_open);
/* Axes that dims are cut over, as bits. */
uint32_t sinter_sharding_used(const sinter_sharding *sharding);
/* Same cuts and sums, whatever is open or preferred. */
bool sinter_sharding_equal(const sinter_sharding *a, const sinter_sharding *b);
/* Whether a value of this type may have it, with an error that begins with `what`. */
bool sinter_sharding_check(const sinter_module *module, const sinter_sharding *sharding, const sinter_type *type,
                           const char *where, const char *what, sinter_diag *diag);
/* Room that a rank has for an axis of `size`; 0 where no part of it is known (a size that is no number). */
sinter_dim sinter_sharding_part_dim(const sinter_module *module, const sinter_shard_dim *cut, sinter_dim size);

/* What the symbol may be, in words of the whole; all zeros where it may be anything. */
sinter_shard_range sinter_sharding_range(const sinter_dim_symbol *symbol);
/* How much of the whole a rank has, as 1 / that: parts of an axis count with what pads them. */
double sinter_sharding_parts(const sinter_dim_table *dims, const sinter_mesh *mesh, const sinter_sharding *sharding,
                             const sinter_type *whole);
/* The same of one axis of `size`; where that is no number, as many as there are ranks. */
double sinter_sharding_axis_parts(const sinter_dim_table *dims, const sinter_mesh *mesh, const sinter_mesh_axes *axes, sinter_dim size);
/* Whether a run may have so many indices of dim `dim` of a value that ranks have parts of (whole: SINTER_SHARD_WHOLE_OF_RUN). */
bool sinter_sharding_check_size(const sinter_sharding *sharding, uint32_t dim, int64_t size, const char *where, sinter_diag *diag);
/* Whether ranks can send each other elements of the type: bits that mean the same to all of them. Fewer than a byte are made whole bytes
 * (passes/shard_bytes.h). */
bool sinter_sharding_can_send(sinter_dtype dtype);
/* False, with an error, where the node has ranks send each other what they can't, or add what they can't. */
bool sinter_sharding_check_send(sinter_module *module, sinter_node node, sinter_diag *diag);

/* "shard(data, _, model?!1) partial(model)", from the word `shard` on; axes are those of the mesh. */
bool sinter_sharding_read(sinter_lexer *lexer, const sinter_mesh *mesh, sinter_arena *arena, sinter_sharding *out_sharding);
void sinter_sharding_print(const sinter_mesh *mesh, const sinter_sharding *sharding, sinter_text *text);
/* A file of them for a model that carries none: "mesh data=2", then lines "%name shard(data, _)". Sets the mesh, where the
 * module has none, and the shardings of the values of those names. False after an error. */
bool sinter_sharding_read_text(sinter_module *module, const char *path, const char *text, size_t size, sinter_diag *diag);
bool sinter_sharding_read_file(sinter_module *module, const char *path, sinter_diag *diag);
