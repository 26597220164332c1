"""The batcher: what it does with those who went away."""

import threading

import pytest
from harness.served import table_bundle

from modelwright.data.prediction import conform, parse_json_rows
from modelwright.serving.batcher import Batcher
from modelwright.serving.engine import ClosedError
from modelwright.serving.predictor import Predictor


def test_a_batcher_that_is_closed_tells_those_who_still_wait(monkeypatch):
    bundle = table_bundle()
    predictor = Predictor(bundle)
    examples = conform(
        parse_json_rows([{"age": 1, "hours per week": 2, "<b>job</b>": None}], "input", bundle.config.data),
        bundle.config.data_schema,
        "test",
    )
    entered, go, real = threading.Event(), threading.Event(), predictor.predict

    def slow(given):
        entered.set()
        assert go.wait(30)
        return real(given)

    monkeypatch.setattr(predictor, "predict", slow)
    batcher = Batcher(predictor, rows=1, queue=9)
    first = batcher.submit(examples)
    assert entered.wait(30)
    gone, waiting = batcher.submit(examples), batcher.submit(examples)
    assert gone.cancel()
    closing = threading.Thread(target=batcher.close)
    closing.start()
    while not batcher._closed:
        pass
    go.set()
    closing.join(30)
    assert len(first.result(30)) == 1
    with pytest.raises(ClosedError):
        waiting.result(30)
