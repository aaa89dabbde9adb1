"""Entries of several nodes in one channel: who is present, how many, and what the list says."""

from __future__ import annotations

import json
import random

from sockudo.hub import Connection
from sockudo.hub.member_list import PAGE
from sockudo.hub.presence import Hold, Presence
from support.world import World


def listed(presence: Presence) -> dict[str, object]:
    _, _, infos = presence.listed()
    members: dict[str, object] = json.loads(json.loads(b'"{%b}"' % infos))
    return members


def test_users_are_counted_and_listed_once_whatever_comes_and_goes() -> None:
    for seed in range(30):
        rng = random.Random(seed)
        world, presence = World(), Presence()
        users = [f"user-{number}" for number in range(rng.choice([5, 3 * PAGE]))]
        here: list[tuple[Connection, str]] = []
        elsewhere: dict[str, dict[str, bytes]] = {"a": {}, "b": {}}
        for step in range(60):
            node_id, some = rng.choice("ab"), rng.sample(users, rng.randint(1, len(users)))
            match rng.randrange(5):
                case 0:
                    connection, user_id = world.connect()[0], rng.choice(users)
                    presence.join(connection, user_id, b"%d" % step)
                    here.append((connection, user_id))
                case 1 if here:
                    connection, user_id = here.pop(rng.randrange(len(here)))
                    presence.leave(connection, user_id)
                case 2 if here:
                    connection, user_id = here.pop(rng.randrange(len(here)))
                    hold = Hold(1.0, step)
                    if not presence.leave(connection, user_id, hold):
                        presence.release(user_id, hold)
                case 3:
                    put = dict.fromkeys(some, b"%d" % step)
                    presence.change_elsewhere(node_id, put, ())
                    elsewhere[node_id].update(put)
                case 4:
                    presence.change_elsewhere(node_id, {}, some)
                    for user_id in some:
                        elsewhere[node_id].pop(user_id, None)
            expected = {user_id for _, user_id in here} | elsewhere["a"].keys() | elsewhere["b"].keys()
            assert presence.user_count == len(expected), (seed, step)
            if rng.random() < 0.5:
                infos = presence.infos()
                assert infos.keys() == expected, (seed, step)
                assert listed(presence) == {user_id: int(info) for user_id, info in infos.items()}, (seed, step)
                assert {user_id: presence.info(user_id) for user_id in users if user_id in infos} == infos
