"""What several processes need, so that they train the model that one process would.

`Trainer` and `accelerate` share a batch among processes and average the gradients. Two things
would still differ from one process with the whole batch: batch normalisation, and the pictures
with which a last, incomplete batch is filled up.
"""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise

import psutil
import torch
from torch import distributed


class SharedBatchNorm2d(torch.nn.BatchNorm2d):
    """Batch normalisation over the batch of all processes, as `SyncBatchNorm`, on CPUs too.

    `torch.nn.SyncBatchNorm` refuses tensors that are not on a GPU. Parameters and buffers have
    the names of `BatchNorm2d`, so checkpoints are the same.
    """

    counts = True
    """False: this process's pictures only stand in for missing ones, and count for nothing."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width) float to the same; batches may differ in size."""
        if not self.training:
            return super().forward(features)
        wide = features.float()  # statistics need more digits than bfloat16 has
        number = wide.new_tensor([float(features.numel() // features.shape[1])])
        total = _sum_over_processes(self.counts * torch.cat([wide.sum((0, 2, 3)), number]))
        number = total[-1]
        mean = total[:-1] / number
        centred = wide - mean[:, None, None]
        # From the deviations, not from sums of squares, which cancel.
        variance = _sum_over_processes(self.counts * centred.square().sum((0, 2, 3))) / number
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * number / (number - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(features.dtype)


def share_batch_norm(model: torch.nn.Module) -> None:
    """Make every `BatchNorm2d` of a model, in place, one over the batch of all processes."""
    for module in model.modules():
        if type(module) is torch.nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d  # the tensors and their names stay


def processes_wanted() -> int:
    """The N of `accelerate launch --num_processes N`, where accelerate started only one process.

    Without GPUs it leaves starting the others to MPI, and if there is none, it starts one and
    says nothing. It tells that one process a port to meet the others at, but not how many.

    Returns:
        N, or 1 where there is nothing to mend.
    """
    alone = "MASTER_PORT" in os.environ and "WORLD_SIZE" not in os.environ
    if not alone or "ACCELERATE_MIXED_PRECISION" not in os.environ or has_accelerator():
        return 1
    try:
        words = psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        return 1
    if not any("accelerate" in word for word in words):
        return 1  # MPI stands between, and has started all of them
    words = [part for word in words for part in word.replace("-", "_").split("=")]
    numbers = [after for word, after in pairwise(words) if word == _OPTION]
    return int(numbers[0]) if numbers and numbers[0].isdecimal() else 1


def start_processes(count: int, module: str, arguments: list[str]) -> int:
    """Run `python -m module arguments` in so many processes on this machine; the exit status."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    print(f"accelerate launch starts one process without GPUs: torchrun starts the {count}")
    sys.stdout.flush()
    command = [*torchrun, f"--nproc_per_node={count}", "-m", module, *arguments]
    return subprocess.call(command)


def has_accelerator() -> bool:
    """Whether there is a GPU, or another device that PyTorch trains on."""
    return torch.accelerator.is_available()


_OPTION = "__num_processes"


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
