"""What nodes promise each other not to want, with time, losses and order set by hand."""

from __future__ import annotations

from collections.abc import Sequence

from sockudo.cluster.items import ALL, Item, node_topic
from sockudo.cluster.members import NetworkMembership, Timing
from sockudo.cluster.ports import Node
from sockudo.cluster.quiet import QuietTopics
from sockudo.cluster.wire import OLDEST_VERSION, VERSION, Beat, Dead, Quiet, QuietAnswer, QuietAsk, QuietEnd, QuietEnded

TOPIC = "c:app:room"


class Net:
    """Nodes that know each other. What they send waits for `deliver`, unless its kind is ``lost``."""

    def __init__(self, *names: str) -> None:
        self.now = 100.0
        self.sent: list[tuple[One, str, Item]] = []
        self.lost: set[type[Item]] = set()
        self.nodes: dict[str, One] = {}
        for name in names:
            self.join(name)

    def join(self, name: str, *, known: bool = True, guest: bool = False, version: int = VERSION) -> One:
        """A further node, which knows the others; they know it too if it is ``known``."""
        node = self.nodes[name] = One(self, name, guest=guest, version=version)
        for other in self.nodes.values():
            if other is not node:
                node.meet(other)
            if known and other is not node:
                other.meet(node)
        return node

    def deliver(self) -> list[Item]:
        """Hands over what was sent, and what is sent because of that; returns it."""
        handed = []
        while self.sent:
            sender, topic, item = self.sent.pop(0)
            handed.append(item)
            if type(item) in self.lost:
                continue
            for node in self.nodes.values():
                if node is not sender and topic in (ALL, node_topic(node.me.id)):
                    node.take(sender.me, item)
        return handed

    def pass_time(self, seconds: float) -> None:
        """Time goes by in half seconds, with a look of every node at each."""
        for _ in range(round(2 * seconds)):
            self.now += 0.5
            for node in self.nodes.values():
                node.of.tick()
            self.deliver()


class One:
    """A node: its quiet topics, and those that it subscribed to."""

    def __init__(self, net: Net, name: str, *, guest: bool, version: int) -> None:
        self.net, self.guest, self.version = net, guest, version
        self.topics: set[str] = set()
        me = Node(name * 32, 1, name)
        self.members = NetworkMembership(
            me, Timing(), lambda: net.now, lambda *_: None, lambda: None, lambda: None, guest=guest
        )
        self.late: list[str] = []
        self.of = QuietTopics(
            self.members, self.send, self.topics.__contains__, self.late.extend, lambda: net.now, guest=guest
        )

    @property
    def me(self) -> Node:
        return self.members.me

    def send(self, topic: str, item: Item) -> None:
        self.net.sent.append((self, topic, item))

    def meet(self, other: One) -> None:
        versions = (OLDEST_VERSION, other.version)
        beat = Beat(self.net.now, other.me.name, 2.0, versions, "api" if other.guest else "full")
        self.members.take_beat(other.me.id, other.me.incarnation, beat)

    def take(self, sender: Node, item: Item) -> None:
        assert isinstance(item, Quiet)
        self.of.take(sender, item)

    def subscribe(self, topic: str = TOPIC) -> Confirmation:
        self.topics.add(topic)
        return Confirmation(self, topic)

    def publish(self, times: int = 8, topic: str = TOPIC) -> Sequence[bool]:
        """Whether each of so many publishes has to be sent."""
        return [self.of.wanted(topic) for _ in range(times)]

    def become_quiet(self, topic: str = TOPIC) -> None:
        self.publish(8, topic)
        self.of.tick()
        self.net.deliver()
        assert not self.of.wanted(topic)


class Confirmation:
    """Of a subscription: whether it is there."""

    def __init__(self, node: One, topic: str) -> None:
        self._waits = node.of.end(topic)

    @property
    def came(self) -> bool:
        return self._waits is None or self._waits.done()

    def give_up(self) -> None:
        assert self._waits is not None
        self._waits.cancel()


async def acquainted(*names: str) -> Net:
    """Nodes that have subscribed before, and so are known to each other for certain."""
    net = Net(*names)
    for node in net.nodes.values():
        node.subscribe("c:app:other")
        net.deliver()
    return net


async def test_a_topic_is_quiet_once_all_others_have_promised_not_to_want_it() -> None:
    net = await acquainted("a", "b", "c")
    a = net.nodes["a"]
    assert all(a.publish(7))
    a.of.tick()
    assert not net.deliver(), "it is not published on often"
    assert all(a.publish(20))
    a.of.tick()
    net.lost = {QuietAnswer}
    net.deliver()
    assert a.of.wanted(TOPIC)
    net.lost = set()
    net.pass_time(10)
    a.become_quiet()


