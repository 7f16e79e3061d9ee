"""`modelyard plugin stand-in`: tells pip that DEEPaaS is installed, because Modelyard is.

Modules require `deepaas`, whose own requirements exclude newer releases of what the server uses. A
record of that name in this environment satisfies them; the imports are supplied in the workers.
Format: https://packaging.python.org/specifications/recording-installed-packages/
"""

from __future__ import annotations

import sysconfig
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import click

from ..models_plugin.deepaas.supplied import VERSION

_INSTALLER = "modelyard"
_METADATA = f"""Metadata-Version: 2.1
Name: deepaas
Version: {VERSION}
Summary: Stand-in: Modelyard serves the modules of DEEPaaS in this environment
"""


@click.command("stand-in")
@click.option("--remove", is_flag=True, help="Take the record away again.")
def stand_in(remove: bool) -> None:
    """Have pip take `deepaas` as installed, so that modules which require it leave it out."""
    folder = Path(sysconfig.get_path("purelib")) / f"deepaas-{VERSION}.dist-info"
    installer = _installer()
    if remove:
        if installer == _INSTALLER:
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
        click.echo("pip does not take deepaas as installed any more.")
        return
    if installer not in (None, _INSTALLER):
        raise click.ClickException(
            "DEEPaaS itself is installed in this environment: pip uninstall deepaas, then again."
        )
    folder.mkdir(exist_ok=True)
    files = {"METADATA": _METADATA, "INSTALLER": f"{_INSTALLER}\n"}
    for name, text in files.items():
        (folder / name).write_text(text)
    record = "".join(f"{folder.name}/{name},,\n" for name in (*files, "RECORD"))
    (folder / "RECORD").write_text(record)  # with it `pip uninstall deepaas` works
    click.echo(f"pip takes deepaas {VERSION} as installed: {folder}")


def _installer() -> str | None:
    """Who installed the distribution `deepaas`; None if there is none."""
    try:
        found = distribution("deepaas")
    except PackageNotFoundError:
        return None
    return (found.read_text("INSTALLER") or "unknown").strip()
