"""A module with one function."""


def predict(**kwargs):
    return {"got": kwargs}
