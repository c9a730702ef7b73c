"""What a recipe would cost, before it is run."""

from regard.checkpoint.model_folder import dimensions_of
from regard.data.batching import CPU_BATCH_TOKENS, Batches
from regard.data.dataset import prepare
from regard.pipelines.batches import training_batches
from regard.pipelines.memory import count_parameters, estimate, gigabytes, refuse_too_large
from regard.pipelines.start import given_vocabularies, open_start, refuse_misfit, start_from
from regard.pipelines.teacher import open_teachers, refuse_other_vocabularies
from regard.protocol import Model
from regard.recipe import Recipe
from regard.training.memory import free_memory
from regard.training.numerics import choose_device


def describe_plan(recipe: Recipe, *, device: str = "auto") -> str:
    """Sizes of data and model, number of steps, and the memory of the weights, as lines of text.

    Prepares the data: tokenizers are learnt and stores are built, and the real run finds the stores ready. What the
    real run would refuse is refused here.

    Raises:
        DataError: a corpus cannot be read.
        ModelError: the model to start from, or a teacher, cannot be opened.
        UsageError: data, model, start, teachers and metric do not fit together, or there is no such device.
    """
    training, place = recipe.training, choose_device(device)
    start = None if training.start_from is None else open_start(training.start_from)
    teachers = open_teachers(training.teacher, device=place)
    dataset = prepare(recipe.data, given_vocabularies(recipe, start, teachers))
    dimensions = dimensions_of(dataset.vocabularies)
    refuse_too_large(recipe, dimensions, place)
    model = recipe.build(dimensions)
    refuse_misfit(model, dataset.vocabularies, recipe)
    refuse_other_vocabularies(teachers, dataset.vocabularies)
    if start is not None:
        start_from(model, start, dataset.vocabularies, recipe.kind)
    batch_tokens = CPU_BATCH_TOKENS if training.batch_tokens == "auto" else training.batch_tokens
    batches = training_batches(training, dataset, model, batch_tokens=batch_tokens)
    epoch = batches.epoch(0)
    steps = -(-len(epoch) // training.accumulate)
    shared = ", shared" if dimensions.shared else ""
    lines = [
        *dataset.report,
        f"vocabularies: {dimensions.source:,} source, {dimensions.target:,} target{shared}",
        f"model: {recipe.kind}, {count_parameters(recipe, dimensions):,} parameters",
        f"epoch: {steps:,} steps, {int(dataset.train.source_lengths.sum()):,} source and "
        f"{int(dataset.train.target_lengths.sum()):,} target tokens",
        f"run: until {_limits(recipe, steps)}",
        f"memory: {_memory(recipe, model.to(place), batches)}",
    ]
    return "".join(f"{line}\n" for line in lines)


def _memory(recipe: Recipe, model: Model, batches: Batches) -> str:
    device = next(model.parameters()).device
    needs, free = estimate(recipe, model, batches), free_memory(device)
    return (
        f"about {gigabytes(sum(needs))}: {gigabytes(needs.weights)} for weights, gradients and moments, "
        f"{gigabytes(needs.batch)} for the largest batch; "
        f"{'unknown how much is' if free is None else gigabytes(free)} free ({device})"
    )


def _limits(recipe: Recipe, steps_per_epoch: int) -> str:
    training = recipe.training
    limits = []
    if training.steps is not None:
        limits.append(f"step {training.steps:,} ({training.steps / steps_per_epoch:.1f} epochs)")
    if training.epochs is not None:
        limits.append(f"epoch {training.epochs:,} ({training.epochs * steps_per_epoch:,} steps)")
    if training.minutes is not None:
        limits.append(f"{training.minutes:g} minutes of training")
    if training.patience is not None:
        limits.append(f"{training.patience} evaluations without a better {training.metric}")
    return " or ".join(limits)
