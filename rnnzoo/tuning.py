"""What trains in a task: parts that are frozen, low-rank updates, and saving these alone."""

from __future__ import annotations

import os
import pathlib
import types
from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from rnnzoo.adapter import Adapter, save_adapter
from rnnzoo.card import adapter_card
from rnnzoo.checkpoint import CONFIG, Checkpoint
from rnnzoo.config import read_config
from rnnzoo.distribution import clip_over_replicas, num_replicas, rows_that_count
from rnnzoo.errors import InputError
from rnnzoo.lora import LowRank, check_rank, choose_kernels
from rnnzoo.parts import Parts, choose_weights
from rnnzoo.quantized import Quantizable

Path = str | os.PathLike[str]


class Tunable(Quantizable):
    """A model whose `network` can be tuned in part; `rnnzoo.Task` is one.

    `parts` has the patterns of the weights of each part that `freeze` knows, `new_weights` the
    paths of the weights that a new head begins with, `origin` is the checkpoint whose weights it
    was loaded with.

    Examples
    --------
    >>> import rnnzoo
    >>> sorted(rnnzoo.load("seq2seq-en-fr").parts)
    ['attention', 'decoder', 'embedding', 'encoder', 'readout']
    """

    family: ClassVar[str]
    parts: ClassVar[Parts] = {}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.new_weights: tuple[str, ...] = ()
        self._updates: list[LowRank] = []  # none or one: Keras lets go of what leaves a list
        # a namespace, as Keras would track a dict: the base's name, how it was changed, the adapter
        self._loaded_as = types.SimpleNamespace(name=None, overrides={}, changed=(), adapter=None)

    def freeze(self, *parts: str) -> None:
        """Keep parts of the network as they are in training.

        Frozen weights stay the same to the bit, a batch normalisation's averages too: it works in
        training as it does in use. What was frozen stays so until `unfreeze`. A compiled model is
        compiled again as it was, with a new optimizer of the same settings, because Keras fixes
        what trains when it compiles.

        Parameters
        ----------
        *parts : str
            Names of the family's parts (`Task.parts`), or patterns of weight paths such as
            "decoder/lstm_*"; everything without any, an empty list that is spread out among it.

        Raises
        ------
        InputError
            For what is no part and matches no weight, listing the parts; for a quantized model.

        Examples
        --------
        >>> import rnnzoo
        >>> translator = rnnzoo.load("seq2seq-en-fr")
        >>> translator.freeze("encoder", "embedding")
        >>> {weight.path.split("/")[0] for weight in translator.trainable_weights}
        {'decoder'}
        """
        self._let_train(parts, False)

    def unfreeze(self, *parts: str) -> None:
        """Let parts train again that were frozen; all of them without any name.

        Parameters and errors are those of `freeze`: `unfreeze(*model.new_weights)` lets everything
        train where no weight is new.

        Examples
        --------
        >>> import rnnzoo
        >>> translator = rnnzoo.load("seq2seq-en-fr")
        >>> translator.freeze()
        >>> translator.unfreeze("attention")
        >>> len(translator.trainable_weights)
        4
        """
        self._let_train(parts, True)

    def _let_train(self, parts: tuple[str, ...], trains: bool) -> None:
        self._check_float("freeze or unfreeze")
        if self.lora is not None:
            raise InputError(
                "low-rank updates are on, and all else is frozen: merge_lora() first, or name what "
                "trains besides in enable_lora(whole=...)"
            )
        weights = self.weights_by_path()
        for path in choose_weights(weights, self.parts, parts or ("*",)):
            weights[path].trainable = trains and _can_train(weights[path])
        self._compile_again()

    def _frozen(self) -> list[str]:
        """Paths of the weights that were frozen, those that low-rank updates freeze left out."""
        if self.lora is not None:
            return sorted(self.lora.frozen)
        weights = self.weights_by_path().items()
        return [path for path, weight in weights if _can_train(weight) and not weight.trainable]

    @property
    def lora(self) -> LowRank | None:
        """The low-rank updates while they train."""
        return self._updates[0] if self._updates else None

    def enable_lora(
        self,
        rank: int = 4,
        alpha: float | None = None,
        targets: Iterable[str] | None = None,
        whole: Iterable[str] = (),
    ) -> None:
        """Train low-rank updates of kernels, and nothing else (Hu et al. 2021, arXiv 2106.09685,
        section 4.1; see `rnnzoo.lora`).

        Each kernel W [in, out] becomes W + (alpha / rank) A B, with A [in, rank] drawn at random
        and B [rank, out] zero: nothing changes until `fit`. All other weights are frozen. Predict,
        evaluate and save work as ever, on the sum. A compiled model is compiled again, as by
        `freeze`.

        Parameters
        ----------
        rank : int
        alpha : float, optional
            The update's scale times the rank; `rank` by default, a scale of 1.
        targets : iterable of str, optional
            Parts or patterns of weight paths, as of `freeze`, whose kernels are updated; by default
            all input and recurrent kernels of recurrent layers and the kernels of dense ones, but
            for those that are frozen. Embeddings are updated where they are named.
        whole : iterable of str
            Parts or patterns of weights that train in full besides; those of a new head always do,
            unless they are frozen. Averages of a batch normalisation go with its scale.

        Raises
        ------
        InputError
            If `targets` or `whole` match nothing or name what is frozen, there is no kernel among
            the targets or all of them train in full, rank or alpha are no numbers above 0, low-rank
            updates are on already, or the model is quantized.

        Examples
        --------
        >>> import rnnzoo
        >>> translator = rnnzoo.load("seq2seq-en-fr")
        >>> translator.enable_lora(rank=2, targets=["encoder"])
        >>> [tuple(weight.shape) for weight in translator.trainable_weights][:2]
        [(256, 2), (2, 1024)]
        """
        self._check_float("train low-rank updates")
        if self.lora is not None:
            raise InputError("low-rank updates are on already: merge_lora() first")
        rank, alpha = check_rank(rank, alpha)
        weights = self.weights_by_path()
        shapes = {path: tuple(weights[path].shape) for path in weights if _can_train(weights[path])}
        frozen = set(self._frozen())
        if targets is None:  # all that trains
            shapes = {path: shape for path, shape in shapes.items() if path not in frozen}
        chosen = choose_kernels(shapes, self.parts, targets)
        named = choose_weights(weights, self.parts, [whole] if isinstance(whole, str) else whole)
        if odd := [path for path in weights if path in frozen and path in {*chosen, *named}]:
            raise InputError(
                f"frozen, and named to be trained: {', '.join(odd[:5])}: unfreeze() them first, or "
                "name others"
            )
        in_full = self._with_averages({*named, *self._loaded_as.changed})
        kernels = [path for path in chosen if path not in in_full]
        if not kernels:
            raise InputError(
                f"{', '.join(chosen[:5])} train in full already, so that there is no kernel left "
                "for low-rank updates: name other targets"
            )
        self._begin_lora(rank, alpha, kernels, in_full)

    def _begin_lora(
        self, rank: int, alpha: float | None, kernels: Iterable[str], in_full: Collection[str]
    ) -> None:
        """Train low-rank updates of kernels, and of the weights beside them what can be trained and
        is not frozen."""
        weights, frozen = self.weights_by_path(), self._frozen()
        chosen = {path: weights[path] for path in kernels}
        for path, weight in weights.items():
            weight.trainable = path in in_full and path not in frozen and _can_train(weight)
        self._updates.append(LowRank(chosen, rank, alpha, in_full, frozen))
        self._compile_again()
        self._forget_engine()

    def _with_averages(self, chosen: Collection[str]) -> list[str]:
        """Weights, and the averages of each normalisation whose scale is among them: these move
        while it trains."""
        norms = {path.removesuffix("gamma") for path in chosen if path.endswith("/gamma")}
        return [
            path
            for path, weight in self.weights_by_path().items()
            if path in chosen or (not _can_train(weight) and path.rsplit("/", 1)[0] + "/" in norms)
        ]

    def merge_lora(self) -> None:
        """Make the low-rank updates part of the kernels for good.

        The outputs stay as they are. What trained before `enable_lora` trains again.

        Raises
        ------
        InputError
            If there are none.

        Examples
        --------
        >>> import rnnzoo
        >>> translator = rnnzoo.load("seq2seq-en-fr")
        >>> translator.enable_lora(rank=2)
        >>> translator.merge_lora()
        >>> len(translator.trainable_weights) == len(translator.network.weights)
        True
        """
        frozen = set(self._low_rank("merge").frozen)
        self._updates.clear()
        for path, weight in self.weights_by_path().items():
            weight.trainable = _can_train(weight) and path not in frozen
        self._compile_again()
        self._forget_engine()

    def save_adapter(self, folder: Path) -> None:
        """Write the low-rank updates as a small folder that `rnnzoo.load(..., adapter=folder)`
        reads.

        It names the base that the model was loaded from, with the sha256 over its weights, and gets
        a small card, `README.md`; one that a person wrote there is kept.

        Parameters
        ----------
        folder : path
            A new folder, or one that holds an adapter, which is replaced as a whole.

        Raises
        ------
        InputError
            If low-rank updates are not on, the model was not loaded from a checkpoint (one from a
            .keras file goes on training, but does not know its base), or other weights differ from
            it too.
        CheckpointError
            If the folder holds something else or cannot be written, or the base's cannot be read.

        Examples
        --------
        >>> import tempfile
        >>> import rnnzoo
        >>> translator = rnnzoo.load("seq2seq-en-fr")
        >>> translator.enable_lora(rank=2, targets=["decoder"])
        >>> history = translator.fit(["Two tablets."], ["Deux comprimés."], verbose=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     translator.save_adapter(f"{folder}/mine")
        ...     tuned = rnnzoo.load("seq2seq-en-fr", adapter=f"{folder}/mine")
        """
        lora = self._low_rank("save")
        if self.origin is None:
            raise InputError(
                "an adapter belongs to a base, and this model was not loaded from a checkpoint: a "
                ".keras file, for one, does not hold its base. Load the base with rnnzoo.load, "
                "then enable_lora and fit; or save the whole model with save()"
            )
        self._check_base(self.origin, lora)
        variables = self.weights_by_path()
        weights = {path: np.asarray(variables[path], np.float32) for path in lora.whole}
        weights |= lora.factors()
        count = sum(weight.size for weight in weights.values())
        name, history = pathlib.Path(folder).resolve().name, getattr(self, "history", None)
        save_adapter(
            folder,
            family=self.family,
            base=self._loaded_as.name,
            base_fingerprint=self.origin.config.fingerprint,
            rank=lora.rank,
            alpha=lora.alpha,
            targets=lora.targets,
            whole=lora.whole,
            overrides=self._loaded_as.overrides,
            weights=weights,
            card=lambda config: adapter_card(config, name, count, history),
        )

    def _put_on(self, adapter: Adapter, updates: Mapping[str, np.ndarray]) -> None:
        """Go on with an adapter's low-rank updates."""
        c, variables = adapter.config, self.weights_by_path()
        for path in c.whole:
            variables[path].assign(updates[path])
        self._begin_lora(c.rank, c.alpha, c.targets, c.whole)
        self._low_rank("load").assign_factors(updates)

    def _low_rank(self, aim: str) -> LowRank:
        if self.lora is None:
            raise InputError(f"there are no low-rank updates to {aim}: enable_lora() first")
        return self.lora

    def _check_base(self, origin: Checkpoint, lora: LowRank) -> None:
        """Raise InputError if weights differ from the base's that an adapter does not hold."""
        network = read_config(self.config_type, origin.config.network, str(origin.folder / CONFIG))
        base = origin.read_weights(self.weight_shapes(network))
        odd = []
        for path, weight in self.weights_by_path().items():
            if path in lora.whole:
                continue
            mine = lora.base(path) if path in lora.targets else np.asarray(weight)
            if not np.array_equal(mine, base[path].astype(mine.dtype)):
                odd.append(path)
        if odd:
            raise InputError(
                f"{len(odd)} weights differ from those of {origin.folder} besides the low-rank "
                f"updates, {odd[0]} for one: an adapter would be wrong on that base. Load it anew "
                "and train the updates alone, or save the whole model with save()"
            )

    def _check_quantizable(self) -> None:
        super()._check_quantizable()
        if self.lora is not None:
            raise InputError("low-rank updates are on: merge_lora() first, then quantize()")

    def _forget_graphs(self) -> None:
        super()._forget_graphs()
        self._compile_again()

    def _compile_again(self) -> None:
        """Compile as before for what trains now; an optimizer's state belongs to what trained."""
        if not getattr(self, "compiled", False):
            return
        try:
            optimizer = type(self.optimizer).from_config(self.optimizer.get_config())
        except (TypeError, ValueError) as error:
            raise InputError(
                f"the optimizer cannot be made anew for what trains now: {error}. Call compile() "
                "after this, or register its parts with keras.saving"
            ) from error
        self.compile(optimizer=optimizer, **vars(self._compiled_with))

    def train_step(self, data: Any) -> Any:
        """Keras' own; with low-rank updates on, the kernels' gradients go on to them; on several
        devices, gradients are clipped after they were summed."""
        self._check_trains("train")
        if self.lora is None and (num_replicas() == 1 or not self.trainable_weights):
            return super().train_step(data)
        self._renew_kernels()
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(
                x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True
            )
            self._track(loss, x, sample_weight)
            loss = self.optimizer.scale_loss(loss)
        pairs: Any
        if self.lora is None:
            pairs = zip(
                tape.gradient(loss, self.trainable_weights), self.trainable_weights, strict=True
            )
        else:
            weights = self.weights_by_path()
            others = [weights[path] for path in self.lora.whole if weights[path].trainable]
            pairs = self.lora.gradients(tape, loss, others)
        self.optimizer.apply_gradients(clip_over_replicas(self.optimizer, pairs))
        self._renew_kernels()
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def test_step(self, data: Any) -> Any:
        """Keras' own, on the low-rank updates as they are."""
        self._renew_kernels()
        if num_replicas() == 1:
            return super().test_step(data)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        y_pred = self(x, training=False)
        loss = self.compute_loss(
            x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=False
        )
        self._track(loss, x, sample_weight)
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def _track(self, loss: Any, x: Any, sample_weight: Any) -> None:
        """Let the mean over an epoch's batches know the loss of one, an n-th of it on each of n
        replicas, by its rows."""
        if num_replicas() == 1:
            rows = tf.shape(keras.tree.flatten(x)[0])[0]
        else:
            rows = rows_that_count(x, sample_weight)
        self._loss_tracker.update_state(loss * num_replicas(), sample_weight=rows)

    def _renew_kernels(self) -> None:
        """Take the sums anew: callbacks such as `keras.callbacks.SwapEMAWeights` set the factors
        alone."""
        if self.lora is not None:
            self.lora.update_kernels()


def _can_train(weight: Any) -> bool:
    """Whether a weight was made to be trained, as a batch normalisation's averages are not."""
    return bool(weight.value.trainable)
