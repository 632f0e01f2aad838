"""House rules that a machine can check, over the project's own sources and the built runtime library.

Include arrows, op names only where they belong, a test folder for every pass, a test of every op and of every verb of schedules,
file lengths, opening comments and the tests they name, words that do not belong, generated pages, and the size and needs of
the runtime. ARCHITECTURE.md has the picture of the rooms. A rule whose files do not exist yet is skipped.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

from support import sanitizers
from tally import Tally

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROOMS = ("ir", "passes", "codegen", "runtime", "frontends", "tools", "tests")
C_SUFFIXES = {".c", ".h", ".def", ".cu", ".cuh"}
SCRIPT_SUFFIXES = {".py", ".sh", ".cmake"}
LINES_WARNED, LINES_FAILED = 800, 1500
RUNTIME_BYTES = 300 * 1024
RUNTIME_NEEDS = {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0"}
PUBLIC_HEADERS = ("runtime/abi.h", "runtime/sinter_runtime.h", "runtime/jit/sinter.h")

# What the steps of codegen/ share: options of a compilation, what launches and measured choices are, where objects go, codes of errors.
CODEGEN_CONTRACTS = ("codegen/compile.h", "codegen/device.h", "codegen/tuning.h", "codegen/object.h", "runtime/abi.h")
# What a file may include, by the longest prefix of its path. Tools and tests may include everything.
ARROWS = {
    "ir/base/": ("ir/base/",),
    "ir/": ("ir/",),
    "passes/": ("passes/", "ir/"),
    "frontends/": ("frontends/", "ir/"),
    "codegen/": ("codegen/", "ir/", "runtime/abi.h"),
    "codegen/loops/": ("codegen/loops/", "ir/", "runtime/abi.h"),
    "codegen/lower/": ("codegen/lower/", "codegen/loops/", "codegen/schedule/schedule.h", *CODEGEN_CONTRACTS, "ir/"),
    "codegen/schedule/": ("codegen/schedule/", "codegen/loops/", *CODEGEN_CONTRACTS, "ir/"),
    "codegen/emit/": ("codegen/emit/", "codegen/loops/", *CODEGEN_CONTRACTS, "ir/"),
    "runtime/": ("runtime/",),
    "runtime/abi.h": (),
    "runtime/jit/": ("ir/", "passes/", "codegen/", "runtime/", "frontends/"),
}
# Libraries that one room owns.
OWNED_LIBRARIES = {"llvm-c/": "codegen/", "llvm/": "codegen/", "protobuf-c/": "frontends/"}

# The project speaks of itself: no machine's paths, nothing of how or where it was written.
FORBIDDEN = [
    (re.compile(r"(?<![\w.}$])/(?:root|Users|home/\w+)/"), "a path of one machine"),
    (re.compile(r"\b(?:this|last|previous|earlier|next) session\b", re.IGNORECASE), "how it was written"),
]

# Ops that passes make, and the text tests of those.
OPS_TESTED_ELSEWHERE = {"group": "tests/passes/fuse/", "dim_vector": "tests/passes/canonicalize/"}
OPS_TESTED_ELSEWHERE |= {  # on one rank they are not much
    name: "tests/ir/"
    for name in ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "collective_permute", "collective_wait")
    + ("shard_slice", "shard_mask", "shard_first", "shard_window")
}

# What follows "Test:" in a comment, a list of files, folders and patterns, up to the end of its sentence.
NAMED_TESTS = re.compile(r"\bTest:\s(.*?)(?:\*/|\"\"\"|\.\s|\n[\s*#/]*\n|\Z)", re.DOTALL)
TEST_FILE = re.compile(r"[\w*]+\.(?:sir|test|loops|py|c)")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]')


def find_files():
    """The project's text files by path from the root, without build folders and binary data."""
    found = {}
    tops = [ROOT / room for room in ROOMS + ("docs", ".ci")]
    paths = [path for path in ROOT.iterdir() if path.is_file()]
    paths += [path for top in tops for path in top.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    for path in sorted(paths):
        if path.is_symlink() or path.stat().st_size > 4 << 20:
            continue
        data = path.read_bytes()
        if b"\0" not in data:
            found[path.relative_to(ROOT).as_posix()] = data.decode("utf-8", "replace")
    return found


def is_source(path):
    if pathlib.PurePath(path).suffix in C_SUFFIXES:
        return True
    return pathlib.PurePath(path).suffix in SCRIPT_SUFFIXES or path in ("CMakeLists.txt", "tools/dev", ".ci/run")


def includes(text):
    """Pairs of line number and match, for each include directive."""
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match


def check_arrows(path, text):
    room = max((prefix for prefix in ARROWS if path.startswith(prefix)), key=len, default=None)
    problems = []
    for number, match in includes(text):
        quoted, target = match[1] == '"', match[2]
        where = f"{path}:{number}: includes {target}"
        if quoted and not target.startswith(tuple(f"{name}/" for name in ROOMS)):
            problems.append(f"{where}: not written from the repository root")
        elif quoted and room:
            allowed = target.startswith(ARROWS[room])
            if room == "runtime/" and target.startswith("runtime/jit/"):
                allowed = False
            if not allowed:
                problems.append(f"{where}: allowed from here: {', '.join(ARROWS[room]) or 'nothing of ours'}")
        for library, owner in OWNED_LIBRARIES.items():
            if target.startswith(library) and not path.startswith((owner, "tests/")):
                problems.append(f"{where}: only {owner} may")
        if path in PUBLIC_HEADERS and quoted and target not in PUBLIC_HEADERS:
            problems.append(f"{where}: a public header includes public headers only")
    return problems


def check_ops(path, text):
    """Emitters and schedules name no op; outside ir/ nothing branches on one."""
    emitter = re.match(r"codegen/(emit|schedule)/", path)
    pattern = re.compile(r"\bSINTER_OP_\w+" if emitter else r"\bcase\s+SINTER_OP_\w+")
    if path.startswith(("ir/", "tests/")):
        return []
    return [
        f"{path}:{number}: {match[0]}: {'emitters see only loop IR' if emitter else 'no switch over ops outside ir/'}"
        for number, line in enumerate(text.splitlines(), 1)
        if (match := pattern.search(line))
    ]


def check_opening_comment(path, text):
    lines = text.splitlines()
    if lines and lines[0].startswith("#!"):
        lines = lines[1:]
    first = next((line.strip() for line in lines if line.strip()), "")
    openings = ("/*", "//") if pathlib.PurePath(path).suffix in C_SUFFIXES else ("#", '"""', 'r"""')
    return [] if not text.strip() or first.startswith(openings) else [f"{path}: does not open with a comment"]


def check_named_tests(path, text):
    """Tests that a comment names exist; a name without a folder is in the folder of the one before."""
    problems = []
    for match in NAMED_TESTS.finditer(text):
        where = f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
        folder, named = None, 0
        for word in re.sub(r"\n\s*(?:\*|//|#)?", " ", match[1]).split():
            word = word.strip(",.;()")
            if word.startswith("tests/"):
                folder = word if word.endswith("/") else word.rpartition("/")[0] + "/"
            elif folder and TEST_FILE.fullmatch(word):
                word = folder + word
            else:
                continue
            named += 1
            if not any(ROOT.glob(word)):
                problems.append(f"{where}: names the test {word}, which does not exist")
        if not named:
            problems.append(f"{where}: no file or folder of tests/ after 'Test:'")
    return problems


def check_words(path, text):
    if path in ("LICENSE", "tests/suites/house.py"):
        return []
    return [
        f"{path}:{number}: '{match[0]}': {what}"
        for number, line in enumerate(text.splitlines(), 1)
        for pattern, what in FORBIDDEN
        if (match := pattern.search(line))
    ]


def check_length(path, text):
    count = text.count("\n")
    if LINES_WARNED < count <= LINES_FAILED:
        print(f"note: {path} has {count} lines: which second thing lives there?")
    return [f"{path} has {count} lines, at most {LINES_FAILED}"] if count > LINES_FAILED else []


def check_passes(tally, files):
    """One pass = one row, one file, one folder with a test."""
    table = files.get("passes/passes.def")
    if table is None:
        tally.skipped("passes", "no passes/passes.def yet")
        return
    for name in re.findall(r"^\s*PASS\(\s*(\w+)", table, re.MULTILINE):
        problems = [] if f"passes/{name}.c" in files else [f"passes/{name}.c is missing"]
        if not any(re.fullmatch(rf"tests/passes/{name}/[^/]+\.(sir|test|loops)", path) for path in files):
            problems.append(f"tests/passes/{name}/ has no text test")
        tally.check(f"pass {name}", problems)


def check_op_tests(tally, files):
    """Every op stands in a text test of tests/ops, which runs it on the back ends; the compiler's own are tested by what makes them."""
    table = files.get("ir/ops.def")
    if table is None:
        tally.skipped("op tests", "no ir/ops.def yet")
        return
    tested = "\n".join(text for path, text in files.items() if path.startswith("tests/ops/"))
    used = set(re.findall(r"(?:= |^\s*)(\w+)\(", tested, re.MULTILINE))
    for name in re.findall(r"^OP\((\w+)", table, re.MULTILINE):
        missing = name not in used and name not in OPS_TESTED_ELSEWHERE
        tally.check(f"op {name}", [f"no file of tests/ops has {name}"] if missing else [])
    for name, folder in OPS_TESTED_ELSEWHERE.items():
        found = any(path.startswith(folder) and f"{name}(" in text for path, text in files.items())
        tally.check(f"op {name} elsewhere", [] if found else [f"{folder} has no test of {name}"])


def check_verbs(tally, files):
    """Every verb of a schedule has a row, and every row a verb and a text test that runs it alone."""
    table, header = files.get("codegen/schedule/schedule.def"), files.get("codegen/schedule/schedule.h")
    if table is None or header is None:
        tally.skipped("verbs", "no codegen/schedule/schedule.def yet")
        return
    rows = re.findall(r"^VERB\((\w+)", table, re.MULTILINE)
    declared = set(re.findall(r"\bsinter_schedule_(\w+)\(sinter_schedule \*", header))
    verbs = set(re.findall(r"^bool sinter_schedule_(\w+)\(sinter_schedule \*", header, re.MULTILINE))
    tests = "\n".join(text for path, text in files.items() if path.startswith("tests/codegen/"))
    for name in rows:
        problems = [] if name in declared else [f"codegen/schedule/schedule.h has no sinter_schedule_{name}"]
        flag = "--loop-" + name.replace("_", "-")
        if not re.search(flag + r"(?![\w-])", tests):
            problems.append(f"no file of tests/codegen has {flag}")
        tally.check(f"verb {name}", problems)
    for name in sorted(verbs - set(rows)):
        tally.check(f"verb {name}", ["it has no row in codegen/schedule/schedule.def"])


def check_generated(tally):
    """The generated pages of docs/ say what the tables say."""
    checked = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True
    )
    said = (checked.stdout + checked.stderr).splitlines()
    tally.check("generated pages", (said or ["docs/generate.py --check failed"]) if checked.returncode else [])


