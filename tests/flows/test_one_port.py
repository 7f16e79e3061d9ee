"""One port: nothing else of the server's processes can be reached from anywhere."""

import contextlib
import time
from pathlib import Path
from urllib.parse import urlsplit

LISTENING, NOT_CONNECTED = "0A", "07"
"""States of /proc/net: of a TCP socket that takes connections, of a UDP socket that is bound."""


def family(server):
    """The server's processes, with those that have left it: they name its home."""
    parents, home, found = {}, str(server.home).encode(), {server.process.pid}
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        with contextlib.suppress(OSError):
            stat = (folder / "stat").read_text()
            parents[pid] = int(stat.rpartition(")")[2].split()[1])
            said = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            if home in said:
                found.add(pid)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listeners(pids):
    """(kind, port) of each socket of these processes that others may reach by a network."""
    open_to = {}
    for kind, state in (("tcp", LISTENING), ("tcp6", LISTENING), ("udp", NOT_CONNECTED),
                        ("udp6", NOT_CONNECTED), ("raw", NOT_CONNECTED)):  # fmt: skip
        for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == state:
                port = int(fields[1].rpartition(":")[2], 16)
                open_to[f"socket:[{fields[9]}]"] = (kind, port)
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    found.add(open_to.get(str(descriptor.readlink())))
    return found - {None}


def test_with_trainings_tensorboard_and_workers_up_only_the_port_listens(start_server):
    server = start_server("--model-name", "counter,bare", "--no-warm-start")
    for model in ("counter", "bare"):
        server.wait_ready(model)
    run = server.train("counter", steps=100_000, seconds=0.01)
    server.wait_run(run, "training")
    until = time.monotonic() + 60
    while server.get("/tensorboard/").status_code != 200:
        assert time.monotonic() < until
        time.sleep(0.2)
    assert server.predict("bare").status_code == 200
    pids = family(server)
    words = b" ".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids)
    assert len(pids) >= 6 and b"tensorboard" in words and b"worker" in words
    assert server.run(run)["phase"] == "training"
    assert listeners(pids) == {("tcp", urlsplit(server.url).port)}
    server.delete(run["links"]["self"])
