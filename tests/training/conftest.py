from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def settings_of_torch_are_given_back() -> Iterator[None]:
    """For tests that set up the machine: number of threads and precision of products are as before afterwards."""
    precision, threads = torch.get_float32_matmul_precision(), torch.get_num_threads()
    yield
    torch.set_float32_matmul_precision(precision)
    torch.set_num_threads(threads)
