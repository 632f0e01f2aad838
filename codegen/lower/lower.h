/* Lowering: graph -> loop IR, target-blind. Private to codegen/lower/.
 *
 * The host function is built by walking the graph; a node, or a `group` of nodes, becomes one kernel. Inside a kernel
 * values are *pulled*: sinter_lower_element(kernel, value, index) gives the expression of one element. A value made
 * inside the kernel by an op with an element rule (elementwise, views, gathers) is computed in place at that index; any
 * other value is loaded from a buffer parameter. So fusion is nothing but a choice of which values have buffers.
 *
 * codegen/lower/lower.def says how each op is lowered:
 *   ELEMENT  sinter_expr sinter_lower_<rule>(kernel, node, result, index): one element of the result
 *   KERNEL   bool sinter_lower_<rule>(kernel, node): statements that give every element of every result to
 *            sinter_lower_store, which applies the elementwise consumers that live in the same group
 *   HOST     bool sinter_lower_<rule>(lower, node): host statements (control flow, late shapes, aliases)
 *   CHECK    bool sinter_lower_check_<rule>(lower, node): host checks before the node runs
 *   DIMS     bool sinter_lower_<rule>(lower, node): before the kernel, binds those dims of the results that only the
 *            node knows (symbols of NODE origin), e.g. by a kernel that counts
 * Elementwise rows of ops.def need no row here: their scalar body is the rule. Composite ops are gone by then: the
 * `decompose` pass runs before.
 *
 * Safety: whatever the data says, no access leaves its buffer: indices read from tensors are checked (FAIL) or clamped,
 * and shape relations that inference could not prove are checked on the host before the kernel is called.
 * Test: tests/codegen/lower/, tests/ops/, the ONNX suite. */
#pragma once
#include "codegen/compile.h"

typedef enum sinter_lower_kind { SINTER_LOWER_NONE, SINTER_LOWER_ELEMENT, SINTER_LOWER_KERNEL, SINTER_LOWER_HOST } sinter_lower_kind;

/* A value that has no memory of its own: its elements lie in another value, each that much further along the axes. */
typedef struct sinter_lower_place {
    sinter_value whole;      /* has memory, and no place itself */
    const sinter_dim *first; /* by axis: values and wholes have the same rank */
    bool is_run;             /* its elements follow each other: it has a buffer, which is an alias */
    sinter_use joined;       /* the operand of a concatenation that it is written for; node 0: it was cut out of the whole */
} sinter_lower_place;

/* An exchange that ends at the node. */
typedef struct sinter_lower_begun {
    sinter_node wait;
    sinter_loop_exchange words;
} sinter_lower_begun;

typedef struct sinter_lower {
    sinter_module *module;
    sinter_dim_table *dims;
    sinter_diag *diag;
    sinter_loop_program *program;
    sinter_loop_builder host;
    sinter_map buffers;      /* value -> host buffer */
    sinter_map symbols;      /* dim symbol id -> host variable */
    sinter_map kernel_texts; /* hash of a kernel's text -> kernel index + 1, to share equal kernels */
    sinter_map output_of;    /* value -> model output index + 1, where its own buffer is the output's */
    sinter_map place_of;     /* value -> index of its place, where it has one */
    SINTER_VECTOR(sinter_lower_place) places;
    sinter_map constants;    /* address of a constant's data -> index in the program's constants */
    sinter_map transformed;  /* how a constant was transformed for Winograd's convolutions -> index, likewise */
    SINTER_VECTOR(sinter_text) locations; /* by kernel: of the nodes that share it, for its comment */
    struct {
        sinter_node node;
        uint32_t index;
        sinter_dim start;
    } piece; /* the last that sinter_lower_piece_start was asked for */
    sinter_node node; /* which the host's checks are for */
    uint32_t output_count;
    uint32_t exchange_count; /* so far */
    SINTER_VECTOR(sinter_lower_begun) begun; /* exchanges that are under way */
    sinter_arena scratch;
    bool failed;             /* an error was reported; lowering goes on to report the others */
} sinter_lower;

/* An element that has a name: value at index, valid while the block it was declared in is open. */
typedef struct sinter_kernel_element {
    sinter_value value;
    const sinter_expr *index;
    const struct sinter_loop_open *block;
    sinter_expr element;
} sinter_kernel_element;

