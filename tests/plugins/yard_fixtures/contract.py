"""Plugins that break the contract, one mistake each."""

from marshmallow import fields, validate


class NoMethods:
    pass


class NotAField:
    predict_arguments = {"epochs": int}

    def predict(self, epochs):
        return epochs


class BadDefault:
    predict_arguments = {"epochs": fields.Integer(load_default=0, validate=validate.Range(min=1))}

    def predict(self, epochs):
        return epochs


class NotASchema:
    predict_arguments = ["epochs"]

    def predict(self, epochs):
        return epochs


class MissingParameter:
    predict_arguments = {"epochs": fields.Integer(load_default=1)}

    def predict(self):
        return 1
