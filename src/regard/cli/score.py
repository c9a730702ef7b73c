"""Score given translations: how probable the model finds each."""

import json
import sys
from collections.abc import Iterator
from itertools import islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regard.cli.options import Device, Json, Threads, keep_inputs, named_as_typed
from regard.cli.translate import BatchSize, LengthPenalty, Models, open_models, writer
from regard.errors import DataError, UsageError

if TYPE_CHECKING:
    from regard.pipelines.translate import Translation

EXAMPLES = """
regard score -m runs/small/model input.en output.de > scores.txt
regard score -m runs/small/model pairs.tsv --word-scores
regard score -m runs/words/model train.en train.de --dictionary words.tsv > scores.txt
paste input.en output.de | regard score -m runs/small/model
regard score -m runs/questions-lm/model questions.txt
"""


def command(
    model: Models = None,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="SOURCE TARGET, or one file of `source<TAB>target`."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write; .gz, .zst compress.")] = None,
    length_penalty: LengthPenalty = None,
    batch_size: BatchSize = 32,
    word_scores: Annotated[bool, typer.Option("--word-scores", help="Add the log-probability of each piece.")] = False,
    dictionary: Annotated[
        Path | None, typer.Option("--dictionary", help="Write which word is which, for translate --replace-unk.")
    ] = None,
    as_json: Json = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Print for each pair the natural log of the target's probability and its normalised score, a line a pair.

    With --dictionary, a file is written that says which target word goes with each source word, source<TAB>target:
    run over the training pairs, it also knows the words that the vocabulary lacks.

    The end of the sentence counts; --word-scores adds it, last, behind the scores of the pieces. The sum over all
    pairs and the perplexity of a piece go to standard error. For a language model every line is a text without source.
    """
    keep_inputs(files or [], output)
    search = {} if length_penalty is None else {"length_penalty": length_penalty}
    translator = open_models(model, device=device, threads=threads)
    with named_as_typed(search):
        translator.settings(**search)
    from regard.pipelines.dictionary import WordLinks, write_dictionary

    total, num_tokens, row, links = 0.0, 0, 0, WordLinks()
    with writer(output) as write:
        read = _pairs(files or []) if translator.reads_source else _texts(files or [])
        for pairs in _chunks(read):
            try:
                done = translator.score(pairs, batch_size=batch_size, first_row=row, **search)
            except DataError as error:
                raise DataError(f"{' and '.join(map(str, files or [Path('standard input')]))}: {error}") from None
            if dictionary is not None:
                translator.look_at_all(done, batch_size=batch_size)
                for (source, target), scored in zip(pairs, done, strict=True):
                    links.add(source, target, scored.alignment if scored.ids else [])
            for number, scored in enumerate(done, row):
                write(_json(number, scored) if as_json else _plain(scored, word_scores=word_scores))
                total, num_tokens = total + scored.score, num_tokens + len(scored.token_scores)
            row += len(pairs)
    if dictionary is not None:
        write_dictionary(dictionary, links.dictionary())
        skipped = f"; {links.num_skipped:,} pairs, whose words could not be told apart, are not in it"
        sys.stderr.write(f"regard: wrote {dictionary}{skipped if links.num_skipped else ''}\n")
    if num_tokens:
        from regard.training.information import perplexity

        of_a_piece = perplexity(-total / num_tokens)
        sys.stderr.write(f"regard: {row:,} pairs, log-probability {total:.4f}, perplexity {of_a_piece:.4f} a piece\n")


def _pairs(files: list[Path]) -> Iterator[tuple[str, str]]:
    from regard.cli.lines import input_chunks
    from regard.data.text import MAX_CHARACTERS

    if len(files) > 2:
        raise UsageError(f"{len(files)} files; name the source and the target, or one file with both")
    if len(files) == 2:
        sides = ((line for chunk in input_chunks([], path) for line in chunk) for path in files)
        for number, (source, target) in enumerate(zip_longest(*sides), 1):
            if source is None or target is None:
                longer, shorter = files if target is None else reversed(files)
                raise DataError(
                    f"{longer} has a line {number}, but {shorter} ends before it; line i must translate line i"
                )
            yield source, target
        return
    where = files[0] if files else "standard input"
    for number, line in enumerate((x for chunk in input_chunks([], files[0] if files else None) for x in chunk), 1):
        source, tab, target = line.partition("\t")
        if len(line) > MAX_CHARACTERS and not tab:
            raise DataError(f"{where}:{number}: a line of more than {MAX_CHARACTERS:,} characters; split it")
        if not tab:
            raise DataError(f"{where}:{number}: no tab; a line is `source<TAB>target`")
        yield source, target.partition("\t")[0]


def _texts(files: list[Path]) -> Iterator[tuple[str, str]]:
    """Lines without source, for a language model."""
    from regard.cli.lines import input_chunks

    if len(files) > 1:
        raise UsageError(f"{len(files)} files, but a language model reads no source: name one file of texts")
    for chunk in input_chunks([], files[0] if files else None):
        yield from (("", line) for line in chunk)


def _chunks(pairs: Iterator[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    while chunk := list(islice(pairs, 1024)):
        yield chunk


def _plain(scored: "Translation", *, word_scores: bool) -> str:
    fields = [f"{scored.score:.4f}", f"{scored.normalised_score:.4f}"]
    if word_scores:
        fields.append(" ".join(f"{score:.4f}" for score in scored.token_scores))
    return "\t".join(fields)


def _json(number: int, scored: "Translation") -> str:
    values = {
        "id": number,
        "source": scored.source,
        "target": scored.text,
        "score": scored.score,
        "normalised_score": scored.normalised_score,
        "tokens": scored.tokens,
        "token_scores": scored.token_scores,
    }
    return json.dumps(values, ensure_ascii=False)
