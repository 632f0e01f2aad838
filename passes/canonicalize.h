/* The rules of canonicalize, by what they look at. A rule gets a node at which the rewrite stands, and returns true
 * where it replaced it. What a rule relies on holds for every value of the operands, NaN, Inf and -0 included, to the last bit; the
 * one exception is said where it is. */
#pragma once
#include "ir/rewrite.h"

typedef bool (*sinter_canonicalize_rule)(sinter_rewrite *rewrite, sinter_node node);

/* canonicalize_algebra.c */
bool sinter_canonicalize_identity(sinter_rewrite *rewrite, sinter_node node);
bool sinter_canonicalize_dropout(sinter_rewrite *rewrite, sinter_node node);
bool sinter_canonicalize_cast(sinter_rewrite *rewrite, sinter_node node);
bool sinter_canonicalize_involution(sinter_rewrite *rewrite, sinter_node node); /* f(f(x)) = x */
bool sinter_canonicalize_idempotent(sinter_rewrite *rewrite, sinter_node node); /* f(f(x)) = f(x), by trait */
bool sinter_canonicalize_neutral(sinter_rewrite *rewrite, sinter_node node);    /* x * 1 */
bool sinter_canonicalize_divisor(sinter_rewrite *rewrite, sinter_node node);    /* x / 8 = x * 0.125 */
bool sinter_canonicalize_power(sinter_rewrite *rewrite, sinter_node node);      /* x^2 = x * x, x^3 */
bool sinter_canonicalize_where(sinter_rewrite *rewrite, sinter_node node);
bool sinter_canonicalize_constant_last(sinter_rewrite *rewrite, sinter_node node); /* c + x = x + c */

/* canonicalize_view.c */
bool sinter_canonicalize_to_reshape(sinter_rewrite *rewrite, sinter_node node); /* squeeze, unsqueeze, flatten */
bool sinter_canonicalize_reshape(sinter_rewrite *rewrite, sinter_node node);
bool sinter_canonicalize_transpose(sinter_rewrite *rewrite, sinter_node node);
/* perm of a transpose; absent means reversed. */
void sinter_canonicalize_perm(const sinter_module *module, sinter_node node, uint32_t rank, int64_t *out_perm);
bool sinter_canonicalize_same_shape(sinter_rewrite *rewrite, sinter_node node); /* tile to the shape it has */
bool sinter_canonicalize_expand(sinter_rewrite *rewrite, sinter_node node);     /* the same, by a shape that is known */
bool sinter_canonicalize_slice(sinter_rewrite *rewrite, sinter_node node);
bool sinter_canonicalize_pad(sinter_rewrite *rewrite, sinter_node node);
bool sinter_canonicalize_single(sinter_rewrite *rewrite, sinter_node node); /* concat, split of one piece */
bool sinter_canonicalize_expanded(sinter_rewrite *rewrite, sinter_node node); /* x + expand(y) = x + y */

/* canonicalize_chain.c */
bool sinter_canonicalize_chain(sinter_rewrite *rewrite, sinter_node node); /* reshapes and two transposes or more */

/* The node that defines the value where it is of this op, else 0. */
sinter_node sinter_canonicalize_producer(const sinter_module *module, sinter_value value, sinter_op op);
/* Replaces a node of one used result by a value of the same type; false where the types differ. */
bool sinter_canonicalize_replace(sinter_rewrite *rewrite, sinter_node node, sinter_value value);
