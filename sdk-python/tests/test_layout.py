"""Where things lie in a zygote's memory: what is moved stays what it was."""

import threading

from pythond import layout
from pythond.bell import Bell
from support import LIMIT


def outer(a, *rest, b=2, **more):
    """Has all that a function can have."""
    inner = [a + b + one for one in rest]

    def within():
        return inner, more

    return within


def test_a_function_whose_code_has_moved_does_what_it_did():
    before = outer.__code__
    old = layout.gather([id(before), 1])
    assert old == [before] and outer.__code__ is not before
    assert outer(1, 5, 6, c="d")() == ([8, 9], {"c": "d"})
    assert (outer.__doc__, outer.__kwdefaults__, outer.__code__.co_firstlineno) == (
        "Has all that a function can have.",
        {"b": 2},
        before.co_firstlineno,
    )


def test_a_bell_rung_before_the_wait_is_heard_and_once():
    bell = Bell()
    bell.ring()
    bell.ring()
    bell.wait(LIMIT)
    heard = threading.Event()

    def listen():
        bell.wait(LIMIT)
        heard.set()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert not heard.is_set()
    bell.ring()
    assert heard.wait(LIMIT)
    thread.join()
