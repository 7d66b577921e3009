"""Training of a task: raw pairs in, Keras' loop around them."""

from __future__ import annotations

import abc
import functools
import types
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnnzoo.distribution import losses_over_replicas
from rnnzoo.errors import InputError
from rnnzoo.inputs import check_batch_size
from rnnzoo.pairs import Peeked, RawBatches, is_raw, peeked
from rnnzoo.tuning import Tunable


class Trainable(Tunable, abc.ABC):
    """A model that trains and is measured on raw pairs of input and target; `rnnzoo.Task` is one.

    Examples
    --------
    >>> import rnnzoo
    >>> from rnnzoo.training import Trainable
    >>> isinstance(rnnzoo.load("seq2seq-en-fr"), Trainable)
    True
    """

    @abc.abstractmethod
    def check_pairs(self, pairs: list[tuple[Any, Any]]) -> None:
        """Raise an `InputError` that names the first raw pair that cannot be trained on."""

    @abc.abstractmethod
    def training_batch(self, inputs: list[Any], targets: list[Any]) -> tuple[Any, Any, Any]:
        """Network inputs, labels and label weights of raw pairs."""

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        **kwargs: Any,
    ) -> Any:
        """Train on raw pairs.

        Parameters
        ----------
        x, y : sequences of raw inputs and raw targets of one length; or `x` a list, a generator or
            a `tf.data.Dataset` of (input, target) pairs, or of triples with a weight; or anything
            `keras.Model.fit` takes, as tensors
            A generator or dataset of pairs is read whole; one without an end goes with
            `steps_per_epoch`. With it, generators, and datasets without an end or of unknown
            length, are read as training goes, in their own order.
        batch_size : int, optional
            Of raw pairs and of tensors; 32 by default.
        epochs, verbose, **kwargs
            As of `keras.Model.fit`. `validation_data` takes raw pairs too, `sample_weight` a weight
            for each. With `validation_steps`, the validation's first so many batches of raw pairs
            are taken, the same in each epoch.

        Returns
        -------
        keras.callbacks.History

        Raises
        ------
        InputError
            If inputs, targets and weights differ in number, or are empty; for a pair that cannot
            be trained on; for a batch size that is no whole number above 0; for a quantized model,
            and one that another engine than TensorFlow predicts with.

        Notes
        -----
        The order of raw pairs depends on the epoch's number alone, and files that Keras writes
        hold the state of the random numbers too: a training that was stopped goes on to the same
        numbers, by `keras.callbacks.BackupAndRestore` or by `initial_epoch`. So it is where epochs
        are whole passes; with `steps_per_epoch` a source is begun anew.

        Load and compile in the scope of a `tf.distribute` strategy, and its devices share each
        batch: they take the steps that one would take alone, dropout's random numbers aside. A loss
        named by a string or given as a function is averaged as Keras does, over the replicas'
        means, which differs where the last batch cannot be shared evenly.

        Examples
        --------
        >>> import rnnzoo
        >>> translator = rnnzoo.load("seq2seq-en-fr")
        >>> history = translator.fit(["Good morning!"], ["Bonjour !"], epochs=1, verbose=0)
        >>> sorted(history.history)
        ['loss']
        """
        self._check_trains("train")
        if not getattr(self, "compiled", False):
            self.compile()
        batch_size = check_batch_size(batch_size, 32)
        batches = RawBatches(self, batch_size, kwargs.get("shuffle", True))
        checked = RawBatches(
            self, check_batch_size(kwargs.get("validation_batch_size"), batch_size)
        )
        x = peeked(x)
        if is_raw(x):
            if kwargs.get("validation_split"):
                raise InputError(
                    "validation_split is for tensors: give raw pairs as validation_data=(x, y)"
                )
            weight = kwargs.pop("sample_weight", None)
            if y is None and weight is None and kwargs.get("steps_per_epoch") and _is_endless(x):
                x = batches.stream(x)
            else:
                x, y = batches.of(x, y, weight), None
            kwargs |= {"shuffle": False, "callbacks": _with(kwargs.get("callbacks"), batches)}
        elif isinstance(x, (tf.data.Dataset, Iterator)):
            kwargs.setdefault("shuffle", False)  # Keras warns that it does not shuffle these
        kwargs["validation_data"] = peeked(kwargs.get("validation_data"))
        validation = _raw_parts(kwargs["validation_data"])
        if validation:
            steps = kwargs.pop("validation_steps", None)
            of = functools.partial(checked.of, steps=steps, named="validation_steps")
            kwargs["validation_data"] = of(*validation)
        kwargs |= {"batch_size": None if y is None else batch_size, "verbose": verbose}
        try:
            history = super().fit(x, y, epochs=epochs, **kwargs)
        except tf.errors.OpError:
            raised = batches.error or checked.error
            if raised is None:
                raise
            raise raised from None
        self._renew_kernels()  # an optimizer with averaged weights sets them at the end
        return history

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        **kwargs: Any,
    ) -> Any:
        """Loss and metrics on raw pairs as `fit` takes them, or on tensors as
        `keras.Model.evaluate` does; on the first `steps` batches where these are named.

        Raises
        ------
        InputError
            For what `fit` refuses, but for a quantized model, which can be evaluated.

        Examples
        --------
        >>> import rnnzoo
        >>> loss = rnnzoo.load("seq2seq-en-fr").evaluate(["Yes."], ["Oui."], verbose=0)
        >>> loss < 2
        True
        """
        if not getattr(self, "compiled", False):
            self.compile()
        size = check_batch_size(batch_size, 32)
        x = peeked(x)
        if is_raw(x):
            weight, steps = kwargs.pop("sample_weight", None), kwargs.pop("steps", None)
            x, y = RawBatches(self, size).of(x, y, weight, steps, "steps"), None
            batch_size = None
        found = super().evaluate(x, y, batch_size=batch_size, verbose=verbose, **kwargs)
        self._renew_kernels()
        return found

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Keras' own, by the shapes that a data set says it has.

        To learn them on several devices Keras takes a first batch and adds up the replicas' parts,
        which fails where these are uneven, and a source that is read as training goes loses it.
        """
        if iterator is not None and self.distribute_strategy.num_replicas_in_sync > 1:
            dataset = iterator.data_adapter.get_tf_dataset()
            if isinstance(dataset, tf.data.Dataset):
                iterator, data_batch = None, dataset.element_spec
        super()._maybe_symbolic_build(iterator, data_batch)

    def _random_states(self) -> list[Any]:
        """The states of the network's random numbers, which Keras does not save by itself."""
        weights = {id(weight) for weight in self.weights}
        return [variable for variable in self.variables if id(variable) not in weights]

    def save_own_variables(self, store: Any) -> None:
        """Put what Keras' files hold besides the layers' weights into `store`.

        Raises
        ------
        InputError
            For a quantized model, whose files are folders.
        """
        self._check_float("write one of Keras' files")
        self._renew_kernels()
        for number, state in enumerate(self._random_states()):
            store[f"random_state_{number}"] = np.asarray(state)

    def load_own_variables(self, store: Any) -> None:
        """Take from `store` what `save_own_variables` put there; files of before have nothing.

        Raises
        ------
        InputError
            For a quantized model, whose files are folders.
        """
        self._check_float("read one of Keras' files")
        for number, state in enumerate(self._random_states()):
            if (name := f"random_state_{number}") in store.keys():  # noqa: SIM118
                state.assign(np.asarray(store[name]))

    def compile(self, optimizer: Any = None, **kwargs: Any) -> None:
        """As `keras.Model.compile`; by default Adam at 3e-4 with clipped gradients, and the
        network's own loss. Of a model that was made in the scope of a `tf.distribute` strategy,
        this is as well in that scope."""
        with self.distribute_strategy.scope():
            if self.distribute_strategy.num_replicas_in_sync > 1 and "loss" in kwargs:
                kwargs["loss"] = losses_over_replicas(kwargs["loss"])
            optimizer = optimizer or keras.optimizers.Adam(3e-4, global_clipnorm=1.0)
            super().compile(optimizer=optimizer, **kwargs)
        self._compiled_with = types.SimpleNamespace(**kwargs)  # as a dict, Keras would track it

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile again as a `.keras` file says, its optimizer's state still to be loaded."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)


def _is_endless(x: Any) -> bool:
    """Whether pairs come from what may have no end."""
    if isinstance(x, tf.data.Dataset):
        return int(x.cardinality()) in (
            tf.data.INFINITE_CARDINALITY,
            tf.data.UNKNOWN_CARDINALITY,
        )
    return isinstance(x, Peeked)


def _raw_parts(validation: Any) -> tuple[Any, ...]:
    """Raw pairs of `validation_data` as arguments, (x, y[, weights]) or (pairs,); of what is none,
    nothing."""
    if isinstance(validation, tuple) and 2 <= len(validation) <= 3:
        return validation if is_raw(validation[0]) else ()
    return (validation,) if is_raw(validation) else ()


def _with(callbacks: Any, another: keras.callbacks.Callback) -> Any:
    """Callbacks as `keras.Model.fit` takes them, and another one in front."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks.append(another)
        return callbacks
    if callbacks is None or isinstance(callbacks, keras.callbacks.Callback):
        callbacks = [] if callbacks is None else [callbacks]
    return [another, *callbacks]
