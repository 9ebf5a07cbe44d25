"""A plugin's module: found, compiled once, and run anew for each run.

Panoptes imports a plugin afresh for every execution, under a name of its own, and forgets it afterwards; plugins count
on that (the tutorial's fills a set that is made in `__init__`). The code is compiled once: a file that changes means a
new worker.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.machinery
import inspect
import itertools
import linecache
import os
import re
import sys
import threading
import types

from pythond import codes, guard, loader
from pythond.dialects.panoptes.plugin import normalized

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any, Sequence

    from pythond.sources import Sources

SHADOW = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shadow")
BASES = {
    "polling": ("yahoo_panoptes.polling.polling_plugin", "PanoptesPollingPlugin"),
    "discovery": ("yahoo_panoptes.discovery.panoptes_discovery_plugin", "PanoptesDiscoveryPlugin"),
    "enrichment": ("yahoo_panoptes.enrichment.enrichment_plugin", "PanoptesEnrichmentPlugin"),
}
_PACKAGE = "yahoo_panoptes"


class Place:
    """Where the module of an info file is; `note` says how that came, where it is not as the file says."""

    def __init__(self, path: str, note: str = "") -> None:
        self.path = path
        self.note = note


class NoModule(Exception):
    """There is no module; the text names the paths that were tried."""


def find(module: str, info_file: str) -> Place:
    """Returns the file of `Module`: relative to the info file or absolute, with or without `.py`, or a package.

    Where there is none, as with the path of a container, a file of that name beside the info file is taken, or the
    plugin of that place that comes with this package, or, for an absolute path, the module that is named like the info
    file: Panoptes' tutorial changes the name in the one and not that of the other. Raises `NoModule`.
    """
    folder = os.path.dirname(os.path.abspath(info_file))
    wanted = os.path.normpath(os.path.join(folder, module))
    found = _file_of(wanted)
    if found:
        return Place(found)
    beside = os.path.join(folder, os.path.basename(wanted))
    found = _file_of(beside)
    if found:
        return Place(found, f"there is no `{module}`; `{os.path.basename(found)}` beside the info file is taken")
    _, _, rest = wanted.partition(f"{os.sep}{_PACKAGE}{os.sep}")
    ours = _file_of(os.path.join(SHADOW, _PACKAGE, rest)) if rest else ""
    if ours:
        return Place(ours, f"there is no `{module}`; the plugin of that name that comes with pythond is taken")
    tried = [wanted] if wanted == beside else [wanted, beside]
    if os.path.isabs(module):
        namesake = os.path.splitext(os.path.abspath(info_file))[0] + ".py"
        if os.path.isfile(namesake):
            name = os.path.basename(namesake)
            return Place(namesake, f"there is no `{module}`; `{name}`, named like the info file, is taken")
    raise NoModule("the module is missing; tried: " + ", ".join(f"`{path}`, `{_with_py(path)}`" for path in tried))


def _with_py(path: str) -> str:
    return os.path.join(path, "__init__.py") if path.endswith(".py") else path + ".py"


def _file_of(path: str) -> str:
    for candidate in (path, path + ".py", os.path.join(path, "__init__.py")):
        if os.path.isfile(candidate):
            return candidate
    return ""


class Module:
    """The code of a plugin and the class that is looked for in it."""

    _numbers = itertools.count(1)
    _compiling = threading.RLock()

    def __init__(self, path: str, name: str, type: str, files: Sources) -> None:
        self.path = path
        self._name = f"yapsy_loaded_plugin_{normalized(name)}"
        self._type = type
        self._files = files
        self._code: CodeType | None = None

    def instance(self) -> tuple[Any, str]:
        """Runs the module anew and makes the plugin's object; returns it with the module's name.

        Raises `loader.Failure` PD0204 or PD0205, and what the module raises. `forget` undoes it.
        """
        name = f"{self._name}_{next(self._numbers)}"
        module = types.ModuleType(name)
        spec = importlib.machinery.ModuleSpec(
            name, None, origin=self.path, is_package=os.path.basename(self.path) == "__init__.py"
        )
        spec.has_location = True
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(os.path.dirname(self.path))
            module.__path__ = spec.submodule_search_locations
        module.__spec__ = spec
        module.__file__ = self.path
        module.__package__ = name if spec.submodule_search_locations is not None else ""
        sys.modules[name] = module
        try:
            exec(self._compiled(name), module.__dict__)
            return self._made(module), name
        except BaseException:
            self.forget(name)
            raise

    def forget(self, name: str) -> None:
        """Takes a module, and what it has imported below it, out of `sys.modules`."""
        sys.modules.pop(name, None)
        if os.path.basename(self.path) == "__init__.py":
            for other in [one for one in list(sys.modules) if one.startswith(name + ".")]:
                sys.modules.pop(other, None)

    def _compiled(self, name: str) -> CodeType:
        with self._compiling:
            if self._code is None:
                code = self._files.loader(self._name, self.path).get_code(self._name)
                assert code is not None, "a loader of sources has the code"
                self._code = code
            return self._code

    def _made(self, module: types.ModuleType) -> Any:
        base = base_of(self._type)
        failure: Exception | None = None
        for cls in _candidates(module, base):
            if inspect.isabstract(cls):
                failure = failure or self._no_run(cls)
                continue
            try:
                return cls()
            except Exception as error:
                # As in the original the next class is tried.
                failure = failure or error
        if failure is not None:
            raise failure
        seen = [cls for cls in vars(module).values() if isinstance(cls, type) and cls.__module__ == module.__name__]
        text = f"no class inherits `{base.__name__}`, which a {self._type} plugin must"
        notes = [f"class `{cls.__name__}` inherits {', '.join(b.__name__ for b in cls.__bases__)}" for cls in seen]
        raise loader.Failure(
            "find",
            codes.NOTHING_TO_RUN,
            "NoPlugin",
            text,
            True,
            file=self.path,
            notes=notes or ["the module defines no class"],
            **self._help_with(seen),
        )

    def _no_run(self, cls: type) -> loader.Failure:
        missing = ", ".join(f"`{name}`" for name in sorted(getattr(cls, "__abstractmethods__", ())))
        near = difflib.get_close_matches("run", vars(cls), 1)
        more: dict[str, Any] = {"help": f"did you mean `run` by `{near[0]}`?"} if near else {}
        text = f"`{cls.__name__}` has no method {missing}, which a {self._type} plugin must have"
        line = self._line_of(cls)
        if line:
            more.update(line=line, src=guard.source_line(self.path, line))
        return loader.Failure("find", codes.NOTHING_TO_RUN, "NoPlugin", text, True, file=self.path, **more)

    def _line_of(self, cls: type) -> int:
        begin = re.compile(rf"\s*class\s+{re.escape(cls.__name__)}\b")
        lines = enumerate(linecache.getlines(self.path), 1)
        return next((number for number, line in lines if begin.match(line)), 0)

    def _help_with(self, classes: Sequence[type]) -> dict[str, str]:
        """Says where a plugin of another type belongs."""
        for type_ in BASES:
            other = next((cls for cls in classes if issubclass(cls, base_of(type_))), None)
            if other is not None:
                return {"help": f"`{other.__name__}` is a plugin for {type_}: put its folder under `{type_}`"}
        return {}


def base_of(type: str) -> type:
    """Returns the class that a plugin of this type must inherit."""
    module, name = BASES[type]
    found: Any = getattr(importlib.import_module(module), name)
    return found  # type: ignore[no-any-return]


def _candidates(module: types.ModuleType, base: type) -> list[type]:
    """Returns the classes that may be the plugin, in the order of their names."""
    named = sorted(vars(module).items(), key=lambda item: item[0])
    return [value for _, value in named if isinstance(value, type) and issubclass(value, base) and value is not base]
