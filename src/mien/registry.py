"""Open registries: names of systems, datasets, descriptors and so on, from this package and from any other.

A name is looked up in three places, in this order: what this package brings, what was registered in this process, and
the entry points of installed packages. Nothing is imported before it is asked for. Where a user types a name, an import
path `package.module:attribute` does as well.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar, overload

from mien.errors import MienError, plain_name, unknown_name

T = TypeVar("T")
Given = TypeVar("Given")
Default = TypeVar("Default")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something that is registered was defined.

    Attributes:
        package: Name of the installed package; the module's name where it was not installed.
        version: Version of the package; "" where it was not installed.
        file: File of the definition; "" where there is none.
        path: Import path `package.module:attribute`; "" where it is not known.
        line: Line in that file; 0 where it is not known.
    """

    package: str
    version: str = ""
    file: str = ""
    path: str = ""
    line: int = 0

    def __str__(self) -> str:
        """Name the package, its version and the file, for errors."""
        named = f"the package {self.package}" + (f" {self.version}" if self.version else "")
        return f"{named} ({self.file})" if self.file else named


def is_import_path(text: str) -> bool:
    """Return whether a text reads as `package.module:attribute`.

    Example:
        >>> is_import_path("my_package.systems:MY_SYSTEM"), is_import_path("flow-svm")
        (True, False)
    """
    return _PATH.fullmatch(text) is not None


def import_object(path: str) -> Any:
    """Import what an import path names. The current folder is searched too.

    Args:
        path: `package.module:attribute`.

    Returns:
        The object.

    Raises:
        MienError: There is no such module or attribute, or the module fails when it is imported.

    Example:
        >>> import_object("math:floor")(2.5)
        2
    """
    module_name, _, attribute = path.partition(":")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
        importlib.invalidate_caches()
    found: Any = import_plug_in(module_name, path)
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            origin = origin_of_module(module_name)
            public = [n for n in vars(sys.modules[module_name]) if not n.startswith("_")]
            near = difflib.get_close_matches(attribute, public, n=1, cutoff=0.4)
            raise MienError(
                f"There is no {attribute!r} in {origin}; the import path {path!r} asks for it.",
                "package.module:attribute, of an attribute that exists.",
                f"`{module_name}:{near[0] if near else 'ATTRIBUTE'}`.",
            ) from None
    return found


def import_plug_in(module_name: str, asked: str) -> ModuleType:
    """Import a module of another package; `asked` says for what, for the error.

    Raises:
        MienError: There is no such module, or it fails.
    """
    try:
        return importlib.import_module(module_name)
    except MienError as error:  # a registration was refused
        raise MienError(f"{asked} cannot be loaded: {error.found}", error.expected, error.fix) from error
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and (module_name == missing or module_name.startswith(f"{missing}.")):
            raise _no_module(module_name, missing, asked) from None
        raise failed_plug_in(asked, origin_of_module(module_name), error) from error


def failed_plug_in(asked: str, origin: Origin, error: BaseException) -> MienError:
    """Make the error for outside code that failed: its package, its file, and the line that failed.

    Args:
        asked: What was being done or asked for: "the system 'mine'".
        origin: Where the outside code is from.
        error: What it raised.
    """
    frames = traceback.extract_tb(error.__traceback__)
    ours = str(Path(__file__).parent)
    own = [f for f in frames if not f.filename.startswith(("<frozen", ours))]
    if isinstance(error, SyntaxError) and error.filename:
        file, line = error.filename, error.lineno
    elif own:
        at = next((f for f in reversed(own) if f.filename == origin.file), own[-1])
        file, line = at.filename, at.lineno
    else:
        file, line = origin.file, None
    where = f"{file}, line {line}" if line else file or "its module"
    detail = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    version = f" {origin.version}" if origin.version else ""
    return MienError(
        f"{asked} of the package {origin.package}{version} failed in {where}: {detail}.",
        "a plug-in that can be imported and run.",
        f"a newer version of {origin.package}, or without it: `pip uninstall {origin.package}`."
        if origin.version
        else f"to mend {file or origin.package}.",
    )


