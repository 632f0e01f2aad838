#!/usr/bin/env python3
"""Writes the generated pages of docs/: ops.md from ir/ops.def, types.md from ir/dtype.def,
passes.md from passes/passes.def, the table of verbs in loops.md from codegen/schedule/schedule.def. `--check` writes nothing and fails where a page is not up to date."""
import argparse
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
patterns = {
    "ELEMENTWISE": "Elementwise: one scalar expression over broadcast operands.",
    "REDUCE": "Reductions over axes: initial value; combination; end.",
    "CONTRACT": "Contractions: a sum of products over shared axes.",
    "WINDOW": "Windows that slide over space.",
    "VIEW": "Views: each element of the result is one element of an operand, or a fill.",
    "GATHER": "Gathers: elements at indices read from a tensor.",
    "SCATTER": "Scatters: elements to indices read from a tensor.",
    "COMPOSITE": "Composites, defined by a decomposition into other ops.",
    "OPAQUE": "Built one by one in loops.",
    "CONTROL": "Control: ops with regions, and the structure of regions.",
    "SEQUENCE": "Sequences and optionals.",
    "SOURCE": "Sources: no operands.",
    "COLLECTIVE": "Collectives.",
}


def rows(path, macro):
    """The arguments of each MACRO(...) row of a table, strings unquoted, the rest as written."""
    for line in (root / path).read_text().splitlines():
        if not line.startswith(macro + "("):
            continue
        body = line[len(macro) + 1 : line.rindex(")")]
        fields = re.findall(r'\s*("(?:[^"\\]|\\.)*"(?:\s*"(?:[^"\\]|\\.)*")*|[^,]+)\s*(?:,|$)', body)
        yield [
            "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', field)).replace('\\"', '"').replace("\\\\", "\\")
            if field.startswith('"')
            else field.strip()
            for field in fields
        ]


def code(text):
    return "`" + text.replace("|", "\\|") + "`" if text else ""


def ops():
    groups = {}
    for name, operands, results, attributes, traits, pattern, body, _, _, doc in rows("ir/ops.def", "OP"):
        groups.setdefault(pattern, []).append((name, operands, results, attributes, traits, body, doc))
    count = sum(map(len, groups.values()))
    yield "# The ops"
    yield ""
    yield f"{count} ops, from `ir/ops.def`. `?` is optional, `*` any number; an attribute with `=` has a default. An op means"
    yield "what the newest ONNX operator of the same name means; older forms are rewritten on import."
    yield ""
    yield "`x:float` is a tensor of floats of any width; `number` is floats or integers, `plain` numbers or truth values, `quantized`"
    yield "integers of up to 16 bits or floats of up to 8, `tensor` any element type; an operand without a word may be a sequence too."
    for pattern, doc in patterns.items():
        if pattern not in groups:
            continue
        yield ""
        yield f"## {doc}"
        yield ""
        yield "| op | operands | results | attributes | body | what |"
        yield "|---|---|---|---|---|---|"
        for name, operands, results, attributes, _, body, text in sorted(groups[pattern]):
            yield f"| {code(name)} | {code(operands)} | {code(results)} | {code(attributes)} | {code(body)} | {text.replace('|', chr(92) + '|')} |"


def types():
    yield "# Element types"
    yield ""
    yield "From `ir/dtype.def`. Types below 8 bits are stored packed, low bits first."
    yield ""
    yield "| type | bits | class | what |"
    yield "|---|---|---|---|"
    for name, bits, kind, _, _, doc in rows("ir/dtype.def", "DTYPE"):
        yield f"| {code(name)} | {bits} | {kind.removeprefix('SINTER_CLASS_').lower()} | {doc} |"


def passes():
    yield "# The passes"
    yield ""
    yield "From `passes/passes.def`; `sinter-opt FILE.sir --PASS` runs one. `passes/pipeline.c` has the order of each `-O` level."
    yield ""
    yield "| pass | what |"
    yield "|---|---|"
    for name, *_, doc in rows("passes/passes.def", "PASS"):
        yield f"| {code('--' + name.replace('_', '-'))} | {doc} |"


def verbs():
    """loops.md as it is, with the table of verbs between its marks written anew."""
    lines = (root / "docs/loops.md").read_text().splitlines()
    start = lines.index("<!-- verbs: from codegen/schedule/schedule.def -->") + 1
    yield from lines[:start]
    yield "| verb | what |"
    yield "|---|---|"
    for name, _, _, reassociates, arguments, doc in rows("codegen/schedule/schedule.def", "VERB"):
        flag = "--loop-" + name.replace("_", "-") + ("=" + arguments if arguments else "")
        yield f"| {code(flag)} | {doc}{' Floats may be added in another order.' if reassociates == 'true' else ''} |"
    yield from lines[lines.index("<!-- end of verbs -->", start) :]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail where a page is not up to date")
    check = parser.parse_args().check
    stale = []
    for name, page in (("ops.md", ops), ("types.md", types), ("passes.md", passes), ("loops.md", verbs)):
        path = root / "docs" / name
        text = "\n".join(page()) + "\n"
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if not check:
                path.write_text(text)
                print(f"docs/{name}: written")
    if check and stale:
        print("not up to date: " + ", ".join(stale) + "; run tools/dev docs")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
