"""What convolutions, pooling and batch normalization compute, in a layout that suits small networks on a CPU.

Arrays are (channels, *positions, batch). A convolution is then one matrix product and some slices, a pooling a few
slices, and what belongs to a channel is the first axis. With the batch last, slices, steps and padding along positions
move whole vectors. XLA's own convolution is many times slower on a CPU where channels are few.
"""

from .convolutions import can_join, convolution, convolution_and_average_pooling, depthwise_convolution
from .layout import batch_first, batch_last, batch_last_at_once
from .normalization import batch_normalization
from .poolings import average_pooling, max_pooling

__all__ = [
    "average_pooling",
    "batch_first",
    "batch_last",
    "batch_last_at_once",
    "batch_normalization",
    "can_join",
    "convolution",
    "convolution_and_average_pooling",
    "depthwise_convolution",
    "max_pooling",
]
