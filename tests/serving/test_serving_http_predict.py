"""Predicting over HTTP: the same as `predict`, whatever it is batched with; and what is wrong is refused in words."""

import base64
import io
import json
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from harness.served import HOME, image_bundle, service_of, table_bundle

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("httpx")

from starlette.testclient import TestClient

from modelwright.data.prediction import conform, parse_json_rows, read_examples
from modelwright.serving.predictor import Predictor

ROW = {"age": 30, "hours per week": 40.5, "<b>job</b>": "nurse"}


def client_of(bundle, **settings):
    service = service_of(bundle, **settings)
    return service, TestClient(service.asgi, base_url=HOME)


@pytest.fixture(scope="module")
def table():
    bundle = table_bundle()
    service, client = client_of(bundle, limits={"examples": 50, "body_bytes": 200_000})
    with client:
        yield bundle, client
    service.close()


@pytest.fixture(scope="module")
def images():
    bundle = image_bundle()
    service, client = client_of(bundle, limits={"pixels": 100_000})
    with client:
        yield bundle, client
    service.close()


def png(pixels):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def text64(data):
    return base64.b64encode(data).decode()


def rows_of(count, seed=0):
    random = np.random.default_rng(seed)
    return [
        {
            "age": None if random.random() < 0.2 else round(float(random.normal(40, 15)), 3),
            "hours per week": round(float(random.normal(40, 10)), 2),
            "<b>job</b>": str(random.choice(["clerk", "nurse", "never seen"])),
        }
        for _ in range(count)
    ]


def test_a_prediction_is_that_of_predict(table):
    bundle, client = table
    rows = rows_of(7)
    answer = client.post("/v1/predict", json={"inputs": rows})
    assert answer.status_code == 200
    examples = conform(parse_json_rows(rows, "input", bundle.config.data), bundle.config.data_schema, "test")
    assert answer.json()["predictions"] == Predictor(bundle).predict(examples)
    assert any("never seen in training" in note for note in answer.json()["notes"])


def test_a_date_counts_as_predict_counts_it(table):
    _, client = table
    answers = [
        client.post("/v1/predict", json={"inputs": [{**ROW, "age": age}]}) for age in ("1970-02-10", 40, "1970-02-10T12:00:00", 40.5)
    ]
    assert [answer.status_code for answer in answers] == [200] * 4
    found = [answer.json()["predictions"] for answer in answers]
    assert found[0] == found[1]
    assert found[2] == found[3]
    for wrong in ("1970-02-31", "yesterday", "1970-02-10" * 1000):
        assert "a date like" in refused(client.post("/v1/predict", json={"inputs": [{**ROW, "age": wrong}]}), 400)


def test_predictions_do_not_depend_on_what_they_are_batched_with(table):
    _, client = table
    rows = rows_of(41, seed=1)
    together = client.post("/v1/predict", json={"inputs": rows}).json()["predictions"]
    for place, row in enumerate(rows):
        alone = client.post("/v1/predict", json={"inputs": [row]}).json()["predictions"][0]
        assert alone["label"] == together[place]["label"]
        assert alone["probabilities"] == pytest.approx(together[place]["probabilities"], abs=1e-6)
    found = [None] * len(rows)

    def ask(place):
        found[place] = client.post("/v1/predict", json={"inputs": [rows[place]]}).json()["predictions"][0]

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(rows))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for alone, one in zip(found, together, strict=True):
        assert alone is not None
        assert alone["label"] == one["label"]
        assert alone["probabilities"] == pytest.approx(one["probabilities"], abs=1e-6)


def test_a_number_is_predicted_in_its_own_unit():
    bundle = table_bundle(regression=True)
    service, client = client_of(bundle)
    with client:
        prediction = client.post("/v1/predict", json={"inputs": [ROW]}).json()["predictions"][0]
    service.close()
    assert list(prediction) == ["value"]
    assert 0 < prediction["value"] < 200


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_is_predicted_as_its_file(channels, tmp_path):
    bundle = image_bundle(channels)
    service, client = client_of(bundle)
    pixels = np.random.default_rng(0).integers(0, 256, (11, 13, 3), dtype=np.uint8)
    data = png(pixels)
    (tmp_path / "one.png").write_bytes(data)
    expected = Predictor(bundle).predict(read_examples(str(tmp_path / "one.png"), bundle.config.data_schema, bundle.config.data))
    with client:
        raw = client.post("/v1/predict", content=data, headers={"Content-Type": "image/png"})
        coded = client.post("/v1/predict", json={"inputs": [{"image": text64(data)}, {"image": "data:image/png;base64," + text64(data)}]})
    service.close()
    assert raw.json()["predictions"] == expected
    assert coded.json()["predictions"] == [*expected, *expected]


