"""`deepaas.model.v2.base.BaseModel`, for modules that derive from it. Python 3.8 syntax."""

from __future__ import annotations

import abc
from typing import Any


class BaseModel(metaclass=abc.ABCMeta):
    """What a DEEPaaS module offers; nothing of it has a default, `schema` aside."""

    schema: Any = None

    @abc.abstractmethod
    def get_metadata(self) -> Any:
        """A dict that describes the model."""
        raise NotImplementedError

    @abc.abstractmethod
    def predict(self, **kwargs: Any) -> Any:
        """Predicts with the arguments that `get_predict_args` declares."""
        raise NotImplementedError

    @abc.abstractmethod
    def get_predict_args(self) -> Any:
        """A dict of webargs fields."""
        raise NotImplementedError

    @abc.abstractmethod
    def train(self, **kwargs: Any) -> Any:
        """Trains with the arguments that `get_train_args` declares."""
        raise NotImplementedError

    @abc.abstractmethod
    def get_train_args(self) -> Any:
        """A dict of webargs fields."""
        raise NotImplementedError

    @abc.abstractmethod
    def warm(self) -> Any:
        """Is called once before the first prediction."""
        raise NotImplementedError
