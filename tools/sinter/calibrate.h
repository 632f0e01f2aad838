/* The machine at hand as a description of hardware: sinter bench --calibrate. Test: tests/cli/calibrate.test */
#pragma once
#include "ir/hardware.h"
#include "runtime/jit/engine.h"

/* Measures peaks and levels (roofline.h), what passing data between two cores costs, and the efficiency of kernels of each kind and
 * of several sizes, compiled as any model is. A device is a core. Takes a minute; seconds: of each kernel. False after an error. */
bool calibrate(const sinter_engine_options *options, double seconds, sinter_hardware *out_hardware, sinter_diag *diag);
