"""Shards, rows and the mixture: no token lost, every window exact, every damage seen."""

import json
import pickle
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("xxhash", reason="xxhash comes with the extra train")
pytest.importorskip("tokenizers", reason="tokenizers comes with the extra train")

from corpus_tools import write_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from mellama_train.corpus.mixture import Mixture, PackedSource, cycle, held_out
from mellama_train.corpus.permutation import Permutation
from mellama_train.corpus.shards import Corpus, ShardWriter, as_entry, index_of, write_manifest
from mellama_train.corpus.tokens import DocumentTokenizer, fingerprint
from mellama_train.errors import CorpusError
from mellama_train.rows.row import IGNORED

EOS = 0


def documents(number, *, seed=0, longest=40):
    random = np.random.default_rng(seed)
    return [np.append(random.integers(2, 300, size=random.integers(1, longest)), EOS) for _ in range(number)]


def corpus(folder, sources, *, weights=None, dtype="<u2", length=32, tokens=None, max_epochs=1.0, held=None):
    """A corpus of these documents: source → list of shards, each a list of documents."""
    shards = []
    for name, split, parts in [(n, "train", p) for n, p in sources.items()] + [
        (n, "held_out", p) for n, p in (held or {}).items()
    ]:
        for number, part in enumerate(parts):
            with ShardWriter(folder / "shards" / name / f"{split}-{number:05d}.ds", np.dtype(dtype)) as writer:
                writer.add(part)
                shards.append(writer.finish(folder, name, split))
    entries = {n: {"weight": (weights or {}).get(n, 1.0), "max_epochs": max_epochs} for n in sources}
    manifest = {
        "tokenizer": {"sha256": "x", "eos_id": EOS, "path": "p"},
        "dtype": dtype,
        "mixture": {"length": length, "tokens": tokens, "seed": 7},
        "sources": entries,
        "shards": [as_entry(s) for s in shards],
    }
    write_manifest(folder, manifest)
    return folder


