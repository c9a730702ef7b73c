"""The teachers of a run: other models' folders, and what they must have in common with the student."""

from collections.abc import Sequence

import torch

from regard.checkpoint.checkpoints import WEIGHTS
from regard.checkpoint.manifest import read_manifest
from regard.checkpoint.model_folder import LoadedModel, load_model
from regard.data.abstract_tokenizer import Tokenizer
from regard.data.dataset import DataConfig, Vocabularies
from regard.data.files import expanded
from regard.errors import UsageError
from regard.pipelines.features import fingerprint
from regard.protocol import Model, Seeing
from regard.training.distillation import TeacherConfig


def open_teachers(config: TeacherConfig | None, *, device: torch.device) -> list[LoadedModel]:
    """The models in `config.folders`, relative to the working directory; `~` is the home. They learn nothing.

    Raises:
        ModelError: a folder is missing, damaged or foreign.
    """
    teachers = [load_model(expanded(folder), device=device) for folder in (config.folders if config else ())]
    for teacher in teachers:
        teacher.model.requires_grad_(False)
    return teachers


def vocabularies_of(teacher: LoadedModel, config: DataConfig) -> Vocabularies:
    """The teacher's vocabularies, for a student whose recipe says `config`.

    Raises:
        UsageError: the recipe asks for tokenizers of another kind.
    """
    asked = (config.tokenizer or config.source_tokenizer, config.tokenizer or config.target_tokenizer)
    for side, tokenizer, wanted in zip(("source", "target"), teacher.vocabularies, asked, strict=True):
        if wanted is None or not isinstance(tokenizer, Tokenizer):
            continue
        if wanted.kind not in tokenizer.kinds:
            raise UsageError(
                f"training.teacher: {teacher.folder} has a {side} tokenizer of kind {tokenizer.kind}, and the student "
                f"has its teacher's, but the recipe asks for {wanted.kind}; take the teacher's settings over"
            )
    return teacher.vocabularies


def refuse_other_vocabularies(teachers: Sequence[LoadedModel], student: Vocabularies) -> None:
    """Accept teachers whose ids mean what the student's mean.

    Raises:
        UsageError: they do not.
    """
    for teacher in teachers:
        for side, theirs, ours in zip(("source", "target"), teacher.vocabularies, student, strict=True):
            if theirs.fingerprint != ours.fingerprint:
                raise UsageError(
                    f"training.teacher: the {side} vocabulary of {teacher.folder} ({theirs.size:,} symbols) is not the "
                    f"student's ({ours.size:,} symbols), so its probabilities are those of other words; take teachers "
                    "that share their vocabularies, and train the student in a new run folder, where it takes them "
                    "over, or from a start_from that has them"
                )


def refuse_other_eyes(teachers: Sequence[Model], student: Model) -> None:
    """Accept teachers that understand what the student's encoder of pictures sees, if that is all there is to read.

    Raises:
        UsageError: the student's encoder is frozen, so that pictures are read once, and a teacher's is another one.
    """
    ours = student.frozen_encoder if isinstance(student, Seeing) else None
    if ours is None:
        return
    for teacher in teachers:
        theirs = teacher.frozen_encoder if isinstance(teacher, Seeing) else None
        if theirs is None or fingerprint(theirs) != fingerprint(ours):
            raise UsageError(
                "training.teacher sees with another encoder than the student, whose own is frozen and reads every "
                "picture once, for all; set model.encoder.frozen=false"
            )


def teacher_fingerprints(teachers: Sequence[LoadedModel]) -> dict[str, str]:
    """SHA-256 of each teacher's weights, by a name for people: as much a source of the student as any corpus."""
    return {f"teacher {teacher.folder}": read_manifest(teacher.folder)[WEIGHTS].sha256 for teacher in teachers}
