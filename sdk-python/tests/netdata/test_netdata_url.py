"""`UrlService` against a server of its own, with urllib3 and without: both give the same."""

import gzip
import http.server
import socket
import ssl
import subprocess
import threading
import zlib

import pytest

from bases.FrameworkServices import UrlService as url_module
from bases.FrameworkServices.UrlService import UrlService

LIBRARIES = ["http.client", *(["urllib3"] if url_module.urllib3 is not None else [])]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the path, and keeps what was asked."""

    protocol_version = "HTTP/1.1"
    timeout = 5

    def do_GET(self):
        length = int(self.headers.get("content-length") or 0)
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.server.asked.append((self.command, self.path, headers, self.rfile.read(length)))
        steps = self.path.strip("/").split("/")
        if steps[0] == "status":
            self.answer(int(steps[1]), b"text", {"retry-after": "1"} if steps[1] == "503" else {})
        elif steps[0] == "redirect":
            left = int(steps[1])
            self.answer(302, b"", {"location": f"/redirect/{left - 1}" if left > 1 else "/good"})
        elif steps[0] == "packed":
            body = {
                "gzip": gzip.compress(b"plain"),
                "deflate": zlib.compress(b"plain"),
                "raw": zlib.compress(b"plain")[2:-4],
            }
            self.answer(200, body.get(steps[1], b"odd"), {"content-encoding": steps[1].replace("raw", "deflate")})
        elif steps[0] == "bytes":
            self.answer(200, b"caf\xc3\xa9 \xff!")
        elif steps[0] == "slow":
            self.server.stopped.wait(5)
        else:
            self.answer(200, b"good")
            if steps[0] == "closing":
                self.close_connection = True

    do_POST = do_PUT = do_GET

    def answer(self, status, body, headers=None):
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *given):
        """Says nothing."""


@pytest.fixture
def server():
    yield from serving()


def serving(context=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.asked = []
    server.stopped = threading.Event()
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.url = f"{'https' if context else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.stopped.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=LIBRARIES)
def service(request, make, monkeypatch):
    """Makes a service whose data are the text of the answer."""
    if request.param == "http.client":
        monkeypatch.setattr(url_module, "urllib3", None)

    class Service(UrlService):
        def _get_data(self):
            raw = self._get_raw_data()
            return {"text": raw} if raw is not None else None

    def made(**config):
        return make(Service, **config)

    return made


def test_an_answer_200_is_its_text_and_others_are_none(service, server, capfd):
    one = service(url=server.url + "/good")
    assert one.check() is True
    assert one._get_raw_data() == "good"
    assert one._get_raw_data(server.url + "/bytes") == "café !"
    for status in (201, 204, 404, 500):
        assert one._get_raw_data(f"{server.url}/status/{status}") is None
    assert one._get_raw_data_with_status(server.url + "/status/404") == (404, "text")
    response = one._do_request(server.url + "/status/201")
    assert (response.status, response.data) == (201, b"text")
    assert response.headers["content-length"] == "4"


def test_the_request_is_as_the_original_sends_it(service, server):
    one = service(url=server.url + "/a b?c=d&e", user="u", **{"pass": "p"}, header={"X-Own": "1"})
    assert one.check() is True
    command, path, headers, body = server.asked[0]
    assert (command, path, body) == ("GET", "/a%20b?c=d&e", b"")
    assert headers["connection"] == "keep-alive" and headers["accept-encoding"] == "identity"
    assert headers["authorization"] == "Basic dTpw" and headers["x-own"] == "1"
    assert headers["user-agent"].startswith("python-urllib3/")


def test_what_a_server_packs_is_unpacked(service, server):
    one = service(url=server.url)
    assert one.check() is True
    for kind in ("gzip", "deflate", "raw"):
        assert one._get_raw_data(f"{server.url}/packed/{kind}") == "plain", kind
    assert one._get_raw_data(server.url + "/packed/identity") == "odd"


def test_a_method_in_small_letters_is_one(service, server):
    assert service(url=server.url, method="post").check() is True
    assert server.asked[0][0] == "POST"


def test_no_retries_give_a_redirect_as_it_is(service, server):
    one = service(url=server.url)
    assert one.check() is True
    assert one._get_raw_data_with_status(server.url + "/redirect/1", retries=False)[0] == 302


def test_a_file_for_tls_is_not_read_for_plain_http(service, server):
    assert service(url=server.url, tls_ca_file="/nobody").check() is True
    assert service(url=server.url, tls_cert_file="/nobody", tls_key_file="/nobody").check() is True


def test_half_a_login_is_none(service, server):
    assert service(url=server.url, user="u").check() is True
    assert "authorization" not in server.asked[0][2]


def test_method_and_body_are_sent(service, server):
    assert service(url=server.url, method="POST", body="some").check() is True
    assert service(url=server.url, body="more").check() is True
    assert [(asked[0], asked[3]) for asked in server.asked] == [("POST", b"some"), ("GET", b"more")]


def test_a_connection_is_kept_and_one_that_was_closed_is_no_error(service, server):
    one = service(url=server.url + "/closing")
    assert one.check() is True
    assert one._get_raw_data() == "good" and one._get_raw_data(server.url + "/good") == "good"


@pytest.mark.parametrize("url", [None, "", 5, ["x"]])
def test_a_url_that_is_none_is_named(service, capfd, url):
    assert not service(url=url).check()
    assert "ERROR module[local] : URL is not defined or type is not <str>" in capfd.readouterr().err


def test_a_dead_server_is_named(service, capfd):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/x"
        one = service(url=url)
        assert one.check() is False
    assert f"Url: {url}. Error: " in one._pythond_last_error and "Max retries exceeded" in one._pythond_last_error
    with pytest.raises(Exception, match="Max retries exceeded"):
        one._get_raw_data_with_status()


def test_a_silent_server_costs_two_attempts(service, server):
    one = service(url=server.url + "/slow", timeout=0.05)
    assert one.check() is False
    assert len(server.asked) == 2


def test_one_redirect_is_followed_and_a_second_raises(service, server):
    one = service(url=server.url + "/redirect/1")
    assert one.check() is True
    with pytest.raises(Exception, match="too many redirects"):
        one._get_raw_data_with_status(server.url + "/redirect/2")
    assert one._get_raw_data_with_status(server.url + "/redirect/1", redirect=False)[0] == 302


def test_retry_after_counts_only_if_wanted(service, server):
    assert service(url=server.url + "/status/503").check() is False
    assert len(server.asked) == 1
    assert service(url=server.url + "/status/503", respect_retry_after_header=True).check() is False
    assert len(server.asked) == 3


def test_a_proxy_gets_the_whole_url_and_its_login(service, server):
    one = service(url="http://far.test/x", proxy_url=server.url, proxy_user="u", proxy_pass="p")
    assert one.check() is True
    _, path, headers, _ = server.asked[0]
    assert path == "http://far.test/x" and headers["proxy-authorization"] == "Basic dTpw"


def test_a_proxy_without_a_scheme_is_named(service, server, capfd):
    one = service(url=server.url, proxy_url="127.0.0.1:3128")
    assert one.check() is False and one._manager is None
    assert "ERROR module[local] : build_manager() error: " in capfd.readouterr().err


def test_settings_of_a_call_override_those_of_the_job(service, server):
    one = service(url=server.url)
    manager = one._build_manager(user="a", **{"pass": "b"}, header={"x-other": "2"})
    assert one._get_raw_data(manager=manager) == "good"
    assert server.asked[0][2]["authorization"] == "Basic YTpi" and server.asked[0][2]["x-other"] == "2"


def test_a_module_with_a_check_of_its_own_needs_no_manager(service, server):
    assert service(url=server.url)._get_raw_data() == "good"


def test_the_attributes_are_those_that_modules_set(make):
    one = make(UrlService, url="u", user="a", timeout=3, **{"pass": "b", "proxy_pass": "c"})
    wanted = {"url": "u", "user": "a", "password": "b", "proxy_password": "c", "method": "GET", "request_timeout": 3}
    assert {key: getattr(one, key) for key in wanted} == wanted
    assert [getattr(one, key) for key in ("header", "body", "tls_verify", "proxy_url", "_manager")] == [None] * 5


def test_get_data_that_raises_in_check_is_named(make, server, capfd):
    cls = type("Service", (UrlService,), {"_get_data": lambda self: {}["x"]})
    assert make(cls, url=server.url).check() is False
    assert f"_get_data() failed. Url: {server.url}. Error: 'x'" in capfd.readouterr().err


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    key = path.with_suffix(".key")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path, key


def test_tls_is_verified_only_if_wanted(service, certificate, capfd):
    path, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    for server in serving(context):
        assert service(url=server.url).check() is True
        assert service(url=server.url, tls_verify=True).check() is False
        assert service(url=server.url, tls_verify=False, tls_ca_file=str(path)).check() is True
        assert service(url=server.url, tls_ca_file=str(path), tls_cert_file=str(path), tls_key_file=str(key)).check()
