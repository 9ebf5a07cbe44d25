"""The user's own files as this worker has loaded or read them, each known by the hash of its bytes.

Modules are always loaded from their source: Python's cache of byte code takes a file for unchanged that was saved twice
in one second with the same size. Settings files are read through here (`read`), and folders looked into (`look`). The
agent learns of every one (`take_new`, `take_read`), so that it can tell which units a change touches.

Where the files on disk are broken, the agent names a manifest of the last good version. Its copies are then run and
read in place of the files, under the names and paths of the files: a traceback names what the user knows.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import io
import json
import marshal
import os
import sys
import tokenize

from pythond import control, guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any, Callable, Iterable, Sequence

    from pythond.guard import IsUser

MAX_FILES = 1000
_CODE_IS_SOURCE = importlib.machinery.SOURCE_SUFFIXES


class Compiled:
    """A file compiled before the fork; the workers share it."""

    __slots__ = ("code", "source", "sum")

    def __init__(self, sum_: str, code: CodeType, source: guard.Source) -> None:
        self.sum = sum_
        self.code = code
        self.source = source


# By their paths. To compile a file costs a worker far more memory than its code has.
compiled: dict[str, Compiled] = {}


def packed(path: str, data: bytes) -> str:
    """Returns a file compiled, as one line of text for `unpack`.

    Raises `SyntaxError`, also where there is only a warning: that belongs into the log of the worker; and `ValueError`.
    """
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code = compile(data, path, "exec", dont_inherit=True)
    return marshal.dumps((path, sum_of(data), code, _decoded(data))).hex()


def unpack(text: str) -> None:
    """Has the workers run what `packed` has compiled, where the file still is the same."""
    path, sum_, code, source = marshal.loads(bytes.fromhex(text))
    compiled[path] = Compiled(sum_, code, guard.as_source(path, source))


class Sources:
    """The user's files of one worker."""

    def __init__(self, is_user: IsUser, manifest: str | None = None) -> None:
        """Raises `ValueError` for a manifest that cannot be read."""
        self.is_user = is_user
        self._seen: dict[str, dict[str, Any]] = {}
        self._told: set[str] = set()
        # Settings files by their hash, folders that were looked into; as they are, and as the agent was told.
        self._read: dict[str, str] = {}
        self._told_read: dict[str, str] = {}
        self._looked: dict[str, str] = {}
        self._told_looked: dict[str, str] = {}
        self._modules = 0
        # What was there before the user's first file is none of it.
        self._before = next(reversed(sys.modules), "")
        self._kept = _read(manifest) if manifest else {}

    def install(self) -> None:
        """Has imports from the user's folders come through here; call it once `sys.path` is as it shall be."""
        details = (
            (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES),
            (self.loader, _CODE_IS_SOURCE),
            (importlib.machinery.SourcelessFileLoader, importlib.machinery.BYTECODE_SUFFIXES),
        )
        in_folder: Callable[[str], Any] = importlib.machinery.FileFinder.path_hook(*details)  # type: ignore[arg-type]

        def hook(folder: str) -> Any:
            if not self.is_user(os.path.join(folder, "x.py")):
                raise ImportError("not a folder of the user", path=folder)
            return in_folder(folder)

        sys.path_hooks.insert(0, hook)
        for folder in list(sys.path_importer_cache):
            if self.is_user(os.path.join(folder, "x.py")):
                del sys.path_importer_cache[folder]
        if self._kept:
            kept: dict[str, list[dict[str, Any]]] = {}
            for entry in self._kept.values():
                if entry.get("name"):  # a settings file is no module
                    kept.setdefault(entry["name"], []).append(entry)
            sys.meta_path.insert(0, _KeptFinder(self, kept))
            sys.meta_path.append(_FolderFinder(kept))

    def loader(self, name: str, path: str) -> UserLoader:
        return UserLoader(name, path, self)

    def data(self, name: str, path: str) -> bytes:
        """Returns what is to be run as a file, and notes it."""
        kept = self._kept.get(path)
        with io.open_code(kept["copy"] if kept else path) as file:
            data = file.read()
        self._note(name, path, data)
        return data

    def is_there(self, path: str) -> bool:
        """Says whether there is a file, or was one in the last good version where that runs."""
        return path in self._kept or os.path.isfile(path)

    def read(self, path: str) -> bytes:
        """Returns what a settings file holds, or held in the last good version where that runs. Raises `OSError`."""
        kept = self._kept.get(path)
        with open(kept["copy"] if kept else path, "rb") as file:
            data = file.read()
        self._read[path] = sum_of(data)
        return data

    def look(self, folder: str) -> list[str]:
        """Returns the names in a folder, with those of the last good version where that runs. Raises `OSError`."""
        try:
            names = set(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            names = set()
        self._looked[folder] = _sum_of_names(names)
        names.update(os.path.basename(path) for path in self._kept if os.path.dirname(path) == folder)
        return sorted(names)

    def _note(self, name: str, path: str, data: bytes) -> None:
        package = os.path.basename(path).startswith("__init__.")
        self._seen[path] = {"file": path, "sum": sum_of(data), "name": name, "package": package}
        self._told.discard(path)

    def sum_of(self, path: str) -> str:
        """Returns the hash of a file as it was loaded."""
        found: str = self._seen[path]["sum"]
        return found

    def take_new(self) -> tuple[list[list[dict[str, Any]]], int]:
        """Returns what was loaded since it was asked last, in pieces that fit a frame, and how many are too many."""
        if self._modules != len(sys.modules):
            self._modules = len(sys.modules)
            self._look_at_modules()
        new = [entry for path, entry in self._seen.items() if path not in self._told]
        if not new:
            return [], 0
        room = max(0, MAX_FILES - len(self._told))
        self._told.update(entry["file"] for entry in new)
        return control.in_pieces(new[:room]), len(new) - len(new[:room])

    def forget_told(self, piece: Sequence[dict[str, Any]]) -> None:
        """Has a piece that could not be sent come again."""
        self._told.difference_update(entry["file"] for entry in piece)

    def take_read(self) -> tuple[list[dict[str, Any]], int]:
        """Returns the settings files and folders that came into use since it was asked last, as fields of frames, and
        how many are too many."""
        if self._read == self._told_read and self._looked == self._told_looked:
            return [], 0
        files = [(path, sum_) for path, sum_ in list(self._read.items()) if self._told_read.get(path) != sum_]
        looked = [(path, sum_) for path, sum_ in list(self._looked.items()) if self._told_looked.get(path) != sum_]
        room = max(0, MAX_FILES - len(self._told_read))
        kept = [one for at, one in enumerate(files) if at < room or one[0] in self._told_read]
        room = max(0, MAX_FILES - len(self._told_looked))
        left_out = len(files) - len(kept) + len(looked[room:])
        self._told_read.update(files)
        self._told_looked.update(looked)
        frames: list[dict[str, Any]] = []
        for piece in control.in_pieces([{"file": path, "sum": sum_} for path, sum_ in kept]):
            frames.append({"files": piece, "folders": []})
        for piece in control.in_pieces([{"folder": path, "sum": sum_} for path, sum_ in looked[:room]]):
            frames.append({"files": [], "folders": piece})
        return frames, left_out

    def forget_read(self, frame: dict[str, Any]) -> None:
        """Has a frame that could not be sent come again."""
        for entry in frame["files"]:
            self._told_read.pop(entry["file"], None)
        for entry in frame["folders"]:
            self._told_looked.pop(entry["folder"], None)

    def _look_at_modules(self) -> None:
        """Notes files that were loaded in another way, such as a library in C beside the file."""
        for name in _newest(sys.modules, self._before):
            module = sys.modules.get(name)
            path = getattr(module, "__dict__", {}).get("__file__")
            if isinstance(path, str) and path not in self._seen and self.is_user(path):
                try:
                    with open(path, "rb") as file:
                        self._note(name, path, file.read())
                except OSError:
                    # Gone already; what it was cannot be told.
                    pass


class UserLoader(importlib.machinery.SourceFileLoader):
    """Compiles a file as it is now, or its last good version."""

    def __init__(self, name: str, path: str, sources: Sources) -> None:
        super().__init__(name, path)
        self._sources = sources

    def get_code(self, fullname: str) -> Any:
        data = self._sources.data(fullname, self.path)
        known = compiled.get(self.path)
        if known is not None and known.sum == self._sources.sum_of(self.path):
            guard.remember_source(self.path, known.source)
            return known.code
        guard.remember_source(self.path, guard.as_source(self.path, _decoded(data)))
        if b"\0" in data:
            # Older Pythons raise a ValueError without a place here.
            line = data[: data.index(b"\0")].count(b"\n") + 1
            raise SyntaxError("source code cannot contain null bytes", (self.path, line, None, None))
        return self.source_to_code(data, self.path)


class _KeptFinder:
    """Finds the modules of the last good version by their names: their files may be gone."""

    def __init__(self, sources: Sources, kept: dict[str, list[dict[str, Any]]]) -> None:
        self._sources = sources
        self._kept = kept

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> Any:
        entry = _first_on_path(self._kept.get(name))
        if entry is None or not entry["file"].endswith(tuple(_CODE_IS_SOURCE)):
            return None
        loader = self._sources.loader(name, entry["file"])
        spec = importlib.machinery.ModuleSpec(name, loader, origin=entry["file"], is_package=entry["package"])
        spec.has_location = True
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(os.path.dirname(entry["file"]))
        return spec


def _first_on_path(entries: list[dict[str, Any]] | None) -> dict[str, Any] | None:
    """Returns that of several modules of one name which `sys.path` has first: units of one process may have some."""
    if not entries or len(entries) == 1:
        return entries[0] if entries else None
    for folder in sys.path:
        for entry in entries:
            if entry["file"].startswith(folder.rstrip(os.sep) + os.sep):
                return entry
    return entries[0]


class _FolderFinder:
    """Finds folders without `__init__.py` that held modules of the last good version, where nobody else does."""

    def __init__(self, kept: dict[str, list[dict[str, Any]]]) -> None:
        self._folders: dict[str, list[str]] = {}
        for entry in (entry for entries in kept.values() for entry in entries):
            name, folder = entry["name"], os.path.dirname(entry["file"])
            if entry["package"]:
                folder = os.path.dirname(folder)
            while "." in name:
                name = name.rpartition(".")[0]
                self._folders.setdefault(name, []).append(folder)
                folder = os.path.dirname(folder)

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> Any:
        if name not in self._folders:
            return None
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = list(dict.fromkeys(self._folders[name]))
        return spec


def _newest(names: dict[str, Any], before: str) -> list[str]:
    """Returns the keys behind `before`, the newest first; all of them where it is not there any more.

    A list of all, which a forked worker would have to write to a tenth of its memory for, is made only where threads
    of the user import all the time.
    """
    for _ in range(3):
        newest: list[str] = []
        try:
            for name in reversed(names):
                if name == before:
                    return newest
                newest.append(name)
            return newest
        except RuntimeError:
            # Another thread has imported something meanwhile.
            continue
    return list(names)


def _read(manifest: str) -> dict[str, dict[str, Any]]:
    """Reads the files of a manifest by their path."""
    folder = os.path.dirname(manifest)
    try:
        with open(manifest, encoding="utf-8") as file:
            files = json.load(file)["files"]
        return {entry["file"]: {**entry, "copy": os.path.join(folder, entry["copy"])} for entry in files}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"the last good version cannot be read: {manifest}: {error}") from error


def _decoded(data: bytes) -> str:
    try:
        if data.isascii() and b"coding" not in data:
            return data.decode("ascii")  # nearly every file; what follows costs 40 KB
        encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
        return data.decode(encoding, "replace")
    except (SyntaxError, LookupError):
        return data.decode("utf-8", "replace")


def sum_of(data: bytes) -> str:
    """Returns the first half of the SHA-256 in hex."""
    text: str = _sha.sha256(data).hexdigest()
    return text[:32]


def _sum_of_names(names: Iterable[str]) -> str:
    """Returns the hash of the names in a folder, as the agent makes it; hidden names do not count."""
    counted = [os.fsencode(name) for name in names if not name.startswith(".") and name != "__pycache__"]
    return sum_of(b"".join(name + b"\0" for name in sorted(counted)))


def _module_with_sha256() -> Any:
    """Looked for once, before a zygote forks: to look for a module that is not there touches 200 KB."""
    for name in ("_sha2", "_sha256", "hashlib"):  # the small ones first: `hashlib` takes OpenSSL into memory
        if name in sys.builtin_module_names or importlib.machinery.PathFinder.find_spec(name):
            return importlib.import_module(name)
    raise ImportError("this Python has no SHA-256")


_sha = _module_with_sha256()
