from jaxrec.evaluation.verdict import verdict, verdict_lines


def account(judge: dict, truth: dict | None = None, kept: float | None = 0.9, held_out: dict | None = None) -> dict:
    simulators = {"train": {"policy_minus": {}}, "judge": {"policy_minus": judge}}
    if truth is not None:
        simulators["truth"] = {"policy_minus": truth}
    return {"simulators": simulators, "lift_kept": kept, "held_out_minus": held_out or {}}


def test_a_policy_that_beats_every_rival_is_to_be_used() -> None:
    found = verdict(account({"item_knn": (2.0, 0.5), "best_fixed": (1.0, 0.4), "greedy_response": (-3.0, 0.1)}))
    assert found["use"] is True
    judged = found["questions"]["judge"]
    assert judged["better"] == ("item_knn", "best_fixed") and judged["closest"] == "best_fixed"


def test_an_interval_that_holds_zero_is_no_lead() -> None:
    found = verdict(account({"item_knn": (0.4, 0.5), "best_fixed": (1.0, 0.4)}))
    assert found["use"] is False and "not earn more than item_knn" in found["text"]


def test_truth_decides_where_it_is_known() -> None:
    found = verdict(account({"item_knn": (5.0, 0.1)}, truth={"item_knn": (-1.0, 0.2)}))
    assert found["use"] is False and "item_knn earns more in truth" in found["text"]
    found = verdict(account({"item_knn": (-5.0, 0.1)}, truth={"item_knn": (1.0, 0.2)}, kept=0.1))
    assert found["use"] is True


def test_a_lift_that_the_second_simulator_does_not_confirm_is_said() -> None:
    found = verdict(account({"item_knn": (2.0, 0.1)}, kept=0.84))
    assert found["use"] is False and "confirms only 84%" in found["text"]
    given = account({"item_knn": (2.0, 0.1)}, kept=0.84) | {"answers": {"policy_minus": {"item_knn": (0.02, 0.01)}}}
    found = verdict(given)  # real answers agree with the gain
    assert found["use"] is True and "only 84%" in found["text"] and "expect less" in found["text"]
    given["answers"] = {"policy_minus": {"item_knn": (0.02, 0.03)}}
    assert verdict(given)["use"] is False


def test_a_rival_that_orders_real_answers_better_forbids_the_policy_unless_truth_decides() -> None:
    given = account({"item_knn": (2.0, 0.1)}) | {"answers": {"policy_minus": {"item_knn": (-0.02, 0.01)}}}
    found = verdict(given)
    assert found["use"] is False and "item_knn orders the real answers" in found["text"]
    assert found["questions"]["answers"]["worse"] == ("item_knn",)
    given["answers"] = {"policy_minus": {"item_knn": (-0.02, 0.03)}}
    assert verdict(given)["use"] is True
    given["answers"] = {"policy_minus": {"item_knn": (-0.02, 0.01)}}
    given["simulators"]["truth"] = {"policy_minus": {"item_knn": (1.0, 0.1)}}
    assert verdict(given)["use"] is True


def test_real_answers_that_contradict_the_second_simulator_leave_it_undecided() -> None:
    rows = {"item_knn": (0.03, 0.01), "best_fixed": (0.02, 0.01)}
    for judged in ((0.1, 0.2), (-0.3, 0.2)):
        given = account({"item_knn": (2.0, 0.1), "best_fixed": judged}) | {"answers": {"policy_minus": rows}}
        found = verdict(given)
        assert found["use"] is None and "no gain over best_fixed, but" in found["text"]
        given["answers"] = {"policy_minus": rows | {"best_fixed": (0.02, 0.03)}}
        assert verdict(given)["use"] is False
        given["simulators"]["truth"] = {"policy_minus": {"best_fixed": (-1.0, 0.1)}}
        assert verdict(given)["use"] is False


def test_a_worse_prediction_of_the_log_is_said_but_does_not_forbid_the_policy() -> None:
    found = verdict(account({"item_knn": (2.0, 0.1)}, held_out={"item_knn": (-0.02, 0.01)}))
    assert found["use"] is True and "to recommend, not to predict" in found["text"]


