"""The page in headless Chromium: it loads without a word of complaint, asks nothing of others, and can be used by mouse and by keyboard."""

import shutil

import numpy as np
import pytest
from harness.served import image_bundle, running, service_of, table_bundle, text_bundle

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
SECONDS = 60_000


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Opens the page of a service; at the end nothing may have been complained of or fetched from elsewhere."""
    contexts, said, foreign = [], [], []

    def call(url, width=1000, **settings):
        context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
        context.set_default_timeout(SECONDS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: foreign.append(request.url) if not request.url.startswith((url, "blob:", "data:")) else None)
        page.goto(url)
        return page

    yield call
    for context in contexts:
        context.close()
    # The browser itself says so of an answer of 401, and of a request that a test breaks off.
    assert [text for text in said if "401" not in text and "ERR_FAILED" not in text] == []
    assert foreign == []


@pytest.fixture(scope="module")
def table():
    with running(service_of(table_bundle())) as url:
        yield url


@pytest.fixture(scope="module")
def image():
    with running(service_of(image_bundle())) as url:
        yield url


@pytest.fixture(scope="module")
def text(bytewise):
    with running(service_of(text_bundle(bytewise))) as url:
        yield url


def test_a_form_is_made_of_the_table_and_names_stay_text(table, open_page):
    page = open_page(table)
    page.get_by_label("age").fill("41.5")
    page.get_by_label("<b>job</b>").select_option(label="<script>alert(1)</script>")
    page.get_by_role("button", name="Predict").click()
    page.locator(".answer").wait_for()
    assert page.locator(".answer").inner_text().split()[0] in ("low", "high")
    shares = [float(share.strip(" %<>")) for share in page.locator(".bars .share").all_inner_texts()]
    assert sum(shares) == pytest.approx(100, abs=0.3)
    assert "ms" in page.get_by_text("Answered in").inner_text()
    assert page.locator("#card").get_by_text("mlp", exact=True).count() == 1
    before = page.locator(".bars").inner_text()
    page.get_by_label("age").fill("-300")
    page.get_by_label("age").blur()
    playwright.expect(page.locator(".bars")).not_to_have_text(before)


def test_the_form_works_by_keyboard_alone(table, open_page):
    page = open_page(table)
    page.get_by_label("age").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the model"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("33")
    page.keyboard.press("Tab")
    page.keyboard.type("40")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Predict").focus()
    page.keyboard.press("Enter")
    page.locator(".answer").wait_for()
    assert page.get_by_label("age").input_value() == "33"
    assert page.get_by_label("<b>job</b>").input_value() == "0"


def test_a_missing_value_may_be_left_out(table, open_page):
    page = open_page(table)
    page.get_by_role("button", name="Predict").click()
    page.locator(".answer").wait_for()


def test_drawing_by_mouse_and_by_keyboard(image, open_page):
    page = open_page(image)
    canvas = page.get_by_role("img", name="Drawing")
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 180, steps=5)
    page.mouse.up()
    page.locator(".answer").wait_for()
    assert page.locator(".bars li").count() == 3
    page.get_by_role("button", name="Clear").click()
    page.get_by_text("The answer comes here").wait_for()
    assert canvas.evaluate("element => element === document.activeElement")
    for key in ("Space", "ArrowRight", "ArrowRight", "ArrowDown", "Space"):
        page.keyboard.press(key)
    page.locator(".answer").wait_for()


def test_a_file_is_predicted_as_it_is(image, open_page, tmp_path):
    import httpx
    from PIL import Image

    path = tmp_path / "one.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 20, 3), dtype=np.uint8)).save(path)
    expected = httpx.post(f"{image}/v1/predict", content=path.read_bytes(), headers={"Content-Type": "image/png"}).json()["predictions"][0]
    page = open_page(image)
    page.locator("input[type=file]").set_input_files(path)
    page.locator(".answer").wait_for()
    assert page.locator(".answer").inner_text().split()[0] == expected["label"]
    assert f"{100 * expected['confidence']:.1f} %" in page.locator(".answer").inner_text()


def test_a_text_is_continued_and_each_token_tells_what_else_might_have_come(text, open_page):
    page = open_page(text)
    page.get_by_label("Text to continue").fill("hello <b>")
    page.get_by_text("Sampling", exact=True).click()
    page.get_by_label("Tokens, at most").fill("20")
    page.get_by_role("button", name="Continue", exact=True).click()
    page.get_by_text("20 tokens in").wait_for()
    assert page.get_by_role("group", name="Text").inner_text().startswith("hello <b>")
    if page.locator(".token").count():
        page.get_by_role("group", name="Text").focus()
        page.keyboard.press("ArrowRight")
        assert 1 <= page.locator(".bars li").count() <= 5


def test_a_chat_by_keyboard(text, open_page):
    page = open_page(text)
    page.get_by_role("tab", name="Continue a text").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tab", name="Chat").get_attribute("aria-selected") == "true"
    page.get_by_label("Your message").focus()
    page.keyboard.type("hi")
    page.keyboard.press("Enter")
    page.get_by_text("the first after").wait_for()
    assert page.locator(".bubble").count() == 2


def test_a_new_chat_knows_nothing_of_the_one_before(text, open_page):
    page = open_page(text)
    page.get_by_role("tab", name="Chat").click()
    page.get_by_text("Sampling", exact=True).click()
    page.get_by_label("Tokens, at most").fill("2000")
    page.get_by_label("Your message").fill("one")
    page.keyboard.press("Enter")
    playwright.expect(page.locator(".bubble").last).not_to_be_empty()
    page.get_by_role("button", name="New chat").click()
    playwright.expect(page.get_by_role("button", name="Send")).to_be_enabled()
    page.get_by_label("Your message").fill("two")
    with page.expect_request("**/v1/chat/completions") as asked:
        page.keyboard.press("Enter")
    assert asked.value.post_data_json["messages"] == [{"role": "user", "content": "two"}]


def test_an_error_is_told(table, open_page):
    page = open_page(table)
    page.get_by_label("hours per week").wait_for()
    page.route("**/v1/predict", lambda route: route.abort())
    page.get_by_role("button", name="Predict").click()
    page.get_by_role("alert").get_by_text("The server doesn't answer").wait_for()
    page.unroute("**/v1/predict")


def test_a_key_is_asked_for(open_page):
    with running(service_of(table_bundle(), api_key="open-sesame")) as url:
        page = open_page(url)
        page.get_by_label("API key").fill("wrong")
        page.keyboard.press("Enter")
        page.get_by_role("alert").get_by_text("missing or wrong").wait_for()
        page.get_by_label("API key").fill("open-sesame")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Example values").click()
        page.locator(".answer").wait_for()
        assert page.get_by_role("alert").count() == 0
        page.get_by_text("Ask from a program").click()
        page.locator("pre code", has_text="Authorization: Bearer $MODELWRIGHT_API_KEY").wait_for()
        assert "open-sesame" not in page.locator("pre code").inner_text()


@pytest.mark.parametrize("width", [380, 820, 1440])
def test_nothing_is_wider_than_the_screen(table, image, text, open_page, width):
    for url in (table, image, text):
        page = open_page(url, width=width, color_scheme="dark")
        page.locator("#card .panel").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        unnamed = page.evaluate(
            "[...document.querySelectorAll('input, select, textarea, button, canvas')].filter(one => !(one.labels?.length || one.textContent.trim() "
            "|| one.getAttribute('aria-label'))).map(one => one.outerHTML)"
        )
        assert unnamed == []
