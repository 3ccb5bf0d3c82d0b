"""Documents of every form become windows of token ids; tokenizers are trained, or used as given."""

import gzip
import json
import zipfile

import numpy as np
import pytest
import torch

from withhold import data
from withhold.data.tables import Lines
from withhold.data.texts import SPECIAL, load_tokenizer, train_tokenizer
from withhold.errors import UsageError, WithholdError

DOCUMENTS = ["The cat sat on the mat.", "A dog sat on the log!", "The cat and the dog.", "On the mat sat a cat."]


@pytest.fixture
def tokenizer(tmp_path):
    """The path of a tokenizer of the documents' words."""
    path = tmp_path / "tokenizer.json"
    train_tokenizer(Lines(DOCUMENTS * 5), "words", "the documents").save(str(path))
    return str(path)


@pytest.fixture
def read(tokenizer):
    """(source, ...) -> what the items of it say, by name, and the samples."""

    def read(source, tokens=8, **options):
        samples = data.load(source, "text", tokenizer=tokenizer, tokens=tokens, **options)
        coder = load_tokenizer(tokenizer)
        words = [" ".join(map(coder.id_to_token, samples.whole(row).tolist())) for row in range(len(samples))]
        return dict(zip(samples.names, words, strict=True)), samples

    return read


EXPECTED = ["the cat sat on the mat .", "a dog sat on the log !", "the cat and the dog .", "on the mat sat a cat ."]


def test_a_folder_of_documents_in_class_folders(read, tmp_path):
    for row, (name, text) in enumerate(
        zip(("cat/1.txt", "dog/deep/2.txt.gz", "cat/3.md", "dog/4.TXT"), DOCUMENTS, strict=True)
    ):
        path = tmp_path / "texts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = text.encode("utf-8-sig" if row == 0 else "utf-8")
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    (tmp_path / "texts" / "cat" / ".hidden.txt").write_text("no")
    (tmp_path / "texts" / "cat" / "photo.jpg").write_text("no")
    said, samples = read(tmp_path / "texts")
    assert said == dict(
        zip(("cat/1.txt", "cat/3.md", "dog/4.TXT", "dog/deep/2.txt.gz"), np.array(EXPECTED)[[0, 2, 3, 1]], strict=True)
    )
    assert samples.classes == ("cat", "dog")
    assert samples.labels.tolist() == [0, 0, 1, 1]

    with zipfile.ZipFile(tmp_path / "texts.zip", "w") as archive:
        for file in sorted((tmp_path / "texts").rglob("*.*")):
            archive.write(file, f"wrapped/{file.relative_to(tmp_path / 'texts')}")
    packed, zipped = read(tmp_path / "texts.zip")
    assert packed == said
    assert zipped.labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("ending", [".txt", ".txt.gz", ".md"])
def test_a_text_file_holds_a_document_in_each_paragraph(read, tmp_path, ending):
    first, *rest = DOCUMENTS
    text = first.replace(" on", "\non") + "\n\n \t\n" + "\r\n\r\n".join(rest) + "\n\n"
    path = tmp_path / f"book{ending}"
    path.write_bytes(gzip.compress(text.encode()) if ending.endswith(".gz") else text.encode())
    said, samples = read(path)
    assert list(said.values()) == EXPECTED
    assert list(said) == ["0", "1", "2", "3"]
    assert samples.labels is None


def write_csv(path):
    path.write_text("id,text,label\n" + "".join(f'{i},"{t}",{"ab"[i % 2]}\n' for i, t in enumerate(DOCUMENTS)))


def write_jsonl(path):
    rows = [{"review": text, "label": "ab"[i % 2]} for i, text in enumerate(DOCUMENTS)]
    path.write_text("\n".join(map(json.dumps, rows)))


def write_parquet(path):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"title": ["x"] * 4, "text": DOCUMENTS, "label": list("abab")}), path)


@pytest.mark.parametrize(
    ("name", "write"), [("t.csv", write_csv), ("t.jsonl", write_jsonl), ("t.parquet", write_parquet)]
)
def test_a_table_has_a_document_in_each_line(read, tmp_path, name, write):
    write(tmp_path / name)
    said, samples = read(tmp_path / name)
    assert list(said.values()) == EXPECTED
    assert samples.classes == ("a", "b")
    assert samples.labels.tolist() == [0, 1, 0, 1]
    assert data.measure(tmp_path / name, "text") == data.Shape()


