"""Bulk prediction on Ray Data (an extra): a model in each worker, on one machine or many.

`BatchPredictor` is what `ray.data.Dataset.map_batches` takes; `map_in_order` runs one over a stream
of blocks, as `rnnzoo predict --workers` does. A block whose worker died, or that ended in an error,
is done again, up to three times, by a worker that Ray started anew where one died. One that fails
each time ends the run (Ray's `max_errored_blocks` is 0), as otherwise its rows would be missing.
The driver holds the blocks of one round, and no more.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rnnzoo import registry
from rnnzoo.errors import InputError, MissingDependencyError, WorkerError

_BLOCKS_OF_A_ROUND = 32  # for each worker
_RETRIES = 3


class BatchPredictor:
    """`predict` for batches of plain columns; a callable class of `map_batches`.

    Ray makes one in each worker, where the model is loaded, so that only names and numbers travel.

    Parameters
    ----------
    name : str
        As `rnnzoo.load` takes it; each worker has to find what it names.
    inputs : sequence of str
        The column that `predict` gets, or several, whose values it gets as tuples: ("name",
        "sequence") for proteins.
    load_options : mapping, optional
        Keyword arguments of `rnnzoo.load`: dtype, adapter, quantize, ...
    threads : int, optional
        Threads of TensorFlow's operators, where several workers share a machine; by default one for
        each processor.
    **options
        Keyword arguments of `predict`.

    Raises
    ------
    InputError
        If `inputs` names no column, or `threads` are no whole number above 0; when called, for a
        column that a batch does not have, and for what `predict` refuses.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.bulk import BatchPredictor
    >>> translate = BatchPredictor("seq2seq-en-fr", inputs=["english"], beam_size=1)
    >>> translate({"english": np.array(["Yes.", "No."], object)})["text"]
    ['Oui.', 'Non.']

    On Ray, in the order of the rows:

    >>> import ray  # doctest: +SKIP
    >>> ray.data.DataContext.get_current().execution_options.preserve_order = True  # doctest: +SKIP
    >>> french = ray.data.read_text("english.txt").map_batches(  # doctest: +SKIP
    ...     BatchPredictor,
    ...     fn_constructor_kwargs={"name": "seq2seq-en-fr", "inputs": ["text"]},
    ...     batch_size=256,
    ...     compute=ray.data.ActorPoolStrategy(size=2),
    ... )
    >>> french.write_parquet("french")  # doctest: +SKIP
    """

    def __init__(
        self,
        name: str,
        inputs: Sequence[str] = ("text",),
        load_options: Mapping[str, Any] | None = None,
        threads: int | None = None,
        **options: Any,
    ) -> None:
        if isinstance(inputs, str) or not inputs:
            raise InputError(f"inputs must be a list of column names, got {inputs!r}")
        if threads is not None:
            _limit_threads(threads)
        self.inputs, self.options = tuple(inputs), options
        self.model: Any = registry.load(name, **(load_options or {}))

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The batch's columns, and those of its results (`plain_columns`)."""
        rows = [plain_columns(result) for result in self.results(batch)]
        names = dict.fromkeys(name for row in rows for name in row)
        return {**batch, **{name: [row.get(name) for row in rows] for name in names}}

    def results(self, batch: Mapping[str, Any]) -> list[Any]:
        """What `predict` gives for each row."""
        if missing := [name for name in self.inputs if name not in batch]:
            raise InputError(f"the batch has no column {missing[0]!r}; its are {', '.join(batch)}")
        columns = [list(batch[name]) for name in self.inputs]
        rows = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
        return self.model.predict(rows, verbose=0, **self.options)


def _limit_threads(threads: Any) -> None:
    if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
        raise InputError(f"threads must be a whole number above 0, got {threads!r:.40}")
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError as error:
        raise InputError(
            "threads cannot be chosen any more, as TensorFlow has run in this process: make the "
            "predictor first"
        ) from error


def plain_columns(result: Any) -> dict[str, Any]:
    """What a result's `to_dict()` holds: texts and numbers as they are, what is nested as JSON.

    Examples
    --------
    >>> import rnnzoo
    >>> from rnnzoo.bulk import plain_columns
    >>> columns = plain_columns(rnnzoo.load("deeploc-multiloc").predict("MKVLAAGIVGLLLAQWWG"))
    >>> columns["name"], columns["read"], type(columns["likelihoods"])
    ('sequence_1', 18, <class 'str'>)
    """
    return {
        name: json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value
        for name, value in result.to_dict().items()
    }


