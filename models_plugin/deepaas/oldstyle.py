"""Makes marshmallow 4 and webargs 8 take what modules write for marshmallow 3 and webargs 5.

`translate()` changes these libraries in its own process, which serves one old module and nothing
else: a worker or a run process, never the front, never for native plugins. With marshmallow 3 in
the module's environment there is next to nothing to do. Python 3.8 syntax.

What changed between the releases: https://marshmallow.readthedocs.io/en/stable/upgrading.html and
https://webargs.readthedocs.io/en/latest/upgrading.html
"""

from __future__ import annotations

import functools
import inspect
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

import marshmallow
from marshmallow import decorators, fields, validate

from .hooks import after_import

_DONE = "_modelyard_old_style"
_RENAMED = {"missing": "load_default", "default": "dump_default"}


def translate() -> None:
    """Changes marshmallow and webargs of this process, once."""
    if getattr(marshmallow, _DONE, False):
        return
    setattr(marshmallow, _DONE, True)
    _be_quiet()
    if _takes_loose_keywords():
        _name_defaults_anew()
        return
    _translate_fields()
    _translate_validators()
    _translate_schemas()
    _translate_decorators()
    _add_names()
    after_import("webargs", _translate_webargs)
    after_import("webargs.fields", _translate_webargs_fields)
    after_import("webargs.core", _translate_webargs_core)


def _takes_loose_keywords() -> bool:
    """True for marshmallow 3, whose fields take any keyword."""
    parameters = inspect.signature(fields.Field.__init__).parameters.values()
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _be_quiet() -> None:
    """Old modules would fill their log with the deprecations of marshmallow 3."""
    warnings.filterwarnings("ignore", message=r".*(marshmallow|[Mm]etadata|`missing`|`default`)")
    warning = getattr(getattr(marshmallow, "warnings", None), "RemovedInMarshmallow4Warning", None)
    if warning is not None:
        warnings.simplefilter("ignore", warning)


def _name_defaults_anew() -> None:
    """Before 3.13 there were only `missing` and `default`: what reads fields asks the new names."""
    if hasattr(fields.Field(), "load_default"):
        return
    for old, new in _RENAMED.items():
        setattr(fields.Field, new, _renamed(old))


# -- fields ------------------------------------------------------------------------------------


def _translate_fields() -> None:
    made = fields.Field.__init__
    known = {
        name for name in inspect.signature(made).parameters if name not in ("self", "metadata")
    }

    @functools.wraps(made)
    def make(self: Any, *args: Any, **kwargs: Any) -> None:
        for old, new in _RENAMED.items():
            if old in kwargs:
                kwargs.setdefault(new, kwargs.pop(old))
                kwargs.pop(old, None)
        metadata = dict(kwargs.pop("metadata", None) or {})
        metadata.update((name, kwargs.pop(name)) for name in list(kwargs) if name not in known)
        made(self, *args, metadata=metadata, **kwargs)

    fields.Field.__init__ = make  # type: ignore[method-assign]
    for old, new in _RENAMED.items():
        setattr(fields.Field, old, _renamed(new))
    fields.Field.fail = _fail  # type: ignore[attr-defined]
    fields.Field.context = property(  # type: ignore[attr-defined]
        lambda self: getattr(self.parent, "context", {})
    )
    # Both could be used as they are; now they are abstract.
    for cls, member, value in (
        (fields.Number, "num_type", float),
        (fields.Mapping, "mapping_type", dict),
    ):
        if member in getattr(cls, "__abstractmethods__", ()):
            setattr(cls, member, value)
            cls.__abstractmethods__ = frozenset()


def _renamed(new: str) -> property:
    return property(lambda self: getattr(self, new), lambda self, value: setattr(self, new, value))


def _fail(self: Any, key: str, **kwargs: Any) -> None:
    raise self.make_error(key, **kwargs)


