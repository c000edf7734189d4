"""Figure 2 of the first version (arXiv, February 2024): five worked examples, one for summaries."""

from mibe.reproduction import Reproduction, main

TABLE = Reproduction(
    name="figure_2_v1",
    title="The few-shot performance of the peak performance of Me LLaMA models and Meditron 70B.",
    version="v1",
    suite="few_shot",
    models=("Me-LLaMA-13B", "Me-LLaMA-13B-chat", "Me-LLaMA-70B", "Me-LLaMA-70B-chat", "Meditron-70B"),
    shows={
        "pubmedqa": ("accuracy",),
        "medqa": ("accuracy",),
        "medmcqa": ("accuracy",),
        "emrqa": ("f1",),
        "i2b2": ("macro_f1",),
        "ddi": ("macro_f1",),
        "hoc": ("macro_f1",),
        "mtsample": ("macro_f1",),
        "pubmedsum": ("rougeL",),
        "mimic_cxr": ("rougeL",),
        "bionli": ("macro_f1",),
        "mednli": ("macro_f1",),
    },
    said=("Me-LLaMA models achieved better performance in 11 out of 12 datasets (except for PubMedQA)",),
    notes=(
        "of Me-LLaMA the figure shows the best model of each data set and does not say which",
        "Meditron-70B's on the three question sets are cited in the paper from the Meditron paper",
        "the text names ROUGE-L for PubMed alone; MIMIC-CXR is taken to have the same",
    ),
)

if __name__ == "__main__":
    raise SystemExit(main(TABLE))
