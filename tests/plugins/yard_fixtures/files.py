"""A model of files: takes one or several, answers with JSON, an image, a zip or its own bytes."""

import io
import os
import zipfile

from marshmallow import fields, validate

from modelyard.models_plugin import Model, ReturnedFile
from modelyard.schemas.fields import File
from modelyard.schemas.fields import Files as ManyFiles

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c020000000b4944415478da6364"
    "f80f00010501012718e3660000000049454e44ae426082"
)


class Files(Model):
    weights_optional = True
    predict_arguments = {
        "upload": File(required=True),
        "more": ManyFiles(),
        "size": fields.Integer(load_default=0),
        "accept": fields.String(
            load_default="application/json",
            validate=validate.OneOf(
                ["application/json", "image/png", "application/zip", "application/octet-stream"]
            ),
        ),
    }

    def predict(self, upload, size, accept, more=()):
        if accept == "image/png":
            return ReturnedFile(PNG, "image/png", "point.png")
        if accept == "application/zip":
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as archive:
                archive.write(upload.filename, "upload" + upload.path.suffix)
            return buffer
        if accept == "application/octet-stream":
            return os.urandom(1) * size
        return {
            "path": upload.filename,
            "name": upload.original_filename,
            "suffix": upload.path.suffix,
            "type": upload.content_type,
            "bytes": len(upload.path.read_bytes()),
            "more": [item.original_filename for item in more],
        }
