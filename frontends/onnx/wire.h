/* From the bytes of a protobuf file to protobuf-c messages, safely and without copying weights.
 *
 * protobuf-c copies every byte field and trusts lengths, nesting and UTF-8 to a degree, so it never sees the
 * file itself. A scanner walks the bytes first, against the message descriptors: tags, lengths, wire types,
 * packed contents and nesting are checked, unknown fields are dropped, and each large `raw_data` of a tensor is
 * replaced by the number of a span. protobuf-c unpacks the small copy that results; the tensor finds its bytes
 * through the span, still in the mapped file. Test: tests/fuzz/onnx_fuzz.c, tests/suites/bad_input.py */
#pragma once
#include "frontends/onnx/onnx.pb-c.h"
#include "ir/base/file.h"
#include "ir/base/vector.h"

enum {
    SINTER_WIRE_MAX_DEPTH = 100, /* nested messages; a subgraph costs three */
    SINTER_WIRE_SPAN_BYTES = 1024 /* raw_data above this stays in the file */
};

typedef struct sinter_wire_span {
    const uint8_t *data;
    size_t size;
} sinter_wire_span;

typedef struct sinter_wire_spans {
    SINTER_VECTOR(sinter_wire_span) list; /* Onnx__TensorProto.mapped_span is an index into it */
} sinter_wire_spans;

/* The message in the arena (never freed on its own), or NULL after an error at `where`. `data` must outlive the
 * spans. out_spans may be NULL: then nothing is left in place. */
ProtobufCMessage *sinter_wire_unpack(sinter_arena *arena, const ProtobufCMessageDescriptor *descriptor,
                                     const void *data, size_t size, sinter_wire_spans *out_spans, const char *where,
                                     sinter_diag *diag);
/* The inverse. */
void sinter_wire_write(const ProtobufCMessage *message, sinter_file_writer *file);
