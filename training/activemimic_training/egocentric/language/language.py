"""Models that answer questions about frames and texts: a server, transformers in this process, or a script."""

from __future__ import annotations

import base64
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np

from activemimic_training.egocentric.settings.pipeline_config import EgocentricConfigError, LanguageSection
from activemimic_training.egocentric_error import EgocentricError

T = TypeVar("T")
_BUSY_WAITS_S = (2.0, 10.0, 30.0)  # before a server that is busy or away is asked again


class BadReplyError(EgocentricError):
    """No reply could be used; `replies` has them as they came."""

    def __init__(self, message: str, replies: list[str]) -> None:
        super().__init__(message, replies)
        self.replies = replies

    def __str__(self) -> str:
        return str(self.args[0])


class UnavailableError(EgocentricError):
    """The server cannot be reached: no fault of the video."""


@dataclass(frozen=True)
class Question:
    """`key` names it, such as segment/kitchen/0. `frames`: s and (H, W, 3) uint8 RGB each, in order."""

    key: str
    text: str
    schema: dict[str, Any]
    frames: Sequence[tuple[float, np.ndarray]] = ()


class LanguageModel(Protocol):
    """Answers with text; another `attempt` may be another answer."""

    def reply(self, question: Question, attempt: int) -> str: ...


def ask(section: LanguageSection, question: Question, parse: Callable[[str], T]) -> tuple[T, list[str]]:
    """What `parse` makes of the first reply that it takes (it raises ValueError for others), and all replies.

    Raises BadReplyError, UnavailableError, EgocentricError.
    """
    model = language_model(section)
    replies: list[str] = []
    fault = ""
    for attempt in range(section.tries):
        replies.append(model.reply(question, attempt))
        try:
            return parse(replies[-1]), replies
        except ValueError as error:
            fault = " ".join(str(error).split())
    raise BadReplyError(
        f"{question.key}: no usable reply of {section.model} in {section.tries} tries: {fault}", replies
    )


@lru_cache(maxsize=4)
def language_model(section: LanguageSection) -> LanguageModel:
    """The model, loaded once a process."""
    if section.backend == "scripted":
        return ScriptedModel(section)
    return ServerModel(section) if section.backend == "server" else TransformersModel(section)


def check_reachable(section: LanguageSection) -> None:
    """Raises EgocentricConfigError or UnavailableError at once, rather than at the first video."""
    if section.backend == "server":
        ServerModel(section).models()
    elif section.backend == "scripted":
        ScriptedModel(section)


class ScriptedModel:
    """Replies from a JSON file: question key, or its first part, to a list of replies, the last of which repeats."""

    def __init__(self, section: LanguageSection) -> None:
        try:
            self._replies = json.loads(section.script.read_text()) if section.script else {}
        except (OSError, ValueError) as error:
            raise EgocentricConfigError(f"{section.script}: cannot be read: {error}") from None

    def reply(self, question: Question, attempt: int) -> str:
        replies = self._replies.get(question.key) or self._replies.get(question.key.split("/")[0])
        if not replies:
            raise EgocentricError(f"{question.key}: expected a scripted reply, found none")
        found = replies[min(attempt, len(replies) - 1)]
        return found if isinstance(found, str) else json.dumps(found)


