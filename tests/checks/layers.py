"""What the layers must keep; called by the tests and by the mutation suite."""

import torch
from torch.testing import assert_close

from checks.oracle import sines
from regard.layers import positional_encoding
from regard.layers.dropout import Dropout


def dropout_keeps_the_mean() -> None:
    """As many elements fall as promised, and what stays makes up for them exactly."""
    torch.manual_seed(0)
    for probability in (0.1, 0.3, 0.5, 0.9):
        dropped = Dropout(probability).train()(torch.ones(400_000))
        share = (dropped == 0).float().mean()
        assert abs(share - probability) < 0.004, f"{share:.4f} dropped instead of {probability}"
        choices = round(probability * 65536)
        assert_close(dropped.max(), torch.tensor(65536 / (65536 - choices)))
        assert abs(dropped.mean() - 1) < 0.02, "the mean has changed"


def dropout_draws_every_element_for_itself() -> None:
    """No two neighbours, nor elements four apart (four are cut from one random number), fall together."""
    torch.manual_seed(1)
    dropped = (Dropout(0.5).train()(torch.ones(400_000)) == 0).float() - 0.5
    for distance in range(1, 9):
        together = 4 * (dropped[distance:] * dropped[:-distance]).mean()
        assert abs(together) < 0.01, f"elements {distance} apart are correlated by {together:.3f}"
    by_place = dropped.reshape(-1, 4).mean(0)
    assert (by_place.abs() < 0.01).all(), "one of the four places falls more often"


def sines_follow_the_formula() -> None:
    """Sine at even components, cosine at odd ones, interleaved, from any position on."""
    assert_close(positional_encoding.sinusoids(0, 20, 6), sines(20, 6), rtol=0, atol=1e-12)
    assert_close(positional_encoding.sinusoids(7, 20, 5), sines(20, 5)[7:], rtol=0, atol=1e-12)