@given(st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=6), min_size=1, max_size=4), st.integers(8, 40))
@settings(max_examples=60, deadline=None)
def test_rows_hold_every_token_once_and_know_where_documents_begin(tmp_path_factory, sizes, length):
    shards, counter = [], 2
    for shard in sizes:
        shards.append([])
        for size in shard:
            shards[-1].append(np.append(np.arange(counter, counter + size), EOS))
            counter += size
    folder = corpus(tmp_path_factory.mktemp("c"), {"s": shards}, dtype="<u4", length=length)
    rows = PackedSource(Corpus.open(folder), "s", length=length)
    stream = np.concatenate([d for shard in shards for d in shard])
    within = np.concatenate([np.arange(len(d)) for shard in shards for d in shard])
    assert rows.tokens == len(stream) and len(rows) == -(-len(stream) // length)
    for number in range(len(rows)):
        row, start = rows[number], number * length
        found = stream[start : start + length]
        assert row.tokens.dtype == row.positions.dtype == row.labels.dtype == np.int64
        assert row.tokens[: len(found)].tolist() == found.tolist() and row.source == "s"
        # Positions count from the beginning of the document, or of the row where it was cut.
        expected = np.minimum(within[start : start + length], np.arange(len(found)))
        assert row.positions[: len(found)].tolist() == expected.tolist()
        first = row.positions == 0
        assert np.all(row.labels[first] == IGNORED)
        assert np.array_equal(row.labels[: len(found)][~first[: len(found)]], found[~first[: len(found)]])
        # What fills the last row is a document of its own, outside the loss.
        assert np.all(row.labels[len(found) :] == IGNORED) and np.all(row.tokens[len(found) :] == EOS)
        assert row.positions[len(found) :].tolist() == list(range(length - len(found)))


@pytest.mark.parametrize("weights", [[15, 1, 4], [15, 4], [1], [0.75, 0.05, 0.2], [3, 3, 1], [7.5, 0.5, 2]])
def test_a_mixture_is_exact_over_every_window(weights):
    found = cycle(weights)
    share = np.array(weights) / sum(weights)
    turns = np.array(found.turns * 40)
    counts = np.stack([np.cumsum(turns == i) for i in range(len(weights))])
    for window in (found.period, 5 * found.period, 20 * found.period):
        inside = counts[:, window:] - counts[:, :-window]
        assert np.all(inside == (share * window)[:, None])
    # Nor does it stray from the exact share in between by as much as one and a half rows.
    ideal = share[:, None] * np.arange(1, len(turns) + 1)
    assert np.abs(counts - ideal).max() < 1.5


def test_the_papers_weights_repeat_after_twenty_rows():
    found = cycle([15, 1, 4])
    assert found.period == 20 and Counter(found.turns) == {0: 15, 1: 1, 2: 4}
    # The general rows are spread, not in a heap.
    places = [i for i, turn in enumerate(found.turns) if turn == 2]
    assert all(3 <= b - a <= 7 for a, b in pairwise(places))


def test_weights_that_repeat_too_late_are_refused():
    with pytest.raises(CorpusError, match=r"0\.333333:0\.666667 repeat after 1,000,000 rows only"):
        cycle([0.333333, 0.666667])


@given(st.integers(1, 3000), st.integers(0, 2**63))
@settings(max_examples=50, deadline=None)
def test_a_permutation_is_one_and_its_own_for_each_seed(size, seed):
    order = [Permutation(size, seed)[i] for i in range(size)]
    assert sorted(order) == list(range(size))
    if size > 20:
        assert order != list(range(size)) and order != [Permutation(size, seed + 1)[i] for i in range(size)]


def test_a_permutation_leaves_no_trace_of_the_old_order():
    size = 50_000
    order = np.array([Permutation(size, 3)[i] for i in range(size)])
    assert abs(np.corrcoef(order, np.arange(size))[0, 1]) < 0.02
    # Neighbours of before are a third of the whole range apart, as in a random order.
    assert np.abs(np.diff(order)).mean() == pytest.approx(size / 3, rel=0.02)


@pytest.fixture
def three(tmp_path):
    sources = {
        "medical": [documents(200, seed=1), documents(150, seed=2)],
        "clinical": [documents(30, seed=3)],
        "general": [documents(90, seed=4)],
    }
    weights = {"medical": 15, "clinical": 1, "general": 4}
    return corpus(tmp_path / "c", sources, weights=weights, max_epochs=3)


def test_each_pass_has_every_row_once_in_another_order(three):
    mixture = Mixture.open(three, weights={"clinical": 1, "general": 1})
    size = len(mixture.sources[0])
    drawn = [place for source, place in map(mixture.locate, range(len(mixture))) if source == 0]
    passes = [drawn[i : i + size] for i in range(0, len(drawn) - size + 1, size)]
    assert len(passes) == 3 and all(sorted(p) == list(range(size)) for p in passes)
    assert passes[0] != passes[1] != passes[2]


def test_a_row_depends_on_its_number_alone(three):
    one, other = Mixture.open(three), pickle.loads(pickle.dumps(Mixture.open(three)))
    for index in np.random.default_rng(0).permutation(len(one))[:50].tolist():
        a, b = one[index], other[index]
        assert a.source == b.source and np.array_equal(a.tokens, b.tokens) and np.array_equal(a.labels, b.labels)
    assert [r.source for r in (one[i] for i in range(20))].count("medical") == 15
    reseeded = Mixture.open(three, seed=8)
    assert [one.locate(i) for i in range(60)] != [reseeded.locate(i) for i in range(60)]


def test_ranks_share_the_rows_of_a_step_whatever_their_number(three):
    mixture = Mixture.open(three)
    for ranks in (1, 2, 5):
        seen = [mixture[i].source for rank in range(ranks) for i in range(rank, 100, ranks)]
        assert Counter(seen) == {"medical": 75, "clinical": 5, "general": 20}


def test_epochs_and_length_are_accounted(three):
    mixture = Mixture.open(three)
    counts = Counter(mixture.locate(i)[0] for i in range(len(mixture)))
    for number, source in enumerate(mixture.sources):
        assert mixture.epochs()[source.source] == pytest.approx(counts[number] / len(source))
    # The run ends where one more row would be more than the passes allowed.
    assert max(mixture.epochs().values()) <= 3
    follower = mixture._cycle.turns[len(mixture) % 20]
    assert counts[follower] == 3 * len(mixture.sources[follower])
    assert len(Mixture.open(three, tokens=3200)) == 100
    with pytest.raises(IndexError):
        mixture[len(mixture)]


def test_weights_that_cannot_be_met_say_how_many_passes_they_need(three):
    source = PackedSource(Corpus.open(three), "clinical", length=32)
    needed = 60 * len(source) / 20
    with pytest.raises(CorpusError) as caught:
        Mixture.open(three, tokens=60 * len(source) * 32, max_epochs={"medical": 1e6, "general": 1e6, "clinical": 1})
    assert "weights 15:1:4 cannot be met over" in str(caught.value)
    assert f"clinical has {source.tokens:,} tokens and would be passed {needed / len(source):.2f} times" in str(
        caught.value
    )
    allowed = {"medical": 1e6, "general": 1e6, "clinical": 3}
    assert len(Mixture.open(three, tokens=60 * len(source) * 32, max_epochs=allowed)) == 60 * len(source)


def test_a_source_too_small_for_one_period(tmp_path):
    folder = corpus(tmp_path, {"a": [documents(1)], "b": [documents(50)]}, weights={"a": 19, "b": 1})
    with pytest.raises(CorpusError, match=r"19:1 cannot be met .* a has .* would be passed .* \(max_epochs 1\)"):
        Mixture.open(folder)


def test_sources_that_are_not_there_or_empty(three, tmp_path):
    with pytest.raises(CorpusError, match="has no source genral; it has medical, clinical, general"):
        Mixture.open(three, max_epochs={"genral": 2})
    with pytest.raises(CorpusError, match="has no source medcal; it has medical, clinical, general"):
        Mixture.open(three, weights={"medcal": 1})
    folder = corpus(tmp_path / "e", {"a": [documents(9)], "b": []})
    with pytest.raises(CorpusError, match="the source b is empty"):
        Mixture.open(folder)


def test_what_a_checkpoint_keeps_tells_mixtures_apart(three, tmp_path):
    said = Mixture.open(three).describe()
    assert json.loads(json.dumps(said)) == said and said == Mixture.open(three).describe()
    other = corpus(tmp_path / "o", {"medical": [documents(99, seed=9)], "clinical": [documents(30, seed=3)]})
    for changed in (Mixture.open(three, seed=8), Mixture.open(three, weights={"medical": 1}), Mixture.open(other)):
        assert changed.describe() != said


def test_held_out_rows_are_apart(tmp_path):
    folder = corpus(tmp_path, {"a": [documents(9)], "b": [documents(9)]}, held={"a": [documents(3, seed=5)]})
    rows = held_out(folder)
    assert list(rows) == ["a"] and rows["a"].tokens == sum(map(len, documents(3, seed=5)))
    assert PackedSource(Corpus.open(folder), "a", length=32).tokens == sum(map(len, documents(9)))


def shard_file(folder):
    return folder / Corpus.open(folder).shards()[0].file


@pytest.mark.parametrize("of", [lambda p: p, index_of])
def test_a_shard_cut_short_or_gone_is_seen_when_it_is_opened(three, of):
    path = of(shard_file(three))
    whole = path.read_bytes()
    path.write_bytes(whole[:-2])
    with pytest.raises(
        CorpusError, match=f"the shard {path} has {len(whole) - 2:,} bytes and should have {len(whole):,}"
    ):
        Corpus.open(three)
    path.unlink()
    with pytest.raises(CorpusError, match=f"the shard {path} is missing"):
        Mixture.open(three)


@pytest.mark.parametrize("of", [lambda p: p, index_of])
def test_a_shard_that_was_altered_is_seen_when_it_is_verified(three, of):
    path = of(shard_file(three))
    assert Corpus.open(three).verify() == []
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)
    (finding,) = Corpus.open(three).verify()
    assert str(path) in finding and "was changed" in finding