def check_runtime(tally):
    """The built runtime library is small and needs the C library only."""
    build = pathlib.Path(os.environ.get("SINTER_BUILD", ROOT / "build" / "dev"))
    library = build / "lib" / "libsinter_runtime.so"
    if not library.exists() or not list((ROOT / "runtime").glob("*.c")):
        tally.skipped("runtime library", "not built")
        return
    dynamic = subprocess.run(["readelf", "-dW", library], check=True, capture_output=True, text=True).stdout
    needs = set(re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic))
    if sanitizers.used(build):
        tally.skipped("runtime library", "built with sanitizers")
        return
    with tempfile.NamedTemporaryFile() as stripped:
        subprocess.run(["strip", "-o", stripped.name, library], check=True)
        size = os.path.getsize(stripped.name)
    problems = [f"it needs {need}" for need in sorted(needs - RUNTIME_NEEDS) if not need.startswith("ld-linux")]
    if size > RUNTIME_BYTES:
        problems.append(f"{size} bytes stripped, at most {RUNTIME_BYTES}")
    tally.check("runtime library", problems)


def main():
    tally = Tally()
    files = find_files()
    for path, text in files.items():
        problems = check_words(path, text)
        if is_source(path):
            problems += check_opening_comment(path, text) + check_length(path, text)
            problems += check_named_tests(path, text)
        if pathlib.PurePath(path).suffix in C_SUFFIXES:
            problems += check_ops(path, text)
            if path.startswith(tuple(f"{room}/" for room in ROOMS)):
                problems += check_arrows(path, text)
        tally.check(path, problems)
    check_passes(tally, files)
    check_op_tests(tally, files)
    check_verbs(tally, files)
    check_generated(tally)
    check_runtime(tally)
    tally.finish()


if __name__ == "__main__":
    main()
