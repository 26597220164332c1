"""`grow`: a trained network becomes the start of a larger one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from modelwright.core.config import validate
from modelwright.core.errors import InputError
from modelwright.core.run import Run, write_atomic
from modelwright.core.units import format_count
from modelwright.data.dataset import Dataset
from modelwright.evaluation.examplewise import ErrorLog
from modelwright.evaluation.summary import Evaluation, label
from modelwright.growth.network import Equality, Grown, compare_outputs, grow_network
from modelwright.metrics.estimate import show
from modelwright.models.family import FamilyConfig
from modelwright.models.network import Network, build_network
from modelwright.nn.token_head import TokenHead
from modelwright.reporting.view import read_view
from modelwright.serving.bundle import Bundle, load_bundle, save_bundle
from modelwright.training.machine import prepare_machine
from modelwright.workflows.finish import Outcome, bundle_config, keep_errors, prove, say_shipped, ship
from modelwright.workflows.job import Job, Probe, device, probe, read
from modelwright.workflows.judge import affordable, judge, what_is_judged
from modelwright.workflows.recipe import Recipe, apply, dump_recipe, load_recipe
from modelwright.workflows.reporter import Reporter
from modelwright.workflows.train import run_job

COMPARED, COMPARED_TEXTS = 512, 32
"""Validation examples on which outputs are compared; a window of text is dear."""
CALIBRATED = 2048
"""Training examples that the batch norms of further layers see."""
BATCH = 64
"""Examples at a time."""
DIFFERENCE = "difference at start"
"""What the ledger calls the largest difference of an output from that of the run that it was grown from."""
DEEPER, WIDER = 0.25, 0.5
"""Most of the run's learning rate that is kept where the network gets deeper, and where it gets wider only: see `rate_after_growing`."""
LEAST_RATE = 0.01
"""Least part of it that is kept."""


def grow(
    run: Path | str,
    *,
    width: float = 1,
    depth: float = 1,
    budget: str | float | None = None,
    output: Path | str | None = None,
    settings: Iterable[str] = (),
    reporter: Reporter | None = None,
    started: float | None = None,
) -> Outcome:
    """Carry a run's model over into a wider and deeper one, see that it gives the same outputs, and train it on in a new run folder.

    Args:
        run: the folder of a finished run.
        width: factor of the width, at least 1.
        depth: factor of the number of layers, at least 1.
        budget: what training may spend; that of the run by default; 0 grows only.
        output: the run folder to make.
        settings: `dotted.key=value` changes of the run's recipe.
        reporter: whom to tell; nobody by default.
        started: `time.monotonic()` from which a budget of seconds counts; now by default.

    Raises:
        InputError: the run is not finished or its data is not there, the network can't grow so, or the grown one gives other outputs.
        DivergedError: the loss stopped being a number.
        RunInterrupted: the user asked to stop; everything is saved, and `train` goes on with it.
    """
    started = time.monotonic() if started is None else started
    reporter = reporter or Reporter()
    prepare_machine()
    parent = Run.open(run)
    bundle = load_bundle(parent.path)
    if width == depth == 1:
        raise InputError("nothing is to grow", expected="a factor above 1", remedy="Give --width 2, --depth 2 or both")
    recipe, only = _scoring_alike(load_recipe(parent.recipe), bundle.network), budget in (0, "0")

    def changed(family: FamilyConfig, slower: float = 1) -> Recipe:
        return _changed(recipe, family, settings, None if only else budget, slower)

    dataset = read(changed(bundle.config.model), reporter)
    _check_data(dataset, bundle, recipe)
    grown = _grown(bundle, dataset, width, depth, recipe.seed)
    job = Job.make(changed(grown.family), dataset)
    network = _as_set(job, grown.network)
    compared = COMPARED_TEXTS if dataset.schema.kind == "text" else COMPARED
    equality = compare_outputs(bundle.network, network, _inputs(dataset, "validation", compared))
    sizes = {"parameters_before": _parameters(bundle.network), "parameters": _parameters(network)}
    details = {"run": str(parent.path), "width": width, "depth": depth, **sizes, "equality": equality.to_json()}
    _say(job, details, equality, reporter)
    timed = probe(job)
    timed = replace(timed, job=timed.job.on(affordable(dataset, [timed])))
    if only:
        return _ship_only(timed.job, network, details, output, reporter, started)
    share = _share(parent, timed, started)
    slower = changed(grown.family, rate_after_growing(depth, share, again=parent.start.exists())).training.optimizer
    reporter.say("rate", _rate(slower.learning_rate, recipe.training.optimizer.learning_rate, share))
    timed = replace(timed, job=timed.job.replace(optimizer=slower.resolved(device())))
    new = Run.create(job.recipe.name, None if output is None else Path(output))
    with new.interruptible("train"):
        new.ledger.measure(DIFFERENCE, "1", equality.difference)
        save_bundle(new.start, bundle_config(job), network)
        timed = replace(timed, job=replace(timed.job, start=new.start))
        outcome = run_job(new, timed, reporter, started, details={"growth": details})
    _say_gain(parent, outcome.evaluation, reporter)
    return outcome


