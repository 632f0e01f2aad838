/* Shared by parse.c (modules, regions, nodes) and parse_attr.c (types, attributes, tensors). */
#pragma once
#include "ir/base/lex.h"
#include "ir/parse.h"

typedef struct sinter_parser {
    sinter_lexer lexer;
    sinter_module *module;
    sinter_arena scratch;
} sinter_parser;

/* One dimension expression; `minimum` is the least number it may be. */
bool sinter_parse_dim(sinter_parser *parser, int64_t minimum, sinter_dim *out_dim);
bool sinter_parse_type(sinter_parser *parser, sinter_type *out_type);
/* A string without NUL: names, locations. */
bool sinter_parse_text(sinter_parser *parser, const char **out_text);
/* `name = value`, the kind by the schema of op. */
bool sinter_parse_attr(sinter_parser *parser, sinter_op op, sinter_attr *out_attr);
