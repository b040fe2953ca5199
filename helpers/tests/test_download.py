"""Downloads against a server on 127.0.0.1 that behaves well and badly."""

import errno
import hashlib
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from helpers import download, paths, weights
from helpers.download import Source, cached, fetch, forget

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
        if kind == "slow" and body:
            time.sleep(0.5)
        data = {"page": HTML, "wrong": DATA[:-1] + b"x"}.get(kind, DATA)
        start = 0
        if span := self.headers.get("Range"):
            start = int(span.split("=")[1].split("-")[0])
            if start >= len(data):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.server.ranges.append(start)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("ETag", f'"{SHA}"')
        self.send_header("X-Repo-Commit", "c" * 40)  # as the hub answers
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
    monkeypatch.setattr(download, "PIECE", 50_000)  # we send little
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
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
    return sorted(p.name for p in folder.iterdir() if p.name != ".locks")


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


def test_no_server_at_all_is_known_at_once(tmp_path, monkeypatch):
    def connect(address, timeout):
        if address[0] == "silent.test":
            time.sleep(20)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(download.socket, "create_connection", connect)
    monkeypatch.setattr(download.request, "getproxies", dict)
    urls = ("https://a.test/w.bin", "https://silent.test/w.bin")
    began = time.monotonic()
    with pytest.raises(ConnectionError) as error:
        fetch([Source(url, SHA) for url in urls], tmp_path)
    assert time.monotonic() - began < 3
    text = str(error.value)
    assert text.count("a.test: no answer") == 1 and "name resolution" in text
    assert "silent.test: no answer" in text and "\n" not in text
    assert left(tmp_path) == []


def test_a_wrong_file_is_not_fetched_twice(server, tmp_path):
    with pytest.raises(ConnectionError):
        fetch([source(server, "wrong")], tmp_path)
    assert server.calls == {"wrong": 1}


def test_a_full_disk_is_named(server, tmp_path, monkeypatch):
    def full(url, part):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "receive", full)
    with pytest.raises(ConnectionError, match="the disk is full"):
        fetch([source(server, "good")], tmp_path)


@pytest.mark.slow
def test_two_processes_at_once_get_one_whole_file(server, tmp_path):
    code = (
        "import sys; from helpers.download import Source, fetch; "
        "print(fetch([Source(sys.argv[1], sys.argv[2])], sys.argv[3]))"
    )
    command = [sys.executable, "-c", code, f"{server.url}/slow.bin", SHA, tmp_path]
    runs = [
        subprocess.Popen(command, cwd=paths.ROOT, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    assert [run.wait(120) for run in runs] == [0, 0, 0]
    for run in runs:
        run.stdout.close()
    assert (tmp_path / "slow.bin").read_bytes() == DATA
    assert server.calls == {"slow": 1}


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
    one = Source(f"{server.url}/maker/model/resolve/main/good.bin")
    path = fetch([one], tmp_path)
    assert one.file == "maker--model--good.bin" and path.read_bytes() == DATA
    server.shutdown()
    assert fetch([one], tmp_path) == path  # offline: by the hash that was stated
    forget(path)
    assert cached(one, tmp_path) is None


@pytest.mark.parametrize("kind", ["wrong", "gone"])
def test_a_bad_answer_of_the_hub_is_one_sentence(server, tmp_path, kind):
    one = Source(f"{server.url}/maker/model/resolve/main/{kind}.bin")
    with pytest.raises(ConnectionError) as error:
        fetch([one], tmp_path)
    says = {"wrong": "is wrong", "gone": "answered 404"}[kind]
    assert says in str(error.value) and "\n" not in str(error.value)
    assert cached(one, tmp_path) is None


def test_a_file_that_was_put_there_by_hand_is_taken(tmp_path):
    one = Source("https://huggingface.co/maker/model/resolve/main/good.bin")
    (tmp_path / one.file).write_bytes(DATA)
    assert fetch([one], tmp_path) == tmp_path / one.file


def test_a_whole_part_is_not_fetched_again(server, tmp_path):
    (tmp_path / "good.bin.part").write_bytes(DATA)
    assert fetch([source(server, "good")], tmp_path).read_bytes() == DATA


def test_a_damaged_note_and_a_file_in_the_way_are_no_traceback(server, tmp_path):
    # weights_faults.md 8: what lies in a cache may be anything
    path = fetch([source(server, "good")], tmp_path)
    note = path.with_name("good.bin.sha256")
    note.write_bytes(b"\xff\xfe\0")
    assert cached(source(server, "good"), tmp_path) == path
    assert cached(source(server, "good", None), tmp_path) is None
    assert not weights.intact(path)
    other = tmp_path / "other"
    other.mkdir()
    (other / ".locks").write_text("in the way")
    for folder in (other, path):
        with pytest.raises(ConnectionError, match="locks cannot be made") as caught:
            fetch([source(server, "good")], folder)
        assert "\n" not in str(caught.value)
    assert download.explain(OSError("\0\x01garbage\r")) == "no answer (garbage)"
