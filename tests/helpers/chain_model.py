"""A tiny GPT-2 whose weights are set by hand: it writes one given text, whatever it reads, a token a position."""

from itertools import pairwise

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from mibe.models.hf.model import HfModel

POSITIONS = 320


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


def chain_model(tokenizer, prompt, text, *, after=("", "")):
    """A model that writes `text` after `prompt`; and, wherever the end of the first of `after` stands, the second."""
    size = len(tokenizer)
    config = transformers.GPT2Config(
        vocab_size=size,
        n_positions=POSITIONS,
        n_embd=2 * size + POSITIONS,
        n_layer=1,
        n_head=1,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = transformers.GPT2LMHeadModel(config).float().eval()
    ids = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.fill_(float("ln_" in name and name.endswith("weight")))
        # What is read and where it stands are one number each; no layer adds to them, and the head looks them up.
        model.transformer.wte.weight[:, :size] = torch.eye(size)
        model.transformer.wpe.weight[:, size : size + POSITIONS] = torch.eye(POSITIONS)
        first = len(ids(prompt)) - 1
        for number, token in enumerate(ids(text)):
            model.lm_head.weight[token, size + first + number] = 1.0
        rule = [*ids(after[0])[-1:], *ids(after[1])]
        for token, following in pairwise(rule):
            model.lm_head.weight[following, token] = 4.0
    return model


def chain(form, answer, *, prompt="Q", after=("", "")):
    """A model that writes a form's reasoning and an answer, and the rendered prompt after which it does."""
    tokenizer = chain_tokenizer(form.template, form.special)
    turns = [{"role": "user", "content": prompt}]
    rendered = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    text = form.written + answer + form.end
    model = chain_model(tokenizer, rendered, text, after=after)
    return HfModel.wrap(model, tokenizer, name="chain", batch_size=8), rendered
