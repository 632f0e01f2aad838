/* Turns a function of the loop IR into the interpreter's instruction list (code.h): expressions in the order of
 * their evaluation, loops and branches as jumps.
 * Needs: a function whose ids are in range; types are taken as they are (the verifier looks at them).
 * Test: tests/unit/loop_test.c */
#include "codegen/loops/code.h"

#include <assert.h>

typedef struct compiler {
    sinter_arena *arena;
    sinter_code *code;
    sinter_map constants; /* i64 value -> register */
    bool multiplies;      /* in a wgmma axis */
} compiler;

static uint32_t new_register(compiler *c, sinter_dtype dtype) {
    sinter_vector_push(c->arena, &c->code->registers, (sinter_code_value){.i = 0});
    sinter_vector_push(c->arena, &c->code->dtypes, dtype);
    return (uint32_t)(c->code->registers.count - 1);
}

static uint32_t emit(compiler *c, sinter_code_instruction instruction) {
    sinter_vector_push(c->arena, &c->code->instructions, instruction);
    return (uint32_t)(c->code->instructions.count - 1);
}

static uint32_t here(const compiler *c) {
    return (uint32_t)c->code->instructions.count;
}

static void land(compiler *c, uint32_t jump) {
    c->code->instructions.items[jump].result = here(c);
}

static uint32_t compile_int(compiler *c, int64_t value) {
    uint64_t found;
    if (sinter_map_find(&c->constants, (uint64_t)value, &found)) return (uint32_t)found;
    uint32_t result = new_register(c, SINTER_DTYPE_i64);
    c->code->registers.items[result].i = value;
    sinter_map_put(&c->constants, (uint64_t)value, result);
    return result;
}

static uint32_t compile_const(compiler *c, sinter_expr expr) {
    if (expr->dtype == SINTER_DTYPE_i64) return compile_int(c, expr->int_value);
    uint32_t result = new_register(c, expr->dtype);
    if (sinter_dtype_is_float(expr->dtype))
        c->code->registers.items[result].f = expr->float_value;
    else
        c->code->registers.items[result].i = expr->int_value;
    return result;
}

static uint32_t compile_expr(compiler *c, sinter_expr expr);

/* First of `count` consecutive operands. */
static uint32_t compile_list(compiler *c, const sinter_expr *items, uint32_t count) {
    uint32_t registers[SINTER_MAX_RANK];
    uint32_t *list =
        count <= SINTER_MAX_RANK ? registers : SINTER_NEW_ARRAY(c->arena, uint32_t, count);
    for (uint32_t i = 0; i < count; i++) list[i] = compile_expr(c, items[i]);
    uint32_t first = (uint32_t)c->code->operands.count;
    for (uint32_t i = 0; i < count; i++) sinter_vector_push(c->arena, &c->code->operands, list[i]);
    return first;
}

static sinter_code_op fast_op(sinter_scalar_function function, sinter_dtype dtype) {
    bool is_i64 = dtype == SINTER_DTYPE_i64, is_f32 = dtype == SINTER_DTYPE_f32;
    switch (function) {
    case SINTER_SCALAR_select:
        return SINTER_CODE_SELECT;
    case SINTER_SCALAR_add:
        return is_i64 ? SINTER_CODE_ADD_I64 : is_f32 ? SINTER_CODE_ADD_F32 : SINTER_CODE_CALL;
    case SINTER_SCALAR_sub:
        return is_i64 ? SINTER_CODE_SUB_I64 : is_f32 ? SINTER_CODE_SUB_F32 : SINTER_CODE_CALL;
    case SINTER_SCALAR_mul:
        return is_i64 ? SINTER_CODE_MUL_I64 : is_f32 ? SINTER_CODE_MUL_F32 : SINTER_CODE_CALL;
    case SINTER_SCALAR_lt:
        return is_i64 ? SINTER_CODE_LESS_I64 : SINTER_CODE_CALL;
    default:
        return SINTER_CODE_CALL;
    }
}

