"""What a model author imports. Light: no aiohttp, no boto3, no torch."""

from .contract import Model, Run
from .torch_files import load_torch_state
from .values import InvalidData, ReturnedFile, UploadedFile

__all__ = ["InvalidData", "Model", "ReturnedFile", "Run", "UploadedFile", "load_torch_state"]
