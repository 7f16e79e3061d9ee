"""A model with a predict method only, and without arguments."""


class Bare:
    def predict(self):
        return "here"
