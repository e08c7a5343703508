"""Instructions to numbers: by a tokenizer of the training data's own words, or by PaliGemma's where that is at hand."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tokenizers
from activemimic_description.common.errors import InvalidInputError
from tokenizers import models, normalizers, pre_tokenizers

PADDING, UNKNOWN, BEGIN = "[pad]", "[unk]", "[begin]"
_PALIGEMMA = ("<pad>", "<unk>", "<bos>")


class TokenizerError(InvalidInputError):
    """A tokenizer file that is none, or an instruction that does not fit."""


class Tokenizer:
    """Text to numbers, beginning with one that says so.

    Of our own kind (`from_instructions`): a number a word; case, surrounding space and '_' do not matter, an unknown
    word becomes `[unk]`. PaliGemma's (`from_file`): its pieces of words and, as pi0 does, a line break at the end.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._is_paligemma = tokenizer.token_to_id(_PALIGEMMA[2]) is not None
        names = _PALIGEMMA if self._is_paligemma else (PADDING, UNKNOWN, BEGIN)
        self._padding, _, self._begin = (_special(tokenizer, word, names) for word in names)

    @classmethod
    def from_instructions(cls, instructions: Iterable[str]) -> Tokenizer:
        """The tokenizer that knows exactly the words of `instructions`, whatever their order."""
        empty = _word_level({PADDING: 0, UNKNOWN: 1, BEGIN: 2})
        words = {word for instruction in instructions for word in _words(empty, instruction)}
        vocabulary = [PADDING, UNKNOWN, BEGIN, *sorted(words)]
        return cls(_word_level({word: number for number, word in enumerate(vocabulary)}))

    @classmethod
    def from_file(cls, path: Path | str) -> Tokenizer:
        """The tokenizer of a tokenizer.json, or of a folder that holds one. Raises TokenizerError."""
        path = Path(path)
        file = path / "tokenizer.json" if path.is_dir() else path
        try:
            return cls.from_json(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, TokenizerError) as error:
            raise TokenizerError(f"{file}: {error}") from None

    @classmethod
    def from_json(cls, text: str) -> Tokenizer:
        """The tokenizer of a tokenizer.json. Raises TokenizerError when `text` is none."""
        try:
            return cls(tokenizers.Tokenizer.from_str(text))
        except TokenizerError:
            raise
        except Exception as error:  # the library raises bare Exception
            raise TokenizerError(f"not a tokenizer: {error}") from None

    def to_json(self) -> str:
        return self._tokenizer.to_str(pretty=True)

    @property
    def vocab_size(self) -> int:
        return self._tokenizer.get_vocab_size()

    @property
    def is_paligemma(self) -> bool:
        """Whether it splits words as PaliGemma does, whatever the instructions were."""
        return self._is_paligemma

    def words(self) -> tuple[str, ...]:
        """Every word or piece of one, by its number."""
        numbers = self._tokenizer.get_vocab()
        return tuple(sorted(numbers, key=numbers.__getitem__))

    def encode(self, instruction: str, length: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Word numbers (X,) with X = `length` and a mask (X,) that is False on padding.

        Raises TokenizerError when the instruction is empty or has more than length - 1 words.
        """
        words = self._pieces(instruction)
        if not words:
            raise TokenizerError(f"the instruction {instruction!r} has no words; say what the robot shall do")
        if self._is_paligemma:
            words = [*words, *self._tokenizer.encode("\n", add_special_tokens=False).ids]
        if len(words) >= length:
            raise TokenizerError(
                f"the instruction {instruction!r} has {len(words)} words; this policy reads at most {length - 1}"
            )
        ids = np.full(length, self._padding, dtype=np.int64)
        ids[: len(words) + 1] = [self._begin, *words]
        return ids, np.arange(length) <= len(words)

    def _pieces(self, instruction: str) -> list[int]:
        if self._is_paligemma:
            instruction = instruction.strip().replace("_", " ").replace("\n", " ")
        return list(self._tokenizer.encode(instruction, add_special_tokens=False).ids)


def _word_level(vocabulary: dict[str, int]) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace("_", " "), normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def _special(tokenizer: tokenizers.Tokenizer, word: str, names: tuple[str, ...]) -> int:
    number = tokenizer.token_to_id(word)
    if number is None:
        raise TokenizerError(f"expected the special words {', '.join(names)}, found no {word}")
    return number


def _words(tokenizer: tokenizers.Tokenizer, instruction: str) -> list[str]:
    normal = tokenizer.normalizer.normalize_str(instruction)
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal)]
