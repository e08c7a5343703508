import numpy as np
import pytest
import tokenizers
from activemimic_policy.tokenizer import Tokenizer, TokenizerError
from tokenizers import models, pre_tokenizers

INSTRUCTIONS = ["Pick up the red cube.", "wave"]


def test_words_are_numbered_alike_whatever_case_underscores_or_order_of_instructions():
    one = Tokenizer.from_instructions(INSTRUCTIONS)
    two = Tokenizer.from_instructions(reversed(INSTRUCTIONS))
    assert one.to_json() == two.to_json()
    assert np.array_equal(one.encode(" pick_up THE red cube. ", 10)[0], one.encode(INSTRUCTIONS[0], 10)[0])


def test_a_stored_tokenizer_reads_as_before():
    tokenizer = Tokenizer.from_instructions(INSTRUCTIONS)
    again = Tokenizer.from_json(tokenizer.to_json())
    assert again.vocab_size == tokenizer.vocab_size == 3 + 7
    for mine, theirs in zip(tokenizer.encode("wave", 4), again.encode("wave", 4), strict=True):
        assert np.array_equal(mine, theirs)


def test_the_mask_covers_the_beginning_and_the_words():
    ids, mask = Tokenizer.from_instructions(INSTRUCTIONS).encode("wave the cube", 6)
    assert mask.tolist() == [True, True, True, True, False, False]
    assert ids[0] == 2
    assert ids[4:].tolist() == [0, 0]


def test_an_unknown_word_is_one_fixed_number_and_not_an_error():
    tokenizer = Tokenizer.from_instructions(INSTRUCTIONS)
    assert tokenizer.encode("wave banana", 4)[0].tolist() == tokenizer.encode("wave apple", 4)[0].tolist()


@pytest.mark.parametrize(("text", "complaint"), [("  ", "no words"), ("a b c d e f", "has 6 words.*at most 5")])
def test_an_instruction_that_does_not_fit_is_refused_not_cut(text, complaint):
    with pytest.raises(TokenizerError, match=complaint):
        Tokenizer.from_instructions(INSTRUCTIONS).encode(text, 6)


@pytest.mark.parametrize("text", ["", "{}", "not json"])
def test_a_file_that_is_no_tokenizer_is_refused(text):
    with pytest.raises(TokenizerError):
        Tokenizer.from_json(text)


def paligemma_like() -> Tokenizer:
    """Stands in for PaliGemma's tokenizer.json, which may not be shipped: its special words and its line break."""
    words = ["<pad>", "<unk>", "<bos>", "\n", "lift", "the", "Red", "cube"]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", behavior="removed")
    return Tokenizer(tokenizer)


def test_paligemmas_text_begins_with_bos_and_ends_with_a_line_break_as_pi0s_does():
    ids, mask = paligemma_like().encode("  lift_the\nRed cube ", 8)
    assert ids.tolist() == [2, 4, 5, 6, 7, 3, 0, 0]
    assert mask.tolist() == [True] * 6 + [False] * 2
    with pytest.raises(TokenizerError, match="has 5 words; this policy reads at most 4"):
        paligemma_like().encode("lift the Red cube", 5)
    with pytest.raises(TokenizerError, match="has no words"):
        paligemma_like().encode(" ", 5)


def test_a_tokenizer_is_read_from_its_folder(tmp_path):
    (tmp_path / "tokenizer.json").write_text(paligemma_like().to_json())
    assert Tokenizer.from_file(tmp_path).encode("lift", 4)[0].tolist() == [2, 4, 3, 0]
    with pytest.raises(TokenizerError, match=r"nowhere"):
        Tokenizer.from_file(tmp_path / "nowhere")
