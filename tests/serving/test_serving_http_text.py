"""Texts over HTTP: the official client works unchanged, and a text is that of `generate` whatever it is batched with."""

import json
import re
import threading
import time

import pytest
from harness.served import HOME, running, service_of, text_bundle

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("openai")

import httpx
import openai
from starlette.testclient import TestClient

from modelwright.serving.generation import GenerationConfig, Generator
from modelwright.serving.http.chat import ChatTemplate

LIMITS = {"rows": 4, "queue": 8, "max_tokens": 200, "choices": 8}
TEMPLATE = """{% for message in messages %}{% if message.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}
{{ message.role }} says {{ message.content }} {% endfor %}{% if add_generation_prompt %}answer {% endif %}"""


@pytest.fixture(scope="module")
def bundle(bytewise):
    return text_bundle(bytewise)


@pytest.fixture(scope="module")
def generator(bundle):
    return Generator(bundle)


@pytest.fixture(scope="module")
def service(bundle):
    return service_of(bundle, limits=LIMITS, api_key="secret")


@pytest.fixture(scope="module")
def url(service):
    with running(service) as url:
        yield url


@pytest.fixture(scope="module")
def client(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="secret", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def plain(bundle):
    service = service_of(bundle, limits=LIMITS)
    with TestClient(service.asgi, base_url=HOME) as client:
        yield client
    service.close()


def text_of(generator, prompt, number=0, **settings):
    return generator.generate([prompt] * (number + 1), GenerationConfig(**settings))[number]


def test_the_models_are_listed(client):
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").object == "model"
    with pytest.raises(openai.NotFoundError, match="There is no such model"):
        client.models.retrieve("gpt-4")


def test_a_completion_is_that_of_generate(client, generator):
    answer = client.completions.create(model="tiny", prompt="hello there", max_tokens=30, temperature=0)
    alone = text_of(generator, "hello there", temperature=0, max_tokens=30)
    assert answer.choices[0].text == alone.text
    assert answer.choices[0].finish_reason in ("length", "stop")
    assert answer.usage.prompt_tokens == 11
    assert answer.usage.completion_tokens == len(alone.tokens)
    assert answer.object == "text_completion"


def test_several_prompts_and_choices_are_numbered_as_generate_does(client, generator):
    answer = client.completions.create(model="tiny", prompt=["ab", "cd"], n=2, max_tokens=12, temperature=0.9, top_p=0.95, seed=7)
    settings = GenerationConfig(temperature=0.9, top_p=0.95, seed=7, max_tokens=12)
    assert [choice.text for choice in answer.choices] == [one.text for one in generator.generate(["ab", "ab", "cd", "cd"], settings)]
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]


def test_tokens_may_be_given_in_place_of_text(client, generator):
    tokens = generator.tokenizer.encode("hello").tolist()
    given = [
        client.completions.create(model="tiny", prompt=prompt, max_tokens=5, temperature=0)
        for prompt in ("hello", tokens, [tokens, tokens])
    ]
    assert len({choice.text for answer in given for choice in answer.choices}) == 1
    with pytest.raises(openai.BadRequestError, match="the tokens of this model are 0 to"):
        client.completions.create(model="tiny", prompt=[5, 10_000_000])


