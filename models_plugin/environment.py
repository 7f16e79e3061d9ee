"""What a plugin's process may see of the server's environment, and the model's own table.

Plugins of our contract see an allow-list: keys, tokens and the server's settings stay in the front.
DEEPaaS modules are used to seeing everything (their images are configured by variables), and do,
but for the server's settings, and for the credentials of S3 while they are those of its store.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from .plugin import DEEPAAS_GROUP, PluginSource
from .scratch import OwnFolders

_ALLOWED = re.compile(
    r"(PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|TEMP|TMP|TERM|PYTHON\w*"
    r"|VIRTUAL_ENV|CONDA_\w+|LD_LIBRARY_PATH|LD_PRELOAD|CUDA_\w+|NVIDIA_\w+|NCCL_\w+|TORCH_\w+"
    r"|PYTORCH_\w+|OMP_\w+|MKL_\w+|OPENBLAS_\w+|GOMP_\w+|KMP_\w+|HF_\w+|TRANSFORMERS_\w+|XDG_\w+"
    r"|HTTPS?_PROXY|https?_proxy|NO_PROXY|no_proxy|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
    r"|MALLOC_\w+|TF_\w+|JAX_\w+|XLA_\w+|TORCHINDUCTOR_\w+|TRITON_\w+|TFHUB_CACHE_DIR"
    r"|TIKTOKEN_CACHE_DIR|MPLCONFIGDIR)\Z"
)
_SECRET = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY)", re.IGNORECASE)
_SETTINGS = re.compile(r"MODELYARD_\w*\Z")
_OF_S3 = re.compile(r"AWS_\w*\Z")
# Where our own interpreter finds its libraries. Another one would take ours before its own, built
# for another release and of other versions, or not start at all. An operator who wants a path
# there says so in the model's table.
_OF_OUR_INTERPRETER = re.compile(
    r"(PYTHONPATH|PYTHONHOME|PYTHONPLATLIBDIR|PYTHONEXECUTABLE|PYTHON_GIL|__PYVENV_LAUNCHER__"
    r"|VIRTUAL_ENV\w*|CONDA_\w+)\Z"
)
# glibc gives large pieces back to the kernel with every free(), and has them made anew, page by
# page, with every malloc(): for the activations of a batch that is up to a third of its forward
# (2,800 page faults for eight pictures; benchmarks/page_faults.py). These keep what was used:
# mallopt(3). Who sets one of them sets all.
_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024**2),
    "MALLOC_TRIM_THRESHOLD_": str(256 * 1024**2),
}
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def plugin_environment(
    source: PluginSource,
    own: Mapping[str, str],
    threads: int | None = None,
    environ: Mapping[str, str] | None = None,
    withhold_s3: bool = False,
    folders: OwnFolders | None = None,
) -> dict[str, str]:
    """The environment of a worker or a run process.

    `own` is the model's table `[models.NAME] env`, which wins and may name anything. `folders` are
    where its temporary files and its libraries' caches go. With `withhold_s3` no `AWS_*` is seen
    that `own` does not name: they open the server's store. Math libraries are bounded to `threads`:
    two that take all cores slow each other down many times, the more so if a thread that waits for
    its siblings spins meanwhile, as libgomp's do otherwise (two threads beside one busy process on
    two cores: 640 ms a training step instead of 40).
    """
    environ = os.environ if environ is None else environ
    allowed = {name: value for name, value in environ.items() if _seen(name, source.group)}
    if withhold_s3:
        allowed = {name: value for name, value in allowed.items() if not _OF_S3.match(name)}
    if source.python is not None:
        allowed = _in_place_of_ours(allowed, Path(source.python))
    if threads is not None:
        allowed.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
        allowed.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        if not any(name.startswith("MALLOC_") for name in allowed):
            allowed.update(_MEMORY)
    if folders is not None:
        allowed.update(folders.variables({**allowed, **own}))
    return {**allowed, **own}


def _seen(name: str, group: str) -> bool:
    if group == DEEPAAS_GROUP:
        return _SETTINGS.match(name) is None
    return _ALLOWED.match(name) is not None and _SECRET.search(name) is None


def _in_place_of_ours(environ: Mapping[str, str], python: Path) -> dict[str, str]:
    """As `activate` would leave it: the programs of that environment are found first."""
    changed = {n: value for n, value in environ.items() if not _OF_OUR_INTERPRETER.match(n)}
    programs = str(python.parent)
    if (python.parent.parent / "pyvenv.cfg").exists():
        changed["VIRTUAL_ENV"] = str(python.parent.parent)
    changed["PATH"] = os.pathsep.join(filter(None, [programs, environ.get("PATH", "")]))
    return changed
