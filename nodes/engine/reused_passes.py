"""What a `Reuse` stage does: some steps leave passes out, and predictions made from an earlier step stand for theirs.

The host goes on as if all passes had been made: it combines the pair at the weight of the step, and our rules and the
functions of other nodes see that pair.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable
from dataclasses import dataclass

from torch import Tensor

from . import branches, guided
from .run import Run
from .stages import Add, Reuse

PLACES = ("sampler_pre_cfg_function", "sampler_post_cfg_function")


@dataclass(frozen=True)
class Held:
    """What a step that made all its passes keeps for later ones.

    step         the step's index
    sigma        (B,), the level of the call
    differences  for each pass but the positive's, by its name (`BranchHandler.names`): the positive's prediction minus
                 that of the pass
    """

    step: int
    sigma: Tensor
    differences: dict[Hashable, Tensor]


@dataclass(frozen=True)
class Passes:
    """The passes of one call: all of them, or at a step that reuses predictions as few as possible.

    positive  the conditionings of the pass that is always made
    weakened  the conditionings that added terms work on; None if no term counts. Where they are others than `positive`
              (Dual CFG Guider) their pass is made too. Only terms see its prediction: the pair gets a reused one
    """

    run: Run
    stage: Reuse
    positive: list
    weakened: list | None

    def predictions(self, calculate, batch: list, names: list[Hashable], sigma: Tensor, size: tuple) -> list[Tensor]:
        """The predictions that `calculate(batch)` returns, with as few conditionings evaluated as this step allows.

        `size` is the shape of the latent.
        """
        at = next((i for i, cond in enumerate(batch) if cond is self.positive), None)
        level = self.run.call.step.called_at
        asked = [cond is not None and branches.in_time(cond, level) for cond in batch]
        others = {i: of for i, of in enumerate(names) if asked[i] and i != at}
        if at is None or not others:
            return calculate(batch)
        memory = self.run.memory(self.stage, size)
        made = [cond if i == at or cond is self.weakened else None for i, cond in enumerate(batch)]
        self.run.call.reusing = self.serves(memory.value, others.values())
        self.run.account.count(self.stage, len(others), sum(made[i] is None for i in others) * self.run.call.reusing)
        if self.run.call.reusing:
            out = calculate(made)
            self.run.call.weakened = next((out[i] for i in others if made[i] is not None), None)
            return self.reused(out, at, others, memory.value, sigma)
        out = calculate(batch)
        memory.keep(Held(self.run.call.step.index, sigma.clone(), {of: out[at] - out[i] for i, of in others.items()}))
        return out

    def serves(self, held: Held | None, names) -> bool:
        """Whether `held` is recent enough, comes from an earlier step and has a difference for each of `names`."""
        if held is None or not all(of in held.differences for of in names):
            return False
        return 0 < self.run.call.step.index - held.step < self.run.value(self.stage, self.run.call.step)

    def reused(self, out: list[Tensor], at: int, others: dict, held: Held, sigma: Tensor) -> list[Tensor]:
        network = self.run.network
        levels = {"sigma": network.sigma_seen(sigma), "sigma_last": network.sigma_seen(held.sigma)}
        made = {i: self.stage.rule(out[at], held.differences[of], network.seen, **levels) for i, of in others.items()}
        return [made.get(i, prediction) for i, prediction in enumerate(out)]


def of_step(guider, run: Run, model_options: dict) -> Passes | None:
    """The passes of this step; None if no `Reuse` stage counts, or if somebody wants all of them (which is logged)."""
    stage = next(iter(run.counting(Reuse, 1.0)), None)
    if stage is None:
        return None
    onlooker = onlooker_of_passes(guider, run, model_options)
    if onlooker:
        run.say(
            f"{stage.node} leaves no pass out beside {onlooker}, which looks into the negative's; bypass either node.",
            logging.WARNING,
        )
        return None
    weakened = guider.conds.get(run.guider_kind.contrasted) if run.counting(Add, 1.0) else None
    return Passes(run, stage, guider.conds["positive"], weakened)


def name_witnesses(model_options: dict, run: Run) -> None:
    """Say that the functions of other nodes see reused predictions where passes are left out."""
    others = guided.functions_of_others(model_options, *PLACES)
    if "sampler_cfg_function" in model_options:
        others.append(model_options["sampler_cfg_function"])
    for stage in run.of(Reuse):
        if others and run.ever_counts(stage, run.before):
            names = ", ".join(map(guided.name, others))
            run.say(
                f"{stage.node}: where the negative is not predicted, functions of other nodes ({names}) see the reused "
                f"one."
            )


def onlooker_of_passes(guider, run: Run, model_options: dict) -> str:
    """Who looks into the negative's pass itself, where a reused prediction would not do; "" if nobody does.

    A node that wants the negative even at weight 1 may be reading the attention of its pass. A sampler that wants it
    reads the prediction only, and is no onlooker.
    """
    if "sampler_calc_cond_batch_function" in model_options:
        return f"{guided.name(model_options['sampler_calc_cond_batch_function'])} of another node"
    if guider.model_options.get("disable_cfg1_optimization", False):
        return "a node that asks for the negative even at cfg 1"
    counting = run.counting(Add, 1.0)
    return next((stage.node for stage in counting if hasattr(run.terms[stage], "watch")), "")
