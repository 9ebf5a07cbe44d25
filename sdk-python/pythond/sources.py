"""The user's own files as this worker has loaded them: always from their source, each known by the hash of its bytes.

The agent learns of every file (`take_new`), so that it can tell which scripts a changed file touches. Python's cache of
byte code is left out: it takes a file for unchanged that was saved twice in one second with the same size.

Where the files on disk are broken, the agent names a manifest of the last good version (`keep`). Its copies are then
run in place of the files, under the names and paths of the files: a traceback names what the user knows.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import io
import json
import os
import sys
import tokenize

from pythond import guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Callable, Sequence

    from pythond.guard import IsUser

MAX_FILES = 1000
_PIECE = 24 * 1024
_CODE_IS_SOURCE = importlib.machinery.SOURCE_SUFFIXES


class Sources:
    """The user's files of one worker."""

    def __init__(self, is_user: IsUser, manifest: str | None = None) -> None:
        """Raises `ValueError` for a manifest that cannot be read."""
        self.is_user = is_user
        self._seen: dict[str, dict[str, Any]] = {}
        self._told: set[str] = set()
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

    def _note(self, name: str, path: str, data: bytes) -> None:
        package = os.path.basename(path).startswith("__init__.")
        self._seen[path] = {"file": path, "sum": sum_of(data), "name": name, "package": package}
        self._told.discard(path)

    def take_new(self) -> tuple[list[list[dict[str, Any]]], int]:
        """Returns what was loaded since it was asked last, in pieces that fit a frame, and how many are too many."""
        if self._modules != len(sys.modules):
            self._modules = len(sys.modules)
            self._look_at_modules()
        new = [entry for path, entry in self._seen.items() if path not in self._told]
        room = max(0, MAX_FILES - len(self._told))
        self._told.update(entry["file"] for entry in new)
        pieces: list[list[dict[str, Any]]] = []
        size = _PIECE
        for entry in new[:room]:
            cost = len(entry["file"]) * 4 + len(entry["name"]) * 4 + 100
            if size + cost > _PIECE:
                pieces.append([])
                size = 0
            pieces[-1].append(entry)
            size += cost
        return pieces, len(new) - len(new[:room])

    def forget_told(self, piece: Sequence[dict[str, Any]]) -> None:
        """Has a piece that could not be sent come again."""
        self._told.difference_update(entry["file"] for entry in piece)

    def _look_at_modules(self) -> None:
        """Notes files that were loaded in another way, such as a library in C beside the script."""
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
        guard.remember_source(self.path, _decoded(data))
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
    """Returns that of several modules of one name which `sys.path` has first: scripts of one process may have some."""
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
    of the script import all the time.
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
            return data.decode("ascii")  # nearly every script; what follows costs 40 KB
        encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
        return data.decode(encoding, "replace")
    except (SyntaxError, LookupError):
        return data.decode("utf-8", "replace")


def sum_of(data: bytes) -> str:
    """Returns the first half of the SHA-256 in hex."""
    text: str = _sha.sha256(data).hexdigest()
    return text[:32]


def _module_with_sha256() -> Any:
    """Looked for once, before a zygote forks: to look for a module that is not there touches 200 KB."""
    for name in ("_sha2", "_sha256", "hashlib"):  # the small ones first: `hashlib` takes OpenSSL into memory
        if name in sys.builtin_module_names or importlib.machinery.PathFinder.find_spec(name):
            return importlib.import_module(name)
    raise ImportError("this Python has no SHA-256")


_sha = _module_with_sha256()
