import re

import numpy as np

from jaxrec.evaluation.pictures import behaviour_picture
from jaxrec.evaluation.simulate import Simulated


def outcome(lengths: list[int], pay: float) -> Simulated:
    steps = np.array(lengths)
    present = (steps[:, None] > np.arange(steps.max())).sum(0)
    sizes = {"known": 0 * steps, "shown": None, "slate_size": 1, "num_recommendable": 1}
    return Simulated(returns=pay * steps, lengths=steps, rewards=pay * present, measured={}, **sizes)


def test_one_row_per_simulator_with_every_recommender_by_name_and_mean() -> None:
    results = {"policy": outcome([3, 5], 2.0), "random": outcome([1, 1], 1.0)}
    picture = behaviour_picture({"users <$1>": results, "judge": results})
    assert picture.startswith("<svg") and "xmlns" in picture.split(">")[0]
    assert picture.count("policy 8.00<") == picture.count("random 1.00<") == 2
    assert "users &lt;$1&gt;" in picture and "judge" in picture and "\ufffd" not in picture
    assert behaviour_picture({"users <$1>": results, "judge": results}) == picture


def test_rewards_are_means_over_active_users_and_not_drawn_for_the_last_few() -> None:
    # 29 users leave after one step, one stays for 40: less than a tenth of 30
    picture = behaviour_picture({"users": {"policy": outcome([1] * 29 + [40], 50.0)}})
    ticks = re.findall(r">([\d.]+)</text>", picture)
    assert ticks.count("40") == 1  # in the panel of active users, not in that of rewards


def test_the_best_come_first_and_no_panel_of_active_users_if_all_stay() -> None:
    worse, better = outcome([2, 2], 1.0), outcome([2, 2], 2.0)
    picture = behaviour_picture({"a": {"one": worse, "other": better}, "b": {"one": better, "other": worse}})
    assert "share of active users" not in picture
    assert picture.index("other 4.00") < picture.index("one 2.00")  # the legend has the best first, in each row
    assert picture.rindex("one 4.00") < picture.rindex("other 2.00")