class ServerModel:
    """An OpenAI-compatible server.

    Frames go as images with their times between them as text: no server's own sampling of a video can shift them.
    """

    def __init__(self, section: LanguageSection) -> None:
        self._section = section

    def models(self) -> None:
        """Raises UnavailableError, EgocentricError if it does not answer."""
        self._send("models", None, waits=())

    def reply(self, question: Question, attempt: int) -> str:
        content: list[dict[str, Any]] = []
        for time_s, image in question.frames:
            content.append({"type": "text", "text": f"<{time_s:.1f} seconds>"})
            content.append({"type": "image_url", "image_url": {"url": _data_url(image)}})
        content.append({"type": "text", "text": question.text})
        answer = self._send(
            "chat/completions",
            {
                "model": self._section.model,
                "messages": [{"role": "user", "content": content}],
                "temperature": _temperature(attempt),
                "seed": attempt,
                "max_tokens": self._section.max_tokens,
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "reply", "schema": question.schema},
                },
            },
            _BUSY_WAITS_S,
        )
        try:
            return str(answer["choices"][0]["message"]["content"] or "")
        except (KeyError, IndexError, TypeError):
            raise EgocentricError(
                f"{self._section.url}: expected choices with a message, found {answer!r:.200}"
            ) from None

    def _send(self, path: str, body: dict[str, Any] | None, waits: Sequence[float]) -> Any:
        url = f"{self._section.url.rstrip('/')}/{path}"
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get("OPENAI_API_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(url, json.dumps(body).encode() if body else None, headers)
        for wait in (*waits, None):
            try:
                with urllib.request.urlopen(request, timeout=self._section.timeout_s) as response:
                    return json.load(response)
            except urllib.error.HTTPError as error:
                what = f"{url}: HTTP {error.code}: {error.read(300).decode(errors='replace').strip()}"
                if error.code in (401, 403, 404):
                    raise UnavailableError(what) from None
                if error.code != 429 and error.code < 500:
                    raise EgocentricError(what) from None
            except json.JSONDecodeError as error:
                raise EgocentricError(f"{url}: expected JSON: {error}") from None
            except OSError as error:
                what = f"{url}: cannot be reached: {getattr(error, 'reason', error)}"
            except ValueError as error:
                raise EgocentricConfigError(f"segment.model.url, filter.model.url: {error}") from None
            if wait is None:
                raise UnavailableError(what)
            time.sleep(wait)
        raise AssertionError("unreachable")


class TransformersModel:
    """A model of Hugging Face in this process, with images and times as the server gets them."""

    def __init__(self, section: LanguageSection) -> None:
        try:
            import transformers
        except ModuleNotFoundError:
            raise EgocentricConfigError(
                "backend transformers: it is not installed: pip install 'activemimic_training[language]'"
            ) from None
        transformers.utils.logging.disable_progress_bar()
        self._section = section
        config = transformers.AutoConfig.from_pretrained(section.model)
        self._sees = hasattr(config, "vision_config")
        loader = transformers.AutoModelForImageTextToText if self._sees else transformers.AutoModelForCausalLM
        reader = transformers.AutoProcessor if self._sees else transformers.AutoTokenizer
        self._reader: Any = reader.from_pretrained(section.model)
        model: Any = loader.from_pretrained(section.model, dtype="auto")
        self._model = model.to(section.device).eval()

    def reply(self, question: Question, attempt: int) -> str:
        import torch

        if question.frames and not self._sees:
            raise EgocentricConfigError(f"{self._section.model}: expected a model that sees images, found one of text")
        inputs = self._reader.apply_chat_template(
            [{"role": "user", "content": self._content(question)}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self._section.device)
        torch.manual_seed(attempt)
        warmth = {"do_sample": True, "temperature": _temperature(attempt)} if attempt else {"do_sample": False}
        with torch.inference_mode():
            tokens = self._model.generate(**inputs, max_new_tokens=self._section.max_tokens, **warmth)
        new = tokens[0, inputs["input_ids"].shape[1] :]
        return str(self._reader.decode(new, skip_special_tokens=True))

    def _content(self, question: Question) -> Any:
        text = f"{question.text}\nThe schema of the reply: {json.dumps(question.schema)}"
        if not self._sees:
            return text
        from PIL import Image

        content: list[dict[str, Any]] = []
        for time_s, image in question.frames:
            content += [
                {"type": "text", "text": f"<{time_s:.1f} seconds>"},
                {"type": "image", "image": Image.fromarray(image)},
            ]
        return [*content, {"type": "text", "text": text}]


def json_of(reply: str) -> Any:
    """The JSON in a reply, which may stand in a Markdown fence or after other words. Raises ValueError."""
    text = reply.rpartition("</think>")[2]
    starts = [index for index in (text.find("{"), text.find("[")) if index >= 0]
    if not starts:
        raise ValueError(f"expected JSON, found {text.strip()[:80]!r}")
    return json.JSONDecoder().raw_decode(text, min(starts))[0]


def _temperature(attempt: int) -> float:
    return min(0.3 * attempt, 1.0)


def _data_url(image: np.ndarray) -> str:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
