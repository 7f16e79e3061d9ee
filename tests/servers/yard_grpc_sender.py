"""Who sends long gRPC messages, and holds none of them: HTTP/2 by hand, from asyncio.

It tells what no client does: how much of each message the server let it send.
"""

import asyncio
import struct
from contextlib import suppress

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
INITIAL_WINDOW_SIZE = 4
FRAME = 16_384
NOTHING = bytes(FRAME)
METHOD = "/inference.GRPCInferenceService/ModelInfer"
CHECK = "/grpc.health.v1.Health/Check"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def header(name, value):
    """A field of HPACK that nobody remembers (RFC 7541, section 6.2.2), below 127 bytes each."""
    assert len(name) < 127 and len(value) < 127
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


class Sent:
    """A call: its message is `head`, and zeros up to `size` bytes. It `stalls` when so much of it
    has gone. Of an answer of which it `takes` nothing 64 KiB come, which HTTP/2 lets anybody send;
    `came` counts."""

    def __init__(self, window, head, size, stalls, takes):
        self.window, self.stalls, self.takes = window, stalls, takes
        self.came = 0
        self.left = struct.pack(">BI", 0, size) + head
        self.zeros = size - len(head)
        self.sent = 0
        self.ended = asyncio.get_running_loop().create_future()

    def next(self, most):
        """The next bytes of it."""
        most = min(most, self.window, FRAME, self.stalls - self.sent)
        if most <= 0:
            return b""
        if self.left:
            piece, self.left = self.left[:most], self.left[most:]
        else:
            piece = NOTHING[: min(most, self.zeros)]
            self.zeros -= len(piece)
        self.sent += len(piece)
        self.window -= len(piece)
        return piece

    @property
    def whole(self):
        return not self.left and not self.zeros


class Sender:
    """One connection; `async with` it."""

    def __init__(self, target):
        self._target = target
        self._window, self._first_window = 65_535, 65_535
        self._calls = {}
        self.closed = False
        self._more = asyncio.Event()

    async def __aenter__(self):
        host, _, port = self._target.rpartition(":")
        self._reader, self._writer = await asyncio.open_connection(host, int(port))
        self._writer.write(PREFACE + frame(SETTINGS, 0, 0))
        self._tasks = [asyncio.create_task(work) for work in (self._read(), self._send())]
        return self

    async def __aexit__(self, *_):
        for task in self._tasks:
            task.cancel()
        self._writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def call(self, path=METHOD, size=0, *, head=b"", key=None, stalls=1 << 40, takes=True):
        """Begins one; `ended` of it tells when the server has ended it."""
        stream = 2 * len(self._calls) + 1
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "localhost",
            "content-type": "application/grpc",
            "te": "trailers",
        }
        if key is not None:
            fields["authorization"] = key["Authorization"]
        block = b"".join(header(name, value) for name, value in fields.items())
        self._writer.write(frame(HEADERS, END_HEADERS, stream, block))
        call = self._calls[stream] = Sent(self._first_window, head, size, stalls, takes)
        self._more.set()
        return call

    async def _send(self):
        while True:
            await self._more.wait()
            self._more.clear()
            for stream, call in self._calls.items():
                while not call.ended.done() and (piece := call.next(self._window)):
                    self._window -= len(piece)
                    self._writer.write(frame(DATA, END_STREAM * call.whole, stream, piece))
                    await self._writer.drain()

    async def _read(self):
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                start = await self._reader.readexactly(9)
                length = int.from_bytes(start[:3], "big")
                kind, flags, stream = struct.unpack(">BBI", start[3:])
                self._got(kind, flags, stream, await self._reader.readexactly(length))
        self.closed = True
        for call in self._calls.values():
            if not call.ended.done():
                call.ended.set_result(None)

    def _came(self, call, stream, size):
        call.came += size
        for which in [0, stream] if call.takes else [0]:
            self._writer.write(frame(WINDOW_UPDATE, 0, which, struct.pack(">I", size)))

    def _got(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            for name, value in struct.iter_unpack(">HI", payload):
                if name == INITIAL_WINDOW_SIZE:
                    for call in self._calls.values():
                        call.window += value - self._first_window
                    self._first_window = value
            self._writer.write(frame(SETTINGS, ACK, 0))
        elif kind == DATA and payload:
            self._came(self._calls[stream], stream, len(payload))
        elif kind == PING and not flags & ACK:
            self._writer.write(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            (more,) = struct.unpack(">I", payload)
            if not stream:
                self._window += more
            elif stream in self._calls:
                self._calls[stream].window += more
        if stream in self._calls and (kind == RST_STREAM or (flags & END_STREAM and kind < 2)):
            call = self._calls[stream]
            if not call.ended.done():
                call.ended.set_result(None)
        self._more.set()
