"""Sorts short texts into classes by their words: multinomial naive Bayes, standard library only.

Formula: Manning, Raghavan and Schuetze, Introduction to Information Retrieval, section 13.2.
"""

import csv
import json
import math
import random
import re
from collections import Counter, defaultdict

from marshmallow import Schema, fields, validate

from modelyard.models_plugin import InvalidData, Model
from modelyard.schemas.fields import File


class TrainArguments(Schema):
    table = File(
        required=True,
        suffixes=(".csv",),
        metadata={"description": "CSV with the columns text and label, one example a line."},
    )
    smoothing = fields.Float(
        load_default=1.0,
        validate=validate.Range(min=0, max=100, min_inclusive=False),
        metadata={"description": "Added to every word's count (Laplace smoothing)."},
    )
    held_out = fields.Float(
        load_default=0.2,
        validate=validate.Range(min=0, max=0.5),
        metadata={"description": "Part of the examples that the accuracy is measured on."},
    )
    lower_case = fields.Boolean(load_default=True)


class PredictArguments(Schema):
    texts = fields.List(fields.String(), required=True, validate=validate.Length(min=1, max=1000))


class Prediction(Schema):
    label = fields.String(required=True)
    probabilities = fields.Dict(keys=fields.String(), values=fields.Float(), required=True)


class PredictResponse(Schema):
    predictions = fields.List(fields.Nested(Prediction), required=True)


class NaiveBayes(Model):
    metadata = {"summary": "Sorts short texts into classes", "license": "Apache-2.0"}
    train_arguments = TrainArguments
    predict_arguments = PredictArguments
    predict_response = PredictResponse

    def train(self, run, table, smoothing, held_out, lower_case):
        examples = read_examples(table, lower_case)
        random.Random(run.seed).shuffle(examples)
        split = round(len(examples) * held_out)
        tested, learned = examples[:split], examples[split:]
        run.phase("training")
        documents, words = Counter(), defaultdict(Counter)
        for step, (tokens, label) in enumerate(learned, 1):
            documents[label] += 1
            words[label].update(tokens)
            run.progress(step, len(learned), "examples")
        self.state = {
            "documents": documents,
            "words": words,
            "vocabulary": len({word for counts in words.values() for word in counts}),
            "smoothing": smoothing,
            "lower_case": lower_case,
        }
        right = sum(self.classify(tokens)["label"] == label for tokens, label in tested)
        accuracy = right / len(tested) if tested else None
        if accuracy is not None:
            run.report(len(learned), accuracy=accuracy)
        with run.checkpoint(len(learned), metric=accuracy) as checkpoint:
            (checkpoint.weights / "counts.json").write_text(json.dumps(self.state))
        return {"classes": sorted(documents), "accuracy": accuracy, "tested_on": len(tested)}

    def load(self, weights, device):
        self.state = json.loads((weights / "counts.json").read_text())

    def predict(self, texts):
        lower_case = self.state["lower_case"]
        return {"predictions": [self.classify(tokens_of(text, lower_case)) for text in texts]}

    def classify(self, tokens):
        smoothing, vocabulary = self.state["smoothing"], self.state["vocabulary"]
        total = sum(self.state["documents"].values())
        scores = {}
        for label, documents in self.state["documents"].items():
            counts = self.state["words"][label]
            size = sum(counts.values()) + smoothing * vocabulary
            scores[label] = math.log(documents / total) + sum(
                math.log((counts.get(token, 0) + smoothing) / size) for token in tokens
            )
        highest = max(scores.values())  # subtracted: exp() of large negative numbers is 0
        weights = {label: math.exp(score - highest) for label, score in scores.items()}
        whole = sum(weights.values())
        probabilities = {label: weight / whole for label, weight in weights.items()}
        return {"label": max(scores, key=scores.get), "probabilities": probabilities}


def read_examples(table, lower_case):
    """`(tokens, label)` of every line. Raises InvalidData with the line that cannot be used."""
    examples = []
    try:
        with table.path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            for row in reader:
                if not row.get("text") or not row.get("label"):
                    raise InvalidData(
                        "text or label is missing", table.original_filename, reader.line_num
                    )
                examples.append((tokens_of(row["text"], lower_case), row["label"]))
    except UnicodeDecodeError as error:
        raise InvalidData(f"not UTF-8 ({error.reason})", table.original_filename) from error
    if len({label for _, label in examples}) < 2:
        raise InvalidData("two classes are the least", table.original_filename)
    return examples


def tokens_of(text, lower_case):
    return re.findall(r"\w+", text.lower() if lower_case else text)
