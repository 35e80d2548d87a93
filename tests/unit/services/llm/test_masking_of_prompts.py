"""What is sensitive is found, replaced on the way out and put back on the way in."""

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.faults import fault_proxy
from reference.gateways import WHO, gateway, question
from reference.models import ModelServer, provider

from quantum_suite.services.llm.configuration import MaskingOptions
from quantum_suite.services.llm.interface import Message, ModelRequest, TextDelta, ToolCall, ToolSpec
from quantum_suite.services.llm.masking import Masking
from quantum_suite.services.llm.sensitive import find_sensitive

EVERYTHING = MaskingOptions(ip_addresses=True)


def found(text: str) -> list[tuple[str, str]]:
    spans = find_sensitive(text, secrets=True, personal=True, ip_addresses=True)
    return [(text[span.start : span.end], span.kind) for span in spans]


@pytest.mark.parametrize(
    ("text", "value", "kind"),
    [
        ("key AKIAABCDEFGHIJKLMNOP here", "AKIAABCDEFGHIJKLMNOP", "SECRET"),
        ('password = "correct horse" and', None, None),
        ('api_key = "hunter2hunter2"', "hunter2hunter2", "SECRET"),
        ('{"clientSecret": "s3cretvalue"}', "s3cretvalue", "SECRET"),
        ("DB_PASSWORD=abc123def456", "abc123def456", "SECRET"),
        ("Authorization: Bearer abcdef0123456789", "abcdef0123456789", "SECRET"),
        ("postgres://user:pw@host/db", "pw", "SECRET"),
        ("password = get_password()", None, None),
        ("token: ${TOKEN}", None, None),
        ('if token == "abc12345":', None, None),
        ("write to ann.b+c@mail.corp.io, please", "ann.b+c@mail.corp.io", "EMAIL"),
        ("someone@example.com", None, None),
        ("git clone git@github.com:a/b.git", None, None),
        ("@decorator.name", None, None),
        ("DE89 3704 0044 0532 0130 00 AND MORE", "DE89 3704 0044 0532 0130 00", "IBAN"),
        ("GB82WEST12345698765432.", "GB82WEST12345698765432", "IBAN"),
        ("DE89 3704 0044 0532 0130 02", None, None),
        ("card 4111-1111-1111-1111!", "4111-1111-1111-1111", "CARD"),
        ("4111 1111 1111 1112", None, None),
        ("+49 (170) 123-4567", "+49 (170) 123-4567", "PHONE"),
        ("tel. 030 1234567", "030 1234567", "PHONE"),
        ("order 030 1234567", None, None),
        ("from 10.1.2.3 on", "10.1.2.3", "IP"),
        ("2001:db8::1", "2001:db8::1", "IP"),
        ("127.0.0.1 and ::1", None, None),
        ("12:30:45 and std::vector", None, None),
    ],
)
def test_what_is_sensitive_is_found_and_what_looks_like_it_is_not(
    text: str, value: str | None, kind: str | None
) -> None:
    assert found(text) == ([] if value is None else [(value, kind)])


@pytest.mark.parametrize(
    "piece",
    ["token", "token=", "a@", "a." * 40 + "@", "a://", "DE12 ", "1-", "(", "+1 ", "1234567 ", "://a:", "x", "eyJ"],
)
def test_a_hostile_text_is_searched_in_time_that_grows_with_its_length_alone(piece: str) -> None:
    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        began = time.process_time()
        find_sensitive(text, secrets=True, personal=True, ip_addresses=True)
        return time.process_time() - began

    short = max(seconds(20_000), 0.002)
    # Eight times as long: far from the 64 times that a search which starts over again takes.
    assert min(seconds(160_000) for _ in range(2)) < 32 * short


def masked(text: str, options: MaskingOptions = EVERYTHING) -> tuple[Masking, str]:
    masking = Masking(options, [text])
    return masking, masking.mask(text)


