"""Entry points that name a class or an object in place of a module.

DEEPaaS takes the entry point as it is and calls its functions: of a class only static and class
methods work there, and with `Based` (ordinary methods) it ends at start with a TypeError.
"""

import os

from deepaas.model.v2 import base
from webargs import fields


class Static:
    name = "a class"

    @staticmethod
    def get_metadata():
        return {"name": "static", "description": "A class of static methods"}

    @classmethod
    def get_predict_args(cls):
        return {"number": fields.Int(required=True, description="Any")}

    @staticmethod
    def predict(number):
        return {"twice": number * 2}


class Based(base.BaseModel):
    schema = {"thrice": fields.Int(required=True)}

    def __init__(self):
        self.factor = 3

    def get_metadata(self):
        return {"name": "based", "description": "A subclass of BaseModel"}

    def warm(self):
        self.factor = 3

    def get_predict_args(self):
        return {"number": fields.Int(missing=1)}

    def predict(self, number):
        return {"thrice": number * self.factor}

    def get_train_args(self):
        return {"number": fields.Int(missing=1)}

    def train(self, number):
        return {"thrice": number * self.factor}


class FilesPlace:
    """`location="files"`: DEEPaaS answers each call with 500 (its webargs does not read it)."""

    @staticmethod
    def get_predict_args():
        return {"data": fields.Field(required=True, type="file", location="files")}

    @staticmethod
    def predict(data):
        with open(data.filename, "rb") as file:
            return {"size": len(file.read()), "file": data.original_filename}


class Counting:
    """An object with state: each worker has its own."""

    def __init__(self, start):
        self.calls = start

    def get_metadata(self):
        return {"name": "counting", "description": "An object"}

    def get_predict_args(self):
        return {}

    def predict(self):
        self.calls += 1
        return {"calls": self.calls, "pid": os.getpid()}

    def get_train_args(self):
        return {}

    def train(self):
        return {"calls": self.calls}


model = Counting(10)
