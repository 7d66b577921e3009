"""A forward-only network on sound as it comes: its whole state goes from piece to piece.

A piece is one call of one graph, which gives its spectrogram besides. Made of the layers' own
graphs, each waiting for what it needs, a piece took about twice as long, most of it between them.
Sound waits until it is a whole number of output frames, less than one at a time; then memory does
not grow, and the output is that of the whole recording at once, up to rounding.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import tensorflow as tf

from rnnzoo.deepspeech.graphs import Stepper
from rnnzoo.deepspeech.network import Recognizer
from rnnzoo.engine import OnnxEngine
from rnnzoo.errors import InputError
from rnnzoo.export import tensor_function


class FrameStream:
    """Samples to frames of log-probabilities, piece by piece.

    Making the first one of a network compiles its graph, which takes seconds.

    Parameters
    ----------
    recognizer : Recognizer
        Forward-only, with running normalisation.
    engine : OnnxEngine, optional
        What computes instead of TensorFlow, with the recognizer's graph for one stream as "step",
        as `SpeechRecognizer.onnx_engine` gives it.

    Attributes
    ----------
    mels : np.ndarray
        [frames, num_mels], the spectrogram of what the last call has taken in.

    Raises
    ------
    InputError
        If the network needs the whole recording.

    Examples
    --------
    Half a second has 24 frames. The last 7 wait for what their layers see ahead; besides, every
    one waits for whole hops of 320 samples:

    >>> import numpy as np
    >>> from rnnzoo.deepspeech import DeepSpeechConfig
    >>> from rnnzoo.deepspeech.frames import FrameStream
    >>> from rnnzoo.deepspeech.network import Recognizer
    >>> config = DeepSpeechConfig(num_layers=1, hidden_dim=8, conv_channels=(2, 2),
    ...                           bidirectional=False, normalization="running")
    >>> stream = FrameStream(Recognizer(config))
    >>> len(stream.feed(np.zeros(8000, "float32"))), len(stream.finish())
    (17, 7)
    """

    def __init__(self, recognizer: Recognizer, engine: OnnxEngine | None = None) -> None:
        config = recognizer.config
        if config.bidirectional or config.normalization != "running":
            raise InputError(
                "this network hears a recording as a whole (it is bidirectional, or normalises "
                "over all of it): stream with a forward-only one"
            )
        self.recognizer, self.engine = recognizer, engine
        if not recognizer.built:
            recognizer.build((None, None))
        # traced once for all streams of a network: the graph stays with it
        if (compiled := getattr(recognizer, "stream_graphs", None)) is None:
            compiled = recognizer.stream_graphs = _Compiled(recognizer)
        self._compiled, self._stepper = compiled, compiled.stepper
        if engine is None:
            compiled.warm_up()
        else:
            engine.session("step")
        self.reset()

    def reset(self) -> None:
        """Forget all that was heard."""
        self._samples = np.zeros(0, np.float32)
        self._heard = self._hops = 0  # samples, and hops of them that the graph has had
        self._state: dict[str, Any] | None = None
        self.mels = np.zeros((0, self.recognizer.config.num_mels), np.float32)

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """The frames [frames, symbols] that are known once these samples [samples] are heard."""
        stepper = self._stepper
        self._samples = np.concatenate([self._samples, samples])
        self._heard += len(samples)
        opening = stepper.opening if self._state is None else 0
        hops = (len(self._samples) - opening) // stepper.hop
        fewest = stepper.first_hops if self._state is None else 1
        return self._push(hops if hops >= fewest else 0)

    def finish(self) -> np.ndarray:
        """The frames that were still waiting for sound to come."""
        config = self.recognizer.config
        seen = max(0, (self._heard - config.frame_length) // config.frame_step + 1)
        frames = -(-seen // config.frame_stride)
        return self._push(frames + self._stepper.delay - self._hops if frames else 0)

    def _push(self, hops: int) -> np.ndarray:
        """So many hops on, of zeros where there is no more sound."""
        config, stepper = self.recognizer.config, self._stepper
        if not hops:
            self.mels = self.mels[:0]
            return np.zeros((0, config.num_symbols), np.float32)
        if self._state is None:
            opening, self._samples = np.split(self._samples, [stepper.opening])
            self._state = stepper.start({"samples": tf.constant(opening[None])})
        size = hops * stepper.hop
        piece, self._samples = np.split(self._samples, [size])
        samples = np.pad(piece, (0, size - len(piece)))[None]
        lengths = np.array([len(piece)], np.int32)
        tensors = {"samples": samples, "lengths": lengths, **self._state}
        engine = self.engine
        out = self._compiled.run(tensors) if engine is None else engine.run("step", tensors)
        self._state = {name: out[f"next_{name}"] for name in self._state}
        self._hops += hops
        log_probs, real, mels = (np.asarray(out[name])[0] for name in ("log_probs", "real", "mels"))
        self.mels = mels[: len(piece) // config.frame_step]
        return log_probs[real]


class _Compiled:
    """A network's step, compiled when it is first needed, for pieces of any length."""

    def __init__(self, recognizer: Recognizer) -> None:
        self.stepper = Stepper(recognizer, alone=True)
        self._step: Any = None
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        """Compile, and run once: the first run is the one that takes time."""
        with self._lock:  # one trace, however many threads ask
            if self._step is None:
                stepper = self.stepper
                graph = stepper.step_graph()
                self._names = list(graph.inputs)
                self._step = tensor_function(graph).get_concrete_function()
                state = stepper.start({"samples": tf.zeros((1, stepper.opening))})
                samples = np.zeros((1, stepper.first_hops * stepper.hop), np.float32)
                self.run({"samples": samples, "lengths": np.zeros(1, np.int32), **state})

    def run(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """The graph's outputs by their names, for its inputs by theirs."""
        return self._step(*(tf.convert_to_tensor(tensors[name]) for name in self._names))
