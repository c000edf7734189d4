"""Figure 4 of the preprint of December 2024: top-1 and top-5 accuracy of diagnoses, as a clinician rated them."""

from mibe.reproduction import Reproduction, main

TABLE = Reproduction(
    name="figure_4_v2",
    title="The top-1 and top-5 accuracy of Me-LLaMA-70B-chat and GPT-4, with human evaluation.",
    version="v2",
    suite="diagnosis",
    models=("Me-LLaMA-70B-chat", "GPT-4"),
    # By people first: --ratings Me-LLaMA-70B-chat=FILE. Then by the judge, to see whether it says the same.
    shows={
        "nejm_cpc_human": ("top1_accuracy", "top5_accuracy"),
        "nejm_cpc": ("top1_accuracy", "top5_accuracy"),
    },
    stand_ins={"nejm_cpc": "diagnosis_open"},
    said=("Me-LLaMA-70B-chat outperformed GPT-4 in both top-1 and top-5 accuracy",),
    notes=("the paper's judge was GPT-4o: --judge openai:gpt-4o",),
)

if __name__ == "__main__":
    raise SystemExit(main(TABLE))
