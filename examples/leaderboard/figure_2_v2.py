"""Figure 2 of the preprint of December 2024: Me-LLaMA beside ChatGPT and GPT-4, on the eight permitted data sets."""

from mibe.reproduction import Reproduction, Row, main

TABLE = Reproduction(
    name="figure_2_v2",
    title="Me-LLaMA in zero-shot and supervised settings, against the zero-shot performance of ChatGPT and GPT-4.",
    version="v2",
    suite="commercial",
    models=(
        Row(model="Me-LLaMA-13B-chat", suite="commercial", label="Me-LLaMA-13B-chat zero-shot", table="5"),
        Row(model="Me-LLaMA-70B-chat", suite="commercial", label="Me-LLaMA-70B-chat zero-shot", table="5"),
        Row(model="Me-LLaMA-13B", suite="supervised", label="Me-LLaMA-13B task-specific", table="4"),
        Row(model="Me-LLaMA-70B", suite="supervised", label="Me-LLaMA-70B task-specific", table="4"),
        "ChatGPT",
        "GPT-4",
    ),
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
        "fine-tuned Me-LLaMA surpassed ChatGPT on 7 of the 8 data sets and GPT-4 on 5 of them",
        "zero-shot Me-LLaMA outperformed ChatGPT on 5 data sets and fell short of GPT-4 on 7",
    ),
    notes=(
        "published figures of Me-LLaMA are those of tables 4 and 5; which of its sizes the figure shows is not said",
        "ChatGPT's and GPT-4's accuracies on the three question sets are cited in the paper from Nori et al. 2023",
    ),
)

if __name__ == "__main__":
    raise SystemExit(main(TABLE))