def test_the_schemas_follow_from_the_task(table, images):
    told = table[1].get("/openapi.json").json()["paths"]["/v1/predict"]["post"]
    asked = told["requestBody"]["content"]["application/json"]["schema"]["properties"]["inputs"]["items"]
    assert list(asked["properties"]) == list(ROW)
    assert asked["properties"]["age"]["type"] == ["number", "string", "null"], "a string is a date"
    answered = told["responses"]["200"]["content"]["application/json"]["schema"]["properties"]["predictions"]["items"]
    assert answered["properties"]["label"]["enum"] == ["low", "high"]
    assert "image" in json.dumps(images[1].get("/openapi.json").json())
    assert table[1].post("/v1/completions", json={}).status_code == 404


def refused(answer, status):
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "Traceback" not in answer.text
    return error["message"]


DEEP = '{"inputs": ' + "[" * 20_000 + "]" * 20_000 + "}"


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "empty"),
        (b"{", 400, "no JSON"),
        (b"[]", 400, "no JSON object"),
        (b'"inputs"', 400, "no JSON object"),
        (b'{"inputs": [{"age": \xff}]}', 400, "UTF-8"),
        (DEEP.encode(), 400, "deep"),
        (('{"inputs": ' + "[" * 80 + "]" * 80 + "}").encode(), 400, "deep"),
        (b'{"inputs": [' + b"{}," * 40_000 + b"{}]}", 400, "more than 32,768 objects"),
        (b'{"inputs": [{"age": NaN}]}', 400, "NaN is no number"),
        (b'{"inputs": [{"age": -Infinity}]}', 400, "Infinity is no number"),
        (b'{"inputs": [{"age": 1e999}]}', 400, "a number of at most 1e300 or null"),
        (b'{"inputs": [{"age": ' + b"9" * 5000 + b"}]}", 400, "can't be read"),
        (b'{"inputs": [{"age": ' + b"9" * 400 + b"}]}", 400, "a number of at most 1e300 or null"),
        (b'{"inputs": [{"age": "3"}]}', 400, "inputs.0.age: a number of at most"),
        (b'{"inputs": [{"age": true}]}', 400, "inputs.0.age: a number of at most"),
        (b'{"inputs": [{"age": [1]}]}', 400, "inputs.0.age: a number of at most"),
        (b'{"inputs": [{"<b>job</b>": {"a": 1}}]}', 400, "a text, a number or null"),
        (b'{"inputs": [{"<b>job</b>": "\\ud800"}]}', 400, "surrogate"),
        (b'{"inputs": [{"<b>job</b>": "' + b"x" * 5000 + b'"}]}', 400, "longer than"),
        (b'{"inputs": [{"agee": 1}]}', 400, "'agee' is unknown. Did you mean 'age'?"),
        (b'{"inputs": [{"age": 1}]}', 422, "lacks the columns hours per week"),
        (b'{"inputs": [3]}', 400, "inputs.0: an object is expected"),
        (b'{"inputs": []}', 400, "one or more examples"),
        (b'{"inputs": {}}', 400, "one or more examples"),
        (b'{"input": []}', 400, "'input' is unknown. Did you mean 'inputs'?"),
        (b"{}", 400, "inputs"),
        (b'{"inputs": [{}], "model": "other"}', 404, "no such model"),
        (b'{"inputs": [' + b"{}," * 60 + b"{}]}", 400, "61 examples are too many"),
        (b"x" * 200_001, 413, "larger than 200,000 bytes"),
    ],
)
def test_wrong_requests(table, body, status, says):
    assert says in refused(table[1].post("/v1/predict", content=body, headers={"Content-Type": "application/json"}), status)


