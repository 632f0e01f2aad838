/* Time that only goes forward, for measuring. */
#pragma once
#include <stddef.h>

double sinter_clock_seconds(void);
/* What all threads of the process have spent on processors. */
double sinter_clock_processor_seconds(void);
/* Sorts measured times, the shortest first. */
void sinter_clock_sort(double *seconds, size_t count);
