"""Importing rnnzoo is quick and changes nothing of others."""

import subprocess
import sys


def _python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_importing_and_listing_import_no_tensorflow():
    code = (
        "import sys, rnnzoo; rnnzoo.list_models(); str(rnnzoo.info('seq2seq-en-fr'));"
        "print([m for m in ('tensorflow', 'keras', 'huggingface_hub') if m in sys.modules])"
    )
    assert _python(code) == "[]"


def test_importing_sets_no_seed_policy_backend_or_logger():
    code = (
        "import os, random, logging, numpy; before = (dict(os.environ), random.getstate()[1][:3], "
        "logging.root.level, list(logging.root.handlers)); import rnnzoo; "
        "print(before == (dict(os.environ), random.getstate()[1][:3], logging.root.level, "
        "list(logging.root.handlers)))"
    )
    assert _python(code) == "True"


def test_names_of_the_face():
    import rnnzoo

    for name in rnnzoo.__all__:
        assert getattr(rnnzoo, name) is not None
    assert set(dir(rnnzoo)) == set(rnnzoo.__all__)
