"""`mellama-train corpus build` from files to rows, with datatrove's executors: counts, restarts, damage."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("datatrove", reason="datatrove comes with the extra train")
pytest.importorskip("backports.zstd", reason="backports.zstd comes with the extra train")

from corpus_tools import write_jsonl, write_tokenizer

from mellama_train.cli import main
from mellama_train.corpus import executors
from mellama_train.corpus.build import build, shares
from mellama_train.corpus.config import CorpusConfig
from mellama_train.corpus.mixture import Mixture, held_out
from mellama_train.corpus.shards import Corpus
from mellama_train.corpus.steps import WorkFile
from mellama_train.corpus.tokens import DocumentTokenizer
from mellama_train.errors import CorpusError, RecipeError
from mellama_train.recipe.yaml_schema import parse

ROOT = Path(__file__).parents[3]
PLANTED = "To examine whether the planted sentence of the test set is found again in quite another spacing and case."


def sentences(number, topic):
    return [
        f"Document {i} about {topic} {' '.join(f'{topic}{i * 100 + j}' for j in range(30))}." for i in range(number)
    ]


RECIPE = """\
output: {base}/out
tokenizer: {{path: {base}/model}}
length: 64
seed: 5
decontaminate: {{tasks: [ddi]}}
sources:
  medical:
    weight: 3
    max_epochs: 9
    inputs:
      - format: jsonl
        path: {base}/medical
        clean: [whitespace, {{min_words: 5}}]
  general:
    weight: 1
    max_epochs: 9
    inputs:
      - {{format: lines, path: {base}/general.txt}}
