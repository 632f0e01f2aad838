/* What this processor has, by the names that artifacts use. Test: tests/unit/loader_test.c */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Does the processor have it, and does the system save its registers? Unknown names: no. */
bool sinter_cpu_has(const char *name, size_t size);
/* Copies those of the comma-separated names that are missing; true where none is. */
bool sinter_cpu_has_all(const char *names, char *out_missing, size_t capacity);
