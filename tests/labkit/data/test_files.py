"""labkit.data.sources.files: downloads from a server on this machine, and the checksums of what is there already."""

import dataclasses
import gzip
import hashlib
import http.server
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from dataset_files import idx, official, random_pixels, tree

from labkit.data import available, load
from labkit.data.sources import files
from labkit.data.sources.catalog import SOURCES
from labkit.data.sources.files import File


class Server(http.server.ThreadingHTTPServer):
    """Serves `files` (name -> bytes) at /good, and them in several wrong ways at other places."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked = {}, []
        self.address = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        pass  # clients that go away are what some tests are about


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        _, way, name = self.path.split("/")
        content = self.server.files.get(name)
        self.server.asked.append(self.path)
        if way == "missing" or content is None:
            return self.send_error(404)
        self.send_response(200)
        if way != "endless":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if way == "good":
            self.wfile.write(content)
        elif way == "wrong":
            self.wfile.write(content[:-1] + bytes([content[-1] ^ 1]))
        elif way == "cut":
            self.wfile.write(content[: len(content) // 2])
        elif way == "endless":
            for _ in range(1000):
                self.wfile.write(bytes(2**20))
        elif way == "slow":
            for place in range(0, len(content), 2**16):
                self.wfile.write(content[place : place + 2**16])
                time.sleep(0.05)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def served_mnist(monkeypatch, server):
    """MNIST with 30 + 10 images on the server; returns a function that sets the ways it is served, and the images."""
    names = [Path(file.path).name for file in SOURCES["mnist"].train + SOURCES["mnist"].test]
    images = [random_pixels(30, 28, 28), random_pixels(10, 28, 28)]
    arrays = [images[0], np.arange(30) % 10, images[1], np.arange(10)]
    contents = [gzip.compress(idx(array)) for array in arrays]
    server.files = dict(zip(names, contents, strict=True))

    def serve(*ways):
        official(monkeypatch, "mnist", *contents)
        source = SOURCES["mnist"]

        def moved(files):
            return tuple(
                dataclasses.replace(f, urls=tuple(f"{server.address}/{way}/{Path(f.path).name}" for way in ways))
                for f in files
            )

        monkeypatch.setitem(
            SOURCES, "mnist", dataclasses.replace(source, train=moved(source.train), test=moved(source.test))
        )

    return serve, images


def test_a_download_is_kept_and_read_without_the_network_afterwards(served_mnist, server, tmp_path, capsys):
    serve, (train, _) = served_mnist
    serve("good")
    assert not available("mnist", root=tmp_path)
    assert np.array_equal(load("mnist", root=tmp_path).images[:, 0], train)
    assert re.search(r"train-images-idx3-ubyte.gz: +\d+%.*/\d", capsys.readouterr().err)  # a bar that knows the size
    assert len(server.asked) == 2 and available("mnist", root=tmp_path) and not available("mnist", "test", tmp_path)
    server.files = {}
    assert np.array_equal(load("mnist", root=tmp_path).images[:, 0], train)
    assert len(server.asked) == 2
    assert tree(tmp_path / "MNIST/raw") == ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]


@pytest.mark.parametrize("way", ["wrong", "cut", "missing"])
def test_what_is_not_whole_and_right_is_never_kept(served_mnist, tmp_path, way):
    serve, (train, _) = served_mnist
    serve(way)
    with pytest.raises(FileNotFoundError) as raised:
        load("mnist", root=tmp_path)
    message = str(raised.value)
    for part in (str(tmp_path / "MNIST/raw/train-images-idx3-ubyte.gz"), "http://127.0.0.1", "LABKIT_DATA", "SHA-256"):
        assert part in message
    assert tree(tmp_path) == ["MNIST", "MNIST/raw"]
    serve("good")
    assert np.array_equal(load("mnist", root=tmp_path).images[:, 0], train)


def test_the_next_address_is_tried(served_mnist, server, tmp_path):
    serve, (train, _) = served_mnist
    serve("wrong", "cut", "good")
    assert np.array_equal(load("mnist", root=tmp_path).images[:, 0], train)
    assert len(server.asked) == 6


def test_without_a_network_the_error_says_what_to_put_where(monkeypatch, tmp_path):
    urls = ("http://127.0.0.1:9/gone.gz",)
    monkeypatch.setenv("NO_PROXY", "*")
    official(monkeypatch, "kmnist", b"", b"", b"", b"", urls=urls)
    with pytest.raises(
        FileNotFoundError, match=r"(?s)train-images-idx3-ubyte.gz is not there.*9/gone.gz.*put it there"
    ):
        load("kmnist", root=tmp_path)


@pytest.mark.parametrize("way", ["good", "endless"])
def test_a_download_stops_at_the_size_of_the_file(server, tmp_path, way):
    """With and without an announced size: 3 MB for a file of at most 1 MB."""
    content = random_pixels(3 * 2**20).tobytes()
    server.files = {"small.gz": content}
    file = File("set/small.gz", hashlib.sha256(content).hexdigest(), 1, (f"{server.address}/{way}/small.gz",))
    with pytest.raises(FileNotFoundError, match=r"got more than 1,000,000 bytes"):
        file.download(tmp_path)
    assert tree(tmp_path) == ["set"]


def test_a_folder_in_place_of_a_file_is_said_before_anything_is_fetched(served_mnist, server, tmp_path):
    serve, _ = served_mnist
    serve("good")
    (tmp_path / "MNIST/raw/train-images-idx3-ubyte.gz").mkdir(parents=True)
    assert not available("mnist", root=tmp_path)
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz: got a folder, expected the official file"):
        load("mnist", root=tmp_path)
    assert not server.asked


def test_what_lies_there_is_read_for_its_checksum_once_a_process(served_mnist, tmp_path, monkeypatch):
    serve, _ = served_mnist
    serve("good")
    load("mnist", root=tmp_path)
    read = []
    monkeypatch.setattr(files, "_compare", lambda path, sha256: read.append(path.name))
    for _ in range(3):
        load("mnist", root=tmp_path)
    assert read == []
    (tmp_path / "MNIST/raw/train-labels-idx1-ubyte.gz").touch()
    load("mnist", root=tmp_path)
    assert read == ["train-labels-idx1-ubyte.gz"]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_killed_download_is_never_taken_for_data(server, tmp_path):
    content = random_pixels(2**22).tobytes()
    server.files = {"big.gz": content}
    checksum = hashlib.sha256(content).hexdigest()
    program = (
        "import sys, pathlib; from labkit.data.sources.files import File; checksum, url, root = sys.argv[1:];"
        "File('set/big.gz', checksum, 5, (url,)).download(pathlib.Path(root))"
    )
    arguments = [checksum, f"{server.address}/slow/big.gz", str(tmp_path)]
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any(part.stat().st_size for part in tmp_path.glob("set/.*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    file = File("set/big.gz", checksum, 5, (f"{server.address}/good/big.gz",))
    (left,) = tree(tmp_path / "set")  # half of it is there, under another name
    assert file.find(tmp_path) is None
    assert file.download(tmp_path).read_bytes() == content
    assert tree(tmp_path / "set") == [left, "big.gz"]  # it might belong to a download that goes on
    os.utime(tmp_path / "set" / left, (0, 0))
    (tmp_path / "set/big.gz").unlink()
    file.download(tmp_path)
    assert tree(tmp_path / "set") == ["big.gz"]
