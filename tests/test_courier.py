import threading
import time

import pytest
import sqlalchemy as sa

from serving.courier import Courier
from serving.store import endpoints, outbox
from serving.store.database import Database
from serving.store.tables import deliveries, messages
from serving.webhooks import Sender
from tests.receivers import hang, receiver

NOW_US = 1_790_000_000_000_000
SECOND_US = outbox.SECOND_US


class Post:
    """An outbox, a clock, and a courier."""

    def __init__(self, url):
        self.now_us, self.database = NOW_US, Database.open(url)
        self.courier = self.another()

    def another(self, seconds=5.0, uniform=lambda: 0.0):
        sender = Sender(private=True, seconds=seconds)
        return Courier(self.database, sender, lambda: self.now_us, uniform)

    def endpoint(self, told, types=()):
        with self.database.writing() as connection:
            return endpoints.add(connection, told.url, types, self.now_us)[0].endpoint_id

    def put(self, type="lead.handoff", lead_id="L-1"):
        with self.database.writing() as connection:
            return outbox.put(connection, type, lead_id, {"lead_id": lead_id}, self.now_us)

    def deliver(self, courier=None, after_seconds=0.0):
        self.now_us += round(after_seconds * SECOND_US)
        courier = courier or self.courier
        courier.begin()
        courier.wait()

    def deliveries(self):
        with self.database.reading() as connection:
            return connection.execute(sa.select(deliveries)).all()

    def count(self, table=messages):
        with self.database.reading() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


@pytest.fixture
def post(database_url):
    opened = Post(database_url)
    yield opened
    opened.database.close()


def test_every_message_comes_once_and_in_order(post):
    with receiver() as told:
        post.endpoint(told)
        sent = [post.put() for _ in range(45)]
        post.deliver()
        post.deliver(after_seconds=100_000)
    assert told.ids == sent
    assert all(row.delivered_us == NOW_US and row.attempts == 1 for row in post.deliveries())


@pytest.mark.parametrize("status", [199, 300, 304, 400, 404, 500, 503])
def test_only_2xx_is_success(post, status):
    with receiver(status=status) as told:
        post.endpoint(told)
        post.put()
        post.deliver()
        told.status = 204
        post.deliver(after_seconds=5)
    assert len(told.got) == 2
    [row] = post.deliveries()
    assert (row.attempts, row.next_us, row.last_status) == (2, None, "HTTP 204")


def test_it_is_tried_ten_times_in_three_days_with_one_id(post):
    with receiver(status=500) as told:
        post.endpoint(told)
        message_id = post.put()
        post.deliver()
        for tried, pause in enumerate(outbox.RETRY_SECONDS, 1):
            post.deliver(after_seconds=pause - 1)
            assert len(told.got) == tried, pause
            post.deliver(after_seconds=1)
            assert len(told.got) == tried + 1, pause
        post.deliver(after_seconds=1_000_000)
    assert told.ids == [message_id] * 10
    [row] = post.deliveries()
    assert (row.attempts, row.next_us, row.delivered_us) == (10, None, None)


def test_pauses_differ_by_chance(post):
    with receiver(status=500) as told:
        post.endpoint(told)
        post.put()
        post.deliver(post.another(uniform=lambda: 0.5))
    [row] = post.deliveries()
    assert row.next_us == NOW_US + 5_250_000


@pytest.mark.parametrize(("asked", "kept"), [("2", 5), ("600", 600), ("1000000", 86_400)])
def test_a_pause_that_is_asked_for_is_kept_up_to_a_day(post, asked, kept):
    with receiver(status=429, headers={"Retry-After": asked}) as told:
        post.endpoint(told)
        post.put()
        post.deliver()
    [row] = post.deliveries()
    assert row.next_us == NOW_US + kept * SECOND_US


def test_410_disables_the_endpoint_until_it_is_enabled(post):
    with receiver(status=410) as told:
        endpoint_id = post.endpoint(told)
        first, second = post.put(), post.put()
        post.deliver()
        assert told.ids == [first]
        with post.database.reading() as connection:
            [found] = endpoints.all_of(connection)
        assert (found.disabled_us, found.why_disabled) == (NOW_US, "answered 410 Gone")
        post.put()  # nobody is told of this one
        post.deliver(after_seconds=100_000)
        assert told.ids == [first]
        told.status = 200
        with post.database.writing() as connection:
            endpoints.enable(connection, endpoint_id, post.now_us)
        post.deliver()
    assert told.ids == [first, first, second]


