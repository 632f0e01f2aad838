/* Exchanges of elements below a byte as exchanges of whole bytes. Test: tests/passes/shard_localize/bytes.sir */
#pragma once
#include "ir/build.h"

/* What stands for a collective that is packed (passes/shard_pack.h); 0 where its pieces are whole bytes already and ranks can add its elements,
 * where nothing can be done, or after an error. */
sinter_value sinter_shard_send_bytes(sinter_builder *builder, sinter_node node);
