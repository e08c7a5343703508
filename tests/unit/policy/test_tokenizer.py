import numpy as np
import pytest
from activemimic_policy.tokenizer import Tokenizer, TokenizerError

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
