import html.parser
import re

import numpy as np
import pytest

from jaxrec.evaluation.page import findings, validity_page
from jaxrec.evaluation.replayed import compared

NAME = "liked <& more$>"


def make_report() -> dict:
    """A report of made-up samples in the layout of validity.json."""
    rng = np.random.default_rng(0)
    kind = {"base_rate": 0.46, "mean_probability": 0.47, "auc": 0.83, "ece": 0.02, "auc_running_means": 0.8}
    kind |= {"auc_item_mean": 0.66, "auc_item_count": 0.59}
    kind["reliability"] = {"rows": [3, 0, 5], "predicted": [0.2, None, 0.9], "observed": [0.3, None, 0.8]}
    lengths = compared(rng.integers(1, 90, 400), rng.integers(40, 50, 400))
    return {
        "test_share": 0.2,
        "test_rows": 12345,
        "fit": {"strengths": {}},
        "feedback": {NAME: kind},
        "rare_items": {
            "fewer_training_rows_than": 5,
            "test_rows": 77,
            "auc": {NAME: 0.71},
            "auc_without_text": {NAME: None},
        },
        "feedback_rates": {NAME: {"users": 400, "rows": 4000} | compared(rng.random(400), rng.random(400) ** 1.1)},
        "session_lengths": {
            "sessions": 400,
            "most_items": 50,
            "users_leave": True,
            "logged_share_longer": 0.4,
            "ks_cut_alike": 0.3,
        }
        | lengths,
    }


class Page(html.parser.HTMLParser):
    """Open tags, their attributes and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page() -> str:
    return validity_page(make_report(), "the users of <b>", ["Seed 1 & 2."])


def test_the_page_opens_with_the_verdict_and_closes_every_tag(page: str) -> None:
    seen = Page()
    seen.feed(page)
    assert not seen.open
    assert seen.tags.index("table") < seen.tags.index("svg")
    assert seen.tags.count("svg") == 3
    assert "How far to trust the users of <b>" in seen.text
    assert f"Is '{NAME}' predicted better than by running means?AUC 0.8300above 0.8000yes" in seen.text
    assert "0.7100" in seen.text  # rare items
    assert "Seed 1 & 2." in seen.text


def test_the_page_needs_nothing_else_and_repeats_no_id(page: str) -> None:
    seen = Page()
    seen.feed(page)
    assert not {"script", "link", "img", "iframe", "object"} & set(seen.tags)
    loads = [value for name, value in seen.attributes if name in ("src", "href", "xlink:href") and value]
    assert all(value.startswith("#") for value in loads)
    assert all(value.startswith("#") for value in re.findall(r"url\(([^)]*)\)", page))
    ids = {value for name, value in seen.attributes if name == "id"}
    assert {value[1:] for value in loads} <= ids
    assert page == validity_page(make_report(), "the users of <b>", ["Seed 1 & 2."])


def test_the_page_shows_short_term_effects_with_their_intervals() -> None:
    report = make_report()
    assert "What recent rows change" not in validity_page(report, "x", [])  # not tried
    tried = {
        "similarity": {"coefficient": -0.51, "low": -0.553, "high": -0.467},
        "mood": {"coefficient": 0.0, "low": -0.3, "high": 0.6},
        "weekend": {"coefficient": 0.0, "low": None, "high": None},
    }
    keep = {"similarity": 0.95, "mood": 0.8}  # .95 ** 13.5 and .8 ** 3.1 are a half
    report["fit"]["effects"] = {"alike_by": "12 groups", "keep": keep, "feedback": {NAME: tried}}
    seen = Page()
    seen.feed(validity_page(report, "x", []))
    assert "alike by 12 groups of their features, which explains most. Mood" in " ".join(seen.text.split())
    assert f"similarity{NAME}-0.51-0.553 to -0.46713.5 rowskept" in seen.text
    assert f"mood{NAME}0-0.3 to +0.63.1 rowsleft out" in seen.text
    assert f"weekend{NAME}0--left out" in seen.text


def test_verdicts_say_yes_no_or_why_neither() -> None:
    report = make_report()
    assert [finding.answer for finding in findings(report)] == ["yes", "yes", "yes", "no"]
    report["feedback"][NAME] |= {"auc": 0.79, "ece": 0.03}
    report["feedback_rates"][NAME] |= {"ks": 0.2, "ks_by_chance": 0.21}
    report["session_lengths"]["users_leave"] = False
    assert [finding.answer for finding in findings(report)] == ["no", "no", "too few to tell", "no leave model"]
    report["feedback"][NAME]["auc"] = None
    report["session_lengths"] = {"left_out": "no clock"}
    assert [finding.answer for finding in findings(report)] == ["only one class", "no", "too few to tell"]
    assert "Visit lengths are not compared: no clock." in validity_page(report, "x", [])


def test_every_text_of_the_report_is_escaped_and_no_picture_is() -> None:
    report = make_report()
    del report["rare_items"]["auc_without_text"]
    report["session_lengths"] = {"left_out": "no <clock> & no 'hour'"}
    report["comeback_days"] = {"left_out": "<script>"}
    made = validity_page(report, "x", ["<i>", "two"])
    seen = Page()
    seen.feed(made)
    assert "not compared: no <clock> & no 'hour'." in seen.text and "not compared: <script>." in seen.text
    assert not {"clock", "script", "i"} & set(seen.tags)
    assert seen.tags.count("svg") == 2 and "<i>two" in seen.text  # one line of the footer each
    assert "Without item texts" not in seen.text and "Days until users come back" in seen.text


def test_days_until_users_come_back_have_their_verdict_and_picture() -> None:
    report = make_report()
    rng = np.random.default_rng(3)
    days = {"comebacks": 1234, "nll": 1.1, "nll_one_chance": 1.2}
    report["comeback_days"] = days | compared(rng.integers(1, 11, 90), rng.integers(1, 11, 90))
    seen = Page()
    seen.feed(validity_page(report, "x", []))
    assert seen.tags.count("svg") == 4 and "after 1,234 later sessions" in seen.text
    assert "log loss 1.100below 1.200yes" in seen.text
