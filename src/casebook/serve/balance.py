"""Load balancing: which replica gets the next request, live and simulated by the same code."""

import heapq
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from casebook import validate

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["POLICIES", "Balancer", "Policy", "simulate_queue"]

Policy = Literal["random", "round robin", "two choices", "least in flight"]
POLICIES: tuple[Policy, ...] = get_args(Policy)


class Balancer:
    """Chooses a server for each request, from what the client itself knows: what it sent and what came back.

    ``random`` and ``round robin`` ignore the servers' state. ``two choices`` draws two different servers at random and
    takes the one with fewer requests in flight (Mitzenmacher 2001 draws with replacement; the difference vanishes with
    many servers). ``least in flight`` looks at all of them, ties broken at random.

    Args:
        policy: one of :data:`POLICIES`.
        servers: how many there are.
        rng: where random choices come from.

    Raises:
        ValueError: an unknown policy, or no servers.
    """

    def __init__(self, policy: Policy, servers: int, rng: np.random.Generator) -> None:
        self.policy = validate.choice("policy", policy, POLICIES)
        self.in_flight = [0] * validate.positive_int("servers", servers)
        self._rng = rng
        self._turn = -1

    def start(self) -> int:
        """Chooses a server for a request and counts it as in flight there."""
        server = self._choose()
        self.in_flight[server] += 1
        return server

    def finish(self, server: int) -> None:
        """A request to this server has been answered, or given up."""
        self.in_flight[server] -= 1

    def _choose(self) -> int:
        n = len(self.in_flight)
        if self.policy == "round robin":
            self._turn = (self._turn + 1) % n
            return self._turn
        first = int(self._rng.random() * n)
        if self.policy == "random" or n == 1:
            return first
        if self.policy == "two choices":
            second = int(self._rng.random() * (n - 1))
            second += second >= first  # skips the first: two different servers, each pair equally likely
            return second if self.in_flight[second] < self.in_flight[first] else first
        # From a random server on, so that ties do not all go to the lowest number.
        return min(((first + step) % n for step in range(n)), key=self.in_flight.__getitem__)


def simulate_queue(
    policy: Policy,
    *,
    servers: int,
    rate: float,
    service_times: ArrayLike,
    rng: np.random.Generator,
    speeds: ArrayLike | None = None,
) -> "pd.DataFrame":
    """Poisson arrivals at many servers, each with its own first-come first-served queue, behind one balancer.

    The balancer is the live one, and knows how many requests each server has at every moment. Arrivals are drawn from a
    stream of their own: two policies given equally seeded generators meet the same arrivals.

    Args:
        policy: one of :data:`POLICIES`.
        servers: how many servers.
        rate: arrivals a second, over all servers.
        service_times: shape (requests,), seconds of work of each request in order of arrival.
        rng: a generator of this call's own.
        speeds: shape (servers,), seconds of work that each server does in a second; 1 by default, 0.5 for a slow one.

    Returns:
        One row per request: ``arrival_s``, ``server``, ``wait_s``, ``service_s``, ``latency_s`` (wait and service).

    Raises:
        ValueError: an unknown policy; no servers or requests; times, rate or speeds that are not positive.
    """
    import pandas as pd

    work = validate.finite("service_times", service_times)
    speed = np.ones(validate.positive_int("servers", servers)) if speeds is None else validate.finite("speeds", speeds)
    for name, values in (("service_times", work), ("speeds", speed)):
        if values.min() <= 0:
            raise ValueError(f"{name} has {values.min():g} at {int(values.argmin())}: expected positive numbers")
    if len(speed) != servers:
        raise ValueError(f"speeds has {len(speed)} values: expected one for each of {servers} servers")
    arrivals_rng, choices_rng = rng.spawn(2)
    gaps = arrivals_rng.exponential(1 / validate.number("rate", rate, above=0), len(work))
    arrivals = np.cumsum(gaps)

    balancer = Balancer(policy, servers, choices_rng)
    free_at = [0.0] * servers  # when each server has done all that it was given
    departures: list[tuple[float, int]] = []
    chosen = np.empty(len(work), dtype=np.int64)
    begun = np.empty(len(work))
    for i, (arrival, seconds) in enumerate(zip(arrivals.tolist(), work.tolist(), strict=True)):
        while departures and departures[0][0] <= arrival:
            balancer.finish(heapq.heappop(departures)[1])
        server = balancer.start()
        begun[i] = max(arrival, free_at[server])
        free_at[server] = begun[i] + seconds / speed[server]
        heapq.heappush(departures, (free_at[server], server))
        chosen[i] = server
    service = work / speed[chosen]
    wait = begun - arrivals
    return pd.DataFrame(
        {"arrival_s": arrivals, "server": chosen, "wait_s": wait, "service_s": service, "latency_s": wait + service}
    )
