"""Target tokens per CPU-second of training: regard's real loop, each trick switched off, a plain torch loop, peers.

python benchmarks/training_speed.py                                        # small Transformer, one thread
python benchmarks/training_speed.py --shape base --threads 2 --tricks none
python benchmarks/training_speed.py --tricks none --no-plain --steps 300 --preload libtcmalloc_minimal.so.4
python benchmarks/training_speed.py --peer "hf=python hf_train.py --bf16 --attn eager --steps 8"

The limit is what remains if a step were nothing but its matrix products in float32: no float32 toolkit passes it.
Every measurement is a process of its own; rounds are interleaved, so that a busy machine hurts all alike.
A peer is any command whose last RESULT line is JSON with `tok_cpu_s` (tokens per CPU-second), and `tok_s` and
`rss_mb` where it has them; it finds OMP_NUM_THREADS and PEERS_THREADS set. One that fails is told and left out.
Data: Multi30k from REGARD_DATA, else random ids of the same lengths.
"""

import argparse
import json
import os
import resource
import shlex
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from interleaved import in_turns, threads_are

VOCABULARY = 8000
# What regard does and a plain loop does not; `--without` takes these names.
TRICKS = ("bf16", "memory", "products", "loss", "dropout", "attention", "optimizer", "buckets")


class Result(NamedTuple):
    """One measurement. `cpu` and `wall` are target tokens per second; `memory` is the peak in MB."""

    cpu: float
    wall: float
    memory: float


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=["tiny", "small", "base", "rnn"], default="small")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--warm", type=int, default=3, help="steps before the clock starts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--tricks", choices=["each", "none"], default="each", help="switch each off in its turn")
    parser.add_argument("--no-plain", action="store_true", help="without the plain torch loops: regard and peers alone")
    parser.add_argument("--preload", metavar="LIBRARY", help="regard once more with another memory allocator")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--worker", choices=["regard", "plain", "products"], help=argparse.SUPPRESS)
    parser.add_argument("--without", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print("RESULT", json.dumps(_work(options)))
        return
    results = in_turns(
        _jobs(options),
        lambda found: Result(found["tok_cpu_s"], found.get("tok_s", 0.0), found.get("rss_mb", 0.0)),
        rounds=options.rounds,
        peers=options.peer,
        # Waiting threads must not burn the CPU time that is measured.
        environment={**threads_are(options.threads), "OMP_WAIT_POLICY": "passive"},
        tell=lambda result: f"{result.cpu:.0f}",
    )
    _print_table(options, results)


def _jobs(options: argparse.Namespace) -> dict[str, list[str]]:
    def worker(kind: str, *without: str) -> list[str]:
        settings = ("shape", "threads", "steps", "warm", "batch_tokens")
        words = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in settings]
        return [sys.executable, __file__, f"--worker={kind}", *words, f"--without={','.join(without)}"]

    jobs = {"regard": worker("regard"), "its products alone, fp32": worker("products")}
    if not options.no_plain:
        jobs |= {
            "plain torch, bf16": worker("plain"),
            "plain torch, bf16, memory kept": worker("plain", "default memory"),
            "plain torch, fp32": worker("plain", "bf16"),
        }
    if options.tricks == "each":
        jobs |= {f"regard without {trick}": worker("regard", trick) for trick in TRICKS}
        jobs["regard without any of them"] = worker("regard", *TRICKS)
    if options.preload:
        jobs[f"regard with {options.preload}"] = ["env", f"LD_PRELOAD={options.preload}", *worker("regard")]
    for peer in options.peer:
        name, _, command = peer.partition("=")
        jobs[name] = shlex.split(command)
    return jobs


def _print_table(options: argparse.Namespace, results: dict[str, list[Result]]) -> None:
    print(f"{options.shape}, {options.threads} thread(s), {options.rounds} rounds: medians (ranges)")
    print("| system | tokens per CPU-second | tokens per second | peak MB | regard is faster by |")
    print("|---|---|---|---|---|")
    for name, found in results.items():
        cpu, wall = [result.cpu for result in found], [result.wall for result in found]
        # Of the same round: what the machine did to one, it did to the other.
        ratio = statistics.median(ours.cpu / theirs.cpu for ours, theirs in zip(results["regard"], found, strict=True))
        memory = max(result.memory for result in found)
        print(
            f"| {name} | {statistics.median(cpu):,.0f} ({min(cpu):,.0f}-{max(cpu):,.0f}) "
            f"| {statistics.median(wall):,.0f} | {memory:,.0f} | {ratio:.2f} |"
        )


