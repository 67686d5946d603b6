"""A number and its interval are shown as one, and the numbers that matter most first."""

from reprise.pipeline.stages import Meta, Pipeline, Stage
from reprise.run import numbers

METRICS = {
    "auc": 0.98,
    "auc_low": 0.95,
    "auc_high": 0.996,
    "eer": 0.1,
    "loss_low": 2.0,  # no end of anything
    "tar_high": 3.0,  # one end alone neither
    "tar": 1.0,
}


def pipeline(*headline: str) -> Pipeline:
    return Pipeline("pipelines/p", (Stage("train", ("t",)), Stage("evaluate", ("e",), meta=Meta(headline=headline))))


def test_an_interval_stands_behind_its_number() -> None:
    names = numbers.without_ends(METRICS)
    assert {name: numbers.with_interval(METRICS, name) for name in names} == {
        "auc": "0.98 (0.95 to 0.996)",
        "eer": "0.1",
        "loss_low": "2",
        "tar_high": "3",
        "tar": "1",
    }
    assert numbers.without_ends(["auc_low", "auc", "low", "auc_high"]) == ["auc", "low"]


def test_the_headline_is_what_stages_name_then_what_has_an_interval_then_all() -> None:
    assert numbers.headline(pipeline("tar", "a*", "*"), METRICS) == ["tar", "auc", "eer", "loss_low", "tar_high"]
    assert numbers.headline(pipeline("misspelt"), METRICS) == ["auc"]
    assert numbers.headline(pipeline(), METRICS) == ["auc"]
    assert numbers.headline(pipeline(), {"b": 1.0, "a": 2.0}) == ["b", "a"]


def test_lines_are_the_headline_and_a_count_of_the_rest() -> None:
    assert numbers.lines(pipeline("tar", "auc"), METRICS, "git show") == [
        "tar  1",
        "auc  0.98 (0.95 to 0.996)",
        "and 3 more: git show",
    ]
    assert numbers.lines(pipeline(), {}, "git show") == []
