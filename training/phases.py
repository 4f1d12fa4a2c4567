"""The training loop: phase after phase, epoch after epoch, from wherever an earlier attempt got to."""

import copy
import sys
import time
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from training.descent import Descent, set_mode
from training.errors import DataError
from training.examples import Examples, ImageExamples, synthesised
from training.inference import features_of, judge
from training.lead import Lead
from training.methods import Method, Phase
from training.networks import Network
from training.posthoc import Evidence
from training.progress import progress, report
from training.runlog import Epoch, RunLog, State
from training.sampling import Sampler
from training.setting import Setting

MOST_LOOKED_AT = 10_000


def train(
    setting: Setting, network: Network, method: Method, log: RunLog, *, resume: bool | None = False
) -> list[Epoch]:
    """Train `network` in place by all phases of a method and return the learning curve.

    A resumed run ends with the very weights of one that was never interrupted (on the same devices). DataError where
    the method looks at calibrate images and there are none.
    """
    if method.post is not None and method.post.looks and setting.splits.calibrate.size == 0:
        raise DataError("expected tau-norm:tau=… without a calibrate split: there is nothing to choose it on")
    lead = Lead(setting.fabric.global_rank == 0, setting.fabric.broadcast)
    state: State = lead.broadcast(lead.alone(lambda: _begun(log, resume)))
    log.state = state
    setting.fabric.to_device(network)
    if state.network is not None:
        network.load_state_dict(state.network)
    for number in range(state.phase, len(method.phases)):
        state = train_phase(setting, network, method.phases[number], replace(state, phase=number), log)
        state = State(phase=number + 1, network=network.state_dict(), curve=state.curve)
        log.save(state)
    return state.curve


def _begun(log: RunLog, resume: bool | None) -> State:
    """Where to go on from; says so on standard error."""
    state, kept = (State(), log.restart()) if resume is False else (log.resume(), None)
    if state.curve:
        print(f"resuming after {state}", file=sys.stderr)
    elif resume:
        print("nothing to resume: training anew", file=sys.stderr)
    if kept is not None:
        print(f"training anew, without --resume; {kept} is the checkpoint of an attempt that was stopped, and stays "
              "until this one is finished", file=sys.stderr)  # fmt: skip
    return state


def train_phase(setting: Setting, network: Network, phase: Phase, state: State, log: RunLog) -> State:
    """One phase, from the epoch after `state.epoch`; the weights that remain are those of its best epoch.

    Best, and patience, go by the loss that the phase minimises, on the calibrate split with its classes weighed as the
    phase draws them: a balanced loss would end a natural phase 2 at its first epoch. Without a calibrate split, all
    epochs are trained and the last weights remain.
    """
    fabric, schedule = setting.fabric, setting.schedule
    if phase.fresh and state.epoch == 0:
        _start_anew(network.head, seed=schedule.seed)
    examples = _examples(setting, network, phase)
    origin = [schedule.seed, 1 + state.phase]
    sampler = Sampler(phase.sampling, examples.labels, schedule.batch_size, np.random.default_rng(origin),
                      size=len(setting.labels))  # fmt: skip
    epochs = max(1, round(schedule.epochs * phase.length))
    mix = phase.sampling.mix(setting.counts)
    loss = phase.loss.on(setting.counts, mix, setting.weights, fabric.device)
    descent = Descent(setting, network, phase, loss, total=epochs * sampler.steps, warm=sampler.steps)
    descent.load(state, done=state.epoch * sampler.steps)
    for _ in range(state.epoch):
        sampler.epoch()

    with progress() as bars:
        bar = bars.add_task(phase.name, total=epochs * sampler.steps, completed=state.epoch * sampler.steps, note="")
        for epoch in range(state.epoch + 1, epochs + 1):
            if state.best is not None and state.epoch - state.best_epoch >= schedule.patience:
                break
            begun = time.monotonic()
            bars.update(bar, description=f"{phase.name} epoch {epoch}/{epochs}")
            torch.manual_seed(_mixed(*origin, epoch, fabric.global_rank))
            set_mode(network, head_only=phase.trainable == "head")
            drawn = sampler.epoch()
            losses = torch.empty(len(drawn), device=fabric.device)  # not a list: see `inference._outputs`
            batches = examples.batches(drawn, [*origin, epoch], setting.share, fabric.device)
            for i, (rows, batch) in enumerate(zip(drawn, batches, strict=True)):
                losses[i] = descent.step(batch, len(rows))
                bars.advance(bar)
            steps = descent.summed(losses)
            if not np.isfinite(steps).all():
                raise DataError(
                    f"{phase.name}, epoch {epoch}: the loss is no longer finite; try a lower --learning-rate"
                )
            descent.agree()
            speed = sum(map(len, drawn)) / (time.monotonic() - begun)
            judged, recalls = judge(setting, network, loss, mix)
            row = Epoch(phase.name, epoch, float(np.mean(steps)), judged, time.monotonic() - begun, speed, recalls)
            state = _after(state, row, network, descent)
            log.write(state, steps, descent.rate)
            log.save(state)
            bars.update(bar, note=_note(row))
            report(_line(row, state, epochs))
    if state.best is not None:
        network.load_state_dict(state.best)
    return state


