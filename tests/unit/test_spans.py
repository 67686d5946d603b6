"""A number and its interval are shown as one."""

from reprise.commands import spans


def test_a_span_stands_behind_its_number() -> None:
    metrics = {
        "auc": 0.98,
        "auc_low": 0.95,
        "auc_high": 0.996,
        "eer": 0.1,
        "loss_low": 2.0,
        "tar_high": 3.0,
        "tar": 1.0,
    }
    assert spans.joined(metrics) == {
        "auc": "0.98 (0.95 to 0.996)",
        "eer": "0.1",
        "loss_low": "2",  # no end of anything
        "tar_high": "3",  # one end alone neither
        "tar": "1",
    }
    assert spans.without_ends(["auc_low", "auc", "low", "auc_high"]) == ["auc", "low"]