def map_in_order(
    blocks: Iterable[Mapping[str, Sequence[Any]]],
    predictor: type,
    settings: Mapping[str, Any],
    workers: int,
) -> Generator[dict[str, list[Any]], None, None]:
    """What a predictor makes of each block, in their order, by several workers.

    Ray is started on this machine and stopped at the end, unless it runs already or the environment
    has `RAY_ADDRESS`, a cluster's. Close the iterator if you leave it early.

    Parameters
    ----------
    blocks : iterable of mappings
        Columns of like length, read as they are needed. A block is what a worker gets and gives
        back at a time, and what is done again if it dies.
    predictor : type
        `BatchPredictor` or a like one.
    settings : mapping
        Its constructor's keyword arguments.
    workers : int
        Models that run side by side, each in a process of its own, on a processor of its own.

    Raises
    ------
    InputError
        If `workers` are no whole number above 0.
    MissingDependencyError
        Without Ray.
    WorkerError
        If a block cannot be done; those before it were given.

    Examples
    --------
    >>> from rnnzoo.bulk import BatchPredictor, map_in_order
    >>> settings = {"name": "seq2seq-en-fr", "inputs": ["english"]}
    >>> blocks = [{"english": ["Yes.", "No."]}, {"english": ["I am happy."]}]
    >>> french = map_in_order(blocks, BatchPredictor, settings, workers=2)  # doctest: +SKIP
    >>> [text for block in french for text in block["text"]]  # doctest: +SKIP
    ['Oui.', 'Non.', 'Je suis heureux.']
    """
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        raise InputError(f"workers must be a whole number above 0, got {workers!r:.40}")
    try:
        import ray.data
    except ImportError as error:
        raise MissingDependencyError("bulk prediction by workers", "ray", "ray") from error
    return _rounds(iter(blocks), predictor, settings, workers, ray)


def _rounds(
    blocks: Iterator[Mapping[str, Sequence[Any]]],
    predictor: type,
    settings: Mapping[str, Any],
    workers: int,
    ray: Any,
) -> Generator[dict[str, list[Any]], None, None]:
    some = list(itertools.islice(blocks, workers * _BLOCKS_OF_A_ROUND))
    if not some:
        return
    with _running(ray, workers):
        while some:
            dataset = _dataset(some, predictor, settings, workers, ray)
            try:
                for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
                    yield table.to_pydict()
            except Exception as error:  # Ray's own are of many kinds
                reason = _reason(str(error).strip())
                raise WorkerError(
                    f"a block could not be done by any worker: {reason}. The results of those "
                    "before it are there"
                ) from error
            some = list(itertools.islice(blocks, workers * _BLOCKS_OF_A_ROUND))


def _reason(told: str) -> str:
    """The last line that names an error which is not Ray's own, of what Ray tells with tracebacks
    and advice; one of Ray's, or the last line, if there is none."""
    named = re.findall(r"^[\w.]+(?:Error|Exception)\b.*$", told, re.MULTILINE)
    others = [line for line in named if not line.startswith("ray.")]
    return str([*told.splitlines(), *named, *others][-1])


def _dataset(
    blocks: Sequence[Mapping[str, Sequence[Any]]],
    predictor: type,
    settings: Mapping[str, Any],
    workers: int,
    ray: Any,
) -> Any:
    import pyarrow

    dataset = ray.data.from_arrow([pyarrow.table(dict(block)) for block in blocks]).map_batches(
        predictor,
        fn_constructor_kwargs=dict(settings),
        batch_size=None,  # a block as it is
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
        max_restarts=-1,
        max_task_retries=_RETRIES,
    )
    context = dataset.context
    context.execution_options.preserve_order = True
    context.max_errored_blocks = 0
    context.actor_task_retry_on_errors = True
    context.enable_progress_bars = context.print_on_execution_start = False
    return dataset


@contextlib.contextmanager
def _running(ray: Any, workers: int) -> Iterator[None]:
    """Ray while it is needed; one that runs already is left alone."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it reports to its makers otherwise
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # without it Ray warns
    address = os.environ.get("RAY_ADDRESS")
    local: dict[str, Any] = {
        "address": "local",
        "num_cpus": max(workers, os.cpu_count() or 1),
        "include_dashboard": False,
    }
    try:
        ray.init(
            log_to_driver=False,
            logging_level="ERROR",
            **({"address": address} if address else local),
        )
        yield
    finally:
        ray.shutdown()
