/* Lanes that lie a few elements apart, or backwards: what lies between the first and the last is loaded as whole vectors, and shuffles take
 * the lanes' elements out of them,
 *   v[lane] = b[place + 2 * lane]
 * Windows of stride 2 read so, and what a slice or a reflection turns round. A gather costs a load of each lane, and where a processor has
 * none for the type, instructions to put each lane in its place. The last vector ends where the last lane does: nothing behind is read, and
 * of lanes that a mask leaves out nothing at all. Test: tests/codegen/emit_llvm/stride.sir, tests/ops/strides.sir */
#include "codegen/emit/llvm.h"
#include "codegen/loops/access.h"

typedef struct lanes_apart {
    sinter_llvm_function *f;
    LLVMValueRef first; /* address of lane 0 */
    LLVMTypeRef element, type;
    unsigned bytes;        /* of an element */
    int64_t lanes, stride; /* elements from lane to lane */
    int64_t apart, reach;  /* without sign; elements from the lowest lane's to the highest */
} lanes_apart;

/* Lanes as their addresses go up. */
static int64_t lane_number(const lanes_apart *a, int64_t i) {
    return a->stride < 0 ? a->lanes - 1 - i : i;
}

/* The vector from element `begin` on, counted from the lowest lane's; of lanes from `done` to `end` alone where there is a mask. */
static LLVMValueRef load_part(const lanes_apart *a, int64_t begin, int64_t done, int64_t end) {
    sinter_llvm_function *f = a->f;
    LLVMValueRef from[SINTER_LOOP_MOST_LANES],
        at = sinter_llvm_int(f->module, a->stride < 0 ? begin - (a->reach - 1) : begin);
    LLVMValueRef address = LLVMBuildGEP2(f->builder, a->element, a->first, &at, 1, "");
    if (!f->mask) {
        LLVMValueRef part = LLVMBuildLoad2(f->builder, a->type, address, "");
        LLVMSetAlignment(part, a->bytes);
        return part;
    }
    for (int64_t i = 0; i < a->lanes; i++) /* an element between lanes is not there */
        from[i] = sinter_llvm_int32(f->module, (int32_t)a->lanes);
    for (int64_t lane = done; lane < end; lane++)
        from[lane * a->apart - begin] = sinter_llvm_int32(f->module, (int32_t)lane_number(a, lane));
    LLVMValueRef none = LLVMConstNull(LLVMTypeOf(f->mask));
    LLVMValueRef mask = LLVMBuildShuffleVector(f->builder, f->mask, none,
                                               LLVMConstVector(from, (unsigned)a->lanes), "");
    return sinter_llvm_intrinsic(
        f, "llvm.masked.load", (LLVMTypeRef[]){a->type, f->module->pointer}, 2,
        (LLVMValueRef[]){address, sinter_llvm_int32(f->module, (int32_t)a->bytes), mask,
                         LLVMConstNull(a->type)},
        4);
}

/* `value` has the lanes before `done`; NULL: there are none yet. Those from `done` to `end` are in the part. */
static LLVMValueRef take_lanes(const lanes_apart *a, LLVMValueRef value, LLVMValueRef part,
                               int64_t begin, int64_t done, int64_t end) {
    sinter_llvm_module *m = a->f->module;
    LLVMValueRef from[SINTER_LOOP_MOST_LANES];
    for (int64_t i = 0; i < a->lanes; i++) {
        int64_t lane = lane_number(a, i), place = i;
        if (lane >= done) place = lane * a->apart - begin + (value ? a->lanes : 0);
        from[i] = lane < end ? sinter_llvm_int32(m, (int32_t)place) : LLVMGetUndef(m->i32);
    }
    return LLVMBuildShuffleVector(a->f->builder, value ? value : part,
                                  value ? part : LLVMGetPoison(a->type),
                                  LLVMConstVector(from, (unsigned)a->lanes), "");
}

LLVMValueRef sinter_llvm_apart(sinter_llvm_function *f, sinter_loop_buffer buffer,
                               const sinter_loop_expr *const *indices, int64_t stride) {
    const sinter_dtype dtype = f->function->buffers.items[buffer].dtype;
    lanes_apart a = {.f = f,
                     .element = f->module->dtypes[dtype],
                     .bytes = sinter_dtype_infos[dtype].bits / 8,
                     .lanes = f->lanes,
                     .stride = stride,
                     .apart = stride < 0 ? -stride : stride};
    if (!a.bytes || a.apart < 1 || a.apart > SINTER_LOOP_MOST_APART) return NULL;
    a.type = LLVMVectorType(a.element, f->lanes);
    a.reach = (a.lanes - 1) * a.apart + 1;
    a.first = sinter_llvm_address(f, buffer, indices);
    LLVMValueRef value = NULL;
    for (int64_t done = 0, end; done < a.lanes; done = end) {
        int64_t begin = done * a.apart;
        if (begin + a.lanes > a.reach) begin = a.reach - a.lanes;
        end = (begin + a.lanes - 1) / a.apart + 1;
        if (end > a.lanes) end = a.lanes;
        value = take_lanes(&a, value, load_part(&a, begin, done, end), begin, done, end);
    }
    return value;
}
