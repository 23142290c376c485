"""What several processes need, so that they train the model that one process would.

`Trainer` and `accelerate` share a batch among processes and average the gradients. Two things
would still differ from one process with the whole batch: batch normalisation, and the images
with which a last, incomplete batch is filled up.
"""

from __future__ import annotations

import torch
from torch import distributed


class SharedBatchNorm2d(torch.nn.BatchNorm2d):
    """Batch normalisation over the batch of all processes, as `SyncBatchNorm`, on CPUs too.

    `torch.nn.SyncBatchNorm` refuses tensors that are not on a GPU. Parameters and buffers have
    the names of `BatchNorm2d`, so checkpoints are the same.
    """

    counts = True
    """False: this process's images only stand in for missing ones, and count for nothing."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width) float to the same; batches may differ in size."""
        if not self.training:
            return super().forward(features)
        wide = features.float()  # statistics need more digits than bfloat16 has
        number = wide.new_tensor([float(features.numel() // features.shape[1])])
        total = _sum_over_processes(self.counts * torch.cat([wide.sum((0, 2, 3)), number]))
        number = total[-1]
        mean = total[:-1] / number
        centerd = wide - mean[:, None, None]
        # From the deviations, not from sums of squares, which cancel.
        variance = _sum_over_processes(self.counts * centerd.square().sum((0, 2, 3))) / number
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * number / (number - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centerd * scale[:, None, None] + self.bias[:, None, None]).to(features.dtype)


def share_batch_norm(model: torch.nn.Module) -> None:
    """Make every `BatchNorm2d` of a model, in place, one over the batch of all processes."""
    for module in model.modules():
        if type(module) is torch.nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d  # the tensors and their names stay


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(context: object, tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.clone()
        distributed.all_reduce(tensor)
        return tensor

    @staticmethod
    def backward(context: object, gradient: torch.Tensor) -> torch.Tensor:
        # Every process's loss depends on the sum, and so on this process's tensor.
        gradient = gradient.contiguous().clone()
        distributed.all_reduce(gradient)
        return gradient


def _sum_over_processes(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of all processes' tensors of this shape, with gradients to each of them."""
    if distributed.is_available() and distributed.is_initialized():
        return _Sum.apply(tensor)
    return tensor
