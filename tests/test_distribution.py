"""Two devices train as one does: the same losses, the same weights."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

CASES = ["deeploc-multiloc"]  # two_devices.py has others besides


@pytest.fixture(scope="module")
def found():
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "two_devices.py"), *CASES],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", CASES)
def test_two_devices_train_as_one_does(found, name):
    """Rows and weights are uneven: batches of 4 and 1, padding, labels that are not known."""
    case = found[name]
    np.testing.assert_allclose(case["two"], case["one"], rtol=1e-5, atol=1e-6)
    assert len(case["one"]) >= 5 and case["one"][1] != case["one"][0]
    assert case["moved"] > 1e-4
    assert case["apart"] < 1e-5


def test_what_two_devices_trained_predicts(found):
    assert found["deeploc-multiloc"]["predicted"]


def test_no_replica_goes_without_rows():
    from rnnzoo.distribution import rows_for_replicas

    for replicas in range(1, 9):
        for rows in range(1, 40):
            padded = rows_for_replicas(rows, replicas)
            share = -(-padded // replicas)
            assert rows <= padded <= rows + replicas * (replicas - 1)
            assert padded - share * (replicas - 1) > 0
