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


def test_a_backend_that_is_not_ours_is_left_alone():
    from types import SimpleNamespace

    from rnnzoo import keras_files

    known = {}
    for backend in ("jax", "tensorflow"):
        keras = SimpleNamespace(
            config=SimpleNamespace(backend=lambda: backend),  # noqa: B023
            saving=SimpleNamespace(get_custom_objects=lambda: known),
        )
        keras_files._register(keras)
        assert bool(known) == (backend == "tensorflow")


def test_every_class_that_a_file_of_keras_may_name_has_a_stand_in():
    import inspect

    import keras

    from rnnzoo import keras_files, registry
    from rnnzoo.manifest import package_manifest

    for entry in package_manifest().entries.values():
        registry.family_class(entry.family)
    registered = {
        name.removeprefix("rnnzoo>"): value.__module__
        for name, value in keras.saving.get_custom_objects().items()
        if name.startswith("rnnzoo>") and inspect.isclass(value)
    }
    assert registered == keras_files.CLASSES


def test_names_of_the_face():
    import rnnzoo

    for name in rnnzoo.__all__:
        assert getattr(rnnzoo, name) is not None
    assert set(dir(rnnzoo)) == set(rnnzoo.__all__)
