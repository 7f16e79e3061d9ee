"""A connection of which every byte is the test's own."""

import socket
import time
from urllib.parse import urlsplit


class Talk:
    """To a server of `conftest`."""

    def __init__(self, server):
        port = urlsplit(server.url).port
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._got = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *pieces):
        for piece in pieces:
            self.socket.sendall(piece)
            if len(pieces) > 1:
                time.sleep(0.05)

    def answer(self):
        """Status, headers (names as they come) and body of the next answer."""
        head = self._until(lambda got: b"\r\n\r\n" in got)
        head, _, self._got = head.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        if headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while True:
                self._until(lambda got: b"\r\n" in got)
                size, _, rest = self._got.partition(b"\r\n")
                count = int(size, 16)
                self._got = rest
                self._until(lambda got, count=count: len(got) >= count + 2)
                body, self._got = body + self._got[:count], self._got[count + 2 :]
                if not count:
                    break
        else:
            length = int(headers["Content-Length"])
            self._until(lambda got: len(got) >= length)
            body, self._got = self._got[:length], self._got[length:]
        return int(first.split()[1]), headers, body

    def go_on(self):
        """Waits for the word that a body may be sent (RFC 9110, 15.2.1)."""
        said = self._until(lambda got: b"\r\n\r\n" in got)
        head, _, self._got = said.partition(b"\r\n\r\n")
        assert head == b"HTTP/1.1 100 Continue", head

    def ended(self):
        """True if the server closes the connection now."""
        return not self._got and self.socket.recv(1) == b""

    def _until(self, enough):
        while not enough(self._got):
            more = self.socket.recv(1 << 20)
            assert more, f"the connection ended after {self._got[:300]!r}"
            self._got += more
        return self._got


def post(path, body, *headers, host="localhost", kind="application/json"):
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Type: {kind}"]
    lines += [f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(path, body, *headers, kind="application/json"):
    """The same request as only the framework takes it."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}"]
    head = "\r\n".join([*lines, "Transfer-Encoding: chunked", *headers, "", ""]).encode()
    return head + (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
