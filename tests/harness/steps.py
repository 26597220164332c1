"""Training steps of all families on data of a shape, to be traced with values and without."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from modelwright.core.units import Budget
from modelwright.data.shape import made_up_batch, parse_shape
from modelwright.models.family import families
from modelwright.models.network import assemble, build_network
from modelwright.tasks.task import choose_task
from modelwright.training.config import TrainingConfig
from modelwright.training.rehearsal import rehearse

TEXT, IMAGE = "shape:text,vocabulary=50", "shape:image,channels=1,height=12,width=12,classes=5"
TABLE = "shape:table,numbers=4,categories=2,values=6,classes=3"
STEPS = {
    "decoder": (TEXT, {"family": "transformer", "width": 32, "depth": 2}),
    "experts": (TEXT, {"family": "transformer", "width": 32, "depth": 1, "experts": 2}),
    "language lstm": (TEXT, {"family": "lstm", "width": 32}),
    "hybrid": (TEXT, {"family": "hybrid", "width": 32}),
    "encoder": (IMAGE, {"family": "transformer", "width": 32, "depth": 2}),
    "cnn": (IMAGE, {"family": "cnn", "channels": [8, 16]}),
    "lstm": (IMAGE, {"family": "lstm", "width": 24}),
    "gru": (IMAGE, {"family": "gru", "width": 16}),
    "mlp": (TABLE, {"family": "mlp", "width": 32}),
    "columns": (TABLE, {"family": "transformer", "width": 32, "depth": 1}),
    "linear": (TABLE, {"family": "linear"}),
}


def traced(name, batch=4, *, values=False, clock=None, context=16, **training):
    """The trace of a step of `STEPS`, on real tensors if `values`."""
    path, model = STEPS[name]
    schema = parse_shape(path, context).schema
    family = families[model["family"]].model_validate(model)
    task = choose_task(schema).build(schema)
    settings = {"precision": "float32", "optimizer": "adamw", "compile": False, **training}
    config = TrainingConfig(budget=Budget(10, "steps"), batch_size=batch, memory_format="contiguous", **settings)
    config = config.replace(optimizer=config.optimizer.resolved(torch.device("cpu")))
    if values:
        torch.manual_seed(0)
        return rehearse(config, build_network(schema, family, task.outputs), task, made_up_batch(schema, batch), clock=clock)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cpu"):
        return rehearse(config, assemble(schema, family, task.outputs), task, made_up_batch(schema, batch))
