"""Lets mien's networks be imported where its smaller packages are missing: `import bare` before anything of mien.

A machine lent with a GPU often holds PyTorch, NumPy, SciPy, scikit-learn, Pillow and OpenCV and nothing else. Of the
packages that mien also needs, those that read films and sheets or check what a user typed have no part in speed:
where one is missing, a stand-in takes its place. `pydantic` keeps the defaults and the presets of each system and
checks nothing; of the others, whatever is used raises ImportError. A package that is installed is used as it is.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, MutableSequence, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

UNUSED = ("av", "joblib", "matplotlib", "platformdirs", "python_calamine", "rich", "safetensors", "typer")
"""Packages of which nothing is used while networks are measured."""


class _Unused(ModuleType):
    """A missing module: names can be imported from it, and raise when they are used."""

    __path__: MutableSequence[str] = []  # noqa: RUF012

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(*_: object, **__: object) -> None:
            raise ImportError(f"{self.__name__}.{name} was used, and {self.__name__.split('.')[0]} is not installed")

        return type(name, (Exception,), {"__init__": refuse})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds stand-ins for missing packages and their modules."""

    def __init__(self, missing: Sequence[str]) -> None:
        self.missing = frozenset(missing)

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> Any:
        if fullname.split(".")[0] not in self.missing:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Unused(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        return


class _Default:
    """What `Field` returns: the default of a parameter."""

    def __init__(self, default: Any = None, **_: Any) -> None:
        self.default = default
        self.metadata: tuple[Any, ...] = ()


class _Model:
    """Parameters with their defaults, unchecked."""

    model_fields: Mapping[str, _Default] = {}

    def __init_subclass__(cls) -> None:
        fields = {name: field for base in reversed(cls.__mro__[1:]) for name, field in _fields(base).items()}
        for name in vars(cls).get("__annotations__", {}):
            if name.startswith(("_", "model_")):
                continue
            default = vars(cls).get(name)
            fields[name] = default if isinstance(default, _Default) else _Default(default)
        cls.model_fields = fields

    @classmethod
    def model_validate(cls, values: Mapping[str, Any]) -> Any:
        made = cls()
        vars(made).update({name: values.get(name, field.default) for name, field in cls.model_fields.items()})
        return made

    def model_dump(self, **_: Any) -> dict[str, Any]:
        return dict(vars(self))

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(vars(self).items())


def _fields(base: type) -> Mapping[str, _Default]:
    found: Mapping[str, _Default] = vars(base).get("model_fields", {})
    return found


def _unchecked(*_: Any, **__: Any) -> Callable[[Any], Any]:
    return lambda function: function


def _create_model(name: str, __base__: type, **fields: Any) -> type:
    own = {field: given[1] for field, given in fields.items()}
    return type(name, (__base__,), {"__annotations__": dict.fromkeys(fields, Any), **own})


def _pydantic() -> dict[str, ModuleType]:
    """The stand-in of pydantic and of its core."""
    front, core = ModuleType("pydantic"), ModuleType("pydantic_core")
    vars(front).update(
        BaseModel=_Model,
        ConfigDict=dict,
        Field=_Default,
        AfterValidator=SimpleNamespace,
        BeforeValidator=SimpleNamespace,
        ValidationError=type("ValidationError", (Exception,), {}),
        ValidationInfo=object,
        create_model=_create_model,
        field_validator=_unchecked,
    )
    for name in ("AfterValidator", "BeforeValidator"):
        vars(front)[name] = lambda function: SimpleNamespace(function=function)
    vars(core)["ErrorDetails"] = dict
    return {"pydantic": front, "pydantic_core": core}


def missing() -> list[str]:
    """Put stand-ins in the place of packages that are missing; return their names."""
    gone = [name for name in UNUSED if importlib.util.find_spec(name) is None]
    sys.meta_path.append(_Finder(gone))
    if importlib.util.find_spec("pydantic") is None:
        sys.modules.update(_pydantic())
        gone.append("pydantic")
    return gone


STOOD_IN = missing()
"""Packages that are not installed here, for which something stands in."""
