"""Many kinds of predictions at once through the whole stack; ``make mixed`` is the same with 100,000."""

from loadtests.mixed import run
from tests.acceptance.stack import Client, Stack


def test_five_thousand_mixed_requests_get_their_own_and_the_right_answers(stack: Stack, client: Client) -> None:
    """Compared with scikit-learn: several models and versions, bad rows, unknown names, clients that leave."""
    board = run.mixed(stack.url, requests=5_000, connections=64)
    assert board.clean, str(board)
    assert sum(board.right.values()) + board.left == 5_000
    assert board.right["predict"] > 4_000
    assert board.right["bad row"] > 150
    assert board.left > 100
    last = client.predict(model="mix-scores", instances=[[0.1, 0.2, 0.3, 0.4]])
    assert last["version"] == 2, "nothing is left behind that keeps a clean request from its answer"
