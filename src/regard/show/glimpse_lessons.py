"""Two lessons on a picture that is seen in glimpses: what a glimpse is, and what each adds (Mnih et al. 2014)."""

import math
from collections.abc import Sequence
from typing import Any

from regard.pipelines.trace import SentenceTrace
from regard.show.lesson import Lesson, Place, Question, as_data


def glimpse_lessons(trace: SentenceTrace, labels: Sequence[str]) -> list[dict[str, Any]]:
    """The lessons of one picture; `labels` are what the model would have said after each glimpse."""
    return as_data([_sensor(trace), _certainty(trace, labels)])


def _sensor(trace: SentenceTrace) -> Lesson:
    assert trace.glimpses is not None
    steps, scales, _ = trace.glimpses.shape
    width = int(trace.glimpses[0, 0, 3])
    lines = [
        f"Glimpse {number}: {width} × {width} pixels from row {int(top) + 1}, column {int(left) + 1}."
        for number, (top, left, _, _) in enumerate(trace.glimpses[:, 0].tolist(), 1)
    ]
    lines.append(
        f"Every glimpse has {scales} scale{'s' * (scales > 1)}; each sees twice as wide as the one before and is made "
        f"as small as the finest, {width} × {width}: sharp in the middle, coarse around it."
    )
    question = Question(
        "However large the picture is: how many numbers a channel do all glimpses take in together?",
        float(steps * scales * width * width),
    )
    return Lesson(
        "A glimpse", "ρ(x, l): patches of w, 2w, 4w, … around l", lines, question, Place(None, 0, 0, 0, "step")
    )


def _certainty(trace: SentenceTrace, labels: Sequence[str]) -> Lesson:
    lines = [
        f"After glimpse {number}: “{label}” with {math.exp(step.log_prob):.3f}, entropy {step.entropy:.3f} nats."
        for number, (step, label) in enumerate(zip(trace.steps, labels, strict=True), 1)
    ]
    lines.append(
        "The core h takes every glimpse in; what it would say is there after each, though it says it only once."
    )
    question = Question(
        "By how many nats does the entropy fall from the first glimpse to the last?",
        trace.steps[0].entropy - trace.steps[-1].entropy,
        tolerance=0.02,
    )
    place = Place(None, 0, len(trace.steps) - 1, 0, "step")
    return Lesson("Each look makes it surer", "h_t = f(h_{t−1}, g_t),  p_t = softmax(V h_t)", lines, question, place)
