"""Which classes of a script are collectors, and what becomes of them.

A class is a collector if it is defined in the script itself, is not abstract and has a `run` of its own or of a base
other than `DataKitFramework`. Its metaclass does not matter, a second name for it does not run it twice, and what was
imported is run where it was defined.
"""

from __future__ import annotations

import linecache

from pythond import codes, guard, loader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from pythond.dialects import Unit

DEFAULT_INTERVAL = 10.0
HOLDS_YIELD = "holds a `yield`: a call of it runs nothing of its body, which must report instead of yielding"
# Flags of code objects, as `inspect` has them; to import that costs a worker memory.
_GENERATOR, _OLD_COROUTINE, _ASYNC_GENERATOR = 0x20, 0x100, 0x200
_ABSTRACT = 1 << 20  # Py_TPFLAGS_IS_ABSTRACT, what `inspect.isabstract` looks at


def collectors(module: ModuleType, framework: type, unit: Unit) -> dict[str, type]:
    """Returns the collectors of a script by their names; only that one which the unit's `parts` name.

    Raises `loader.Failure` where there is none.
    """
    classes, notes = find(module, framework)
    if not classes:
        text = "no class of this file is a collector: one that inherits `DataKitFramework` and defines `run`"
        kind, more = ("Helper", {"passive": True}) if is_helper(module, framework) else ("NoCollector", {})
        raise loader.Failure("find", codes.NOTHING_TO_RUN, kind, text, True, file=unit.file, notes=notes, **more)
    named = named_once(classes)
    return named if unit.parts is None else _wanted(unit, named, notes)


def find(module: ModuleType, framework: type) -> tuple[list[type], list[str]]:
    """Returns the collectors of a module in the order of their definition, and why each other class is none."""
    chosen: list[type] = []
    notes: list[str] = []
    seen = {id(framework)}
    for value in list(vars(module).values()):
        if not isinstance(value, type) or id(value) in seen:
            continue
        seen.add(id(value))
        why = _why_not(value, module.__name__, framework)
        if not why:
            chosen.append(value)
        elif value.__module__ == module.__name__ or issubclass(value, framework):
            notes.append(f"class `{value.__name__}` {why}")
    return chosen, notes


def named_once(classes: list[type]) -> dict[str, type]:
    """Returns the classes by their names; of several with one name (a factory makes such) the later get a number."""
    named: dict[str, type] = {}
    for cls in classes:
        name, times = cls.__name__, 1
        while name in named:
            times += 1
            name = f"{cls.__name__}~{times}"
        named[name] = cls
    return named


def _wanted(unit: Unit, named: dict[str, type], notes: list[str]) -> dict[str, type]:
    """Returns the only class that is wanted. Raises `loader.Failure` where it is not there."""
    name = unit.parts.get("class") if isinstance(unit.parts, dict) else None
    if name not in named:
        text = f"no class `{name}` of this file is a collector; those are {', '.join(f'`{one}`' for one in named)}"
        raise loader.Failure("find", codes.NOTHING_TO_RUN, "NoCollector", text, True, file=unit.file, notes=notes)
    return {name: named[name]}


def is_helper(module: ModuleType, framework: type) -> bool:
    """Says whether a file without a collector was not meant to have one: it holds what other files import."""
    for value in list(vars(module).values()):
        if not isinstance(value, type) or value is framework or value.__module__ != module.__name__:
            continue
        is_base = issubclass(value, framework) and value.__flags__ & _ABSTRACT
        if not is_base and (issubclass(value, framework) or callable(getattr(value, "run", None))):
            return False
    return True


def _why_not(cls: type, module: str, framework: type) -> str:
    if not issubclass(cls, framework):
        return "does not inherit `DataKitFramework`"
    if cls.__module__ != module:
        return f"is imported from `{cls.__module__}` and runs there only"
    if cls.__flags__ & _ABSTRACT:
        return "is abstract: " + ", ".join(f"`{name}`" for name in sorted(getattr(cls, "__abstractmethods__", ())))
    if getattr(cls, "run", None) is getattr(framework, "run", None):
        return "does not define `run`"
    return ""


