"""What schemathesis is told beside the OpenAPI document: `SCHEMATHESIS_HOOKS=generated_checks`.

Three of its checks are wrapped here, and only where a document cannot say what a request has to be:
what refers to something that a server has or has not. All others run as they are.
"""

import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    ensure_resource_availability,
    positive_data_acceptance,
)

REFERENCES = {
    "weights": "an id or an alias of a version that is there",
    "X-Modelyard-Weights": "the same",
    "like": "the same",
    "X-Modelyard-Like": "the same",
    "version": "the same; or `versions`, which marshmallow's documents cannot say",
    "versions": "the same, each once",
    "shadow": "the same, and none of `versions`",
    "dataset": "a dataset that is there",
    "X-Modelyard-Dataset": "the same",
    "model": "a model that is served",
    "alias": "no id, and no word of our addresses",
    "name": "the same",
    "filename": "a name is made of it where none is given",
    "format": "one that the model exports to",
    "cursor": "from a `Link` header of that list",
}
"""Members of a 422 that a request may get although it fits its schema: DEEPaaS's clients know the
422 for a version that is not there, so it is no 404."""

CONTENTS = {
    ("POST", "/v2/models/{model}/weights/"): "the file has to be an archive of a version",
    ("PUT", "/v2/datasets/uploads/{id}/parts/{number}"): "a part is as long as its upload says",
    ("POST", "/v2/datasets/"): "whatever else a form has is a file, and generated ones are texts",
    ("POST", "/v2/models/{model}/infer"): "tensors as the model named in the address has them",
    ("POST", "/v2/models/{model}/versions/{version}/infer"): "the same",
}
"""Routes whose bodies are bytes, or whose meaning is told by another document (the protocol's)."""

TEXTS = {"clock", "span", "box", "boxes", "mapping", "tensor", "anything"}
"""Arguments of the model `kinds` for which JSON Schema has no word (a period of time that fits a
float, but no period), or that are JSON inside a form's text."""


@schemathesis.check
def fitting_requests_are_accepted(ctx, response, case):
    """As `positive_data_acceptance`, but for what only the server's content decides."""
    if (case.method.upper(), case.path) in CONTENTS and response.status_code in (400, 422):
        return None
    if response.status_code == 422 and set(response.json()) <= set(REFERENCES):
        return None
    if response.status_code == 422 and _is_known_to_the_server_alone(response.json()):
        return None
    of_kinds = case.path == "/v2/models/kinds/predict/" and response.status_code == 422
    if of_kinds and set(response.json()) <= TEXTS | set(REFERENCES):
        return None
    return positive_data_acceptance(ctx, response, case)


def _is_known_to_the_server_alone(faults):
    """A parameter that came twice, as header and in the query; or a run that has not ended, which
    goes on with the arguments that it has."""
    told = [text for texts in faults.values() for text in texts if isinstance(texts, list)]
    return bool(told) and all(
        text.endswith("too: give it once.") or text.startswith("This training has not ended")
        for text in told
    )


@schemathesis.check
def no_server_error(ctx, response, case):
    """As `not_a_server_error`, but for refusals that are true: no room for a petabyte (507), and
    what is not offered (501) or not possible just now (503, with the time after which it may be).
    """
    problem = response.json() if response.status_code in (501, 503, 507) else {}
    if response.status_code == 507 and problem.get("needed", 0) > problem.get("free", 0):
        return None
    if response.status_code == 501 and problem.get("type") == "urn:modelyard:not-supported":
        return None
    if response.status_code == 503 and response.headers.get("retry-after"):
        return None
    return not_a_server_error(ctx, response, case)


@schemathesis.check
def what_was_created_is_there(ctx, response, case):
    """As `ensure_resource_availability`, but for a creation that was asked for with a key: a repeat
    gets the first one's answer, also when what it created has been removed since."""
    parent = ctx.internals.find_parent(case_id=case.id)
    if parent is not None and "Idempotency-Key" in (parent.headers or {}):
        return None
    return ensure_resource_availability(ctx, response, case)


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Links from what creates to what it creates, so that sequences of calls meet something."""
    paths = raw_schema["paths"]
    for path, key, place in (
        ("/v2/models/counter/train/", "uuid", "/v2/models/{model}/train/{id}"),
        ("/v2/models/kinds/train/", "uuid", "/v2/models/{model}/train/{id}"),
        ("/v2/datasets/uploads/", "id", "/v2/datasets/uploads/{id}"),
        ("/v2/datasets/", "id", "/v2/datasets/{id}"),
    ):
        fixed = {"model": path.split("/")[3]} if "{model}" in place else {}
        links = {
            operation["operationId"]: {
                "operationId": operation["operationId"],
                "parameters": {**fixed, "id": f"$response.body#/{key}"},
            }
            for there, methods in paths.items()
            if there.startswith(place)
            for method, operation in methods.items()
            if method in ("get", "post", "put", "patch", "delete")
        }
        for status in ("200", "201"):
            if status in paths[path]["post"]["responses"]:
                paths[path]["post"]["responses"][status]["links"] = links


@schemathesis.hook
def map_body(context, body):
    """Trainings that end: a generated file name would be waited for, and the queue stand still."""
    if context.operation.path == "/v2/models/counter/train/" and isinstance(body, dict):
        for name, value in (("hold", ""), ("seconds", 0.0)):
            if name in body:
                body[name] = value
    return body
