"""AdamW with warm-up and cosine, clipped gradients, and the moving average of the weights that is served."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from activemimic_policy.model.flow_policy import FlowPolicy
from torch import Tensor
from torch.distributed.tensor import DTensor

from activemimic_training.trainer.optimization.distributed import fill, own_part
from activemimic_training.trainer.setup.train_config import OptimizerSection


def learning_rate(step: int, steps: int, settings: OptimizerSection) -> float:
    """The rate of a step, from zero: linear up over warmup_steps, then a cosine down to final_lr_share at the end."""
    if step < settings.warmup_steps:
        return settings.lr * (step + 1) / settings.warmup_steps
    share = (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
    return settings.lr * (settings.final_lr_share + (1 - settings.final_lr_share) * cosine)


def ema_share(step: int, decay: float) -> float:
    """How much of the new weights enters the average at a step, from zero: much at first, 1 - decay later."""
    return 1 - min(decay, (1 + step) / (10 + step))


class Optimisation:
    """A model under training: its weights, their moving average and AdamW's moments, advanced one step at a time."""

    def __init__(self, model: FlowPolicy, settings: OptimizerSection, steps: int, ema_decay: float) -> None:
        self.model = model
        self._settings, self._steps, self._ema_decay = settings, steps, ema_decay
        trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        self._names, self._parameters = zip(*trained, strict=True)
        self._frozen = {name: p.detach() for name, p in model.named_parameters() if not p.requires_grad}
        self._ema = [parameter.detach().clone() for parameter in self._parameters]
        self._adam = torch.optim.AdamW(
            self._parameters,
            lr=settings.lr,
            betas=(settings.beta1, settings.beta2),
            weight_decay=settings.weight_decay,
            fused=True,
        )

    def advance(self, step: int) -> tuple[float, float]:
        """Applies the gradients of a step, from zero; returns learning rate and gradient norm before clipping."""
        lr = learning_rate(step, self._steps, self._settings)
        for group in self._adam.param_groups:
            group["lr"] = lr
        clipped = torch.nn.utils.clip_grad_norm_(self._parameters, self._settings.clip_norm)
        norm = float(clipped.full_tensor() if isinstance(clipped, DTensor) else clipped)
        if math.isfinite(norm):
            self._adam.step()
            averages, weights = ([own_part(x.detach()) for x in group] for group in (self._ema, self._parameters))
            torch._foreach_lerp_(averages, weights, ema_share(step, self._ema_decay))
        self._adam.zero_grad()
        return lr, norm

    def averaged_weights(self) -> dict[str, Tensor]:
        """The weights to serve, by parameter name."""
        return {**dict(zip(self._names, self._ema, strict=True)), **self._frozen}

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within it the model has the averaged weights."""
        current = [parameter.detach().clone() for parameter in self._parameters]
        with torch.no_grad():
            try:
                for parameter, average in zip(self._parameters, self._ema, strict=True):
                    parameter.copy_(average)
                yield
            finally:
                for parameter, value in zip(self._parameters, current, strict=True):
                    parameter.copy_(value)

    def state(self) -> dict[str, dict[str, Tensor]]:
        """All that changes during training, as named tensors in three groups."""
        moments: dict[str, Tensor] = {}
        for name, parameter in zip(self._names, self._parameters, strict=True):
            for key, tensor in self._adam.state[parameter].items():
                moments[f"{name}:{key}"] = tensor
        weights = {name: p.detach() for name, p in zip(self._names, self._parameters, strict=True)}
        averages = dict(zip(self._names, self._ema, strict=True))
        return {"model": weights | self._frozen, "ema": averages, "optimizer": moments}

    def blank(self) -> dict[str, dict[str, Tensor]]:
        """Tensors of the shapes of `state()`, before the first step too."""
        moments = {}
        for name, parameter in zip(self._names, self._parameters, strict=True):
            moments[f"{name}:step"] = torch.zeros(())
            for key in ("exp_avg", "exp_avg_sq"):
                moments[f"{name}:{key}"] = torch.zeros_like(parameter)
        weights = {name: torch.zeros_like(p.detach()) for name, p in self.model.named_parameters()}
        averages = {name: torch.zeros_like(p.detach()) for name, p in zip(self._names, self._parameters, strict=True)}
        return {"model": weights, "ema": averages, "optimizer": moments}

    def restore(self, state: dict[str, dict[str, Tensor]]) -> None:
        """Takes over a former `state()`. Raises KeyError or RuntimeError when it is another model's."""
        with torch.no_grad():
            for name, frozen in self._frozen.items():
                fill(frozen, state["model"][name])
            for name, parameter, average in zip(self._names, self._parameters, self._ema, strict=True):
                fill(parameter, state["model"][name])
                fill(average, state["ema"][name])
                moments = {"step": state["optimizer"][f"{name}:step"].clone()}
                for key in ("exp_avg", "exp_avg_sq"):
                    # AdamW's fused kernel walks raw memory: the moments must lie as their parameter does.
                    moments[key] = torch.zeros_like(parameter)
                    fill(moments[key], state["optimizer"][f"{name}:{key}"])
                self._adam.state[parameter] = moments
