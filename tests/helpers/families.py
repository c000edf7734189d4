"""Tiny models in the form of each family of models: its chat template, its special tokens, its way to an answer.

The templates are our own. They have of the makers' what bears on a score: where a system turn goes, or that there is
none; what ends a turn; which switches there are; and whether reasoning is opened, closed or named.
"""

from dataclasses import dataclass, field

from chain_model import chain_model, chain_tokenizer
from reasoning_forms import ANSWER, CHANNELS, FORMS, HARMONY_TURNS, THOUGHT

from mibe.models.local.counting import TokenizerOnly
from mibe.parsers.reasoning import opened_by, under_way
from mibe.registry import load_task
from mibe.run.asking import use_template
from mibe.run.plan import plan_task
from mibe.run.settings import Settings

TASK = "pubmedqa"
WINDOW = 6144
SYSTEM = "You are a careful clinician."

# Where a system turn goes: into the first user's turn, or nowhere.
FOLDED = (
    "{% if messages[0].role == 'system' %}{% set head = messages[0].content + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set head = '' %}{% endif %}"
)
REFUSED = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% set head = '' %}"
)
# A turn of the makers' own where the user has none.
DEFAULT = (
    "{% if messages[0].role != 'system' %}{% set messages = [{'role': 'system', 'content': 'SYSTEM'}] + messages %}"
    "{% endif %}"
)
INST = (
    "{% for m in messages %}{% if m.role == 'user' %}<s>[INST] {% if loop.first %}{{ head }}{% endif %}"
    "{{ m.content }} [/INST]{% else %} {{ m.content }}</s>{% endif %}{% endfor %}"
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN = DEFAULT.replace("SYSTEM", "You are a helpful assistant.") + CHATML
PHI = (
    "{% for m in messages %}<|im_start|>{{ m.role }}<|im_sep|>{{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant<|im_sep|>{% endif %}"
)
LLAMA3 = (
    "<|begin_of_text|>{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA = (
    "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{% if loop.first %}{{ head }}{% endif %}{{ m.content }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
GEMMA4 = (
    "{% if enable_thinking or messages[0].role == 'system' %}<|turn>system\n"
    "{% if enable_thinking %}<|think|>{% endif %}{% if messages[0].role == 'system' %}{{ messages[0].content }}"
    "{% set messages = messages[1:] %}{% endif %}<turn|>\n{% endif %}"
    "{% for m in messages %}<|turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content.split('<channel|>')[-1] }}<turn|>\n{% endfor %}{% if add_generation_prompt %}<|turn>model\n"
    "{% if not enable_thinking %}<|channel>thought\n<channel|>{% endif %}{% endif %}"
)
GRANITE = (
    "{% if thinking %}{% set messages = [{'role': 'system', 'content': 'ASKED'}] + messages %}{% endif %}"
    "{% for m in messages %}<|start_of_role|>{{ m.role }}<|end_of_role|>{{ m.content }}<|end_of_text|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}"
)
COMMAND = (
    "{% set reasoning = reasoning if reasoning is not undefined else true %}"
    "{% for m in messages %}<|START_OF_TURN_TOKEN|>{% if m.role == 'assistant' %}<|CHATBOT_TOKEN|><|START_RESPONSE|>"
    "{{ m.content }}<|END_RESPONSE|>{% else %}<|{{ m.role | upper }}_TOKEN|>{{ m.content }}{% endif %}"
    "<|END_OF_TURN_TOKEN|>{% endfor %}{% if add_generation_prompt %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"
    "{% if not reasoning %}<|START_THINKING|><|END_THINKING|>{% endif %}{% endif %}"
)
OLMO = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% if m.role == 'assistant' %}<|endoftext|>{% endif %}\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
R1 = (
    "{% if messages[0].role == 'system' %}{{ messages[0].content }}{% set messages = messages[1:] %}{% endif %}"
    "{% for m in messages %}{% if m.role == 'user' %}<｜User｜>{{ m.content }}{% else %}<｜Assistant｜>"
    "{{ m.content.split('</think>')[-1] }}<｜end▁of▁sentence｜>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<｜Assistant｜><think>\n{% endif %}"
)
MAGISTRAL = (
    DEFAULT.replace("SYSTEM", "Draft your thoughts first: [THINK]your thoughts[/THINK]your answer")
    + "{% for m in messages %}{% if m.role == 'system' %}[SYSTEM_PROMPT]{{ m.content }}[/SYSTEM_PROMPT]"
    "{% elif m.role == 'user' %}[INST]{{ m.content }}[/INST]{% else %}{{ m.content }}</s>{% endif %}{% endfor %}"
)
HARMONY = (
    "<|start|>system<|message|>Reasoning: {{ reasoning_effort | default('medium') }}\n# Valid channels: analysis, final"
    "<|end|>" + HARMONY_TURNS + "{% if false %}<|channel|>analysis{% endif %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
SWITCHED_OFF = "{% if add_generation_prompt and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
OPENED_OR_OFF = (
    "{% if add_generation_prompt %}<think>\n{% if enable_thinking is false %}\n</think>\n\n{% endif %}{% endif %}"
)
OPENED = "{% if add_generation_prompt %}<think>\n{% endif %}"


@dataclass(frozen=True)
class Family:
    """What a family's models write up to their answer (`written`), what ends it (`end`), and in which template.

    `known` is what the first lines of a run say of how its reasoning was recognised; where the template says nothing of
    it the run must be given room. `on` are the settings by which it reasons, `off` those by which it does not; `closed`
    is set where the template then closes the reasoning itself, so that a model must answer, after `begins`.
    """

    template: str | None
    written: str = ""
    special: tuple[str, ...] = ()
    end: str = "</s>"
    takes_system: bool = True
    known: str | None = None
    on: dict[str, object] = field(default_factory=dict)
    off: dict[str, object] | None = None
    closed: bool = False
    begins: str = ""

    @property
    def reasons(self):
        return bool(self.written)

    @property
    def settings(self):
        """Settings under which it reasons, with room for that."""
        room = {"thinking_budget": 200} if self.reasons and self.known is None else {}
        return self.on | room


LLAMA3_TOKENS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")
GRANITE_TOKENS = ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>")
MISTRAL_TOKENS = ("<s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[THINK]", "[/THINK]")
COMMAND_TOKENS = (
    *("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|USER_TOKEN|>", "<|SYSTEM_TOKEN|>"),
    *("<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>"),
)
THINK = FORMS["Qwen3"].written

FAMILIES = {
    "base model": Family(None, end="\n\nINPUT: another"),
    "Llama 2": Family(FOLDED + INST, special=("<s>",)),
    "Llama 3": Family(LLAMA3, special=LLAMA3_TOKENS, end="<|eot_id|>"),
    "Mistral": Family(REFUSED + INST, special=MISTRAL_TOKENS, takes_system=False),
    "Magistral": Family(
        MAGISTRAL, FORMS["Magistral"].written, special=MISTRAL_TOKENS, known="its chat template knows [THINK]"
    ),
    "Qwen 2.5": Family(QWEN, special=CHATML_TOKENS, end="<|im_end|>"),
    "Qwen 3": Family(
        CHATML + SWITCHED_OFF,
        THINK,
        special=CHATML_TOKENS,
        end="<|im_end|>",
        known="its chat template knows <think>",
        on={"thinking": "on"},
        off={"thinking": "off"},
        closed=True,
    ),
    "Qwen 3 Thinking": Family(
        CHATML + OPENED,
        f"{THOUGHT}\n</think>\n\n",
        special=CHATML_TOKENS,
        end="<|im_end|>",
        known="its prompt ends in <think>",
    ),
    "Qwen 3.5": Family(
        CHATML + OPENED_OR_OFF,
        f"{THOUGHT}\n</think>\n\n",
        special=(*CHATML_TOKENS, "<think>", "</think>"),
        end="<|im_end|>",
        known="its prompt ends in <think>",
        off={"thinking": "off"},
        closed=True,
    ),
    "DeepSeek-R1": Family(
        R1,
        f"{THOUGHT}\n</think>\n\n",
        special=("<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"),
        end="<｜end▁of▁sentence｜>",
        known="its prompt ends in <think>",
    ),
    "Gemma 2": Family(
        REFUSED + GEMMA, special=("<start_of_turn>", "<end_of_turn>"), end="<end_of_turn>", takes_system=False
    ),
    "MedGemma": Family(
        FOLDED + GEMMA,
        FORMS["MedGemma"].written,
        special=("<start_of_turn>", "<end_of_turn>", "<unused94>", "<unused95>"),
        end="<end_of_turn>",
    ),
    "Gemma 4": Family(
        GEMMA4,
        FORMS["Gemma 4"].written,
        special=("<|turn>", "<turn|>", "<|think|>", "<|channel>", "<channel|>"),
        end="<turn|>",
        known="its chat template knows <|channel>thought",
        on={"thinking": "on"},
        off={"thinking": "off"},
        closed=True,
    ),
    "gpt-oss": Family(
        HARMONY,
        FORMS["gpt-oss"].written,
        special=CHANNELS,
        end="<|return|>",
        known="its chat template knows <|channel|>analysis",
        on={"reasoning_effort": "high"},
    ),
    "Phi-4": Family(PHI, special=(*CHATML_TOKENS, "<|im_sep|>"), end="<|im_end|>"),
    "Phi-4-reasoning": Family(
        "<|im_start|>system<|im_sep|>Answer as <think> {thought} </think> {solution}<|im_end|>"
        + PHI.replace("messages %}", "messages if m.role != 'system' %}"),
        THINK,
        special=(*CHATML_TOKENS, "<|im_sep|>"),
        end="<|im_end|>",
        takes_system=False,
        known="its chat template knows <think>",
    ),
    "Granite 3.2": Family(
        GRANITE.replace("ASKED", "Write after \\'Here is my thought process:\\' and \\'Here is my response:\\'."),
        FORMS["Granite 3.2"].written,
        special=GRANITE_TOKENS,
        end="<|end_of_text|>",
        known="its chat template knows Here is my thought process:",
        on={"thinking": "on"},
        off={"thinking": "off"},
    ),
    "Granite 3.3": Family(
        GRANITE.replace("ASKED", "Write between <think></think> and <response></response>."),
        f"<think>{THOUGHT}</think>\n\n<response>",
        special=(*GRANITE_TOKENS, "</response>"),
        end="</response><|end_of_text|>",
        known="its chat template knows <think>",
        on={"thinking": "on"},
        off={"thinking": "off"},
    ),
    "OLMo 2": Family(OLMO, special=("<|endoftext|>",), end="<|endoftext|>"),
    "OLMo 3 Think": Family(
        CHATML + OPENED.replace("\n", ""),
        f"{THOUGHT}</think>\n\n",
        special=CHATML_TOKENS,
        end="<|im_end|>",
        known="its prompt ends in <think>",
    ),
    "Command A": Family(
        COMMAND,
        FORMS["Command A"].written,
        special=COMMAND_TOKENS,
        end="<|END_RESPONSE|><|END_OF_TURN_TOKEN|>",
        known="its chat template knows <|START_THINKING|>",
        on={"thinking": "on"},
        off={"thinking": "off"},
        closed=True,
        begins="<|START_RESPONSE|>",
    ),
    "HuatuoGPT-o1": Family(LLAMA3, FORMS["HuatuoGPT-o1"].written, special=LLAMA3_TOKENS, end="<|eot_id|>"),
    "m1": Family(QWEN, FORMS["m1"].written, special=CHATML_TOKENS, end="<|im_end|>"),
}
"""Name → its form."""


def tokenizer_of(family):
    return chain_tokenizer(family.template, family.special)


def prompt_of(tokenizer, **settings):
    """The task's first prompt as a model with this tokenizer reads it."""
    chosen = Settings(limit=1, **settings)
    model = TokenizerOnly("tiny", tokenizer, chat_template=True, context_window=None)
    use_template(model, chosen)
    plan = plan_task(load_task(TASK), chosen)
    return plan.prompts(model).build(next(iter(plan.documents))).text


def budget_of(family, tokenizer):
    """Tokens after which a reasoning has named an answer and is not over."""
    before, thought, _ = family.written.partition(THOUGHT)
    return len(tokenizer(before + thought.partition("Final")[0])["input_ids"])


def closed_prompt_of(family, tokenizer):
    """What the model has before it once its reasoning is closed at that budget; the mark is within it."""
    prompt, written = prompt_of(tokenizer, **family.on), tokenizer(family.written)["input_ids"]
    form = under_way(tokenizer.decode(written[: budget_of(family, tokenizer)]), opened_by(prompt))
    room = budget_of(family, tokenizer) - len(tokenizer(form.closing)["input_ids"])
    return f"{prompt}{tokenizer.decode(written[:room])}{form.closing}"


def save_family(name, folder):
    """Save a tiny model of a family, which answers the task's first question, and reasons unless it is switched off."""
    family = FAMILIES[name]
    tokenizer = tokenizer_of(family)
    answer = f"{'' if family.template else ' '}{ANSWER}{family.end}"
    texts = {prompt_of(tokenizer, **family.on): family.written + answer}
    if family.closed:
        texts[prompt_of(tokenizer, **family.off)] = family.begins + answer
    if family.reasons:
        texts[closed_prompt_of(family, tokenizer)] = answer
    chain_model(tokenizer, texts, window=WINDOW).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
