"""The transition table and its diagram."""

from __future__ import annotations

import pytest

from postlatch.model.reply import Reply
from postlatch.smtp import replies
from postlatch.smtp.states import COMMAND_STATES, TABLE, Input, State, Verb, diagram


@pytest.mark.parametrize("state", sorted(COMMAND_STATES))
def test_every_command_has_an_answer_in_every_state_that_reads_commands(state: State) -> None:
    assert set(Verb) <= set(TABLE[state])


@pytest.mark.parametrize("state", sorted(set(State) - COMMAND_STATES))
def test_no_command_is_read_where_octets_mean_something_else(state: State) -> None:
    assert not set(TABLE[state]) & set(Verb)


def test_every_state_can_be_reached_and_left() -> None:
    reached = {step for row in TABLE.values() for step in row.values() if isinstance(step, State)}
    assert reached | {State.SILENT} == set(State)
    assert {state for state, row in TABLE.items() if not row} == {State.CLOSED}


def test_a_refusal_by_the_table_is_a_5xx_for_the_sequence() -> None:
    found = {step for row in TABLE.values() for step in row.values() if isinstance(step, Reply)}
    assert {reply.code for reply in found} == {502, 503, 554}
    assert {reply.enhanced for reply in found} == {"5.5.1"}


def test_only_recipients_lead_to_a_body() -> None:
    assert {state for state, row in TABLE.items() if row.get(Verb.DATA) is State.DATA} == {State.RCPT}
    assert {state for state, row in TABLE.items() if row.get(Verb.BDAT) is State.CHUNK} == {State.RCPT, State.CHUNKS}


def test_every_input_moves_something() -> None:
    assert {cause for row in TABLE.values() for cause in row if isinstance(cause, Input)} == set(Input)


def test_the_diagram_names_every_state_and_ends() -> None:
    text = diagram()
    assert text.startswith("stateDiagram-v2\n    [*] --> silent\n")
    assert "    rcpt --> data: DATA\n" in text
    assert text.endswith("    closed --> [*]\n")
    assert all(f" {state.value}" in text for state in State)


def test_replies_are_fixed_ascii_of_one_short_line() -> None:
    found = [value for value in vars(replies).values() if isinstance(value, Reply)]
    assert len(found) > 40
    for reply in found:
        line = reply.encode()
        assert len(line) <= 512
        assert line.count(b"\r\n") == 1
        assert reply == replies.START_BODY or reply.enhanced.split(".")[0] == str(reply.code // 100)
