"""Chooses the due deliveries that are sent now, so that no receiver holds up another client's."""

from collections import Counter
from collections.abc import Sequence, Set

from server.ledger.webhooks import DueDelivery

#: Deliveries of one client under way at once.
PER_CLIENT = 4
#: Deliveries under way at once, beyond the first of each client.
OVERALL = 64


def admit(due: Sequence[DueDelivery], in_flight: Sequence[DueDelivery], silent: Set[int]) -> list[DueDelivery]:
    """Return the deliveries to send beside those in flight.

    A client with nothing in flight always gets one, even if the receivers of all others hang; it gets more only within both
    bounds. `silent` has the clients whose receiver gave no answer when it was last tried: they get no more than one.
    `due` has the deliveries of each client in the order in which they are to go.
    """
    busy = {delivery.id for delivery in in_flight}
    of_client = Counter(delivery.client_id for delivery in in_flight)
    places = []
    for delivery in due:
        if delivery.id not in busy:
            places.append((of_client[delivery.client_id], delivery))
            of_client[delivery.client_id] += 1
    # Take the first of every client, then the second of every client, so that they share the room.
    places.sort(key=lambda found: found[0])
    admitted: list[DueDelivery] = []
    for place, delivery in places:
        room = len(in_flight) + len(admitted) < OVERALL
        if place == 0 or (place < PER_CLIENT and room and delivery.client_id not in silent):
            admitted.append(delivery)
    return admitted