/* Loops over a value go through these of its elements only: from `first` on, `count` of them, along each axis. */
typedef struct sinter_kernel_part {
    sinter_value value; /* 0: none */
    sinter_expr first[SINTER_MAX_RANK], count[SINTER_MAX_RANK];
} sinter_kernel_part;

/* Units of what lowering cuts for threads: so many divide well among them. */
enum { SINTER_LOWER_UNITS = 8 };
#define SINTER_KERNEL_BETWEEN_MAX 8
/* A value that this kernel makes and reads, in scratch. [n, y, x, channel]: scratch [y, x, channel] has it for one n, with the zeros
 * around it that a window reads. Rows of a matrix, [..., m, n]: scratch [m, n] has those from first_row on, of one matrix. */
typedef struct sinter_kernel_between {
    sinter_value value;
    sinter_loop_buffer buffer;
    int64_t top, left;     /* zeros before the first row and column */
    sinter_expr row;       /* the only one that scratch has; NULL: it has all */
    sinter_expr first_row; /* of a matrix; NULL: it is none */
    bool is_made;          /* and can be read */
} sinter_kernel_between;

typedef struct sinter_kernel {
    sinter_lower *lower;
    sinter_loop_builder build; /* the kernel's function */
    sinter_map inside;         /* node -> 1: computed in this kernel */
    sinter_map parameters;     /* value -> kernel buffer */
    sinter_map windows;        /* kernel buffer that is a whole -> value whose elements are meant */
    sinter_map symbols;        /* dim symbol id -> kernel scalar parameter */
    sinter_map checked;        /* (node, operand) whose broadcast is checked already */
    SINTER_VECTOR(sinter_loop_buffer) host_buffers; /* arguments, in parameter order */
    SINTER_VECTOR(sinter_expr) host_scalars;
    SINTER_VECTOR(sinter_value) outputs; /* values this kernel must store */
    sinter_value bound_value;            /* element known right now (the epilogue's operand) ... */
    const sinter_expr *bound_index;
    sinter_expr bound_element;
    bool may_fail;                       /* what it computes depends on numbers that it checks */
    bool is_quantized;                   /* has conversions between floats and quantized integers inside */
    const sinter_dim *broadcast_dims; /* dims of the result whose index is being broadcast, or NULL */
    SINTER_VECTOR(sinter_kernel_element) elements; /* computed already, in blocks that may still be open */
    sinter_kernel_part part;
    sinter_kernel_between between[SINTER_KERNEL_BETWEEN_MAX];
    uint32_t between_count;
    struct {
        sinter_loop_var number; /* of the host; 0: the kernel runs once */
        sinter_expr count;
    } calls;
} sinter_kernel;

/* ---- rules ---- */
typedef sinter_expr (*sinter_lower_element_rule)(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                                 const sinter_expr *index);
typedef bool (*sinter_lower_kernel_rule)(sinter_kernel *kernel, sinter_node node);
typedef bool (*sinter_lower_host_rule)(sinter_lower *lower, sinter_node node);
#define LOWER_ELEMENT(op, rule)                                                                                        \
    sinter_expr sinter_lower_##rule(sinter_kernel *kernel, sinter_node node, uint32_t result, const sinter_expr *index);
#define LOWER_KERNEL(op, rule) bool sinter_lower_##rule(sinter_kernel *kernel, sinter_node node);
#define LOWER_HOST(op, rule) bool sinter_lower_##rule(sinter_lower *lower, sinter_node node);
#define LOWER_DIMS(op, rule) bool sinter_lower_##rule(sinter_lower *lower, sinter_node node);
#define LOWER_CHECK(op, rule) bool sinter_lower_check_##rule(sinter_lower *lower, sinter_node node);
#include "codegen/lower/lower.def"
#undef LOWER_ELEMENT
#undef LOWER_KERNEL
#undef LOWER_HOST
#undef LOWER_DIMS
#undef LOWER_CHECK
/* The rule of elementwise rows: their scalar body. */
sinter_expr sinter_lower_elementwise(sinter_kernel *kernel, sinter_node node, uint32_t result, const sinter_expr *index);
/* The rules an op has, NULL for those it lacks; the kind is what it does when it stands alone: HOST before KERNEL before
 * ELEMENT; NONE where the op can't be lowered. */
