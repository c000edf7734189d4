"""Table 4 of the first version (arXiv, February 2024), forgetting: MMLU and MedQA after continual pretraining."""

from mibe.reproduction import Reproduction, main

TABLE = Reproduction(
    name="table_4_v1",
    title="The performance of various large language models on MMLU and MedQA.",
    version="v1",
    table="4",
    suite="forgetting",
    models=(
        "LLaMA-7B",
        "PMC-LLaMA-7B",
        "LLaMA2-7B",
        "Meditron-7B",
        "LLaMA2-13B",
        "PMC-LLaMA-13B",
        "Me-LLaMA-13B",
    ),
    fine_tuned=True,
    # The paper's own pairs; PMC-LLaMA 13B was trained from LLaMA 1, and the paper subtracts LLaMA 2.
    changes=(
        ("PMC-LLaMA-7B", "LLaMA-7B"),
        ("Meditron-7B", "LLaMA2-7B"),
        ("PMC-LLaMA-13B", "LLaMA2-13B"),
        ("Me-LLaMA-13B", "LLaMA2-13B"),
    ),
    down="models",
    notes=(
        "MedQA's figures are those of table 2, of fine-tuned models; how MMLU was asked is not said. To ask backbones "
        "without fine-tuning, give their repositories: --weights LLaMA2-13B=meta-llama/Llama-2-13b-hf",
    ),
)

if __name__ == "__main__":
    raise SystemExit(main(TABLE))