def test_a_writer_that_does_not_finish_leaves_no_shard(tmp_path):
    with pytest.raises(RuntimeError), ShardWriter(tmp_path / "a.ds", np.dtype("<u2")) as writer:
        writer.add(documents(3))
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["a.ds.part"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}'])
def test_a_folder_without_a_sound_manifest(tmp_path, text):
    with pytest.raises(CorpusError, match="holds no finished corpus; build it: mellama-train corpus build"):
        Corpus.open(tmp_path)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(CorpusError, match="build the corpus again"):
        Corpus.open(tmp_path)


def test_a_tokenizer_appends_its_end_and_reads_no_special_tokens_in_text(tmp_path):
    tokenizer = DocumentTokenizer.load(write_tokenizer(tmp_path), bos="<bos>")
    plain, written = tokenizer.encode(["the patient", "a <eos> b"])
    assert plain[0] == tokenizer.fast.token_to_id("<bos>") and plain[-1] == tokenizer.eos_id
    assert tokenizer.fast.decode(plain[1:-1].tolist()) == "the patient"
    assert written.tolist().count(tokenizer.eos_id) == 1
    assert tokenizer.fast.decode(written[1:-1].tolist()) == "a <eos> b"
    assert plain.dtype == np.dtype("<u2")


def test_tokenizers_are_told_apart_by_what_decides_the_ids(tmp_path):
    a, b = write_tokenizer(tmp_path / "a"), write_tokenizer(tmp_path / "b", vocabulary=262)
    data = json.loads((a / "tokenizer.json").read_text())
    c = tmp_path / "c"
    c.mkdir()
    (c / "tokenizer.json").write_text(json.dumps({**data, "padding": None, "truncation": {"max_length": 5}}, indent=4))
    assert fingerprint(a) == fingerprint(c) != fingerprint(b)


def test_a_folder_without_a_fast_tokenizer_or_without_its_end(tmp_path):
    with pytest.raises(CorpusError, match=r"no .*tokenizer\.json.*AutoTokenizer"):
        DocumentTokenizer.load(tmp_path)
    write_tokenizer(tmp_path)
    with pytest.raises(CorpusError, match="has no token '</s>'"):
        DocumentTokenizer.load(tmp_path, eos="</s>")
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(CorpusError, match=r"names no end-of-text token; give it as tokenizer\.eos"):
        DocumentTokenizer.load(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": {"content": "<eos>"}}')
    assert DocumentTokenizer.load(tmp_path).eos == "<eos>"
