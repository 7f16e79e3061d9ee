"""The generated modules of gRPC say what their `.proto` files say."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

PROTOS = sorted((Path(__file__).parents[2] / "api" / "grpc").glob("*.proto"))


def messages_of(file):
    """All messages of a file, nested ones too."""
    waiting = list(file.message_type)
    while waiting:
        message = waiting.pop()
        waiting.extend(message.nested_type)
        yield message


@pytest.mark.parametrize("proto", PROTOS, ids=lambda proto: proto.stem)
def test_the_module_is_made_of_the_proto_as_it_stands(proto, tmp_path):
    """Compared by what they describe: the text differs between releases of protoc."""
    out = tmp_path / "descriptors"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{proto.parent}"]
    subprocess.run([*command, f"--descriptor_set_out={out}", proto.name], check=True)
    (told,) = FileDescriptorSet.FromString(out.read_bytes()).file
    module = import_module(f"modelyard.api.grpc.{proto.stem}_pb2")
    made = FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
    for message in messages_of(told):
        for field in message.field:
            field.ClearField("json_name")  # written into sets of descriptors only
    assert made == told, "make it anew: see api/grpc/__init__.py"
    stub = proto.with_name(f"{proto.stem}_pb2.pyi").read_text()
    for message in told.message_type:
        assert f"class {message.name}(" in stub
        assert all(field.name in stub for field in message.field)


def test_there_are_modules_to_compare():
    assert [proto.stem for proto in PROTOS] == ["health", "open_inference"]