"""


@pytest.fixture
def base(tmp_path, own_folders):
    """A folder with a tokenizer, two sources, and a test set of which the medical one holds a sentence."""
    write_tokenizer(tmp_path / "model")
    medical = sentences(40, "heart")
    # A copy but for case and spacing, one with a word more, one too short, and the sentence of the test set.
    extra = [
        medical[3].upper().replace(" ", "  "),
        medical[4] + " Indeed",
        "too short",
        f"Intro. {PLANTED.upper()} End.",
    ]
    write_jsonl(tmp_path / "medical" / "a.jsonl", medical)
    write_jsonl(tmp_path / "medical" / "b.jsonl", extra)
    (tmp_path / "general.txt").write_text("\n".join(sentences(25, "city")))
    test = own_folders / "data" / "ddi" / "test.jsonl"
    test.parent.mkdir(parents=True)
    test.write_text(json.dumps({"id": "t1", "inputs": {"text": PLANTED.replace(" ", "   ")}, "target": "x"}))
    return tmp_path


def recipe(base, *changes):
    text = RECIPE.format(base=base)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse(text, CorpusConfig, "corpus.yaml")


def decoded(base, corpus, source, split="train"):
    """The documents of a source as text again."""
    fast = DocumentTokenizer.load(base / "model").fast
    texts = []
    for shard in corpus.shards(source, split):
        ids = np.fromfile(corpus.folder / shard.file, dtype=corpus.dtype)
        ends = np.fromfile(f"{corpus.folder / shard.file}.index", dtype="<u8").astype(int)
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            assert ids[end - 1] == corpus.manifest["tokenizer"]["eos_id"]
            texts.append(fast.decode(ids[start : end - 1].tolist()))
    return texts


def test_a_build_holds_exactly_what_should_be_left(base):
    corpus = build(recipe(base))
    medical = decoded(base, corpus, "medical")
    originals = sentences(40, "heart")
    # Of each of the two groups of copies one is left, whichever.
    assert len(medical) == 40 and set(originals) - set(medical) <= {originals[3], originals[4]}
    assert sorted(decoded(base, corpus, "general")) == sorted(sentences(25, "city"))
    entry = corpus.manifest["sources"]["medical"]
    counts = entry["inputs"][0]["counts"]
    assert counts["read"] == 44 and counts["dropped by min_words: 5"] == 1
    assert counts["contaminated"] == 1 and counts["duplicates"] == 2 and counts["documents"] == 40
    fast = DocumentTokenizer.load(base / "model").fast
    assert counts["tokens"] == entry["train"]["tokens"] == sum(len(fast.encode(t).ids) + 1 for t in medical)
    assert entry["access"] == "open" and corpus.verify() == []
    corpus.check_tokenizer(base / "model")
    assert not (base / "out" / "work").exists()


def test_what_was_removed_is_reported_with_its_task(base):
    corpus = build(recipe(base))
    (line,) = (base / "out" / "decontamination.jsonl").read_text().splitlines()
    hit = json.loads(line)
    assert (hit["source"], hit["document"], hit["task"], hit["example"]) == ("medical", "3", "ddi", "t1")
    assert hit["removed"] and hit["coverage"] == 1 and "planted sentence" in hit["span"]
    assert corpus.manifest["decontamination"]["hits"] == {"ddi": {"hits": 1, "removed": 1}}


def test_exact_copies_only_or_none_at_all(base):
    kinds = {"{kind: exact}": 41, "off": 42}
    for kind, left in kinds.items():
        corpus = build(recipe(base, ("seed: 5", f"seed: 5\ndeduplicate: {kind}")), force=True)
        assert corpus.manifest["sources"]["medical"]["train"]["documents"] == left


def test_near_copies_are_found_across_files_and_kept_once(base):
    words = [f"w{i}" for i in range(300)]
    near = [" ".join([*words[:n], "changed", *words[n + 1 :]]) for n in (20, 150, 280)]
    write_jsonl(base / "medical" / "c.jsonl", near[:2])
    write_jsonl(base / "medical" / "d.jsonl", near[2:])
    left = [t for t in decoded(base, build(recipe(base)), "medical") if " w299" in t or t.startswith("w0 ")]
    assert len(left) == 1


def test_the_mixture_of_a_build(base):
    build(recipe(base))
    mixture = Mixture.open(base / "out")
    assert [mixture[i].source for i in range(8)].count("medical") == 6 and mixture.length == 64
    assert max(mixture.epochs().values()) <= 9


def test_workers_and_tasks_do_not_change_the_documents(base):
    one = build(recipe(base))
    first, digest = sorted(decoded(base, one, "medical")), one.sha256
    two = build(recipe(base, ("seed: 5", "seed: 5\nexecution: {workers: 2}")), force=True)
    assert two.sha256 == digest
    single = build(recipe(base, ("seed: 5", "seed: 5\nexecution: {tasks: 1}")), force=True)
    assert sorted(t.lower() for t in decoded(base, single, "medical")) == sorted(t.lower() for t in first)


def test_held_out_documents_are_apart_and_chosen_by_content(base):
    held = ("length: 64", "length: 64\nheld_out: 0.2")
    corpus = build(recipe(base, held))
    train, apart = decoded(base, corpus, "general"), decoded(base, corpus, "general", "held_out")
    assert 0 < len(apart) < 15 and sorted(train + apart) == sorted(sentences(25, "city"))
    lines = (base / "general.txt").read_text().splitlines()
    (base / "general.txt").write_text("\n".join(reversed(lines)))
    again = build(recipe(base, held), force=True)
    assert sorted(decoded(base, again, "general", "held_out")) == sorted(apart)
    assert held_out(base / "out")["general"].tokens == corpus.manifest["sources"]["general"]["held_out"]["tokens"]


def test_a_finished_corpus_takes_new_weights_but_no_other_content(base):
    first = build(recipe(base)).sha256
    stamps = {p: p.stat().st_mtime_ns for p in (base / "out" / "shards").rglob("*.ds")}
    again = build(recipe(base, ("weight: 3", "weight: 4")))
    assert again.sha256 == first and stamps == {p: p.stat().st_mtime_ns for p in stamps}
    assert Mixture.open(base / "out").describe()["weights"] == {"medical": 4, "general": 1}
    with pytest.raises(CorpusError, match="holds a corpus of another recipe.*--force"):
        build(recipe(base, ("min_words: 5", "min_words: 6")))
    (base / "general.txt").write_text("\n".join(sentences(30, "city")))
    with pytest.raises(CorpusError, match="source files; choose another output, or replace it with --force"):
        build(recipe(base))
    assert build(recipe(base), force=True).sha256 != first


def test_an_empty_source_says_where_its_documents_went(base):
    with pytest.raises(CorpusError, match=r"source medical is empty: 44 read, 44 dropped by min_words: 9999"):
        build(recipe(base, ("min_words: 5", "min_words: 9999")))
    (base / "general.txt").write_text("\n \n")
    with pytest.raises(CorpusError, match="the source general is empty: no document was in its files"):
        build(recipe(base))
    with pytest.raises(CorpusError, match="holds no finished corpus"):
        Corpus.open(base / "out")


def test_weights_that_cannot_be_met_end_the_build_with_the_passes_needed(base):
    with pytest.raises(CorpusError, match=r"general has [\d,]+ tokens and would be passed \d+\.\d+ times"):
        build(recipe(base, ("length: 64", "length: 64\ntokens: 9000000")))
    # The shards are whole: a smaller length needs no second build.
    assert len(build(recipe(base, ("length: 64", "length: 64\ntokens: 640")))
               .shards()) > 0  # fmt: skip
    assert len(Mixture.open(base / "out")) == 10


def test_a_broken_document_stops_the_build_unless_it_may_be_skipped(base):
    with (base / "medical" / "a.jsonl").open("a") as file:
        file.write('{"text": "half\n')
    with pytest.raises(CorpusError, match=r"a\.jsonl:41: not JSON.*broken: skip"):
        build(recipe(base))
    corpus = build(recipe(base, ("format: jsonl", "format: jsonl\n        broken: skip")))
    assert corpus.manifest["sources"]["medical"]["inputs"][0]["counts"]["broken"] == 1


def test_an_error_in_a_worker_process_is_the_same_line(base):
    (base / "medical" / "b.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00cut")
    with pytest.raises(CorpusError, match=r"b\.jsonl\.gz is damaged or cut short"):
        build(recipe(base, ("seed: 5", "seed: 5\nexecution: {workers: 2}")))


def test_the_access_of_notes_goes_with_the_corpus(base):
    header = "note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text\n"
    rows = "".join(f'{i},1,2,DS,1,,,"{t} {PLANTED if i == 2 else ""}"\n' for i, t in enumerate(sentences(9, "note")))
    (base / "discharge.csv").write_text(header + rows)
    corpus = build(recipe(base, ("format: lines", "format: mimic-iv-note"), ("general.txt", "discharge.csv")))
    entry = corpus.manifest["sources"]["general"]
    assert entry["access"] == "credentialed" and "PhysioNet" in entry["agreements"][0]
    hits = [json.loads(line) for line in (base / "out" / "decontamination.jsonl").read_text().splitlines()]
    assert {(h["source"], h["span"] is None) for h in hits} == {("medical", False), ("general", True)}


def run_cli(base, *, workers=1):
    (base / "corpus.yaml").write_text(
        RECIPE.format(base=base).replace("seed: 5", f"seed: 5\nexecution: {{workers: {workers}}}")
    )
    command = [sys.executable, "-m", "mellama_train.cli", "corpus", "build", str(base / "corpus.yaml")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize("stage", ["clean", "tokenise"])
def test_a_build_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(base, stage):
    for number in range(6):
        write_jsonl(base / "medical" / f"m{number}.jsonl", sentences(150, f"organ{number}"))
    undisturbed = build(recipe(base, ("/out", "/whole"))).sha256
    process = run_cli(base)
    done = base / "out" / "work" / "logs" / stage / "completions"
    deadline = time.monotonic() + 120
    while not (done.exists() and any(done.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (base / "out" / "manifest.json").exists()
    kept = {p.name: p.stat().st_mtime_ns for p in done.iterdir()}
    assert kept
    assert build(recipe(base)).sha256 == undisturbed


def test_a_changed_source_starts_an_interrupted_build_anew(base, capsys):
    with pytest.raises(CorpusError):
        build(recipe(base, ("min_words: 5", "min_words: 9999")))
    with pytest.raises(CorpusError):
        build(recipe(base, ("min_words: 5", "min_words: 9999")))
    assert "going on with the unfinished build" in capsys.readouterr().err
    assert build(recipe(base)).manifest["sources"]["medical"]["train"]["documents"] == 40
    assert "going on" not in capsys.readouterr().err


def test_two_builds_in_one_folder(base):
    import fcntl

    (base / "out").mkdir()
    with (base / "out" / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(CorpusError, match="another build is at work in"):
            build(recipe(base))


def test_the_command_line(base, capsys):
    (base / "corpus.yaml").write_text(RECIPE.format(base=base))
    assert main(["corpus", "build", str(base / "corpus.yaml")]) == 0
    assert "one run: " in capsys.readouterr().out
    out = str(base / "out")
    assert main(["corpus", "show", out]) == 0 and "medical" in capsys.readouterr().out
    assert main(["corpus", "show", out, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["sources"]["general"]["weight"] == 1
    assert main(["corpus", "verify", out, "--tokenizer", str(base / "model")]) == 0
    assert "shards are sound" in capsys.readouterr().out
    write_tokenizer(base / "other", vocabulary=262)
    assert main(["corpus", "verify", out, "--tokenizer", str(base / "other")]) == 2
    assert "was tokenised with another tokenizer" in capsys.readouterr().err
    path = next((base / "out" / "shards").rglob("*.ds"))
    path.write_bytes(path.read_bytes()[:-2] + b"\1\1")
    assert main(["corpus", "verify", out]) == 2 and "was changed since" in capsys.readouterr().out
    assert main(["corpus", "show", str(base / "nowhere")]) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("weight: 3", "wieght: 3"), "corpus.yaml:8: unknown key 'wieght' in sources.medical; did you mean weight"),
        (("weight: 3", "weight: 0"), "corpus.yaml:8: weight: must be above 0"),
        (("min_words: 5", "min_wrds: 5"), "corpus.yaml:13: clean: unknown step 'min_wrds'"),
        (("format: jsonl", "format: json"), "corpus.yaml:11: format is 'json', .* did you mean jsonl"),
        (("length: 64", "held_out: 0.7"), "corpus.yaml:3: held_out: is a share of the documents"),
        (("tasks: [ddi]", "ngram: 2"), "corpus.yaml:5: ngram: below 5 words"),
        (
            ("seed: 5", "execution: {executor: slurm}"),
            "corpus.yaml:4: arguments: the slurm executor needs partition and",
        ),
        (("format: lines", "format: lines, agreement: x"), "corpus.yaml:18: agreement: only credentialed data"),
    ],
)
def test_mistakes_in_the_recipe_have_their_line(base, change, message):
    with pytest.raises(RecipeError, match=message):
        recipe(base, change)


def test_shares_are_of_equal_size_and_hold_every_file_once(tmp_path):
    files = []
    for number, size in enumerate([900, 10, 10, 500, 400, 10, 5]):
        (tmp_path / f"{number}").write_bytes(b"x" * size)
        files.append(WorkFile("s", 0, tmp_path / f"{number}"))
    found = shares(files, 2)
    assert sorted(f.path.name for share in found for f in share) == [str(n) for n in range(7)]
    assert all(share == sorted(share, key=lambda f: f.path.name) for share in found)
    assert abs(sum(f.path.stat().st_size for f in found[0]) - sum(f.path.stat().st_size for f in found[1])) < 100
    assert len(shares(files, 99)) == 7


def test_datatrove_reads_the_shards_and_we_read_its_own(base):
    from datatrove.data import Document
    from datatrove.pipeline.tokens import DocumentTokenizer as TheirTokenizer
    from datatrove.utils.dataset import DatatroveFileDataset

    corpus = build(recipe(base))
    shard = corpus.shards("medical")[0]
    theirs = DatatroveFileDataset(str(corpus.folder / shard.file), seq_len=64, token_size=2)
    stream = np.fromfile(corpus.folder / shard.file, dtype="<u2")
    assert theirs[0]["input_ids"].tolist() == stream[:65].tolist()

    written = TheirTokenizer(str(base / "ds"), str(base / "model" / "tokenizer.json"), eos_token="<eos>", seed=1)
    texts = sentences(20, "heart")
    written(iter([Document(text=t, id=str(i)) for i, t in enumerate(texts)]), 0, 1)
    arguments = ["--source", "theirs", "--tokenizer", str(base / "model"), "--access", "open", "--length", "64"]
    assert main(["corpus", "import", str(base / "ds"), *arguments, "--to", str(base / "taken")]) == 0
    taken = Corpus.open(base / "taken")
    assert sorted(decoded(base, taken, "theirs")) == sorted(texts) and taken.verify() == []
    assert Mixture.open(base / "taken")[0].source == "theirs"


def test_token_files_that_do_not_fit_are_not_imported(base, capsys):
    folder = base / "ds"
    folder.mkdir()
    arguments = ["--source", "x", "--tokenizer", str(base / "model"), "--access", "open", "--to", str(base / "taken")]

    def error():
        assert main(["corpus", "import", str(folder), *arguments]) == 2
        return capsys.readouterr().err

    assert "no *.ds file in" in error()
    np.array([5, 6, 0], dtype="<u2").tofile(folder / "a.ds")
    assert "has no a.ds.index" in error()
    np.array([4], dtype="<u8").tofile(folder / "a.ds.index")
    assert "do not fit together" in error()
    np.array([3], dtype="<u8").tofile(folder / "a.ds.index")
    np.array([5, 60000, 0], dtype="<u2").tofile(folder / "a.ds")
    assert "holds the id 60,000" in error()


SBATCH = """#!{python}
# Runs the tasks of a job array one after the other, as Slurm would on one node, and prints the job's number.
import os, re, subprocess, sys
script = sys.argv[-1]
text = open(script).read()
log = open(os.environ["FAKE_SLURM"], "a")
print(re.search("job-name=(.*)", text).group(1), [a for a in sys.argv[1:-1] if "dependency" in a], file=log, flush=True)
if "merge_stats" not in text:
    last = int(re.search(r"array=0-(\\d+)", text).group(1))
    for task in range(last + 1):
        environment = {{**os.environ, "SLURM_ARRAY_TASK_ID": str(task), "RUN_OFFSET": "0", "SLURM_NODELIST": "here"}}
        subprocess.run(["bash", script], env=environment, check=True, stdout=log, stderr=log)