async def test_a_topic_that_one_other_node_wants_is_asked_about_once_in_ten_seconds() -> None:
    net = await acquainted("a", "b", "c")
    a = net.nodes["a"]
    net.nodes["c"].subscribe()
    asks = 0
    for _ in range(40):
        assert all(a.publish(20))
        net.now += 0.5
        a.of.tick()
        asks += sum(isinstance(item, QuietAsk) for item in net.deliver())
    assert asks == 2


async def test_a_promise_is_relied_on_for_less_time_than_it_lasts() -> None:
    net = await acquainted("a", "b")
    a, b = net.nodes.values()
    a.become_quiet()
    net.now += 8.9
    assert not a.of.wanted(TOPIC)
    net.now += 0.1
    assert a.of.wanted(TOPIC)
    assert not b.subscribe().came
    net.now += 1
    assert b.subscribe().came


async def test_publishing_renews_promises_and_silence_lets_them_run_out() -> None:
    net = await acquainted("a", "b")
    a, b = net.nodes.values()
    a.become_quiet()
    for _ in range(60):
        net.pass_time(1)
        assert not a.of.wanted(TOPIC)
    net.pass_time(11)
    assert b.subscribe().came
    assert a.of.wanted(TOPIC)


async def test_a_subscription_is_confirmed_when_every_asker_knows_of_it() -> None:
    net = await acquainted("a", "b", "c")
    a, b, c = net.nodes.values()
    a.become_quiet()
    b.become_quiet()
    net.lost = {QuietEnd}
    confirmation = c.subscribe()
    net.deliver()
    assert not confirmation.came
    net.lost = {QuietEnded}
    net.pass_time(0.5)
    assert not confirmation.came
    assert a.of.wanted(TOPIC)
    assert b.of.wanted(TOPIC)
    net.lost = set()
    net.pass_time(0.5)
    assert confirmation.came
    net.pass_time(0.5)
    assert not net.sent


async def test_an_asker_that_does_not_answer_is_waited_for_as_long_as_the_promise_lasts() -> None:
    net = await acquainted("a", "b")
    a, b = net.nodes.values()
    a.become_quiet()
    net.lost = {QuietEnd}
    net.pass_time(3)
    confirmation = b.subscribe()
    net.pass_time(6.5)
    assert not confirmation.came
    assert a.of.wanted(TOPIC), "it relies on nothing any more"
    net.pass_time(1)
    assert confirmation.came


async def test_a_question_under_way_counts_no_more_for_what_is_wanted_meanwhile() -> None:
    net = await acquainted("a", "b", "c")
    a, b, c = net.nodes.values()
    a.publish()
    a.of.tick()
    [(_, _, ask)] = net.sent
    net.sent.clear()
    b.take(a.me, ask)
    confirmation = b.subscribe()
    net.deliver()
    assert confirmation.came
    c.take(a.me, ask)
    net.deliver()
    assert a.of.wanted(TOPIC)


async def test_a_subscription_that_was_given_up_takes_nothing_back() -> None:
    net = await acquainted("a", "b")
    a, b = net.nodes.values()
    a.become_quiet()
    net.lost = {QuietEnd}
    confirmation = b.subscribe()
    net.deliver()
    confirmation.give_up()
    b.topics.discard(TOPIC)
    again = b.subscribe()
    assert not again.came, "the asker knows nothing yet"
    net.lost = set()
    net.pass_time(0.5)
    assert again.came
    assert a.of.wanted(TOPIC)


async def test_a_late_answer_does_not_end_a_newer_promise() -> None:
    net = await acquainted("a", "b")
    a, b = net.nodes.values()
    a.become_quiet()
    confirmation = b.subscribe()
    [(_, _, end)] = net.sent
    net.sent.clear()
    a.take(b.me, end)
    [(_, _, late)] = net.sent
    net.sent.clear()
    confirmation.give_up()
    b.topics.discard(TOPIC)
    net.now += 1
    b.take(a.me, QuietAsk(99, (TOPIC,), 10.0))
    b.take(a.me, late)
    assert not b.subscribe().came


async def test_what_was_promised_without_a_node_counts_no_more_when_it_comes() -> None:
    net = await acquainted("a", "b")
    a = net.nodes["a"]
    a.become_quiet()
    c = net.join("c")
    confirmation = c.subscribe()
    assert a.of.wanted(TOPIC)
    net.deliver()
    assert confirmation.came
    a.publish(20)
    a.of.tick()
    c.meet(a)
    net.deliver()
    assert a.of.wanted(TOPIC)


