"""What language models propose and judge is checked, cut, merged, and kept with its reason."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import ego_videos as videos
import pytest
from activemimic_training.egocentric.ingest.ingest import ingest
from activemimic_training.egocentric.ingest.item import find_items
from activemimic_training.egocentric.language import language
from activemimic_training.egocentric.language.filter import filter_segments
from activemimic_training.egocentric.language.language import BadReplyError, Question, UnavailableError, ask, json_of
from activemimic_training.egocentric.language.segment import Segment, Segments, clear, given_segments, segment
from activemimic_training.egocentric.run.licences import OWN, Use, check, model_licence
from activemimic_training.egocentric.settings.pipeline_config import (
    EgocentricConfig,
    EgocentricConfigError,
    LanguageSection,
    LicenceSection,
    SegmentSection,
)
from activemimic_training.egocentric_error import EgocentricError

QUESTION = Question("segment/kitchen/0", "what?", {"type": "object"}, [(0.0, videos.scene()), (1.5, videos.scene(1))])


def scripted(path: Path, **replies: list) -> dict:
    path.write_text(json.dumps(replies))
    return {"backend": "scripted", "script": str(path)}


def found(start: float, end: float, task: str = "Open the jar", objects: tuple[str, ...] = ("jar",)) -> Segment:
    return Segment(start=start, end=end, action="open", objects=objects, task=task)


def spans(segments: Segments) -> list[tuple[float, float]]:
    return [(it.start, it.end) for it in segments.segments]


def run_segment(tmp_path: Path, settings: dict, seconds: float = 6) -> Segments:
    path = tmp_path / "kitchen.mp4"
    if not path.exists():
        videos.write_video(path, videos.steady(seconds, 10))
    (item,), _ = find_items([path])
    config = EgocentricConfig.model_validate({"segment": settings})
    for name in ("ingest", "out"):
        (tmp_path / name).mkdir(exist_ok=True)
    ingest(item, config, {}, tmp_path / "ingest")
    segment(item, config, {"ingest": tmp_path / "ingest"}, tmp_path / "out")
    return Segments.load(tmp_path / "out")


def test_segments_are_cut_to_what_may_be_used_and_merged_there() -> None:
    proposed = [
        found(-1, 4),
        found(4.5, 7, "open the jar.", ("jar", "lid")),  # half a second later, in other words
        found(3, 9, "Wipe the table"),
        found(9, 14),  # over the gap from 10 to 12
        found(30, 40),
        found(5, 5),
    ]
    cleared = clear(proposed, [(0, 10), (12, 20)], SegmentSection(min_s=1.5))
    assert [(it.task, it.start, it.end) for it in cleared.segments] == [
        ("Open the jar", 0, 7),
        ("Wipe the table", 3, 9),
        ("Open the jar", 12, 14),
    ]
    assert cleared.segments[0].objects == ("jar", "lid")
    assert [(it.segment.start, it.reason) for it in cleared.rejected] == [
        (30, "outside of what may be used of the video"),
        (5, "ends before it starts"),
        (9, "1.00 s long, below 1.5 s"),
    ]


def test_segments_that_are_too_long_are_rejected_with_the_reason() -> None:
    cleared = clear([found(0, 61)], [(0, 100)], SegmentSection())
    assert [it.reason for it in cleared.rejected] == ["61.00 s long, above 60 s"]


def test_a_long_video_is_shown_in_pieces_and_a_task_over_their_edge_is_one(tmp_path: Path) -> None:
    model = scripted(
        tmp_path / "script.json",
        **{
            "segment/kitchen/0": [{"segments": [videos.segment(0.5, 9)]}],  # beyond what the piece shows
            "segment/kitchen/1": [{"segments": [videos.segment(3, 5)]}],
        },
    )
    kept = run_segment(tmp_path, {"model": model, "piece_s": 3})
    assert spans(kept) == [(0.5, 5.0)]
    asked = json.loads((tmp_path / "out" / "replies.json").read_text())
    assert [it["question"] for it in asked] == ["segment/kitchen/0", "segment/kitchen/1"]


def test_a_reply_that_is_no_use_is_asked_for_again_and_kept(tmp_path: Path) -> None:
    good = "Here it is:\n```json\n" + json.dumps([videos.segment(1, 4)]) + "\n```"
    bad = ["I see a kitchen.", {"segments": [{"start": "0:01"}]}]
    model = scripted(tmp_path / "a.json", segment=[*bad, good])
    assert spans(run_segment(tmp_path, {"model": model})) == [(1.0, 4.0)]

    model = scripted(tmp_path / "b.json", segment=[*bad, '{"segments": [{'])
    with pytest.raises(BadReplyError, match="segment/kitchen/0: no usable reply of scripted in 3 tries") as caught:
        run_segment(tmp_path, {"model": model})
    assert caught.value.replies == ["I see a kitchen.", json.dumps(bad[1]), '{"segments": [{']


def test_own_segments_are_found_by_the_videos_name(tmp_path: Path) -> None:
    (tmp_path / "kitchen.mp4").touch()
    (item,), _ = find_items([tmp_path / "kitchen.mp4"])
    for name in ("kitchen", "kitchen.mp4"):
        path = videos.write_segments(tmp_path / f"{name}.json", **{name: [videos.segment(1, 2)]})
        assert given_segments(path, item) == [found(1, 2)]
    with pytest.raises(EgocentricError, match=r"other\.json: expected segments of kitchen"):
        given_segments(videos.write_segments(tmp_path / "other.json", sink=[]), item)
    wrong = videos.write_segments(tmp_path / "wrong.json", kitchen=[videos.segment(1, 2, hand="left")])
    with pytest.raises(EgocentricError, match=r"wrong.json: kitchen: segments.0.hand: expected no such field"):
        given_segments(wrong, item)


def judged(tmp_path: Path, verdicts: list[list], at_once: int = 40) -> Segments:
    segments = Segments(segments=(found(0, 3), found(4, 7, "Pat the dog"), found(8, 9, "Dig a hole")))
    for name in ("segment", "filter"):
        (tmp_path / name).mkdir(exist_ok=True)
    segments.save(tmp_path / "segment")
    script = {f"filter/kitchen/{number}": replies for number, replies in enumerate(verdicts)}
    model = scripted(tmp_path / "script.json", **script)
    (tmp_path / "kitchen.mp4").touch()
    (item,), _ = find_items([tmp_path / "kitchen.mp4"])
    config = EgocentricConfig.model_validate({"filter": {"model": model, "at_once": at_once}})
    language.language_model.cache_clear()
    filter_segments(item, config, {"segment": tmp_path / "segment"}, tmp_path / "filter")
    return Segments.load(tmp_path / "filter")


def verdict(number: int, reason: str = "fine", **failed: bool) -> dict:
    return {"number": number, "hands": True, "artificial": True, "indoors": True, "reason": reason, **failed}


def test_every_rejection_names_the_criterion_and_the_reason(tmp_path: Path) -> None:
    first = [verdict(1, "a dog", artificial=False), verdict(0)]
    second = [verdict(0, "in soil", artificial=False, indoors=False)]
    kept = judged(tmp_path, [[{"verdicts": first}], [second]], at_once=2)
    assert [it.task for it in kept.segments] == ["Open the jar"]
    assert [(it.segment.task, it.reason) for it in kept.rejected] == [
        ("Pat the dog", "not a made thing: a dog"),
        ("Dig a hole", "not a made thing, not indoors: in soil"),
    ]


def test_a_verdict_that_is_missing_or_twice_is_no_reply(tmp_path: Path) -> None:
    short, twice = [verdict(0), verdict(1)], [verdict(0), verdict(1), verdict(1)]
    with pytest.raises(BadReplyError, match="expected one for each number from 0 to 2, found 0, 1, 1"):
        judged(tmp_path, [[short, short, twice]])


@pytest.mark.parametrize(
    ("reply", "data"),
    [
        ('{"a": 1}', {"a": 1}),
        ("Sure: [1, 2] is it.", [1, 2]),
        ('<think>{"a": 0}?</think>\n```json\n{"a": 2}\n```', {"a": 2}),
    ],
)
def test_json_is_found_among_words(reply: str, data: object) -> None:
    assert json_of(reply) == data


class _Server:
    """Answers as an OpenAI-compatible server; `codes` are the states of the next answers, 200 thereafter."""

    def __init__(self) -> None:
        self.bodies: list[dict] = []
        self.codes: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                code = outer.codes.pop(0) if outer.codes else 200
                answer = {"choices": [{"message": {"content": '{"segments": []}'}}]}
                self.send_response(code)
                self.end_headers()
                self.wfile.write(json.dumps(answer if code == 200 else {"error": "too long"}).encode())

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.section = LanguageSection(
            backend="server", model="m", url=f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        )


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    monkeypatch.setattr(language, "_BUSY_WAITS_S", (0.0, 0.0))
    found = _Server()
    yield found
    found.http.shutdown()
    found.http.server_close()


def test_the_server_gets_every_frame_after_its_time_and_the_schema(server: _Server) -> None:
    server.codes = [503]
    assert ask(server.section, QUESTION, json_of)[0] == {"segments": []}
    body = server.bodies[-1]
    kinds = [part.get("text") or part["image_url"]["url"][:23] for part in body["messages"][0]["content"]]
    assert kinds == ["<0.0 seconds>", "data:image/jpeg;base64,", "<1.5 seconds>", "data:image/jpeg;base64,", "what?"]
    assert body["response_format"]["json_schema"]["schema"] == QUESTION.schema
    assert len(server.bodies) == 2  # it was busy once


def test_a_question_that_the_server_refuses_is_the_videos_fault_and_a_server_that_is_away_is_not(
    server: _Server,
) -> None:
    server.codes = [400]
    with pytest.raises(EgocentricError, match=r"HTTP 400: .*too long") as caught:
        ask(server.section, QUESTION, json_of)
    assert not isinstance(caught.value, UnavailableError)
    server.codes = [500, 500, 500]
    with pytest.raises(UnavailableError, match="HTTP 500"):
        ask(server.section, QUESTION, json_of)
    away = server.section.model_copy(update={"url": "http://127.0.0.1:9/v1"})
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9/v1/chat/completions: cannot be reached"):
        ask(away, QUESTION, json_of)


def test_a_model_of_hugging_face_answers_in_this_process(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    words = ["[UNK]", "[END]", *(f"w{index}" for index in range(30))]
    model = tokenizers.models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", eos_token="[END]")
    fast.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    fast.save_pretrained(tmp_path)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": len(words)}
    transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**sizes, **heads)).save_pretrained(tmp_path)

    section = LanguageSection(backend="transformers", model=str(tmp_path), device="cpu", max_tokens=12)
    found = language.language_model(section)
    question = Question("filter/kitchen/0", "w1 w2 w3", {})
    first = found.reply(question, 0)
    assert set(first.split()) <= set(words)
    assert found.reply(question, 0) == first
    assert len({found.reply(question, attempt) for attempt in range(4)}) > 1
    with pytest.raises(EgocentricConfigError, match="expected a model that sees images, found one of text"):
        found.reply(QUESTION, 0)


def test_a_model_is_refused_by_its_licence() -> None:
    vggt = Use("camera", "facebook/VGGT-1B", model_licence("facebook/VGGT-1B"))
    qwen = Use("segment", "Qwen/Qwen3-VL-8B-Instruct", model_licence("Qwen/Qwen3-VL-8B-Instruct"))
    mine = Use("filter", "mine", model_licence("mine"))
    check([vggt, qwen, mine], LicenceSection())
    check(
        [qwen, Use("filter", "mine", model_licence("mine", "MIT")), Use("f", "s", OWN)], LicenceSection(commercial=True)
    )
    for use, wanted, text in (
        (
            vggt,
            LicenceSection(commercial=True),
            "camera: facebook/VGGT-1B has licence CC-BY-NC-4.0, not known to allow",
        ),
        (qwen, LicenceSection(exclude=("Apache-2.0",)), "licence Apache-2.0, which licences.exclude refuses"),
        (mine, LicenceSection(exclude=("X",)), "filter: mine has licence not stated; expected one"),
    ):
        with pytest.raises(EgocentricConfigError, match=text):
            check([use], wanted)