print("Submitted batch job", os.path.getsize(log.name))
"""


@pytest.mark.slow
def test_slurm_jobs_make_the_same_corpus(base, monkeypatch):
    here = build(recipe(base)).sha256
    tools = base / "bin"
    tools.mkdir()
    scripts = {
        "sbatch": SBATCH.format(python=sys.executable),
        "scontrol": "#!/bin/sh\necho here\n",
        "launch_pickled_pipeline": f"#!{sys.executable}\n"
        "from datatrove.tools.launch_pickled_pipeline import main\nmain()\n",
    }
    for name, text in scripts.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("FAKE_SLURM", str(base / "slurm.log"))
    arguments = "{time: '1:00:00', partition: cpu, with_srun: false}"
    slurm = recipe(
        base, ("seed: 5", f"seed: 5\nexecution: {{executor: slurm, arguments: {arguments}}}"), ("/out", "/slurm")
    )
    assert build(slurm) is None
    log = (base / "slurm.log").read_text()
    assert log.index("corpus-clean []") < log.index("corpus-duplicates ['--dependency=afterok:")
    assert Corpus.open(base / "slurm").sha256 == here


def test_ray_is_asked_for_when_it_is_not_there(base, monkeypatch):
    monkeypatch.setattr(executors, "find_spec", lambda name: None)
    with pytest.raises(CorpusError, match="the ray executor needs Ray: pip install ray"):
        build(recipe(base, ("seed: 5", "seed: 5\nexecution: {executor: ray}")))


@pytest.mark.slow
def test_ray_makes_the_same_corpus(base, monkeypatch):
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    here = build(recipe(base)).sha256
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        there = build(recipe(base, ("seed: 5", "seed: 5\nexecution: {executor: ray, workers: 2}"), ("/out", "/ray")))
    finally:
        ray.shutdown()
    assert there.sha256 == here


def test_the_examples_are_sound_recipes(monkeypatch):
    for name in (
        "DEMO_DIR",
        "DEMO_MODEL",
        "LLAMA2_DIR",
        "PILE_DIR",
        "MIMIC3_DIR",
        "MIMIC4_NOTE_DIR",
        "MIMIC_CXR_DIR",
    ):
        monkeypatch.setenv(name, "/data")
    monkeypatch.setenv("REDPAJAMA_DIR", "/data")
    demo, paper = (
        parse((ROOT / "examples" / f"corpus-{name}.yaml").read_text(), CorpusConfig, name) for name in ("demo", "paper")
    )
    assert [s.weight for s in demo.sources.values()] == [15, 4]
    assert [s.weight for s in paper.sources.values()] == [15, 1, 4] and paper.tokens == 129_000_000_000


@pytest.mark.slow
def test_the_open_corpus_of_real_text(shared, tmp_path, monkeypatch):
    write_tokenizer(tmp_path / "model")
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DEMO_DIR", str(tmp_path))
    monkeypatch.setenv("DEMO_MODEL", str(tmp_path / "model"))
    text = (ROOT / "examples" / "corpus-open.yaml").read_text().replace("length: 512", "length: 512\ntokens: 2_000_000")
    corpus = build(parse(text, CorpusConfig, "demo"))
    mixture = Mixture.open(corpus.folder)
    counts = mixture.counts(len(mixture))
    assert counts["medical"] / counts["general"] == pytest.approx(15 / 4, rel=0.002)
    # One abstract is the source of a question of PubMedQA's test set: it was found, and is not trained on.
    hits = [json.loads(line) for line in (corpus.folder / "decontamination.jsonl").read_text().splitlines()]
    assert [(h["document"], h["task"], h["example"]) for h in hits if h["removed"]] == [
        ("30713", "pubmedqa", "21645374")
    ]
    assert held_out(corpus.folder).keys() == {"medical", "general"}