async def test_a_question_without_a_node_counts_no_more_when_it_comes() -> None:
    net = await acquainted("a", "b")
    a, b = net.nodes.values()
    a.publish()
    a.of.tick()
    [(_, _, ask)] = net.sent
    net.sent.clear()
    c = net.join("c")
    c.subscribe("c:app:other")
    net.deliver()
    b.take(a.me, ask)
    net.deliver()
    assert c.subscribe().came
    assert a.of.wanted(TOPIC)


async def test_a_node_that_another_one_does_not_know_yet_is_not_confirmed() -> None:
    net = await acquainted("a", "b")
    a = net.nodes["a"]
    a.become_quiet()
    c = net.join("c", known=False)
    confirmation = c.subscribe()
    net.pass_time(1)
    assert not confirmation.came
    assert not a.of.wanted(TOPIC)
    for other in ("a", "b"):
        net.nodes[other].meet(c)
    net.pass_time(0.5)
    assert confirmation.came
    assert a.of.wanted(TOPIC)
    assert c.subscribe("c:app:second").came, "the others know it now"


async def test_a_node_that_was_held_dead_is_known_to_others_once_they_answer_again() -> None:
    net = await acquainted("a", "b")
    a, b = net.nodes.values()
    a.members.take_bye(b.me.id, b.me.incarnation)
    b.members.take_dead(Dead(b.me.incarnation))
    confirmation = b.subscribe()
    net.deliver()
    assert not confirmation.came
    a.meet(b)
    net.pass_time(0.5)
    assert confirmation.came


async def test_nodes_of_the_version_before_are_neither_asked_nor_waited_for() -> None:
    net = await acquainted("a", "b")
    a = net.nodes["a"]
    a.become_quiet()
    old = net.join("o", version=OLDEST_VERSION)
    assert a.subscribe("c:app:second").came
    net.pass_time(10)
    a.publish(20)
    a.of.tick()
    assert not net.deliver()
    assert a.of.wanted(TOPIC)
    del net.nodes["o"]
    for node in net.nodes.values():
        node.members.take_bye(old.me.id, 1)
    net.pass_time(10)
    a.become_quiet()


async def test_a_node_that_counts_nowhere_asks_and_is_not_asked() -> None:
    net = await acquainted("a", "b")
    a, b = net.nodes.values()
    guest = net.join("g", guest=True)
    a.become_quiet()
    assert guest.subscribe().came
    guest.become_quiet()
    assert not a.of.wanted(TOPIC)
    confirmation = b.subscribe()
    assert not confirmation.came
    net.deliver()
    assert confirmation.came
    assert a.of.wanted(TOPIC)
    assert guest.of.wanted(TOPIC)


async def test_a_node_that_counts_nowhere_has_to_know_those_that_come_as_well() -> None:
    net = await acquainted("a", "b")
    guest = net.join("g", guest=True)
    guest.become_quiet()
    c = net.join("c", known=False)
    for other in ("a", "b"):
        net.nodes[other].meet(c)
    confirmation = c.subscribe()
    net.pass_time(1)
    assert not confirmation.came
    guest.meet(c)
    net.pass_time(0.5)
    assert confirmation.came
    assert guest.of.wanted(TOPIC)


async def test_a_node_that_said_goodbye_is_not_waited_for() -> None:
    net = await acquainted("a", "b")
    a, b = net.nodes.values()
    a.become_quiet("c:app:first")
    a.become_quiet("c:app:second")
    net.lost = {QuietEnd}
    first = b.subscribe("c:app:first")
    net.deliver()
    assert not first.came
    b.of.forget(a.me.id)
    assert first.came
    assert b.subscribe("c:app:second").came


async def test_no_node_promises_or_keeps_more_than_ten_thousand_topics() -> None:
    net = await acquainted("a", "b")
    a = net.nodes["a"]
    for number in range(9_999):
        a.publish(8, f"c:app:{number}")
    a.of.tick()
    asked = [item for item in net.deliver() if isinstance(item, QuietAsk)]
    assert max(len(ask.topics) for ask in asked) == 500
    assert sum(not a.of.wanted(f"c:app:{number}") for number in range(9_999)) == 9_999
    for number in range(9_999, 12_000):
        a.publish(8, f"c:app:{number}")
    a.of.tick()
    refused = [len(item.wanted) for item in net.deliver() if isinstance(item, QuietAnswer)]
    assert sum(refused) == 2_000
    assert sum(not a.of.wanted(f"c:app:{number}") for number in range(12_000)) == 10_000
    net.pass_time(20)
    a.become_quiet("c:app:11999")


async def test_of_many_topics_those_that_are_published_on_often_are_found() -> None:
    net = await acquainted("a", "b")
    a = net.nodes["a"]
    for number in range(30_000):
        a.publish(1, f"c:app:{number}")
    assert len(a.of._counts) <= 10_000
    a.become_quiet()
