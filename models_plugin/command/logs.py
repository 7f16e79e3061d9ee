"""Log lines as DEEPaaS's commands write them (oslo.log's format), to standard output or a file.

Standard library only, Python 3.8 syntax.
"""

from __future__ import annotations

import logging
import logging.config
import os
import sys

from .order import LogOptions

LOG = logging.getLogger("deepaas.cmd.cli")
FAILED = logging.getLogger("deepaas-cli")

_FORMAT = "%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s [-] %(message)s"
_NOISY = ("boto", "requests", "sqlalchemy", "stevedore", "urllib3")
"""Of the loggers that oslo.log keeps at WARNING whatever the level is, those still met."""


def set_up(options: LogOptions, folder: str) -> None:
    """Before the module is imported: what it sets up at its import then changes nothing."""
    if options.config:
        path = os.path.join(folder, options.config)  # noqa: PTH118 - as the user wrote it
        logging.config.fileConfig(path, disable_existing_loggers=False)
        return
    file = options.file
    if options.folder:
        file = os.path.join(options.folder, file or "deepaas-cli.log")  # noqa: PTH118
    handler: logging.Handler = logging.StreamHandler(sys.stdout)
    if file:
        handler = logging.FileHandler(os.path.join(folder, file))  # noqa: PTH118
    handler.setFormatter(logging.Formatter(_FORMAT, options.date_format))
    logging.basicConfig(
        level=logging.DEBUG if options.debug else logging.INFO, handlers=[handler], force=True
    )
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    # The real DEEPaaS, where it is installed, has every deprecation in the module logged.
    logging.getLogger("py.warnings").setLevel(logging.ERROR)