def _no_module(module_name: str, missing: str, asked: str) -> MienError:
    parent, top = missing.rpartition(".")[0], module_name.partition(".")[0]
    where = f" in {origin_of_module(parent)}" if parent in sys.modules else ""
    return MienError(
        f"There is no module {missing!r}{where}; {asked!r} asks for {module_name!r}.",
        "the import path package.module:attribute of an installed package or of a file in the current folder.",
        f"`pip install {top}`, or run mien in the folder that holds {top!r}.",
    )


def origin_of_module(module_name: str, path: str = "") -> Origin:
    """Return the package, version and file of a module, whether it was imported or not."""
    module = sys.modules.get(module_name)
    file = getattr(module, "__file__", None) if module is not None else None
    if file is None:
        for name in (module_name, module_name.partition(".")[0]):
            try:
                spec = importlib.util.find_spec(name)  # imports the parents of a module, which may fail
            except Exception:
                continue
            if spec is not None:
                file = spec.origin
                break
    package, version = _distribution(module_name)
    return Origin(package, version, file or "", path)


def origin_of(found: Any, path: str = "") -> Origin:
    """Return where a class, a function or an object was defined; of an object, where its class was.

    Args:
        found: What was defined.
        path: Its import path, where it is known.
    """
    defined = found if inspect.isclass(found) or inspect.isroutine(found) else type(found)
    origin = origin_of_module(getattr(defined, "__module__", None) or "__main__", path)
    try:
        file = inspect.getsourcefile(defined) or origin.file
    except (TypeError, OSError):
        file = origin.file
    return Origin(origin.package, origin.version, file, path)


_packages_on = cache(lambda _: importlib.metadata.packages_distributions())  # reads all there are: once a path


def _distribution(module_name: str) -> tuple[str, str]:
    """The name and version of the installed package that brings a module; the module's own name where none does."""
    top = module_name.partition(".")[0]
    if top == "mien":
        return "mien", importlib.import_module("mien").__version__
    for name in _packages_on(tuple(sys.path)).get(top, []):
        return name, importlib.metadata.version(name)
    return top, ""


def _calling_module() -> Origin:
    """Where the code is that registers something: the first caller outside this package."""
    frame = inspect.currentframe()
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name != "mien" and not name.startswith("mien."):
            return Origin(*_distribution(name), frame.f_code.co_filename, line=frame.f_lineno)
        frame = frame.f_back
    return Origin("mien")


