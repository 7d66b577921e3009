"""The networks of every family on `torch.nn`: the same named tensors in and out as the exported
graphs have.

Without dropout: they are timed in use, and in training with all rates at 0.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.torch_layers import (
    LSTM,
    AdditiveAttention,
    Arrays,
    SequenceBatchNorm,
    below,
    conv1d,
    is_real,
    linear,
    lstm_paths,
    tensor,
)
from bench.torch_sound import FrameNormalization, LogMel
from bench.torch_writer import Writer

CLIP = 20.0


class Localizer(nn.Module):
    """DeepLoc and Sønderby's A-LSTM, the mean of its members: `rnnzoo.deeploc.network`."""

    def __init__(self, config: SimpleNamespace, weights: Arrays) -> None:
        super().__init__()
        self.config = config
        table = tensor(weights["encoding"])
        self.members = nn.ModuleList(
            _Member(config, below(weights, f"member_{n}"), table) for n in range(config.num_members)
        )

    def forward(self, residues: Tensor) -> dict[str, Tensor]:
        outs = [member(residues) for member in self.members]
        return {name: torch.stack([out[name] for out in outs]).mean(0) for name in outs[0]}


class _Member(nn.Module):
    def __init__(self, config: SimpleNamespace, own: Arrays, table: Tensor) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("table", table)
        self.convolutions = nn.ModuleList(
            conv1d(own, f"conv_{width}") for width in config.filter_widths
        )
        self.second = conv1d(own, "second_conv")
        self.lstm = LSTM(own, *lstm_paths("bilstm", "lstm", True))
        self.attention = AdditiveAttention(own, "decoder/attention")
        self.cell = LSTM(own, "decoder/cell").cell() if config.attention_steps else None
        self.dense, self.location = linear(own, "dense"), linear(own, "location")
        self.membrane = linear(own, "membrane") if config.membrane else None

    def forward(self, residues: Tensor) -> dict[str, Tensor]:
        mask = residues != 0
        real = mask[:, None].to(torch.float32)  # [batch, 1, chain]
        x = functional.embedding(residues, self.table).transpose(1, 2)
        x = torch.relu(torch.cat([convolution(x) for convolution in self.convolutions], 1)) * real
        x = torch.relu(self.second(x)) * real
        annotations = self.lstm.outputs(x.transpose(1, 2), mask.sum(1))
        keys = self.attention.key(annotations)
        if self.cell is None:
            context, alignment = self.attention.attend(None, keys, annotations, mask)
        else:
            h = c = annotations.new_zeros(len(residues), self.config.decoder_dim)
            for step in range(self.config.attention_steps):
                context, alignment = self.attention.attend(h[:, None], keys, annotations, mask)
                if step + 1 < self.config.attention_steps:
                    h, c = self.cell(context[:, 0], (h, c))
        z = torch.relu(self.dense(context[:, 0]))
        out = {"location": torch.softmax(self.location(z), -1), "importance": alignment[:, 0]}
        if self.membrane is not None:
            out["membrane"] = torch.sigmoid(self.membrane(z))[:, 0]
        return out