static uint32_t compile_expr(compiler *c, sinter_expr expr) {
    if (expr->kind == SINTER_LOOP_CONST) return compile_const(c, expr);
    if (expr->kind == SINTER_LOOP_VAR) return expr->var;
    sinter_code_instruction instruction = {.dtype = (uint8_t)expr->dtype};
    if (expr->kind == SINTER_LOOP_LOAD) {
        instruction.op = SINTER_CODE_LOAD;
        instruction.a = expr->buffer;
        instruction.b = compile_list(c, expr->arguments, expr->argument_count);
        instruction.c = c->multiplies;
    } else {
        uint32_t operands[3] = {0};
        assert(expr->argument_count <= 3);
        for (uint32_t i = 0; i < expr->argument_count; i++)
            operands[i] = compile_expr(c, expr->arguments[i]);
        instruction.a = operands[0];
        instruction.b = operands[1];
        instruction.c = operands[2];
        if (expr->kind == SINTER_LOOP_CAST) {
            instruction.op = SINTER_CODE_CAST;
            instruction.c = expr->saturate;
        } else if (expr->kind == SINTER_LOOP_INTRINSIC) {
            instruction.op = SINTER_CODE_INTRINSIC;
            instruction.function = (uint16_t)expr->intrinsic;
        } else {
            instruction.op = (uint8_t)fast_op(expr->function, expr->arguments[0]->dtype);
            instruction.function = (uint16_t)expr->function;
        }
    }
    instruction.result = new_register(c, expr->dtype);
    emit(c, instruction);
    return instruction.result;
}

static void compile_body(compiler *c, const sinter_loop_stmt *first);

static void compile_for(compiler *c, const sinter_loop_stmt *stmt) {
    uint32_t lower = compile_expr(c, stmt->lower), upper = compile_expr(c, stmt->upper);
    /* The bound keeps its value when the body assigns a variable that it was made of. */
    uint32_t limit = new_register(c, SINTER_DTYPE_i64);
    emit(c, (sinter_code_instruction){.op = SINTER_CODE_MOVE, .result = limit, .a = upper});
    emit(c, (sinter_code_instruction){.op = SINTER_CODE_MOVE, .result = stmt->var, .a = lower});
    uint32_t step = compile_int(c, stmt->step);
    uint32_t test =
        emit(c, (sinter_code_instruction){.op = SINTER_CODE_LOOP_TEST, .a = stmt->var, .b = limit});
    const bool multiplies = c->multiplies;
    c->multiplies |= stmt->axis == SINTER_AXIS_WGMMA;
    compile_body(c, stmt->body);
    c->multiplies = multiplies;
    emit(c, (sinter_code_instruction){
                .op = SINTER_CODE_LOOP_STEP, .result = test, .a = stmt->var, .b = step});
    land(c, test);
}

static void compile_if(compiler *c, const sinter_loop_stmt *stmt) {
    uint32_t condition = compile_expr(c, stmt->value);
    uint32_t skip =
        emit(c, (sinter_code_instruction){.op = SINTER_CODE_JUMP_UNLESS, .a = condition});
    compile_body(c, stmt->body);
    uint32_t leave = 0;
    if (stmt->else_body) leave = emit(c, (sinter_code_instruction){.op = SINTER_CODE_JUMP});
    land(c, skip);
    if (!stmt->else_body) return;
    compile_body(c, stmt->else_body);
    land(c, leave);
}

static void compile_while(compiler *c, const sinter_loop_stmt *stmt) {
    uint32_t start = here(c);
    uint32_t condition = compile_expr(c, stmt->value);
    uint32_t leave =
        emit(c, (sinter_code_instruction){.op = SINTER_CODE_JUMP_UNLESS, .a = condition});
    compile_body(c, stmt->body);
    emit(c, (sinter_code_instruction){.op = SINTER_CODE_JUMP, .result = start});
    land(c, leave);
}

