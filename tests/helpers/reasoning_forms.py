"""Responses of models that reason, one in each family's form, and chat templates of our own in which they are asked.

Each reasoning holds what a parser would read if it were taken for the answer.
"""

from dataclasses import dataclass

THOUGHT = "One might say the answer is yes. Final answer: yes"
ANSWER = "no"
TURNS = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|im_end|>{% endfor %}"
START = "{% if add_generation_prompt %}<|assistant|>"


@dataclass(frozen=True)
class Form:
    """`written` is what the model writes up to its answer; `prompt` is what its template ends a prompt with.

    `hint` is a part of the template that is never rendered, as templates name the marks they take out of old turns.
    `special` are the marks that are special tokens.
    """

    written: str
    prompt: str = ""
    hint: str = ""
    special: tuple[str, ...] = ()
    end: str = "<|im_end|>"
    turns: str = TURNS

    @property
    def template(self):
        hint = f"{{% if false %}}{self.hint}{{% endif %}}" if self.hint else ""
        return f"{hint}{self.turns}{START}{self.prompt}{{% endif %}}"


HARMONY_TURNS = (
    "{% for m in messages %}<|start|>{{ m['role'] }}{% if m['role'] == 'assistant' %}<|channel|>final{% endif %}"
    "<|message|>{{ m['content'] }}{% if m['role'] == 'assistant' %}<|return|>{% else %}<|end|>{% endif %}{% endfor %}"
)
CHANNELS = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>")

FORMS = {
    "DeepSeek-R1, opened by the prompt": Form(f"{THOUGHT}\n</think>\n\n", prompt="<think>\n"),
    "Qwen3": Form(f"<think>\n{THOUGHT}\n</think>\n\n", hint="{{ content.split('</think>') }}"),
    "Magistral": Form(f"[THINK]{THOUGHT}[/THINK]", hint="[THINK]", special=("[THINK]", "[/THINK]")),
    "MedGemma": Form(f"<unused94>thought\n{THOUGHT}<unused95>", special=("<unused94>", "<unused95>")),
    "Gemma 4": Form(
        f"<|channel>thought\n{THOUGHT}\n<channel|>", hint="<channel|>", special=("<|channel>", "<channel|>")
    ),
    "gpt-oss": Form(
        f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>",
        special=CHANNELS,
        end="<|return|>",
        turns=HARMONY_TURNS,
    ),
    "Command A": Form(
        f"<|START_THINKING|>{THOUGHT}<|END_THINKING|><|START_RESPONSE|>",
        hint="<|START_THINKING|>",
        special=("<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>"),
    ),
    "Seed-OSS": Form(f"<seed:think>{THOUGHT}</seed:think>", hint="<seed:think>"),
    "EXAONE Deep": Form(f"<thought>\n{THOUGHT}\n</thought>\n\n", hint="<thought>"),
    "Kimi": Form(f"◁think▷{THOUGHT}◁/think▷", hint="◁think▷"),
    "HuatuoGPT-o1": Form(f"## Thinking\n\n{THOUGHT}\n\n## Final Response\n\n"),
    "m1": Form(
        f"<|im_start|>think\n{THOUGHT}\n<|im_start|>answer\n",
        special=("<|im_start|>",),
    ),
    "Granite 3.2": Form(f"Here is my thought process:\n{THOUGHT}\n\nHere is my response:\n"),
    "OpenThinker": Form(
        f"<|begin_of_thought|>\n\n{THOUGHT}\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\n",
        special=("<|begin_of_thought|>", "<|end_of_thought|>", "<|begin_of_solution|>"),
    ),
}
"""Family → its form. Those without hint or prompt have templates that do not say that the model reasons."""
