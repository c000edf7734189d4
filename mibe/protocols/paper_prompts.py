"""Prompts in the wording of the released builder (Me-LLaMA, `src/preprocess_instruct.py`), line breaks included.

The paper's table A2 prints most of them differently. Two data sets have no builder there: BioNLI takes MedNLI's
wording, as it does in table A2, and i2b2 that of table A2 in the form of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mibe.task import Example, Prompt, letter, shown_fields

PUBMEDQA = Prompt(
    instruction=(
        "As an expert doctor in clinical science and medical knowledge, can you tell me if the following statement is "
        "correct? Answer yes, no, or maybe.\n"
    ),
    input="{context}\n{question}\n",
    cue="The answer is:\n",
    cut=("context",),
    verbatim=True,
)


def question_mark(example: Example) -> Mapping[str, str]:
    """The fields of an examination question; one that ends with neither "?" nor "." gets a question mark."""
    question = example.inputs["question"]
    return {**shown_fields(example), "question": question if question.endswith(("?", ".")) else question + "?"}


def examination(prompt: Prompt) -> Prompt:
    """The prompt of MedQA and MedMCQA: the instruction of table A2, another cue and a blank line around the options."""
    return replace(
        prompt,
        instruction=prompt.instruction + "\n",
        input="Question: {question}\n\nOptions:\n{options}\n\n",
        cue="The answer is\n",
        fields=question_mark,
        verbatim=True,
    )


def option_list(example: Example) -> Mapping[str, str]:
    """The fields of an MMLU question; its options stand there as Python prints a list."""
    return {**example.inputs, "options": str(list(example.choices))}


def option_index(example: Example) -> str:
    """The index of the right option: A → 0."""
    return str([letter(i) for i in range(len(example.choices))].index(example.target))


MMLU = Prompt(
    instruction=(
        "Your task is to analyze a multiple-choice question on a given topic. You will be presented with a specific "
        "question. Accompanying the question will be a list of four choices. Your goal is to read the question "
        "carefully and understand its context and requirements. Identify the one choice that best answers the "
        "question, based on your understanding and analysis.\n"
    ),
    input=(
        "Question: {question}\nChoices: {options}.\nPlease respond with the index of the identified choice in the "
        'list: "0", "1", "2", or "3" only.\n'
    ),
    cue="Answer:\n",
    answer=option_index,
    fields=option_list,
    verbatim=True,
)

EMRQA = Prompt(
    instruction=(
        "\nTASK: Given a medical context and an open-ended question related to it, extract the relevant text segment "
        "from the context as an answer. Expected output: Only extract and return the text segment from the provided "
        "context that directly answers the question. Do not add any new words.\n###\n"
    ),
    input="Context: {context}\nQuestion {question}\n",
    cue="Answer:\n",
    cut=("context",),
    answer=lambda example: example.target if isinstance(example.target, str) else str(example.target[0]),
    verbatim=True,
)

DDI = Prompt(
    instruction=(
        "TASK: The input is a sentence where the drug is labeled as @DRUG$. Extract the relationship between 2 @DRUG$ "
        "from the input sentence by selecting only one of the following options: 'DDI-effect', 'DDI-mechanism', "
        "'DDI-advise', 'DDI-false', and 'DDI-int'.\n"
        "DDI-effect, this type is used to annotate DDIs describing an effect or a pharmacodynamic mechanism\n"
        "DDI-mechanism, this type is used to annotate DDIs that are described by their pharmacokinetic mechanism\n"
        "DDI-advise, this type is used when a recommendation or advice regarding a drug interaction is given\n"
        "DDI-false, this type is used when no DDI relation appears\n"
        "DDI-int, this type is used when a DDI appears in the text without providing any additional information\n"
        "###\n"
    ),
    input="INPUT: {text}\n",
    cue="OUTPUT:\n",
    cut=("text",),
    verbatim=True,
)


def topics(prompt: Prompt) -> Prompt:
    """The prompt of HoC: the instruction of table A2, indented lines after it, and no space between gold topics."""
    return replace(
        prompt,
        instruction=prompt.instruction + "\n    ###\n",
        input="    INPUT: {text}\n",
        cue="    OUTPUT:\n",
        answer=_joined_topics,
        verbatim=True,
    )


def _joined_topics(example: Example) -> str:
    return ";".join(example.target)


def specialty(prompt: Prompt) -> Prompt:
    """The prompt of MTSamples: the instruction of table A2, with typewriter quotes."""
    plain = prompt.instruction.translate(str.maketrans("‘’", "''"))
    return replace(prompt, instruction=f"\n{plain}\n###\n", input="INPUT: {text}\n", cue="OUTPUT:\n", verbatim=True)


PUBMEDSUM = Prompt(
    instruction=(
        "***TASK***\nthe task is to summarize an input biomedical literature in six sentences\n\n"
        "***INPUT***\nthe input is a biomedical literature\n\n"
        "***OUTPUT***\nthe output is the summary of an input biomedical literature in six sentences\n\n"
        "***DOCUMENTATION***\n\n***EXAMPLES***\n\n"
    ),
    input="Input: {text}\n",
    cue="Output:\n",
    cut=("text",),
    verbatim=True,
)

MIMIC_CXR = Prompt(
    instruction="Derive the impression from findings in the radiology report.\n",
    input="    INPUT: {findings}\n",
    cue="    OUTPUT:\n    ",
    cut=("findings",),
    verbatim=True,
)

NLI = Prompt(
    instruction=(
        "\nTASK: Please classify the relationship between the given premise and hypothesis into one of the following "
        "labels: entailment, contradiction, or neutral. Return only the label.\n###\n"
    ),
    input="INPUT: [PRE] {premise} [HYP] {hypothesis}\n",
    cue="OUTPUT:\n",
    verbatim=True,
)


def one_text(prompt: Prompt) -> Prompt:
    """Table A2's prompt in the form of the released ones: one text, with line breaks where the released builder has
    them. It is that of i2b2, for which there is no builder."""
    return replace(
        prompt,
        instruction=prompt.instruction + "\n",
        input=prompt.input + "\n",
        cue=prompt.cue + "\n",
        verbatim=True,
    )