def test_a_stream_is_the_whole_in_pieces(client, generator):
    alone = text_of(generator, "once", temperature=0, max_tokens=40)
    parts = list(
        client.completions.create(
            model="tiny", prompt="once", max_tokens=40, temperature=0, stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(choice.text for part in parts for choice in part.choices) == alone.text
    assert [part.choices[0].finish_reason for part in parts if part.choices][-1] == (
        "length" if alone.finish_reason == "length" else "stop"
    )
    assert parts[-1].usage.completion_tokens == len(alone.tokens)
    assert len({part.id for part in parts}) == 1


def test_a_text_ends_before_a_stop_string(client, generator):
    whole = text_of(generator, "once", temperature=0, max_tokens=40).text
    stop = whole[5:7]
    answer = client.completions.create(model="tiny", prompt="once", max_tokens=40, temperature=0, stop=[stop, "never comes"])
    assert answer.choices[0].text == whole[: whole.index(stop)]
    assert answer.choices[0].finish_reason == "stop"


def test_echo_and_logprobs(client, generator):
    answer = client.completions.create(model="tiny", prompt="ab", max_tokens=4, temperature=0, echo=True, logprobs=2)
    choice, alone = answer.choices[0], text_of(generator, "ab", temperature=0, max_tokens=4, logprobs=True)
    assert choice.text == "ab" + alone.text
    assert choice.logprobs.token_logprobs == pytest.approx(alone.logprobs, abs=1e-5)
    assert [len(others) for others in choice.logprobs.top_logprobs] == [2] * 4 or len(choice.logprobs.tokens) == 4
    assert choice.logprobs.text_offset[0] == 2


def test_a_chat(client, generator):
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    alone = text_of(generator, "system: be brief\nuser: hi\nassistant:", temperature=0, max_tokens=15, stop=("\nuser:", "\nsystem:"))
    answer = client.chat.completions.create(model="tiny", messages=messages, max_tokens=15, temperature=0, logprobs=True, top_logprobs=3)
    assert (answer.choices[0].message.role, answer.choices[0].message.content) == ("assistant", alone.text)
    assert len(answer.choices[0].logprobs.content[0].top_logprobs) == 3
    parts = list(client.chat.completions.create(model="tiny", messages=messages, max_completion_tokens=15, temperature=0, stream=True))
    assert parts[0].choices[0].delta.role == "assistant"
    assert "".join(part.choices[0].delta.content or "" for part in parts) == alone.text
    assert parts[-1].choices[0].finish_reason is not None


def test_an_answer_may_be_sent_back_as_the_client_gave_it(client):
    messages = [{"role": "user", "content": "h"}]
    answer = client.chat.completions.create(model="tiny", messages=messages, max_tokens=3, temperature=0).choices[0].message
    for again in (answer, answer.model_dump()):
        following = [*messages, again, {"role": "user", "content": "i"}]
        assert client.chat.completions.create(model="tiny", messages=following, max_tokens=3).choices[0].message.role == "assistant"


def test_the_card_tells_the_network_as_it_is(plain):
    settings = plain.get("/v1/card").json()["settings"]["model"]
    assert settings["causal"] is True
    assert settings["positions"] == "rotary"


def test_the_interface_is_described_without_a_gap(plain):
    described = plain.get("/openapi.json").json()
    wanted = set(re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(described)))
    assert "Message" in wanted
    assert wanted <= set(described["components"]["schemas"])
    assert "$defs" not in json.dumps(described)


def test_a_template_of_its_own(bundle, generator):
    service = service_of(bundle, template=ChatTemplate(TEMPLATE))
    alone = text_of(generator, "\nuser says hi answer ", temperature=0, max_tokens=6)
    with TestClient(service.asgi, base_url=HOME) as client:
        body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 6, "temperature": 0}
        assert client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"] == alone.text
        body["messages"][0]["role"] = "tool"
        refused = client.post("/v1/chat/completions", json=body)
    service.close()
    assert refused.status_code == 400
    assert "no tools here" in refused.json()["error"]["message"]


def test_a_template_may_do_what_those_of_transformers_do():
    source = "{% for m in messages %}{% if m.content == 'b' %}{% continue %}{% endif %}{{ m.content | trim }}{% endfor %}{{ eos_token }}"
    messages = [{"role": "user", "content": content} for content in (" a ", "b", "c")]
    assert ChatTemplate(source).render(messages) == "ac<|endoftext|>"


@pytest.mark.parametrize(
    "source", ["{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ messages.append(1) }}", "{{ cycler.__init__.__globals__ }}"]
)
def test_a_template_can_do_nothing_but_write(source):
    from modelwright.serving.http.errors import ApiError

    try:
        text = ChatTemplate(source).render([{"role": "user", "content": "x"}])
    except ApiError:
        return
    assert "class" not in text


def test_texts_that_are_asked_for_at_once_are_those_of_generate(url, generator):
    prompts = ["", "a", "hello", "the quick brown fox jumps", "0123456789" * 3, "x y z", "ROMEO:", "\n\n", "tail", "end"]
    found: dict[int, str] = {}

    def ask(place):
        with openai.OpenAI(base_url=f"{url}/v1", api_key="secret") as client:
            temperature = 0 if place % 2 else 0.8
            answer = client.completions.create(
                model="tiny", prompt=prompts[place], max_tokens=20 + 7 * place, temperature=temperature, seed=place
            )
            found[place] = answer.choices[0].text

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for place, prompt in enumerate(prompts):
        alone = text_of(generator, prompt, temperature=0 if place % 2 else 0.8, seed=place, max_tokens=20 + 7 * place)
        assert found[place] == alone.text, prompt


