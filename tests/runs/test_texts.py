"""A run on texts, from the command line: its folder, its pictures and its predictions."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer

import withhold
from withhold.cli import main
from withhold.contract.tiny import documents
from withhold.errors import UsageError, WithholdError
from withhold.nets.text import WordVectors
from withhold.runs import export


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with texts in two classes, a book, and a run of skip-gram on it."""
    folder = tmp_path_factory.mktemp("texts")
    for row, text in enumerate(documents()):
        path = folder / "texts" / ("sea", "bread")[row % 2] / f"{row}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "book.txt").write_text("\n\n".join(documents()))
    withhold.train("skipgram", folder / "book.txt", epochs=5, out=folder / "run", tokens=16, sample=0.1)
    return folder


def test_a_window_that_no_text_fills_is_said_with_one_that_fits(home, tmp_path, caplog):
    withhold.train("skipgram", home / "texts", epochs=1, out=tmp_path / "run", tokens=500)
    (said,) = [line for line in caplog.messages if "tokens of a window" in line]
    longest = int(said.split()[4])
    assert said.startswith(f"the longest item has {longest} of the 500 tokens of a window; the rest is padding")
    assert said.endswith(f": tokens={longest} suits the data better")
    assert 5 < longest < 250


def test_an_encoder_of_texts_is_written_as_onnx(home, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    run, out = withhold.load(home / "run"), tmp_path / "encoder.onnx"
    assert export(run, "onnx", out) < 1e-3
    tokens = np.zeros((1, 16), dtype=np.int64)
    tokens[0, :3] = Tokenizer.from_file(str(home / "run" / "tokenizer.json")).encode("bread and salt").ids[:3]
    (found,) = onnxruntime.InferenceSession(out).run(["features"], {"texts": tokens})
    with torch.inference_mode():
        np.testing.assert_allclose(found, run.encoder(torch.from_numpy(tokens)), atol=1e-5)


def test_onnx_that_differs_where_texts_are_padded_is_refused(home, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    run, right = withhold.load(home / "run"), WordVectors.counts

    def counts(self, tokens):
        """Padding at the end is a word, but in the trained encoder."""
        return right(self, tokens) | (torch.compiler.is_exporting() & (tokens == 0) & (tokens[:, -1:] == 0))

    monkeypatch.setattr(WordVectors, "counts", counts)
    with pytest.raises(WithholdError, match=r"differs from the trained one by .* deviations. Nothing was written"):
        export(run, "onnx", tmp_path / "encoder.onnx")
    assert not list(tmp_path.iterdir())


def test_a_run_has_its_tokenizer_and_may_be_moved(home, tmp_path):
    shutil.copytree(home / "run", tmp_path / "moved")
    run = withhold.load(tmp_path / "moved")
    assert run.config["decoding"] == {"tokenizer": str(tmp_path / "moved" / "tokenizer.json"), "tokens": 16}
    assert run.kind == "text"
    table = run.embed(home / "texts")
    assert table["path"][0].as_py() == "bread/1.txt"
    assert table["embedding"].type.list_size == 100
    windows = run.embed(home / "texts", windows=True)
    first = [row for row in windows.drop_columns("embedding").to_pylist() if row["path"] == "bread/1.txt"]
    assert [(row["start"], row["end"]) for row in first] == [(0, 16), (11, 27)], "in tokens"
    rows = run.evaluate(home / "texts", protocols=("knn",))
    assert {row["encoder"] for row in rows} == {"trained", "untrained", "tf-idf"}


def test_a_report_shows_the_first_words(home):
    page = (home / "run" / "report.html").read_text()
    first = documents()[0].split()[:4]
    assert any(" ".join(text.split()[:6]) in page for text in documents()), first


def test_words_are_asked_for_on_the_command_line(home, capsys):
    assert main(["apply", str(home / "run"), "ship - sea + bread"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["word", "score"]
    assert main(["apply", str(home / "run"), "baker", "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert len(answers) == 10
    assert "baker" not in {answer["word"] for answer in answers}
    assert main(["apply", str(home / "run"), "baker", "--out", str(home / "said")]) == 0
    assert (home / "said" / "text-words.csv").read_text().splitlines()[:2] == [
        "word,score", f"{answers[0]['word']},{answers[0]['score']}"
    ]  # fmt: skip
    assert main(["apply", str(home / "run"), "backer"]) == 2
    assert "The vocabulary has no 'backer': did you mean baker" in capsys.readouterr().err


def test_a_sentence_is_searched_for(home, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = str(home / "run")
    assert main(["embed", run, str(home / "texts"), "--out", "emb.parquet"]) == 0
    assert main(["search", "build", "emb.parquet", "--out", "emb.index"]) == 0
    query = ["search", "query", "emb.index", "--run", run, "-k", "12"]
    (tmp_path / "bread").mkdir()  # a folder of that name is not what is meant
    for text, folder in (("the ship sails the sea", "sea/"), ("bread", "bread/")):
        assert main([*query, text, "--json"]) == 0
        found = [row["path"] for row in json.loads(capsys.readouterr().out.splitlines()[-1])["results"]]
        assert all(path.startswith(folder) for path in found), text
    assert main([*query, "the ship sails the sea", "--html", "page.html"]) == 0
    said = capsys.readouterr().out
    for path in re.findall(r"sea/\d+.txt", said):
        assert " ".join((home / "texts" / path).read_text().split())[:20] in said
    assert "Nearest to the ship sails the sea" in (tmp_path / "page.html").read_text()
    (tmp_path / "asked.txt").write_text("warm bread")
    assert main([*query, "asked.txt", "--html", "page.html"]) == 0
    assert '<span class="text">warm bread</span>' in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("run", [True, False])
def test_a_query_that_says_nothing_is_named(run, home, tmp_path, capsys):
    index = str(tmp_path / "emb.index")
    withhold.search.build(withhold.load(home / "run").embed(home / "texts"), index)
    for query in ("", " "):
        assert main(["search", "query", index, query, *(["--run", str(home / "run")] if run else [])]) == 2
        assert "The query is empty. Give the path of an item in the index or, with --run" in capsys.readouterr().err
    if run:
        assert main(["search", "query", index, "qwertyuiop", "--run", str(home / "run")]) == 2
        assert "No word of the query is in the vocabulary of" in capsys.readouterr().err


def test_pictures_train_a_tokenizer_too(home, tmp_path):
    assert main(["views", "skipgram", str(home / "book.txt"), "--out", str(tmp_path / "seen.png")]) == 0
    assert Image.open(tmp_path / "seen.png").width > 100


def test_only_methods_of_texts_take_words(make_run):
    assert main(["apply", str(make_run(method="autoencoder").folder), "photos"]) == 2


def test_a_tokenizer_of_another_run_serves(home, tmp_path):
    run = withhold.train(
        "skipgram", home / "book.txt", epochs=0.5, out=tmp_path / "run", tokens=16, tokenizer=str(home / "run")
    )
    assert (run.folder / "tokenizer.json").read_text() == (home / "run" / "tokenizer.json").read_text()
    with pytest.raises(UsageError, match="There is no tokenizer 'word'"):
        withhold.train("skipgram", home / "book.txt", epochs=1, out=tmp_path / "other", tokenizer="word")


def test_a_run_that_never_began_leaves_no_tokenizer(home, tmp_path):
    with pytest.raises(UsageError, match="window"):
        withhold.train("skipgram", ["a film about a film " * 9] * 9, out=tmp_path / "runs" / "run", window=0)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([""], "The input is empty. Give a text"),
        (["ship", "--with", "mask=m.png"], "skipgram takes no --with. Omit --with mask=m.png."),
        (
            ["ship", "--with", "mask=a.png", "--with", "mask=b.png"],
            "--with sets mask more than once. Give one file for it.",
        ),
        (["ship", "--with", "m.png"], "--with m.png names no file. Write it as NAME=FILE."),
    ],
)
def test_a_text_is_answered_and_nothing_else(words, sentence, home, capsys):
    assert main(["apply", str(home / "run"), *words]) == 2
    assert sentence in capsys.readouterr().err


def test_a_few_labels_name_the_topics_of_a_folder(home, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    known = [f"{path.parent.name}/{path.name},{path.parent.name}" for path in sorted((home / "texts").rglob("?.txt"))]
    (tmp_path / "few.csv").write_text("\n".join(["path,label", *known]))
    options = ["--lr", "0.05", "--epochs", "20", "tokens=16"]
    assert main(["train", "uda_text", str(home / "texts"), "--labels", "few.csv", "--out", "run", *options]) == 0
    assert withhold.load("run").config["classes"] == ["bread", "sea"]
    assert "guessed from" in (tmp_path / "run" / "report.html").read_text()
    capsys.readouterr()
    assert main(["evaluate", "run", str(home / "texts"), "--protocol", "classifier", "--json"]) == 0
    row, control = json.loads(capsys.readouterr().out.splitlines()[-1])["results"]
    assert row["value"] > 0.9
    assert (control["encoder"], control["protocol"]) == ("untrained", "classifier")
    assert main(["apply", "run", str(home / "texts"), "--out", "named"]) == 0
    lines = (tmp_path / "named" / "classes.csv").read_text().splitlines()
    assert len(lines) == 1 + len(documents())
    assert lines[1].startswith("bread/1.txt,bread,")
    capsys.readouterr()
    assert main(["apply", "run", "the ship sails the sea", "--json"]) == 0
    (named,) = json.loads(capsys.readouterr().out)["answers"]
    assert named["class"] == "sea"
    (row,) = withhold.load("run").classify(["the ship sails the sea"]).to_pylist()
    assert named["probability"] == pytest.approx(row["probability"], abs=1e-4)
    assert main(["apply", "run", "the ship sails the sea"]) == 0
    assert capsys.readouterr().out.split()[:3] == ["class", "probability", "sea"]
    assert main(["apply", "run", "textz/"]) == 2  # no text, but a path with a slip
    assert "There is no file or folder 'textz/'" in capsys.readouterr().err


def test_a_long_text_has_the_same_class_in_a_list_and_by_itself(home, tmp_path):
    """Its last window ends with the text, as in training."""
    text = " ".join(documents()[:3]) + " bread"
    for name, encoder in (("vectors", str(home / "run")), ("transformer", "text-transformer")):
        options = {"encoder": encoder, "tokens": 16, "out": tmp_path / name, "no_report": True}
        run = withhold.train("finetune", home / "texts", epochs=1, **options)
        (row,) = run.classify([text]).to_pylist()
        found = run.apply(text)["class"]
        assert (found.name, found.probability) == (row["class"], pytest.approx(row["probability"], abs=1e-4))
        assert len(run.encoder.tokenizer.encode(text).ids) > 16


def test_texts_have_no_size(home, tmp_path):
    with pytest.raises(UsageError, match=r"A size is only for images and videos, but these are text data\. Remove"):
        withhold.train("finetune", home / "texts", size=64, epochs=1, out=tmp_path / "run")
