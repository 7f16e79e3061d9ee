"""What botocore and S3 servers say, by what can be done: nothing of theirs leaves this package.

Codes: docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, and those of other servers.
"""

from __future__ import annotations

from http.client import HTTPException
from typing import Any

from ...errors import Corrupt, ObjectMissing, StoreRefused


class Transient(Exception):
    """It may go well the next time.

    `throttled`: if the server is asked less often. `unresolved`: the host has no address.
    """

    def __init__(self, text: str, throttled: bool = False, unresolved: bool = False) -> None:
        super().__init__(text)
        self.throttled = throttled
        self.unresolved = unresolved


class Changed(Transient):
    """What came are not the bytes of their ETag: it is their way, or the store itself."""


class UploadGone(Exception):
    """The server does not know this multipart upload or its parts (any more): begin anew."""


class AlreadyThere(Exception):
    """A conditional write found the object; perhaps put by an earlier try of the same write."""

    def __init__(self, text: str, tried_before: bool = False) -> None:
        super().__init__(text)
        self.tried_before = tried_before


class Unsupported(Exception):
    """The server does not know this request."""


_THROTTLED = {"SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "RequestLimit"}
_THROTTLED |= {"ServiceUnavailable", "BandwidthLimitExceeded", "503", "429"}
# What was damaged or lost on the way, though the status says that it is the client's fault.
_AGAIN = {"RequestTimeout", "RequestTimeoutException", "BadDigest", "IncompleteBody"}
_AGAIN |= {"XAmzContentSHA256Mismatch", "OperationAborted", "ConditionalRequestConflict"}
_AGAIN |= {"InvalidDigest", "408"}
_UNSUPPORTED = {"NotImplemented", "MethodNotAllowed", "UnsupportedOperation", "501", "405"}

_KEYS = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN or AWS_PROFILE"
_REMEDY = {
    "NoSuchBucket": "there is no such bucket: create it, or name another in --storage",
    "InvalidBucketName": "that is no name of a bucket: name another in --storage",
    "InvalidAccessKeyId": f"it does not know the access key: {_KEYS}",
    "SignatureDoesNotMatch": f"the secret key is wrong: {_KEYS}",
    "ExpiredToken": "the session token has expired: get new credentials",
    "InvalidToken": "the session token is not valid: get new credentials",
    "RequestTimeTooSkewed": "this machine's clock is wrong: set it",
    "AuthorizationHeaderMalformed": "the region is wrong: set AWS_DEFAULT_REGION",
    "PermanentRedirect": "the bucket is in another region: set AWS_DEFAULT_REGION",
    "301": "the bucket is in another region: set AWS_DEFAULT_REGION",
    "IllegalLocationConstraintException": "the region is wrong: set AWS_DEFAULT_REGION",
    "QuotaExceeded": "the quota is used up: make room in the bucket",
    "XMinioStorageFull": "the server's disk is full: make room there",
    "InvalidObjectState": "the object is archived in a cold storage class: restore it",
}
_NOT_ALLOWED = (
    "these credentials may not do that: they need s3:ListBucket, s3:GetObject, s3:PutObject, "
    "s3:DeleteObject, s3:AbortMultipartUpload and s3:ListMultipartUploadParts on the bucket"
)


def told(error: Exception, what: str) -> Exception:
    """`error` as one of this file's, of `errors.py`, or itself if it is not the store's.

    `what` names operation and key. Messages of servers are not repeated: they may hold key ids.
    """
    import botocore.exceptions as theirs  # type: ignore[import-untyped]

    if isinstance(error, theirs.ClientError):
        return _of_answer(error.response, what)
    if isinstance(error, theirs.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return StoreRefused(f"{what}: the server's certificate is not trusted: set AWS_CA_BUNDLE")
    if isinstance(error, theirs.NoCredentialsError | theirs.PartialCredentialsError):
        return StoreRefused(f"{what}: there are no credentials: {_KEYS}")
    if isinstance(error, theirs.EndpointConnectionError):
        names = ("resolve", "Name or service", "getaddrinfo", "nodename")
        return Transient("no connection", unresolved=any(name in str(error) for name in names))
    if isinstance(error, theirs.ParamValidationError):
        return StoreRefused(f"{what}: {str(error).splitlines()[-1][:200]}")
    if isinstance(error, theirs.BotoCoreError | HTTPException | ConnectionError | TimeoutError):
        return Transient(type(error).__name__)
    if type(error).__module__.partition(".")[0] in ("urllib3", "botocore"):
        return Transient(type(error).__name__)
    return error


def _of_answer(answer: Any, what: str) -> Exception:
    code = str(answer.get("Error", {}).get("Code", ""))
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    text = f"{status} {code}".strip()
    if code in _UNSUPPORTED or status in (501, 405):
        return Unsupported(f"{what}: {text}")
    if code in _REMEDY:
        return StoreRefused(f"{what}: {_REMEDY[code]}")
    if code in _THROTTLED or status in (503, 429):
        return Transient(text, throttled=True)
    if code in _AGAIN or status >= 500 or status < 300:  # an error in the body of a 200
        return Transient(text)
    if code in ("NoSuchUpload", "InvalidPart", "InvalidPartOrder"):
        return UploadGone(what)
    if status == 404:
        return ObjectMissing(f"{what}: the store has no such object")
    if status == 412:
        return AlreadyThere(what)
    if status == 416:
        return Corrupt(f"{what}: the object ends before that range")
    if status in (401, 403):
        return StoreRefused(f"{what}: {_NOT_ALLOWED}" + (f" ({code})" if code else ""))
    return StoreRefused(
        f"{what}: the server answers {text}: is it an S3 server (AWS_ENDPOINT_URL)?"
    )
