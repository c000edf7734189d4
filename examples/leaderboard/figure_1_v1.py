"""Figure 1 of the first version (arXiv, February 2024): Me-LLaMA beside ChatGPT and GPT-4, without worked examples."""

from mibe.reproduction import Reproduction, main

TABLE = Reproduction(
    name="figure_1_v1",
    title="The zero-shot performance of Me LLaMA models, ChatGPT, and GPT-4.",
    version="v1",
    table="1",
    suite="commercial",
    models=("Me-LLaMA-13B-chat", "Me-LLaMA-70B-chat", "ChatGPT", "GPT-4"),
    shows={
        "pubmedqa": ("accuracy",),
        "medqa": ("accuracy",),
        "medmcqa": ("accuracy",),
        "ddi": ("macro_f1",),
        "hoc": ("macro_f1",),
        "mtsample": ("macro_f1",),
        "pubmedsum": ("rouge1",),
        "bionli": ("macro_f1",),
    },
    said=(
        "Me-LLaMA models outperformed ChatGPT on 4 data sets (PubMedQA, MedQA, MedMCQA and DDI)",
        "they were within 3 % of it on HoC, BioNLI and MTSample, and fell short of it on PubMed",
        "compared to GPT-4, Me-LLaMA excelled on PubMedQA alone",
    ),
    notes=(
        "published figures of Me-LLaMA are those of table 1; of its models the figure shows the best of each data set",
        "Me-LLaMA-70B-chat is a checkpoint of half an epoch here, which was not published",
        "ChatGPT's and GPT-4's accuracies on the three question sets are cited in the paper from Nori et al. 2023",
    ),
)

if __name__ == "__main__":
    raise SystemExit(main(TABLE))
