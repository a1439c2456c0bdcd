"""The golden runs: the code computes what it did when the versions of behavior in experiments.store were written."""

import pytest

from experiments import golden


@pytest.mark.parametrize("name", golden.FILES)
def test_the_code_computes_what_the_golden_runs_hold(name):
    assert not golden.differences(golden.FILES[name](), golden.stored(name), f"{name}: ")
