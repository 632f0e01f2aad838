/* The table of lowering rules, expanded from lower.def. Test: tests/codegen/lower/ */
#include "codegen/lower/lower.h"

/* Each table takes the rows of one kind; the other kinds expand to nothing. */
#define LOWER_ELEMENT(op, rule)
#define LOWER_KERNEL(op, rule)
#define LOWER_HOST(op, rule)
#define LOWER_DIMS(op, rule)
#define LOWER_CHECK(op, rule)

#undef LOWER_ELEMENT
#define LOWER_ELEMENT(op, rule) [SINTER_OP_##op] = sinter_lower_##rule,
static const sinter_lower_element_rule element_rules[SINTER_OP_COUNT] = {
#include "codegen/lower/lower.def"
};
#undef LOWER_ELEMENT
#define LOWER_ELEMENT(op, rule)

#undef LOWER_KERNEL
#define LOWER_KERNEL(op, rule) [SINTER_OP_##op] = sinter_lower_##rule,
static const sinter_lower_kernel_rule kernel_rules[SINTER_OP_COUNT] = {
#include "codegen/lower/lower.def"
};
#undef LOWER_KERNEL
#define LOWER_KERNEL(op, rule)

#undef LOWER_HOST
#define LOWER_HOST(op, rule) [SINTER_OP_##op] = sinter_lower_##rule,
static const sinter_lower_host_rule host_rules[SINTER_OP_COUNT] = {
#include "codegen/lower/lower.def"
};
#undef LOWER_HOST
#define LOWER_HOST(op, rule)

#undef LOWER_DIMS
#define LOWER_DIMS(op, rule) [SINTER_OP_##op] = sinter_lower_##rule,
static const sinter_lower_host_rule dims_rules[SINTER_OP_COUNT] = {
#include "codegen/lower/lower.def"
};
#undef LOWER_DIMS
#define LOWER_DIMS(op, rule)

#undef LOWER_CHECK
#define LOWER_CHECK(op, rule) [SINTER_OP_##op] = sinter_lower_check_##rule,
static const sinter_lower_host_rule check_rules[SINTER_OP_COUNT] = {
#include "codegen/lower/lower.def"
};
#undef LOWER_CHECK
#define LOWER_CHECK(op, rule)

sinter_lower_host_rule sinter_lower_find_dims_rule(sinter_op op) {
    return dims_rules[op];
}

sinter_lower_host_rule sinter_lower_find_check_rule(sinter_op op) {
    return check_rules[op];
}

sinter_lower_kind sinter_lower_find_rule(sinter_op op, sinter_lower_element_rule *out_element,
                                         sinter_lower_kernel_rule *out_kernel,
                                         sinter_lower_host_rule *out_host) {
    const sinter_op_info *info = sinter_op_get_info(op);
    *out_element = element_rules[op];
    if (!*out_element && info->pattern == SINTER_PATTERN_ELEMENTWISE && info->body[0])
        *out_element = sinter_lower_elementwise;
    *out_kernel = kernel_rules[op];
    *out_host = host_rules[op];
    if (*out_host) return SINTER_LOWER_HOST;
    if (*out_kernel) return SINTER_LOWER_KERNEL;
    return *out_element ? SINTER_LOWER_ELEMENT : SINTER_LOWER_NONE;
}
