"""What a run needs of the disk, told while there is nothing to lose yet."""

from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from regard.checkpoint.publish import space_asked_for
from regard.checkpoint.storage import Storage
from regard.errors import UserError
from regard.pipelines.memory import bytes_of_moments, gigabytes
from regard.protocol import Model
from regard.recipe import Recipe
from regard.training.state import TrainerState


def warnings(recipe: Recipe, model: Model, state: TrainerState, folder: Path) -> list[str]:
    """What to tell where the run folder `folder` may outgrow its disk; else nothing.

    Raises:
        UserError: there is no room for a single checkpoint, so that nothing learnt could ever be kept.
    """
    free, weights = Storage().free_bytes(folder), _bytes_of(model.state_dict().values())
    training = recipe.training
    checkpoint = weights + _bytes_of(state.tensors().values())
    if not state.position.step:  # no update has made the optimizer's moments yet
        checkpoint += bytes_of_moments(training, sum(parameter.numel() for parameter in model.parameters()))
    if free < space_asked_for(checkpoint):
        raise UserError(
            f"{folder}: there is no room for a checkpoint, which asks for {gigabytes(space_asked_for(checkpoint))}, "
            f"and {gigabytes(free)} are free on this disk; make room, or name another folder with --output"
        )
    # The best one may be an older one, and a new one is complete before the oldest goes.
    number = max(training.keep_checkpoints, training.average) + 2
    needed = number * checkpoint + weights
    free += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if needed <= free:
        return []
    return [
        f"the disk of {folder} may become full: {number} checkpoints and the model take about {gigabytes(needed)}, and "
        f"{gigabytes(free)} are free; make room, or keep fewer with training.keep_checkpoints"
    ]


def _bytes_of(tensors: Iterable[Tensor]) -> int:
    """Without what shares its memory with another, as tied weights do."""
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())
