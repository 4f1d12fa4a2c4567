import io
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from rich.console import Console

from training.augment import Augmentation
from training.dataset import Dataset
from training.errors import DataError
from training.methods import Method, Phase
from training.networks import Network, build_network
from training.phases import _line, _note, train
from training.posthoc import PostHoc, TauNorm
from training.progress import progress
from training.runlog import Epoch, RunLog, State
from training.sampling import Sampling
from training.setting import Schedule, Setting
from training.splits import Splits, split

NATURAL = Phase("natural", trainable="head", rate=0.1)
REBALANCED = Phase("rebalanced", Sampling("oversample"))


@pytest.fixture
def data() -> tuple[Dataset, Splits]:
    """Two classes told apart by brightness, 9:1, with enough noise that neither is certain."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [270, 30])
    level = np.where(labels == 1, 140, 110)[:, None, None, None]
    images = (level + rng.normal(0, 60, (300, 6, 6, 1))).clip(0, 255).astype(np.uint8)
    dataset = Dataset("made", ("dark", "bright"), images, labels, np.arange(300), np.full(300, "train"))
    return dataset, split(dataset, None, 0)


def trained(
    data: tuple[Dataset, Splits], phase: Phase, network: Network | None = None, seed: int = 0,
    post: PostHoc | None = None, **schedule: int,
) -> tuple[Network, list[Epoch]]:  # fmt: skip
    dataset, splits = data
    torch.manual_seed(seed)
    network = network or build_network("small", dataset.input, 2, dataset.images[splits.train])
    settings = {"epochs": 3, "batch_size": 32, "learning_rate": 0.05, "patience": 9, "momentum": 0.9}
    settings |= {"weight_decay": 5e-4, "seed": seed} | schedule
    setting = Setting(
        Fabric(accelerator="cpu", devices=1), dataset, splits, Augmentation("light", "both", 0.1),
        Schedule(**settings), np.ones(2),
    )  # fmt: skip
    return network, train(setting, network, Method((phase,), "here", post=post), RunLog(None, dataset.classes))


def state(network: Network) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_phase_2_changes_the_output_layer_and_nothing_else(data: tuple[Dataset, Splits]) -> None:
    network, _ = trained(data, REBALANCED)
    before = state(network)
    trained(data, NATURAL, network)
    changed = {name for name, value in state(network).items() if not torch.equal(value, before[name])}
    assert changed == {"head.weight", "head.bias"}  # batch-norm statistics rest as well


def test_phase_1_trains_everything(data: tuple[Dataset, Splits]) -> None:
    torch.manual_seed(0)
    before = state(build_network("small", data[0].input, 2, data[0].images[data[1].train]))
    network, _ = trained(data, REBALANCED)
    after = state(network)
    assert all(not torch.equal(after[n], before[n]) for n in after if n not in ("mean", "std"))


def test_a_seed_reproduces_the_weights_bit_for_bit(data: tuple[Dataset, Splits]) -> None:
    (first, curve), (again, same), (other, _) = (trained(data, REBALANCED, seed=seed) for seed in (5, 5, 6))
    assert all(torch.equal(a, b) for a, b in zip(state(first).values(), state(again).values(), strict=True))
    assert [epoch.train_loss for epoch in curve] == [epoch.train_loss for epoch in same]
    assert not torch.equal(first.head.weight, other.head.weight)


def test_the_weights_that_remain_are_the_best_ones(data: tuple[Dataset, Splits]) -> None:
    network, curve = trained(data, REBALANCED, epochs=8)
    best = min(epoch.calibrate_loss for epoch in curve if epoch.calibrate_loss is not None)
    assert class_mean_nll(network, data) == pytest.approx(best, rel=1e-5)


def class_mean_nll(network: Network, data: tuple[Dataset, Splits]) -> float:
    dataset, splits = data
    labels = dataset.labels[splits.calibrate]
    network.eval()
    with torch.no_grad():
        log_p = network(torch.from_numpy(dataset.images[splits.calibrate])).log_softmax(1).numpy()
    losses = -log_p[np.arange(len(labels)), labels]
    return float(np.mean([losses[labels == k].mean() for k in (0, 1)]))


def test_patience_ends_a_phase(data: tuple[Dataset, Splits]) -> None:
    _, curve = trained(data, REBALANCED, epochs=60, patience=2)
    assert len(curve) < 60
    best = min(range(len(curve)), key=lambda i: curve[i].calibrate_loss or 0.0)
    assert len(curve) - 1 - best == 2


def test_without_a_calibrate_split_all_epochs_are_trained(data: tuple[Dataset, Splits]) -> None:
    dataset, _ = data
    _, curve = trained((dataset, split(dataset, None, 0, holdout=False)), REBALANCED, epochs=2, patience=1)
    assert [epoch.calibrate_loss for epoch in curve] == [None, None]


def test_a_loss_that_is_no_longer_finite_ends_the_run_by_name(data: tuple[Dataset, Splits]) -> None:
    with pytest.raises(DataError, match=r"rebalanced, epoch \d: the loss is no longer finite; try a lower"):
        trained(data, REBALANCED, learning_rate=1e30)


def test_no_tau_can_be_chosen_without_a_calibrate_split_which_is_said_before_training(
    data: tuple[Dataset, Splits],
) -> None:
    dataset, _ = data
    splits = split(dataset, None, 0, holdout=False)
    network = build_network("small", dataset.input, 2, dataset.images[splits.train])
    before = state(network)
    with pytest.raises(DataError, match="expected tau-norm:tau=… without a calibrate split"):
        trained((dataset, splits), REBALANCED, network, post=TauNorm(None))
    assert all(torch.equal(value, before[name]) for name, value in state(network).items())
    trained((dataset, splits), REBALANCED, post=TauNorm(0.5), epochs=1)


def test_an_epoch_on_synthetic_features_is_as_long_as_any(data: tuple[Dataset, Splits]) -> None:
    """Buda et al. 2018 compare at equal iterations; oversampling 9:1 would make 1.8 times as many."""
    drawn: list[int] = []

    class Counted(RunLog):
        def write(self, state: State, losses: Sequence[float], rate: float) -> None:
            drawn.append(len(losses))

    dataset, splits = data
    network = build_network("small", dataset.input, 2, dataset.images[splits.train])
    setting = Setting(
        Fabric(accelerator="cpu", devices=1), dataset, splits, Augmentation("none", "none", 0.0),
        Schedule(1, 8, 0.05, 9, 0.9, 5e-4, 0), np.ones(2),
    )  # fmt: skip
    phases = NATURAL, Phase("balanced", Sampling("oversample"), trainable="head", smote=True)
    train(setting, network, Method(phases, "here"), Counted(None, dataset.classes))
    assert drawn == [-(-len(splits.train) // 8)] * 2


def test_where_nobody_watches_each_epoch_is_a_line(
    data: tuple[Dataset, Splits], capsys: pytest.CaptureFixture[str]
) -> None:
    _, curve = trained(data, REBALANCED, epochs=2)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" train ")[0] for line in lines] == ["rebalanced: epoch 1/2", "rebalanced: epoch 2/2"]
    assert f" train {curve[1].train_loss:.4f} calibrate {curve[1].calibrate_loss:.4f} best " in lines[1]
    assert lines[1].endswith(" images/s")


def test_a_bar_fits_into_80_columns() -> None:
    row = Epoch("rebalanced", 13, 12.3456, 12.3456, 1.0, 12345.6)
    screen = Console(file=io.StringIO(), width=80, force_terminal=True)
    with progress(screen) as bars:
        bars.add_task("rebalanced epoch 113/200", total=234567, completed=123456, note=_note(row))
        shown = "".join(segment.text for segment in screen.render(bars.get_renderable()))
    assert "rebalanced epoch 113/200" in shown
    assert "123456/234567" in shown
    assert "loss 12.346 12.346" in shown
    assert len(_line(row, State(best_loss=1.0), 200)) < 100
