"""Which dtype policy is taken."""

import pytest
import tensorflow as tf

from rnnzoo import precision
from rnnzoo.errors import InputError


def test_every_policy_can_be_named_and_nothing_else():
    for name in precision.POLICIES[1:]:
        assert precision.resolve(name) == name
    with pytest.raises(InputError, match="mixed_float16"):
        precision.resolve("half")


@pytest.mark.parametrize(
    ("capability", "expected"),
    [(None, "float32"), ((6, 1), "float32"), ((7, 0), "mixed_float16"), ((9, 0), "mixed_float16")],
)
def test_auto_depends_on_the_gpu(monkeypatch, capability, expected):
    gpus = [] if capability is None else ["gpu"]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda gpu: {"compute_capability": capability},
    )
    assert precision.resolve("auto") == expected