class Recognizer(nn.Module):
    """Deep Speech 2 with LSTM layers: `rnnzoo.deepspeech.network`."""

    def __init__(self, config: SimpleNamespace, weights: Arrays) -> None:
        super().__init__()
        if config.cell != "lstm" or config.num_dense_layers or not config.batch_norm:
            raise ValueError("only Deep Speech 2 with LSTM layers and batch normalisation is here")
        self.config, own = config, below(weights, "recognizer")
        self.spectrogram = LogMel(config, weights["mel_filters"])
        self.normalization = FrameNormalization(config.normalization == "running")
        self.convolutions, self.convolution_norms = nn.ModuleList(), nn.ModuleList()
        strides = zip(config.time_strides, config.frequency_strides, strict=True)
        for number, stride in enumerate(strides, 1):
            kernel = own[f"conv_{number}/conv/kernel"]  # [time, frequency, channels, filters]
            time, frequency, channels, filters = kernel.shape
            layer = nn.Conv2d(
                channels, filters, (time, frequency), stride, (time // 2, frequency // 2)
            )
            with torch.no_grad():
                layer.weight.copy_(tensor(kernel.transpose(3, 2, 0, 1)))
                layer.bias.copy_(tensor(own[f"conv_{number}/conv/bias"]))
            self.convolutions.append(layer)
            self.convolution_norms.append(SequenceBatchNorm(own, f"conv_{number}/norm"))
        layers = range(1, config.num_layers + 1)
        self.norms = nn.ModuleList(SequenceBatchNorm(own, f"norm_{n}") for n in layers if n > 1)
        self.recurrent = nn.ModuleList(
            LSTM(own, *lstm_paths(f"lstm_{n}", f"lstm_{n}", config.bidirectional)) for n in layers
        )
        self.row = None
        if config.lookahead:
            kernel = own["row_conv/row/kernel"]  # [width, features, 1]
            width, features, _ = kernel.shape
            self.row = nn.Conv1d(features, features, width, groups=features)
            with torch.no_grad():
                self.row.weight.copy_(tensor(kernel.transpose(1, 2, 0)))
                self.row.bias.copy_(tensor(own["row_conv/row/bias"]))
        self.dense = linear(own, "output_dense") if config.output_dim else None
        self.symbols = linear(own, "symbols")

    def forward(self, samples: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        samples = functional.pad(samples, (0, max(0, self.config.frame_length - samples.shape[1])))
        x = self.spectrogram(samples)
        frames = self.spectrogram.num_frames(lengths)
        x = self.normalization(x, is_real(frames, x.shape[1]))[:, None]  # [batch, 1, frames, mels]
        strides = self.config.time_strides
        for convolution, norm, stride in zip(
            self.convolutions, self.convolution_norms, strides, strict=True
        ):
            frames = (frames + stride - 1) // stride
            x = convolution(x)
            real = is_real(frames, x.shape[2])
            x = norm(x.permute(0, 2, 3, 1), real)
            x = (x.clamp(0.0, CLIP) * real[:, :, None, None]).permute(0, 3, 1, 2)
        x = x.permute(0, 2, 3, 1).flatten(2)  # [batch, frames, bands x channels]
        return {"log_probs": self.recur(x, frames), "frames": frames}

    def recur(self, x: Tensor, frames: Tensor) -> Tensor:
        """From the last convolution's frames to log-probabilities."""
        real = is_real(frames, x.shape[1])
        for number, layer in enumerate(self.recurrent):
            x = self.norms[number - 1](x, real) if number else x
            if self.config.bidirectional:
                x = layer.outputs(x, frames)
                x = x[..., : layer.hidden_dim] + x[..., layer.hidden_dim :]
            else:  # what comes behind a row's end changes nothing before it
                x = layer(x)[0] * real[..., None]
        if self.row is not None:
            x = functional.pad(x.transpose(1, 2), (0, self.config.lookahead))
            x = self.row(x).transpose(1, 2) * real[..., None]
        if self.dense is not None:
            x = self.dense(x).clamp(0.0, CLIP)
        return torch.log_softmax(self.symbols(x), -1)


class Reader(nn.Module):
    """The network that reads ink: `rnnzoo.handwriting.reader_network`."""

    def __init__(self, config: SimpleNamespace, weights: Arrays) -> None:
        super().__init__()
        self.config, own = config, below(weights, "reader")
        self.convolution = conv1d(own, "conv", config.conv_stride)
        self.recurrent = nn.ModuleList(
            LSTM(own, *lstm_paths(f"lstm_{n}", f"lstm_{n}", True))
            for n in range(1, config.num_layers + 1)
        )
        self.symbols = linear(own, "symbols")

    def forward(self, points: Tensor, counts: Tensor) -> dict[str, Tensor]:
        height = points[..., 1:2].cumsum(1)
        x = torch.cat([points[..., :2] / self.config.spacing, points[..., 2:], height], -1)
        x = x * is_real(counts, points.shape[1])[..., None]
        x = torch.relu(self.convolution(x.transpose(1, 2))).transpose(1, 2)
        frames = (counts + self.config.conv_stride - 1) // self.config.conv_stride
        x = x * is_real(frames, x.shape[1])[..., None]
        for layer in self.recurrent:
            x = layer.outputs(x, frames)
        return {"log_probs": torch.log_softmax(self.symbols(x), -1), "frames": frames}


class Translator(nn.Module):
    """Encoder and decoder, with attention or without: `rnnzoo.seq2seq.network`."""

    def __init__(self, config: SimpleNamespace, weights: Arrays) -> None:
        super().__init__()
        self.config, c = config, config
        if c.residual or not c.tied_embeddings or c.readout != "tanh":
            raise ValueError("residual layers, untied embeddings and maxout are not here")
        self.embedding = nn.Parameter(tensor(weights["target_embedding/embeddings"]))
        both = [n < c.num_bidirectional_layers for n in range(c.num_encoder_layers)]
        self.encoder = nn.ModuleList(
            LSTM(weights, *lstm_paths(f"encoder/{'bi' * two}lstm_{n}", f"lstm_{n}", two))
            for n, two in enumerate(both)
        )
        layers = range(c.num_decoder_layers)
        self.decoder = nn.ModuleList(LSTM(weights, f"decoder/lstm_{n}/lstm_cell") for n in layers)
        self.cells = [layer.cell() for layer in self.decoder]  # these weights again
        self.attention, self.bridges = None, nn.ModuleList()
        if c.attention is not None:
            self.attention = AdditiveAttention(weights, "decoder/attention")
            self.bridges.extend(linear(weights, f"decoder/bridge_{n}") for n in layers)
        self.readout = linear(weights, "decoder/readout")

    def encode(self, source: Tensor) -> dict[str, Any]:
        """What a search needs of source tokens [batch, source]."""
        mask = source != self.config.pad_id
        x, lengths = functional.embedding(source, self.embedding), mask.sum(1)
        if self.attention is None:  # what is handed on is c, too, which packing alone gives
            states = []
            for layer in self.encoder:
                x, h, c = layer(x, lengths)
                states += [(h, c)]
            return {"mask": mask, "state": states[-len(self.decoder) :]}
        for layer in self.encoder:
            x = layer.outputs(x, lengths)
        ends = [torch.tanh(bridge(layer.last(x, lengths))) for bridge in self.bridges]
        state = [(h, torch.zeros_like(h)) for h in ends]
        return {"annotations": x, "keys": self.attention.key(x), "mask": mask, "state": state}

    def teacher_forcing(self, tokens: Tensor, start: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Readouts and alignment [batch, target, source] of target tokens [batch, target]."""
        x, context = functional.embedding(tokens, self.embedding), None
        alignment = x.new_zeros(*tokens.shape, start["mask"].shape[1])
        for layer, (h, c) in zip(self.decoder, start["state"], strict=True):
            given = x if context is None else torch.cat([x, context], -1)
            x, *_ = layer(given, state=(h[None], c[None]))
            if context is None and self.attention is not None:
                context, alignment = self.attention.attend(
                    x, start["keys"], start["annotations"], start["mask"]
                )
        return self._readout(x, context), alignment

    def step(
        self, tokens: Tensor, state: list[tuple[Tensor, Tensor]], start: dict[str, Any]
    ) -> tuple[Tensor, Tensor | None, list[tuple[Tensor, Tensor]]]:
        """Logits [batch, hypotheses, vocab], alignment and the next state, parts of which are
        [batch x hypotheses, units], of the last tokens [batch, hypotheses]."""
        x, context, alignment = functional.embedding(tokens.flatten(), self.embedding), None, None
        after = []
        for cell, before in zip(self.cells, state, strict=True):
            h, c = cell(x if context is None else torch.cat([x, context], -1), before)
            after.append((h, c))
            x = h
            if context is None and self.attention is not None:
                attended, alignment = self.attention.attend(
                    h.reshape(*tokens.shape, -1),
                    start["keys"],
                    start["annotations"],
                    start["mask"],
                )
                context = attended.flatten(0, 1)
        logits = self.logits(self._readout(x, context)).reshape(*tokens.shape, -1)
        return logits, alignment, after

    def _readout(self, x: Tensor, context: Tensor | None) -> Tensor:
        return torch.tanh(self.readout(x if context is None else torch.cat([x, context], -1)))

    def logits(self, readout: Tensor) -> Tensor:
        """Scores of every piece."""
        return functional.linear(readout, self.embedding)

    def forward(self, source_tokens: Tensor, target_tokens: Tensor) -> dict[str, Tensor]:
        readout, alignment = self.teacher_forcing(target_tokens, self.encode(source_tokens))
        return {"logits": self.logits(readout), "alignment": alignment}


_NETWORKS = {
    "deeploc": Localizer,
    "deepspeech": Recognizer,
    "handwriting": Writer,
    "handwriting_prediction": Writer,
    "handwriting_reader": Reader,
    "seq2seq": Translator,
}


def build_network(family: str, config: dict[str, Any], weights: Arrays) -> nn.Module:
    """The network of a family, ready for use; `weights` as `families.arrays_of` gives them."""
    return _NETWORKS[family](SimpleNamespace(**config), weights).eval()
