"""The waiters that news of a job wakes."""

from server.event_hub import EventHub
from tests.support.ledger import new_job


def test_news_of_a_job_wakes_its_followers_and_its_clients_alone() -> None:
    hub, job, other = EventHub(), new_job(1), new_job(2)
    with (
        hub.subscribed(job.job_id) as follower,
        hub.subscribed(job.client_id) as client,
        hub.subscribed(other.job_id) as other_follower,
        hub.subscribed(other.client_id) as other_client,
    ):
        hub.publish(job)
        assert (follower.is_set(), client.is_set()) == (True, True)
        assert (other_follower.is_set(), other_client.is_set()) == (False, False)