/* ALLOC, BIND and TAKE: dims, then the offset. */
static void compile_memory(compiler *c, const sinter_loop_stmt *stmt) {
    const sinter_loop_buffer_info *info = &c->code->function->buffers.items[stmt->buffer];
    sinter_code_instruction instruction = {.op = stmt->kind == SINTER_LOOP_ALLOC ? SINTER_CODE_ALLOC
                                                 : stmt->kind == SINTER_LOOP_TAKE
                                                     ? SINTER_CODE_TAKE
                                                     : SINTER_CODE_BIND,
                                           .a = stmt->buffer,
                                           .result = stmt->source,
                                           .stmt = stmt};
    instruction.b = compile_list(c, info->dims, info->rank);
    if (stmt->value) instruction.c = compile_expr(c, stmt->value);
    emit(c, instruction);
}

static uint32_t compile_apply(compiler *c, sinter_scalar_function function, sinter_dtype dtype,
                              uint32_t a, uint32_t b) {
    sinter_code_instruction instruction = {.op = (uint8_t)fast_op(function, dtype),
                                           .dtype = (uint8_t)dtype,
                                           .function = (uint16_t)function,
                                           .a = a,
                                           .b = b,
                                           .result = new_register(c, dtype)};
    emit(c, instruction);
    return instruction.result;
}

/* Registers [0, count) become one, neighbours at the largest distance first. */
static void compile_tree(compiler *c, sinter_scalar_function function, sinter_dtype dtype,
                         uint32_t *registers, int64_t count) {
    for (int64_t half = count / 2; half >= 1; half /= 2)
        for (int64_t i = 0; i < half; i++)
            registers[i] = compile_apply(c, function, dtype, registers[i], registers[i + half]);
}

static void compile_reduce(compiler *c, const sinter_loop_stmt *stmt) {
    enum { GROUP = 32 };
    const sinter_loop_buffer_info *info = &c->code->function->buffers.items[stmt->buffer];
    int64_t count = 1;
    sinter_loop_is_const_int(info->dims[0], &count);
    uint32_t *registers = SINTER_NEW_ARRAY(c->arena, uint32_t, (size_t)count);
    for (int64_t i = 0; i < count; i++) {
        const uint32_t index = compile_int(c, i);
        sinter_code_instruction load = {.op = SINTER_CODE_LOAD,
                                        .dtype = (uint8_t)info->dtype,
                                        .a = stmt->buffer,
                                        .b = (uint32_t)c->code->operands.count,
                                        .result = new_register(c, info->dtype)};
        sinter_vector_push(c->arena, &c->code->operands, index);
        emit(c, load);
        registers[i] = load.result;
    }
    const int64_t group = count < GROUP ? count : GROUP;
    for (int64_t i = 0; i < count / group; i++) {
        compile_tree(c, stmt->combine, info->dtype, registers + i * group, group);
        registers[i] = registers[i * group];
    }
    compile_tree(c, stmt->combine, info->dtype, registers, count / group);
    const uint32_t result = compile_apply(c, stmt->combine, info->dtype, stmt->var, registers[0]);
    emit(c, (sinter_code_instruction){.op = SINTER_CODE_MOVE, .result = stmt->var, .a = result});
}