def test_wrong_content_types_and_ways(table):
    _, client = table
    for kind in ("text/plain", "image/png", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        assert "application/json is expected" in refused(client.post("/v1/predict", content=b"{}", headers={"Content-Type": kind}), 415)
    refused(client.get("/v1/predict"), 405)
    refused(client.get("/v1/nothing"), 404)
    refused(client.get("/../../etc/passwd"), 404)
    refused(client.request("DELETE", "/v1/models"), 405)


def bomb(side):
    """A PNG of `side` x `side` pixels in a few bytes for each thousand of them."""
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * ((side + 1) * min(side, 2000)), 9)
    chunks = [(b"IHDR", head), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def scanned(more):
    """A progressive JPEG, its last scan repeated."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.zeros((200, 200), dtype=np.uint8)).save(file, "jpeg", progressive=True)
    data = file.getvalue()
    return data[:-2] + data[data.rfind(b"\xff\xda") : -2] * more + data[-2:]


def test_a_progressive_image_is_fine(images):
    assert images[1].post("/v1/predict", content=scanned(5), headers={"Content-Type": "image/jpeg"}).status_code == 200


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("!!!", "no base64"),
        ("", "empty"),
        (None, "empty"),
        (text64(b"not an image"), "no image that can be read"),
        (text64(b"%PDF-1.4 " + b"x" * 100), "no image that can be read"),
        (text64(bomb(400)), "160,000 pixels"),
        (text64(bomb(60_000)), "exceeds limit"),
        (text64(scanned(500)), "too many scans"),
        (text64(png(np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8))[:400]), "can't be read"),
    ],
)
def test_wrong_images(images, image, says):
    message = refused(images[1].post("/v1/predict", json={"inputs": [{"image": image}]}), 422)
    assert says in message
    assert "input number 1" in message


def test_who_gives_up_has_no_more_images_read(monkeypatch):
    from modelwright.serving.http import predictions

    service, client = client_of(image_bundle(), limits={"request_seconds": 0.3})
    count, real = [], predictions.read_image

    def slow(*arguments, **settings):
        count.append(1)
        time.sleep(0.2)
        return real(*arguments, **settings)

    monkeypatch.setattr(predictions, "read_image", slow)
    picture = {"image": text64(png(np.zeros((8, 8), dtype=np.uint8)))}
    with client:
        assert refused(client.post("/v1/predict", json={"inputs": [picture] * 50}), 504)
        time.sleep(0.5)
    service.close()
    assert len(count) <= 4


def test_a_raw_image_that_is_none(images):
    assert "no image" in refused(images[1].post("/v1/predict", content=b"abc", headers={"Content-Type": "image/png"}), 422)


def test_a_full_queue_is_told(monkeypatch):
    bundle = table_bundle()
    service, client = client_of(bundle, limits={"requests": 2})
    entered, go = threading.Semaphore(0), threading.Event()
    real = Predictor.predict

    def slow(self, examples):
        entered.release()
        assert go.wait(30)
        return real(self, examples)

    monkeypatch.setattr(Predictor, "predict", slow)
    answers = []
    with client:
        threads = [threading.Thread(target=lambda: answers.append(client.post("/v1/predict", json={"inputs": [ROW]}))) for _ in range(2)]
        for thread in threads:
            thread.start()
        assert entered.acquire(timeout=30)
        while service.asgi.active < 2:
            pass
        third = client.post("/v1/predict", json={"inputs": [ROW]})
        assert "requests are being served" in refused(third, 429)
        assert int(third.headers["Retry-After"]) >= 1
        assert client.get("/health").status_code == 200
        go.set()
        for thread in threads:
            thread.join()
    service.close()
    assert [answer.status_code for answer in answers] == [200, 200]


def test_a_failure_within_is_no_traceback(monkeypatch):
    service, client = client_of(table_bundle())
    monkeypatch.setattr(Predictor, "predict", lambda self, examples: 1 / 0)
    with client:
        assert "ZeroDivisionError" in refused(client.post("/v1/predict", json={"inputs": [ROW]}), 503)
    service.close()


def test_metrics_count(table):
    _, client = table
    client.post("/v1/predict", json={"inputs": [ROW, ROW]})
    client.get("/some/where/else")
    page = client.get("/metrics").text
    assert 'modelwright_requests_total{method="POST",path="/v1/predict",status="200"}' in page
    assert 'path="other"' in page
    assert "some/where" not in page
    assert "modelwright_examples_total" in page
    assert "modelwright_requests_active" in page
