"""The process of a server: slow clients, broken bytes, signals; and a start that is refused where it would be unsafe."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from harness.served import running, service_of, table_bundle, text_bundle

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("httpx")

import httpx

from modelwright.cli import main
from modelwright.core.errors import InputError
from modelwright.serving.bundle import save_bundle
from modelwright.serving.http.app import page_files
from modelwright.workflows.serve import make_service

ROW = {"inputs": [{"age": 1, "hours per week": 2, "<b>job</b>": None}]}
QUICK = {"header_seconds": 0.5, "body_seconds": 0.5, "idle_seconds": 1, "connections": 30}


@pytest.fixture(scope="module")
def url():
    with running(service_of(table_bundle(), limits=QUICK)) as url:
        yield url


def connect(url):
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.settimeout(20)
    return connection


def all_of(connection):
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def test_headers_that_trickle_in_end_the_connection(url):
    with connect(url) as slow:
        slow.sendall(b"POST /v1/predict HTTP/1.1\r\n")
        began = time.monotonic()
        try:
            for _ in range(100):
                slow.sendall(b"X-A: b\r\n")
                time.sleep(0.05)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert time.monotonic() - began < 4
    assert httpx.get(f"{url}/health").status_code == 200


def test_a_second_request_may_not_trickle_in_either(url):
    with connect(url) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in slow.recv(65536)
        slow.sendall(b"GET /health HTTP/1.1\r\nX-A: ")
        began = time.monotonic()
        try:
            for _ in range(100):
                slow.sendall(b"b")
                time.sleep(0.05)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert time.monotonic() - began < 4


def test_a_body_that_trickles_in_is_refused(url):
    with connect(url) as slow:
        slow.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
        answer = all_of(slow)
    assert b"408" in answer.split(b"\r\n")[0]
    assert b"timeout_error" in answer


def test_a_body_without_an_end_is_refused(url):
    with running(service_of(table_bundle(), limits={"body_bytes": 10_000})) as small, connect(small) as endless:
        endless.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        try:
            for _ in range(50):
                endless.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert b"413" in all_of(endless)[:20]
    with connect(url) as liar:
        liar.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")
        assert b"413" in all_of(liar)[:20]


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    ],
)
def test_broken_bytes_are_refused(url, data):
    with connect(url) as broken:
        try:
            broken.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return
        answer = all_of(broken)
    assert answer == b"" or answer.split(b" ")[1][:1] == b"4", answer[:100]
    assert httpx.get(f"{url}/health").status_code == 200


def test_an_answer_that_is_not_taken_ends_the_connection():
    asked, length = 4000, len(page_files()["/page.css"][0])
    with running(service_of(table_bundle(), limits={"request_seconds": 0.5, "body_seconds": 60})) as url, connect(url) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sending = threading.Thread(target=send_all, args=(deaf, b"GET /page.css HTTP/1.1\r\nHost: localhost\r\n\r\n" * asked))
        sending.start()
        time.sleep(1.5)
        assert len(all_of(deaf)) < asked * length
        sending.join(20)
        assert httpx.get(f"{url}/health").status_code == 200


def send_all(connection, data):
    with contextlib.suppress(OSError):
        connection.sendall(data)


def test_more_connections_than_may_be_are_refused(url):
    def answers() -> list[bytes]:
        idle = [connect(url) for _ in range(40)]
        try:
            for one in idle:
                one.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return [one.recv(65536).split(b"\r\n")[0] for one in idle]
        finally:
            for one in idle:
                one.close()

    # Connections of the tests before may still be closing, and hold room until then.
    for _ in range(50):
        first = answers()
        assert any(b"503" in line for line in first)
        if any(b"200" in line for line in first):
            return
        time.sleep(0.2)
    raise AssertionError("nobody was served")


def test_a_text_goes_on_and_what_is_new_is_refused_when_the_server_is_told_to_stop(bytewise, tmp_path):
    bundle = text_bundle(bytewise)
    save_bundle(tmp_path / "model", bundle.config, bundle.network)
    command = [sys.executable, "-m", "modelwright.cli", "serve", str(tmp_path), "--port", "0", "--max-tokens", "100000"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stdout is not None
            first = server.stdout.readline()
            url = first.split(" at ")[1].strip()
            address = url.removeprefix("http://").split(":")
            with socket.create_connection((address[0], int(address[1]))) as kept, httpx.Client(base_url=url, timeout=60) as client:
                kept.settimeout(30)
                kept.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                kept.recv(65536)
                body = {"prompt": "a", "max_tokens": 1500, "temperature": 0, "stream": True}
                with client.stream("POST", "/v1/completions", json=body) as stream:
                    lines = stream.iter_lines()
                    next(lines)
                    server.send_signal(signal.SIGTERM)
                    time.sleep(0.05)
                    late = httpx.post(f"{url}/v1/completions", json={"prompt": "a"})
                    assert late.status_code == 503
                    assert late.json()["error"]["code"] == "shutting_down"
                    events = [line for line in lines if line]
            assert events[-1] == "data: [DONE]"
            assert json.loads(events[-2][6:])["choices"][0]["finish_reason"] == "length"
            output, errors = server.communicate(timeout=60)
        finally:
            server.kill()
    assert server.returncode == 0
    assert "stopped" in output
    assert errors == ""


def test_the_grace_time_ends(bytewise):
    service = service_of(text_bundle(bytewise), limits={"grace_seconds": 0.3, "max_tokens": 10_000_000})
    ended = threading.Event()

    def read(url):
        try:
            body = {"prompt": "a", "max_tokens": 10_000_000, "stream": True, "temperature": 0}
            with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=60) as stream:
                for _ in stream.iter_lines():
                    began.set()
        except httpx.HTTPError:
            pass
        ended.set()

    began = threading.Event()
    with running(service) as url:
        threading.Thread(target=read, args=(url,), daemon=True).start()
        assert began.wait(30)
    assert ended.wait(10)


# What is refused at the start


@pytest.fixture
def saved(tmp_path, monkeypatch):
    monkeypatch.delenv("MODELWRIGHT_API_KEY", raising=False)
    bundle = table_bundle()
    save_bundle(tmp_path / "model", bundle.config, bundle.network)
    return tmp_path


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.7.7", "example.com"])
def test_others_are_not_let_in_without_a_key(saved, host, capsys):
    assert main(["serve", str(saved), "--host", host]) == 2
    said = capsys.readouterr().err
    assert "a key that they must show" in said
    assert "MODELWRIGHT_API_KEY" in said


def test_the_key_may_come_from_the_environment(saved, monkeypatch):
    monkeypatch.setenv("MODELWRIGHT_API_KEY", "from-the-environment")
    service = make_service(saved, host="0.0.0.0")
    service.close()
    assert service.access.api_key == "from-the-environment"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "70000"], "no port 70000"),
        (["--api-key", ""], "key is empty"),
        (["--api-key", "a b"], "characters that a header can't hold"),
        (["--precision", "float8"], "unknown precision"),
        (["--precision", "int8"], "for language models"),
        (["--rows", "0"], "rows"),
        (["--host", "203.0.113.7", "--api-key", "k"], "can't listen there"),
    ],
)
def test_wrong_starts(saved, arguments, says, capsys):
    assert main(["serve", str(saved), *arguments]) == 2
    assert says in capsys.readouterr().err


def test_a_port_that_is_taken(saved):
    from modelwright.workflows.serve import serve

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="can't listen there"):
            serve(saved, port=taken.getsockname()[1])


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"report": null}', '{"primary": 1, "splits": [], "higher_is_better": 1, "baselines": {}}']
)
def test_what_lies_beside_the_model_may_be_damaged(saved, content):
    for name in ("evaluation.json", "run.json", "recipe.yaml"):
        (saved / name).write_text(content)
    service = make_service(saved)
    service.close()
    assert service._card["quality"] is None
    assert service._card["data"]["splits"] == {}


def test_there_is_no_model(tmp_path, capsys):
    assert main(["serve", str(tmp_path)]) == 2
    assert "holds no bundle" in capsys.readouterr().err
