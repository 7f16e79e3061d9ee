"""Why a model does not serve. Runs in the front."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ModelyardError, PluginFailed


@dataclass(frozen=True)
class LoadError:
    """`type` is the class of what the plugin raised."""

    message: str
    type: str = ""
    traceback: str = ""

    @classmethod
    def of(cls, error: ModelyardError) -> LoadError:
        if isinstance(error, PluginFailed):
            return cls(error.message, error.original_type, error.traceback)
        return cls(error.message, type(error).__name__)
