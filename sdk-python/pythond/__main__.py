"""Starts a worker: `python3 <core>/pythond`, with the agent at the other end of the control socket.

This file alone must parse on any Python, so that one that is too old can be named instead of failing on syntax.
"""

import os
import sys

if __name__ == "__main__":
    # The folder of this package stands first on the path; its parent must, or `import logs` would find a part of it.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if sys.version_info < (3, 8):  # noqa: UP036
        _text = "Python %d.%d.%d is too old, pythond needs 3.8 or newer" % tuple(sys.version_info[:3])  # noqa: UP031
        _fd = os.environ.get("PYTHOND_CONTROL_FD", "")
        if _fd:
            _frame = '{"t":"fatal","phase":"spec","exc":"RuntimeError","msg":"%s","tb":"","permanent":true,'
            _frame += '"code":"PD0107","notes":[],"n":1}\n'
            os.write(int(_fd), (_frame % _text).encode())
        sys.stderr.write(_text + "\n")
        sys.exit(1)
    if os.name == "nt":
        sys.stderr.write("pythond does not run scripts on Windows; its client (pythond.client) works there\n")
        sys.exit(1)
    from pythond import bytecode

    bytecode.prepare()
    from pythond import limits

    limits.default_signals()
    if "PYTHOND_ZYGOTE" in os.environ:
        from pythond import zygote

        zygote.main().serve()
    from pythond import worker

    worker.main()
