"""Jobs of processes: `mpirun` as it has to be called where there are few cores, as root, in a container (docs/shard.md).

Used by tests/suites/mpi.py and tests/suites/long/mpi_*.py; not a suite itself.
"""

import math
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from support import sanitizers
from tally import Tally

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("SINTER_BUILD", ROOT / "build" / "dev"))
SINTER = BUILD / "bin" / "sinter"
PLUG_IN = BUILD / "lib" / "libsinter_mpi.so"
EMULATION = BUILD / "tests" / "cuda_emulation"
MODELS = ROOT / "tests" / "models"
ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",  # more ranks than cores
    "OMPI_MCA_plm_rsh_agent": "false",  # no other machine, and perhaps no ssh
    "OMPI_MCA_btl_vader_single_copy_mechanism": "none",  # its system calls may be forbidden in a container
    "OMPI_MCA_btl_base_warn_component_unused": "0",
}  # fmt: skip
HARDWARE = ROOT / "tests" / "passes" / "inputs" / "four.hardware"
EIGHT = HARDWARE.with_name("eight.hardware")  # where four devices are too few
MLP = MODELS / "mlp.onnx"
MLP_DATA = ("--shard", "pixels=data,_,_")
MLP_MODEL = ("--shard", "layers.0.weight=model,_", "--shard", "layers.1.weight=_,model")
MLP_WORDS = (*MLP_DATA, *MLP_MODEL)


def missing():
    """Why jobs can't be run here; empty where they can."""
    if not PLUG_IN.exists():
        return "the build has no plug-in for MPI (libopenmpi-dev)"
    return "" if shutil.which("mpirun") else "there is no mpirun (openmpi-bin)"


def sanitizer_environment():
    """Builds with sanitizers look for libraries by the path of the sanitizer's own, not by the program's, so the plug-in is named."""
    return {"SINTER_TRANSPORT": str(PLUG_IN)} if sanitizers.used(BUILD) else {}


def suite(*checks):
    """A suite: check(tally, work) of each, which share the folder `work`; skipped where there are no jobs."""
    tally = Tally()
    if missing():
        tally.skipped("jobs of processes", missing())
        tally.finish()
    with tempfile.TemporaryDirectory() as work:
        for check in checks:
            check(tally, pathlib.Path(work))
    tally.finish()


def start(*groups, **options):
    """A job of (number of processes, arguments of sinter) each."""
    words = []
    for count, *arguments in groups:
        words += [":"] * bool(words) + ["-n", str(count), *map(str, arguments)]
    return subprocess.Popen(
        ["mpirun", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, **ENVIRONMENT, **sanitizer_environment(), **options.get("env", {})},
        cwd=options.get("cwd"),
    )


def axes(mesh):
    """Sizes by name of an arrangement such as "data:2,model:2"; "pipeline" is an axis, too, and the outermost."""
    return {name: int(size) for name, size in (axis.split(":") for axis in mesh.split(","))}


def process_count(mesh):
    return math.prod(axes(mesh).values())


def shard(model, mesh, words, folder, *options, hardware=None):
    """Programs of all ranks of the mesh, of each stage where it has a pipeline."""
    stages = axes(mesh).get("pipeline")
    inner = ",".join(f"{name}:{size}" for name, size in axes(mesh).items() if name != "pipeline")
    listed = [f"--mesh={inner}"] if inner else []
    if stages:
        listed += [f"--stages={stages}", f"--hardware={hardware or (HARDWARE if process_count(mesh) <= 4 else EIGHT)}"]
    sinter("shard", model, *options, *listed, *words, "-o", folder)


class Ended:
    def __init__(self, status, output, errors, seconds):
        self.status, self.output, self.errors, self.seconds = status, output, errors, seconds

    def __str__(self):
        return f"status {self.status} after {self.seconds:.1f} s: {self.output[-800:]} {self.errors[-1500:]}"


def finish(job, seconds=120, begun=None):
    """What became of it; one that does not end is killed, with all its processes, and has status None."""
    begun = begun or time.monotonic()
    try:
        output, errors = job.communicate(timeout=sanitizers.seconds(seconds, BUILD))
        status = job.returncode
    except subprocess.TimeoutExpired:
        for pid in [job.pid, *children(job.pid)]:
            os.kill(pid, signal.SIGKILL)
        output, errors = job.communicate()
        status = None
    return Ended(status, output, errors, time.monotonic() - begun)


def run(*groups, **options):
    return finish(start(*groups, **options), options.get("seconds", 120))


def sinter(*arguments):
    """One process, by itself."""
    done = subprocess.run([SINTER, *map(str, arguments)], capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise RuntimeError(f"sinter {' '.join(map(str, arguments))}: {done.stderr[-1500:]}")
    return done


def children(pid):
    """Processes below this one."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        if parent == pid:
            child = int(path.parent.name)
            found += [child, *children(child)]
    return found


def ranks(job, count, seconds=20):
    """Process ids by rank, as soon as all of them are there."""
    end = time.monotonic() + sanitizers.seconds(seconds, BUILD)
    while time.monotonic() < end:
        found = {}
        for pid in children(job.pid):
            try:
                environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            except OSError:
                continue
            for word in environment:
                if word.startswith(b"OMPI_COMM_WORLD_RANK="):
                    found[int(word.split(b"=")[1])] = pid
        if len(found) == count:
            return found
        time.sleep(0.05)
    raise RuntimeError(f"{count} ranks did not start: {finish(job, 1)}")


def running(job, count, folder, seconds=60):
    """Process ids by rank, as soon as all of them have loaded their programs."""
    pids = ranks(job, count)
    end = time.monotonic() + sanitizers.seconds(seconds, BUILD)
    for pid in pids.values():
        maps = pathlib.Path(f"/proc/{pid}/maps")
        while maps.exists() and os.fsencode(folder) not in maps.read_bytes():
            if time.monotonic() > end:
                raise RuntimeError(f"a rank loaded no program of {folder}: {finish(job, 1)}")
            time.sleep(0.05)
    return pids


def left(folder):
    """Processes whose command line has the folder in it."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in words and int(path.parent.name) != os.getpid():
            found.append(words.replace(b"\0", b" ").decode(errors="replace"))
    return found
