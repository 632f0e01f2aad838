/* What the files of the loop IR's parser share: parse.c (programs), parse_stmt.c (functions, statements,
 * buffers), parse_expr.c (expressions, names). Functions that return bool have reported why they return false.
 * Test: tests/codegen/loops/ */
#pragma once
#include "codegen/loops/text.h"
#include "ir/base/lex.h"

typedef struct sinter_loop_visible_var {
    sinter_string name;
    sinter_loop_var var;
} sinter_loop_visible_var;

typedef struct sinter_loop_parser {
    sinter_lexer lexer;
    sinter_loop_program *program;
    sinter_arena *arena; /* the program's */
    sinter_loop_builder builder;
    SINTER_VECTOR(sinter_loop_visible_var) visible;
    sinter_map buffers; /* of the function, by name */
    sinter_map kernels; /* by name: index */
    bool is_host;
    int height; /* of the expression, or the list, that was read last */
} sinter_loop_parser;

typedef SINTER_VECTOR(sinter_expr) sinter_loop_exprs;

/* ---- parse_expr.c ---- */
char *sinter_loop_parse_copy(sinter_loop_parser *parser, sinter_string string);
void sinter_loop_parse_show_var(sinter_loop_parser *parser, sinter_string name, sinter_loop_var var);
sinter_loop_var sinter_loop_parse_find_var(const sinter_loop_parser *parser, sinter_string name); /* 0: none */
bool sinter_loop_parse_buffer(sinter_loop_parser *parser, sinter_loop_buffer *out_buffer);
bool sinter_loop_parse_dtype(sinter_loop_parser *parser, sinter_dtype *out_dtype);
bool sinter_loop_parse_unsigned(sinter_loop_parser *parser, uint32_t *out_value);
bool sinter_loop_parse_expr(sinter_loop_parser *parser, sinter_expr *out_expr);
/* Up to the closing token, which is consumed. '_' and '?' give NULL where `optional`. */
bool sinter_loop_parse_list(sinter_loop_parser *parser, const char *close, bool optional,
                            sinter_loop_exprs *out_list);
/* "[...]" after the name of a buffer. */
bool sinter_loop_parse_indices(sinter_loop_parser *parser, sinter_loop_buffer buffer, sinter_loop_exprs *out_list);

/* ---- parse_stmt.c ---- */
/* What follows `host` or `kernel`; the function is in the program when it is read. */
bool sinter_loop_parse_function(sinter_loop_parser *parser, bool is_host);
