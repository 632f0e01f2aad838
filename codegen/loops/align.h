/* What addresses are multiples of: how many elements may be read or written as one. Test: tests/codegen/loops/align.loops */
#pragma once
#include "codegen/loops/access.h"

/* Of a buffer of the host function on a device, bytes: memory that models are given, the plan's, the weights'. And of shared memory. */
enum { SINTER_LOOP_ALIGNMENT = 16 };

/* A number that divides the i64 expression, whatever its variables are; 0 where it is 0. */
int64_t sinter_loop_divisor(sinter_loop_scopes *scopes, sinter_expr expr);
/* Bytes, at most SINTER_LOOP_ALIGNMENT, that the address of a buffer of the host is a multiple of. scopes: of the host. */
uint32_t sinter_loop_host_alignment(sinter_loop_scopes *scopes, sinter_loop_buffer buffer);
/* The position of an element among those of its buffer, in row-major order. */
sinter_expr sinter_loop_position(sinter_loop_scopes *scopes, sinter_loop_buffer buffer, const sinter_expr *indices);
/* In `lanes` iterations of `loop`, from 0, the access touches elements that follow each other, the first of them at a multiple of
 * their bytes, or of 16 where they are more: they are one access, or several of 16 bytes. out_first: position of the first. */
bool sinter_loop_is_wide(sinter_loop_scopes *scopes, sinter_loop_var loop, int64_t lanes, sinter_loop_buffer buffer,
                         const sinter_expr *indices, sinter_expr *out_first);