def _grown(bundle: Bundle, dataset: Dataset, width: float, depth: float, seed: int) -> Grown:
    """The larger network of a bundle.

    Raises:
        InputError: it can't grow so.
    """
    config, batches = bundle.config, _inputs(dataset, "train", CALIBRATED)
    return grow_network(
        bundle.network,
        dataset.schema,
        config.model,
        width=width,
        depth=depth,
        stem=config.stem,
        head=config.head,
        batches=batches,
        seed=seed,
    )


def rate_after_growing(depth: float, share: float, *, again: bool = False) -> float:
    """The learning rate of a grown network, over that with which the run began.

    A rate that is too high loses first what was learnt, and a short training doesn't win it back; one that is too low leaves repeated channels alike
    for long. The best one goes with the length of the training (see LOG.md); Chen et al. 2016 (Net2Net, section 3.3) go on with a tenth.

    Args:
        depth: factor of the number of layers.
        share: examples that training goes on for, over those that the run was trained on.
        again: whether the run was grown itself, so that its rate is low already.
    """
    most = 1.0 if again else DEEPER if depth != 1 else WIDER
    return min(max(share, LEAST_RATE), most)


def _share(parent: Run, timed: Probe, started: float) -> float:
    """Examples that training goes on for, over those that the run was trained on; 1 if it wasn't trained or doesn't tell."""
    metrics = read_view(parent).metrics
    before = metrics[-1].get("samples", 0) if metrics else 0
    steps, budget = timed.job.planned_steps, timed.job.training.budget
    if steps is None:
        steps = timed.training_seconds(budget.amount - (time.monotonic() - started)) / timed.step_seconds
    return steps * timed.job.training.batch_size / before if before else 1.0


def _rate(rate: float, before: float, share: float) -> str:
    """The learning rate in a line, beside that of the run."""
    return f"learning rate {rate:.2g}, {rate / before:.2g} times the run's, for {share:.2g} times the examples that it was trained on"


def _changed(recipe: Recipe, family: FamilyConfig, settings: Iterable[str], budget: str | float | None, slower: float) -> Recipe:
    """The recipe of the grown network: that of the run, with its family's settings, a lower learning rate, and what the user sets."""
    values = recipe.model_dump(mode="json")
    optimizer = values["training"]["optimizer"]
    optimizer |= {key: slower * rate for key, rate in optimizer.items() if key.endswith("learning_rate") and rate is not None}
    values["name"] = recipe.name if recipe.name.endswith("-grown") else f"{recipe.name}-grown"
    values["model"] = family.model_dump(mode="json")
    # It was chosen for the smaller network, from fresh weights.
    values["training"]["max_epochs"] = None
    apply(values, settings, {"training.budget": budget})
    return validate(Recipe, values)


def _scoring_alike(recipe: Recipe, network: Network) -> Recipe:
    """A recipe whose settings transfer from a smaller model, with the scale by which the network scores tokens: `auto` would follow its growth."""
    if recipe.transfer is None or not isinstance(network.head, TokenHead):
        return recipe
    return recipe.replace(head=recipe.head.replace(scale=network.head.scale))


