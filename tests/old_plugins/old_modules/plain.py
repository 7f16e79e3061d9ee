"""The first state of the template: metadata, and functions that are not written yet."""


def get_metadata():
    return {"name": "plain", "author": "A. Modeller", "version": "0.0.1", "license": "MIT"}


def get_train_args():
    return {}


def get_predict_args():
    return {}


def train(**args):
    raise NotImplementedError


def predict(**args):
    raise NotImplementedError
