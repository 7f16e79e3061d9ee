"""A model with a secret in every place that a schema has for one; tells all that it gets."""

from marshmallow import Schema, fields

from modelyard.models_plugin import Model


def password(**more):
    return fields.String(metadata={"format": "password"}, **more)


class Account(Schema):
    user = fields.String(load_default="nobody")
    word = password(data_key="pass-word")


class Branch(Schema):
    """Holds itself."""

    name = fields.String()
    word = password()
    next = fields.Nested(lambda: Branch())


class Unreadable(fields.Field):
    """Knows how to read alone."""

    def _serialize(self, value, attr, obj, **kwargs):
        raise NotImplementedError


class Odd(Schema):
    odd = Unreadable()
    word = password(data_key="pass-word")


def places():
    return {
        "by_name": fields.Dict(keys=fields.String(), values=password()),
        "pair": fields.Tuple((fields.String(), password())),
        "plucked": fields.Pluck(Account, "word"),
        "all_plucked": fields.Pluck(Account, "word", many=True),
        "accounts": fields.List(fields.Nested(Account)),
        "by_host": fields.Dict(keys=fields.String(), values=fields.Nested(Account)),
        "branch": fields.Nested(Branch),
        "odd": fields.Nested(Odd),
        "listed": fields.List(password()),
        "number": fields.Integer(metadata={"format": "password"}),
        "preset": fields.Nested(
            Account,
            load_default=lambda: {"user": "ann", "word": "canary-of-the-author"},
            metadata={"example": {"user": "ann", "pass-word": "canary-of-the-author"}},
        ),
    }


class Vault(Model):
    weights_optional = True
    predict_arguments = places()
    train_arguments = places()

    def predict(self, **arguments):
        print("predicting with", arguments)
        raise RuntimeError(f"cannot predict with {arguments}")

    def train(self, run, **arguments):
        print("training with", arguments)
        run.note(f"training with {arguments}")
        return arguments
