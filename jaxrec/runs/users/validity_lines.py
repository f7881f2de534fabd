"""The validity report of fitted users as lines for the terminal."""

from collections.abc import Iterator
from typing import Any

from jaxrec.evaluation.page import figure


def validity_lines(report: dict[str, Any]) -> Iterator[str]:
    """Yield the validity report line by line."""
    for name, kind in report["feedback"].items():
        if "assumed" in kind:
            yield (
                f"  '{name}' on the last {report['test_share']:.0%} of the log: AUC {figure(kind['auc'])} against "
                f"items that the users do not have (AUC of the item's count {figure(kind['auc_item_count'])})"
            )
            yield (
                f"  the level of '{name}' is assumed, since the log holds successes only: tastes.base_rate "
                f"{kind['assumed']['base_rate']:g}; only ranks are confirmed by the log"
            )
            continue
        yield (
            f"  '{name}' on the last {report['test_share']:.0%} of the log: "
            f"AUC {figure(kind['auc'])}, calibration error {figure(kind['ece'])} "
            f"(base rate {figure(kind['base_rate'])}; "
            f"AUC of the item's mean {figure(kind['auc_item_mean'])}, of running means "
            f"{figure(kind['auc_running_means'])})"
        )
    rare = report["rare_items"]
    for name in rare["auc"]:
        without = f", without texts {figure(rare['auc_without_text'][name])}" if "auc_without_text" in rare else ""
        yield (
            f"  on items with fewer than {rare['fewer_training_rows_than']} earlier rows ({rare['test_rows']:,} rows): "
            f"AUC {figure(rare['auc'][name])}{without}"
        )
    for name, rate in report["feedback_rates"].items():
        yield (f"  share of '{name}' for {rate['users']:,} users over the same rows: {_compared(rate, 3)}")
    lengths = report["session_lengths"]
    if "ks" in lengths:
        yield (f"  items of {lengths['sessions']:,} visits, at most {lengths['most_items']}: {_compared(lengths, 1)}")
    if "made_of" in report["fit"]:
        yield f"  item vectors of tastes are made of {report['fit']['made_of']}"
    yield from _effect_lines(report["fit"].get("effects"))
    if (leaving := report.get("leaving")) is not None:
        weight, error = (leaving[part]["satisfaction"] for part in ("weights", "standard_errors"))
        yield (
            f"  leaving, fitted to {leaving['visits']:,} visits of {leaving['mean_slates']:.1f} slates: satisfaction "
            f"changes its logit by {weight:+.2f} ±{1.96 * error:.2f}"
        )
    days = report.get("comeback_days", {})
    if "ks" in days:
        yield (
            f"  days until {days['comebacks']:,} later comebacks: {_compared(days, 2)}; log loss {days['nll']:.3f}, "
            f"with a constant probability {days['nll_one_chance']:.3f}"
        )


def assumed_levels(report: dict[str, Any]) -> dict[str, float]:
    """The mean probabilities that are assumed, since the log holds successes only, by kind of feedback."""
    return {name: kind["assumed"]["base_rate"] for name, kind in report["feedback"].items() if "assumed" in kind}


def _effect_lines(effects: dict[str, Any] | None) -> Iterator[str]:
    """Yield what recent rows change, and what they do not."""
    if effects is None:
        return
    for kind, found in effects["feedback"].items():
        kept = {name: one for name, one in found.items() if one["coefficient"]}
        seen = [
            f"{name} {one['coefficient']:+.3g} [{one['low']:+.3g}, {one['high']:+.3g}]" for name, one in kept.items()
        ]
        if "similarity" in kept:
            seen.append(f"items are alike by {effects.get('alike_by', 'tastes')}")
        what = ", ".join(seen) if seen else f"none confirmed of {len(found)} tried"
        yield f"  short-term effects on the logit of '{kind}': {what}"
    for kind in effects.get("not_fitted", ()):
        yield f"  short-term effects on the logit of '{kind}': not fitted, since the log does not say what was refused"


def _compared(compared: dict[str, Any], decimals: int) -> str:
    means = (f"{compared[f'{what}_mean']:.{decimals}f} {what}" for what in ("simulated", "logged"))
    return f"{', '.join(means)}, KS distance {compared['ks']:.3f}"
