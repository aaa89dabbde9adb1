"""Topics that no other node wants, over a carrier that does not know: what is published on them is not sent
(spec: platform § 10.14).

A node that publishes often on a topic asks all others. Each that does not want the topic promises that, for some
seconds by its own clock. Where it wants the topic before they are over, it informs those that it promised it to, and
confirms its own subscription when they have answered, or the promise has run out. Nothing else is relied on: neither
which nodes live, nor what arrives at a node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from sockudo.cluster.items import ALL, Item, node_topic
from sockudo.cluster.members import NetworkMembership
from sockudo.cluster.ports import Node, NodeChange
from sockudo.cluster.wire import Quiet, QuietAnswer, QuietAsk, QuietEnd, QuietEnded

__all__ = ["QuietTopics"]

# The version of the protocol that brought this.
_SINCE: Final = 101
# Seconds that a promise lasts, those that are relied on from the question on (clocks do not run alike), and those
# before their end in which a publish renews it.
_LASTS: Final = 10.0
_RELIED_ON: Final = 9.0
_RENEWED: Final = 5.0
# Seconds after which a subscription may have been acknowledged to a client without its confirmation.
_LATE: Final = 1.0
# Publishes within the time of a promise after which others are asked.
_OFTEN: Final = 8
# Topics that are counted, that are quiet, and that this node has promised not to want, each.
_MOST: Final = 10_000
_TOPICS_A_QUESTION: Final = 500


class _Question:
    """What is asked, without what was refused; ``left`` are the nodes whose answer is missing."""

    __slots__ = ("asked", "at", "left", "topics")

    def __init__(self, asked: tuple[str, ...], at: float, left: set[str]) -> None:
        self.asked = asked
        self.at = at
        self.left = left
        self.topics = dict.fromkeys(asked)


class _Ending:
    """A topic that this node wants now; ``left`` are the nodes that have to know, and until when each matters."""

    __slots__ = ("done", "left", "topic")

    def __init__(self, topic: str, left: dict[str, float], done: asyncio.Future[None]) -> None:
        self.topic = topic
        self.left = left
        self.done = done


class QuietTopics:
    """Both sides of it for one node: what it was promised, and what it promised.

    ``send`` sends an item of the nodes themselves. ``wants`` says whether this node subscribed to a topic, and ``late``
    is called where that is confirmed so late that it may have been acknowledged to a client before. A ``guest`` asks,
    and no node asks it: it subscribes to nothing that is published on here.
    """

    def __init__(
        self,
        membership: NetworkMembership,
        send: Callable[[str, Item], None],
        wants: Callable[[str], bool],
        late: Callable[[Iterable[str]], None],
        clock: Callable[[], float],
        *,
        guest: bool = False,
    ) -> None:
        self._membership = membership
        self._send = send
        self._wants = wants
        self._late = late
        self._clock = clock
        self._guest = guest
        # Publishes that were not sent.
        self.unwanted = 0
        self._number = 0
        self._swept = clock()
        # Until when no other node wants a topic; publishes on others since the last sweep; what to ask about.
        self._quiet: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._due: dict[str, None] = {}
        self._questions: dict[int, _Question] = {}
        # Until when this node promised what to whom, by topic, and what it takes back.
        self._promised: dict[str, dict[str, float]] = {}
        self._endings: dict[int, _Ending] = {}
        # Nodes that know this one: they ask it, too.
        self._known_to: set[str] = set()
        membership.watch(self._nodes_changed)

    # ---- publishing ----

    def wanted(self, topic: str) -> bool:
        """Whether another node may want the topic; it is about to be published on."""
        until = self._quiet.get(topic)
        if until is not None:
            now = self._clock()
            if now < until:
                if now > until - _RENEWED:
                    self._due[topic] = None
                self.unwanted += 1
                return False
            del self._quiet[topic]
        count = self._counts.get(topic, 0) + 1
        if count == 1 and len(self._counts) >= _MOST:
            self._counts.clear()
        self._counts[topic] = count
        if count == _OFTEN:
            self._due[topic] = None
        return True

    def tick(self) -> None:
        """Called several times a second: asks, repeats what has no answer, and forgets what is over."""
        now = self._clock()
        self._repeat(now)
        if now >= self._swept + _LASTS:
            self._sweep(now)
        due, self._due = self._due, {}
        others = self._membership.others()
        if not due or any(peer.beat.versions[1] < _SINCE for peer in others):
            return
        nodes, asked = [peer.node.id for peer in self._membership.peers()], tuple(due)
        for start in range(0, len(asked), _TOPICS_A_QUESTION):
            topics = asked[start : start + _TOPICS_A_QUESTION]
            self._number += 1
            self._questions[self._number] = _Question(topics, now, set(nodes))
            self._send(ALL, QuietAsk(self._number, topics, _LASTS))

    def _sweep(self, now: float) -> None:
        self._swept = now
        self._counts.clear()
        self._quiet = {topic: until for topic, until in self._quiet.items() if until > now}
        self._questions = {
            number: question for number, question in self._questions.items() if question.at + _RELIED_ON > now
        }
        self._promised = {
            topic: askers for topic, askers in self._promised.items() if any(until > now for until in askers.values())
        }

    def take(self, sender: Node, item: Quiet) -> None:
        """Takes what another node sent."""
        match item:
            case QuietAsk():
                self._take_ask(sender, item)
            case QuietAnswer():
                self._take_answer(sender, item)
            case QuietEnd():
                self._take_end(sender, item)
            case QuietEnded():
                self._take_ended(sender, item)

    def _take_answer(self, sender: Node, answer: QuietAnswer) -> None:
        """A promise of another node, but for what it wants."""
        question = self._questions.get(answer.number)
        if question is None or sender.id not in question.left:
            return
        question.left.discard(sender.id)
        for index in answer.wanted:
            if index < len(question.asked):
                question.topics.pop(question.asked[index], None)
        if question.left:
            return
        del self._questions[answer.number]
        for topic in question.topics:
            if topic in self._quiet or len(self._quiet) < _MOST:
                self._quiet[topic] = question.at + _RELIED_ON

    def _take_end(self, sender: Node, end: QuietEnd) -> None:
        """Another node wants a topic. One that is not known here would not be asked: it gets no answer, and repeats."""
        if sender not in self._membership.live():
            return
        self._quiet.pop(end.topic, None)
        for question in self._questions.values():
            question.topics.pop(end.topic, None)
        self._send(node_topic(sender.id), QuietEnded(end.number))

    # ---- subscribing ----

    def _take_ask(self, sender: Node, ask: QuietAsk) -> None:
        """Another node asks for promises."""
        if self._guest:
            return
        until = self._clock() + ask.seconds
        wanted = []
        for index, topic in enumerate(ask.topics):
            if self._wants(topic) or (topic not in self._promised and len(self._promised) >= _MOST):
                wanted.append(index)
            else:
                self._promised.setdefault(topic, {})[sender.id] = until
        self._send(node_topic(sender.id), QuietAnswer(ask.number, tuple(wanted)))

    def confirm(self, topic: str, subscribing: Awaitable[None]) -> Awaitable[None]:
        """What ends when ``subscribing`` has, and all that relied on this node not to want the topic know better."""
        ending = self.end(topic)
        return subscribing if ending is None else self._confirm(topic, subscribing, ending)

    async def _confirm(self, topic: str, subscribing: Awaitable[None], ending: asyncio.Future[None]) -> None:
        began = self._clock()
        await subscribing
        await ending
        if self._clock() - began > _LATE:
            self._late((topic,))

    def end(self, topic: str) -> asyncio.Future[None] | None:
        """This node wants a topic from now on: ends when all that relied on its promise know. None when none did."""
        if self._guest:
            return None
        now = self._clock()
        left = {asker: until for asker, until in self._promised.get(topic, {}).items() if until > now}
        for peer in self._membership.others():
            # One that does not know this node yet has asked the others alone, about whatever it may be.
            if peer.node.id not in self._known_to and peer.beat.versions[1] >= _SINCE:
                left.setdefault(peer.node.id, now + _LASTS)
        if not left:
            return None
        self._number += 1
        ending = self._endings[self._number] = _Ending(topic, left, asyncio.get_running_loop().create_future())
        self._send_end(self._number, ending)
        return ending.done

    def _take_ended(self, sender: Node, ended: QuietEnded) -> None:
        """A node knows now that this one wants a topic."""
        ending = self._endings.get(ended.number)
        if ending is None or sender.id not in ending.left:
            return
        self._known_to.add(sender.id)
        promised = self._promised.get(ending.topic, {})
        if promised.get(sender.id) == ending.left[sender.id]:
            # It has not been promised again meanwhile.
            del promised[sender.id]
        self._leave_out(ended.number, ending, [sender.id])

    def _send_end(self, number: int, ending: _Ending) -> None:
        for asker in ending.left:
            self._send(node_topic(asker), QuietEnd(number, ending.topic))

    def _repeat(self, now: float) -> None:
        for number, ending in tuple(self._endings.items()):
            if ending.done.done():
                # The subscription was given up.
                del self._endings[number]
                continue
            self._leave_out(number, ending, [asker for asker, until in ending.left.items() if until <= now])
            self._send_end(number, ending)

    def _leave_out(self, number: int, ending: _Ending, askers: Iterable[str]) -> None:
        for asker in askers:
            ending.left.pop(asker, None)
        if not ending.left:
            self._endings.pop(number, None)
            if not ending.done.done():
                ending.done.set_result(None)

    # ---- nodes ----

    def forget(self, node_id: str) -> None:
        """A node has said goodbye: it publishes nothing more."""
        for askers in self._promised.values():
            askers.pop(node_id, None)
        for number, ending in tuple(self._endings.items()):
            self._leave_out(number, ending, [node_id])

    def _nodes_changed(self, change: NodeChange) -> None:
        if change.node.id == self._membership.me.id:
            # Others held it dead, and asked without it.
            self._known_to.clear()
        else:
            self._known_to.discard(change.node.id)
        if change.what == "up":
            # It has promised nothing.
            self._quiet.clear()
            self._questions.clear()
