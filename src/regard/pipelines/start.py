"""Beginning a run: a model that suits its data, perhaps with the weights and tokenizers of one that is trained."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from regard.checkpoint.model_folder import CONFIG, LoadedModel, load_model
from regard.data.dataset import DataConfig, Vocabularies, learn_target
from regard.data.files import expanded
from regard.data.tokenizer import Tokenizer
from regard.errors import UsageError
from regard.pipelines.teacher import vocabularies_of
from regard.pipelines.validation import metrics_for
from regard.protocol import Decodable, Labeller, Model
from regard.recipe import Recipe
from regard.training.finetuning import groups_of

_SHOWN = 3


def open_start(folder: str) -> LoadedModel:
    """The model in `folder`, which is relative to the working directory; `~` is the home.

    Raises:
        ModelError: the folder is missing, damaged or foreign.
    """
    return load_model(expanded(folder))


def given_vocabularies(
    recipe: Recipe, start: LoadedModel | None, teachers: Sequence[LoadedModel]
) -> Vocabularies | None:
    """Those of the model that a new run starts from, else of its teachers; None: learn new ones.

    Raises:
        UsageError: the recipe wants other ones.
    """
    if start is not None and (taken := _start_vocabularies(start, recipe.kind, recipe.data)) is not None:
        return taken
    return vocabularies_of(teachers[0], recipe.data) if teachers else None


def _start_vocabularies(start: LoadedModel, kind: str, data: DataConfig) -> Vocabularies | None:
    """Those of a model of the same kind; a model of another kind has other targets, so new ones are learnt: None.

    What a language model has read, a model that begins with its body reads as source, cut as the language model cut it.

    Raises:
        UsageError: the recipe wants the source cut in another way.
    """
    if _kind(start) == kind:
        return start.vocabularies
    if start.model.reads_source:
        return None
    read = start.vocabularies.target
    assert isinstance(read, Tokenizer), "a language model says texts"
    if data.source_tokenizer is None or data.source_tokenizer.kind not in read.kinds:
        raise UsageError(
            f"training.start_from: {start.folder} reads {read.kind}, and this model will read them too; "
            f"set data.source_tokenizer to {' or '.join(f'{{kind: {kind}}}' for kind in read.kinds)}"
        )
    return Vocabularies(read, learn_target(data, Path()))


def start_from(model: Model, start: LoadedModel, vocabularies: Vocabularies, kind: str) -> None:
    """Give `model`, of `kind`, the weights of `start`; of a model of another kind, those of the body that both have.

    Raises:
        UsageError: they are another model's, or the body reads another source.
    """
    ours, theirs = _to_begin_with(model, start, vocabularies, kind)
    differences = [
        f"{name} is {_shape(ours, name)} here and {_shape(theirs, name)} there"
        for name in sorted({*ours.state_dict(), *theirs.state_dict()})
        if _shape(ours, name) != _shape(theirs, name)
    ]
    if differences:
        more = f", and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        raise UsageError(
            f"training.start_from: {start.folder} holds another model than the recipe describes: "
            f"{'; '.join(differences[:_SHOWN])}{more}; take its block `model` over"
        )
    ours.load_state_dict(theirs.state_dict())


def _to_begin_with(
    model: Model, start: LoadedModel, vocabularies: Vocabularies, kind: str
) -> tuple[nn.Module, nn.Module]:
    """What gets weights and what has them: the two models, or their bodies."""
    theirs = start.model
    if _kind(start) == kind:
        return model, theirs
    if model.body is None or model.body != theirs.body:
        raise UsageError(
            f"training.start_from: {start.folder} holds a model of kind {_kind(start)}, and there is no part of it "
            f"with which one of kind {kind} can begin"
        )
    ours = getattr(model, model.body)
    if ours is None:
        raise UsageError(
            f"training.start_from: the recipe's model has no `{model.body}` that could be filled with that of "
            f"{start.folder}; describe it in the block `model`, as in {start.folder / CONFIG}"
        )
    if start.vocabularies.source != vocabularies.source:
        raise UsageError(
            f"training.start_from: the model of {start.folder} reads another source than this one; take its "
            "source_tokenizer over"
        )
    return ours, getattr(theirs, model.body)


def _kind(start: LoadedModel) -> str:
    return str(start.config.model_dump()["kind"])


def refuse_misfit(model: Model, vocabularies: Vocabularies, recipe: Recipe) -> None:
    """Accept a model that generates texts for targets that are texts, one that labels for labels, and a metric of such.

    Raises:
        UsageError: it is the other way round, or a tokenizer is not of the one kind that the model can do with, or the
            metric is not of what the model says, or parts shall learn apart that it has not, or two passes shall agree
            that cannot differ.
    """
    _refuse_tokenizers(model, vocabularies, recipe.kind)
    if recipe.training.finetuning is not None:
        _ = groups_of(model)  # or it has no parts that could learn apart
    if recipe.training.consistency is not None and not any(
        getattr(module, "probability", 0) for module in model.modules()
    ):
        raise UsageError(
            "training.consistency compares two passes that drop out different units, and this model drops none; "
            "set model.dropout, or leave consistency out"
        )
    metric, fitting = recipe.training.metric, metrics_for(model, vocabularies.target)
    if metric not in fitting:
        raise UsageError(
            f"training.metric is {metric}, which does not measure what a model of kind {recipe.kind} gives for a "
            f"target of kind {vocabularies.target.kind}; take {', '.join(fitting[:-1])} or {fitting[-1]}"
        )


def _refuse_tokenizers(model: Model, vocabularies: Vocabularies, kind: str) -> None:
    source, target = vocabularies
    needed = (("source", source, model.source_kind), ("target", target, model.target_kind))
    for side, tokenizer, wanted in needed:
        if wanted is not None and (not isinstance(tokenizer, Tokenizer) or tokenizer.kind != wanted):
            raise UsageError(f"a model of kind {kind} needs data.{side}_tokenizer: {{kind: {wanted}}}")
    if not target.ends_with_eos and not isinstance(model, Labeller):
        raise UsageError(
            f"a model of kind {kind} gives no labels, but data.target_tokenizer is of kind {target.kind}; "
            "take another one of the two"
        )
    if target.ends_with_eos and isinstance(model, Labeller) and not isinstance(model, Decodable):
        raise UsageError(
            f"a model of kind {kind} gives labels, but the target tokenizer is of kind {target.kind}; "
            "set data.target_tokenizer to {kind: labels}, or {kind: tags} for one a word"
        )


def _shape(module: nn.Module, name: str) -> str:
    tensor = module.state_dict().get(name)
    return "missing" if tensor is None else " x ".join(map(str, tensor.shape))
