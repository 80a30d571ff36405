"""Every workload keeps the contract."""

import pytest
from check_workload import TINY, check_workload

from modelyard.workloads.registry import NAMES, get_workload


@pytest.mark.parametrize("name", NAMES)
def test_workload_keeps_the_contract(name, tmp_path):
    check_workload(get_workload(name), folder=tmp_path)


def test_every_workload_has_tiny_settings_for_its_model_types():
    assert {name: set(settings) for name, settings in TINY.items()} == {
        name: set(get_workload(name).spec.model_types) for name in NAMES
    }
