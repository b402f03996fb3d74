"""Pictures by URL: from allowed hosts alone, at addresses that were checked, within limits."""

import dataclasses
import io
import pickle
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler

import PIL.Image
import pytest

from diptych.errors import InvalidArgument, MediaError
from diptych.remote import RemotePictures
from diptych.remote import allowed as allowing
from diptych.types import Image
from serving import serving

FILE = io.BytesIO()
PIL.Image.new("RGB", (9, 7), "green").save(FILE, "PNG")
PNG = FILE.getvalue()
MOST_SENT = 64 << 20


class Answers(BaseHTTPRequestHandler):
    """What a server may answer, by path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers)))
        name, _, rest = self.path.lstrip("/").partition("/")
        getattr(self, name.partition("?")[0].partition(".")[0], self.missing)(rest)

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def picture(self, _):
        self.answer(200, PNG, Content_Type="text/html")

    def page(self, _):
        self.answer(200, b"<html>no picture</html>", Content_Type="image/png")

    def nothing(self, _):
        self.answer(200)

    def missing(self, _):
        self.answer(404, PNG)

    def to(self, rest):
        self.answer(302, Location=rest)

    def again(self, _):
        self.answer(307, Location="/again")

    def nowhere(self, _):
        self.answer(301)

    def cut(self, _):
        self.answer(200, PNG[:50], **{"Content-Length": str(len(PNG))})
        self.close_connection = True

    def endless(self, _):
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        try:
            while True:
                self.wfile.write(b"x" * 10_000)
        except OSError:
            pass

    def chunked(self, _):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(PNG), 20):
            piece = PNG[at : at + 20]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def negative(self, _):
        """A chunk of -1 bytes, which http.client reads to the end of what comes."""
        self.server.sent = 0
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        try:
            self.wfile.write(b"-1\r\n")
            while self.server.sent < MOST_SENT:
                self.wfile.write(bytes(1 << 20))
                self.server.sent += 1 << 20
        except OSError:
            pass

    def drip(self, _):
        try:
            while not self.server.ended.wait(0.01):
                self.wfile.write(b"HTTP/1.1 100 Continue\r\nx: y\r\n\r\n")
        except OSError:
            pass
        self.close_connection = True

    def silence(self, _):
        self.server.ended.wait(30)
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with serving(Answers) as server:
        server.asked, server.ended = [], threading.Event()
        yield server
        server.ended.set()


@pytest.fixture
def at(server):
    server.asked.clear()
    return f"http://127.0.0.1:{server.server_port}"


def local(server, **options):
    allow = [f"127.0.0.1:{server.server_port}", f"localhost:{server.server_port}"]
    return RemotePictures(allow, https_only=False, allow_private=True, **options)


@pytest.mark.parametrize(
    "path", ["picture.png", "picture/a%20b.png?key=secret", "chunked", "to//picture"]
)
def test_picture_of_an_allowed_host_is_fetched(server, at, path):
    image = local(server).fetch(f"{at}/{path}#part")
    assert image.read() == PNG
    assert image.size == (9, 7)
    assert image.path is None
    assert image.name == f"{at}/{path}".partition("?")[0]
    path, headers = server.asked[0]
    assert "#" not in path
    assert headers["Host"] == at.removeprefix("http://")
    assert headers["Accept-Encoding"] == "identity"
    assert not {"Cookie", "Authorization", "Referer"} & set(headers)


def test_letters_of_a_url_are_escaped(server, at):
    local(server).fetch(f"{at}/picture/泵.png?q=ü%20b")
    assert server.asked[0][0] == "/picture/%E6%B3%B5.png?q=%C3%BC%20b"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("page.png", "is an HTML page"),
        ("nothing", r"is empty \(0 bytes\)"),
        ("missing", "the server answers 404 'Not Found'; expected 200"),
        ("again", "is behind more than 3 redirects"),
        ("nowhere", "is behind more than 3 redirects"),
        ("cut", "was cut off: .* bytes are missing"),
        ("endless", "is larger than 300 bytes; expected at most"),
        ("to/http://example.org/a.png", "'example.org' at port 80, which is not allowed"),
        ("to/https://user:pass@example.org/a.png", "holds a name or a password"),
        ("to/file:///etc/passwd", "is no URL of the web"),
        ("to/ftp://127.0.0.1/a.png", "is no URL of the web"),
        ("to/gopher://x", "is no URL of the web"),
        ("to///127.0.0.1:1/a.png", "at port 1, which is not allowed"),
    ],
)
def test_what_is_not_given_as_a_picture_is_refused(server, at, path, message):
    with pytest.raises(MediaError, match=message) as caught:
        local(server, max_bytes=300).fetch(f"{at}/{path}?key=secret")
    assert len(str(caught.value)) < 500
    assert "secret" not in str(caught.value)
    assert "pass@" not in str(caught.value)


def test_chunk_of_a_negative_length_is_not_read_to_its_end(server, at):
    with pytest.raises(MediaError, match="is larger than 300 bytes"):
        local(server, max_bytes=300).fetch(f"{at}/negative")
    assert server.sent < MOST_SENT  # but for what the system takes in advance


@pytest.mark.parametrize("path", ["drip", "silence"])
def test_server_that_takes_its_time_is_left(server, at, path):
    with pytest.raises(MediaError, match=r"was not there after 0.2 seconds"):
        local(server, timeout=0.2).fetch(f"{at}/{path}")


def test_redirect_without_encryption_is_refused(server, at):
    with pytest.raises(MediaError, match="is not encrypted; expected https:, or https_only=False"):
        dataclasses.replace(local(server), https_only=True).fetch(f"{at}/picture")
    assert server.asked == []


def test_server_that_is_not_there_or_not_encrypted(server, at):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    remote = RemotePictures([f"127.0.0.1:{port}"], allow_private=True, https_only=False)
    with pytest.raises(MediaError, match="could not be fetched: .*refused"):
        remote.fetch(f"http://127.0.0.1:{port}/a.png")
    with pytest.raises(MediaError, match=r"could not be fetched: .*SSL"):
        local(server).fetch(at.replace("http", "https") + "/picture")


# ---- which URLs ----

REMOTE = RemotePictures(
    ["pictures.example.org", "*.example.net", "example.com:8443", "bücher.example"]
)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://pictures.example.org/a.png", "is not encrypted"),
        ("https://example.org/a.png", "'example.org' at port 443, which is not allowed"),
        ("https://a.pictures.example.org/", "which is not allowed"),
        ("https://pictures.example.org.evil.test/", "which is not allowed"),
        ("https://example.net/a.png", "which is not allowed"),
        ("https://evilexample.net/a.png", "which is not allowed"),
        ("https://pictures.example.org:22/", "at port 22, which is not allowed"),
        ("https://example.com/a.png", "at port 443, which is not allowed"),
        ("https://user@pictures.example.org/", "holds a name or a password"),
        ("https://pictures.example.org@evil.test/", "holds a name or a password"),
        ("https://evil.test\\@pictures.example.org/", "is no URL of the web"),
        ("https://pictures.example.org/a b.png", "is no URL of the web"),
        ("https://pictures.example.org/a\r\nHost: x", "is no URL of the web"),
        ("https://pictures.example.org\t.evil.test/", "is no URL of the web"),
        ("https://pictures.example.org:99999/", "is no URL: Port out of range"),
        ("https://[::1/", "is no URL: Invalid IPv6 URL"),
        ("https:///a.png", "which is not allowed"),
        ("https://127.0.0.1/a.png", "names its host by an address"),
        ("https://127.1/a.png", "names its host by an address"),
        ("https://0x7f000001/a.png", "names its host by an address"),
        ("https://2130706433/a.png", "names its host by an address"),
        ("https://１２７.0.0.1/a.png", "names its host by an address"),
        ("https://[::1]/a.png", "names its host by an address"),
        ("https://[::ffff:10.0.0.1]/a.png", "names its host by an address"),
        ("https://169.254.169.254/latest/meta-data", "names its host by an address"),
        ("ftp://pictures.example.org/a.png", "is no URL of the web"),
        ("file:///etc/passwd", "is no URL of the web"),
        ("https://pictures.example.org/" + "a" * 9_000, "is no URL of the web"),
        (None, "is no URL of the web"),
    ],
)
def test_url_that_is_not_allowed_reaches_no_network(monkeypatch, url, message):
    monkeypatch.setattr(socket, "getaddrinfo", None)
    monkeypatch.setattr(socket, "socket", None)
    with pytest.raises(MediaError, match=message) as caught:
        REMOTE.fetch(url)
    assert len(str(caught.value)) < 500


class Network:
    """Stands in for names, connections and TLS; notes what is connected to."""

    def __init__(self, monkeypatch, addresses, port):
        self.addresses, self.connected, self.named, self.port = addresses, [], [], port
        self.create = socket.create_connection
        monkeypatch.setattr(socket, "getaddrinfo", self.getaddrinfo)
        monkeypatch.setattr(socket, "create_connection", self.create_connection)
        monkeypatch.setattr(ssl, "create_default_context", lambda: self)

    def getaddrinfo(self, host, port, type):
        found = self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]
        return [(socket.AF_INET, type, 6, "", (one, port)) for one in found]

    def create_connection(self, address, timeout):
        self.connected.append(address)
        plain = socket.socket()
        plain.settimeout(timeout)
        plain.connect(("127.0.0.1", self.port))
        return plain

    def wrap_socket(self, plain, server_hostname):
        self.named.append(server_hostname)
        return plain


@pytest.mark.parametrize(
    ("url", "port", "host"),
    [
        ("https://pictures.example.org/picture", 443, "pictures.example.org"),
        ("HTTPS://Pictures.Example.ORG./picture", 443, "pictures.example.org"),
        ("https://a.b.example.net/picture", 443, "a.b.example.net"),
        ("https://example.com:8443/picture", 8443, "example.com:8443"),
        ("https://BÜCHER.example/picture", 443, "xn--bcher-kva.example"),
    ],
)
def test_connection_is_to_the_address_that_was_checked(server, at, monkeypatch, url, port, host):
    network = Network(monkeypatch, [["93.184.215.14"], ["127.0.0.1"]], server.server_port)
    assert REMOTE.fetch(url).read() == PNG
    assert network.connected == [("93.184.215.14", port)]
    assert network.named == [host.partition(":")[0]]
    assert server.asked[0][1]["Host"] == host


def test_every_redirect_is_looked_up_and_checked_anew(server, at, monkeypatch):
    network = Network(monkeypatch, [["93.184.215.14"], ["10.0.0.1"]], server.server_port)
    with pytest.raises(
        MediaError, match="'a.example.net' has the address 10.0.0.1, which is not one"
    ):
        REMOTE.fetch("https://pictures.example.org/to/https://a.example.net/picture")
    assert len(network.connected) == 1


PRIVATE = (
    "127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 240.0.0.1 "
    "255.255.255.255 192.0.2.1 198.18.0.1 ::1 :: fe80::1 fe80::1%1 fc00::1 fec0::1 ff02::1 ::ffff:127.0.0.1 "
    "::ffff:10.0.0.1 ::127.0.0.1 2002:7f00:1:: 2002:a00:1:: 64:ff9b::a00:1 64:ff9b:1::a00:1 "
    "2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:db8::1"
).split()


@pytest.mark.parametrize("address", PRIVATE)
def test_host_with_an_address_that_is_not_public_is_refused(monkeypatch, address):
    network = Network(monkeypatch, [["93.184.215.14", address]], 0)
    with pytest.raises(MediaError, match="which is not one of the public internet"):
        REMOTE.fetch("https://pictures.example.org/a.png")
    assert network.connected == []


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses(address):
    assert allowing._is_public(allowing.ipaddress.ip_address(address))


def test_proxies_of_the_environment_are_not_used(server, at, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert local(server).fetch(f"{at}/picture").read() == PNG


# ---- the value ----


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"allow": []}, "allows no host"),
        ({"allow": "example.org"}, "is one string; expected a list of hosts"),
        ({"allow": [3]}, "expected a list of hosts"),
        ({"allow": ["https://example.org"]}, "Leave out scheme and path"),
        ({"allow": ["example.org/a"]}, "Leave out scheme and path"),
        ({"allow": ["*"]}, "expected hosts such as"),
        ({"allow": ["*.*.org"]}, "expected hosts such as"),
        ({"allow": ["a.*.org"]}, "expected hosts such as"),
        ({"allow": ["user@example.org"]}, "expected hosts such as"),
        ({"allow": ["example.org:99999"]}, "a port that is none"),
        ({"allow": ["10.0.0.1"]}, "it is an address, and not a name"),
        ({"allow": ["[::1]"]}, "it is an address, and not a name"),
        ({"allow": ["*.0.0.1"], "allow_private": True}, "it is an address, and not a name"),
        ({"allow": [""]}, "expected hosts such as"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"max_bytes": 10**9}, "max_bytes"),
        ({"timeout": -1}, "timeout"),
        ({"max_redirects": True}, "max_redirects"),
    ],
)
def test_limits_that_mean_nothing_are_refused(options, message):
    with pytest.raises(InvalidArgument, match=message):
        RemotePictures(**{"allow": ["example.org"], **options})


def test_limits_are_a_value():
    remote = RemotePictures(["Example.ORG.", "*.Example.net:8443", "[::1]:80"], allow_private=True)
    assert remote.allow == ("example.org", "*.example.net:8443", "[::1]:80")
    assert dataclasses.replace(remote) == remote == pickle.loads(pickle.dumps(remote))
    assert hash(remote) == hash(dataclasses.replace(remote, allow=list(remote.allow)))


def test_nothing_is_fetched_without_being_asked_for(monkeypatch):
    monkeypatch.setattr(socket, "socket", None)
    with pytest.raises(MediaError, match=r"never fetches one by itself.*remote=RemotePictures"):
        Image.of("https://example.org/a.png?key=" + "x" * 5_000)
