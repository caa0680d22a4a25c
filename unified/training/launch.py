"""Processes of a run: threads, ranks, and what they agree on.

Works under `deepspeed`, `torchrun` and `srun`, on one host or several, and as one plain process.
"""

from __future__ import annotations

import contextlib
import io
import ipaddress
import os
import re
import socket
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unified.errors import UserError
from unified.training.peers import Peers

if TYPE_CHECKING:
    import torch

PATIENCE = timedelta(hours=12)
"""How long a rank waits for another before it gives up: evaluation runs on rank 0 alone. A rank that dies
is noticed at once, by its closed connection (`peers`)."""
MEETING = timedelta(minutes=10)
"""How long a rank waits for the others to start."""

_peers: Peers | None = None


def prepare_environment() -> None:
    """Sets threads and the variables of a one-process run. To be called before torch is imported.

    Two torch processes that use all cores each slow one another down 10-50 times, so each gets cores / local
    ranks unless the user has set OMP_NUM_THREADS.
    """
    if "RANK" not in os.environ and int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        for name, value in _slurm_ranks(os.environ).items():
            os.environ.setdefault(name, value)
    spin_briefly()
    if not _threads_chosen():
        os.environ["OMP_NUM_THREADS"] = str(max(1, usable_cores() // _local_world()))
    if "RANK" not in os.environ:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    several_hosts = int(os.environ["WORLD_SIZE"]) > _local_world() and "MASTER_ADDR" in os.environ
    if several_hosts and "GLOO_SOCKET_IFNAME" not in os.environ:
        interface = _interface_towards(os.environ["MASTER_ADDR"])
        if interface is not None:
            os.environ["GLOO_SOCKET_IFNAME"] = interface


def spin_briefly() -> None:
    """Lets threads that wait for one another (GNU OpenMP) spin for a moment only: as fast on an idle machine,
    and no collapse, of 10-50 times, beside a busy neighbour. To be called before torch is imported."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _slurm_ranks(slurm: Mapping[str, str]) -> dict[str, str]:
    """The variables of torchrun for one of several tasks that `srun` started, without which each would train
    alone."""
    first = re.match(r"([^\[,]+)(?:\[(\w+)[^\]]*\]([^,]*))?", slurm["SLURM_STEP_NODELIST"])
    tasks: list[str] = []
    for count, _, times in re.findall(r"(\d+)(\(x(\d+)\))?", slurm["SLURM_STEP_TASKS_PER_NODE"]):
        tasks += [count] * int(times or 1)
    ranks = {
        "RANK": slurm["SLURM_PROCID"],
        "LOCAL_RANK": slurm["SLURM_LOCALID"],
        "WORLD_SIZE": slurm["SLURM_STEP_NUM_TASKS"],
        "LOCAL_WORLD_SIZE": tasks[int(slurm["SLURM_NODEID"])],
        "MASTER_ADDR": "".join(part or "" for part in first.groups()) if first else "",
        "MASTER_PORT": str(20000 + int(slurm["SLURM_JOB_ID"]) % 10000),  # jobs that share a host do not meet
    }
    if "SLURM_CPUS_PER_TASK" in slurm:
        ranks["OMP_NUM_THREADS"] = slurm["SLURM_CPUS_PER_TASK"]
    return ranks


def _interface_towards(master: str) -> str | None:
    """The network interface by which this host reaches the host `master`, None if it is not known.

    Gloo left alone listens at the address of the host's own name, which on many systems is a loopback
    address (Debian's 127.0.1.1) that no other host can reach.
    """
    import psutil

    owner = {address.address: name for name, found in psutil.net_if_addrs().items() for address in found}
    for host in (master, "192.0.2.1"):  # where master is a loopback address here: the default route
        with contextlib.suppress(OSError):
            family, kind, _, _, address = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
            with socket.socket(family, kind) as probe:
                probe.connect(address)  # sends nothing
                own = probe.getsockname()[0]
            if own in owner and not ipaddress.ip_address(own).is_loopback:
                return owner[own]
    up = psutil.net_if_stats()
    others = {
        name for address, name in owner.items()
        if up[name].isup and "." in address and not address.startswith("127.")
    }  # fmt: skip
    return others.pop() if len(others) == 1 else None


def is_main() -> bool:
    """Whether this process is the one that talks; known before torch is imported."""
    return os.environ.get("RANK", "0") == "0"


def usable_cores() -> int:
    """Cores this process may use: its affinity, bounded by the quota of its control group (containers)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, max(1, round(int(quota) / int(period))))
    return cores


def _local_world() -> int:
    """Ranks on this host: torchrun and deepspeed name the variable differently."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("LOCAL_SIZE") or 1)


def _threads_chosen() -> bool:
    """Whether the user set OMP_NUM_THREADS. torchrun sets it to 1 where the user did not, which its own
    environment shows."""
    if "OMP_NUM_THREADS" not in os.environ:
        return False
    if "TORCHELASTIC_RUN_ID" not in os.environ or os.environ["OMP_NUM_THREADS"] != "1":
        return True
    try:
        return b"OMP_NUM_THREADS=" in Path(f"/proc/{os.getppid()}/environ").read_bytes()
    except OSError:
        return True


@dataclass(frozen=True)
class Ranks:
    """The processes of a run, seen from one of them."""

    rank: int
    world: int
    local_rank: int
    device: torch.device
    group: Any = field(repr=False)
    """Process group over CPU tensors, for agreements that must not wait for the accelerator."""

    @property
    def main(self) -> bool:
        return self.rank == 0

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of a CPU tensor over all ranks, the same bits on each."""
        import torch.distributed as dist

        if self.world > 1:
            dist.all_reduce(values, group=self.group)
        return values

    def gather(self, value: Any) -> list[Any] | None:
        """The values of all ranks in order, on rank 0; None on the others."""
        import torch.distributed as dist

        if self.world == 1:
            return [value]
        found: list[Any] | None = [None] * self.world if self.main else None
        dist.gather_object(value, found, dst=0, group=self.group)
        return found

    def barrier(self) -> None:
        import torch.distributed as dist

        if self.world > 1:
            dist.barrier(group=self.group)

    @contextlib.contextmanager
    def main_alone(self) -> Iterator[None]:
        """Around work that rank 0 does while the others wait at its end; it may use all cores meanwhile."""
        import torch

        threads = torch.get_num_threads()
        if self.main and "OMP_NUM_THREADS" in os.environ and threads == int(os.environ["OMP_NUM_THREADS"]):
            torch.set_num_threads(threads * _local_world())
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            self.barrier()


def start() -> Ranks:
    """Joins the other processes. NCCL on GPUs, gloo on CPUs. Raises UserError where they cannot meet."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed warns that it found no GPU
    import torch.distributed as dist

    store, rank, world = _meet()  # before the long imports, during which a rank may die, too
    import deepspeed
    from deepspeed.accelerator import get_accelerator
    from deepspeed.utils import logger

    logger.setLevel("WARNING")
    warnings.filterwarnings(
        "ignore", message=r"`torch\.distributed\.\w+` is deprecated", category=FutureWarning
    )
    # Shared-memory collectives serve tensor-parallel inference only, yet would be compiled here: 20 s and
    # a C++ compiler for nothing.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    accelerator = get_accelerator()
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    on_cpu = accelerator.device_name() == "cpu"
    if not on_cpu:
        accelerator.set_device(local_rank)
    backend = "gloo" if on_cpu else accelerator.communication_backend_name()
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=PATIENCE)
    with contextlib.redirect_stdout(io.StringIO()):
        deepspeed.init_distributed(dist_backend=backend, auto_mpi_discovery=False, verbose=False)
    device = torch.device("cpu") if on_cpu else torch.device(accelerator.device_name(), local_rank)
    group = dist.group.WORLD if on_cpu else dist.new_group(backend="gloo", timeout=PATIENCE)
    return Ranks(rank, world, local_rank, device, group)


def _meet() -> tuple[Any, int, int]:
    """The store of the job, this rank and the number of ranks, once all are there. Raises UserError where
    they cannot meet."""
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    global _peers
    place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    try:
        store, rank, world = next(iter(rendezvous("env://", timeout=MEETING)))
        if world > 1:
            _peers = Peers(rank, world, store, os.environ["MASTER_ADDR"], MEETING.total_seconds())
    except dist.DistNetworkError as error:
        raise UserError(
            f"the ranks cannot meet at {place} ({error}). If another job uses that port, give this one "
            "another: deepspeed --master_port N ..., torchrun --master-port N ..."
        ) from error
    except (dist.DistStoreError, TimeoutError) as error:
        raise UserError(f"not all ranks came to {place} within {MEETING.seconds // 60} minutes") from error
    return store, rank, world


def stop(error: str | None = None) -> bool:
    """Leaves the other processes in good order: without this call they take this rank for dead. error: what
    it has met, perhaps alone; rank 0 says so and all end. Returns whether there is anybody to hear it."""
    import torch.distributed as dist

    if _peers is not None:
        _peers.leave(error)
    if error is None and dist.is_initialized():
        dist.destroy_process_group()
    return _peers is not None


def await_verdict() -> None:
    """To be called when something failed that may be the work of a rank that died: ends this process, with a
    message, if one did."""
    if _peers is not None:
        _peers.await_verdict()
