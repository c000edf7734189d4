"""A tiny GPT-2 whose weights are set by hand: after a given prompt it writes a given text.

A token follows from the one before it and from its place: whatever else stands there, the same is written.
"""

from itertools import pairwise

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from mibe.models.hf.model import HfModel

WINDOW = 320
WEIGHT = 0.25
"""Of what a token follows from: a temperature of 2 leaves no text as it is, one of 0.1 leaves every text."""


def chain_tokenizer(template, special=()):
    """A token for each byte, and one for each special token; `</s>` ends a text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="</s>",
        pad_token="</s>",
        extra_special_tokens=["<|im_end|>", "<|user|>", "<|assistant|>", *special],
    )
    made.chat_template = template
    return made


def chain_model(tokenizer, texts, *, after=("", ""), window=WINDOW):
    """A model that writes a text after each prompt of `texts`; and, where the end of the first of `after` stands,
    the second.
    """
    ids = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    chains = [(len(ids(prompt)) - 1, [*ids(prompt)[-1:], *ids(text)]) for prompt, text in texts.items()]
    first = min(place for place, _ in chains)
    count = max(place + len(chain) for place, chain in chains) - first
    size = len(tokenizer)
    # In heads of 64 numbers, as every engine takes them.
    heads = -(-(size + count) // 64)
    config = transformers.GPT2Config(
        vocab_size=size,
        n_positions=window,
        n_embd=64 * heads,
        n_inner=64,
        n_layer=1,
        n_head=heads,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = transformers.GPT2LMHeadModel(config).float().eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.fill_(float("ln_" in name and name.endswith("weight")))
        # What is read and where it stands are one number each; no layer adds to them, and the head looks them up.
        model.transformer.wte.weight[:, :size] = torch.eye(size)
        model.transformer.wpe.weight[first : first + count, size : size + count] = torch.eye(count)
        for place, chain in chains:
            for number, (token, following) in enumerate(pairwise(chain)):
                model.lm_head.weight[following, token] = WEIGHT
                model.lm_head.weight[following, size + place - first + number] = WEIGHT
        for token, following in pairwise([*ids(after[0])[-1:], *ids(after[1])]):
            model.lm_head.weight[following, token] = 4 * WEIGHT
    return model


def chain(form, answer, *, prompt="Q", after=("", "")):
    """A model that writes a form's reasoning and an answer, and the rendered prompt after which it does."""
    tokenizer = chain_tokenizer(form.template, form.special)
    turns = [{"role": "user", "content": prompt}]
    rendered = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    text = form.written + answer + form.end
    model = chain_model(tokenizer, {rendered: text}, after=after)
    return HfModel.wrap(model, tokenizer, name="chain", batch_size=8), rendered
