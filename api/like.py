"""`train?like=VERSION`: a request that repeats the training of a weights version."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from ..errors import DatasetNotFound, InvalidArguments, RunNotFound, WeightsNotFound
from ..schemas.description import FieldDescription
from ..schemas.exactjson import loads
from ..schemas.transport import RequestData
from ..training.resuming import DATASET_ARGUMENTS
from .lineage import manifest_of, recorded_in
from .services import Services

_UNRECORDED = "It is secret and not recorded: give it again."
_UPLOADED = "A file was sent here, which is not kept: send it again."
_ABSENT = (
    "That training read the dataset {name} (digest {digest}), which is not here: send it"
    " (modelyard datasets add), or name another one."
)
_GONE = "The training had this argument, which the model does not have any more."


@dataclass(frozen=True)
class Likeness:
    """What a training is to share with that of the version `version`.

    `arguments` are all of it, as JSON, but for the secret ones, which `secrets` names; `weights`
    are the versions that it read, by the name it asked for; `dataset` is the id of a stored one,
    `absent` says which one is not here.
    """

    version: str
    arguments: Mapping[str, Any]
    secrets: Sequence[str]
    weights: Mapping[str, str]
    seed: int | None
    dataset: str | None
    absent: str | None = None

    def fill(
        self,
        request: RequestData,
        described: Sequence[FieldDescription],
        data_chosen: bool = False,
    ) -> tuple[RequestData, Likeness]:
        """The request with what it does not say itself; and what is left of the likeness then.

        `data_chosen`: the request names a dataset beside the model's arguments. An explicit seed or
        dataset stands in place of that of then.

        Values that are the defaults anyway are left out: a default need not be what a field takes.
        Raises InvalidArguments naming what has to be given: secrets, files, arguments of then that
        the model lacks now.
        """
        given = _names_in(request)
        data_chosen = data_chosen or request.raw is not None or bool(given & DATASET_ARGUMENTS)
        fields = {field.name: field for field in described}
        faults: dict[str, list[str]] = {}
        values: dict[str, Any] = {}
        for name in self.secrets:
            if name not in given:
                faults[name] = [_UNRECORDED]
        for name, value in self.arguments.items():
            field = fields.get(name)
            if field is None:
                faults[name] = [_GONE]
                continue
            replaced = name in DATASET_ARGUMENTS and (data_chosen or self.dataset is not None)
            if name in given or (field.has_default and field.default == value):
                continue
            if _is_file(field):
                if value and not replaced:
                    faults[name] = [_UPLOADED]
            elif not (name in DATASET_ARGUMENTS and data_chosen):
                values[name] = self._as_of_then(name, field, value)
        if self.absent is not None and not data_chosen:
            faults["dataset"] = [self.absent]
        if faults:
            raise InvalidArguments(faults)
        left = replace(
            self,
            seed=None if "seed" in given else self.seed,
            # As an argument it is looked up as one: it names the same dataset.
            dataset=None if data_chosen or "dataset" in values else self.dataset,
        )
        return _with(request, values, fields), left

    def _as_of_then(self, name: str, field: FieldDescription, value: Any) -> Any:
        """A name that has moved since (`latest`, the newest version of a dataset) as its id."""
        if field.kind != "string" or not isinstance(value, str):
            return value
        if name == "dataset" and self.dataset is not None:
            return self.dataset
        return self.weights.get(value, value)


async def _is_known(here: Services, dataset: str) -> bool:
    with suppress(DatasetNotFound):
        return bool(await here.dataset(dataset))
    return False


async def likeness(here: Services, model: str, name: str) -> Likeness:
    """Of the training that made this version, an id or an alias.

    Raises InvalidArguments, and StoreUnavailable if its manifest cannot be fetched.
    """
    try:
        version = await here.rooms.keeper.local(await here.version(model, name))
        manifest = await manifest_of(version)
    except WeightsNotFound as error:
        raise InvalidArguments({"like": [error.message]}) from error
    recorded = recorded_in(manifest)
    if recorded.get("arguments") is None:
        raise InvalidArguments(
            {"like": [f"How {version.id} was trained is not recorded: give the arguments."]}
        )
    data = manifest.get("dataset") or {}
    dataset, absent = data.get("id"), None
    if dataset is not None and not await _is_known(here, dataset):
        same = await here.rooms.datasets.find_digest(str(data.get("digest")))
        dataset = None if same is None else same.id
        absent = None if same is not None else _ABSENT.format(**{"name": None, **data})
    elif dataset is None and version.run is not None:
        # What was uploaded with the request may have become a dataset while it trained.
        with suppress(RunNotFound):
            dataset = (await here.runs.get(model, version.run)).dataset
    return Likeness(
        version=version.id,
        arguments=recorded["arguments"],
        secrets=recorded.get("secrets") or (),
        weights=recorded.get("weights") or {},
        seed=recorded.get("seed"),
        dataset=dataset,
        absent=absent,
    )


def _names_in(request: RequestData) -> set[str]:
    names = {name for name, _ in [*request.query, *request.form]}
    names |= {part.field for part in request.files}
    return names | _document(request).keys()


def _document(request: RequestData) -> dict[str, Any]:
    """The JSON body; what is none is for the model's own reading of it to refuse."""
    with suppress(ValueError):
        document = loads(request.body)
        if isinstance(document, dict):
            return document
    return {}


def _with(
    request: RequestData, values: Mapping[str, Any], fields: Mapping[str, FieldDescription]
) -> RequestData:
    """Values where the model looks for them; most in the JSON body, beside any form."""
    query, form, headers = list(request.query), list(request.form), dict(request.headers)
    document: dict[str, Any] = {}
    for name, value in values.items():
        place = fields[name].place
        if place in ("any", "json", "files"):
            document[name] = value
        elif place == "headers":
            headers.setdefault(name.lower(), _text(value))
        else:
            texts = value if isinstance(value, list) else [value]
            (query if place == "query" else form).extend((name, _text(one)) for one in texts)
    body = request.body
    if document:
        body = json.dumps({**document, **_document(request)}).encode()
    return replace(request, query=query, form=form, headers=headers, body=body)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _is_file(field: FieldDescription) -> bool:
    return field.kind == "file" or (field.items is not None and field.items.kind == "file")