def _work(options: argparse.Namespace) -> dict[str, Any]:
    """One measurement, in this process."""
    import torch

    from regard.training import numerics

    without = set(options.without.split(",")) - {""}
    torch.set_num_threads(options.threads)
    if options.worker == "products":
        return _products_alone(options)
    if options.worker == "regard":
        if "products" in without:
            numerics.choose_matrix_products = lambda: "highest"  # type: ignore[assignment]
        if "memory" in without:
            numerics.keep_memory = lambda: False  # type: ignore[assignment]
        numerics.set_up_machine(threads=options.threads)
        steps = _regard_steps(options, without)
    else:
        if "default memory" in without:
            numerics.keep_memory()
        steps = _plain_steps(options, without)
    tokens, seconds, cpu_started = 0, 0.0, 0.0
    for number, (step_tokens, step_seconds) in enumerate(steps, 1):
        if number > options.warm:
            tokens, seconds = tokens + step_tokens, seconds + step_seconds
        if number == options.warm:
            cpu_started = time.process_time()
        if number == options.warm + options.steps:
            break
    cpu = time.process_time() - cpu_started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"tok_cpu_s": tokens / cpu, "tok_s": tokens / seconds, "rss_mb": memory}


def _regard_steps(options: argparse.Namespace, without: set[str]) -> Iterator[tuple[int, float]]:
    import torch

    from regard.protocol import Dimensions
    from regard.training.config import TrainingConfig
    from regard.training.events import Step
    from regard.training.loop import train
    from regard.training.state import TrainerState

    _switch_off(without)
    torch.manual_seed(1)
    config = TrainingConfig(
        steps=options.warm + options.steps,
        precision="fp32" if "bf16" in without else "auto",  # bf16 where the processor has it
        batch_tokens=options.batch_tokens,
    )
    model = _regard_model(options.shape, Dimensions(VOCABULARY, VOCABULARY, shared=True))
    state = TrainerState(model, config)
    batches = _batches(options.batch_tokens, bucketed="buckets" not in without)
    for event in train(model, batches, config, evaluate=lambda model, step: {"loss": 0.0}, state=state):
        if isinstance(event, Step):
            yield event.num_target_tokens, event.seconds


def _products_alone(options: argparse.Namespace) -> dict[str, Any]:
    """What float32 allows: as if nothing but the counted products were done, at the speed of one large product."""
    import torch
    from torch.nn import functional

    from regard.protocol import Dimensions

    rows, weights = torch.randn(options.batch_tokens, 256), torch.randn(1024, 256)
    times = []
    for _ in range(200):
        started = time.process_time()
        functional.linear(rows, weights)
        times.append(time.process_time() - started)
    speed = 2 * rows.numel() * len(weights) / statistics.median(times)
    model = _regard_model(options.shape, Dimensions(VOCABULARY, VOCABULARY, shared=True))
    epoch = _batches(options.batch_tokens, bucketed=True).epoch(0)
    batches = [epoch[number] for number in range(options.warm, options.warm + options.steps)]
    operations = sum(3 * model.flops(batch) for batch in batches)  # backward does twice what forward does
    return {"tok_cpu_s": sum(batch.num_target_tokens for batch in batches) * speed / operations}


def _plain_steps(options: argparse.Namespace, without: set[str]) -> Iterator[tuple[int, float]]:
    from plain_torch import build_plain, train_plain

    epoch = _batches(options.batch_tokens, bucketed=True).epoch(0)
    model = build_plain(options.shape, VOCABULARY)
    yield from train_plain(model, epoch, bf16="bf16" not in without)


