/* Time that only goes forward, for measuring. */
#pragma once

double sinter_clock_seconds(void);
