"""Installs into a folder of its own, moves it, and builds the examples against it as a stranger would: with pkg-config, with
CMake's find_package, and statically. Each must compile without warnings, run, and give what `sinter run` gives."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from support import sanitizers
from tally import Tally

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SINTER_BUILD", ROOT / "build" / "dev"))
EXAMPLES = ROOT / "docs" / "examples"
MODEL = ROOT / "tests" / "models" / "mlp.onnx"
SANITIZERS = sanitizers.flags(BUILD)
FLAGS = ["-std=c17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", *SANITIZERS]
CMAKE = """cmake_minimum_required(VERSION 3.25)
project(stranger LANGUAGES C)
find_package(sinter 0.1 REQUIRED)
add_executable(jit {examples}/jit.c)
target_link_libraries(jit PRIVATE sinter::sinter)
add_executable(aot {examples}/aot.c)
target_link_libraries(aot PRIVATE sinter::sinter_runtime)
"""
HEADERS = ("sinter.h", "sinter_runtime.h", "abi.h")


def run(*command, **options):
    """Output of a command; raises with what it said where it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=sanitizers.seconds(300, BUILD), **options)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")
    return done.stdout


def check(tally, name, function):
    try:
        function()
        tally.passed(name)
    except (RuntimeError, OSError, AssertionError, subprocess.TimeoutExpired) as error:
        tally.failed(name, str(error))


class Stranger:
    def __init__(self, folder):
        self.folder = folder
        self.prefix = folder / "moved"
        self.environment = dict(os.environ)
        self.environment.pop("LD_LIBRARY_PATH", None)
        self.artifact = folder / "m.so"

    def install(self):
        run("cmake", "--install", BUILD, "--prefix", self.folder / "prefix")
        (self.folder / "prefix").rename(self.prefix)  # a prefix may be moved
        self.library = next(self.prefix.rglob("libsinter.so")).parent
        self.environment["PKG_CONFIG_PATH"] = str(self.library / "pkgconfig")
        self.environment["LD_LIBRARY_PATH"] = str(self.library)
        run(self.prefix / "bin" / "sinter", "compile", MODEL, "-o", self.artifact, env=self.environment)

    def flags(self, package, *more):
        return run("pkg-config", "--cflags", "--libs", *more, package, env=self.environment).split()

    def check_output(self, program, argument):
        got = run(program, argument, env=self.environment).split()
        assert got[0] == "logits:" and len(got) == 11, got
        if not hasattr(self, "expected"):
            self.expected = got
        numbers = zip(map(float, got[1:]), map(float, self.expected[1:]))
        assert all(abs(a - b) <= 1e-5 * (1 + abs(b)) for a, b in numbers), (got, self.expected)

    def with_pkg_config(self, example, package, argument):
        program = self.folder / example
        run("cc", *FLAGS, EXAMPLES / f"{example}.c", "-o", program, *self.flags(package), env=self.environment)
        self.check_output(program, argument)

    def compress(self):
        """The example of a budget, on one of the trained networks."""
        program, out = self.folder / "compress", self.folder / "small.onnx"
        run("cc", *FLAGS, EXAMPLES / "compress.c", "-o", program, *self.flags("sinter"), env=self.environment)
        samples, labels = f"pixels={MODEL.parent / 'digits_test_images.npy'}", MODEL.parent / "digits_test_labels.npy"
        got = run(program, MODEL, out, "2%", samples, labels, env=self.environment)
        assert "kB" in got and out.stat().st_size < 0.5 * MODEL.stat().st_size, got

    def with_cmake(self):
        source = self.folder / "source"
        source.mkdir()
        (source / "CMakeLists.txt").write_text(CMAKE.format(examples=EXAMPLES))
        options = [f"-DCMAKE_PREFIX_PATH={self.prefix}", f"-DCMAKE_C_FLAGS={' '.join(SANITIZERS)}"]
        run("cmake", "-G", "Ninja", "-S", source, "-B", source / "build", *options, env=self.environment)
        run("cmake", "--build", source / "build", env=self.environment)
        self.check_output(source / "build" / "jit", MODEL)
        self.check_output(source / "build" / "aot", self.artifact)

    def with_archive(self):
        """The runtime linked in: nothing of ours is needed to run."""
        program = self.folder / "archived"
        include = f"-I{self.prefix / 'include'}"
        libraries = [self.library / "libsinter_runtime.a", "-lm", "-ldl", "-lpthread"]
        run("cc", *FLAGS, include, EXAMPLES / "aot.c", "-o", program, *libraries)
        assert "sinter" not in run("readelf", "-d", program)
        self.check_output(program, self.artifact)

    def headers_alone(self):
        """Each public header compiles on its own, as C and as C++, and so does what its macros say."""
        for header in HEADERS:
            use = "int main(void) { sinter_options o = SINTER_OPTIONS_INIT; return o.level; }" if header == "sinter.h" else ""
            for language, standard in (("c", "-std=c17"), ("c++", "-std=c++17")):
                run(
                    "cc", "-x", language, standard, "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-fsyntax-only",
                    f"-I{self.prefix / 'include'}", "-", input=f"#include <sinter/{header}>\n{use}\n",
                )  # fmt: skip


def main():
    tally = Tally()
    missing = [tool for tool in ("cc", "cmake", "pkg-config") if not shutil.which(tool)]
    if missing:
        tally.skipped("install", f"no {missing[0]}")
        tally.finish()
    with tempfile.TemporaryDirectory() as name:
        stranger = Stranger(pathlib.Path(name))
        try:
            stranger.install()
        except (RuntimeError, OSError, StopIteration) as error:
            tally.failed("install", str(error))
            tally.finish()
        tally.passed("install")
        check(tally, "jit.c by pkg-config", lambda: stranger.with_pkg_config("jit", "sinter", MODEL))
        check(tally, "jit.c on an artifact", lambda: stranger.with_pkg_config("jit", "sinter", stranger.artifact))
        check(tally, "compress.c by pkg-config", stranger.compress)
        check(tally, "aot.c by pkg-config", lambda: stranger.with_pkg_config("aot", "sinter_runtime", stranger.artifact))
        check(tally, "both by find_package", stranger.with_cmake)
        check(tally, "aot.c with the archive", stranger.with_archive)
        check(tally, "headers alone", stranger.headers_alone)
    tally.finish()


if __name__ == "__main__":
    sys.exit(main())
