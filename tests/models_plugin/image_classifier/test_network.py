"""The network, its schedule, and the variation of its pictures."""

from __future__ import annotations

import pytest
import torch

from modelyard.models_plugin.image_classifier.augmentation import Augmentation
from modelyard.models_plugin.image_classifier.loop import batch_sizes
from modelyard.models_plugin.image_classifier.network import SIZES, Network, parameter_count
from modelyard.models_plugin.image_classifier.normalisation import Histogram, Normalisation
from modelyard.models_plugin.image_classifier.schedule import Schedule


@pytest.mark.parametrize("architecture", SIZES)
@pytest.mark.parametrize(("side", "channels"), [(8, 1), (33, 3), (64, 3), (128, 1)])
def test_every_size_takes_every_picture(architecture: str, side: int, channels: int) -> None:
    network = Network(architecture, side, channels, 7)
    network.start(0)
    assert network.eval()(torch.rand(2, channels, side, side)).shape == (2, 7)


def test_the_three_sizes_differ_tenfold() -> None:
    small, medium, large = (parameter_count(Network(name, 32, 3, 10)) for name in SIZES)
    assert 50_000 < small < 100_000 < 5 * small < medium < large < 5_000_000


def test_the_same_seed_draws_the_same_weights() -> None:
    states = []
    for seed in (1, 1, 2):
        network = Network("small", 8, 1, 3)
        network.start(seed)
        states.append(network.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["stem.weight"], states[2]["stem.weight"])


def test_normalisation_is_part_of_the_network() -> None:
    plain, normal = Network("small", 8, 2, 3), Network("small", 8, 2, 3)
    for network in (plain, normal):
        network.start(0)
        network.eval()
    normal.normalise(Normalisation((0.5, 0.25), (0.5, 2.0)))
    pictures = torch.rand(4, 2, 8, 8)
    mean, std = torch.tensor([0.5, 0.25]), torch.tensor([0.5, 2.0])
    by_hand = (pictures - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(normal(pictures), plain(by_hand))
    assert {"mean", "std"} <= set(normal.state_dict())


def test_normalisation_is_the_mean_and_spread_of_all_pixels() -> None:
    pictures = torch.randint(0, 256, (50, 3, 6, 6), dtype=torch.uint8)
    histogram = Histogram(3)
    for part in pictures.split(7):
        histogram.add(part)
    found = histogram.normalisation()
    flat = pictures.double().div(255).transpose(0, 1).reshape(3, -1)
    torch.testing.assert_close(torch.tensor(found.mean).double(), flat.mean(1), check_dtype=False)
    std = flat.std(1, correction=0)
    torch.testing.assert_close(torch.tensor(found.std).double(), std, check_dtype=False)


def test_pictures_of_one_colour_do_not_divide_by_zero() -> None:
    histogram = Histogram(1)
    histogram.add(torch.full((2, 1, 4, 4), 7, dtype=torch.uint8))
    assert histogram.normalisation().std[0] > 0


def test_the_rate_rises_then_falls_to_the_decay_factor() -> None:
    schedule = Schedule(peak=1.0, factor=0.1, warmup=10, total=100)
    rates = [schedule.rate(step) for step in range(1, 101)]
    assert max(rates) == pytest.approx(1.0, abs=0.01) and rates.index(max(rates)) in (9, 10)
    assert rates[-1] == pytest.approx(0.1) and rates[0] < 0.1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    constant = Schedule(peak=1.0, factor=1.0, warmup=0, total=100)
    assert {constant.rate(step) for step in range(1, 101)} == {1.0}


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(64, [32, 32]), (65, [32, 33]), (66, [32, 32, 2]), (20, [20]), (2, [2]), (1, [1])],
)
def test_no_picture_is_left_out_and_none_is_alone(count: int, sizes: list[int]) -> None:
    assert batch_sizes(count, 32) == sizes


STRENGTHS = {
    "rotation": 45,
    "translation": 0.3,
    "scaling": 0.4,
    "flip": 1,
    "brightness": 0.5,
    "contrast": 0.5,
    "erasing": 1,
}


def varied(augmentation: Augmentation, pictures: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return augmentation(pictures.clone(), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", STRENGTHS)
def test_each_strength_changes_pictures_within_their_range(name: str) -> None:
    pictures = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    augmentation = Augmentation(**{name: STRENGTHS[name]})
    changed = varied(augmentation, pictures)
    assert changed.shape == pictures.shape
    assert changed.min() >= 0 and changed.max() <= 1
    assert all(not torch.equal(one, other) for one, other in zip(changed, pictures, strict=True))
    assert torch.equal(changed, varied(augmentation, pictures))
    if name != "flip":
        assert not torch.equal(changed, varied(augmentation, pictures, seed=1))


def test_without_strengths_pictures_stay_as_they_are() -> None:
    pictures = torch.rand(8, 1, 16, 16)
    assert torch.equal(varied(Augmentation(), pictures), pictures)


def test_a_flip_is_the_mirror_image() -> None:
    pictures = torch.rand(2, 1, 9, 12)
    torch.testing.assert_close(varied(Augmentation(flip=1), pictures), pictures.flip(3))


def test_a_shift_moves_by_its_part_of_the_side() -> None:
    pictures = torch.zeros(64, 1, 20, 20)
    pictures[:, :, 10, 10] = 1
    moved = varied(Augmentation(translation=0.25), pictures)
    far = [(one[0].argmax() // 20 - 10, one[0].argmax() % 20 - 10) for one in moved]
    assert 4 <= max(max(abs(int(row)), abs(int(column))) for row, column in far) <= 5
