"""The routes of datasets and of uploads that come in parts."""

from __future__ import annotations

from ..schemas import dataset_resources as resources
from ..schemas.permissions import Permission
from ..schemas.routes import PathParameter, ResponseDoc, RouteDoc, problems
from . import datasets, uploads
from .route import ID, Route, answer

_DATASET = {
    "id": PathParameter(
        "The dataset's id, its name (the newest version), or `name@number`.",
        resources.DATASET_REFERENCE,
    )
}
_UPLOAD = {"id": PathParameter("The upload's id.", ID)}
_PART = {**_UPLOAD, "number": PathParameter("The part's number, from 1.", "[1-9][0-9]{0,5}")}


def _taken(again: str) -> dict[int, ResponseDoc]:
    return {
        201: ResponseDoc(
            "It is a dataset now.", resources.DatasetSchema, headers={"Location": "Its address."}
        ),
        **answer(again, resources.DatasetSchema, Location="Its address."),
    }


DATASET_ROUTES: tuple[Route, ...] = (
    Route(
        RouteDoc(
            "POST", "/v2/datasets/uploads/", "begin_upload", "Begin an upload in parts", "datasets",
            "For large files, over connections that may break: the parts may be sent in any order "
            "and again; they outlast restarts of the server, and a week without any.",
            permission=Permission.TRAIN,
            body=resources.BeginUploadSchema,
            responses={
                201: ResponseDoc(
                    "Send its parts.", resources.UploadSchema, headers={"Location": "Its address."}
                ),
                **problems(400, 413, 415, 422, 503, 507),
            },
        ),
        uploads.begin,
        once=True,
        fills=True,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/datasets/uploads/{id}", "upload", "An upload in parts", "datasets",
            permission=Permission.READ,
            path_parameters=_UPLOAD,
            responses={
                **answer("Which parts are here, and what becomes of it.", resources.UploadSchema),
                **problems(404, 503),
            },
        ),
        uploads.get_upload,
    ),
    Route(
        RouteDoc(
            "DELETE", "/v2/datasets/uploads/{id}", "remove_upload", "Give an upload up", "datasets",
            permission=Permission.TRAIN,
            path_parameters=_UPLOAD,
            responses={204: ResponseDoc("It is gone.", None, ()), **problems(404, 409, 503)},
        ),
        uploads.remove,
    ),
    Route(
        RouteDoc(
            "PUT", "/v2/datasets/uploads/{id}/parts/{number}", "put_part", "Send one part",
            "datasets",
            "It is on disk when this is answered.",
            permission=Permission.TRAIN,
            headers=resources.PartHeaders,
            uploads=("application/octet-stream",),
            path_parameters=_PART,
            responses={
                204: ResponseDoc("It is here.", None, ()),
                **problems(400, 404, 409, 413, 415, 422, 503, 507),
            },
        ),
        uploads.put_part,
        fills=True,
    ),
    Route(
        RouteDoc(
            "POST", "/v2/datasets/uploads/{id}/complete", "complete_upload",
            "Make a dataset of an upload", "datasets",
            "Waits some seconds for it; then ask for the upload until its state is `done`.",
            permission=Permission.TRAIN,
            path_parameters=_UPLOAD,
            responses={
                **_taken("That content is here under this name already."),
                202: ResponseDoc("It is being taken in.", resources.UploadSchema),
                **problems(400, 404, 409, 422, 503, 507),
            },
        ),
        uploads.complete,
        fills=True,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/datasets/", "datasets", "All datasets", "datasets",
            permission=Permission.READ,
            query=resources.ListDatasetsQuery,
            responses={
                **answer("Newest first.", resources.DatasetsSchema, Link="The next page."),
                **problems(422, 503),
            },
        ),
        datasets.list_datasets,
    ),
    Route(
        RouteDoc(
            "POST", "/v2/datasets/", "create_dataset", "Send a dataset", "datasets",
            "One archive (zip, tar, tar.gz, tar.bz2, tar.xz), which is unpacked; one or many files "
            "in a form, whose names are their paths; or, as JSON, the address of an object. Equal "
            "content is stored once.",
            permission=Permission.TRAIN,
            query=resources.CreateDatasetQuery,
            body=resources.AddressSchema,
            uploads=datasets.UPLOADS,
            responses={
                **_taken("That content is here under this name already."),
                **problems(400, 404, 413, 415, 422, 501, 503, 507),
            },
        ),
        datasets.create,
        once=True,
        fills=True,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/datasets/{id}", "dataset", "One dataset", "datasets",
            permission=Permission.READ,
            path_parameters=_DATASET,
            responses={**answer("The dataset.", resources.DatasetSchema), **problems(404, 503)},
        ),
        datasets.get_dataset,
    ),
    Route(
        RouteDoc(
            "DELETE", "/v2/datasets/{id}", "delete_dataset", "Remove a dataset", "datasets",
            "Refused while a training or a weights version refers to it.",
            permission=Permission.MANAGE,
            query=resources.DeleteDatasetQuery,
            path_parameters=_DATASET,
            responses={
                204: ResponseDoc("It is gone.", None, ()), **problems(404, 409, 422, 503)
            },
        ),
        datasets.delete,
    ),
    Route(
        RouteDoc(
            "POST", "/v2/datasets/{id}/retry", "retry_dataset", "Publish a dataset again",
            "datasets",
            "Tries now what could not be published. A dataset that the shared store has is read "
            "again there, byte by byte, and what is missing or wrong is put again from this "
            "server's copy; it is `publishing` and usable until then. Refused where its files are "
            "not on this server's disk.",
            permission=Permission.MANAGE,
            path_parameters=_DATASET,
            responses={
                **answer("The dataset.", resources.DatasetSchema), **problems(404, 409, 503, 507)
            },
        ),
        datasets.retry,
    ),
    Route(
        RouteDoc(
            "GET", "/v2/datasets/{id}/report", "dataset_report", "What is wrong with a dataset",
            "datasets",
            permission=Permission.READ,
            path_parameters=_DATASET,
            responses={
                **answer("With file and line.", resources.DatasetReportSchema), **problems(404, 503)
            },
        ),
        datasets.report,
    ),
)  # fmt: skip
