"""What a plugin's process may see of the server's environment: an allow-list, and its own table.

Store keys, tokens and the server's settings stay in the front.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

_ALLOWED = re.compile(
    r"(PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|TEMP|TMP|TERM|PYTHON\w*"
    r"|VIRTUAL_ENV|CONDA_\w+|LD_LIBRARY_PATH|LD_PRELOAD|CUDA_\w+|NVIDIA_\w+|NCCL_\w+|TORCH_\w+"
    r"|PYTORCH_\w+|OMP_\w+|MKL_\w+|OPENBLAS_\w+|GOMP_\w+|KMP_\w+|HF_\w+|TRANSFORMERS_\w+|XDG_\w+"
    r"|HTTPS?_PROXY|https?_proxy|NO_PROXY|no_proxy|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
    r"|MALLOC_\w+|TF_\w+|JAX_\w+|XLA_\w+)\Z"
)
_SECRET = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY)", re.IGNORECASE)
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def plugin_environment(
    own: Mapping[str, str],
    threads: int | None = None,
    environ: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The environment of a worker or a run process.

    `own` is the model's table `[models.NAME] env`, which wins and may name anything. Math
    libraries are bounded to `threads`: two that take all cores slow each other down many times,
    the more so if a thread that waits for its siblings spins meanwhile, as libgomp's do otherwise
    (two threads beside one busy process on two cores: 640 ms a training step instead of 40).
    """
    source = os.environ if environ is None else environ
    allowed = {
        name: value
        for name, value in source.items()
        if _ALLOWED.match(name) and not _SECRET.search(name)
    }
    if threads is not None:
        allowed.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
        allowed.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return {**allowed, **own}
