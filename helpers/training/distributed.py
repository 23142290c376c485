"""What several processes need to train the model that one process would.

`Trainer` and `accelerate` share a batch among processes and average the gradients. Two things
are left: batch normalisation would still see only each process's own images, and if one process
finds a mistake and stops, the others would wait for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from accelerate.utils import gather_object
from torch import distributed

from helpers.processes import processes

Result = TypeVar("Result")


class SharedBatchNorm2d(torch.nn.BatchNorm2d):
    """Batch normalisation over the batch of all processes, as `SyncBatchNorm`, on CPUs too.

    `torch.nn.SyncBatchNorm` refuses tensors that are not on a GPU. Parameters and buffers have
    the names of `BatchNorm2d`, so checkpoints are the same.
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width) float to the same."""
        if not self.training:
            return super().forward(features)
        wide = features.float()  # statistics need more digits than bfloat16 has
        number = wide.new_tensor([float(features.numel() // features.shape[1])])
        total = _sum_over_processes(torch.cat([wide.sum((0, 2, 3)), number]))
        number = total[-1]
        mean = total[:-1] / number
        centered = wide - mean[:, None, None]
        # From the deviations: a difference of sums of squares would lose its digits.
        variance = _sum_over_processes(centered.square().sum((0, 2, 3))) / number
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * number / (number - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centered * scale[:, None, None] + self.bias[:, None, None]).to(features.dtype)


def share_batch_norm(model: torch.nn.Module) -> None:
    """Turn every `BatchNorm2d` of a model, in place, into one over the batch of all processes."""
    for module in model.modules():
        if type(module) is torch.nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d  # the tensors and their names stay


def together(step: Callable[[], Result]) -> Result:
    """Take a step in every process; if it fails in one, all raise, so that none waits for it.

    Raises:
        ValueError: the step raised it, or an OSError, in some process; with the message of the
            first one. The process group is closed then.
    """
    state = processes()
    result = fault = None
    try:
        result = step()
    except (ValueError, OSError) as error:
        fault = str(error) or type(error).__name__
    for message in gather_object([fault]):
        if message is not None:
            state.destroy_process_group()  # or a process may abort on its way out
            raise ValueError(message)
    return result


class _Sum(torch.autograd.Function):
    """As `torch.distributed.nn.functional.all_reduce`, which newer releases of torch deprecate."""

    @staticmethod
    def forward(context: object, tensor: torch.Tensor) -> torch.Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: object, gradient: torch.Tensor) -> torch.Tensor:
        # Every process's loss depends on the sum, and so on this process's tensor.
        return _Sum.apply(gradient)


def _sum_over_processes(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of all processes' tensors of this shape, with gradients to each of them."""
    if distributed.is_available() and distributed.is_initialized():
        return _Sum.apply(tensor)
    return tensor
