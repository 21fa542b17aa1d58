"""Training the weights of a NeRF with their rate (cNeRF: Bird et al., "3D Scene
Compression through Entropy Penalized Neural Representation Functions", 2021).

    loss = D + λ R

The weights W of a layer are αŴ + β, or αŴ + β + γS where several scenes share S. Ŵ is
what the stream codes: D, where the paper adds uniform noise, is that of Ŵ rounded, with
gradients that pass straight through. A learned density of each layer's Ŵ, with that noise,
gives the rate R, and its integral over the bins around integers the table that is sent with
them. D and the units of λ are those of `refcodec.encoder.train`.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from refcodec import fields
from refcodec.encoder.adam import BETAS, BETAS_WITHOUT_RATE
from refcodec.encoder.latents import integer_step, step_value
from refcodec.encoder.loop import Moment, Schedule, TrainedFrame, TrainingProgress, train
from refcodec.encoder.presets import TrainingSettings
from refcodec.encoder.rays import ALPHA_WEIGHT, RayBank, TrainingPicture, visual_hull
from refcodec.entropy.coder import MAX_SYMBOL
from refcodec.entropy.models import StaticModel
from refcodec.errors import UsageError
from refcodec.syntax.coding import FrameType, Prediction, Tools
from refcodec.syntax.headers import Role, SequenceHeader
from refcodec.writer import FrameCoding, TensorCoding

_WEIGHTS = (Role.COARSE_WEIGHT, Role.FUSION_WEIGHT, Role.RENDER_WEIGHT)
# Shares of the iterations after which empty voxels are pruned, the rate term sets in (training is in float before), and
# the step sizes are frozen.
_PRUNE_AT, _RATE_START, _STEPS_UNTIL = (0.25, 0.5, 0.75), 0.25, 0.85
_WARM_UP = 50  # iterations
_STEP_RATE, _PRIOR_RATE = 0.02, 0.02  # Adam's, for the logarithms of step sizes and for the priors
_SCALAR_RATE = 0.1  # of the rate of weights, for β and γ, on which whole layers depend
_COMPONENTS = 3  # logistic distributions in a prior
_SMALLEST_MASS = 1e-9
_FIT_STEPS, _FIT_TOLERANCE = 25, 1e-5  # of a prior to the final symbols; bits a symbol
# Initial step sizes, in standard deviations of a layer's weights: with the rate term, and without.
_FIRST_STEP, _FINE_STEP = 1 / 16, 1 / 256
# Table variants to try: bits of their counts, and symbols at either end left to escapes.
_COUNT_BITS, _ESCAPED = range(6, 15, 2), (0, 1, 2, 4, 8)
_TABLE_ENTRIES = 4095  # besides the escape (R-MOD-13)


class Prior(torch.nn.Module):
    """Learned densities of the symbols of `layers` layers: mixtures of logistic distributions.

    Where a method takes `layer`, it is the layer of each symbol, int64 (N,).
    """

    def __init__(self, layers: int):
        super().__init__()
        self.location, self.log_scale, self.logit = (
            torch.nn.Parameter(torch.zeros((layers, _COMPONENTS))) for _ in range(3))

    def of(self, layer: int) -> Prior:
        """A copy for one layer alone, in double precision."""
        alone = Prior(1).double()
        for own, parameter in zip(alone.parameters(), self.parameters()):
            own.data.copy_(parameter.detach()[layer])
        return alone

    @torch.no_grad()
    def start(self, layer: int, symbols: torch.Tensor) -> None:
        """Initialises the location and scale of a layer from symbols (N,)."""
        low, middle, high = torch.quantile(symbols, symbols.new_tensor([0.16, 0.5, 0.84])).tolist()
        spread = max((high - low) / 2, 0.3)
        self.location[layer] = middle
        self.log_scale[layer] = torch.log(spread * torch.tensor([0.2, 0.4, 0.8], device=symbols.device))
        self.logit[layer] = 0

    def mass(self, symbols: torch.Tensor, layer: torch.Tensor) -> torch.Tensor:
        """Integral of the density over the unit interval around each symbol (N,)."""
        # On the side below the middle, where differences of sigmoids keep their precision.
        below = -(symbols[:, None] - self.location[layer]).abs()
        scale = torch.exp(-self.log_scale)[layer]
        part = torch.sigmoid((below + 0.5) * scale) - torch.sigmoid((below - 0.5) * scale)
        return (part * torch.softmax(self.logit, 1)[layer]).sum(1)

    def bits(self, symbols: torch.Tensor, layer: torch.Tensor) -> torch.Tensor:
        """Ideal code length of each symbol (N,)."""
        return -torch.log2(self.mass(symbols, layer) + _SMALLEST_MASS)


class LayerPrior:
    """The density of one layer once training is over: fitted to its final symbols (N,)."""

    def __init__(self, prior: Prior, symbols: torch.Tensor):
        symbols, self.prior = symbols.detach().cpu(), prior
        self.values, self.counts = torch.unique(symbols, return_counts=True)
        self.symbols = torch.sort(symbols).values
        self._fit()

    def _bits(self) -> torch.Tensor:
        values = self.values.double()
        return self.prior.bits(values, torch.zeros(len(values), dtype=torch.int64))

    def _fit(self) -> None:
        optimiser: torch.optim.Optimizer = torch.optim.LBFGS(
            self.prior.parameters(), max_iter=_FIT_STEPS, tolerance_change=_FIT_TOLERANCE,
            line_search_fn="strong_wolfe")
        share = self.counts / self.counts.sum()

        def loss() -> float:
            optimiser.zero_grad()
            bits = self._bits() @ share.double()
            torch.autograd.backward(bits)
            return float(bits.detach())

        before = [p.detach().clone() for p in self.prior.parameters()]
        bits = optimiser.step(loss)
        with torch.no_grad():
            if not self._bits() @ share.double() <= bits:  # a step too far, among outliers
                for parameter, value in zip(self.prior.parameters(), before):
                    parameter.copy_(value)

    @torch.no_grad()
    def mass(self, low: int, high: int) -> np.ndarray:
        """Integral of the density over the bins of the integers low to high."""
        entries = torch.arange(low, high + 1, dtype=torch.float64)
        return self.prior.mass(entries, torch.zeros(len(entries), dtype=torch.int64)).numpy()

    @torch.no_grad()
    def total_bits(self, symbols: torch.Tensor) -> float:
        """Ideal code length of some of the symbols."""
        symbols = symbols.detach().cpu().double()
        return self.prior.bits(symbols, torch.zeros(len(symbols), dtype=torch.int64)).sum().item()

    def table(self) -> StaticModel:
        """The static table of the density that codes the symbols in the fewest bytes, its own included."""
        values, counts = self.values.numpy().astype(np.int64), self.counts.numpy()
        tried: list[tuple[float, StaticModel]] = []
        for left_out in _ESCAPED:
            if 2 * left_out >= len(self.symbols):
                break
            low = int(self.symbols[left_out])
            high = min(int(self.symbols[-1 - left_out]), low + _TABLE_ENTRIES - 1)
            mass = self.mass(low, high)
            mass = (mass + _SMALLEST_MASS) / (mass + _SMALLEST_MASS).sum()
            outside = int(counts[(values < low) | (values > high)].sum())
            for bits in _COUNT_BITS:
                table = np.maximum(np.round(mass * (1 << bits)), 1).astype(np.int64)
                escape = max(1, round((outside << bits) / len(self.symbols))) if outside else 0
                model = StaticModel(((low, (*table.tolist(), escape)),))
                cost = 8 * _leb128_bytes(model.entries[0][1]) + _coded_bits(model, values, counts)
                tried.append((cost, model))
        return min(tried, key=lambda t: t[0])[1]


def _leb128_bytes(counts: Sequence[int]) -> int:
    """Size of counts in the stream (`uv`, spec 2.3)."""
    _, exponent = np.frexp(np.maximum(counts, 1))
    return int((-(-exponent // 7)).sum())


def _coded_bits(model: StaticModel, values: np.ndarray, counts: np.ndarray) -> float:
    """Code length of values that occur `counts` times, escapes included (spec 6.5)."""
    table = model.tables[0]
    entry = values - table.low
    excess = np.maximum(-entry, entry - table.size + 1)
    cost = table.bits[np.where(excess > 0, table.size, entry)]
    cost = cost + np.where(excess > 0, 2 + 2 * np.floor(np.log2(np.maximum(excess, 1))), 0)
    return float(cost @ counts)


def integer_gain(gain: float) -> tuple[int, int]:
    """(mantissa, exponent) of the factor of a shared tensor that is nearest to `gain` (spec 7.3)."""
    exponent = min(max(math.frexp(gain)[1] - 15, -16), 15)
    mantissa = min(max(round(gain * 2.0**-exponent), -32768), 32767)
    while mantissa and mantissa % 2 == 0 and exponent < 15:
        mantissa, exponent = mantissa // 2, exponent + 1
    return mantissa, exponent


class TrainedNetwork(torch.nn.Module):
    """αŴ + β of the tensors of one scene, or of those that scenes share, and an optimiser for them.

    A layer is what has α, β and a prior in common: a weight matrix, or all biases. Vectors
    are flat: the tensors of all layers, one after the other, weights before biases.
    ids: tensor_ids in that order. layer: of each value. values: αŴ. gain: γ of the weights,
    empty where there is no shared S.
    """

    def __init__(self, header: SequenceHeader, initial: dict[int, torch.Tensor], settings: TrainingSettings,
                 shared: bool):
        super().__init__()
        self.header, self.settings = header, settings
        weights = [i for i in initial if header.tensors[i].role in _WEIGHTS]
        biases = [i for i in initial if i not in weights]
        self.layers = [(i,) for i in weights] + ([tuple(biases)] if biases else [])
        self.ids = weights + biases
        self.sizes = [header.tensors[i].size for i in self.ids]
        self.layer_sizes = [sum(header.tensors[i].size for i in ids) for ids in self.layers]
        flat = torch.cat([initial[i] for i in self.ids])
        count, device = len(self.layers), flat.device
        self.layer = torch.repeat_interleave(torch.tensor(self.layer_sizes)).to(device)
        self.values = torch.nn.Parameter(flat)
        self.log_step = torch.nn.Parameter(torch.zeros(count, device=device), requires_grad=settings.learn_steps)
        self.offset = torch.nn.Parameter(torch.zeros(count, device=device))
        self.gain = torch.nn.Parameter(torch.ones(len(weights) if shared else 0, device=device))
        self.prior = Prior(count).to(device)
        self.steps: list[int] = []
        rate = settings.network_rate
        self.optimiser = torch.optim.Adam(
            [dict(params=[self.values], base=rate), dict(params=[self.offset, self.gain], base=_SCALAR_RATE * rate),
             dict(params=[self.log_step], base=_STEP_RATE), dict(params=self.prior.parameters(), base=_PRIOR_RATE)],
            lr=rate, betas=BETAS if settings.rate_loss else BETAS_WITHOUT_RATE, eps=1e-15, fused=True)

    @torch.no_grad()
    def start(self, shared: torch.Tensor | None) -> None:
        """Ends training in float: initial step sizes for the present weights, and initial priors."""
        share = _FIRST_STEP if self.settings.rate_loss else _FINE_STEP
        weights = self._with(self.values, shared, torch.ones_like(self.values))
        for i, (values, weight) in enumerate(zip(torch.split(self.values, self.layer_sizes),
                                                 torch.split(weights, self.layer_sizes))):
            step = float(weight.std(correction=0).clamp(min=1e-4)) * share
            self.log_step[i] = math.log(step)
            self.prior.start(i, values / step)

    @torch.no_grad()
    def fix_steps(self) -> None:
        """Freezes the step sizes at the nearest ones that the stream can express."""
        for i, ids in enumerate(self.layers):
            frac_bits = self.header.tensors[ids[0]].frac_bits
            self.steps.append(integer_step(math.exp(self.log_step[i].item()), frac_bits))
            self.log_step[i] = math.log(step_value(self.steps[i], frac_bits))
        self.log_step.requires_grad_(False)

    @staticmethod
    def _with(own: torch.Tensor, shared: torch.Tensor | None, gain: torch.Tensor) -> torch.Tensor:
        """own + gain * shared, as far as there is something shared."""
        if shared is None:
            return own
        n = len(shared)
        return torch.cat([own[:n] + gain[:n] * shared, own[n:]])

    def forward(self, quantised: bool, generator: torch.Generator,
                shared: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """αŴ + β + γS rounded as the stream has it or in float, flat, and its estimated bits (0 in float).

        shared: S, flat. In float, the weights are S alone where there is S: scenes begin to differ when the rate sets
        in, so that they share as much as possible.
        """
        if not quantised:
            own = self.values if shared is None else torch.cat([shared, self.values[len(shared):]])
            return own, own.new_zeros(())
        step = torch.exp(self.log_step)[self.layer]
        symbols = self.values / step
        error = (torch.round(symbols) - symbols).detach()  # the gradient passes straight through
        own = self.values + step * error + self.offset[self.layer]
        noise = torch.rand(symbols.shape, generator=generator, device=symbols.device) - 0.5
        bits = self.prior.bits(symbols + noise, self.layer).sum()
        if shared is None:
            return own, bits
        return self._with(own, shared, self.gain[self.layer[:len(shared)]]), bits

    def tensors(self, flat: torch.Tensor) -> dict[int, torch.Tensor]:
        """The parts of a flat vector by tensor_id."""
        return dict(zip(self.ids, torch.split(flat, self.sizes)))

    def step(self, decay: float) -> None:
        """One iteration of Adam with the present gradients; decay: of the learning rates."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["base"] * decay
        self.optimiser.step()
        self.optimiser.zero_grad()

    @torch.no_grad()
    def symbols(self) -> torch.Tensor:
        """Ŵ, rounded: flat float."""
        return torch.round(self.values / torch.exp(self.log_step)[self.layer]).clamp(-MAX_SYMBOL, MAX_SYMBOL)

    def state(self) -> dict[str, Any]:
        """Everything that is trained, and the optimiser's moments."""
        return dict(parameters=self.state_dict(), optimiser=self.optimiser.state_dict(), steps=self.steps)

    def restore(self, state: dict[str, Any]) -> None:
        """Takes over what `state` returned."""
        self.load_state_dict(state["parameters"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.steps = list(state["steps"])
        if self.steps:
            self.log_step.requires_grad_(False)

    def coding(self) -> tuple[dict[int, StaticModel], list[TensorCoding], dict[int, float]]:
        """Models, coded tensors, and by the priors the bits of each tensor's symbols."""
        models, codings, estimated = {}, [], {}
        symbols = self.symbols()
        tensors = self.tensors(symbols)
        for k, (ids, of_layer) in enumerate(zip(self.layers, torch.split(symbols, self.layer_sizes))):
            prior = LayerPrior(self.prior.of(k), of_layer)
            models[k] = prior.table()
            based = k < len(self.gain)
            base = integer_gain(self.gain[k].item()) if based else (0, 0)
            offset = round(self.offset[k].item() * 2.0**self.header.tensors[ids[0]].frac_bits)
            tools = Tools((self.steps[k],), Prediction.BASE if based else Prediction.CONSTANT, base=base, offset=offset)
            for i in ids:  # weights and biases have one channel
                values = tensors[i].view(-1, 1).to(torch.int32).cpu().numpy()
                codings.append(TensorCoding(i, values, k, tools))
                estimated[i] = prior.total_bits(tensors[i])
        return models, codings, estimated


class SceneViews:
    """The training views of one scene: the error of a field on their rays, and where there is nothing.

    header: as the scene sees it (`SequenceHeader.of_scene`).
    """

    def __init__(self, header: SequenceHeader, pictures: Sequence[TrainingPicture], settings: TrainingSettings,
                 generator: torch.Generator):
        self.header, self.batch = header, settings.rays
        self.device = generator.device
        self.ops = fields.TorchOps(self.device, mixed=settings.mixed_precision, compiled=settings.compiled)
        self.rays = RayBank(pictures, header, visual_hull(pictures, header), self.device, generator)

    @property
    def pixels(self) -> int:
        return self.rays.pixels

    def field(self, tensors: dict[int, torch.Tensor]) -> fields.RadianceField[torch.Tensor]:
        """The field of flat tensors."""
        shaped = [tensors[i].view(info.shape) for i, info in enumerate(self.header.tensors)]
        return fields.build(self.header, shaped, self.ops)

    def error(self, tensors: dict[int, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss of a batch of rays, and D over all pixels."""
        field = self.field(tensors)
        loss, distortion, samples = self.rays.error(field, self.batch)
        if field.coarse_samples:
            share = len(self.rays) / self.pixels
            loss = loss + ALPHA_WEIGHT * share * self._coarse_error(field, samples.position)
        return loss, distortion

    def _coarse_error(self, field: fields.RadianceField[torch.Tensor], position: torch.Tensor) -> torch.Tensor:
        """Mean squared difference of the coarse network's sample opacities from the fine one's: it only places
        samples."""
        with torch.no_grad():
            wanted = torch.exp(-field.density(position)[0] * self.rays.step)
        return (torch.exp(-field.coarse_density(position) * self.rays.step) - wanted).square().mean()

    def occlude(self, tensors: dict[int, torch.Tensor]) -> None:
        """Leaves samples behind opaque voxels out of batches."""
        self.rays.set_occluders(self.rays.voxel_density(self.field(tensors), 4).amin(0))

    def prune(self, tensors: dict[int, torch.Tensor]) -> None:
        """Prunes empty voxels."""
        self.rays.prune(self.field(tensors))


class NetworkTrainer:
    """NeRFs of one or more scenes, trained together (`loop.Trainer`); each scene is a member.

    header: of the file, with all its scenes. scenes: the training pictures of each.
    share: the scenes have a tensor S for every weight matrix in common. `settings`
    counts iterations for each scene. Raises UsageError.
    """

    def __init__(self, header: SequenceHeader, scenes: Sequence[Sequence[TrainingPicture]], settings: TrainingSettings,
                 *, share: bool = False, device: torch.device | str = "cpu"):
        if "cnerf" not in header.representation.systems:
            raise UsageError("cNeRF codes NeRFs: the representation must be mlp")
        if not header.has_occupancy:
            raise UsageError("training needs an occupancy grid")
        if share and not settings.rate_loss:
            raise UsageError("scenes come to differ from what they share by the rate term; it is switched off")
        if len(scenes) != header.scene_count:
            raise UsageError(f"the header has {header.scene_count} scenes, there are pictures of {len(scenes)}")
        self.header, self.settings = header, settings
        self.schedule = Schedule(settings.intra_iterations, settings.lagrangian if settings.rate_loss else 0.0,
                                 _RATE_START, _STEPS_UNTIL, _PRUNE_AT, len(scenes), _WARM_UP)
        self.generator = torch.Generator(torch.device(device)).manual_seed(settings.seed)
        self.views = [SceneViews(header.of_scene(i), pictures, settings, self.generator)
                      for i, pictures in enumerate(scenes)]
        self.shared: TrainedNetwork | None = None
        if share:
            initial = {i: w for i, w in self._initial().items() if header.tensors[i].role in _WEIGHTS}
            self.shared = TrainedNetwork(header, initial, settings, False)
        self.networks = [TrainedNetwork(header, self._initial(zero=share), settings, share) for _ in scenes]
        self.quantised = False
        self._bits = [0.0] * (len(scenes) + 1)  # of each scene; of what they share
        self._values: tuple[dict[int, torch.Tensor], torch.Tensor, torch.Tensor] | None = None

    def _initial(self, zero: bool = False) -> dict[int, torch.Tensor]:
        """Random weights of unit gain behind rectifiers (He et al. 2015), or zeros; zero biases."""
        out = {}
        for i, info in enumerate(self.header.tensors):
            out[i] = torch.zeros(info.size, device=self.generator.device)
            if info.role in _WEIGHTS and not zero:
                bound = math.sqrt(6 / info.shape[3])
                out[i].uniform_(-bound, bound, generator=self.generator)
        return out

    @property
    def pixels(self) -> int:
        return sum(views.pixels for views in self.views)

    @property
    def bits(self) -> float:
        return sum(self._bits)

    def values(self, scene: int) -> tuple[dict[int, torch.Tensor], torch.Tensor, torch.Tensor]:
        """Tensors of a scene, flat, by tensor_id, rounded or not as it is now; bits of
        its own and of the shared tensors."""
        shared, shared_bits = None, torch.zeros((), device=self.generator.device)
        if self.shared is not None:
            shared, shared_bits = self.shared(self.quantised, self.generator)
        network = self.networks[scene]
        flat, bits = network(self.quantised, self.generator, shared)
        return network.tensors(flat), bits, shared_bits

    def start_rate(self) -> None:
        self.quantised = True
        shared = None
        if self.shared is not None:
            self.shared.start(None)
            shared = self.shared.values
        for network in self.networks:
            network.start(shared)

    def fix_steps(self) -> None:
        for network in self._networks():
            network.fix_steps()

    def prepare(self, moment: Moment) -> None:
        self._values = self.values(moment.member)
        if moment.prunes:
            self.views[moment.member].prune(self._values[0])

    def occlude(self, moment: Moment) -> None:
        assert self._values is not None, "see `prepare`"
        self.views[moment.member].occlude(self._values[0])

    def descend(self, moment: Moment) -> torch.Tensor:
        assert self._values is not None, "see `prepare`"
        (tensors, own, shared), views = self._values, self.views[moment.member]
        loss, distortion = views.error(tensors)
        if self.quantised:  # the rate of what is shared counts once, not once a scene
            loss = loss + (moment.lagrangian / views.pixels) * (own + shared / len(self.views))
        torch.autograd.backward(loss)
        self.networks[moment.member].step(moment.learning)
        if self.shared is not None:
            self.shared.step(moment.learning)
        self._bits[moment.member], self._bits[-1] = own.item(), shared.item()
        return distortion

    def state(self) -> dict[str, Any]:
        return dict(networks=[n.state() for n in self._networks()], rays=[v.rays.state() for v in self.views],
                    generator=self.generator.get_state(), quantised=self.quantised, bits=self._bits)

    def restore(self, state: dict[str, Any]) -> None:
        for network, known in zip(self._networks(), state["networks"], strict=True):
            network.restore(known)
        for views, rays in zip(self.views, state["rays"], strict=True):
            views.rays.restore(rays)
        self.generator.set_state(state["generator"])
        self.quantised, self._bits = bool(state["quantised"]), list(state["bits"])

    def _networks(self) -> list[TrainedNetwork]:
        return [*self.networks, *([self.shared] if self.shared is not None else [])]

    def snapshot(self) -> tuple[list[np.ndarray], np.ndarray]:
        assert self._values is not None and len(self.views) == 1, "of one scene"
        header, flat = self.views[0].header, self._values[0]
        return [flat[i].detach().view(info.shape).cpu().numpy() for i, info in enumerate(header.tensors)], \
            self.views[0].rays.occupancy

    def finish(self) -> None:
        """Quantises what the schedule has left in float: all of it without a rate term."""
        if not self.quantised:
            self.start_rate()
        if not self.networks[0].steps:
            self.fix_steps()

    def frame(self, member: int, number: int, time_stamp: int) -> TrainedFrame:
        self.finish()
        models, codings, estimated = self.networks[member].coding()
        occupancy = self.views[member].rays.occupancy.copy()
        with torch.no_grad():
            views = self.views[member]
            opacity = views.rays.shown(views.field(self.values(member)[0]))
        return TrainedFrame(FrameCoding(number, FrameType.INTRA, time_stamp, occupancy, models, codings), estimated,
                            opacity)


def train_cnerf(header: SequenceHeader, pictures: Sequence[TrainingPicture], settings: TrainingSettings, *,
                number: int = 0, time_stamp: int = 0, device: torch.device | str = "cpu",
                on_progress: Callable[[TrainingProgress], None] | None = None) -> TrainedFrame:
    """Train one scene as an I-frame. Raises UsageError.

    Of `settings` it uses lagrangian, intra_iterations, rays, network_rate, rate_loss
    (False: trained in float, then quantised finely), learn_steps and seed.
    """
    trainer = NetworkTrainer(header, [pictures], settings, device=device)
    train(trainer, on_progress)
    return trainer.frame(0, number, time_stamp)
