/* A mesh: the devices that a model runs on, arranged along named axes, and which part of an axis of a value a device has.
 *
 * A device is called a rank: a number whose digits are its coordinates along the axes, the last one fastest. An axis of a
 * value that is cut over mesh axes a, b is cut into equal chunks over a, each of these into equal chunks over b; chunks at the
 * end may hold fewer indices than there is room for, or none: a tail that is padded. Text: docs/shard.md.
 * Test: tests/unit/mesh_test.c, tests/ir/sharding.sir */
#pragma once
#include "ir/base/lex.h"
#include "ir/graph.h"

enum { SINTER_MESH_MAX_AXES = 8, SINTER_MESH_MAX_RANKS = 1 << 16 };

typedef struct sinter_mesh_axis {
    sinter_string name;
    int64_t size;
} sinter_mesh_axis;

typedef struct sinter_mesh {
    sinter_mesh_axis axes[SINTER_MESH_MAX_AXES];
    uint32_t axis_count; /* 0: no mesh */
    int64_t rank;        /* the one that the module is the program of; -1: it is that of all */
} sinter_mesh;

/* Some of the axes, each once, the outermost first. */
typedef struct sinter_mesh_axes {
    uint8_t items[SINTER_MESH_MAX_AXES];
    uint8_t count;
} sinter_mesh_axes;

const sinter_mesh *sinter_module_mesh(const sinter_module *module); /* never NULL */
void sinter_module_set_mesh(sinter_module *module, const sinter_mesh *mesh); /* names are copied */

/* False where an axis has no size or name, two have one name, or there are too many ranks: then with an error. */
bool sinter_mesh_check(const sinter_mesh *mesh, const char *where, sinter_diag *diag);
int64_t sinter_mesh_rank_count(const sinter_mesh *mesh); /* 1 without axes */
int sinter_mesh_find_axis(const sinter_mesh *mesh, sinter_string name); /* -1: none */
int64_t sinter_mesh_coordinate(const sinter_mesh *mesh, int64_t rank, uint32_t axis);
bool sinter_mesh_equal(const sinter_mesh *a, const sinter_mesh *b); /* but for their ranks */

bool sinter_mesh_axes_have(const sinter_mesh_axes *axes, uint32_t axis);
bool sinter_mesh_axes_equal(const sinter_mesh_axes *a, const sinter_mesh_axes *b);
void sinter_mesh_axes_add(sinter_mesh_axes *axes, uint32_t axis);
uint32_t sinter_mesh_axes_mask(const sinter_mesh_axes *axes); /* a bit an axis */
sinter_mesh_axes sinter_mesh_axes_of(uint32_t mask);             /* in the order of the mesh */
uint32_t sinter_mesh_axes_common(const sinter_mesh_axes *a, const sinter_mesh_axes *b); /* how many both begin with */
int64_t sinter_mesh_axes_product(const sinter_mesh *mesh, const sinter_mesh_axes *axes);
/* Axes by their names; false where one is unknown or named twice. */
bool sinter_mesh_axes_named(const sinter_mesh *mesh, const sinter_string *names, size_t count, sinter_mesh_axes *out_axes);

/* Those that the attribute `over` of a collective, or of another node that is cut over ranks, names; false where it names what the mesh has not. */
bool sinter_node_get_mesh_axes(const sinter_module *module, sinter_node node, sinter_mesh_axes *out_axes);

/* A collective that needs what other ranks have, or another node that exchanges with them while it runs. */
bool sinter_node_exchanges(const sinter_module *module, sinter_node node);

/* One of the program of one rank, which needs what others have: they wait for it, whatever becomes of its result here, so that
 * it is neither dropped nor merged with another. */
bool sinter_node_sends(const sinter_module *module, sinter_node node);

/* The collective_wait until which a collective is under way; 0: it ends where it stands. */
sinter_node sinter_node_find_wait(const sinter_module *module, sinter_node node);

/* Ranks that differ along these axes only form a group; the place of a rank in it, and the rank at a place. */
int64_t sinter_mesh_place(const sinter_mesh *mesh, const sinter_mesh_axes *axes, int64_t rank);
int64_t sinter_mesh_rank_at(const sinter_mesh *mesh, const sinter_mesh_axes *axes, int64_t rank, int64_t place);

/* The indices [offset, offset + valid) of `size` that a rank has, in room for `chunk`, which is the same for all ranks. */
typedef struct sinter_mesh_part {
    int64_t offset, valid, chunk;
} sinter_mesh_part;
sinter_mesh_part sinter_mesh_part_of(const sinter_mesh *mesh, const sinter_mesh_axes *axes, int64_t size, int64_t rank);

/* "data=2, model=2", with ':' for '=' where a shell likes it better; reads up to what is not a comma. */
bool sinter_mesh_read(sinter_lexer *lexer, sinter_mesh *out_mesh);
/* The same of all of a text, for options; `where` names it in messages. Names are in the arena. */
bool sinter_mesh_parse(const char *text, const char *where, sinter_arena *arena, sinter_mesh *out_mesh, sinter_diag *diag);
void sinter_mesh_print(const sinter_mesh *mesh, sinter_text *text);
void sinter_mesh_axes_print(const sinter_mesh *mesh, const sinter_mesh_axes *axes, const char *between, sinter_text *text);