def _after(state: State, row: Epoch, network: Network, descent: Descent) -> State:
    """The state with one more epoch."""
    optimizer, scaler = descent.saved()
    after = replace(state, epoch=row.epoch, network=network.state_dict(), optimizer=optimizer, scaler=scaler,
                    curve=[*state.curve, row])  # fmt: skip
    if row.calibrate_loss is None or not row.calibrate_loss < state.best_loss:
        return after
    return replace(after, best=copy.deepcopy(after.network), best_loss=row.calibrate_loss, best_epoch=row.epoch)


def _note(row: Epoch) -> str:
    """For a bar on a terminal of 80 columns: losses on train and calibrate images."""
    calibrate = "" if row.calibrate_loss is None else f" {row.calibrate_loss:.3f}"
    return f"loss {row.train_loss:.3f}{calibrate}"


def _line(row: Epoch, state: State, epochs: int) -> str:
    calibrate = "" if row.calibrate_loss is None else f" calibrate {row.calibrate_loss:.4f} best {state.best_loss:.4f}"
    return (
        f"{row.phase}: epoch {row.epoch}/{epochs} train {row.train_loss:.4f}{calibrate} "
        f"{row.images_per_second:,.0f} images/s"
    )


def _examples(setting: Setting, network: Network, phase: Phase) -> Examples:
    dataset, rows = setting.dataset, setting.splits.train
    if not phase.smote:
        return ImageExamples(dataset.images, rows, setting.labels, setting.augment, setting.workers)
    features = features_of(network, dataset.images, rows, setting.fabric.device, workers=setting.workers)
    return synthesised(features, setting.labels, phase.sampling, setting.schedule.seed)


def after_training(setting: Setting, network: Network, method: Method) -> None:
    """What the method does to the output layer, in place. It may look at calibrate images, never at tune or test."""
    if method.post is None:
        return
    draw = np.random.default_rng([setting.schedule.seed, 97])  # rows are in the data's order: class after class
    rows = draw.permutation(setting.splits.calibrate)[: MOST_LOOKED_AT if method.post.looks else 0]
    device, labels = setting.fabric.device, torch.from_numpy(setting.dataset.labels[rows])
    features = features_of(network, setting.dataset.images, rows, device, workers=setting.workers).to(device)
    method.post(network, Evidence(setting.counts, features, labels.to(device)))


def _start_anew(head: nn.Module, seed: int) -> None:
    torch.manual_seed(_mixed(seed, 0))
    for layer in head.modules():
        if (reset := getattr(layer, "reset_parameters", None)) is not None:
            reset()


def _mixed(*numbers: int) -> int:
    """One seed of several."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
