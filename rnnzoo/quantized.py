"""Weight-only int8: a task's network with an int8 for each weight of a kernel, for use alone.

What is quantized is what an int8 checkpoint stores so (`rnnzoo.weights`): kernels, convolutions
and embeddings, with a scale for each output channel; vectors stay as they are. Integers that came
from a checkpoint are taken as they are stored, so that nothing is rounded twice. Keras' own int8
quantizes what goes into a dense layer too, and knows no recurrent layer.
"""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import numpy as np

from rnnzoo.checkpoint import CONFIG, Checkpoint
from rnnzoo.config import read_config
from rnnzoo.errors import CheckpointError, InputError, WeightsError
from rnnzoo.layers.int8 import keep_in_int8
from rnnzoo.weights import SCALE, Integers, integers_of, quantize

SCHEMES = ("int8",)


def check_scheme(scheme: Any) -> None:
    """Raise an `InputError` for what is no way to quantize.

    Examples
    --------
    >>> from rnnzoo.quantized import check_scheme
    >>> check_scheme("int8")
    """
    if scheme not in SCHEMES:
        raise InputError(f"quantize must be {', '.join(map(repr, SCHEMES))}; got {scheme!r:.60}")


class Quantizable(keras.Model):
    """A model whose `network` can be kept in int8; `rnnzoo.Task` is one.

    Examples
    --------
    >>> import rnnzoo
    >>> rnnzoo.load("deeploc-multiloc", quantize="int8").quantization
    'int8'
    """

    config_type: ClassVar[type]
    network: keras.Model
    origin: Checkpoint | None
    weight_shapes: Any

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.__dict__.pop("quantize", None)  # Keras puts its own checks around it, in each object
        self.origin = None
        self._scheme: str | None = None

    @property
    def quantization(self) -> str | None:
        """ "int8" once the weights are kept so, else None."""
        return self._scheme

    def weights_by_path(self) -> dict[str, Any]:
        """The network's variables by their paths, the names in a checkpoint.

        Of a quantized network those are the integers, with the scale under the same path and
        ".scale".
        """
        return {weight.path: weight for weight in self.network.weights}

    def weight_values(self) -> dict[str, np.ndarray]:
        """Every weight by its path as float32, whatever it is kept as.

        Examples
        --------
        >>> import numpy as np
        >>> import rnnzoo
        >>> plain = rnnzoo.load("deeploc-multiloc").weight_values()
        >>> small = rnnzoo.load("deeploc-multiloc", quantize="int8").weight_values()
        >>> all(np.array_equal(plain[path], small[path]) for path in plain)
        True
        """
        kept = self._integers()
        scales = {path + SCALE for path in kept}
        return {
            path: (
                kept[path][0].astype(np.float32) * kept[path][1]
                if path in kept
                else np.asarray(weight, np.float32)
            )
            for path, weight in self.weights_by_path().items()
            if path not in scales
        }

    def quantize(self, mode: str = "int8") -> None:
        """Keep kernels and embeddings as int8 with a float32 scale for each output channel, in a
        quarter of the memory.

        For use alone: predict, evaluate, stream, save and export work as before, and what trains
        raises an error. The layers compute with the kernels as they are stored, cast and scaled
        while they run; vectors (biases, normalisations) stay as they are. A model that was loaded
        from an int8 checkpoint, as the bundled ones are, gives the same results as before; others
        are rounded.

        Parameters
        ----------
        mode : "int8"

        Raises
        ------
        InputError
            For another mode, for a model that is quantized already, or while low-rank updates are
            on.
        WeightsError
            For a weight that is not finite.

        Examples
        --------
        >>> import rnnzoo
        >>> translator = rnnzoo.load("seq2seq-en-fr")
        >>> translator.quantize("int8")
        >>> translator.predict("Where is the station?").text
        'Où est la gare ?'
        """
        check_scheme(mode)
        self._check_quantizable()
        stored, chosen = self._stored(), {}
        for path, weight in self.weights_by_path().items():
            value = np.asarray(weight)
            if value.ndim < 2:
                continue
            known = stored.get(path)
            if known is None or not np.array_equal(
                (known[0].astype(np.float32) * known[1]).astype(value.dtype), value
            ):
                known = quantize(_finite(path, value))
            chosen[path] = known
        keep_in_int8(self.network, chosen)
        self._scheme = mode
        self._forget_graphs()

    def _integers(self) -> Integers:
        """Integers and scale, by path, of what is kept so."""
        return integers_of({p: np.asarray(v) for p, v in self.weights_by_path().items()})

    def _stored(self) -> Integers:
        """Integers and scale, by path, that the checkpoint has which the weights came from."""
        if self.origin is None:
            return {}
        where = str(self.origin.folder / CONFIG)
        try:
            network = read_config(self.config_type, self.origin.config.network, where)
            return integers_of(self.origin.read_stored(self.weight_shapes(network)))
        except CheckpointError:  # the folder has gone, or holds other weights by now
            return {}

    def _check_quantizable(self) -> None:
        if self.quantization:
            raise InputError(f"the model is quantized already ({self.quantization})")

    def _check_trains(self, aim: str) -> None:
        """Raise an `InputError` if the model is for use alone now."""
        self._check_float(aim)

    def _check_float(self, aim: str) -> None:
        """Raise an `InputError` for what only weights that are no integers can do."""
        if self.quantization:
            raise InputError(
                f"the weights are {self.quantization}, for use alone: to {aim}, load the model "
                "without quantize"
            )

    def _forget_engine(self) -> None:
        """Let go of what predicts with the weights as they were."""

    def _forget_graphs(self) -> None:
        """Let go of compiled graphs, which hold the variables that they were made with."""
        for model in (self, self.network):
            model.train_function = model.test_function = model.predict_function = None


def _finite(path: str, value: np.ndarray) -> np.ndarray:
    value = value.astype(np.float32)
    if not np.isfinite(value).all():
        raise WeightsError(f"weight {path!r} holds values that are not finite: not quantized")
    return value
