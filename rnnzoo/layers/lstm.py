"""`keras.layers.LSTM` with its arithmetic arranged for a CPU.

The equations, the weights and the results are those of `keras.layers.LSTM`; on a GPU this layer
hands over to it, so that cuDNN takes the recurrence. On a CPU Keras multiplies inputs by the
kernel and sums the kernels' gradients step by step. Here both are single products over all
steps, and only what truly recurs stays in the loop: measured on two cores (batch 100, 20 steps,
two layers of 512 units), one training step took 0.65 of Keras' time in float32, 0.8 in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from rnnzoo.layers.portable import has_native_lstm, is_portable, native_lstm


def gates(z: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Gates i, f, g, o, the new cell state and its tanh from pre-activations (float32)."""
    i, f, g, o = tf.split(tf.cast(z, tf.float32), 4, axis=-1)
    i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
    c = f * c + i * g
    return i, f, g, o, c, tf.tanh(c)


def _forward(
    z: tf.Tensor, u: tf.Tensor, h0: tf.Tensor, c0: tf.Tensor, keep: tf.Tensor, for_gradient: bool
) -> tuple[Any, ...]:
    """Outputs and last cell state of the recurrence; all cell states and gates too if asked for."""
    steps, batch, units, dtype = z.shape[0] or tf.shape(z)[0], z.shape[1], u.shape[0], z.dtype

    def body(t: Any, h: Any, c: Any, *stores: Any) -> tuple[Any, ...]:
        mask = keep[t]
        i, f, g, o, c_new, tanh_c = gates(z[t] + tf.matmul(h, u), c)
        c_new = mask * c_new + (1.0 - mask) * c
        h = tf.cast(mask * (o * tanh_c) + (1.0 - mask) * tf.cast(h, tf.float32), dtype)
        values = (h, c_new, tf.cast(tf.concat([i, f, g, o], -1), dtype))
        written = (s.write(t, value) for s, value in zip(stores, values, strict=False))
        return (t + 1, h, c_new, *written)

    stores = [step_store(steps, units, dtype, batch)]
    if for_gradient:
        stores += [
            step_store(steps, units, tf.float32, batch),
            step_store(steps, 4 * units, dtype, batch),
        ]
    _, _, c_last, *stores = tf.while_loop(lambda t, *_: t < steps, body, (0, h0, c0, *stores))
    return (c_last, *(s.stack() for s in stores))


def step_store(steps: Any, width: int, dtype: tf.DType, batch: int | None = None) -> tf.TensorArray:
    """Of [batch, width] each; LiteRT has them where all of it is known beforehand."""
    return tf.TensorArray(dtype, steps, element_shape=[batch, width])