static void compile_stmt(compiler *c, const sinter_loop_stmt *stmt) {
    sinter_code_instruction instruction = {.stmt = stmt};
    switch (stmt->kind) {
    case SINTER_LOOP_FOR:
        compile_for(c, stmt);
        return;
    case SINTER_LOOP_IF:
        compile_if(c, stmt);
        return;
    case SINTER_LOOP_WHILE:
        compile_while(c, stmt);
        return;
    case SINTER_LOOP_ALLOC:
    case SINTER_LOOP_BIND:
    case SINTER_LOOP_TAKE:
        compile_memory(c, stmt);
        return;
    case SINTER_LOOP_COMMENT:
    case SINTER_LOOP_PREFETCH:
    case SINTER_LOOP_FENCE:
    case SINTER_LOOP_BARRIER: /* threads run one after the other up to each */
        return;
    case SINTER_LOOP_WARPS: /* pieces follow each other */
        compile_body(c, stmt->body);
        return;
    case SINTER_LOOP_ARRIVE:
    case SINTER_LOOP_AWAIT:
        instruction.op = SINTER_CODE_ARRIVE;
        instruction.a = stmt->buffer;
        instruction.c = c->code->function->buffers.items[stmt->buffer].arrivals;
        if (stmt->kind == SINTER_LOOP_AWAIT) {
            instruction.op = SINTER_CODE_AWAIT;
            instruction.c = compile_expr(c, stmt->value);
        }
        break;
    case SINTER_LOOP_BOX:
        instruction.op = SINTER_CODE_BOX;
        instruction.a = stmt->buffer;
        break;
    case SINTER_LOOP_COMMIT:
        emit(c, (sinter_code_instruction){.op = SINTER_CODE_COMMIT, .b = stmt->products});
        return;
    case SINTER_LOOP_WAIT:
        emit(c, (sinter_code_instruction){
                    .op = SINTER_CODE_WAIT, .a = stmt->pending, .b = stmt->products});
        return;
    case SINTER_LOOP_REDUCE:
        compile_reduce(c, stmt);
        return;
    case SINTER_LOOP_STORE:
        instruction.op = SINTER_CODE_STORE;
        instruction.a = stmt->buffer;
        instruction.c = compile_expr(c, stmt->value);
        instruction.function = (uint16_t)stmt->combine;
        instruction.result = c->multiplies;
        break;
    case SINTER_LOOP_DECLARE:
    case SINTER_LOOP_ASSIGN:
        instruction.op = SINTER_CODE_MOVE;
        instruction.result = stmt->var;
        instruction.a = compile_expr(c, stmt->value);
        break;
    case SINTER_LOOP_FREE:
        instruction.op = SINTER_CODE_FREE;
        instruction.a = stmt->buffer;
        break;
    case SINTER_LOOP_CALL_KERNEL:
        instruction.op = SINTER_CODE_CALL_KERNEL;
        break;
    case SINTER_LOOP_EXCHANGE: /* there is nobody to exchange with */
    case SINTER_LOOP_FAIL:
        instruction.op = SINTER_CODE_FAIL;
        break;
    }
    instruction.b = compile_list(c, stmt->arguments, stmt->argument_count);
    emit(c, instruction);
}

static void compile_body(compiler *c, const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) compile_stmt(c, stmt);
}

static bool over_parameters(const sinter_loop_function *function, sinter_expr expr) {
    if (expr->kind == SINTER_LOOP_VAR) return function->vars.items[expr->var].is_parameter;
    for (uint32_t i = 0; i < expr->argument_count; i++)
        if (!over_parameters(function, expr->arguments[i])) return false;
    return true;
}

/* The dims of buffer parameters, where they are known on entry. */
static void compile_parameters(compiler *c) {
    const sinter_loop_function *function = c->code->function;
    for (sinter_loop_buffer i = 1; i < function->buffers.count; i++) {
        const sinter_loop_buffer_info *info = &function->buffers.items[i];
        bool is_parameter = info->scope <= SINTER_SCOPE_CONSTANT;
        for (uint32_t k = 0; is_parameter && k < info->rank; k++)
            is_parameter = over_parameters(function, info->dims[k]);
        if (!is_parameter) continue;
        uint32_t dims = compile_list(c, info->dims, info->rank);
        emit(c, (sinter_code_instruction){.op = SINTER_CODE_PARAMETER, .a = i, .b = dims});
    }
}

static compiler begin(sinter_arena *arena, const sinter_loop_function *function) {
    compiler c = {.arena = arena, .code = SINTER_NEW(arena, sinter_code)};
    c.code->function = function;
    sinter_map_init(&c.constants, arena);
    for (size_t i = 0; i < function->vars.count; i++)
        new_register(&c, function->vars.items[i].dtype);
    return c;
}

sinter_code *sinter_code_compile(sinter_arena *arena, const sinter_loop_function *function) {
    compiler c = begin(arena, function);
    compile_parameters(&c);
    compile_body(&c, function->body);
    emit(&c, (sinter_code_instruction){.op = SINTER_CODE_END});
    return c.code;
}

sinter_code *sinter_code_compile_expr(sinter_arena *arena, const sinter_loop_function *function,
                                      sinter_expr expr, uint32_t *out_register) {
    compiler c = begin(arena, function);
    *out_register = compile_expr(&c, expr);
    emit(&c, (sinter_code_instruction){.op = SINTER_CODE_END});
    return c.code;
}
