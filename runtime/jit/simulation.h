/* A folder of programs of ranks (ranks.h) made ready for SimGrid's SMPI, where they run on described hardware whose time is simulated: the
 * cluster, and how long kernels take there. Tests: tests/cli/simulation.test, tests/suites/long/mpi_simulated.py */
#pragma once
#include "ir/hardware.h"
#include "runtime/jit/ranks.h"

/* Into the folder: simulation.xml, a platform of as many hosts as there are ranks; simulation.hosts, their names in order of ranks;
 * simulation.txt, for the plug-in (SINTER_SIMULATION): "predicted S", the seconds of a run by ir/estimate.h, then for each exchange of the
 * program "exchange S N", the seconds of the kernels before it, and how often both come, "kernel S 1" for each of them where
 * another exchange is under way, and "end S 1" for those after the last one. One in two calls stands there twice. The program is that of rank 0
 * after the passes of the hardware's target; the module is partitioned, and stays as it is. Refused are exchanges inside of loops,
 * more ranks than devices, and links of more than two levels. */
bool sinter_simulation_write(const sinter_module *module, const sinter_hardware *hardware, const sinter_engine_options *options,
                             const char *folder, sinter_diag *diag);