sinter_lower_kind sinter_lower_find_rule(sinter_op op, sinter_lower_element_rule *out_element,
                                         sinter_lower_kernel_rule *out_kernel, sinter_lower_host_rule *out_host);

/* The DIMS rule of an op, NULL where it has none. */
sinter_lower_host_rule sinter_lower_find_dims_rule(sinter_op op);
/* The CHECK rule of an op, NULL where it has none: what the host makes sure of before the node runs. */
sinter_lower_host_rule sinter_lower_find_check_rule(sinter_op op);
/* Runs it, and checks dims of results that may be negative. */
bool sinter_lower_check_node(sinter_lower *lower, sinter_node node);
/* No buffer of the host whose dims are numbers is larger than what a process can address; an error otherwise. */
bool sinter_lower_check_sizes(sinter_lower *lower);
/* All symbols in the dim have their numbers by now. */
bool sinter_lower_is_bound(const sinter_lower *lower, sinter_dim dim);
/* What inference took on trust of the operands' dims, and what is declared of the results, holds: part of the above. */
bool sinter_lower_check_trusted(sinter_lower *lower, sinter_node node);

/* ---- host level ---- */
/* Whether the symbol is the dim of `value` that its node decides (NODE origin), not bound yet. */
bool sinter_lower_is_late_dim(const sinter_lower *lower, sinter_dim dim, sinter_value value);
/* How the ranks that a node is cut over (`over`) gather what each of them has of this type: pieces one after the other. False after
 * an error. */
