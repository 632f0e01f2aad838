#!/usr/bin/env python3
"""Writes the seeds of artifact_fuzz that have a descriptor into tests/fuzz/corpus/: the least of an ELF file that a loader would take, its
pointers in a list of relocations or in a packed one. Run it after a change of runtime/abi.h; the files are checked in."""

import pathlib
import struct

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus" / "artifact_fuzz"
MAGIC, VERSION = 0x52544E53, 1
X86_64, AARCH64 = 62, 183
RELATIVE = {X86_64: 8, AARCH64: 1027}
LOAD, DYNAMIC = 1, 2
RELA, RELASZ, RELRSZ, RELR = 7, 8, 35, 36


class Image:
    """Bytes from 0 on, and the places in them that are pointers."""

    def __init__(self, machine):
        self.machine, self.data, self.pointers = machine, bytearray(64 + 2 * 56), {}

    def add(self, data, pointers=()):
        """The place of the bytes; pointers: (offset in them, place)."""
        self.data += bytes(-len(self.data) % 8)
        place = len(self.data)
        self.data += data
        self.pointers.update({place + offset: target for offset, target in pointers})
        return place

    def text(self, text):
        return self.add(text.encode() + b"\0")

    def items(self, rows):
        """Rows of equal size: (bytes, pointers)."""
        pointers = [(i * len(data) + offset, target) for i, (data, own) in enumerate(rows) for offset, target in own]
        return self.add(b"".join(data for data, _ in rows), pointers)

    def value(self, name, dims):
        names = self.items([(bytes(8), [(0, self.text(str(dim)))]) for dim in dims])
        sizes = self.add(struct.pack(f"<{len(dims)}q", *(dim if isinstance(dim, int) else -1 for dim in dims)))
        return struct.pack("<QiiQQ", 0, 1, len(dims), 0, 0), [(0, self.text(name)), (16, sizes), (24, names)]

    def finish(self, is_packed):
        """The ELF file: header, a segment of all, a dynamic section that leads to the pointers."""
        for place, target in self.pointers.items():
            self.data[place:place + 8] = struct.pack("<Q", target if is_packed else 0)
        if is_packed:
            table = b"".join(struct.pack("<Q", place) for place in sorted(self.pointers))
        else:
            table = b"".join(struct.pack("<QQq", place, RELATIVE[self.machine], target) for place, target in self.pointers.items())
        place = self.add(table)
        tags = [(RELR, place), (RELRSZ, len(table))] if is_packed else [(RELA, place), (RELASZ, len(table))]
        entries = b"".join(struct.pack("<QQ", *tag) for tag in [*tags, (0, 0)])
        dynamic, end = self.add(entries), len(self.data)
        head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 3, self.machine, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
        segments = [(LOAD, 6, 0, 0, 0, end, end, 4096), (DYNAMIC, 6, dynamic, dynamic, dynamic, len(entries), len(entries), 8)]
        self.data[:64 + 2 * 56] = head + b"".join(struct.pack("<IIQQQQQQ", *segment) for segment in segments)
        return bytes(self.data)


def make(name, machine, is_packed, has_device):
    image = Image(machine)
    code = image.add(bytes(16))  # in the place of plan and run
    inputs = image.items([image.value("x", ["N", 3]), image.value("scale", [])])
    outputs = image.items([image.value("y", ["2*N", 3])])
    symbols = image.items([(struct.pack("<Qqqq", 0, 1, 64, 1), [(0, image.text("N"))])])
    kernels = image.items([(bytes(16), [(0, image.text("add")), (8, image.text("'a' (Add)"))])])
    donations = image.add(struct.pack("<II", 0, 0))
    pointers = [(32, image.text("model")), (40, image.text("cpu")), (48, image.text("avx2")), (56, inputs), (64, outputs),
                (72, symbols), (80, kernels), (112, donations), (120, code), (128, code + 8)]
    if has_device:
        images = image.items([(struct.pack("<IIIIQQ", 0, 90, kind, 0, 0, 16), [(16, code)]) for kind in range(3)])
        device = image.add(struct.pack("<IIII", 56, 0, 1, 3) + bytes(40), [(16, image.text("cuda")), (24, images), (48, code)])
        pointers.append((136, device))
    image.add(struct.pack("<IIIIIIII", MAGIC, VERSION, 144, 2, 1, 1, 1, 1) + bytes(112), pointers)
    elf = image.finish(is_packed)
    features = b"avx2\0"
    body = elf + features
    body += bytes(-len(body) % 64)
    trailer = struct.pack("<QQQQQQQQIIII", len(body) + 80, len(elf), len(features), 0, len(body), 0, 0, 0, machine, 0, VERSION, MAGIC)
    (CORPUS / name).write_bytes(b"\1" + body + trailer)  # odd: the checksums are mended


make("listed", X86_64, False, True)
make("packed", AARCH64, True, False)
