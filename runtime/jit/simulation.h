/* A folder of programs of ranks (ranks.h) made ready for SimGrid's SMPI, where they run on described hardware whose time is simulated: the
 * cluster, and how long kernels take there. Tests: tests/cli/simulation.test, tests/suites/long/mpi_simulated.py */
#pragma once
#include "ir/hardware.h"
#include "runtime/jit/ranks.h"

/* Into the folder: simulation.xml, a platform of as many hosts as there are ranks; simulation.hosts, their names in order of ranks;
 * simulation.txt, for the plug-in (SINTER_SIMULATION), a line each, in the order of the program, S being the seconds of the kernels since
 * the line before:
 *     predicted S     the first: of a whole run, by ir/estimate.h
 *     exchange S N    an exchange begins; N: so many, each after S (a recurrent layer's, one a step)
 *     wait S I        the exchange ends that was under way; it is number I of the run, from 0 on, as they begin
 *     kernel S 1      one kernel, while an exchange is under way
 *     end S 1         the last
 * One that nothing runs beside has no wait. The program is that of rank 0 after the passes of the hardware's target; the module is partitioned,
 * and stays as it is. Refused are exchanges inside of loops, more ranks than devices, and links of more than two levels. */
bool sinter_simulation_write(const sinter_module *module, const sinter_hardware *hardware, const sinter_engine_options *options,
                             const char *folder, sinter_diag *diag);
