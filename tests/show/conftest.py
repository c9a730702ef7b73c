from pathlib import Path

import pytest
from shown_models import save

from regard.pipelines.translate import Translator, load


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "transformer"
    return save(folder, "transformer", size=16, num_layers=2, num_heads=2, feed_forward_size=32)


@pytest.fixture(scope="session")
def translator(model_folder) -> Translator:
    return load(model_folder)
