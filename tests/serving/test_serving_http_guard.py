"""Who may use a server: hosts, pages of other sites, keys, and an end that refuses what is new."""

import pytest
from harness.served import HOME, service_of, table_bundle

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("httpx")

from starlette.testclient import TestClient

from modelwright.serving.http.guard import is_loopback

KEY = "a-key-of-some-length"
ROW = {"inputs": [{"age": 1, "hours per week": 2, "<b>job</b>": None}]}
SECRET = ["/v1/card", "/v1/models", "/metrics", "/openapi.json", "/v1/models/tiny", "/nothing"]


@pytest.fixture(scope="module")
def local():
    service = service_of(table_bundle())
    with TestClient(service.asgi, base_url=HOME) as client:
        yield client
    service.close()


@pytest.fixture(scope="module")
def keyed():
    service = service_of(table_bundle(), host="0.0.0.0", api_key=KEY)
    with TestClient(service.asgi, base_url="http://models.example:8000") as client:
        yield client
    service.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1", "[::1]", "a.localhost", "LOCALHOST"])
def test_this_machine(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.168.1.2", "example.com", "localhost.example.com", "127.0.0.1.example.com", "1270.0.1"]
)
def test_other_machines(host):
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "[::2]", "", "192.168.0.3:8000"])
def test_a_name_that_was_bent_to_this_machine_is_refused(local, host):
    for path in ("/", "/v1/card", "/health"):
        answer = local.get(path, headers={"Host": host})
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "bad_host"


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000"])
def test_own_names_are_fine(local, host):
    assert local.get("/v1/card", headers={"Host": host}).status_code == 200


def test_pages_of_other_sites_are_refused(local):
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9999", "https://localhost"):
        answer = local.post("/v1/predict", json=ROW, headers={"Origin": origin})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "bad_origin"), origin
        assert "access-control-allow-origin" not in answer.headers
    assert local.options("/v1/predict", headers={"Origin": "http://evil.example"}).status_code == 403
    for site in ("cross-site", "same-site"):
        assert local.get("/v1/card", headers={"Sec-Fetch-Site": site}).status_code == 403
    assert local.post("/v1/predict", json=ROW, headers={"Origin": HOME, "Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert local.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200, "a link may lead to the page"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {KEY[:-1]}"},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": KEY},
        {"Authorization": b"Bearer \xff\xfe"},
        {"X-API-Key": KEY},
    ],
)
def test_without_the_key_nothing_is_told(keyed, headers):
    answers = [keyed.get(path, headers=headers) for path in SECRET] + [keyed.post("/v1/predict", json=ROW, headers=headers)]
    assert {answer.status_code for answer in answers} == {401}
    assert all(answer.headers["www-authenticate"].startswith("Bearer") for answer in answers)
    assert not any("hours" in answer.text or "tiny" in answer.text for answer in answers)


def test_without_the_key_no_body_is_read(keyed):
    for path in ("/", "/health", "/page.js"):
        assert keyed.post(path, content=b"x" * 1000).status_code == 401
        assert keyed.post(path, content=b"x" * 1000, headers={"Authorization": f"Bearer {KEY}"}).status_code == 405


def test_with_the_key_all_is_told(keyed):
    headers = {"Authorization": f"Bearer {KEY}"}
    assert {keyed.get(path, headers=headers).status_code for path in SECRET[:-1]} == {200}
    assert keyed.post("/v1/predict", json=ROW, headers=headers).status_code == 200
    assert keyed.get("/health").status_code == 200
    page = keyed.get("/")
    assert page.status_code == 200
    assert "tiny" not in page.text, "the page without the key tells nothing of the model"


def test_a_two_fold_key_or_host_is_none(keyed):
    assert keyed.get("/v1/card", headers=[("Authorization", f"Bearer {KEY}"), ("Authorization", "Bearer x")]).status_code == 401


def test_every_answer_is_fenced_in(local):
    for path in ("/", "/page.js", "/v1/card", "/nothing"):
        headers = local.get(path).headers
        assert "unsafe" not in headers["content-security-policy"]
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"


def test_a_server_that_ends_takes_nothing_more():
    service = service_of(table_bundle())
    with TestClient(service.asgi, base_url=HOME) as client:
        assert client.get("/health").json() == {"status": "ok"}
        service.drain()
        answer = client.post("/v1/predict", json=ROW)
        assert (answer.status_code, answer.headers["connection"]) == (503, "close")
        assert "Retry-After" in answer.headers
        assert client.get("/health").status_code == 503
    service.close()
