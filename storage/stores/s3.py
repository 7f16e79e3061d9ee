"""S3; being written."""


class S3Store: ...