def _regard_model(shape: str, dimensions: Any) -> Any:
    from regard.models import seq2seq, transformer

    if shape == "rnn":
        sizes = {"embedding_size": 512, "encoder_size": 512, "decoder_size": 512}
        return seq2seq.build(seq2seq.Config(**sizes, tied=True, dropout=0.1), dimensions)
    as_peers = transformer.Config(preset=shape, norm="post", dropout=0.1)
    return transformer.build(as_peers, dimensions)


def _switch_off(without: set[str]) -> None:
    """Put the plain way in the place of each trick."""
    import torch
    from torch.nn import functional

    from regard.attention import attention
    from regard.layers.dropout import Dropout
    from regard.symbols import PAD
    from regard.training import loop, state
    from regard.training.loss import Loss

    def plain_loss(output: Any, labels: Any, *, label_smoothing: float) -> Loss:
        logits, flat = output.logits.float().flatten(0, 1), labels.flatten()
        settings: dict[str, Any] = {"ignore_index": PAD, "label_smoothing": label_smoothing, "reduction": "sum"}
        total = functional.cross_entropy(logits, flat, **settings)
        return Loss(total, total.detach(), int((labels != PAD).sum()))

    if "loss" in without:
        loop.sequence_loss = plain_loss  # type: ignore[assignment]
    if "dropout" in without:
        Dropout.forward = lambda self, x: functional.dropout(x, self.probability, self.training)  # type: ignore[method-assign]
        Dropout.add = lambda self, x, y: x + functional.dropout(y, self.probability, self.training)  # type: ignore[method-assign]
    if "attention" in without:
        attention.FUSED_FROM = 0
    if "optimizer" in without:
        state.build_optimizer = lambda model, config: torch.optim.Adam(  # type: ignore[assignment]
            model.parameters(), betas=(0.9, 0.98), eps=1e-9
        )


def _batches(batch_tokens: int, *, bucketed: bool) -> Any:
    from regard.data.batching import Batches

    store = _store()
    if bucketed:
        return Batches(store, batch_tokens=batch_tokens, seed=1)
    return _Shuffled(store, batch_tokens)


class _Shuffled:
    """Sentences in random order, as many a batch as fit `batch_tokens` on average."""

    def __init__(self, store: Any, batch_tokens: int) -> None:
        self.store = store
        self.num_rows = max(1, int(batch_tokens / store.target_lengths.mean()))

    def epoch(self, epoch: int) -> Sequence[Any]:
        import numpy as np

        from regard.data.batching import collate

        order = np.random.default_rng(epoch).permutation(len(self.store))
        return [collate(self.store, order[i : i + self.num_rows]) for i in range(0, 40 * self.num_rows, self.num_rows)]


def _store() -> Any:
    """Multi30k English-German with 8,000 joint pieces, tokenised once; without it random ids of like lengths."""
    from regard.data.dataset import DataConfig, prepare

    root = Path(os.environ.get("REGARD_DATA", Path(__file__).parents[2] / "shared" / "data")) / "multi30k"
    if root.is_dir():
        settings = {"source": "en", "target": "de", "train": ["train"], "tokenizer": {"kind": "bpe"}}
        return prepare(DataConfig(root=str(root), cache=str(_scratch()), **settings)).train
    folder = _scratch() / "random"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "train.tsv").is_file():
        _write_random(folder / "train.tsv")
    settings = {"format": "tsv", "train": ["train.tsv"], "tokenizer": {"kind": "words", "size": VOCABULARY}}
    return prepare(DataConfig(root=str(folder), cache=str(_scratch()), **settings)).train


def _scratch() -> Path:
    return Path(os.environ.get("REGARD_SCRATCH", Path.home() / ".cache" / "regard-benchmarks"))


def _write_random(path: Path) -> None:
    import numpy as np

    generator = np.random.default_rng(0)
    lengths = generator.gamma(9.0, 1.7, (20_000, 2)).astype(int) + 2  # about Multi30k's, in pieces
    with path.open("w", encoding="utf-8") as file:
        for source, target in lengths:
            words = generator.integers(0, VOCABULARY, source + target).astype(str)
            print(" ".join(words[:source]), " ".join(words[source:]), sep="\t", file=file)


if __name__ == "__main__":
    main()
