"""What tests of access ask of a server of `conftest`: by HTTP's two ways, and of its audit log."""

import json

from talk import Talk, chunked, post

KINDS = "/v2/models/kinds/predict/"


def line(header):
    return f"Authorization: {header['Authorization']}"


def both_ways(server, *headers, path=KINDS):
    """The answers to one call by the lane (if it takes it) and by the framework."""
    with Talk(server) as short, Talk(server) as long:
        short.send(post(path, b'{"text": "a"}', *headers))
        long.send(chunked(path, b'{"text": "a"}', *headers))
        told = [short.answer(), long.answer()]
    for _, said, _ in told:
        for name in ("Date", "Content-Length", "Transfer-Encoding"):
            said.pop(name, None)
    assert told[0] == told[1]
    return told[0]


def audit(server, name):
    """The lines of a day's file."""
    file = server.home / "audit" / name
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