bool sinter_lower_gather_words(sinter_lower *lower, sinter_node node, sinter_dtype dtype, sinter_loop_exchange *out_words);
bool sinter_lower_region(sinter_lower *lower, sinter_region region); /* every node but the yield */
/* Error at the node, naming op, dtype and shapes; returns false and remembers that lowering failed. */
bool sinter_lower_error(sinter_lower *lower, sinter_node node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A dim as an expression of the host function; symbols must be bound by now. */
sinter_expr sinter_lower_host_dim(sinter_lower *lower, sinter_dim dim);
/* The buffer that holds a value, made (as a heap buffer or a model output) and ALLOCated where it has none yet. */
sinter_loop_buffer sinter_lower_host_buffer(sinter_lower *lower, sinter_value value);
void sinter_lower_set_buffer(sinter_lower *lower, sinter_value value, sinter_loop_buffer buffer);
/* A heap buffer of given dims, ALLOCated here. */
sinter_loop_buffer sinter_lower_host_scratch(sinter_lower *lower, const char *name, sinter_dtype dtype, uint32_t rank,
                                             const sinter_expr *dims);
/* A constant of the program; equal data (the same memory) is stored once. */
sinter_loop_buffer sinter_lower_host_constant(sinter_lower *lower, const char *name, const sinter_tensor *tensor);
/* value shares `source`'s memory, with its own shape (reshape, identity). */
void sinter_lower_host_alias(sinter_lower *lower, sinter_value value, sinter_value source);
/* Decides which values of the region have places in others, before its nodes are lowered (place.c). */
void sinter_lower_place_values(sinter_lower *lower, sinter_region region);
/* NULL: the value has memory of its own. Valid until the next region is entered. */
const sinter_lower_place *sinter_lower_find_place(const sinter_lower *lower, sinter_value value);
/* The value was cut out of one that it lies in. */
bool sinter_lower_is_cut(const sinter_lower *lower, sinter_value value);
/* Where result `index` of a split begins along its axis; 0: only the run knows. Cheap for one result after the other. */
sinter_dim sinter_lower_piece_start(sinter_lower *lower, sinter_node node, uint32_t index);
/* The operand was written where the concatenation wants it. */
bool sinter_lower_is_joined(const sinter_lower *lower, sinter_node concat, uint32_t operand);
/* Copies source into target (same element count) by a kernel. */
void sinter_lower_host_copy(sinter_lower *lower, sinter_loop_buffer target, sinter_loop_buffer source);
/* Binds a symbol from a host expression (a late dim), declaring a variable. */
void sinter_lower_bind_symbol(sinter_lower *lower, sinter_dim symbol, sinter_expr value);
/* After a value's buffer is written: loads the CONTENT symbols that it defines. */
void sinter_lower_bind_content(sinter_lower *lower, sinter_value value);
/* Of the node that is being lowered; NULL: not said. */
const char *sinter_lower_location(const sinter_lower *lower);
/* if !(condition) fail. Conditions that are constant true vanish. */
void sinter_lower_host_check(sinter_lower *lower, sinter_expr condition, int32_t code, const char *message,
                             const sinter_expr *arguments, uint32_t count);

/* ---- kernels ---- */
/* begin; emit statements through kernel->build; end adds the call (sharing an equal kernel). results of `node` (or of the
 * group) become outputs. */
void sinter_kernel_begin(sinter_kernel *kernel, sinter_lower *lower, sinter_node node);
/* Computed in this kernel; false for 0 too. */
bool sinter_kernel_is_inside(const sinter_kernel *kernel, sinter_node node);
/* A node of many operands or results has several kernels, each of so many nests: a compiler looks at a function as a whole. The next
 * one of the node begins; groups have one kernel, which goes on. False after an error. */
enum { SINTER_KERNEL_NESTS = 64 };
bool sinter_kernel_begin_next(sinter_kernel *kernel, sinter_node node);
bool sinter_kernel_end(sinter_kernel *kernel, sinter_node node);
/* The same for a kernel that is not the direct image of one node (counting passes, copies): no outputs are assumed. */
void sinter_kernel_begin_named(sinter_kernel *kernel, sinter_lower *lower, const char *name);
/* The host calls the kernel `count` times (of the host), one after the other. The number of the call, of the host as well: what
 * depends on it reaches the kernel as scalars. */
sinter_expr sinter_kernel_call_often(sinter_kernel *kernel, sinter_expr count);
/* A host buffer as parameter of this kernel. */
sinter_loop_buffer sinter_kernel_bind_buffer(sinter_kernel *kernel, sinter_loop_buffer host_buffer, sinter_loop_scope scope,
                                             const char *name);
/* A host expression as i64 scalar parameter. */
sinter_expr sinter_kernel_bind_scalar(sinter_kernel *kernel, sinter_expr host_value, const char *name);
/* The scratch that is there for a value; NULL: none. */
const sinter_kernel_between *sinter_kernel_find_between(const sinter_kernel *kernel, sinter_value value);
/* The parameter that holds a value (input, or output where this kernel makes it). */
sinter_loop_buffer sinter_kernel_buffer(sinter_kernel *kernel, sinter_value value);
/* y, an output of this kernel that it has not touched yet, holds what data does when the kernel begins: by a call before it, which
 * need not run where both are in one memory. False: data is computed in this kernel, there is nothing to copy. */
bool sinter_kernel_start_as_copy(sinter_kernel *kernel, sinter_value y, sinter_value data);
/* The value's tensor where it is constant, also behind a group's argument; NULL otherwise. */
const sinter_tensor *sinter_kernel_constant(sinter_kernel *kernel, sinter_value value);
/* Host heap scratch visible in this kernel (inout). */
sinter_loop_buffer sinter_kernel_scratch(sinter_kernel *kernel, const char *name, sinter_dtype dtype, uint32_t rank,
                                         const sinter_expr *host_dims);
sinter_expr sinter_kernel_dim(sinter_kernel *kernel, sinter_dim dim);
/* Dim i of a value's type, negative i from the end. */
sinter_expr sinter_kernel_dim_of(sinter_kernel *kernel, sinter_value value, int i);

/* Elements of a vector of axes, which may be a scalar: 1. */
sinter_expr sinter_kernel_axis_count(sinter_kernel *kernel, sinter_value axes);

/* One element of value at index (rank of it), in its compute dtype. */
sinter_expr sinter_lower_element(sinter_kernel *kernel, sinter_value value, const sinter_expr *index);
/* The same with index of a broader result, by ONNX broadcasting. */
sinter_expr sinter_lower_element_broadcast(sinter_kernel *kernel, sinter_value value, const sinter_expr *index,
                                           uint32_t rank);
/* Operand i of a node, broadcast to the node's result; unproven relations get a host check. */
sinter_expr sinter_lower_operand(sinter_kernel *kernel, sinter_node node, uint32_t operand, const sinter_expr *index,
                                 const sinter_type *result);
/* element 0 of a scalar or one-element tensor. */
sinter_expr sinter_lower_scalar(sinter_kernel *kernel, sinter_value value);
/* Gives element `index` of `value` (a result of the node being lowered): stored where the value is an output, and
 * carried through the elementwise consumers inside the group to the outputs that depend on it. */
void sinter_lower_store(sinter_kernel *kernel, sinter_value value, const sinter_expr *index, sinter_expr element);
/* Element of an output of this kernel, to its buffer or to the scratch that is there for it. */
void sinter_kernel_store_output(sinter_kernel *kernel, sinter_value output, const sinter_expr *index, sinter_expr element);
/* Raw store with conversion from the compute dtype to the buffer's. */
void sinter_kernel_store(sinter_kernel *kernel, sinter_loop_buffer buffer, const sinter_expr *index, sinter_expr element);
sinter_expr sinter_kernel_load(sinter_kernel *kernel, sinter_loop_buffer buffer, const sinter_expr *index);
/* Loops over all elements of a type's shape: fills index[rank]; close with rank sinter_loop_end (kernel_end_loops). */
void sinter_kernel_begin_loops(sinter_kernel *kernel, sinter_value shape_of, sinter_expr *out_index);
void sinter_kernel_end_loops(sinter_kernel *kernel, uint32_t count);
/* for `name` in 0..upper serial; returns the index expression. */
sinter_expr sinter_kernel_begin_for(sinter_kernel *kernel, const char *name, sinter_expr upper);
/* A reduction step by step: the accumulator declared, one element combined into it, the result. count: elements reduced. */
sinter_loop_var sinter_lower_reduce_begin(sinter_kernel *kernel, sinter_node node);
void sinter_lower_reduce_step(sinter_kernel *kernel, sinter_node node, sinter_loop_var accumulator, sinter_expr element,
                              sinter_expr count);
sinter_expr sinter_lower_reduce_end(sinter_kernel *kernel, sinter_node node, sinter_loop_var accumulator, sinter_expr count);
/* The kernel rule of a node that has no element rule: what a group is lowered around. NULL: it is pulled. */
sinter_lower_kernel_rule sinter_lower_find_anchor(const sinter_module *module, sinter_node node);
/* A group in which a window reads what another node with a kernel rule makes: by rows, through scratch. false: it is not. */
bool sinter_lower_is_streamed(sinter_kernel *kernel, sinter_region region);
bool sinter_lower_streamed(sinter_kernel *kernel, sinter_region region);
/* An anchor that is a convolution of one tap over what elementwise nodes of its group make: by rows, too. false: it is not. */
bool sinter_lower_is_staged(sinter_kernel *kernel, sinter_node anchor);
bool sinter_lower_staged(sinter_kernel *kernel, sinter_node anchor);
/* A group of reductions over the same last axes and of elementwise nodes; false: the group is not of this kind. Of these nodes alone
 * where `nodes` is not NULL: by node, whether the rows are made by it; the kernel's outputs are theirs then. */
bool sinter_lower_is_rows(sinter_kernel *kernel, sinter_region region);
bool sinter_lower_rows(sinter_kernel *kernel, sinter_region region, const bool *nodes);
/* A group of a matrix product, of rows that are made of it, and of the product of these: a block of rows at a time, through scratch.
 * false: it is not. */
bool sinter_lower_is_blocked(sinter_kernel *kernel, sinter_region region);
bool sinter_lower_blocked(sinter_kernel *kernel, sinter_region region);
/* value at index has this element from here to the end of the open block. */
void sinter_lower_set_element(sinter_kernel *kernel, sinter_value value, const sinter_expr *index, sinter_expr element);
/* A parsed scalar text over expressions ("max(acc, x)", names acc x): constants take the dtype of what they meet, `fallback`
 * where all are constants. Result in its own dtype. */
sinter_expr sinter_lower_scalar_text(sinter_kernel *kernel, const char *text, const sinter_string *names,
                                     const sinter_expr *values, size_t count, sinter_dtype fallback);
/* Negative indices count from the end; index expression i64 of any integer element, plus `size` where negative. */
sinter_expr sinter_kernel_wrap_index(sinter_kernel *kernel, sinter_expr element, sinter_expr size);
/* FAIL with SINTER_ABI_OUT_OF_RANGE unless 0 <= index < size; the message has the op's name and what the number is. Statement level only. */
void sinter_kernel_check_range(sinter_kernel *kernel, sinter_node node, const char *what, sinter_expr index, sinter_expr size);
void sinter_kernel_check_index(sinter_kernel *kernel, sinter_node node, sinter_expr index, sinter_expr size);
