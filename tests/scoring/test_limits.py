"""The memory limit of the decoding process, on systems that set one and on those that refuse."""

from __future__ import annotations

import pytest

from deepfake_repro.scoring import inputs


def refuse(kind: int, limits: tuple[int, int]) -> None:
    """As macOS answers for the address space."""
    raise ValueError("current limit exceeds maximum limit")


def test_where_the_system_refuses_a_limit_videos_are_decoded_and_a_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inputs.resource, "setrlimit", refuse)
    assert inputs.confined(lambda: "detector") == "detector"
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert "does not limit the memory" in printed.err and "4 GiB" in printed.err


def test_where_the_system_sets_a_limit_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    limits: list[tuple[int, int]] = []
    unlimited = inputs.resource.RLIM_INFINITY
    monkeypatch.setattr(inputs.resource, "getrlimit", lambda kind: (unlimited, 2**31))
    monkeypatch.setattr(inputs.resource, "setrlimit", lambda kind, pair: limits.append(pair))
    assert inputs.confined(lambda: "detector") == "detector"
    assert limits == [(2**31, 2**31)] and capsys.readouterr().err == ""