class Registry(Mapping[str, T], Generic[T]):
    """Names of one kind of thing, open to other packages.

    It is a mapping. Iterating gives what this package brings, then what was registered, then what installed packages
    bring and can be loaded; `problems` says what could not.

    Args:
        kind: What is registered, in the singular: "system".
        group: Group of entry points: "mien.systems".
        list_command: The command that lists the names: "mien systems".
        builtins: What this package brings, by name: the import path of each, imported when it is asked for, or itself.
        accept: Turns what was registered into the thing, or raises MienError; None takes it as it is.
        name_of: The name of a thing, or None where it has none of its own: then it is registered under a name.
        aliases: Other spellings, by what they mean; they are suggested, not taken. Case and punctuation do not count.

    Example:
        >>> greetings = Registry[str]("greeting", "mien.greetings", "mien greetings", name_of=lambda _: None)
        >>> greetings.register("Hello!", name="hello")
        'Hello!'
        >>> greetings["hello"]
        'Hello!'
    """

    def __init__(
        self,
        kind: str,
        group: str,
        list_command: str,
        *,
        builtins: Mapping[str, str | T] | None = None,
        accept: Callable[[Any], T] | None = None,
        name_of: Callable[[T], str | None] = lambda found: getattr(found, "name", None),
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self.kind, self.group, self.list_command = kind, group, list_command
        self._builtins = dict(builtins or {})
        self._accept, self._name_of = accept, name_of
        self._aliases = {plain_name(alias): name for alias, name in (aliases or {}).items()}
        self._registered: dict[str, tuple[T, Origin]] = {}
        self._loaded: dict[str, T] = {}
        self._points: dict[str, list[EntryPoint]] | None = None
        self._broken: dict[str, MienError] = {}

    @overload
    def register(self, given: str, *, name: None = None) -> Callable[[Given], Given]: ...
    @overload
    def register(self, given: Given, *, name: str | None = None) -> Given: ...
    def register(self, given: Any, *, name: str | None = None) -> Any:
        """Register something in this process; a decorator, or a call.

        Args:
            given: The thing. Or its name, as text: the decorated function or class is then registered under it.
            name: Its name, where it has none of its own.

        Returns:
            What was given, unchanged; a decorator where a name alone was given.

        Raises:
            MienError: It is not of this kind, its name is not one, or the name is taken.
        """
        if isinstance(given, str) and name is None:
            return lambda thing: self.register(thing, name=given)
        origin = _calling_module()
        thing = self._accepted(given, origin)
        called = self._called(thing, name, origin)
        self._require_free(called, thing, origin)
        self._registered[called] = thing, origin
        return given

    def unregister(self, name: str) -> None:
        """Take back what was registered in this process under a name; nothing happens where nothing was."""
        self._registered.pop(name, None)

    def refresh(self) -> None:
        """Look at the installed packages anew; needed only where one was installed while this process runs."""
        importlib.invalidate_caches()
        self._points = None
        self._broken.clear()
        for name in [n for n in self._loaded if n not in self._builtins]:
            del self._loaded[name]

    @overload
    def get(self, key: str, /) -> T: ...
    @overload
    def get(self, key: str, default: Default, /) -> T | Default: ...
    def get(self, key: str, /, *default: Any) -> Any:
        """Return what has that name, or, without a default, what an import path `package.module:attribute` names.

        An import path runs code: `get` is for what a user typed, `registry[name]` for names that are read in files.

        Args:
            key: Name or import path.
            default: Returned for anything but a known name, instead of raising.

        Raises:
            MienError: There is none (the nearest name is suggested), or its plug-in fails.
        """
        if default:
            return self[key] if key in self else default[0]
        if is_import_path(key):
            return self._accepted(import_object(key), origin_of_module(key.partition(":")[0], key))
        return self[key]

    def __getitem__(self, name: str) -> T:
        if name in self._loaded:
            return self._loaded[name]
        if name in self._builtins:
            own = self._builtins[name]
            if isinstance(own, str):
                module, _, attribute = own.partition(":")
                own = getattr(importlib.import_module(module), attribute)
            self._loaded[name] = own
            return self._loaded[name]
        if name in self._registered:
            return self._registered[name][0]
        if name in self._entry_points:
            return self._from_package(name)
        raise self._unknown(name)

    def __contains__(self, name: object) -> bool:
        """Whether the name is known. What a package brings is not loaded for it, so getting it may fail."""
        return name in self._builtins or name in self._registered or name in self._entry_points

    def __iter__(self) -> Iterator[str]:
        self._load_all()
        outside = [n for n in self._entry_points if n not in self._broken]
        return iter(dict.fromkeys([*self._builtins, *self._registered, *outside]))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @property
    def builtins(self) -> tuple[str, ...]:
        """Names that this package brings."""
        return tuple(self._builtins)

    def problems(self) -> list[MienError]:
        """Return what is wrong with installed plug-ins of this kind, an error for each."""
        self._load_all()
        return list(self._broken.values())

    def origin(self, name: str) -> Origin:
        """Return which package brings a name or an import path, and in which file.

        Raises:
            MienError: As `get`.
        """
        found = self.get(name)
        if name in self._builtins:
            return self._own_origin(name)
        if name in self._registered:
            return self._registered[name][1]
        if is_import_path(name):
            return origin_of_module(name.partition(":")[0], name)
        points = self._entry_points.get(name)
        return _origin_of_point(points[0]) if points else origin_of(found)

    @property
    def _entry_points(self) -> dict[str, list[EntryPoint]]:
        if self._points is None:
            found: dict[str, list[EntryPoint]] = {}
            for point in importlib.metadata.entry_points(group=self.group):
                same = found.setdefault(point.name, [])
                # A folder can be on the path twice, and with it the package.
                if all((p.value, _dist_name(p)) != (point.value, _dist_name(point)) for p in same):
                    same.append(point)
            self._points = found
        return self._points

    def _load_all(self) -> None:
        for name in self._entry_points:
            if name in self._broken:
                continue
            try:
                self._from_package(name)
            except MienError as error:
                self._broken[name] = error

    def _from_package(self, name: str) -> T:
        """What an installed package brings under a name."""
        if name in self._broken:
            raise self._broken[name]
        points = self._entry_points[name]
        origins = [_origin_of_point(point) for point in points]
        if name in self._builtins:
            raise self._taken(name, origins[0], self._own_origin(name))
        if len(points) > 1:
            raise self._taken(name, *origins[:2])
        if name in self._loaded:
            return self._loaded[name]
        asked = f"The {self.kind} {name!r}"
        mend = f"to mend the entry points in the pyproject.toml of {origins[0].package}, and install it again."
        attribute = points[0].attr
        module = import_plug_in(points[0].module, asked)
        found: Any = module
        try:
            for part in attribute.split(".") if attribute else ():
                found = getattr(found, part)
        except AttributeError:
            raise MienError(
                f"{asked} is to be {attribute!r} in {origins[0]}, which has no such attribute.",
                f"an entry point of the group {self.group!r} that names what exists.",
                mend,
            ) from None
        if found is module:  # its import is to register the name
            if name not in self._registered:
                raise MienError(
                    f"{origins[0]} was imported for the {self.kind} {name!r} and registered no such {self.kind}.",
                    f"`{name} = package.module:attribute` in the group {self.group!r}, or a module that registers it.",
                    mend,
                )
            return self._registered[name][0]
        thing = self._accepted(found, origins[0])
        called = self._called(thing, None if self._name_of(thing) else name, origins[0])
        if called != name:
            found = f"{asked} of {origins[0]} calls itself {called!r}."
            raise MienError(found, "one name in the entry point and in the code.", mend)
        there = self._registered.get(name)
        if there is not None and there[0] is not thing and there[1].file != origins[0].file:
            raise self._taken(name, origins[0], there[1])
        self._loaded[name] = thing
        return thing

    def _accepted(self, given: Any, origin: Origin) -> T:
        """What was given as a thing of this kind."""
        try:
            thing: T = self._accept(given) if self._accept is not None else given
            return thing
        except MienError as error:
            raise MienError(f"{error.found} It is from {origin}.", error.expected, error.fix) from error
        except Exception as error:
            raise failed_plug_in(f"A {self.kind}", origin, error) from error

    def _called(self, thing: T, name: str | None, origin: Origin) -> str:
        own = name if name is not None else self._name_of(thing)
        if not isinstance(own, str) or not _NAME.fullmatch(own):
            raise MienError(
                f"A {self.kind} from {origin} is called {own!r}.",
                "a name of letters, digits and any of `_ . + -`.",
                f"`my-{self.kind}`.",
            )
        return own

    def _require_free(self, name: str, thing: T, origin: Origin) -> None:
        if name in self._builtins:
            raise self._taken(name, origin, self._own_origin(name))
        if name in self._registered:
            there, before = self._registered[name]
            # A cell of a notebook has no file and is run again and again; a module can be reloaded.
            cell = origin.package == "__main__" and not Path(origin.file).is_file()
            reloaded = bool(origin.file) and (origin.file, origin.line) == (before.file, before.line)
            again = there is thing or cell or reloaded
            if not again:
                raise self._taken(name, origin, before)

    def _own_origin(self, name: str) -> Origin:
        own = self._builtins[name]
        return origin_of_module(own.partition(":")[0], own) if isinstance(own, str) else origin_of(own)

    def _taken(self, name: str, first: Origin, second: Origin) -> MienError:
        return MienError(
            f"Two {self.kind}s are called {name!r}: one in {first}, one in {second}.",
            f"one {self.kind} for each name.",
            f"`pip uninstall {first.package if first.package != 'mien' else second.package}`, or another name for one.",
        )

    def _unknown(self, name: str) -> MienError:
        known = [*self._builtins, *self._registered, *self._entry_points]
        return unknown_name(self.kind, name, known, self.list_command, self._aliases)


def _dist_name(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else ""


def _origin_of_point(point: EntryPoint) -> Origin:
    file = origin_of_module(point.module).file
    if point.dist is None:
        return Origin(point.module.partition(".")[0], "", file, point.value)
    return Origin(point.dist.name, point.dist.version, file or str(point.dist.locate_file("")), point.value)
