"""Sentences per CPU-second of decoding: regard in float32 and int8, Hugging Face where installed, other peers.

python benchmarks/decoding_speed.py                              # small Transformer, one thread
python benchmarks/decoding_speed.py --beams 5 --batches 32 --rounds 5
python benchmarks/decoding_speed.py --peer "ct2=python infer.py ct2 ct2_small --fixed 15 --beam {beam} --batch {batch}"

Random weights, 15 output tokens exactly (14 and the end of the sentence), sources of 15 random tokens, 8,000 symbols:
all engines do the same work. Every measurement is a process of its own; rounds are interleaved, so that a busy
machine hurts all alike. A peer is any command whose last RESULT line is JSON with `sent_cpu_s` (sentences per
CPU-second); `{beam}` and `{batch}` are put in, OMP_NUM_THREADS and PEERS_THREADS set. One that fails is told and left
out.
"""

import argparse
import importlib.util
import json
import resource
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from interleaved import in_turns, threads_are

VOCABULARY = 8000
LENGTH = 15
SHAPES = {"small": (256, 3, 4, 1024), "base": (512, 6, 8, 2048)}  # size, layers, heads, feed-forward size


class Result(NamedTuple):
    """One measurement: sentences per CPU-second, and the peak of memory in MB."""

    speed: float
    memory: float


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=list(SHAPES), default="small")
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--seconds", type=float, default=4.0, help="of CPU time for each measurement")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--worker", choices=list(WORKERS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print("RESULT", json.dumps(_work(options)))
        return
    for beam in options.beams:
        for batch in options.batches:
            _compare(options, beam, batch)


def _compare(options: argparse.Namespace, beam: int, batch: int) -> None:
    jobs = {name: _worker(options, name, beam, batch) for name in ("regard", "regard int8")}
    if importlib.util.find_spec("transformers"):
        jobs |= {name: _worker(options, name, beam, batch) for name in ("hugging face", "hugging face int8")}
    for peer in options.peer:
        name, _, command = peer.partition("=")
        jobs[name] = shlex.split(command.format(beam=beam, batch=batch))
    results = in_turns(
        jobs,
        lambda found: Result(found["sent_cpu_s"], found.get("rss_mb", float("nan"))),
        rounds=options.rounds,
        peers=options.peer,
        environment=threads_are(options.threads),
        tell=lambda result: f"{result.speed:.1f}",
    )
    print(f"\n{options.shape}, beam {beam}, batch {batch}, {options.threads} thread(s), {options.rounds} rounds\n")
    print("| engine | sentences per CPU-second (min-max) | of regard's | MB |\n|---|---|---|---|")
    for name, measured in results.items():
        speeds = [result.speed for result in measured]
        ratios = [result.speed / ours.speed for result, ours in zip(measured, results["regard"], strict=True)]
        memory = max(result.memory for result in measured)
        median, ratio = statistics.median(speeds), statistics.median(ratios)
        print(
            f"| {name} | {median:.1f} ({min(speeds):.1f}-{max(speeds):.1f}) | {ratio:.2f} | {memory:.0f} |", flush=True
        )


def _worker(options: argparse.Namespace, name: str, beam: int, batch: int) -> list[str]:
    settings = {"shape": options.shape, "seconds": options.seconds, "threads": options.threads}
    words = [f"--{key}={value}" for key, value in settings.items()]
    return [sys.executable, __file__, f"--worker={name}", *words, f"--beams={beam}", f"--batches={batch}"]


def _work(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    (beam,), (batch,) = options.beams, options.batches
    source = torch.randint(4, VOCABULARY, (batch, LENGTH))
    decode = WORKERS[options.worker](options, source, beam)
    decode()
    rounds, start = 0, time.process_time()
    while (seconds := time.process_time() - start) < options.seconds:
        decode()
        rounds += 1
    return {
        "sent_cpu_s": rounds * batch / seconds,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _regard(options: argparse.Namespace, source: Any, beam: int) -> Callable[[], object]:
    from regard.decoding.search import SearchConfig, search
    from regard.layers.int8_linear import to_int8
    from regard.models import transformer
    from regard.protocol import Dimensions
    from regard.symbols import EOS

    source[:, -1] = EOS
    as_peers = transformer.Config(preset=options.shape, norm="post")
    model = transformer.build(as_peers, Dimensions(VOCABULARY, VOCABULARY, shared=True)).eval()
    if options.worker.endswith("int8"):
        model = to_int8(model)
    config = SearchConfig(beam_size=beam, min_length=LENGTH - 1, max_length=LENGTH - 1)
    return lambda: search(model, source, config)


def _hugging_face(options: argparse.Namespace, source: Any, beam: int) -> Callable[[], object]:
    import warnings

    import torch
    from transformers import MarianConfig, MarianMTModel

    size, layers, heads, feed_forward = SHAPES[options.shape]
    sides = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in
             (("layers", layers), ("attention_heads", heads), ("ffn_dim", feed_forward))}  # fmt: skip
    config = MarianConfig(
        vocab_size=VOCABULARY, d_model=size, pad_token_id=0, eos_token_id=3, decoder_start_token_id=0,
        activation_function="relu", **sides,
    )  # fmt: skip
    model = MarianMTModel(config).eval()
    if options.worker.endswith("int8"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear})
    source[:, -1] = 3
    settings = {"max_new_tokens": LENGTH, "min_new_tokens": LENGTH, "num_beams": beam, "do_sample": False}

    def decode() -> object:
        with torch.inference_mode():
            mask = torch.ones_like(source)
            return model.generate(input_ids=source, attention_mask=mask, early_stopping=beam > 1, **settings)

    return decode


WORKERS = {"regard": _regard, "regard int8": _regard, "hugging face": _hugging_face, "hugging face int8": _hugging_face}

if __name__ == "__main__":
    main()
