"""What the user can get wrong about a cluster is refused in one sentence before Ray is imported."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from threading import Thread

import pytest

from tenfold.platform import head
from tenfold.platform.errors import InputError

Serve = Callable[[int, str], str]


@pytest.mark.parametrize(
    "address",
    [
        "head:8265",
        "127.0.0.1:8265",
        "ray://head:10001",
        "http://head",
        "http://:8265",
        "http://head:port",
        "http://head:99999",
        "http://head:8265/api",
        "http://user:password@head:8265",
        "http://[::1:8265",
        "auto",
        "",
    ],
)
def test_bad_address(address: str) -> None:
    with pytest.raises(InputError, match="http://host:port") as refusal:
        head.check_address(address)
    assert f"'{address.replace('password', '***')}'" in str(refusal.value)


@pytest.mark.parametrize(
    ("address", "clean"),
    [
        ("http://127.0.0.1:8265", "http://127.0.0.1:8265"),
        ("https://head.example.com:443/", "https://head.example.com:443"),
        ("http://[::1]:8265", "http://[::1]:8265"),
    ],
)
def test_good_address(address: str, clean: str) -> None:
    assert head.check_address(address) == clean


def test_token_is_looked_up_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    assert head.find_token() is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("home\n")
    assert head.find_token() == "home"
    (tmp_path / "path").write_text("path")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "path"))
    assert head.find_token() == "path"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "variable")
    assert head.find_token() == "variable"
    (tmp_path / "file").write_text("file")
    assert head.find_token(tmp_path / "file") == "file"


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", b"\xff\xfe", "tökén".encode()])
def test_token_file_with_something_else_in_it(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(InputError, match="token") as refusal:
        head.find_token(tmp_path / "token")
    assert str(tmp_path / "token") in str(refusal.value)


def test_token_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        head.find_token(tmp_path / "token")


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server that answers every request alike; returns its address."""
    servers: list[ThreadingHTTPServer] = []

    def start(status: int, body: str) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, "", "asks for a token: give --token-file, or RAY_AUTH_TOKEN"),
        (403, "", "refuses the token"),
        (404, "", "not a Ray head"),
        (500, "", "not a Ray head"),
        (200, "<html>", "not a Ray head"),
        (200, "{}", "not a Ray head"),
        (200, "[]", "not a Ray head"),
        (200, json.dumps({"ray_version": "2.9.0"}), "runs Ray 2.9.0, this Tenfold needs"),
    ],
)
def test_servers_that_will_not_do(serve: Serve, status: int, body: str, message: str) -> None:
    address = serve(status, body)
    with pytest.raises(InputError, match=message) as refusal:
        head.connect(address)
    assert f"'{address.replace('password', '***')}'" in str(refusal.value)


def test_a_good_server_tells_its_version(serve: Serve) -> None:
    address = serve(200, json.dumps({"ray_version": version("ray")}))
    head.check_ray(address, head.probe(address, "token"))


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(InputError, match=r"No cluster answers at .*refused"):
        head.connect(f"http://127.0.0.1:{port}")


def test_somebody_who_never_answers() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(InputError, match=r"No cluster answers at .*timed out"),
    ):
        head.connect(f"http://127.0.0.1:{server.getsockname()[1]}")


def test_mistakes_show_before_ray_is_imported(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text("method: ppo\n")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tenfold.platform import errors, jobs\n"
        "try:\n"
        "    jobs.submit(Path('good.yaml'), address='http://127.0.0.1:9')\n"
        "except errors.InputError:\n"
        "    print('ray' in sys.modules)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["False"]
