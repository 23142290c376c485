"""The model that a training starts from, and what training has to change in it."""

from __future__ import annotations

import copy

import torch
from torch import distributed
from transformers import AutoConfig, AutoModelForSemanticSegmentation, PreTrainedModel

from helpers.hub import SAFE_WEIGHTS, explained
from helpers.labels import label_names
from helpers.language import say
from helpers.processes import is_first_process
from helpers.profiles import Profile


def build_model(profile: Profile, dropout: bool = True) -> PreTrainedModel:
    """The profile's pretrained encoder under a new decode head; without dropout, if that is asked.

    A finished model of `AutoModelForSemanticSegmentation` can take the encoder's place (the
    profile's `encoder`, with `encoder_revision` None). If its classes differ from the data's, its
    last layer is new, and a printed sentence says so; another one says that nothing is new. The
    model's `new_weights` are the names of those that are random.
    """
    source, names = profile.encoder, profile.labels.names
    where = {"revision": profile.encoder_revision or "main"}
    with explained(source, revision=profile.encoder_revision):
        config = AutoConfig.from_pretrained(source, trust_remote_code=False, **where)
        before = label_names(config)
        config.id2label, config.label2id = profile.labels.id2label, profile.labels.label2id
        if not dropout:
            for part in filter(None, (config, getattr(config, "backbone_config", None))):
                chances = [name for name, value in vars(part).items() if isinstance(value, float)]
                part.update({name: 0.0 for name in chances if "drop" in name})
        model, report = AutoModelForSemanticSegmentation.from_pretrained(
            source,
            config=config,
            ignore_mismatched_sizes=len(before) != len(names),  # of the last layer
            output_loading_info=True,
            **where,
            **SAFE_WEIGHTS,
        )
    new = set(report["missing_keys"])
    last = set() if before == names else _weights_of_labels(model) - new
    for module in sorted({name.rpartition(".")[0] for name in last}):
        model.get_submodule(module).reset_parameters()
    if last and is_first_process():
        text = (
            "{model} predicts {count} labels ({first}, ...), and the data has {labels}: the last "
            "layer is new"
        )
        print(say(text, source, len(before), ", ".join(before[:3]), profile.labels))
    elif not new and is_first_process():
        print(say("no weight of {model} is new: all learn at the encoder's learning rate", source))
    model.new_weights = new | last
    return model


def _weights_of_labels(model: PreTrainedModel) -> set[str]:
    """The weights of the last layer: those whose shape depends on the number of labels."""
    config = copy.deepcopy(model.config)
    config.num_labels += 1
    with torch.device("meta"):  # where tensors have a shape and no values
        other = dict(type(model)(config).named_parameters())
    return {name for name, one in model.named_parameters() if one.shape != other[name].shape}


def silence_rounding(model: PreTrainedModel) -> None:
    """Set gradients to zero that would be zero but for rounding, and that Adam takes for real.

    Batch normalisation subtracts the batch's mean, and with it whatever the biases before it have
    added. Their gradients of 1e-9 are rounding errors. Adam divides by a gradient's size, so it
    turns them into steps as large as any: a random walk, different on each machine. The running
    mean that evaluation uses lags behind it, which costs a few per cent of the score in a run's
    first steps.
    """
    norm = getattr(getattr(model, "decode_head", None), "batch_norm", None)
    if norm is None:
        return
    last = len(model.config.depths) - 1  # nothing but the head follows its norm
    last_norms = (f"stages.{last}.layer_norm.bias", f"encoder.layer_norm.{last}.bias")
    for name, weight in model.named_parameters():
        of_projection = "decode_head." in name and name.endswith(".proj.bias")
        if weight.requires_grad and (of_projection or name.endswith(last_norms)):
            # In evaluation mode the norm subtracts no mean of the batch: then they are real.
            weight.register_hook(lambda gradient: gradient * (not norm.training))


# --- several processes ----------------------------------------------------------------------------


def share_batch_norm(model: PreTrainedModel) -> None:
    """Let every batch normalisation of a model see the images of all processes; in place."""
    if model.device.type != "cpu":
        torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in model.modules():
        if type(module) is torch.nn.BatchNorm2d:
            module.__class__ = _GatheredBatchNorm2d  # the tensors and their names stay


class _GatheredBatchNorm2d(torch.nn.BatchNorm2d):
    """What `SyncBatchNorm` does, on CPUs too, where that refuses: by gathering whole batches."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(features)
        everyone = super().forward(_Gathered.apply(features.contiguous()))
        return everyone.chunk(distributed.get_world_size())[distributed.get_rank()]


class _Gathered(torch.autograd.Function):
    """The batches of all processes as one, which are of equal size."""

    @staticmethod
    def forward(context: object, tensor: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(tensor) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, tensor)
        return torch.cat(parts)

    @staticmethod
    def backward(context: object, gradient: torch.Tensor) -> torch.Tensor:
        # Every process's loss depends on all of them, and so on this process's part.
        total = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total.chunk(distributed.get_world_size())[distributed.get_rank()]
