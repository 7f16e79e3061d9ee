"""A module that describes itself and does nothing."""


def get_metadata():
    return {"name": "only-metadata", "description": "Nothing else", "version": "2"}
