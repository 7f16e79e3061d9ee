"""As much of oslo.config and oslo.log as DEEPaaS's modules use. Python 3.8 syntax.

Both came with DEEPaaS, so modules import them without asking for them. Options have their defaults
here: the command line and the configuration files are the server's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, MutableMapping
from types import ModuleType
from typing import Any


class NoSuchOptError(AttributeError):
    """No option of that name was registered."""


class Opt:
    """An option: a name, and its default."""

    def __init__(self, name: str, type: Any = None, default: Any = None, **about: Any) -> None:
        self.name = name
        self.dest = about.get("dest") or name.replace("-", "_")
        self.default = default
        self.help = about.get("help")


class OptGroup:
    """A group of options; it is given as an object or by name."""

    def __init__(self, name: str, title: Any = None, help: Any = None, **about: Any) -> None:
        self.name = name


class Group:
    """The options of one group as attributes."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("_values", {})
        if name in values:
            return values[name]
        raise NoSuchOptError(name)

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __iter__(self) -> Any:
        return iter(self._values)

    def get(self, name: str, default: Any = None) -> Any:
        return self._values.get(name, default)


class ConfigOpts(Group):
    """`cfg.CONF`."""

    supplied = True

    def __call__(self, args: Any = None, **about: Any) -> None:
        """oslo.config reads the command line here."""

    def register_opt(self, opt: Opt, group: Any = None, **about: Any) -> bool:
        values = self._group(group)._values
        values.setdefault(opt.dest, opt.default)
        return True

    def register_opts(self, opts: Iterable[Opt], group: Any = None, **about: Any) -> None:
        for opt in opts:
            self.register_opt(opt, group)

    register_cli_opt, register_cli_opts = register_opt, register_opts

    def register_group(self, group: OptGroup) -> None:
        self._group(group)

    def set_override(self, name: str, value: Any, group: Any = None, **about: Any) -> None:
        self._group(group)._values[name.replace("-", "_")] = value

    def set_default(self, name: str, value: Any, group: Any = None, **about: Any) -> None:
        self._group(group)._values[name.replace("-", "_")] = value

    def import_opt(self, name: str, module: str, group: Any = None) -> None:
        __import__(module)

    def _group(self, group: Any) -> Group:
        if group is None or group == "DEFAULT":
            return self
        name = getattr(group, "name", group)
        values: dict[str, Any] = self._values
        if not isinstance(values.get(name), Group):
            values[name] = Group()
        return values[name]


def fill_config(module: ModuleType, model_name: str) -> None:
    """The contents of `oslo_config.cfg`."""
    kinds = ("Str", "Bool", "Int", "Float", "List", "Dict", "MultiStr", "Port", "IP", "URI", "Host")
    names = {kind + "Opt": type(kind + "Opt", (_Typed,), {}) for kind in kinds}
    vars(module).update(
        names,
        Opt=Opt,
        OptGroup=OptGroup,
        ConfigOpts=ConfigOpts,
        NoSuchOptError=NoSuchOptError,
        CONF=ConfigOpts(),
    )


class _Typed(Opt):
    def __init__(self, name: str, **about: Any) -> None:
        super().__init__(name, **about)


class Logger(logging.LoggerAdapter):
    """What `oslo_log.log.getLogger` gives: a logger with the old names of some methods."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logger, {})

    def warn(self, msg: object, *args: object, **kwargs: Any) -> None:
        self.warning(msg, *args, **kwargs)

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, kwargs


def get_logger(name: Any = None, *args: Any, **kwargs: Any) -> Logger:
    """A logger of the standard library under oslo's face."""
    return Logger(logging.getLogger(name))


def default_levels() -> list[str]:
    return []


def fill_log(module: ModuleType, model_name: str) -> None:
    """The contents of `oslo_log.log`: what configures logging does nothing."""

    def nothing(*args: Any, **kwargs: Any) -> None:
        return None

    levels = ("DEBUG", "INFO", "WARNING", "WARN", "ERROR", "CRITICAL")
    vars(module).update(
        {level: getattr(logging, level, logging.WARNING) for level in levels},
        getLogger=get_logger,
        getLazyLogger=get_logger,
        KeywordArgumentAdapter=Logger,
        register_options=nothing,
        setup=nothing,
        set_defaults=nothing,
        get_default_log_levels=default_levels,
    )
