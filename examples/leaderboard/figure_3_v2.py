"""Figure 3 of the preprint of December 2024: top-k accuracy of diagnoses of complex cases, by a judge."""

from mibe.reproduction import Reproduction, main

TABLE = Reproduction(
    name="figure_3_v2",
    title="The top-k (1<=k<=5) accuracy in complex clinical case diagnosis, with automatic evaluation.",
    version="v2",
    suite="diagnosis",
    models=("Me-LLaMA-70B-chat", "ChatGPT", "GPT-4", "LLaMA2-70B-chat"),
    shows={"nejm_cpc": tuple(f"top{k}_accuracy" for k in range(1, 6))},
    stand_ins={"nejm_cpc": "diagnosis_open"},
    said=(
        "Me-LLaMA-70B-chat achieved comparable performance with GPT-4 and ChatGPT, and significantly outperforms "
        "LLaMA2-70B-chat",
    ),
    notes=("the paper's judge was GPT-4o: --judge openai:gpt-4o",),
)

if __name__ == "__main__":
    raise SystemExit(main(TABLE))
