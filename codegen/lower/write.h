/* Short forms in which the kernel rules of algorithms (sorting, sampling, transforms, ...) are written: scalar text over
 * expressions named a, b, c, ..., named values, mutable variables, loads and stores of few indices, and dims that a small
 * kernel finds out before the node runs. Private to codegen/lower/; everything appends at the kernel's position.
 * Test: tests/ops/ */
#pragma once
#include "codegen/lower/lower.h"

/* Operands are a, b, c, ... in the text; numbers take the type of what they meet, of the first operand otherwise. */
#define FORMULA(kernel, text, ...)                                                                 \
    sinter_write_formula((kernel), (text), (const sinter_expr[]){__VA_ARGS__},                     \
                         sizeof((const sinter_expr[]){__VA_ARGS__}) / sizeof(sinter_expr))
sinter_expr sinter_write_formula(sinter_kernel *kernel, const char *text, const sinter_expr *values, size_t count);

sinter_expr sinter_write_int(sinter_kernel *kernel, int64_t value);                       /* i64 */
sinter_expr sinter_write_number(sinter_kernel *kernel, sinter_dtype dtype, double value); /* of any dtype */
sinter_expr sinter_write_cast(sinter_kernel *kernel, sinter_expr value, sinter_dtype dtype);
/* A let: whoever uses the result does not repeat its computation. Constants and variables stay what they are. */
sinter_expr sinter_write_let(sinter_kernel *kernel, const char *name, sinter_expr value);
/* Mutable variables. */
sinter_loop_var sinter_write_var(sinter_kernel *kernel, const char *name, sinter_expr start);
sinter_expr sinter_write_get(sinter_kernel *kernel, sinter_loop_var var);
void sinter_write_set(sinter_kernel *kernel, sinter_loop_var var, sinter_expr value);
void sinter_write_add(sinter_kernel *kernel, sinter_loop_var var, sinter_expr value); /* var = var + value */

void sinter_write_if(sinter_kernel *kernel, sinter_expr condition);
void sinter_write_else(sinter_kernel *kernel); /* ends the if and begins its other side */
void sinter_write_while(sinter_kernel *kernel, sinter_expr condition);
sinter_expr sinter_write_for(sinter_kernel *kernel, const char *name, sinter_expr first, sinter_expr end);
void sinter_write_end(sinter_kernel *kernel);
/* Stops the run with SINTER_ABI_BAD_INPUT unless the condition holds; %0 in the text is the argument. */
void sinter_write_check(sinter_kernel *kernel, sinter_expr condition, const char *message, sinter_expr argument);

/* Stops the run, before the kernel, unless axis i of a is as long as axis j of b (b 0: as j): what inference could not
 * prove, but indices rely on. */
void sinter_write_same_size(sinter_kernel *kernel, sinter_node node, sinter_value a, uint32_t i, sinter_value b,
                            uint32_t j);

sinter_expr sinter_write_load1(sinter_kernel *kernel, sinter_loop_buffer buffer, sinter_expr i);
sinter_expr sinter_write_load2(sinter_kernel *kernel, sinter_loop_buffer buffer, sinter_expr i, sinter_expr j);
void sinter_write_store1(sinter_kernel *kernel, sinter_loop_buffer buffer, sinter_expr i, sinter_expr value);
void sinter_write_store2(sinter_kernel *kernel, sinter_loop_buffer buffer, sinter_expr i, sinter_expr j,
                         sinter_expr value);
/* Thread-local scratch of constant size. */
sinter_loop_buffer sinter_write_stack(sinter_kernel *kernel, const char *name, sinter_dtype dtype, int64_t count);
/* Workspace scratch whose dims are dims of the graph. */
sinter_loop_buffer sinter_write_scratch(sinter_kernel *kernel, const char *name, sinter_dtype dtype, uint32_t rank,
                                        const sinter_dim *dims);

/* Constant tables (at least one element, so that they can be read) in the weights of the program. */
sinter_loop_buffer sinter_write_table_ints(sinter_kernel *kernel, const char *name, const int64_t *items, size_t count);
sinter_loop_buffer sinter_write_table(sinter_kernel *kernel, const char *name, const sinter_tensor *tensor);

/* ---- the node at hand ---- */
sinter_value sinter_write_operand(const sinter_kernel *kernel, sinter_node node, uint32_t i);
sinter_value sinter_write_result(const sinter_kernel *kernel, sinter_node node, uint32_t i);
sinter_type sinter_write_type(const sinter_kernel *kernel, sinter_value value);
/* The single element of an operand, in a dtype; `otherwise` where the operand is absent. */
sinter_expr sinter_write_scalar(sinter_kernel *kernel, sinter_node node, uint32_t operand, sinter_dtype dtype,
                                double otherwise);
/* Element i of a small integer operand as i64: a number where it is known, a dim, or a load. */
sinter_expr sinter_write_int_operand(sinter_kernel *kernel, sinter_value value, uint32_t i);
/* Element count of a rank-1 operand that says axes, bounds or sizes; reports and gives 0 where it is no number. */
uint32_t sinter_write_static_count(const sinter_kernel *kernel, sinter_node node, sinter_value value);
/* The index of a row-major position in a value. */
void sinter_write_unflatten(sinter_kernel *kernel, sinter_value value, sinter_expr position, sinter_expr *out_index);
/* Loops over all axes of a value but one: fills index[], leaving index[axis]; close with rank - 1 ends. */
void sinter_write_begin_lines(sinter_kernel *kernel, sinter_value value, uint32_t axis, sinter_expr *out_index);

/* A mark for each of `rank` axes, on the stack: 1 where an element of the operand `axes` names it, else 0. all_if_empty: 1 for all where
 * there is no element. An axis that does not exist ends the run. Statement level. */
sinter_loop_buffer sinter_write_axes(sinter_kernel *kernel, const char *name, sinter_node node, sinter_value axes, uint32_t rank,
                                     bool all_if_empty);

/* ---- dims that only the run knows: a DIMS rule writes a kernel that stores them, then binds them ---- */
typedef struct sinter_late_dims {
    sinter_kernel kernel;
    sinter_loop_buffer host, sizes; /* i64 [count], as the host and as the kernel see it */
    uint32_t count;
} sinter_late_dims;
void sinter_late_begin(sinter_late_dims *late, sinter_lower *lower, sinter_node node, uint32_t count);
void sinter_late_set(sinter_late_dims *late, uint32_t i, sinter_expr size);
/* The host runs the kernel and reads the sizes into variables, which sinter_late_bind gives to dims. */
bool sinter_late_end(sinter_late_dims *late);
/* Dim `axis` of value is sizes[i], unless it is known already. */
void sinter_late_bind(sinter_late_dims *late, sinter_value value, uint32_t axis, uint32_t i);

/* ---- order (sort.c): NaN is above every number and equal to itself, as the evaluator has it ---- */
/* a < b */
sinter_expr sinter_write_less(sinter_kernel *kernel, sinter_expr a, sinter_expr b);
/* Whether item b must come before item a; may append statements. Items are i64 expressions. */
typedef sinter_expr (*sinter_sort_before)(sinter_kernel *kernel, void *user, sinter_expr a, sinter_expr b);
/* Sorts order[0, count) (i64) stably; `spare` has the same size. */
void sinter_write_sort(sinter_kernel *kernel, sinter_loop_buffer order, sinter_loop_buffer spare, sinter_expr count,
                       sinter_sort_before before, void *user);
