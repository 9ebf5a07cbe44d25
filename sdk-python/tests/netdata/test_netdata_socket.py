"""`SocketService` against servers of its own."""

import contextlib
import socket
import ssl
import subprocess
import threading

import pytest

from bases.FrameworkServices.SocketService import SocketService


class Service(SocketService):
    def _get_data(self):
        raw = self._get_raw_data()
        return {"text": raw} if raw else None


@contextlib.contextmanager
def server(answer, family=socket.AF_INET, kind=socket.SOCK_STREAM, path=None):
    """Serves one connection after the other with `answer(connection)`; yields the address."""
    with socket.socket(family, kind) as listening:
        listening.bind(path or ("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            listening.listen()
        ended = []

        def serve():
            while not ended:
                try:
                    if kind == socket.SOCK_DGRAM:
                        answer(listening)
                        continue
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    try:
                        answer(connection)
                    except OSError:
                        pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield path or listening.getsockname()[1]
        ended.append(True)
        listening.shutdown(socket.SHUT_RDWR) if kind == socket.SOCK_STREAM else None


def echo_lines(connection):
    while True:
        data = connection.recv(100)
        if not data:
            return
        connection.sendall(b"got " + data)


def hang_up(connection):
    connection.recv(100)
    connection.sendall(b"bye")


def test_it_sends_the_request_and_gives_the_answer(make):
    with server(echo_lines) as port:
        one = make(Service, host="127.0.0.1", port=str(port), request="stats\r\n")
        assert one.check() is True
        assert one.request == b"stats\r\n" and one.port == port
        assert one._get_raw_data() == "got stats\r\n"
        assert one._get_raw_data(raw=True) == b"got stats\r\n"
        assert one._get_raw_data(request=b"other") == "got other"
        assert one._sock is None, "it is closed after each"


def test_a_connection_is_kept_if_wanted(make):
    seen = []

    def answer(connection):
        seen.append(connection)
        echo_lines(connection)

    with server(answer) as port:
        one = make(Service, host="127.0.0.1", port=port, request="x")
        one._keep_alive = True
        assert one.check() and one._get_raw_data() == "got x"
        assert len(seen) == 1 and one._sock is not None
        one._disconnect()


def test_a_kept_connection_that_was_closed_before_is_opened_anew(make):
    closed = threading.Event()

    def answer(connection):
        hang_up(connection)
        connection.close()
        closed.set()

    with server(answer) as port:
        one = make(Service, host="127.0.0.1", port=port, request="x")
        one._keep_alive = True
        assert one.check() is True
        closed.wait(5)
        assert one._get_raw_data() == "bye", "no run is lost"
        one._disconnect()


def test_a_kept_connection_that_is_closed_during_a_run_is_empty_once(make, capfd):
    runs = []

    def answer(connection):
        runs.append(1)
        connection.recv(100)
        if len(runs) != 1:
            connection.sendall(b"data")
        connection.recv(100) if len(runs) == 2 else None

    with server(answer) as port:
        one = make(Service, host="127.0.0.1", port=port, request="x")
        one._keep_alive = True
        one._parse_config()
        assert one._get_raw_data() == ""
        assert "unexpectedly disconnected" in one._pythond_last_error
        assert one._get_raw_data() == "data"
        one._disconnect()


def test_it_reads_until_the_module_is_content(make):
    class Long(Service):
        @staticmethod
        def _check_raw_data(data):
            return data.endswith("END")

    def answer(connection):
        connection.recv(100)
        for piece in (b"a" * 5000, "é".encode()[:1], "é".encode()[1:], b"END"):
            connection.sendall(piece)
        connection.recv(100)

    with server(answer) as port:
        one = make(Long, host="127.0.0.1", port=port, request="x")
        assert one.check() is True
        assert one._get_raw_data() == "a" * 5000 + "éEND"


def test_what_came_before_a_silence_is_given(make, capfd):
    class Never(Service):
        def _check_raw_data(self, data):
            return False

    def answer(connection):
        connection.recv(100)
        connection.sendall(b"half")
        connection.recv(100)

    with server(answer) as port:
        one = make(Never, host="127.0.0.1", port=port, request="x")
        one.read_timeout = 0.05
        one._parse_config()
        assert one._get_raw_data() == "half"
        assert f'socket to "127.0.0.1", port {port}: error receiving response: ' in one._pythond_last_error


def test_a_refused_connection_is_named(make, capfd):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        one = make(Service, host="127.0.0.1", port=port)
        assert one.check() is False and one._get_raw_data() is None
    assert one._pythond_last_error.startswith(f'Failed to connect to "127.0.0.1", port {port}, error: ')


def test_an_unknown_host_is_named(make, capfd):
    one = make(Service, host="nobody.invalid", port=1)
    assert one.check() is False
    assert one._pythond_last_error.startswith("unhandled exception during connect : gaierror(")


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_unix_socket_may_be_of_both_kinds(make, tmp_path, kind):
    got = []

    def answer(connection):
        got.append(connection.recv(100))
        if kind == socket.SOCK_STREAM:
            connection.sendall(b"answer")

    path = str(tmp_path / "socket")
    with server(answer, socket.AF_UNIX, kind, path):
        one = make(Service, socket=path, host="never read", port="nor this", request="x")
        one.read_timeout = 0.05 if kind == socket.SOCK_DGRAM else 2.0
        assert one.check() is (kind == socket.SOCK_STREAM)
        assert (one.unix_socket, one.host, one.port) == (path, "localhost", None)
    assert got[0] == b"x"


def test_a_unix_socket_that_is_not_there_is_named(make, tmp_path, capfd):
    one = make(Service, socket=str(tmp_path / "none"))
    assert one.check() is False
    assert f'Failed to connect to socket "{tmp_path}/none", error: ' in one._pythond_last_error


def test_datagrams_are_sent_over_udp(make):
    def answer(listening):
        data, who = listening.recvfrom(100)
        listening.sendto(b"\xff" + data, who)

    with server(answer, kind=socket.SOCK_DGRAM) as port:
        one = make(Service, host="127.0.0.1", port=port)
        one.dgram_socket = True
        one._parse_config()
        one.request = b"bytes"
        assert one._get_raw_data(raw=True) == b"\xffbytes"
        assert one._get_raw_data() == "bytes", "bytes that are no text are left out"


def test_nothing_is_sent_without_a_request(make):
    with server(lambda connection: connection.sendall(b"hello")) as port:
        assert make(Service, host="127.0.0.1", port=port).check() is True


def test_bytes_that_a_module_has_set_stay_bytes_at_the_next_check(make):
    one = make(Service)
    one.request = b"x"
    one._parse_config()
    one._parse_config()
    assert one.request == b"x"


def test_the_attributes_are_there_before_the_base_is_initialised(make):
    one = make(SocketService)
    wanted = {"_keep_alive": False, "host": "localhost", "port": None, "unix_socket": None, "dgram_socket": False}
    wanted.update(request="", tls=False, cert=None, key=None, connect_timeout=2.0, read_timeout=2.0, write_timeout=2.0)
    assert {key: getattr(one, key) for key in wanted} == wanted


def test_tls_is_spoken_without_a_look_at_the_certificate(make, tmp_path):
    path, key = tmp_path / "cert", tmp_path / "key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=other"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(path)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)

    def answer(connection):
        with context.wrap_socket(connection, server_side=True) as wrapped:
            echo_lines(wrapped)

    with server(answer) as port:
        one = make(
            Service, host="127.0.0.1", port=port, tls=True, request="x", tls_cert_file=str(path), tls_key_file=str(key)
        )
        assert one.check() is True
        assert (one.cert, one.key) == (str(path), str(key))


def test_a_class_may_inherit_two_and_initialise_one(make):
    from bases.FrameworkServices.UrlService import UrlService

    class Both(UrlService, SocketService):
        def __init__(self, configuration=None, name=None):
            self.poll = SocketService
            self.poll.__init__(self, configuration=configuration, name=name)

        def _get_data(self):
            return {"text": self.poll._get_raw_data(self)}

        def check(self):
            return self.poll.check(self)

    with server(hang_up) as port:
        assert make(Both, host="127.0.0.1", port=port, request="x").check() is True
    assert repr(make(Both)) == "<UrlService, SocketService: module_local>"