def test_where_the_log_holds_successes_only_the_next_row_has_to_be_predicted_too() -> None:
    judged, ranked = {"item_knn": (2.0, 0.1)}, {"als": (0.01, 0.001), "item_knn": (-0.02, 0.01)}
    found = verdict(account(judged, held_out=ranked) | {"assumed": {"bought": 0.1}})
    assert found["use"] is False and "the next row of the log better than item_knn, and a log in" in found["text"]
    ahead = verdict(account(judged, held_out={"item_knn": (0.02, 0.01)}) | {"assumed": {"bought": 0.1}})
    assert ahead["use"] is True
    known = verdict(account(judged, truth=judged, held_out=ranked) | {"assumed": {"bought": 0.1}})
    assert known["use"] is True


def test_a_policy_that_adds_nothing_to_the_fitted_tastes_may_be_used_but_it_is_said() -> None:
    found = verdict(account({}, truth={"item_knn": (2.0, 0.1), "posterior_mean": (-0.09, 0.16)}))
    assert found["use"] is True and "(posterior_mean) earns as much in truth (the policy -0.09 ±0.16)" in found["text"]
    found = verdict(account({"item_knn": (2.0, 0.1), "posterior_mean": (-0.5, 0.16)}))
    assert "(posterior_mean) earns more with users it was not trained on" in found["text"]
    found = verdict(account({"item_knn": (2.0, 0.1), "posterior_mean": (0.5, 0.16)}))
    assert found["use"] is True and "posterior_mean" not in found["text"]


def test_without_a_judge_nothing_follows_and_lines_fit_the_terminal() -> None:
    nothing = verdict({"simulators": {"train": {"policy_minus": {"item_knn": (1.0, 0.1)}}}})
    assert nothing["use"] is None
    names = {f"rival_number_{n}": (1.0 + n, 0.1) for n in range(12)}
    assert all(len(line) <= 120 for line in verdict_lines(verdict(account(names))))


def real(judge: dict, rows: dict) -> dict:
    """An account whose returns are sums of single answers."""
    given = account({"item_knn": (9.0, 0.1)}) | {"answers": {"policy_minus": rows}}
    given["simulators"]["judge"]["corrected_minus"] = judge  # counts instead of the plain leads
    return given


def test_real_answers_and_the_second_simulator_decide_together() -> None:
    rows = {"item_knn": (0.03, 0.01), "best_fixed": (0.02, 0.01)}
    found = verdict(real({"item_knn": (2.0, 0.1), "best_fixed": (-0.1, 0.2)}, rows))
    assert found["use"] is True
    assert "better than best_fixed (+0.020 ±0.010 AUC" in found["text"]
    assert "earns more than item_knn in the second simulator" in found["text"]
    # Not better than best_fixed in either
    found = verdict(real({"item_knn": (2.0, 0.1), "best_fixed": (-0.1, 0.2)}, rows | {"best_fixed": (0.02, 0.03)}))
    assert found["use"] is False and "show a gain over best_fixed" in found["text"]
    # The second simulator alone shows the gain over item_knn
    found = verdict(real({"item_knn": (2.0, 0.1), "best_fixed": (0.1, 0.2)}, rows | {"item_knn": (0.01, 0.02)}))
    assert found["use"] is True
    # Better in real answers, worse in the simulator
    found = verdict(real({"item_knn": (2.0, 0.1), "best_fixed": (-0.3, 0.2)}, rows))
    assert found["use"] is None and "contradict each other about best_fixed" in found["text"]
    # Worse in one, no different in the other
    found = verdict(real({"item_knn": (2.0, 0.1), "best_fixed": (-0.3, 0.2)}, rows | {"best_fixed": (0.02, 0.03)}))
    assert found["use"] is False and "best_fixed earns more" in found["text"]
    found = verdict(real({"item_knn": (0.1, 0.2), "best_fixed": (1.0, 0.2)}, rows | {"item_knn": (-0.02, 0.01)}))
    assert found["use"] is False and "item_knn orders the real answers" in found["text"]


def test_the_real_share_of_the_promised_lift_is_said() -> None:
    given = real({"item_knn": (2.0, 0.1)}, {"item_knn": (0.03, 0.01)})
    given["answers"]["picks"] = {"lift_real": 0.7, "lift_real_95": 0.1}
    assert "70% ±10% of the lift" in verdict(given)["text"]
    given["simulators"]["truth"] = {"policy_minus": {"item_knn": (1.0, 0.1)}}
    assert "of the lift" not in verdict(given)["text"]  # the truth says it better
