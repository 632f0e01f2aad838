# lit configuration: text tests of the IR, passes, code generation, ops and command line.
#
# A test is a *.sir, *.loops or *.test file below one of the folders in `text_test_folders`, with RUN lines.
# Folders named `inputs` hold files that tests read. Run by tests/run.py with --param build=<build folder>.
import os
import platform
import shutil
import subprocess

import lit.formats

root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
build = os.path.abspath(lit_config.params.get("build", os.path.join(root, "build", "dev")))
text_test_folders = {"ir", "passes", "codegen", "cli", "ops"}


def llvm_bin():
    """The folder with FileCheck and `not`, of the LLVM that the build uses."""
    config = shutil.which("llvm-config-19") or "/usr/lib/llvm-19/bin/llvm-config"
    return subprocess.run([config, "--bindir"], check=True, capture_output=True, text=True).stdout.strip()


config.name = "sinter"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".sir", ".loops", ".test"]
config.test_source_root = os.path.join(root, "tests")
config.test_exec_root = os.path.join(build, "lit")
config.excludes = ["inputs", "__pycache__"] + [
    entry for entry in os.listdir(config.test_source_root) if entry not in text_test_folders
]

# Longest first: `%sinter` is the beginning of `%sinter-opt`.
config.substitutions += [
    ("%sinter-opt", os.path.join(build, "bin", "sinter-opt")),
    ("%sinter", os.path.join(build, "bin", "sinter")),
    ("%cc", os.environ.get("CC", "cc")),
    ("%python", os.path.join(root, "build", "venv", "bin", "python")),
    ("%root", root),
    ("%build", build),
]
# FileCheck, not, count are found on the path, after everything else: the system's own clang stays first.
config.environment["PATH"] = os.pathsep.join([os.environ["PATH"], llvm_bin()])
config.environment["FILECHECK_OPTS"] = "-enable-var-scope"
for name in ("CC", "HOME", "TMPDIR", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "CUDA_VISIBLE_DEVICES"):
    if name in os.environ:
        config.environment[name] = os.environ[name]

# `REQUIRES:` words.
config.available_features.add(platform.machine())  # x86_64, aarch64
if os.path.exists("/dev/nvidia0"):
    config.available_features.add("cuda")
if shutil.which("qemu-aarch64") and shutil.which("aarch64-linux-gnu-gcc"):
    config.available_features.add("qemu-aarch64")
