"""What a model says to a test set, and how well it expects the references."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from regard.cli.notices import Notices
from regard.cli.options import named_as_typed, option
from regard.errors import DataError, UsageError

if TYPE_CHECKING:
    from regard.data.corpus import Corpus, TestItem
    from regard.evaluation.metrics import Metric
    from regard.pipelines.caption import Captioner
    from regard.pipelines.classify import Classifier
    from regard.pipelines.classify_pictures import PictureClassifier
    from regard.pipelines.translate import Translator

    Reader = Translator | Classifier | Captioner | PictureClassifier

PERPLEXITY = "perplexity"  # the only metric of the model itself, not of its outputs


class Machine(NamedTuple):
    """Where and how many at once the test set is translated."""

    device: str
    threads: int | None
    batch_size: int


def open_reader(model: list[Path], machine: Machine) -> "Reader":
    """The models in these folders, an ensemble if there are several, as what reads such a test set."""
    from regard.checkpoint.model_folder import load_model
    from regard.pipelines.caption import Captioner
    from regard.pipelines.classify import Classifier
    from regard.pipelines.classify_pictures import PictureClassifier
    from regard.pipelines.translate import Translator
    from regard.training.numerics import set_up_inference

    device = set_up_inference(machine.device, threads=machine.threads)
    loaded = [load_model(folder, device=device) for folder in model]
    generates = loaded[0].vocabularies.target.ends_with_eos
    if loaded[0].vocabularies.reads_pictures:
        return Captioner(loaded) if generates else PictureClassifier(loaded)
    return Translator(loaded) if generates else Classifier(loaded)


def outputs_of(
    reader: "Reader",
    corpus: "Corpus",
    items: list["TestItem"],
    search: dict[str, Any],
    machine: Machine,
) -> list[str]:
    """What the model says to every item, searched for with these settings in the place of its own.

    Raises:
        UsageError: a setting is wrong, or given to a model that searches for nothing.
        DataError: a picture of the test set cannot be read.
    """
    from regard.pipelines.caption import Captioner
    from regard.pipelines.classify import Classifier
    from regard.pipelines.classify_pictures import PictureClassifier
    from regard.pipelines.picture_input import read_named

    sources = [item.source for item in items]
    if isinstance(reader, Classifier | PictureClassifier) and search:
        raise UsageError(f"{option(next(iter(search)))} has no effect on a model that gives labels")
    if isinstance(reader, PictureClassifier):
        assert corpus.pictures is not None
        seen = list(reader.stream(read_named(corpus.pictures, sources, reader.reader)))
        if unread := [each.notice or each.source for each in seen if each.pixels is None]:
            raise DataError(f"{len(unread):,} picture(s) of the test set cannot be read: {unread[0]}")
        return [each.label for each in seen]
    if isinstance(reader, Classifier):
        found = reader.classify(sources)
        _tell((each.source, each.notice) for each in found if each.notice)
        return [each.label for each in found]
    with named_as_typed(search):
        reader.settings(**search)
    if isinstance(reader, Captioner):
        assert corpus.pictures is not None
        pictures = ((source, reader.read_from(corpus.pictures, source)) for source in sources)
        return [caption.text for caption in reader.captions(pictures, batch_size=machine.batch_size, **search)]
    translations = reader.translate(sources, batch_size=machine.batch_size, **search)
    _tell((each.source, each.notice) for each in translations if each.notice)
    return [translation.text for translation in translations]


def as_learnt_by(reader: "Reader", items: list["TestItem"]) -> list["TestItem"]:
    """The items, their labels as the model would say them."""
    from regard.pipelines.label import as_learnt

    return [as_learnt(reader.vocabularies.target, item) for item in items]


def perplexity_of(reader: "Reader", corpus: "Corpus", items: list["TestItem"], machine: Machine) -> "Metric":
    """The perplexity of a piece of the references, the end of each counted.

    Raises:
        DataError: a reference holds what the model cannot say.
    """
    from regard.evaluation.metrics import Metric
    from regard.pipelines.translate import Translator
    from regard.training.information import perplexity

    assert isinstance(reader, Translator)
    pairs = [(item.source, reference) for item in items for reference in item.references]
    try:
        scored = reader.score(pairs, batch_size=machine.batch_size)
    except DataError as error:
        raise DataError(f"{corpus.name}: {error}") from None
    num_pieces = sum(len(each.token_scores) for each in scored)
    mean = -sum(each.score for each in scored) / num_pieces
    return Metric(PERPLEXITY, perplexity(mean), "unit:piece|refs:all|end:counted", higher_is_better=False)


def _tell(notices: Iterable[tuple[str, str]]) -> None:
    told = Notices()
    for source, notice in notices:
        told.tell(f"warning: {source[:60]!r}: {notice}")
    told.finish()
