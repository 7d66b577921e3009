"""A forward-only network on sound as it comes: its whole state goes from piece to piece.

Every layer keeps the few frames that its next output needs, the recurrent layers keep their
states, so that memory does not grow and the output is that of the whole recording at once, up to
rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from rnnzoo.deepspeech.network import Recognizer, TimeLayer
from rnnzoo.errors import InputError
from rnnzoo.layers.int8 import expand_once


class FrameStream:
    """Samples to frames of log-probabilities, piece by piece.

    Parameters
    ----------
    recognizer : Recognizer
        Forward-only, with running normalisation.

    Raises
    ------
    InputError
        If the network needs the whole recording.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.deepspeech import DeepSpeechConfig
    >>> from rnnzoo.deepspeech.frames import FrameStream
    >>> from rnnzoo.deepspeech.network import Recognizer
    >>> config = DeepSpeechConfig(num_layers=1, hidden_dim=8, conv_channels=(2, 2),
    ...                           bidirectional=False, normalization="running")
    >>> stream = FrameStream(Recognizer(config))
    >>> first = stream.feed(np.zeros(8000, "float32"))
    >>> len(first) + len(stream.finish())
    24
    """

    def __init__(self, recognizer: Recognizer) -> None:
        config = recognizer.config
        if config.bidirectional or config.normalization != "running":
            raise InputError(
                "this network hears a recording as a whole (it is bidirectional, or normalises "
                "over all of it): stream with a forward-only one"
            )
        self.recognizer = recognizer
        if not recognizer.built:
            recognizer.build((None, None))
        # traced once for all streams of a network: the graphs stay with it
        if (graphs := getattr(recognizer, "stream_graphs", None)) is None:
            graphs = recognizer.stream_graphs = _Graphs(recognizer)
        self._graphs = graphs
        self._windows = [_Window(recognizer, *one) for one in graphs.local]
        self._row = graphs.row and _Window(recognizer, *graphs.row)
        self.reset()

    def reset(self) -> None:
        """Forget all that was heard."""
        recognizer = self.recognizer
        self._samples = np.zeros(0, np.float32)
        self._sums = recognizer.normalization.start(
            tf.zeros((1, 1, recognizer.config.num_mels), tf.float32)
        )
        self._states = [
            [tf.cast(state, recognizer.compute_dtype) for state in layer.get_initial_state(1)]
            for layer in recognizer.recurrent
        ]
        for window in self._all_windows():
            window.reset()
        self._any = False

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """The frames [frames, symbols] that are known once these samples [samples] are heard."""
        return self._push(samples, last=False)

    def finish(self) -> np.ndarray:
        """The frames that were still waiting for sound to come."""
        return self._push(np.zeros(0, np.float32), last=True)

    def _all_windows(self) -> list[_Window]:
        return [*self._windows, *([self._row] if self._row else [])]

    def _push(self, samples: np.ndarray, last: bool) -> np.ndarray:
        config = self.recognizer.config
        nothing = np.zeros((0, config.num_symbols), np.float32)
        self._samples = np.concatenate([self._samples, samples])
        x: Any = None
        count = (len(self._samples) - config.frame_length) // config.frame_step + 1
        if count > 0:
            used = (count - 1) * config.frame_step + config.frame_length
            x, self._sums = self._graphs.hear(self._samples[None, :used], self._sums)
            self._samples = self._samples[count * config.frame_step :]
            self._any = True
        elif not (last and self._any):
            return nothing
        for window in self._windows:
            x = window.push(x, last)
        if x is not None:
            x, self._states = self._graphs.recur(x, self._states)
        if self._row:
            x = self._row.push(x, last)
        return nothing if x is None else self._graphs.end(x)[0].numpy()


class _Graphs:
    """A network's parts as graphs that take any number of frames."""

    def __init__(self, recognizer: Recognizer) -> None:
        self.recognizer = recognizer
        self.hear = tf.function(self._heard, reduce_retracing=True)
        self.recur = tf.function(self._recurrent, reduce_retracing=True)
        self.end = tf.function(recognizer.log_probs, reduce_retracing=True)
        self.local = [self._window(layer) for layer in recognizer.local]
        self.row = recognizer.row and self._window(recognizer.row)

    @staticmethod
    def _window(layer: TimeLayer) -> tuple[TimeLayer, Any]:
        return layer, tf.function(layer.valid, reduce_retracing=True)

    def _heard(self, samples: Any, sums: Any) -> tuple[Any, Any]:
        x, sums = self.recognizer.normalization.step(self.recognizer.spectrogram(samples), sums)
        return tf.cast(x, self.recognizer.compute_dtype), sums

    def _recurrent(self, x: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        recognizer, after = self.recognizer, []
        x = recognizer.flat(x)
        for norm, layer, state in zip(recognizer.norms, recognizer.recurrent, states, strict=True):
            if norm is not None:
                x = norm(x, None)
            with expand_once():
                _, x, state = layer.inner_loop(x, state, mask=None, training=False)
            after.append(state)
        return x, after


class _Window:
    """A local layer on a stream: what its next output needs is kept."""

    def __init__(self, recognizer: Recognizer, layer: TimeLayer, valid: Any) -> None:
        self.layer, self._valid = layer, valid
        self._shaped = lambda x: recognizer.shaped(x, layer)
        self.reset()

    def reset(self) -> None:
        self._kept: Any = None

    def push(self, x: Any, last: bool) -> Any:
        """The layer's output for frames x (or None) after those before; None if there is none."""
        layer = self.layer
        if x is not None:
            x = self._shaped(x)
            if self._kept is None:
                self._kept = _zeros(x, layer.left)
            self._kept = tf.concat([self._kept, x], 1)
        if self._kept is None:
            return None
        if last:
            self._kept = tf.concat([self._kept, _zeros(self._kept, layer.right)], 1)
        count = (self._kept.shape[1] - layer.extent) // layer.stride + 1
        if count <= 0:
            return None
        used = self._kept[:, : (count - 1) * layer.stride + layer.extent]
        self._kept = self._kept[:, count * layer.stride :]
        return self._valid(used)


def _zeros(like: Any, frames: int) -> Any:
    return tf.zeros((1, frames, *like.shape[2:]), like.dtype)
