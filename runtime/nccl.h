/* Exchanges of ranks on CUDA devices by NCCL: they go into streams, and the host neither copies nor waits. A communicator is made when an
 * exchange over new axes comes up first; its identity goes by way of services->exchange, as ranks on the host exchange. What has to be the
 * tree in the order of places (runtime/exchange.h) is sent in pieces and added by the artifact's kernel; integers, and floats where any order
 * is allowed, are NCCL's to add. Test: tests/unit/nccl_test.c, tests/suites/long/shard_cuda.py */
#pragma once
#include "runtime/device.h"
#include "runtime/exchange.h"
#include "runtime/peers.h"

typedef struct sinter_nccl sinter_nccl;
/* Of one rank of a mesh, on its device, which no other rank has; used by one thread at a time. seconds: how long what it leaves behind may
 * take at the end. NO_DEVICE where there is no library that fits. */
sinter_status *sinter_nccl_create(sinter_device *device, const sinter_exchange_mesh *mesh, int64_t rank, double seconds,
                                  bool any_order, sinter_nccl **out_nccl);
/* All ranks of the mesh at once, in threads or processes of their own: they end what they have together. NULL allowed. */
void sinter_nccl_destroy(sinter_nccl *nccl);
/* Before each run: how it waits for others. The services of the run's call say of nccl that it is there, and have `exchange`. */
void sinter_nccl_begin_run(sinter_nccl *nccl, const sinter_peers *peers);
/* Whether such an exchange needs none of the host; combine: the kernel for its sums, NULL: the artifact has none. */
bool sinter_nccl_takes(const sinter_nccl *nccl, const sinter_abi_exchange *words, const sinter_device_function *combine);
/* What services->exchange does, of addresses on the device, in the run's stream. */
sinter_status *sinter_nccl_exchange(sinter_nccl *nccl, sinter_abi_call *call, sinter_device_stream *stream,
                                    const sinter_abi_exchange *words, const sinter_device_function *combine);
/* Until all that is in the run's stream is done; fails where other ranks don't come. */
sinter_status *sinter_nccl_wait(sinter_nccl *nccl, sinter_device_stream *stream);
/* After any failure, of this rank or another: what is under way ends, and communicators with it. */
void sinter_nccl_abort(sinter_nccl *nccl);
