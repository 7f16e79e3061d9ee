"""Metadata from a file above the package, metadata that raise, metadata with names of their own."""

from aiohttp.web import HTTPException

from . import paths


class FromFile:
    @staticmethod
    def get_metadata():
        lines = (paths.BASE / "ai4-metadata.yml").read_text().splitlines()
        return dict(line.split(": ", 1) for line in lines)


class Raising:
    @staticmethod
    def get_metadata():
        try:
            return {}["authors"]
        except Exception as err:
            raise HTTPException(reason=err) from err

    @staticmethod
    def predict(**kwargs):
        return "predicted all the same"


class OwnNames:
    @staticmethod
    def get_metadata():
        return {
            "id": "0",
            "name": "A name with blanks",
            "description": "Own id, own links",
            "links": [{"rel": "code", "href": "https://example.org/code"}],
            "author-email": None,
            "tags": ["image", "2d"],
            "date": 2026,
        }

    @staticmethod
    def predict(**kwargs):
        return "ok"