WRONG = [
    ({"max_tokens": -1}, "max_tokens: input should be greater than 0", "max_tokens"),
    ({"max_tokens": 0}, "max_tokens", "max_tokens"),
    ({"max_tokens": 10**9}, "1,000,000,000 are too many; 200 may be", "max_tokens"),
    ({"max_tokens": 10**40}, "max_tokens", "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens", "max_tokens"),
    ({"max_tokens": "5"}, "max_tokens", "max_tokens"),
    ({"max_tokens": True}, "max_tokens", "max_tokens"),
    ({"temperature": -0.1}, "temperature", "temperature"),
    ({"temperature": 1e308}, "temperature", "temperature"),
    ({"temperature": "hot"}, "temperature", "temperature"),
    ({"repetition_penalty": 1e-300}, "repetition_penalty", "repetition_penalty"),
    ({"top_p": 0}, "top_p", "top_p"),
    ({"top_p": 1.1}, "top_p", "top_p"),
    ({"n": 0}, "n: input should be", "n"),
    ({"n": 9}, "9 texts are too many", "n"),
    ({"seed": 2**70}, "seed", "seed"),
    ({"seed": 0.5}, "seed", "seed"),
    ({"stop": ""}, "stop", "stop"),
    ({"stop": ["a"] * 17}, "stop", None),
    ({"stop": [None] * 5000}, "stop", None),
    ({"prompt": 7}, "prompt", None),
    ({"prompt": []}, "prompt", None),
    ({"prompt": [[]]}, "prompt", None),
    ({"prompt": [None] * 20_000}, "prompt", None),
    ({"prompt": ["a", 1]}, "prompt", None),
    ({"prompt": {"text": "a"}}, "prompt", None),
    ({"prompt": "x" * 49}, "the prompt has 49 tokens", "prompt"),
    ({"prompt": "x" * 100_000}, "the prompt has 100,000 characters", "prompt"),
    ({"prompt": "\ud83e"}, "half of a surrogate pair", None),
    ({"prompt": [-1]}, "the tokens of this model", "prompt"),
    ({"prompt": [2**80]}, "prompt", None),
    ({"logprobs": 6}, "logprobs", "logprobs"),
    ({"stream": "yes"}, "stream", "stream"),
    ({"stream_options": {"x": 1}}, "stream_options", None),
    ({"model": "gpt-4"}, "There is no model 'gpt-4'", "model"),
    ({"temprature": 1}, "'temprature' is unknown. Did you mean 'temperature'?", "temprature"),
    ({"tools": [{"type": "function"}]}, "tools: this server has no such thing", "tools"),
    ({"frequency_penalty": 0.5}, "frequency_penalty: this server has no such thing", "frequency_penalty"),
    ({"logit_bias": {"5": 100}}, "logit_bias", "logit_bias"),
    ({f"key{n}": n for n in range(5000)}, "'key0' is unknown", "key0"),
]


@pytest.mark.parametrize(("change", "says", "param"), WRONG)
def test_wrong_completions(plain, change, says, param):
    body = json.dumps({"prompt": "a", "max_tokens": 2, **change})
    answer = plain.post("/v1/completions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == (404 if "model" in change else 400), answer.text
    error = answer.json()["error"]
    assert says in error["message"]
    assert param is None or error["param"] == param
    assert len(answer.content) < 1000


@pytest.mark.parametrize(
    "messages",
    [None, [], {}, "hi", [None], [{}], [{"role": "user"}] * 300, [{"role": "user", "content": 5}], [{"role": "", "content": "x"}],
     [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], [{"role": "user", "content": "x" * 100}],
     [{"role": "user", "content": "x", "tool_calls": []}]],
)  # fmt: skip
def test_wrong_chats(plain, messages):
    answer = plain.post("/v1/chat/completions", json={"messages": messages, "max_tokens": 2})
    assert answer.status_code == 400, answer.text
    assert "essages" in answer.json()["error"]["message"]


def test_what_says_nothing_about_the_text_is_let_through(plain):
    neutral = {"user": "me", "metadata": {"a": "b"}, "frequency_penalty": 0, "tools": [], "logit_bias": {}, "best_of": 1, "suffix": None}
    assert plain.post("/v1/completions", json={"prompt": "a", "max_tokens": 2, **neutral}).status_code == 200


def test_a_full_queue_is_told_and_is_free_again_when_clients_go(bundle):
    service = service_of(bundle, limits={"rows": 1, "queue": 1, "max_tokens": 1_000_000, "request_seconds": 600})
    engine = next(closer.__self__ for closer in service._closers)
    with running(service) as url:
        body = {"prompt": "a", "max_tokens": 1_000_000, "temperature": 0, "stream": True}
        with httpx.Client(base_url=url, timeout=30) as client, client.stream("POST", "/v1/completions", json=body) as first:
            lines = first.iter_lines()
            next(lines)
            with httpx.Client(base_url=url, timeout=30) as other:
                waiting = threading.Thread(target=lambda: other.post("/v1/completions", json={"prompt": "a", "max_tokens": 1}))
                waiting.start()
                until(lambda: engine.waiting == 1)
                full = httpx.post(f"{url}/v1/completions", json={"prompt": "a", "max_tokens": 1})
                assert (full.status_code, full.json()["error"]["code"]) == (429, "rate_limit_exceeded")
                assert int(full.headers["Retry-After"]) >= 1
                with pytest.raises(openai.RateLimitError):
                    openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0).completions.create(model="tiny", prompt="a")
                first.close()
                waiting.join(30)
        until(lambda: engine.running == engine.waiting == 0)


def test_a_text_that_takes_too_long_is_given_up(bundle):
    service = service_of(bundle, limits={"rows": 1, "max_tokens": 1_000_000, "request_seconds": 0.5})
    engine = next(closer.__self__ for closer in service._closers)
    with TestClient(service.asgi, base_url=HOME) as client:
        whole = client.post("/v1/completions", json={"prompt": "a", "max_tokens": 1_000_000, "temperature": 0})
        assert (whole.status_code, whole.json()["error"]["code"]) == (504, "timeout")
        stream = client.post("/v1/completions", json={"prompt": "a", "max_tokens": 1_000_000, "temperature": 0, "stream": True})
        events = [json.loads(line[6:]) for line in stream.text.split("\n\n") if line and "[DONE]" not in line]
        assert events[-1]["error"]["code"] == "timeout"
        until(lambda: engine.running == 0)
    service.close()


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never comes true"
        time.sleep(0.005)
