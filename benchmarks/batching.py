"""What batching costs: padding, milliseconds a batch, seconds to tokenise. CPU seconds, not wall clock.

python benchmarks/batching.py ../shared/data
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from regard.data.batching import Batches
from regard.data.dataset import DataConfig, Dataset, prepare

Result = TypeVar("Result")

CORPORA: dict[str, dict[str, Any]] = {
    "Multi30k de-en, BPE 8k": {
        "root": "multi30k", "source": "de", "target": "en", "train": ["train"], "tokenizer": {"kind": "bpe"},
    },
    "Multi30k de-en, unigram 8k": {
        "root": "multi30k", "source": "de", "target": "en", "train": ["train"], "tokenizer": {"kind": "unigram"},
    },
    "Multi30k de-en, BPE 8k, dropout 0.1": {
        "root": "multi30k", "source": "de", "target": "en", "train": ["train"],
        "tokenizer": {"kind": "bpe", "sampling": 0.1},
    },
    "CMUdict, letters to phonemes": {
        "root": "g2p-cmudict-g014b2b", "format": "cmudict", "train": ["g014b2b.train.gz"],
        "source_tokenizer": {"kind": "characters"}, "target_tokenizer": {"kind": "symbols"},
    },
}  # fmt: skip


def timed(function: Callable[[], Result]) -> tuple[Result, float]:
    """The result, and the CPU seconds it took."""
    start = time.process_time()
    return function(), time.process_time() - start


def measure(dataset: Dataset, batch_tokens: int) -> str:
    """Padding and cost of the batches of one epoch."""
    batches = Batches(dataset.train, batch_tokens=batch_tokens, seed=1)
    epoch, planning = timed(lambda: batches.epoch(0))
    made, padding = timed(lambda: list(epoch))
    source = sum(batch.source.numel() for batch in made) / epoch.store.source_lengths.sum()
    target = sum(batch.labels.numel() for batch in made) / epoch.store.target_lengths.sum()
    return (
        f"  {batch_tokens:6,} tokens: {len(epoch):5,} batches, positions per real token {source:.3f} source "
        f"{target:.3f} target; epoch planned in {planning * 1e3:.0f} ms, {padding / len(epoch) * 1e3:.2f} ms a batch"
    )


def main() -> None:
    """Print one block a corpus."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    arguments = parser.parse_args()
    for name, settings in CORPORA.items():
        with tempfile.TemporaryDirectory() as cache:
            root = str(arguments.data.resolve() / settings["root"])
            config = DataConfig.model_validate({**settings, "root": root, "cache": cache})
            dataset, learning = timed(lambda: prepare(config))  # noqa: B023
            _, again = timed(lambda: prepare(config))  # noqa: B023
            print(f"{name}: {len(dataset.train):,} pairs, {dataset.vocabularies.dimensions}")
            print(f"  learnt and tokenised in {learning:.2f} s, found again in {again:.3f} s")
            for batch_tokens in (1024, 4096, 16_384):
                print(measure(dataset, batch_tokens))


if __name__ == "__main__":
    main()
