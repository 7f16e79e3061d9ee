"""One port: nothing else of the server's processes can be reached from anywhere."""

import contextlib
import time
from pathlib import Path
from urllib.parse import urlsplit

from yard_grpc import grpc_target

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


LOOPBACK = ("0100007F", "0000000000000000FFFF00000100007F")
"""127.0.0.1 there, and as IPv6 has it."""


def listeners(pids):
    """(kind, port) of each socket of these processes that others may reach by a network; of those
    beyond the loopback the address, too."""
    open_to = {}
    for kind, state in (("tcp", LISTENING), ("tcp6", LISTENING), ("udp", NOT_CONNECTED),
                        ("udp6", NOT_CONNECTED), ("raw", NOT_CONNECTED)):  # fmt: skip
        for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == state:
                address, _, port = fields[1].rpartition(":")
                where = () if address in LOOPBACK else (address,)
                open_to[f"socket:[{fields[9]}]"] = (kind, int(port, 16), *where)
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


def test_with_grpc_a_store_and_an_old_modules_training_only_the_two_ports_listen(
    start_server, tmp_path
):
    """Also an old module's TensorBoard, which such modules start by themselves."""
    server = start_server(
        *("--model-name", "old-monitored,reader", "--no-warm-start", "--grpc-port", "0"),
        *("--storage", str(tmp_path / "store")),
    )
    for model in ("old-monitored", "reader"):
        assert server.wait_ready(model)["state"] == "ready"
    ports = {urlsplit(server.url).port, int(grpc_target(server).rpartition(":")[2])}
    seen, words = set(), b""

    def look():
        nonlocal words
        pids = family(server)
        seen.update(listeners(pids))
        for pid in pids:
            with contextlib.suppress(OSError):
                words += Path(f"/proc/{pid}/cmdline").read_bytes()

    run = server.train("old-monitored")
    sent = server.post("/v2/datasets/?name=rows&model=reader", files={"file": ("a.csv", b"a,b")})
    assert sent.status_code == 201
    until = time.monotonic() + 60
    while server.run(run)["phase"] != "finished":
        assert time.monotonic() < until
        look()
        time.sleep(0.05)
    assert server.run(run)["status"] == "done", server.log(run)
    look()
    assert b"storage" in words and b"worker" in words
    assert {port for _, port, *_ in seen} == ports
    assert all(len(one) == 2 for one in seen), seen
