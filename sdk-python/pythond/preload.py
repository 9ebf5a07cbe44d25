"""What a zygote may load before it forks: the modules that scripts import, and the scripts compiled; none is run.

Only the standard library's, which nothing in a script's folders can shadow, and well-known packages, which a folder can
(`loader.arrange_path` forgets them then). A package is tried in a throw-away child before.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
import time

from pythond import loader, sources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable

SCAN_SECONDS = 1.5
_SCAN_BYTES = 1 << 20
_SCAN_FILES = 2000
# Of compiled files as they are told.
_CODE_BYTES = 16 << 20

# Loaded ahead where a script imports them. Not here: what starts threads or keeps keys and handles that workers must
# not share (`multiprocessing` has one key per process, `ctypes` may keep its callbacks in memory that forks share).
STANDARD = frozenset(
    str.split(  # a list of this length would be one line per name
        """
    abc argparse array ast asyncio base64 bisect binascii bz2 calendar cmath codecs collections collections.abc
    concurrent.futures configparser contextlib copy copyreg csv dataclasses datetime decimal difflib email
    email.header email.message email.mime.multipart email.mime.text email.utils enum errno fcntl fnmatch fractions
    ftplib functools gc getopt getpass gettext glob grp gzip hashlib heapq hmac html html.parser http http.client
    http.cookiejar http.cookies imaplib importlib importlib.util inspect io ipaddress itertools json keyword linecache
    locale logging logging.handlers lzma math mimetypes numbers operator os os.path pathlib pickle pkgutil platform
    poplib pprint pwd queue quopri random re reprlib resource sched secrets select selectors shlex shutil signal
    smtplib socket socketserver sqlite3 ssl stat statistics string struct subprocess sys syslog sysconfig tarfile
    telnetlib tempfile textwrap threading time timeit token tokenize traceback types typing unicodedata urllib
    urllib.error urllib.parse urllib.request uuid warnings weakref xml xml.dom xml.dom.minidom xml.etree
    xml.etree.ElementTree xml.sax xmlrpc.client zipfile zlib zoneinfo
    """
    )
)
PACKAGES = frozenset(
    str.split(  # a list of this length would be one line per name
        """
    attr certifi chardet charset_normalizer dateutil idna jinja2 markupsafe packaging psutil pytz requests simplejson
    six toml tomli typing_extensions urllib3 xmltodict yaml
    """
    )
)


def scan(
    scripts: Iterable[str], roots: Iterable[str], tell: Callable[[str], None], ours: Iterable[str] = ()
) -> list[str]:
    """Returns the modules that scripts import and that may be loaded ahead, those of their own modules included.

    So may what lies in the folders `ours`. Each file of the user is told compiled as well (`sources.Compiled`). The
    files are parsed, never run.
    """

    until = time.monotonic() + SCAN_SECONDS * 0.8
    found: set[str] = set()
    todo = list(dict.fromkeys(scripts))
    seen = set(todo)
    roots = list(dict.fromkeys(roots))
    ours = list(ours)
    room = _CODE_BYTES
    while todo and time.monotonic() < until and len(seen) < _SCAN_FILES:
        try:
            path = todo.pop()
            with open(path, "rb") as file:
                data = file.read(_SCAN_BYTES)
                is_open = bool(os.fstat(file.fileno()).st_mode & stat.S_IROTH)
            tree = _parsed(data)
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        # The workers of a zygote may have different users.
        if is_open and len(data) < _SCAN_BYTES and not path.startswith(tuple(ours)):
            room -= _tell_compiled(path, data, room, tell)
        for name in imports(tree):
            if name in STANDARD or top(name) in PACKAGES or any(map(os.path.isfile, _files_of(name, ours))):
                found.add(name)
            for file_of in _files_of(name, [*roots, *ours]):
                if file_of not in seen and os.path.isfile(file_of):
                    seen.add(file_of)
                    todo.append(file_of)
    return sorted(found)


def _tell_compiled(path: str, data: bytes, room: int, tell: Callable[[str], None]) -> int:
    """Tells a file compiled, if there is room for it; returns how much that took."""
    try:
        text = sources.packed(path, data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return 0
    if len(text) > room:
        return 0
    tell(text)
    return len(text)


def _parsed(data: bytes) -> Any:
    import ast
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its worker will be warned
        return ast.parse(data)


def imports(tree: Any) -> set[str]:
    """Returns the dotted names in the import statements of a parsed file."""
    import ast

    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(
                f"{node.module}.{alias.name}" for alias in node.names if f"{node.module}.{alias.name}" in STANDARD
            )
    return names


def _files_of(name: str, roots: Iterable[str]) -> Iterable[str]:
    if loader.is_standard(top(name)):
        return
    parts = name.split(".")
    for root in roots:
        for depth in range(1, len(parts) + 1):
            base = os.path.join(root, *parts[:depth])
            yield base + ".py"
            yield os.path.join(base, "__init__.py")


def shadows(folders: Iterable[str]) -> list[str]:
    """Returns the modules and packages that a dialect puts in front of installed ones."""
    names = []
    for folder in folders:
        for name in os.listdir(folder):
            if name.endswith(".py"):
                names.append(name[:-3])
            elif os.path.exists(os.path.join(folder, name, "__init__.py")):
                names.append(name)
    return sorted(names)


def load(name: str) -> None:
    try:
        __import__(name)
    except Exception:
        # Not in this Python; the script that wants it will say so.
        pass


def trial(known: Iterable[str], names: Iterable[str], tell: Callable[..., None]) -> None:
    """Imports packages one by one and tells of each whether it behaves."""
    out, fd = os.pipe()
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.set_blocking(out, False)
    for name in known:
        load(name)
    _said(out)
    before = _surroundings()
    for name in names:
        try:
            __import__(name)
        except ModuleNotFoundError as error:
            tell(f"{'absent' if error.name == top(name) else 'bad'}\t{name}\tit raises {error}")
            continue
        except BaseException as error:
            tell(f"bad\t{name}\tit raises {type(error).__name__}")
            return
        said, now = _said(out), _surroundings()
        if said:
            tell(f"bad\t{name}\tit prints: {said}")
        elif now != before:
            changed = ", ".join(key for key in now if now[key] != before[key])
            tell(f"bad\t{name}\tit changes {changed}")
            return  # what comes next is tried without it
        else:
            tell(f"good\t{name}\t")


def _surroundings() -> dict[str, Any]:
    umask = os.umask(0o22)
    os.umask(umask)
    fds = os.listdir("/proc/self/fd")
    return {
        "the number of threads": threads(),
        "the working directory": os.getcwd(),
        "the environment": dict(os.environ),
        "sys.path": list(sys.path),
        "the umask": umask,
        "the open files": len(fds),
        "the signal handlers": [signal.getsignal(number) for number in range(1, 32)],
        "the standard streams": (id(sys.stdin), id(sys.stdout), id(sys.stderr)),
    }


def _said(fd: int) -> str:
    flush()
    try:
        return " ".join(os.read(fd, 4096).decode("utf-8", "replace").split())[:200]
    except BlockingIOError:
        return ""


def threads() -> int:
    """Returns how many threads the kernel counts in this process."""
    return len(os.listdir("/proc/self/task"))


def top(name: str) -> str:
    """Returns the first part of a dotted name."""
    return name.partition(".")[0]


def flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
