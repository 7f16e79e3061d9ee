"""One call of a connection, from its head to its answer. Runs in the front."""

from __future__ import annotations

import time
from collections.abc import Callable

from ...schemas.transport import RequestData
from ...serving.coming import Coming
from .calls import Kind


class Call:
    """What the connection knows of it."""

    __slots__ = (
        "begun",
        "coming",
        "drop",
        "folder",
        "head",
        "inside",
        "kind",
        "request",
        "started",
    )

    def __init__(self, kind: Kind, head: bytes) -> None:
        self.kind = kind
        self.head = head
        self.started = time.perf_counter()
        self.inside = False  # counted at the door
        self.request: RequestData | None = None
        self.folder = ""
        self.coming: Coming | None = None  # while its body is
        self.drop: Callable[[], object] | None = None  # while it is asked
        self.begun = False  # its answer has begun to leave
