"""Adam without `torch.optim.Optimizer`, whose first use loads torch's compiler: over two seconds of an encode."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import torch
from torch.optim.adam import adam

Name = TypeVar("Name", int, str)


# Decay of both moments in training, where the rate is in the loss and where it is not. A second moment with short
# memory makes files a quarter smaller at equal quality, presumably because a coefficient that few rays of a batch reach
# keeps shrinking between them; coarse quantisation after training without the rate, as the alternatives of the
# evaluation use it, loses a decibel by it.
BETAS, BETAS_WITHOUT_RATE = (0.9, 0.95), (0.9, 0.99)


class Adam(Generic[Name]):
    """Adam (Kingma and Ba, "Adam: a method for stochastic optimization", 2015).

    parameters: float tensors of any shapes on one device, by name, which it changes in place.
    betas, eps: as in the paper.
    """

    def __init__(self, parameters: Mapping[Name, torch.Tensor], betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8):
        self.parameters: dict[Name, torch.Tensor] = dict(parameters)
        self.betas, self.eps = betas, eps
        # Value, first and second moment, number of steps.
        self._state: dict[Name, tuple[torch.Tensor, ...]] = {
            name: (p.detach(), torch.zeros_like(p), torch.zeros_like(p), torch.zeros((), device=p.device))
            for name, p in parameters.items()}

    def state(self) -> dict[Name, list[torch.Tensor]]:
        """Both moments and the number of steps, by name."""
        return {name: list(state[1:]) for name, state in self._state.items()}

    @torch.no_grad()
    def restore(self, state: Mapping[Name, Sequence[torch.Tensor]]) -> None:
        """Takes over what `state` returned. Raises KeyError, ValueError."""
        for name, (_, *own) in self._state.items():
            for target, source in zip(own, state[name], strict=True):
                if target.shape != source.shape:
                    raise ValueError(f"a moment of shape {tuple(source.shape)} in place of {tuple(target.shape)}")
                target.copy_(source)

    def minimise(self, loss: torch.Tensor, rate: float) -> None:
        """One step at a learning rate along the gradient of a loss that depends on all the parameters."""
        gradients = torch.autograd.grad(loss, list(self.parameters.values()))
        self.step(dict(zip(self.parameters, gradients)), rate)

    @torch.no_grad()
    def step(self, gradients: Mapping[Name, torch.Tensor], rate: float) -> None:
        """One step at a learning rate. gradients: by name; parameters that have none stay as they are."""
        if not gradients:
            return
        values, first, second, steps = map(list, zip(*(self._state[name] for name in gradients)))
        adam(values, list(gradients.values()), first, second, [], steps, fused=True, amsgrad=False,
             beta1=self.betas[0], beta2=self.betas[1], lr=rate, weight_decay=0.0, eps=self.eps, maximize=False)
