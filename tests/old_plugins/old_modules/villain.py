"""An old module with all the habits of yard_fixtures.hostile."""

from webargs import fields
from yard_fixtures.hostile import Hostile


def get_predict_args():
    return {"do": fields.Str(missing="answer")}


get_train_args = get_predict_args


def predict(do):
    return getattr(Hostile(), "_" + do)(0)


train = predict
