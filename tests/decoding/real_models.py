"""Tiny real models with every parameter drawn at random, and their teacher-forced scores."""

import torch
from torch import Tensor

from regard.models import bytenet, convs2s, gnmt, moe, seq2seq, transformer
from regard.protocol import Batch, Dimensions, Model
from regard.symbols import BOS, EOS, PAD

REAL = [
    ("transformer", {"norm": "post"}),
    ("transformer", {"norm": "pre"}),
    ("seq2seq", {"score": "additive", "input_feeding": True}),
    ("seq2seq", {"score": "none", "cell": "gru"}),
    ("bytenet", {"max_dilation": 2, "encoder_sets": 1, "decoder_sets": 1}),
    ("convs2s", {}),
    ("gnmt", {"encoder_layers": 3, "decoder_layers": 3}),
    ("moe", {"experts": {"number": 3, "used": 2}}),
]


def real_model(name: str, *, target: int = 6, seed: int = 3, sharpness: float = 0.4, **settings: object) -> Model:
    torch.manual_seed(seed)
    if name == "transformer":
        config = transformer.Config(size=8, num_layers=2, num_heads=2, feed_forward_size=12, tied=False, **settings)
        model = transformer.build(config, Dimensions(12, target))
    elif name == "bytenet":
        model = bytenet.build(bytenet.Config(size=6, tied=False, **settings), Dimensions(12, target))
    elif name == "convs2s":
        blocks = [convs2s.Blocks(layers=2, size=8, width=3)]
        config = convs2s.Config(embedding_size=6, encoder=blocks, decoder=blocks, **settings)
        model = convs2s.build(config, Dimensions(12, target))
    elif name == "gnmt":
        model = gnmt.build(gnmt.Config(size=8, tied=False, **settings), Dimensions(12, target))
    elif name == "moe":
        config = moe.Config.model_validate({"size": 8, "expert_size": 6, **settings})
        model = moe.build(config, Dimensions(12, target))
    else:
        config = seq2seq.Config(embedding_size=6, encoder_size=8, decoder_size=8, **settings)
        model = seq2seq.build(config, Dimensions(12, target))
    for key, parameter in model.named_parameters():
        gain = parameter.ndim == 1 and key.endswith("weight")
        torch.nn.init.normal_(parameter.detach(), mean=float(gain), std=sharpness if parameter.ndim > 1 else 0.2)
    return model.eval()


def forced_scores(model: Model, source: Tensor, tokens: list[int]) -> Tensor:
    """Natural-log probability of every token and of EOS, by one teacher-forced pass without neighbours."""
    batch = Batch(source[source != PAD][None], torch.tensor([[BOS, *tokens, EOS]]))
    with torch.no_grad():
        log_probs = model(batch).logits.log_softmax(-1)
    return log_probs.gather(-1, batch.labels.unsqueeze(-1)).flatten()
