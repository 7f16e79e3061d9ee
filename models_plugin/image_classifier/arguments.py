"""The classifier's arguments and answers as marshmallow schemas. Knows no torch.

An argument whose default is None is decided from the data, or carried forward from the weights that
are fine-tuned; the training's result tells what it came to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from ...schemas.fields import File, Files
from ..values import UploadedFile

ARCHITECTURES = ("small", "medium", "large")
DEFAULT_ARCHITECTURE = "small"
EXPORT_FORMATS = ("onnx", "torch_export")


class Whole(fields.Integer):
    """An integer that refuses 2.5, which marshmallow's own cuts to 2."""

    def _validated(self, value: Any) -> int:
        if isinstance(value, float) and not value.is_integer():
            raise self.make_error("invalid", input=value)
        return super()._validated(value)


class Name(fields.String):
    """A text in which '' means that nothing was given (a browser's empty form field)."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        return text.strip() or None


class DatasetName(Name):
    """A name, or an archive that was uploaded under the same argument (`-F dataset=@data.zip`)."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, UploadedFile):
            return value
        return super()._deserialize(value, attr, data, **kwargs)


def _told(description: str, unit: str | None = None) -> dict[str, Any]:
    return (
        {"description": description}
        if unit is None
        else {
            "description": description,
            "unit": unit,
        }
    )


def _number(
    default: float, low: float, high: float, description: str, unit: str | None = None
) -> fields.Float:
    return fields.Float(
        load_default=default, validate=validate.Range(low, high), metadata=_told(description, unit)
    )


def _whole(
    default: int | None, low: int, high: int, description: str, unit: str | None = None
) -> Whole:
    return Whole(
        load_default=default,
        allow_none=default is None,
        validate=validate.Range(low, high),
        metadata=_told(description, unit),
    )


def _one_of(default: Any, choices: tuple[Any, ...], description: str) -> fields.Field[Any]:
    kind: type[fields.Field[Any]] = Whole if isinstance(choices[0], int) else fields.String
    return kind(
        load_default=default,
        allow_none=default is None,
        validate=validate.OneOf(choices),
        metadata=_told(description),
    )


class TrainArguments(Schema):
    """What a training takes: `dataset` or `archive`, and how to train."""

    dataset = DatasetName(
        load_default=None,
        allow_none=True,
        metadata=_told(
            "Name of a folder of pictures below the server's data root; or, uploaded under this"
            " name, an archive of them."
        ),
    )
    archive = File(
        load_default=None,
        allow_none=True,
        metadata=_told("In place of dataset: the pictures as zip, tar, tar.gz, tar.bz2 or tar.xz."),
    )
    from_weights = Name(
        load_default=None,
        allow_none=True,
        metadata=_told("Weights version to fine-tune: an id, 'latest' or 'production'."),
    )

    epochs = _whole(15, 1, 10_000, "How often every training picture is seen.", "epochs")
    batch_size = _whole(32, 2, 4096, "Pictures in one optimizer step.", "pictures")
    learning_rate = fields.Float(
        load_default=0.005,
        validate=validate.Range(0, 1, min_inclusive=False),
        metadata=_told("AdamW's step size at the start."),
    )
    schedule = _one_of(
        "cosine", ("cosine", "constant"), "How the learning rate goes on after warming up."
    )
    decay_factor = _number(
        0.01, 0, 1, "Where the cosine ends, as a part of learning_rate; no effect if constant."
    )
    warmup_epochs = _number(
        1.0, 0, 1000, "Time in which the learning rate rises linearly from zero.", "epochs"
    )
    weight_decay = _number(0.05, 0, 1, "AdamW's decay of the weights (not of biases and norms).")
    label_smoothing = _number(0.05, 0, 0.9, "Part of the probability spread over all classes.")
    class_weights = _one_of(
        "none",
        ("none", "balanced"),
        "'balanced' weighs each class by the inverse of its number of training pictures.",
    )
    early_stopping = _whole(
        0, 0, 10_000, "Ends after so many epochs without a better validation loss; 0: never.",
        "epochs",
    )  # fmt: skip
    validation_fraction = _number(
        0.1, 0, 0.9,
        "Part of each class put aside for validation where the data have no validation split.",
    )  # fmt: skip
    save_every = _whole(
        1, 1, 10_000, "Epochs from one checkpoint to the next; a new best is always kept.", "epochs"
    )

    image_size = _whole(
        None, 8, 1024, "Side of the square that pictures are resized to; empty: from the data.",
        "pixels",
    )  # fmt: skip
    channels = _one_of(
        None, (1, 3), "1 for grey, 3 for colour; empty: 1 if all training pictures are grey."
    )
    architecture = _one_of(
        None, ARCHITECTURES, f"Size of the residual network; empty: {DEFAULT_ARCHITECTURE}."
    )

    augmentation = fields.Boolean(
        load_default=True, metadata=_told("Varies the training pictures; the strengths follow.")
    )
    rotation = _number(10, 0, 180, "Turns by at most this angle to either side.", "degrees")
    translation = _number(0.08, 0, 0.5, "Shifts by at most this part of the side.")
    scaling = _number(0.1, 0, 0.9, "Grows or shrinks by at most this part.")
    flip = _number(0, 0, 1, "Probability of a left-right mirror image.")
    brightness = _number(0.1, 0, 1, "Adds at most this part of the full range, or takes it away.")
    contrast = _number(0.1, 0, 0.9, "Stretches or flattens the range by at most this part.")
    erasing = _number(0, 0, 1, "Probability that a rectangle of the picture is blanked.")

    seed = _whole(
        None, 0, 2**63 - 1, "For all that is drawn by chance; empty: chosen by the server."
    )
    threads = _whole(None, 1, 1024, "CPU threads; empty, or more than the run may use: all of its.")
    device = _one_of("auto", ("auto", "cpu", "cuda"), "'auto' is the GPU where there is one.")

    @validates_schema
    def one_source(self, data: Mapping[str, Any], **_: Any) -> None:
        """Exactly one of dataset and archive. Raises ValidationError."""
        if data.get("dataset") is not None and data.get("archive") is not None:
            raise ValidationError("Give either dataset or archive, not both.", "archive")
        if data.get("dataset") is None and data.get("archive") is None:
            raise ValidationError(
                "Give the name of a folder below the data root, or upload an archive.", "dataset"
            )


