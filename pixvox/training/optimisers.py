"""The optimisers of a PixVoxLM's training."""

import torch
from torch import Tensor

from pixvox.modeling import PixVoxLM
from pixvox.training.recipe import Training


def optimisers_of(model: PixVoxLM, plan: Training) -> list[torch.optim.Optimizer]:
    """Returns the optimisers of the trained parameters: AdamW, and Muon if the plan has it.

    Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks") is used
    only for matrices of the decoder's layers. Its steps are scaled to the size of AdamW's (Liu et
    al. 2025, "Muon is scalable for LLM training", section 2.2), so that one learning rate suits
    both.
    """
    hidden, rest = list[Tensor](), list[Tensor]()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_hidden = plan.optimiser == "muon" and name.startswith("layers.")
            (hidden if is_hidden and parameter.ndim == 2 else rest).append(parameter)
    rate, decay = plan.learning_rate, plan.weight_decay
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=decay)
    ]
    if hidden:
        optimisers.append(
            torch.optim.Muon(hidden, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        )
    return optimisers
