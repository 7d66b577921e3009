"""The dtype policy for a device.

On a CPU `auto` is float32. On a GPU with tensor cores it is mixed float16, which the cuDNN
recurrent kernels take. Softmax, attention energies and losses stay in float32 in every policy.
"""

from __future__ import annotations

from rnnzoo.errors import InputError

POLICIES = ("auto", "float32", "mixed_float16", "mixed_bfloat16", "float16", "bfloat16")


def resolve(dtype: str = "auto") -> str:
    """The name of the Keras dtype policy that `dtype` means on this machine.

    Parameters
    ----------
    dtype : str
        "auto", or a policy: float32, mixed_float16, mixed_bfloat16, float16, bfloat16.

    Raises
    ------
    InputError
        For any other name.

    Examples
    --------
    >>> from rnnzoo import precision
    >>> precision.resolve("mixed_bfloat16")
    'mixed_bfloat16'
    """
    if dtype not in POLICIES:
        raise InputError(f"dtype must be one of {', '.join(POLICIES)}; got {dtype!r}")
    if dtype != "auto":
        return dtype
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "float32"
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    tensor_cores = all(d.get("compute_capability", (0, 0)) >= (7, 0) for d in details)
    return "mixed_float16" if tensor_cores else "float32"