_SOURCES = frozenset({"dataset", "archive", "from_weights"})


@dataclass(frozen=True)
class TrainSettings:
    """The validated arguments of one training; see TrainArguments for meanings and units."""

    dataset: str | UploadedFile | None
    archive: UploadedFile | None
    from_weights: str | None
    epochs: int
    batch_size: int
    learning_rate: float
    schedule: str
    decay_factor: float
    warmup_epochs: float
    weight_decay: float
    label_smoothing: float
    class_weights: str
    early_stopping: int
    validation_fraction: float
    save_every: int
    image_size: int | None
    channels: int | None
    architecture: str | None
    augmentation: bool
    rotation: float
    translation: float
    scaling: float
    flip: float
    brightness: float
    contrast: float
    erasing: float
    seed: int | None
    threads: int | None
    device: str

    def to_data(self) -> dict[str, Any]:
        """JSON values of all but where data and weights came from: the version's lineage tells
        that, and by which name they were asked for makes no other weights."""
        return {name: value for name, value in vars(self).items() if name not in _SOURCES}


class PredictArguments(Schema):
    """What a prediction takes."""

    image = Files(
        required=True,
        validate=validate.Length(1, 1024),
        metadata=_told("PNG, JPEG or TIFF; repeat it for several pictures."),
    )
    top_k = _whole(5, 1, 1000, "How many of the likeliest classes are listed in `top`.")


class Likelihood(Schema):
    """A class and how likely it is."""

    label = fields.String(metadata=_told("Name of the class."))
    probability = fields.Float(metadata=_told("Between 0 and 1."))


class Prediction(Schema):
    """What is seen in one picture."""

    filename = fields.String(metadata=_told("The client's name of the picture."))
    label = fields.String(metadata=_told("The likeliest class."))
    probability = fields.Float(metadata=_told("Of the likeliest class, between 0 and 1."))
    top = fields.List(
        fields.Nested(Likelihood), metadata=_told("The top_k likeliest classes, likeliest first.")
    )
    probabilities = fields.Dict(
        keys=fields.String(),
        values=fields.Float(),
        metadata=_told("Of every class by its name; they add up to 1."),
    )


class PredictResponse(Schema):
    """The same for one picture and for many."""

    predictions = fields.List(
        fields.Nested(Prediction), metadata=_told("One for each picture, in the order sent.")
    )