def lstm_recurrence(
    z: tf.Tensor,
    u: tf.Tensor,
    h0: tf.Tensor,
    c0: tf.Tensor,
    keep: tf.Tensor,
    training: bool = False,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The recurrence h_t = LSTM(z_t + h_{t-1} u), all projections of the input made before.

    Parameters
    ----------
    z : [time, batch, 4 units]
        Input projections x W + b, gates in Keras' order i, f, g, o.
    u : [units, 4 units]
        Recurrent kernel, in z's dtype.
    h0, c0 : [batch, units]
        Initial state; c0 in float32.
    keep : [time, batch, 1], float32
        1 where a step counts; where it is 0 the state is carried over unchanged.
    training : bool
        Use the gradient that is written out. Without it TensorFlow's own is there, slower and
        the same; an exported model has no place for the other.

    Returns
    -------
    outputs : [time, batch, units]
    c : [batch, units]
        Last cell state, float32.

    Examples
    --------
    >>> import tensorflow as tf
    >>> from rnnzoo.layers.lstm import lstm_recurrence
    >>> z, u, state = tf.ones((5, 2, 12)), tf.ones((3, 12)), tf.zeros((2, 3))
    >>> outputs, c = lstm_recurrence(z, u, state, state, tf.ones((5, 2, 1)))
    >>> outputs.shape
    TensorShape([5, 2, 3])
    """
    if training:
        return _recurrence_with_gradient(z, u, h0, c0, keep)
    c_last, outputs = _forward(z, u, h0, c0, keep, for_gradient=False)
    return outputs, c_last


@tf.custom_gradient
def _recurrence_with_gradient(
    z: tf.Tensor, u: tf.Tensor, h0: tf.Tensor, c0: tf.Tensor, keep: tf.Tensor
) -> tuple[tuple[tf.Tensor, tf.Tensor], Callable[..., Any]]:
    steps, units, dtype = tf.shape(z)[0], u.shape[0], z.dtype
    c_last, outputs, all_c, all_gates = _forward(z, u, h0, c0, keep, for_gradient=True)

    def gradient(d_outputs: tf.Tensor, d_c_last: tf.Tensor) -> tuple[Any, ...]:
        u_transposed = tf.transpose(u)
        previous_h = tf.concat([h0[None], outputs[:-1]], 0)
        previous_c = tf.concat([c0[None], all_c[:-1]], 0)

        def backward(t: Any, dh: Any, dc: Any, dzs: Any) -> tuple[Any, ...]:
            mask = keep[t]
            i, f, g, o = tf.split(tf.cast(all_gates[t], tf.float32), 4, axis=-1)
            tanh_c = tf.tanh(all_c[t])
            dh = dh + tf.cast(d_outputs[t], tf.float32)
            dh_step, dc_step = mask * dh, mask * dc
            dc_step = dc_step + dh_step * o * (1.0 - tanh_c * tanh_c)
            dz = tf.concat(
                [
                    dc_step * g * i * (1.0 - i),
                    dc_step * previous_c[t] * f * (1.0 - f),
                    dc_step * i * (1.0 - g * g),
                    dh_step * tanh_c * o * (1.0 - o),
                ],
                -1,
            )
            dz = tf.cast(dz, dtype)
            dh = tf.cast(tf.matmul(dz, u_transposed), tf.float32) + (1.0 - mask) * dh
            dc = dc_step * f + (1.0 - mask) * dc
            return t - 1, dh, dc, dzs.write(t, dz)

        _, dh0, dc0, dzs = tf.while_loop(
            lambda t, *_: t >= 0,
            backward,
            (steps - 1, tf.zeros_like(c_last), d_c_last, step_store(steps, 4 * units, dtype)),
        )
        dz = dzs.stack()
        du = tf.matmul(
            tf.reshape(previous_h, [-1, units]), tf.reshape(dz, [-1, 4 * units]), transpose_a=True
        )
        return dz, du, tf.cast(dh0, dtype), dc0, tf.zeros_like(keep)

    return (outputs, c_last), gradient


@keras.saving.register_keras_serializable(package="rnnzoo")
class Orthogonal(keras.initializers.Orthogonal):
    """`keras.initializers.Orthogonal` made in float32: TensorFlow's QR decomposition, which it
    needs, has no kernel for bfloat16 and float16."""

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return keras.ops.cast(super().__call__(shape, "float32"), dtype or keras.config.floatx())


@keras.saving.register_keras_serializable(package="rnnzoo")
class LSTM(keras.layers.LSTM):
    """Long short-term memory layer (Hochreiter and Schmidhuber 1997; Gers et al. 2000).

    Takes the arguments of `keras.layers.LSTM`, holds the same weights under the same names and
    gives the same results; see the module's docstring for what differs on a CPU.

    Input is [batch, time, features]; output [batch, units], or [batch, time, units] with
    `return_sequences=True`. Masked steps carry the state over.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.layers import LSTM
    >>> layer = LSTM(8, return_sequences=True)
    >>> layer(np.ones((2, 5, 3), "float32")).shape
    TensorShape([2, 5, 8])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if type(self.cell.recurrent_initializer) is keras.initializers.Orthogonal:
            self.cell.recurrent_initializer = Orthogonal(
                **self.cell.recurrent_initializer.get_config()
            )

    def _runs_here(self) -> bool:
        cell = self.cell
        plain = (
            cell.activation is keras.activations.tanh
            and cell.recurrent_activation is keras.activations.sigmoid
            and cell.use_bias
            and not (cell.dropout or cell.recurrent_dropout or self.unroll or self.stateful)
        )
        return plain and (is_portable() or not tf.config.list_physical_devices("GPU"))

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> Any:
        if not self._runs_here():
            return super().inner_loop(sequences, initial_state, mask, training=training)
        if isinstance(mask, (list, tuple)):
            mask = mask[0]
        dtype = self.compute_dtype
        x = tf.transpose(tf.cast(sequences, dtype), [1, 0, 2])  # [time, batch, features]
        if has_native_lstm():
            h0, c0 = initial_state
            weights = (self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias)
            outputs, last, c_last = native_lstm(x, *weights, h0, c0, mask, self.go_backwards)
            outputs = tf.reverse(outputs, [0]) if self.go_backwards else outputs
            sequence = tf.transpose(outputs, [1, 0, 2]) if self.return_sequences else last[:, None]
            return last, sequence, [last, c_last]
        kernel, recurrent_kernel, bias = (
            tf.cast(tf.convert_to_tensor(weight), dtype)
            for weight in (self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias)
        )
        if self.go_backwards:
            x = tf.reverse(x, [0])
        time, batch = tf.shape(x)[0], tf.shape(x)[1]
        z = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), kernel) + bias
        z = tf.reshape(z, [time, batch, 4 * self.units])
        if mask is None:
            keep = tf.ones([time, batch, 1], tf.float32)
        else:
            keep = tf.cast(tf.transpose(mask), tf.float32)[..., None]
            keep = tf.reverse(keep, [0]) if self.go_backwards else keep
        h0, c0 = initial_state
        outputs, c_last = lstm_recurrence(
            z,
            recurrent_kernel,
            tf.cast(h0, dtype),
            tf.cast(c0, tf.float32),
            keep,
            training=bool(training),
        )
        last = outputs[-1]
        if mask is not None:  # Keras' outputs are zero until the first step that counts
            shown = keep if self.zero_output_for_mask else tf.minimum(tf.cumsum(keep), 1.0)
            outputs *= tf.cast(shown, dtype)
        sequence = tf.transpose(outputs, [1, 0, 2]) if self.return_sequences else last[:, None]
        return last, sequence, [last, tf.cast(c_last, dtype)]
