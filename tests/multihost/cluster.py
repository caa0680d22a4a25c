"""Two hosts on one machine: network namespaces joined by a cable, each with a name of its own.

As Debian does, each host gives its own name a loopback address, by which no other host can reach it.

`start` writes `ssh`, `pdsh`, `srun` and `at` (`at HOST COMMAND...`), which enter a host and do not dial it.
They are this file, run under their names.
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

ADDRESSES = {"alpha": "10.213.77.1", "beta": "10.213.77.2"}
SUFFIX = "UNIFIED_TEST_CLUSTER"
"""Environment variable whose value makes the names of namespaces and interfaces unique."""


def namespace(host):
    return f"{host}{os.environ[SUFFIX]}"


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def start(folder):
    """Makes the hosts, and their commands in `folder`. Raises CalledProcessError where that is forbidden."""
    cables = [f"{host[0]}{os.environ[SUFFIX]}" for host in ADDRESSES]
    for host in ADDRESSES:
        ip("netns", "add", namespace(host))
    ip("link", "add", cables[0], "type", "veth", "peer", "name", cables[1])
    for (host, address), cable in zip(ADDRESSES.items(), cables, strict=True):
        ip("link", "set", cable, "netns", namespace(host))
        ip("-n", namespace(host), "address", "add", f"{address}/24", "dev", cable)
        for device in (cable, "lo"):
            ip("-n", namespace(host), "link", "set", device, "up")
        lines = ["127.0.0.1 localhost", f"127.0.1.1 {host}"]
        lines += [f"{there} {name}" for name, there in ADDRESSES.items() if name != host]
        (folder / f"{host}.hosts").write_text("\n".join(lines) + "\n")
    for name in ("ssh", "pdsh", "srun", "at"):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {name} "$@"\n')
        script.chmod(0o755)


def stop():
    for host in ADDRESSES:
        inside = subprocess.run(
            ["ip", "netns", "pids", namespace(host)], capture_output=True, text=True
        ).stdout.split()
        for process in inside:
            subprocess.run(["kill", "-9", process], capture_output=True)
        subprocess.run(["ip", "netns", "delete", namespace(host)], capture_output=True)


# ------------------------------------------------------------------------------- inside the commands


def run_at(host, command, **environment):
    """Starts words on a host."""
    names = Path(os.environ["PATH"].split(os.pathsep)[0]) / f"{host}.hosts"
    enter = 'hostname "$0" && mount --bind "$1" /etc/hosts && shift && exec "$@"'
    words = ["ip", "netns", "exec", namespace(host), "unshare", "--uts", "--mount", "sh", "-c", enter]
    return subprocess.Popen([*words, host, str(names), *command], env={**os.environ, **environment})


def wait(processes):
    return max(process.wait() for process in processes)


def at(host, *command):
    return wait([run_at(host, command)])


def ssh(*words):
    words = list(words)
    while words[0].startswith("-"):
        del words[:2]
    return wait([run_at(words[0], ["sh", "-c", " ".join(words[1:])])])


def pdsh(*words):
    """pdsh -S -f N -w HOST,HOST COMMAND..., as DeepSpeed calls it."""
    assert words[:2] == ("-S", "-f") and words[3] == "-w"
    command = " ".join(words[5:])
    hosts = words[4].split(",")
    return wait([run_at(host, ["sh", "-c", command.replace("%n", str(n))]) for n, host in enumerate(hosts)])


def srun(*words):
    """srun --nodes N --ntasks-per-node N COMMAND..., as srun does it for one step of a job."""
    assert words[0] == "--nodes" and words[2] == "--ntasks-per-node"
    hosts, each = list(ADDRESSES)[: int(words[1])], int(words[3])
    step = {
        "SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": str(len(hosts) * each),
        "SLURM_STEP_NODELIST": ",".join(hosts), "SLURM_STEP_TASKS_PER_NODE": f"{each}(x{len(hosts)})",
    }  # fmt: skip
    return wait(
        [
            run_at(
                host,
                words[4:],
                **step,
                SLURM_NODEID=str(n),
                SLURM_LOCALID=str(local),
                SLURM_PROCID=str(n * each + local),
            )  # fmt: skip
            for n, host in enumerate(hosts)
            for local in range(each)
        ]
    )


if __name__ == "__main__":
    print(f"+ {shlex.join(sys.argv[1:])}", file=sys.stderr, flush=True)
    sys.exit({"ssh": ssh, "pdsh": pdsh, "srun": srun, "at": at}[sys.argv[1]](*sys.argv[2:]))
