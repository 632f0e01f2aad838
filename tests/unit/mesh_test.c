/* Meshes: coordinates, groups, parts; tensors cut and joined. */
#include "ir/mesh.h"
#include "ir/sharding_tensor.h"
#include "tests/unit/test.h"

static sinter_mesh mesh_of(const char *text, sinter_arena *arena) {
    sinter_mesh mesh = {0};
    CHECK(sinter_mesh_parse(text, "mesh", arena, &mesh, NULL));
    return mesh;
}

static void test_text(sinter_arena *arena) {
    sinter_mesh mesh;
    sinter_text text = {0};
    mesh = mesh_of("data:2,model=4", arena);
    sinter_mesh_print(&mesh, &text);
    CHECK_STRING_EQ(text.data, "data=2, model=4");
    sinter_text_deinit(&text);
    CHECK(!sinter_mesh_parse("data=2 x", "mesh", arena, &mesh, NULL));
    CHECK(!sinter_mesh_parse("data", "mesh", arena, &mesh, NULL));
    CHECK(!sinter_mesh_parse("a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1", "mesh", arena, &mesh, NULL));
}

static void test_groups(sinter_arena *arena) {
    sinter_mesh mesh = mesh_of("a=2,b=3,c=2", arena);
    sinter_mesh_axes axes = {{2, 0}, 2};
    CHECK_INT_EQ(sinter_mesh_rank_count(&mesh), 12);
    for (int64_t rank = 0; rank < 12; rank++) {
        int64_t place = sinter_mesh_place(&mesh, &axes, rank);
        CHECK_INT_EQ(place, sinter_mesh_coordinate(&mesh, rank, 2) * 2 +
                                sinter_mesh_coordinate(&mesh, rank, 0));
        CHECK_INT_EQ(sinter_mesh_rank_at(&mesh, &axes, rank, place), rank);
        for (int64_t other = 0; other < 4; other++) {
            int64_t peer = sinter_mesh_rank_at(&mesh, &axes, rank, other);
            CHECK_INT_EQ(sinter_mesh_place(&mesh, &axes, peer), other);
            CHECK_INT_EQ(sinter_mesh_coordinate(&mesh, peer, 1),
                         sinter_mesh_coordinate(&mesh, rank, 1));
        }
    }
}

/* Parts of all ranks cover an axis once, in order, in equal room. */
static void test_parts(sinter_arena *arena) {
    static const char *const meshes[] = {"a=2", "a=5", "a=2,b=2", "a=3,b=2,c=2"};
    for (size_t m = 0; m < 4; m++)
        for (int64_t size = 0; size < 30; size++) {
            sinter_mesh mesh = mesh_of(meshes[m], arena);
            sinter_mesh_axes all = {0};
            for (uint32_t i = 0; i < mesh.axis_count; i++) sinter_mesh_axes_add(&all, i);
            int64_t next = 0, chunk = sinter_mesh_part_of(&mesh, &all, size, 0).chunk;
            for (int64_t rank = 0; rank < sinter_mesh_rank_count(&mesh); rank++) {
                sinter_mesh_part part = sinter_mesh_part_of(&mesh, &all, size, rank);
                CHECK_INT_EQ(part.chunk, chunk);
                CHECK(part.valid >= 0 && part.valid <= chunk);
                if (part.valid) CHECK_INT_EQ(part.offset, next);
                next += part.valid;
            }
            CHECK_INT_EQ(next, size);
        }
}

static void test_tensors(sinter_arena *arena, sinter_dtype dtype) {
    sinter_mesh mesh = mesh_of("a=2,b=3", arena);
    sinter_sharding sharding = sinter_sharding_whole(arena, 3, false);
    int64_t dims[] = {5, 3, 7};
    sinter_tensor whole, parts[6], again;
    const sinter_tensor *list[6];
    sinter_mesh_axes_add(&sharding.dims[0].axes, 1);
    sinter_mesh_axes_add(&sharding.dims[2].axes, 0);
    sharding.dims[0].whole = 5;
    sharding.dims[2].whole = 7;
    CHECK(sinter_tensor_create(&whole, dtype, 3, dims, NULL));
    for (int64_t i = 0; i < sinter_tensor_count(&whole); i++)
        sinter_tensor_set_int(&whole, i, i % 7);
    for (int64_t rank = 0; rank < 6; rank++) {
        CHECK(sinter_sharding_cut_tensor(&mesh, &sharding, rank, &whole, &parts[rank], NULL));
        list[rank] = &parts[rank];
    }
    CHECK_INT_EQ(parts[0].dims[0], 2);
    CHECK_INT_EQ(parts[0].dims[2], 4);
    CHECK_INT_EQ(sinter_tensor_get_int(&parts[5], 1 * 3 * 4), 0); /* padding */
    CHECK(sinter_sharding_join_tensors(&mesh, &sharding, list, &again, NULL));
    CHECK(sinter_tensor_compare(&again, &whole, 0, 0, NULL));
    sinter_tensor_deinit(&again);
    sinter_tensor_deinit(&whole);
    dims[0] = 6; /* not what the words say */
    CHECK(sinter_tensor_create(&whole, dtype, 3, dims, NULL));
    CHECK(!sinter_sharding_cut_tensor(&mesh, &sharding, 0, &whole, &again, NULL));
    sinter_tensor_deinit(&whole);
    for (int rank = 0; rank < 6; rank++) sinter_tensor_deinit(&parts[rank]);
}

static void test_terms(sinter_arena *arena) {
    sinter_mesh mesh = mesh_of("a=2,b=2", arena);
    sinter_sharding sharding = sinter_sharding_whole(arena, 1, false);
    int64_t dims[] = {3};
    sinter_tensor whole, parts[4], again;
    const sinter_tensor *list[4];
    sharding.partial = 1u << 1;
    CHECK(sinter_tensor_create(&whole, SINTER_DTYPE_f32, 1, dims, NULL));
    for (int64_t i = 0; i < 3; i++) sinter_tensor_set_double(&whole, i, 1.5 + (double)i);
    for (int64_t rank = 0; rank < 4; rank++) {
        CHECK(sinter_sharding_cut_tensor(&mesh, &sharding, rank, &whole, &parts[rank], NULL));
        CHECK_DOUBLE_EQ(sinter_tensor_get_double(&parts[rank], 1), rank % 2 ? 0 : 2.5);
        list[rank] = &parts[rank];
    }
    CHECK(sinter_sharding_join_tensors(&mesh, &sharding, list, &again, NULL));
    CHECK(sinter_tensor_compare(&again, &whole, 0, 0, NULL));
    sinter_tensor_deinit(&again);
    sinter_tensor_deinit(&whole);
    for (int rank = 0; rank < 4; rank++) sinter_tensor_deinit(&parts[rank]);
}

int main(void) {
    sinter_arena arena;
    sinter_arena_init(&arena);
    test_text(&arena);
    test_groups(&arena);
    test_parts(&arena);
    test_tensors(&arena, SINTER_DTYPE_i64);
    test_tensors(&arena, SINTER_DTYPE_u4);
    test_terms(&arena);
    sinter_arena_deinit(&arena);
    return test_finish();
}