def _check_data(dataset: Dataset, bundle: Bundle, recipe: Recipe) -> None:
    """See that data and splits are those of the run, so that its test split stays unseen.

    Raises:
        InputError: they aren't.
    """
    if dataset.digest() != bundle.config.data_digest:
        raise InputError(
            "the data or its splits are not those that the run was trained on, and what was held out there must stay held out",
            where=recipe.data.path,
            remedy="Bring the data back, and leave seed and data as they are; another place of it is told by --set data.path=PLACE",
        )


def _inputs(dataset: Dataset, split: str, most: int) -> Iterator[dict[str, Tensor]]:
    """Inputs of examples that are evenly spread over a split; of the training split if there is none of that name."""
    examples = dataset.splits.get(split, dataset.train)
    return (batch.inputs for batch in examples.sample(most).batches(BATCH))


def _as_set(job: Job, network: Network) -> Network:
    """The grown weights in a network built as the recipe says.

    Raises:
        InputError: a setting changes the shape of the network.
    """
    recipe = job.recipe
    built = build_network(job.dataset.schema, recipe.model, job.task.outputs, stem=recipe.stem, head=recipe.head, seed=recipe.seed)
    weights, names = [*network.state_dict().values()], [*built.state_dict()]
    # By order, as dropout may be a layer of its own, which changes the numbers of those behind it.
    if [tensor.shape for tensor in weights] != [tensor.shape for tensor in built.state_dict().values()]:
        raise InputError(
            "the settings change the shape of the network", expected="settings beside it", remedy="Change the shape by --width and --depth"
        )
    built.load_state_dict(dict(zip(names, weights, strict=True)))
    return built.eval()


def _say(job: Job, details: dict[str, Any], equality: Equality, reporter: Reporter) -> None:
    """Tell what grew, and whether the outputs stayed the same.

    Raises:
        InputError: they didn't.
    """
    if not equality.holds:
        raise InputError(
            f"the grown network would give other outputs: on {equality.examples} examples they differ by up to {equality.difference:.2g}, and the "
            f"largest is {equality.largest:.2g}",
            expected="settings that leave alone what the network computes",
        )
    before, after = (format_count(details[key]) for key in ("parameters_before", "parameters"))
    reporter.say("grow", f"{job.family} {before} -> {after} parameters · width x{details['width']:g}, depth x{details['depth']:g}")
    reporter.say(
        "check",
        f"same outputs on {equality.examples} examples: largest difference {equality.difference:.1e} of {equality.largest:.3g}, "
        f"same answers {100 * equality.agreement:.4g} %",
    )


def _ship_only(
    job: Job, network: Network, details: dict[str, Any], output: Path | str | None, reporter: Reporter, started: float
) -> Outcome:
    """Judge the grown network as it is, and write it into a run folder."""
    run = Run.create(job.recipe.name, None if output is None else Path(output))
    with run.interruptible("grow"):
        reporter.attach(run.log)
        write_atomic(run.recipe, dump_recipe(job.recipe))
        if (told := what_is_judged(job.dataset)) is not None:
            reporter.say("note", told)
        errors = ErrorLog(job.task)
        evaluation = judge(job, network.to(device()), {}, errors)
        run.ledger.measure(DIFFERENCE, "1", details["equality"]["difference"])
        run.ledger.measure("parameters", "1", details["parameters"])
        size = ship(run, job, network, evaluation)
        keep_errors(run, job, errors)
        run.write_json(run.state, {"digest": job.dataset.digest(), "held_out": job.dataset.held_out_sizes, "details": {"growth": details}})
    prove(run, evaluation, reporter)
    say_shipped(run, size, reporter)
    return Outcome(run, evaluation, time.monotonic() - started, {"family": job.family, "steps": 0, "growth": details})


def _say_gain(parent: Run, evaluation: Evaluation, reporter: Reporter) -> None:
    """Put the run's own score beside that of the network that grew from it."""
    if not parent.evaluation.is_file():
        return
    before = Evaluation.from_json(json.loads(parent.evaluation.read_text(encoding="utf-8")))
    shown = " -> ".join(show(each.primary, each.score) for each in (before, evaluation))
    reporter.say("grew", f"{evaluation.judged} {label(evaluation.primary)} {shown}")


def _parameters(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
