"""The built-in classifier over HTTP: exported, and trained again to the same bytes."""

import hashlib
import io
import tarfile

import numpy as np
import onnxruntime
import pytest
from PIL import Image

MODEL = "/v2/models/image-classifier"


def archive():
    """Eight noisy pictures of each of two classes."""
    packed = io.BytesIO()
    generator = np.random.default_rng(0)
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, level in (("dark", 60), ("light", 180)):
            for number in range(8):
                pixels = generator.integers(level - 50, level + 50, (16, 16, 3)).astype(np.uint8)
                content = io.BytesIO()
                Image.fromarray(pixels).save(content, "PNG")
                info = tarfile.TarInfo(f"train/{name}/{number}.png")
                info.size = content.tell()
                tar.addfile(info, io.BytesIO(content.getvalue()))
    return packed.getvalue()


def train(server, **query):
    files = {"archive": ("pictures.tar", archive(), "application/x-tar")}
    answer = server.post(f"{MODEL}/train/", params=query, files=files)
    assert answer.status_code == 200, answer.text
    done = server.wait_run(answer.json(), timeout=120)
    assert done["status"] == "done", server.log(done)
    return done


@pytest.mark.slow
def test_its_weights_are_exported_and_trained_again_to_the_same_bytes(start_server):
    server = start_server("--model-name", "image-classifier", "--training-threads", "1")
    server.wait_ready("image-classifier")
    first = train(server, epochs=2, image_size=16)
    version = first["weights"]

    exports = f"{MODEL}/weights/{version}/exports/"
    assert server.get(exports).json()["formats"] == ["safetensors", "onnx", "torch_export"]
    for name, limit in (("safetensors", 0.0), ("torch_export", 1e-5), ("onnx", 1e-5)):
        made = server.post(exports, json={"format": name})
        assert made.status_code == 201, made.text
        assert made.json()["max_difference"] <= limit
    session = onnxruntime.InferenceSession(server.get(exports + "onnx").content)
    picture = np.full((16, 16, 3), 60, np.uint8)
    (row,) = session.run(None, {"pictures": picture.transpose(2, 0, 1)[None]})[0]
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    told = server.predict("image-classifier", files={"image": content.getvalue()}).json()
    np.testing.assert_allclose(
        row, list(told["predictions"][0]["probabilities"].values()), atol=1e-5
    )

    again = train(server, like=version)
    assert again["repeats"] == version
    sums = [
        {
            file["path"]: file["sha256"]
            for file in server.get(f"{MODEL}/weights/{one}").json()["files"]
        }
        for one in (version, again["weights"])
    ]
    assert sums[0] == sums[1]

    lineage = server.get(f"{MODEL}/weights/{version}/lineage").json()
    assert lineage["environment"]["torch"] and lineage["environment"]["gpus"] == []
    assert lineage["arguments"]["epochs"] == 2 and lineage["arguments"]["batch_size"] == 32
    assert lineage["uploads"][0]["sha256"] == hashlib.sha256(archive()).hexdigest()
    assert lineage["curves"]
