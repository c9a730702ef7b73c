"""The slide's claim, measured: the layers between two words grow linearly, logarithmically, or not at all."""

import sys

import pytest

from documented_commands import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from dependency_paths import SYSTEMS, layers_needed


@pytest.mark.parametrize(("system", "layers"), [("ConvS2S", [4, 16]), ("ByteNet", [3, 5]), ("Transformer", [1, 1])])
def test_layers_between_words_8_and_32_places_apart(system, layers):
    assert [layers_needed(SYSTEMS[system], distance) for distance in (8, 32)] == layers
