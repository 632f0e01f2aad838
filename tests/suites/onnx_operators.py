"""Every operator of every ONNX opset has a row in frontends/onnx/ops.def that takes its attributes and keeps their defaults.

A schema of onnx.defs is held against the row that the importer picks for its version. Rows with the rule `generic` must
know each attribute: as one of the op with the same default, or among the row's edits. What other rules do with attributes
is for the cases of the ONNX suite to show.
"""

import pathlib
import re

import onnx

from tally import Tally

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Operators that are refused, with the reason.
REFUSED = {
    ("", "ImageDecoder"): "pictures are decoded before the model",
    ("ai.onnx.preview.training", "Gradient"): "training is out of scope",
}
# Of the classical models of ai.onnx.ml, those that neural networks come with are taken.
REFUSED_ML = {
    "CastMap", "CategoryMapper", "DictVectorizer", "FeatureVectorizer", "Imputer", "LinearClassifier", "LinearRegressor",
    "Normalizer", "OneHotEncoder", "SVMClassifier", "SVMRegressor", "Scaler", "TreeEnsembleClassifier",
    "TreeEnsembleRegressor", "ZipMap",
}  # fmt: skip
CODES = {1: "f32", 6: "i32"}  # TensorProto.DataType of attributes that name an element type
MISSPELT = {b"foward": "forward"}  # GRU 1
ROW = re.compile(r'^ONNX\("([^"]*)", "([^"]+)", (\d+), (\w+), "([^"]*)", (\w+)\)', re.MULTILINE)
OP = re.compile(r'^OP\((\w+), "[^"]*", "[^"]*", "([^"]*)"', re.MULTILINE)


def read_rows():
    """{(domain, name): [(since, op, edits, rule)]}, oldest first."""
    rows = {}
    for domain, name, since, op, edits, rule in ROW.findall((ROOT / "frontends" / "onnx" / "ops.def").read_text()):
        rows.setdefault((domain, name), []).append((int(since), op, edits.split(), rule))
    return {key: sorted(found, key=lambda row: row[0]) for key, found in rows.items()}


def read_attributes():
    """{op: {attribute: default text or None}}"""
    ops = {}
    for op, text in OP.findall((ROOT / "ir" / "ops.def").read_text()):
        found = re.findall(r"(\w+):\w+(?:\([^)]*\))?(?:=([^,]*)|\?)?(?:,|$)", text)
        ops[op] = {name: default for name, default in found}
    return ops


def edited(edits):
    """Attributes that the row's edits speak of."""
    return {re.match(r"-?(\w+)", edit)[1] for edit in edits}


def same_default(schema_attribute, text):
    default = schema_attribute.default_value
    if not default.type:
        return True  # absent means something of its own, or the attribute is required
    value = onnx.helper.get_attribute_value(default)
    if isinstance(value, float):
        return text != "" and abs(float(text) - value) <= 1e-6 * max(1.0, abs(value))
    if isinstance(value, int):
        return text in (str(value), CODES.get(value)) or (text in ("none", "") and value == 0)
    if isinstance(value, bytes):
        return text == MISSPELT.get(value, value.decode()) or (text == "" and not value)
    return True


def problems_of(schema, rows, ops):
    fitting = [row for row in rows.get((schema.domain, schema.name), []) if row[0] <= schema.since_version]
    if not fitting:
        return ["no row"]
    _, op, edits, rule = fitting[-1]
    if rule != "generic":
        return []
    known, handled, problems = ops.get(op, {}), edited(edits), []
    for name, attribute in schema.attributes.items():
        graph = attribute.type in (onnx.defs.OpSchema.AttrType.GRAPH, onnx.defs.OpSchema.AttrType.GRAPHS)
        if name in handled or graph:
            continue
        if name not in known:
            problems.append(f"attribute {name} is not known to {op}")
        elif not same_default(attribute, known[name]):
            value = onnx.helper.get_attribute_value(attribute.default_value)
            problems.append(f"attribute {name}: the default is {value}, {op} has {known[name] or 'none'}")
    return problems


def main():
    tally = Tally()
    rows, ops = read_rows(), read_attributes()
    for schema in onnx.defs.get_all_schemas_with_history():
        label = f"{schema.domain or 'ai.onnx'} {schema.name} {schema.since_version}"
        refused = (schema.domain, schema.name) in REFUSED or (schema.domain == "ai.onnx.ml" and schema.name in REFUSED_ML)
        if refused and (schema.domain, schema.name) in rows:
            tally.failed(label, "is taken: strike it from the list of refused operators")
        elif not refused:
            tally.check(label, problems_of(schema, rows, ops))
    tally.finish()


if __name__ == "__main__":
    main()
