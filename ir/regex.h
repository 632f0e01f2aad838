/* Regular expressions in RE2's syntax, matched in time linear in the text: a parser to a small program, run as a set
 * of states (Thompson's construction). Without what needs backtracking: RE2 has no back references or lookaround.
 * Test: tests/unit/regex_test.c */
#pragma once
#include "ir/base/text.h"

typedef struct sinter_regex sinter_regex;
/* Literals, ., [...] with ranges, negation and [:names:], \d \w \s and their complements, \b \B ^ $ \A \z, groups
 * (also named, (?:), flags i m s U), | * + ? {n,m} and their lazy forms, \x41 \x{263a} \Q..\E and the usual escapes, over
 * UTF-8 (stray bytes match as U+FFFD). Unicode classes (\p) are refused. NULL and a message in *out_error, both in the
 * arena, where the pattern is not understood. */
sinter_regex *sinter_regex_compile(sinter_arena *arena, sinter_string pattern, const char **out_error);
/* Whether the whole of text matches. Allocates nothing. */
bool sinter_regex_matches(sinter_regex *regex, sinter_string text);