def test_one_that_hangs_delays_no_other(post):
    courier = post.another(seconds=3.0)
    with receiver(act=hang) as hangs, receiver() as told:
        post.endpoint(hangs)
        post.endpoint(told)
        sent = [post.put() for _ in range(3)]
        until = time.monotonic() + 2.5
        while len(told.got) < 3 and time.monotonic() < until:
            courier.begin()
            time.sleep(0.01)
        assert told.ids == sent
        later = post.put()
        while len(told.got) < 4 and time.monotonic() < until:
            courier.begin()
            time.sleep(0.01)
        assert told.ids == [*sent, later]
        assert len(hangs.got) == 1
        courier.wait()


def test_where_nobody_is_there_the_rest_is_given_back(post):
    with receiver() as told:
        post.endpoint(told)
    sent = [post.put() for _ in range(3)]
    post.deliver()
    assert [row.attempts for row in post.deliveries()].count(0) == 2
    assert all(row.locked_until_us is None for row in post.deliveries())
    assert len(sent) == 3


def test_two_couriers_deliver_each_message_once(post):
    others = [post.another() for _ in range(4)]
    with receiver() as told:
        post.endpoint(told)
        sent = [post.put() for _ in range(100)]
        threads = [threading.Thread(target=post.deliver, args=(each,)) for each in others]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(told.ids) == sorted(sent)


def test_one_that_died_between_sending_and_noting_it_sends_again_with_the_same_id(
    post, monkeypatch
):
    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    with receiver() as told:
        post.endpoint(told)
        message_id = post.put()
        monkeypatch.setattr(outbox, "settle", killed)
        monkeypatch.setattr(threading, "excepthook", lambda _: None)
        post.deliver()
        monkeypatch.undo()
        post.deliver(post.another(), after_seconds=59)
        assert told.ids == [message_id]
        post.deliver(post.another(), after_seconds=1)
        assert told.ids == [message_id] * 2
        post.deliver(post.another(), after_seconds=1_000)
    assert told.ids == [message_id] * 2
    assert told.got[0][1] == told.got[1][1]


def test_a_clock_that_was_set_back_holds_up_nothing(post):
    with receiver() as told:
        post.endpoint(told)
        post.put()
        with post.database.writing() as connection:
            [endpoint_id] = outbox.waiting(connection, post.now_us)
            assert outbox.claim(connection, endpoint_id, post.now_us)
        post.deliver(after_seconds=-86_400)
    assert len(told.got) == 1


def test_a_delivery_that_is_gone_when_it_ends_is_nothing(post):
    def erase(handler):
        with post.database.writing() as connection:
            connection.execute(deliveries.delete())
            connection.execute(messages.delete())
        handler.send_response(500)
        handler.end_headers()

    with receiver(act=erase) as told:
        post.endpoint(told)
        post.put()
        post.deliver()
        post.deliver(after_seconds=1_000)
    assert len(told.got) == 1
    assert post.deliveries() == []


def test_one_that_is_asked_for_anew_while_it_is_sent_is_sent_again(post):
    def again(handler):
        told.act = None
        with post.database.writing() as connection:
            outbox.replay(connection, message_id, [endpoint_id], post.now_us)
        post.now_us += SECOND_US
        handler.send_response(200)
        handler.end_headers()

    with receiver(act=again) as told:
        endpoint_id = post.endpoint(told)
        message_id = post.put()
        post.deliver()
    assert told.ids == [message_id] * 2


def test_the_message_about_an_erasure_is_gone_when_all_were_told(post):
    with receiver() as told, receiver(status=500) as later:
        post.endpoint(told)
        post.endpoint(later)
        kept = post.put("lead.handoff")
        post.put("lead.erased")
        post.deliver()
        assert post.count() == 2
        later.status = 200
        post.deliver(after_seconds=5)
    with post.database.reading() as connection:
        assert connection.execute(sa.select(messages.c.message_id)).scalars().all() == [kept]
    assert post.count(deliveries) == 2


def test_the_message_about_an_erasure_does_not_wait_for_one_who_is_gone(post):
    with receiver(status=410) as gone:
        post.endpoint(gone)
        post.put("lead.erased")
        post.deliver()
    assert post.count() == 0


def test_a_message_that_cannot_be_sent_by_a_bug_does_not_undo_what_was_sent(post, monkeypatch):
    real, sent = Sender.send, []

    def send(self, *given):
        sent.append(given[1])
        if len(sent) == 2:
            raise ZeroDivisionError
        return real(self, *given)

    monkeypatch.setattr(Sender, "send", send)
    with receiver() as told:
        post.endpoint(told)
        ids = [post.put() for _ in range(3)]
        post.deliver()
        assert told.ids == ids[:1]
        post.deliver(after_seconds=10)
    assert sorted(told.ids) == sorted(ids)
    assert all(row.delivered_us is not None for row in post.deliveries())
