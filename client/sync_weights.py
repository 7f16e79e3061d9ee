"""Weights versions for programs without an event loop."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from .aio import AsyncClient
from .content import Progress
from .loop_thread import LoopThread
from .weights import Alias, Export, Exports, Lineage, ShareLink, Weights, WeightsPage
from .weights_calls import PRODUCTION, UNSET, Unset, Watch


class SyncWeightsCalls:
    """What `Client` has for weights versions. Callbacks are called in the client's own thread."""

    _client: AsyncClient
    _loop: LoopThread

    def weights(
        self,
        model: str,
        *,
        limit: int | None = None,
        tag: str | None = None,
        state: str | None = None,
    ) -> list[Weights]:
        """The weights versions of a model, newest first; see `AsyncClient.weights`."""
        return self._loop.run(self._client.weights(model, limit=limit, tag=tag, state=state))

    def weights_page(
        self,
        model: str,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        tag: str | None = None,
        state: str | None = None,
    ) -> WeightsPage:
        """One page of them; `cursor` is that of the page before."""
        return self._loop.run(
            self._client.weights_page(model, limit=limit, cursor=cursor, tag=tag, state=state)
        )

    def weights_version(self, model: str, version: str) -> Weights:
        """One weights version, by its id or an alias (`latest`, `production`, ...)."""
        return self._loop.run(self._client.weights_version(model, version))

    def change_weights(
        self,
        model: str,
        version: str,
        *,
        tags: Sequence[str] | None = None,
        notes: str | Unset | None = UNSET,
    ) -> Weights:
        """Sets all tags of a version, or its notes (None removes them); what is not given stays."""
        return self._loop.run(self._client.change_weights(model, version, tags=tags, notes=notes))

    def delete_weights(self, model: str, version: str) -> None:
        """Deletes a version, in the shared store too. Raises Conflict, which says who needs it."""
        self._loop.run(self._client.delete_weights(model, version))

    def aliases(self, model: str) -> list[Alias]:
        """The names of a model's versions, `latest` first."""
        return self._loop.run(self._client.aliases(model))

    def set_alias(self, model: str, alias: str, version: str) -> Alias:
        """Has an alias name a version. `production` moves the predictions that name none."""
        return self._loop.run(self._client.set_alias(model, alias, version))

    def divide_alias(
        self,
        model: str,
        alias: str,
        weights: Mapping[str, float],
        *,
        shadow: str | None = None,
        shadow_share: float = 1.0,
    ) -> Alias:
        """Divides calls between versions by weight; the first is the alias's own. `shadow` gets
        copies of a part of the calls, that nobody waits for."""
        return self._loop.run(
            self._client.divide_alias(
                model, alias, weights, shadow=shadow, shadow_share=shadow_share
            )
        )

    def remove_alias(self, model: str, alias: str) -> None:
        """Has an alias name nothing any more."""
        self._loop.run(self._client.remove_alias(model, alias))

    def roll_back(self, model: str, alias: str = PRODUCTION) -> Alias:
        """Has an alias name again what it named before. Raises Conflict if there is nothing."""
        return self._loop.run(self._client.roll_back(model, alias))

    def retry_weights(self, model: str, version: str) -> Weights:
        """Has the server try now to bring a version to its store, or mend it there. Raises
        Conflict."""
        return self._loop.run(self._client.retry_weights(model, version))

    def push_weights(
        self,
        model: str,
        version: str,
        *,
        mend: bool = False,
        timeout_s: float | None = None,
        watch: Watch | None = None,
    ) -> Weights:
        """The version once the server's shared store has it; see `AsyncClient.push_weights`."""
        return self._loop.run(
            self._client.push_weights(model, version, mend=mend, timeout_s=timeout_s, watch=watch)
        )

    def pull_weights(self, model: str, version: str, *, watch: Watch | None = None) -> Weights:
        """The version once its files are on the server's disk; see `AsyncClient.pull_weights`."""
        return self._loop.run(self._client.pull_weights(model, version, watch=watch))

    # -- as files -----------------------------------------------------------------------------

    def export_archive(
        self,
        model: str,
        version: str,
        save_to: str | os.PathLike[str],
        *,
        format: str = "tar.gz",
        progress: Progress | None = None,
    ) -> int:
        """Saves a version as one archive; see `AsyncClient.export_archive`."""
        return self._loop.run(
            self._client.export_archive(model, version, save_to, format=format, progress=progress)
        )

    def import_archive(
        self, model: str, archive: str | os.PathLike[str], *, progress: Progress | None = None
    ) -> Weights:
        """Has the server take in an archive of a version; see `AsyncClient.import_archive`."""
        return self._loop.run(self._client.import_archive(model, archive, progress=progress))

    def share_link(
        self, model: str, version: str, *, expires_s: int | None = None, format: str = "tar.gz"
    ) -> ShareLink:
        """An address that gives the archive to whoever has it, for `expires_s` seconds (a day)."""
        return self._loop.run(
            self._client.share_link(model, version, expires_s=expires_s, format=format)
        )

    def model_card(self, model: str, version: str) -> str:
        """Data, arguments, metrics, curves, environment and licence, in Markdown."""
        return self._loop.run(self._client.model_card(model, version))

    def lineage(self, model: str, version: str) -> Lineage:
        """Data, code, environment, arguments, seed, parent and run of a version."""
        return self._loop.run(self._client.lineage(model, version))

    def exports(self, model: str, version: str) -> Exports:
        """In which formats a version can be had, and which of them have been made."""
        return self._loop.run(self._client.exports(model, version))

    def make_export(
        self, model: str, version: str, format: str, *, timeout_s: float | None = None
    ) -> Export:
        """Makes an export (`onnx`, ...) if it is not there; see `AsyncClient.make_export`."""
        return self._loop.run(self._client.make_export(model, version, format, timeout_s=timeout_s))

    def download_export(
        self,
        model: str,
        version: str,
        format: str,
        save_to: str | os.PathLike[str],
        *,
        progress: Progress | None = None,
    ) -> int:
        """Saves an export that was made; returns its size in bytes."""
        return self._loop.run(
            self._client.download_export(model, version, format, save_to, progress=progress)
        )