def _translate_validators() -> None:
    """A validator that returned False had refused the value; now that would let it pass."""
    call = validate.And.__call__

    @functools.wraps(call)
    def check(self: Any, value: Any) -> Any:
        if any(not isinstance(one, validate.Validator) for one in self.validators):
            self = validate.And(*(_strict(one) for one in self.validators))
        return call(self, value)

    validate.And.__call__ = check  # type: ignore[method-assign]


def _strict(validator: Callable[[Any], Any]) -> Callable[[Any], Any]:
    if isinstance(validator, validate.Validator):
        return validator

    def check(value: Any) -> None:
        if validator(value) is False:
            raise marshmallow.ValidationError("Invalid value.")

    return check


# -- schemas -----------------------------------------------------------------------------------


def _translate_schemas() -> None:
    made = marshmallow.Schema.__init__

    @functools.wraps(made)
    def make(self: Any, *args: Any, context: Any = None, **kwargs: Any) -> None:
        self.context = context or {}
        made(self, *args, **kwargs)

    marshmallow.Schema.__init__ = make  # type: ignore[method-assign]
    marshmallow.Schema.context = {}  # type: ignore[attr-defined]


def _translate_decorators() -> None:
    """Hooks are called with more keywords than before, and `pass_many` has another name."""
    for name in ("validates", "validates_schema", "pre_load", "post_load", "pre_dump", "post_dump"):
        translated = _hook(getattr(decorators, name), takes_names=name == "validates")
        for module in (decorators, marshmallow):
            setattr(module, name, translated)


def _hook(decorator: Any, takes_names: bool) -> Any:
    @functools.wraps(decorator)
    def hook(*args: Any, **kwargs: Any) -> Any:
        if "pass_many" in kwargs:
            kwargs["pass_collection"] = kwargs.pop("pass_many")
        if takes_names or not args or args[0] is None:
            mark = decorator(*args, **kwargs)
            return lambda function: mark(_forgiving(function))
        return decorator(_forgiving(args[0]), *args[1:], **kwargs)

    return hook


def _forgiving(function: Any) -> Any:
    """The same function, called without the keywords that it does not know."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return function
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return function
    known = {parameter.name for parameter in parameters}

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **{name: kwargs[name] for name in kwargs if name in known})

    return call


def _add_names() -> None:
    """Names that marshmallow 3 had, and that modules read."""
    for name in ("EXCLUDE", "INCLUDE", "RAISE"):
        if not hasattr(marshmallow.utils, name):
            setattr(marshmallow.utils, name, getattr(marshmallow, name))
    if not hasattr(marshmallow, "__version__"):
        try:
            marshmallow.__version__ = version("marshmallow")  # type: ignore[attr-defined]
        except PackageNotFoundError:
            return


# -- webargs -----------------------------------------------------------------------------------


def _translate_webargs_fields(module: Any) -> None:
    delimited = module.DelimitedList
    made, load = delimited.__init__, delimited._deserialize

    def make(
        self: Any, cls_or_instance: Any, delimiter: Any = None, *args: Any, **kwargs: Any
    ) -> None:
        kwargs.pop("as_string", None)  # how it is written: it never is
        made(self, cls_or_instance, delimiter=delimiter, **kwargs)

    def deserialize(self: Any, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return fields.List._deserialize(self, list(value), attr, data, **kwargs)
        return load(self, value, attr, data, **kwargs)

    delimited.__init__, delimited._deserialize = make, deserialize


def _translate_webargs(module: Any) -> None:
    if not hasattr(module, "dict2schema"):
        module.dict2schema = _dict2schema
        there = ModuleType("webargs.dict2schema")
        there.dict2schema = _dict2schema  # type: ignore[attr-defined]
        sys.modules.setdefault(there.__name__, there)


def _translate_webargs_core(module: Any) -> None:
    for name in ("dict2schema", "argmap2schema"):
        if not hasattr(module, name):
            setattr(module, name, _dict2schema)


def _dict2schema(given: Any, schema_class: Any = None) -> Any:
    return (schema_class or marshmallow.Schema).from_dict(given)