def test_equal_values_have_one_placeholder_and_equal_texts_are_masked_equally() -> None:
    masking, text = masked("ann@corp.io, bob@corp.io, ann@corp.io")
    assert text == "[EMAIL_1], [EMAIL_2], [EMAIL_1]"
    assert masked("ann@corp.io, bob@corp.io, ann@corp.io")[1] == text
    assert masking.restore(text) == "ann@corp.io, bob@corp.io, ann@corp.io"
    assert masking.counts == {"email": 2}


def test_a_text_that_holds_placeholders_already_is_not_taken_for_masked() -> None:
    original = "[EMAIL_1] [IP_X1] ann@corp.io"
    masking, text = masked(original)
    assert text == "[EMAIL_1] [IP_X1] [EMAIL_XX1]"
    assert masking.restore(text) == original


def test_what_is_switched_off_leaves_as_it_is() -> None:
    text = "ann@corp.io 10.1.2.3 AKIAABCDEFGHIJKLMNOP"
    assert masked(text, MaskingOptions(secrets=False, personal=False))[1] == text
    assert masked(text, MaskingOptions())[1] == "[EMAIL_1] 10.1.2.3 [SECRET_1]"


@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                ["ann@corp.io", "AKIAABCDEFGHIJKLMNOP", "10.1.2.3", "4111111111111111", "[EMAIL_1]", "["]
            ),
            st.text("ab[]_1EMAIL\n ", max_size=8),
        ),
        max_size=12,
    ),
    st.data(),
)
def test_a_masked_text_comes_back_whole_however_it_is_cut_into_pieces(
    parts: list[str], data: st.DataObject
) -> None:
    original = " ".join(parts)
    masking, text = masked(original)
    assert masking.restore(text) == original
    restorer = masking.streamed()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert "".join([*map(restorer.feed, pieces), restorer.end()]) == original


def test_nothing_sensitive_is_left_anywhere_in_a_request() -> None:
    value = "ann@corp.io"
    request = ModelRequest(
        (
            Message("user", f"Hello {value}"),
            Message("assistant", "", (ToolCall("1", "mail", {"to": [value], value: {"x": value}}),)),
            Message("tool", f"sent to {value}", tool_call_id="1"),
        ),
        tools=(ToolSpec("mail", f"Writes to {value}", {"properties": {"to": {"const": value}}}),),
        output_schema={"enum": [value]},
    )
    masking = Masking(MaskingOptions(), [])
    assert value not in str(masking.request(request))
    note = masking.request(request).messages[0]
    assert note.role == "system"
    assert "[EMAIL_1]" in note.text
    assert masking.restore_value({"[EMAIL_1]": ["[EMAIL_1]"]}) == {value: [value]}


@pytest.mark.anyio
async def test_a_value_stays_on_this_machine_and_is_in_the_answer(
    tmp_path: Path, model_server: ModelServer
) -> None:
    # A model this small cannot be relied on to repeat a placeholder: the server has it say nothing else.
    grammar = {"grammar": 'root ::= "Dear [EMAIL_1], [SECRET_1]!"'}
    async with (
        fault_proxy(model_server.url) as proxy,
        gateway(tmp_path, {"local": provider(proxy.url, body=grammar)}) as models,
    ):
        request = question("Write to ann@corp.io with AKIAABCDEFGHIJKLMNOP.", max_output_tokens=40)
        answer = await models.ask(request, WHO)
        assert answer.text == "Dear ann@corp.io, AKIAABCDEFGHIJKLMNOP!"
        async with models.stream(request, WHO) as events:
            pieces = [event.text async for event in events if isinstance(event, TextDelta)]
        assert "".join(pieces) == answer.text
        assert len(pieces) > 3
        sent: list[dict[str, Any]] = proxy.requests
        assert "corp.io" not in str(sent)
        assert "AKIA" not in str(sent)
        assert sent[0]["messages"][-1]["content"] == "Write to [EMAIL_1] with [SECRET_1]."
