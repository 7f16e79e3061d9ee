"""What the storage process answers with: plain values, known to the front as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Published:
    """A bundle that somebody published. `manifest` is the store's, without where its bytes lie, and
    without its lineage."""

    key: str
    kind: str
    manifest: Mapping[str, Any]


@dataclass(frozen=True)
class RegisterEntry:
    """The newest entry of a register: that with the highest (counter, server)."""

    register: str
    counter: int
    server: str
    value: Mapping[str, Any]


@dataclass(frozen=True)
class Changes:
    """One page of what is new in the store.

    `deleted` are the keys of bundles that somebody deleted; a bundle that is merely not listed is
    not among them. `problems` tell, as text, what could not be read and is left out.
    """

    published: Sequence[Published] = ()
    deleted: Sequence[str] = ()
    registers: Sequence[RegisterEntry] = ()
    problems: Sequence[str] = ()

    def to_plain(self) -> dict[str, Any]:
        # Not asdict: it copies each of half a million files, for twenty seconds.
        return {
            "published": [vars(item) for item in self.published],
            "deleted": list(self.deleted),
            "registers": [vars(item) for item in self.registers],
            "problems": list(self.problems),
        }

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Changes:
        return cls(
            published=tuple(Published(**item) for item in data["published"]),
            deleted=tuple(data["deleted"]),
            registers=tuple(RegisterEntry(**item) for item in data["registers"]),
            problems=tuple(data["problems"]),
        )


@dataclass(frozen=True)
class RepairReport:
    """What a repair removed, or would remove (`dry`). Counts of objects; `size` is in bytes.

    `deletions` are manifests whose deletion was not finished, `entries` old register entries.
    `refused` tells why no blob or pack was looked at: a manifest could not be read.
    """

    dry: bool
    blobs: int = 0
    packs: int = 0
    size: int = 0
    shared: int = 0
    entries: int = 0
    deletions: int = 0
    uploads: int = 0
    refused: str | None = None