def test_files_called_train_and_test_are_splits(read, tmp_path):
    for name, texts in (("wiki.train.txt.gz", DOCUMENTS), ("wiki.valid.txt.gz", DOCUMENTS[:1])):
        (tmp_path / "corpus").mkdir(exist_ok=True)
        (tmp_path / "corpus" / name.removeprefix("wiki.")).write_bytes(gzip.compress("\n\n".join(texts).encode()))
    parts = data.splits(tmp_path / "corpus", "text")
    assert [len(read(part)[0]) for part in (parts["train"], parts["test"])] == [4, 1]


def test_python_gives_texts_and_labels(read):
    said, samples = read((DOCUMENTS, ["x", None, "y", "x"]))
    assert list(said.values()) == EXPECTED
    assert samples.labels.tolist() == [0, -1, 1, 0]
    with pytest.raises(UsageError, match=r"The list of documents is empty\. Give at least one text\."):
        read([])


def test_what_holds_no_text_is_left_out_and_named(read, tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    contents = {"a.txt": b"the cat", "empty.txt": b"", "blank.txt": b" \n\t", "latin.txt": "chât".encode("latin-1")}
    for name, content in (contents | {"torn.txt.gz": gzip.compress(b"the cat" * 99)[:20]}).items():
        (folder / name).write_bytes(content)
    said, samples = read(folder)
    assert said == {"a.txt": "the cat"}
    reasons = dict(samples.skipped)
    assert reasons["empty.txt"] == reasons["blank.txt"] == "empty document"
    assert reasons["latin.txt"] == "not UTF-8 text; save it as UTF-8"
    assert "ended" in reasons["torn.txt.gz"]
    with pytest.raises(WithholdError, match=r"blank\.txt in .*texts cannot be read: empty document\."):
        read(folder, strict=True)
    (tmp_path / "latin.txt").write_bytes(contents["latin.txt"])
    with pytest.raises(WithholdError, match=r"latin\.txt cannot be read: not UTF-8 text; save it as UTF-8\."):
        read(tmp_path / "latin.txt")
    with pytest.raises(WithholdError, match="None of the 2 documents in the list can be read"):
        read(["", " "])


def test_windows_cover_a_document_and_short_ones_are_padded(read):
    _, samples = read(["the cat sat on the mat . the dog .", "a dog"], tokens=4)
    long, short = samples.whole(0), samples.whole(1)
    assert samples.batch([0, 1]).dtype == torch.int32
    assert samples.batch([0, 1]).tolist() == [long[3:7].tolist(), [*short, 0, 0]]
    windows = samples.windows()
    assert windows.owners.tolist() == [0, 0, 0, 1]
    assert windows.batch(range(3)).tolist() == [long[:4].tolist(), long[4:8].tolist(), long[6:10].tolist()]
    assert samples.middles().windows().batch([0, 1]).tolist() == samples.batch([0, 1]).tolist()
    with pytest.raises(UsageError, match="cannot have 0 tokens"):
        read(DOCUMENTS, tokens=0)
    with pytest.raises(UsageError, match="Give the path of a tokenizer"):
        data.load(DOCUMENTS, "text")


def test_the_cache_knows_the_tokenizer_but_not_the_window(read, tokenizer, cache_dir, tmp_path):
    read(DOCUMENTS)
    assert len(data.cache.entries()) == 1
    read(DOCUMENTS, tokens=3)
    assert len(data.cache.entries()) == 1
    other = tmp_path / "other.json"
    train_tokenizer(Lines(["one two"] * 9), "words", "here").save(str(other))
    samples = data.load(DOCUMENTS, "text", tokenizer=str(other))
    assert len(data.cache.entries()) == 2
    assert set(np.unique(samples.values)) == {1}


def test_a_vocabulary_is_of_common_words_in_lower_case():
    texts = ["The The the THE cat cat cat cat cat dog dog dog dog [MASK]"]
    texts[0] += " the"
    words = train_tokenizer(Lines(texts), "words", "here")
    assert [words.id_to_token(i) for i in range(words.get_vocab_size())] == [*SPECIAL, "cat", "the"]
    assert words.encode("the dog [MASK] CAT").ids == [6, 1, 4, 5]
    assert train_tokenizer(Lines(texts * 5), "words:2", "here").get_vocab_size() == len(SPECIAL) + 2
    pieces = train_tokenizer(Lines(DOCUMENTS), "wordpiece:60", "here")
    assert pieces.get_vocab_size() <= 60
    assert pieces.token_to_id("[PAD]") == 0
    assert 1 not in pieces.encode("that").ids  # of pieces, although nobody has seen the word


@pytest.mark.parametrize("name", ["words", "wordpiece:300"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("今日はいい天気です。Hello", ["今", "日", "は", "い", "い", "天", "気", "で", "す", "。", "hello"]),
        ("ラーメンとiPhone15を", ["ラ", "ー", "メ", "ン", "と", "iphone15", "を"]),
        ("我爱北京，天安门！", ["我", "爱", "北", "京", ",", "天", "安", "门", "!"]),
        ("ที่นี่ดี", ["ที่", "นี่", "ดี"]),
        ("ຂ້ອຍ မြန် ភាសា", ["ຂ້", "ອ", "ຍ", "မြ", "န်", "ភា", "សា"]),
        ("한국어 텍스트", ["한국어", "텍스트"]),
    ],
)
def test_scripts_without_spaces_are_read_character_by_character(name, text, said):
    assert train_tokenizer(Lines([text] * 5), name, "here").encode(text).tokens == said


@pytest.mark.parametrize("name", ["words", "wordpiece:300"])
def test_scripts_with_spaces_are_read_as_bert_reads_them(name):
    from tokenizers import pre_tokenizers

    texts = [
        "Naïve, don't! a_b 3.5% x\u00a0y",
        "Ελλάδα και Россия",
        "हिन्दी में",
        "العربية",
        "👍🏽 e\u0301 tiếng Việt",
        "한국어 텍스트",
    ]
    tokenizer = train_tokenizer(Lines(texts * 5), name, "here")
    bert = train_tokenizer(Lines(texts * 5), name, "here")
    bert.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    for text in texts:
        assert tokenizer.pre_tokenizer.pre_tokenize_str(text) == bert.pre_tokenizer.pre_tokenize_str(text)
        if name == "words":  # pieces that are as frequent as others are numbered as it happens
            assert tokenizer.encode(text).ids == bert.encode(text).ids


@pytest.mark.parametrize(
    ("texts", "name", "error", "sentence"),
    [
        (
            ["word " * 9],
            "words",
            WithholdError,
            "vocabulary of the list has 1 words that occur 5 times. Give more text",
        ),
        (DOCUMENTS, "words", WithholdError, "has 1 words that occur 5 times"),
        (["", " "], "words", WithholdError, "has 0 words"),
        (DOCUMENTS, "word", UsageError, "There is no tokenizer 'word': did you mean words"),
        (DOCUMENTS, "words:many", UsageError, "There is no tokenizer 'words:many'"),
    ],
)
def test_a_tokenizer_that_cannot_be_is_named(texts, name, error, sentence):
    with pytest.raises(error, match=sentence):
        data.fit_tokenizer([(texts, "text")], name)


def test_a_tokenizer_from_elsewhere_is_taken_as_it_is(tokenizer, tmp_path):
    """From its file or a folder that holds it; what would cut or pad a text is switched off."""
    whole = load_tokenizer(tokenizer)
    whole.enable_truncation(2)
    whole.enable_padding(length=9)
    folder = tmp_path / "bert"
    folder.mkdir()
    whole.save(str(folder / "tokenizer.json"))
    expected = load_tokenizer(tokenizer).encode(DOCUMENTS[0]).ids
    for name in (str(folder), str(folder / "tokenizer.json")):
        assert data.fit_tokenizer([(["no text that matters"], "text")], name).encode(DOCUMENTS[0]).ids == expected


def test_what_is_no_tokenizer_is_named(tmp_path, monkeypatch):
    class Offline:
        def from_pretrained(name):
            raise RuntimeError(f"no network for {name}.")

        def from_file(path):
            return Tokenizer.from_file(path)

    from tokenizers import Tokenizer

    monkeypatch.setattr("tokenizers.Tokenizer", Offline)
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    for name in (path, tmp_path):
        with pytest.raises(WithholdError, match=f"{name} is not a tokenizer"):
            data.fit_tokenizer([(DOCUMENTS, "text")], str(name))
    with pytest.raises(WithholdError, match="hf:no/such is not a tokenizer: no network"):
        data.fit_tokenizer([(DOCUMENTS, "text")], "hf:no/such")
    from tokenizers import models

    Tokenizer(models.WordLevel({"<s>": 0, "[UNK]": 1}, unk_token="[UNK]")).save(str(path))
    with pytest.raises(WithholdError, match=r"tokenizer\.json lacks \[PAD\]\. Use a BERT tokenizer"):
        data.fit_tokenizer([(DOCUMENTS, "text")], str(path))


def test_documents_are_labelled_by_a_file(read, tmp_path):
    (tmp_path / "few.csv").write_text("path,label\n0,cat\n1,dog\n")
    _, samples = read(DOCUMENTS, labels=tmp_path / "few.csv")
    assert samples.labels.tolist() == [0, 1, -1, -1]


def test_fewer_pieces_than_characters_are_refused():
    with pytest.raises(UsageError, match=r"wordpiece:7 is too small for here, whose characters alone make \d+ pieces"):
        train_tokenizer(Lines(DOCUMENTS), "wordpiece:7", "here")
