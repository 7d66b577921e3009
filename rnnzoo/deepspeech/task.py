"""The recognizer: sound in, `Transcript` out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
import tqdm

from rnnzoo.config import choose_options
from rnnzoo.ctc import (
    DecodingOptions,
    Grammar,
    NGram,
    PrefixBeamSearch,
    grammar_for,
    hypotheses,
    search_for,
)
from rnnzoo.ctc.task import CTCTask, check_fits
from rnnzoo.deepspeech.audio import Recording, is_single, read_recordings, resample
from rnnzoo.deepspeech.config import DeepSpeechConfig
from rnnzoo.deepspeech.decode import transcript_of
from rnnzoo.deepspeech.graphs import Stepper, graphs_of
from rnnzoo.deepspeech.network import build_network, weight_shapes
from rnnzoo.deepspeech.preprocess import PreprocessorConfig, SpeechPreprocessor
from rnnzoo.deepspeech.result import Transcript
from rnnzoo.deepspeech.stream import TranscriptStream
from rnnzoo.errors import ConfigError, InputError
from rnnzoo.export import Axes, Graph
from rnnzoo.inputs import batches_by_length, check_batch_size
from rnnzoo.parts import Parts

_SECONDS_AT_ONCE = 320
_WINDOW = 64
_RECURRENT = ("recognizer/lstm_*", "recognizer/gru_*", "recognizer/rnn_*", "recognizer/norm_*")


@keras.saving.register_keras_serializable(package="rnnzoo")
class SpeechRecognizer(CTCTask):
    """A network that writes down speech, with its alphabet and sampling rate.

    Parameters
    ----------
    config : DeepSpeechConfig
    preprocessor : SpeechPreprocessor
    decoding : DecodingOptions
        Defaults of what `predict` takes by keyword.
    dtype : str
        A dtype policy, or "auto" (see `rnnzoo.precision`).

    Raises
    ------
    ConfigError
        If network and preprocessor have other rates or alphabets.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.deepspeech import DeepSpeechConfig, PreprocessorConfig
    >>> from rnnzoo.deepspeech import SpeechPreprocessor, SpeechRecognizer
    >>> config = DeepSpeechConfig(num_layers=1, hidden_dim=8, conv_channels=(2, 2))
    >>> model = SpeechRecognizer(config, SpeechPreprocessor(PreprocessorConfig()))
    >>> model.predict((np.zeros(200, "float32"), 16000)).text  # less than a frame of sound
    ''
    """

    family = "deepspeech"
    raw_kind = "sound"
    config_type = DeepSpeechConfig
    preprocessor_config_type = PreprocessorConfig
    decoding_type = DecodingOptions
    changeable = (
        "dropout",
        "time_masks",
        "time_mask_frames",
        "frequency_masks",
        "frequency_mask_bands",
    )
    symbols = "recognizer/symbols"
    parts: ClassVar[Parts] = {
        "encoder": ("recognizer/conv_*", "recognizer/dense_*", *_RECURRENT, "recognizer/row_conv*"),
        "convolutions": ("recognizer/conv_*",),
        "dense": ("recognizer/dense_*",),
        "recurrent": _RECURRENT,
        "lookahead": ("recognizer/row_conv*",),
        "head": ("recognizer/output_dense/*", "recognizer/symbols/*"),
    }
    build_network = staticmethod(build_network)
    weight_shapes = staticmethod(weight_shapes)

    def __init__(
        self,
        config: DeepSpeechConfig,
        preprocessor: SpeechPreprocessor,
        decoding: DecodingOptions | None = None,
        dtype: str = "auto",
        **kwargs: Any,
    ) -> None:
        rate, symbols = preprocessor.config.sampling_rate, len(preprocessor.config.alphabet) + 1
        if (config.sampling_rate, config.num_symbols) != (rate, symbols):
            raise ConfigError(
                f"the network hears {config.sampling_rate:,} Hz and tells {config.num_symbols} "
                f"symbols apart, the preprocessor gives {rate:,} Hz and knows {symbols}: they "
                "belong to different checkpoints"
            )
        super().__init__(config, preprocessor, decoding, dtype, **kwargs)

    def _forget_graphs(self) -> None:
        super()._forget_graphs()
        self.network.get_layer("recognizer").stream_graphs = None

    @staticmethod
    def open_preprocessor(
        config: PreprocessorConfig, asset: Callable[[str], bytes]
    ) -> SpeechPreprocessor:
        name = config.language_model
        return SpeechPreprocessor(config, NGram.from_bytes(asset(name)) if name else None)

    def graphs(self) -> dict[str, Graph]:
        return graphs_of(self.network)

    def prediction_graphs(self) -> dict[str, Graph]:
        """With the spectrogram besides, for the picture of a transcript; "step" is for one stream
        alone."""
        graphs, recognizer = self.graphs(), self.network.get_layer("recognizer")
        whole = graphs["network"]

        def call(tensors: dict[str, Any]) -> dict[str, Any]:
            samples = tf.pad(tensors["samples"], [[0, 0], [0, self.config.frame_length]])
            out = recognizer.with_spectrogram(samples, tensors["lengths"])
            return dict(zip(("log_probs", "frames", "mels"), out, strict=True))

        mels = Axes("float32", ("batch", "heard", self.config.num_mels))
        outputs = {**whole.outputs, "mels": mels}
        graphs["network"] = dataclasses.replace(whole, call=call, outputs=outputs)
        if self._streams:
            graphs["step"] = Stepper(recognizer, alone=True).step_graph()
        return graphs

    # --- training --------------------------------------------------------------------------

    def check_pairs(self, pairs: list[tuple[Any, Any]]) -> None:
        for number, (recording, transcript) in enumerate(pairs):
            try:
                symbols = self.preprocessor.numbers(transcript)
            except InputError as error:
                raise InputError(f"target {number}: {error}") from error
            try:
                (found,) = read_recordings([recording])
            except InputError as error:
                raise InputError(f"input {number}: {error}") from error
            count = int(found.seconds * self.config.sampling_rate)
            spectrogram = max(0, (count - self.config.frame_length) // self.config.frame_step + 1)
            frames = -(-spectrogram // self.config.frame_stride)
            check_fits(number, symbols, frames, f"{found.seconds:.2f} s of sound")

    def training_batch(self, inputs: list[Any], targets: list[Any]) -> tuple[Any, Any, Any]:
        """Samples and lengths, labels and their lengths, and a weight for each row. An input is
        anything that `predict` takes for one recording, a target its transcript."""
        samples, lengths = self.preprocessor.pad(
            [self._heard(recording).samples for recording in read_recordings(inputs)]
        )
        labels, label_lengths = self.preprocessor.pad_text(targets)
        return (
            {"samples": samples, "lengths": lengths},
            {"labels": labels, "label_lengths": label_lengths},
            np.ones(len(inputs), np.float32),
        )

    # --- prediction ------------------------------------------------------------------------

    def example(self) -> Any:
        return np.zeros(8000, np.float32), 16_000

    def predict(
        self,
        inputs: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sampling_rate: int | None = None,
        hot_words: Mapping[str, float] | None = None,
        grammar: str | Sequence[str] | None = None,
        slots: Mapping[str, Sequence[str]] | None = None,
        **options: Any,
    ) -> Any:
        """Write down speech.

        Parameters
        ----------
        inputs : path, bytes or open sound file; (array, rate) pair; or an iterable of these
            See `rnnzoo.deepspeech.audio`.
        batch_size : int, optional
            Pieces of sound at once, at most. Does not change the result.
        verbose : "auto", 0 or 1
            A progress bar on standard error; "auto" shows it on a terminal for long input.
        sampling_rate : int, optional
            Of arrays that come without one, in hertz.
        hot_words : mapping, optional
            Words that are likely here, with what each adds to the score, in nats.
        grammar : str or sequence of str, optional
            The only sentences there are, with slots in braces: "play {song}". By default the
            checkpoint's, if it has one; () for none.
        slots : mapping, optional
            What may stand in each slot: {"song": ["one", "two"]}.
        **options
            Fields of `DecodingOptions`.

        Returns
        -------
        Transcript, or a list of them for several inputs

        Raises
        ------
        InputError
            For a recording that cannot be read, and for unknown options.
        MissingDependencyError
            For files and other rates than the network's without `rnnzoo[audio]`.
        """
        found = list(
            self.predict_each(
                inputs, batch_size, verbose, sampling_rate, hot_words, grammar, slots, **options
            )
        )
        return found[0] if is_single(inputs) else found

    def predict_each(
        self,
        inputs: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sampling_rate: int | None = None,
        hot_words: Mapping[str, float] | None = None,
        grammar: str | Sequence[str] | None = None,
        slots: Mapping[str, Sequence[str]] | None = None,
        **options: Any,
    ) -> Iterator[Transcript]:
        """As `predict`, one result after the other."""
        chosen = choose_options(self.decoding, options)
        batch_size = check_batch_size(batch_size, 16)
        language = grammar_for(self.preprocessor, grammar, slots)
        search = search_for(self.preprocessor, chosen, hot_words, language)
        recordings = map(self._heard, read_recordings(inputs, sampling_rate))
        return self._predict_each(recordings, batch_size, verbose, chosen, search, language)

    def _heard(self, recording: Recording) -> Recording:
        return resample(recording, self.config.sampling_rate)

    def _predict_each(
        self,
        recordings: Iterable[Recording],
        batch_size: int,
        verbose: Any,
        options: DecodingOptions,
        search: PrefixBeamSearch | None,
        grammar: Grammar | None,
    ) -> Iterator[Transcript]:
        waiting: list[tuple[Recording, list[tuple[int, int]]]] = []
        hidden = None if verbose == "auto" else not verbose
        with tqdm.tqdm(unit="s", disable=hidden, leave=False, delay=2) as bar:
            for recording in recordings:
                if self._streams and recording.seconds > self.preprocessor.config.max_seconds:
                    yield from self._transcripts(waiting, batch_size, options, search, grammar, bar)
                    waiting = []
                    yield self._streamed(recording, options, search, grammar, bar)
                    continue
                waiting.append((recording, self.preprocessor.pieces(recording)))
                if sum(len(pieces) for _, pieces in waiting) >= _WINDOW:
                    yield from self._transcripts(waiting, batch_size, options, search, grammar, bar)
                    waiting = []
            yield from self._transcripts(waiting, batch_size, options, search, grammar, bar)

    @property
    def _streams(self) -> bool:
        """Whether the network needs no future."""
        return not self.config.bidirectional and self.config.normalization == "running"

    def _streamed(
        self,
        recording: Recording,
        options: DecodingOptions,
        search: PrefixBeamSearch | None,
        grammar: Grammar | None,
        bar: Any,
    ) -> Transcript:
        """A long recording without cuts, as a stream hears it."""
        if search is not None:
            search.reset()
        recognizer = self.network.get_layer("recognizer")
        stream = TranscriptStream(
            recognizer,
            self.preprocessor,
            options,
            search,
            grammar,
            pictured_seconds=math.inf,
            engine=self.onnx_engine(),
        )
        step = int(self.preprocessor.config.max_seconds * self.config.sampling_rate)
        for begin in range(0, len(recording.samples), step):
            piece = recording.samples[begin : begin + step]
            stream.feed(piece)
            bar.update(round(len(piece) / self.config.sampling_rate))
        return dataclasses.replace(stream.finish(), name=recording.name)

    def _transcripts(
        self,
        recordings: list[tuple[Recording, list[tuple[int, int]]]],
        batch_size: int,
        options: DecodingOptions,
        search: PrefixBeamSearch | None,
        grammar: Grammar | None,
        bar: Any,
    ) -> Iterator[Transcript]:
        chunks = [
            recording.samples[begin:end]
            for recording, pieces in recordings
            for begin, end in pieces
        ]
        outputs: list[Any] = [None] * len(chunks)
        lengths = [len(chunk) for chunk in chunks]
        at_once = _SECONDS_AT_ONCE * self.config.sampling_rate
        for rows in batches_by_length(lengths, batch_size, at_once):
            for row, out in zip(rows, self._run([chunks[n] for n in rows]), strict=True):
                outputs[row] = out
            bar.update(round(sum(len(chunks[n]) for n in rows) / self.config.sampling_rate))
        heard = hypotheses([out[0] for out in outputs], search, options.num_hypotheses)
        found = iter(zip(outputs, heard, strict=True))
        for recording, pieces in recordings:
            parts = [
                (begin / self.config.sampling_rate, log_probs, mels, texts)
                for (begin, _), ((log_probs, mels), texts) in zip(pieces, found, strict=False)
            ]
            yield transcript_of(
                recording.name,
                recording.seconds,
                parts,
                self.preprocessor,
                self.config.seconds_per_frame,
                grammar,
                options.min_confidence,
            )

    def _run(self, chunks: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Log-probabilities and spectrogram of each chunk, by one graph for all shapes."""
        samples, lengths = self.preprocessor.pad(chunks)
        out = self._outputs(samples=samples, lengths=lengths)
        heard = np.asarray(self.network.get_layer("recognizer").spectrogram.num_frames(lengths))
        return [
            (p[:count], m[:seen].astype(np.float16))
            for p, count, m, seen in zip(
                out["log_probs"], out["frames"], out["mels"], heard, strict=True
            )
        ]

    def stream(
        self,
        sampling_rate: int | None = None,
        hot_words: Mapping[str, float] | None = None,
        grammar: str | Sequence[str] | None = None,
        slots: Mapping[str, Sequence[str]] | None = None,
        **options: Any,
    ) -> TranscriptStream:
        """Listen to sound as it comes.

        Parameters
        ----------
        sampling_rate : int, optional
            Of what will be fed, in hertz; the network's by default.
        hot_words, grammar, slots : optional
            As of `predict`.
        **options
            Fields of `DecodingOptions`.

        Returns
        -------
        TranscriptStream
            With `feed(samples)`, `partial()` and `finish()`; a context manager.

        Raises
        ------
        InputError
            If the network needs the whole recording.
        """
        chosen = choose_options(self.decoding, options)
        recognizer = self.network.get_layer("recognizer")
        language = grammar_for(self.preprocessor, grammar, slots)
        search = search_for(self.preprocessor, chosen, hot_words, language)
        return TranscriptStream(
            recognizer,
            self.preprocessor,
            chosen,
            search,
            language,
            sampling_rate,
            engine=self.onnx_engine(),
        )
