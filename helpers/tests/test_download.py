"""Downloads against a server on 127.0.0.1 that behaves well and badly."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from helpers import download
from helpers.download import Source, fetch

DATA = bytes(range(256)) * 4000  # 1 MB
SHA = hashlib.sha256(DATA).hexdigest()
HTML = b"<!DOCTYPE html><html>Link does not exist.</html>"


class Handler(BaseHTTPRequestHandler):
    """Each path behaves in one way; the server counts the calls."""

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body: bool):
        kind = self.path.strip("/").split("/")[-1].split(".")[0]
        calls = self.server.calls
        if body:
            calls[kind] = calls.get(kind, 0) + 1
        if kind == "gone" or (kind == "busy" and calls.get(kind, 0) <= 2):
            self.send_response(404 if kind == "gone" else 500)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = {"page": HTML, "wrong": DATA[:-1] + b"x"}.get(kind, DATA)
        start = 0
        if span := self.headers.get("Range"):
            start = int(span.split("=")[1].split("-")[0])
            self.server.ranges.append(start)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("ETag", f'"{SHA}"')
        if start:
            self.send_header(
                "Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}"
            )
        self.end_headers()
        if body:
            half = kind == "drop" and not start
            self.wfile.write(
                data[start : start + len(data) // 2] if half else data[start:]
            )
            if half:
                self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.01)
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 50_000)  # we send little
    for key in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(key, raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.calls, server.ranges = {}, []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()


def source(server, kind: str, sha: str | None = SHA) -> Source:
    return Source(f"{server.url}/{kind}.bin", sha)


def left(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("kind", ["good", "busy", "drop"])
def test_the_right_file_arrives(server, tmp_path, kind):
    path = fetch([source(server, kind)], tmp_path)
    assert path.read_bytes() == DATA
    assert left(tmp_path) == [f"{kind}.bin", f"{kind}.bin.sha256"]
    if kind == "drop":
        assert server.ranges and server.ranges[0] > 0, "it should resume"


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("wrong", "sha256 of the 1.0 MB it sent is wrong"),
        ("page", "HTML page"),
        ("gone", "answered 404"),
    ],
)
def test_a_bad_answer_is_one_sentence_and_leaves_nothing(server, tmp_path, kind, says):
    with pytest.raises(ConnectionError) as error:
        fetch([source(server, kind)], tmp_path)
    text = str(error.value)
    assert says in text and f"{kind}.bin" in text and str(tmp_path) in text
    assert "\n" not in text and left(tmp_path) == []


def test_no_server_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.01)
    monkeypatch.setattr(download, "receive", refuse)
    with pytest.raises(ConnectionError, match="no answer"):
        fetch([Source("http://127.0.0.1:9/w.bin", SHA)], tmp_path)
    assert left(tmp_path) == []


def refuse(url, part):
    import socket

    with socket.create_connection(("127.0.0.1", 9), timeout=1):
        pass


def test_the_second_mirror_serves(server, tmp_path):
    path = fetch([source(server, "page"), source(server, "good")], tmp_path)
    assert path.read_bytes() == DATA and path.name == "good.bin"


def test_the_cache_needs_no_network(server, tmp_path):
    first = fetch([source(server, "good")], tmp_path)
    server.shutdown()
    assert fetch([source(server, "good")], tmp_path) == first
    assert server.calls == {"good": 1}


def test_a_damaged_cache_is_fetched_again(server, tmp_path):
    path = fetch([source(server, "good")], tmp_path)
    path.write_bytes(DATA[:1000])
    assert fetch([source(server, "good")], tmp_path).read_bytes() == DATA


def test_a_stopped_download_goes_on(server, tmp_path):
    (tmp_path / "good.bin.part").write_bytes(DATA[:300_000])
    assert fetch([source(server, "good")], tmp_path).read_bytes() == DATA
    assert server.ranges == [300_000]


def test_the_hub_states_the_hash(server, tmp_path, monkeypatch):
    url = f"{server.url}/maker/model/resolve/main/good.bin"
    path = fetch([Source(url)], tmp_path)
    assert path.name == "maker--model--good.bin" and path.read_bytes() == DATA
    assert fetch([Source(url)], tmp_path) == path  # offline: by the noted hash