def make(cls: type, unit: Unit) -> Any:
    """Makes a collector.

    Raises `loader.Failure`: PD0205 where the constructor wants arguments, PD0203 where it raises, PD0204 where its
    `run` would never do anything.
    """
    collector = _made(cls, unit)
    try:
        run = collector.run
    except Exception:
        return collector  # a property that raises: each run says so
    why = _never_runs(run)
    if why:
        path, line = _place_of(run) or (unit.file, class_line(cls, unit.file))
        text = f"`run` of `{cls.__name__}` {why}"
        source = guard.source_line(path, line)
        raise loader.Failure("find", codes.NOTHING_TO_RUN, "NeverRuns", text, True, file=path, line=line, src=source)
    return collector


def _made(cls: type, unit: Unit) -> Any:
    try:
        return cls()
    except BaseException as error:
        failure = loader.load_failure(error, unit.files.is_user, "init")
        tb = error.__traceback__
        if isinstance(error, TypeError) and tb is not None and tb.tb_next is None:
            # Raised by the call, not in the constructor: no frame of the class was entered.
            line = class_line(cls, unit.file)
            failure.frame.update(
                code=codes.NEEDS_ARGUMENTS,
                permanent=True,
                msg=f"`{cls.__name__}` cannot be made without arguments: {guard.message(error)}",
                help="give the arguments of `__init__` defaults; settings come as `self.config`",
                file=unit.file,
                line=line,
                src=guard.source_line(unit.file, line),
            )
        raise failure from error


class NeverRuns(TypeError):
    """Calling `run` runs nothing of its body."""


def is_run_itself(returned: Any) -> bool:
    """Says whether a call of `run`, which may be hidden below a decorator, has only made a generator of its body."""
    code = getattr(returned, "gi_code", None) or getattr(returned, "ag_code", None)
    return code is not None and code.co_name == "run"


def _never_runs(run: Any) -> str:
    """Says why a call of `run` would never run its body; nothing where it would."""
    if not callable(run):
        return f"is {run!r:.60}; it must be a method"
    code = getattr(_function(run), "__code__", None)
    if code is None:
        return ""
    if code.co_flags & _ASYNC_GENERATOR or (code.co_flags & _GENERATOR and not code.co_flags & _OLD_COROUTINE):
        return HOLDS_YIELD
    missing = _missing_arguments(run, code)
    if missing:
        wanted = ", ".join(f"`{name}`" for name in missing)
        return f"wants {wanted}, and is called without arguments; give defaults, settings come as `self.config`"
    return ""


def _function(run: Any) -> Any:
    return getattr(run, "__func__", run)


def _missing_arguments(run: Any, code: Any) -> list[str]:
    """Returns the arguments without a default of a method or function."""
    function = _function(run)
    given = 0 if function is run else 1
    named = code.co_varnames[: code.co_argcount]
    with_default = len(getattr(function, "__defaults__", None) or ())
    only_named = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    defaults = getattr(function, "__kwdefaults__", None) or {}
    missing = [name for name in named[given : len(named) - with_default] if name]
    return missing + [name for name in only_named if name not in defaults]


def _place_of(run: Any) -> tuple[str, int] | None:
    """Returns file and line of the `def` of a method, below its decorators."""
    code = getattr(_function(run), "__code__", None)
    if code is None:
        return None
    for line in range(code.co_firstlineno, code.co_firstlineno + 20):
        if guard.source_line(code.co_filename, line).lstrip().startswith(("def ", "async def ")):
            return code.co_filename, line
    return code.co_filename, code.co_firstlineno


def interval_of(value: Any) -> tuple[float, str]:
    """Returns the seconds between two runs, and what to say of a value that is not simply a number of them."""
    if value is None:
        return DEFAULT_INTERVAL, ""
    shown = repr(value)[:60]
    try:
        every = float(value)
    except (TypeError, ValueError, OverflowError):
        return DEFAULT_INTERVAL, f"is {shown}; it must be a number of seconds, 10 is taken"
    if isinstance(value, bool) or not 0 < every < float("inf"):
        return DEFAULT_INTERVAL, f"is {shown}; it must be a number of seconds above 0, 10 is taken"
    if isinstance(value, str):
        return every, f'is "{value[:60]}"; taken as {every:g} s'
    return every, ""


def class_line(cls: type, path: str) -> int:
    """Returns the line on which a class begins; 1 where that cannot be told."""
    own: int | None = cls.__dict__.get("__firstlineno__")
    if own:
        return own
    for number, line in enumerate(linecache.getlines(path), 1):
        # No regular expression: making one for each class costs a worker 200 KB.
        first, _, rest = line.strip().partition(" ")
        name = rest.lstrip()
        if first == "class" and name.startswith(cls.__name__) and not name[len(cls.__name__) :][:1].isidentifier():
            return number
    return 1
