"""Whether the other ranks are alive, known from their connections and not from what they compute.

A rank that waits for a dead one inside a collective may wait for hours: NCCL notices nothing, and gloo only
what reaches the very connection it reads from. So each rank keeps one idle connection to rank 0. The kernel
closes it when a process ends, however it ends, and probes it, so that a host that lost its power or its
network is found out too.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import socket
import sys
import threading
import time
from typing import Any, cast

SILENCE = 40
"""Seconds after which a host that answers no probe counts as gone."""
GRACE = 3.0
"""Seconds in which a rank may end by itself before it is ended, so that its own message is the one shown."""
KEY = "unified/peers"
"""Under which rank 0 leaves its port and a word that only the ranks of this job know."""
LOST = 1
"""Exit code of a rank that ends because another died: the same command continues the run."""


class Peers:
    """Ends this process, with a message, when another rank has died or has met an error of its own.

    All ranks make one at the same time. store: torch's store of the job; master: address of rank 0;
    patience: seconds to wait for the others. Raises TimeoutError where they do not come.
    """

    def __init__(self, rank: int, world: int, store: Any, master: str, patience: float) -> None:
        self.rank, self.world = rank, world
        self.left = False
        self.sockets: dict[socket.socket, int] = {}
        if rank == 0:
            listener = socket.create_server(("", 0), backlog=world)
            listener.settimeout(patience)
            token = secrets.token_bytes(16)
            store.set(KEY, f"{listener.getsockname()[1]} {token.hex()}")
            while len(self.sockets) < world - 1:
                connection, _ = listener.accept()
                hello = _receive(connection, len(token) + 4)
                if hello[: len(token)] == token:
                    self.sockets[connection] = int.from_bytes(hello[len(token) :], "big")
                else:
                    connection.close()
            listener.close()
        else:
            port, secret = store.get(KEY).decode().split()
            token = bytes.fromhex(secret)
            connection = socket.create_connection((master, int(port)), timeout=patience)
            connection.sendall(token + rank.to_bytes(4, "big"))
            self.sockets[connection] = 0
        for connection in self.sockets:
            _probe(connection)
        threading.Thread(target=self._watch, name="peers", daemon=True).start()

    def leave(self, error: str | None = None) -> None:
        """To be called where this rank ends in good order. error: what it, perhaps alone, has met."""
        self.left = True
        self._tell("error " + error.replace("\n", "\v") if error else "bye")

    def await_verdict(self) -> None:
        """Ends the process if another rank turns out to have died in the next seconds. To be called when a
        collective has failed."""
        time.sleep(2 * GRACE)

    def _tell(self, line: str) -> None:
        for connection in self.sockets:
            with contextlib.suppress(OSError):  # it is gone, which is known or will be
                connection.sendall(f"{line}\n".encode())

    def _watch(self) -> None:
        buffers = dict.fromkeys(self.sockets, b"")
        with selectors.DefaultSelector() as selector:
            for peer in self.sockets:
                selector.register(peer, selectors.EVENT_READ)
            while buffers and not self.left:
                for key, _ in selector.select():
                    connection = cast(socket.socket, key.fileobj)
                    try:
                        data = connection.recv(65536)
                    except OSError:
                        data = b""
                    buffers[connection] += data
                    if data and not buffers[connection].endswith(b"\n"):
                        continue
                    word, _, text = buffers[connection].decode(errors="replace").strip().partition(" ")
                    if not self.left:
                        self._judge(self.sockets[connection], word, text.replace("\v", "\n"))
                    selector.unregister(connection)  # it has left in good order
                    del buffers[connection]

    def _judge(self, rank: int, word: str, text: str) -> None:
        """What follows from a rank's last word, or from its having none."""
        if word == "bye":
            return
        if word == "end":  # rank 0 has said why
            os._exit(int(text))
        if word == "error":
            time.sleep(GRACE)  # most errors are those of all ranks, and this one is just meeting it too
            self._end(f"rank {rank}: {text}" if self.rank == 0 else None, 2)
        self._end(
            f"rank {rank} died (killed, out of memory, or its host is gone), so this run stops; "
            "the same command continues from its newest checkpoint",
            LOST,
        )

    def _end(self, message: str | None, code: int) -> None:
        if message is not None:
            print(f"error: {message}", file=sys.stderr, flush=True)
        if self.rank == 0:
            self._tell(f"end {code}")
        os._exit(code)


def _receive(connection: socket.socket, count: int) -> bytes:
    """The first `count` bytes; fewer from a stranger that sends fewer within a minute."""
    connection.settimeout(60)
    data = b""
    with contextlib.suppress(OSError):
        while len(data) < count and (more := connection.recv(count - len(data))):
            data += more
    return data


def _probe(connection: socket.socket) -> None:
    """Lets the kernel ask after an idle peer, and give it up after SILENCE."""
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    settings = {"TCP_KEEPIDLE": SILENCE // 2, "TCP_KEEPINTVL": SILENCE // 8, "TCP_KEEPCNT": 4}
    for name, value in settings.items():
        if hasattr(socket, name):  # macOS lacks the first
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
