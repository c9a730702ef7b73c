"""How nearly the METEOR-like score follows METEOR, and what the caption metrics cost.

python benchmarks/caption_metrics.py ../shared/data/caption-scorer-fixtures/*.json.gz

The files are scored captions: {"items": [{"hypothesis", "references", "scores": {"METEOR"}}]}.
"""

import argparse
import gzip
import json
import time
from pathlib import Path

import numpy as np

from regard.evaluation.metrics import METRICS, caption_values


def main() -> None:
    """One block a file: correlation with METEOR, then seconds of each metric."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    for path in parser.parse_args().files:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            items = json.load(file)["items"]
        hypotheses = [item["hypothesis"] for item in items]
        references = [item["references"] for item in items]
        ours = np.array(caption_values("meteor-like", hypotheses, references))
        theirs = np.array([item["scores"]["METEOR"] for item in items])
        print(f"{path.name}: {len(items)} items")
        print(f"  METEOR {theirs.mean():.4f}, METEOR-like {ours.mean():.4f}")
        print(f"  correlation {np.corrcoef(ours, theirs)[0, 1]:.3f}, of ranks {_ranks(ours, theirs):.3f}")
        for name in ("bleu-4", "rouge-l", "cider-d", "meteor-like"):
            start = time.process_time()
            value = METRICS[name](hypotheses, references).value
            print(f"  {name:12} {value:6.2f}  {time.process_time() - start:5.2f} s")


def _ranks(ours: np.ndarray, theirs: np.ndarray) -> float:
    first, second = (values.argsort().argsort() for values in (ours, theirs))
    return float(np.corrcoef(first, second)[0, 1])


if __name__ == "__main__":
    main()
