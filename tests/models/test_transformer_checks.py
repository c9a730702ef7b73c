"""The Transformer passes every check that any model must pass, and equals torch's."""

import pytest

from checks.making import transformer_model
from checks.models import INVARIANTS
from checks.oracle import equals_torch_transformer

VARIANTS = {
    "post": {},
    "pre": {"norm": "pre", "activation": "gelu", "bias": False},
    "learned": {"positions": "learned", "max_length": 8, "tied": False, "activation_dropout": 0.2},
    "rotary": {"positions": "rotary", "norm": "pre"},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("check", INVARIANTS, ids=lambda check: check.__name__)
def test_it_keeps_the_invariant(check, variant):
    check(lambda **settings: transformer_model(**(VARIANTS[variant] | settings)))


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_it_equals_torch_transformer(norm, activation):
    equals_torch_transformer(transformer_model, norm=norm, activation=activation)
