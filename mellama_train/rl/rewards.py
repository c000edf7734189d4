"""mibe's rewards, one a task, as TRL calls reward functions: for all answers of a batch at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import mibe
from mellama_train.rl.recipe import RewardTerms
from mellama_train.rl.tasks import Prompt
from mibe.task import Outcome

if TYPE_CHECKING:
    from mibe import Reward


class TaskReward:
    """The reward of one task. To answers to other tasks' prompts it says nothing (None), as TRL has it.

    Its name in TRL's figures is the task's: `rewards/pubmedqa/mean`. Beside it stand the share of answers with each
    outcome, and how right the answers are where the reward has other terms too.

    Parameters
    ----------
    reward
        mibe's reward of the task.
    prompts
        Document → its prompt.
    ends
        Tokens that end an answer; one that ends otherwise was cut by the limit on tokens.
    tokens
        Task → tokens of prompts and answers so far, which is counted on.
    """

    def __init__(
        self, reward: Reward, prompts: Mapping[str, Prompt], ends: Collection[int], tokens: Counter[str]
    ) -> None:
        self.__name__ = reward.task.name
        self._reward, self._prompts, self._ends, self._tokens = reward, prompts, ends, tokens

    def __call__(
        self,
        *,
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]],
        task: Sequence[str],
        document: Sequence[str],
        log_metric: Callable[[str, float], None],
        **_: Any,
    ) -> list[float | None]:
        """A score for each answer, None for those of other tasks. TRL's other columns and state are not looked at."""
        own = [place for place, name in enumerate(task) if name == self.__name__]
        prompts = [self._prompts[document[place]] for place in own]
        answers = [_before(_text(completions[place]), prompt.stop) for place, prompt in zip(own, prompts, strict=True)]
        cut = [
            completion_ids[place][-1] not in self._ends and not ended
            for place, (_, ended) in zip(own, answers, strict=True)
        ]
        given = self._reward.judge(
            [text for text, _ in answers],
            [prompt.example for prompt in prompts],
            prompts=[prompt.asked for prompt in prompts],
            cut=cut,
        )
        scores: list[float | None] = [None] * len(task)
        for place, prompt, found in zip(own, prompts, given, strict=True):
            scores[place] = found.score
            self._tokens[self.__name__] += prompt.tokens + len(completion_ids[place])
            log_metric(f"rewards/{self.__name__}/right", found.right)
            for outcome in (Outcome.PARSED, Outcome.UNPARSED, Outcome.TRUNCATED, Outcome.REFUSED):
                log_metric(f"outcomes/{self.__name__}/{outcome}", float(found.outcome == outcome))
        return scores


def task_rewards(
    prompts: Sequence[Prompt],
    terms: RewardTerms,
    tokenizer: Any,
    ends: Collection[int],
    tokens: Counter[str],
) -> list[TaskReward]:
    """The reward functions of all tasks of these prompts; `terms` are the weights of a reward's other terms."""
    by_task: dict[str, dict[str, Prompt]] = {}
    for prompt in prompts:
        by_task.setdefault(prompt.task, {})[prompt.example.id] = prompt
    return [
        TaskReward(
            mibe.reward(
                name,
                format=terms.format,
                length=terms.length,
                prompt_end=prompt_end(next(iter(documents.values())), tokenizer),
            ),
            documents,
            ends,
            tokens,
        )
        for name, documents in by_task.items()
    ]


def prompt_end(prompt: Prompt, tokenizer: Any) -> str:
    """What the chat template puts behind the turns of a prompt, where an answer begins; nothing for plain text."""
    if isinstance(prompt.asked, str):
        return ""
    turns = list(prompt.asked)
    whole: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return whole.removeprefix(tokenizer.apply_chat_template(turns, tokenize=False))


def _text(completion: Any) -> str:
    """What the model wrote: a text, or the one turn of a chat. Where TRL has parted a thought from it, without that."""
    return completion if isinstance(completion, str) else completion[0].get("content") or ""


def _before(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """The text before the first of the strings that end a plain answer, and whether there was one."""
    at = min((found for mark in stop if (found := text.find(mark)) >= 0), default=None)
    return (text, False) if at is None else (text[:at], True)
