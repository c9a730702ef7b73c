"""What tracing a sentence costs beside translating it: the search with its tree, and one replay with every attention.

    python benchmarks/tracing.py runs/small/model sentences.en

Processor time of this process, sentence by sentence and by turns; the same beam for both.
"""

import argparse
import statistics
import time
from pathlib import Path

import regard
from regard.pipelines.trace import trace_sentence
from regard.show.document import document


def spent(action) -> float:
    """Processor seconds of one call."""
    start = time.process_time()
    action()
    return time.process_time() - start


def main() -> None:
    """Print medians over the sentences, and the median of each sentence's own ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("sentences", type=Path)
    parser.add_argument("--number", type=int, default=50)
    given = parser.parse_args()
    translator = regard.load(given.model)
    lines = given.sentences.read_text(encoding="utf-8").splitlines()[: given.number]
    translator.translate(lines[0])  # what the first call sets up is not counted
    plain, traced, whole = [], [], []
    for line in lines:
        plain.append(spent(lambda line=line: translator.translate(line)))
        traced.append(spent(lambda line=line: trace_sentence(translator, line)))
        trace = trace_sentence(translator, line)
        whole.append(spent(lambda line=line, trace=trace: document(translator, trace, text=line)))
    ratio = statistics.median(b / a for a, b in zip(plain, traced, strict=True))
    print(f"{len(lines)} sentences, median processor milliseconds each:")
    print(f"translate {1e3 * statistics.median(plain):7.1f}")
    print(f"trace     {1e3 * statistics.median(traced):7.1f}   {ratio:.2f} times")
    print(f"document  {1e3 * statistics.median(whole):7.1f}   as JSON for the page, with the lessons")


if __name__ == "__main__":
    main()
