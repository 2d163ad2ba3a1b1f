"""The proxy between a service and `mongod` does what it says, and the driver behaves through it as without."""

import threading
import time

import pytest
from pymongo import MongoClient, UpdateOne
from pymongo.errors import AutoReconnect, NetworkTimeout, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from tests.promises.wire import Fault, Wire


@pytest.fixture
def wire(mongo_process):
    with Wire(mongo_process.port) as it:
        yield it


@pytest.fixture
def direct(mongo_process, mongo_settings):
    with MongoClient(mongo_process.uri) as client:
        yield client[mongo_settings.database].things


@pytest.fixture
def things(wire, mongo_settings):
    with MongoClient(wire.uri, w="majority", journal=True, socketTimeoutMS=2_000) as client:
        yield client[mongo_settings.database].things


def inserts(message):
    return message.command == "insert" and message.collection == "things"


def updates(message):
    return message.command == "update" and message.collection == "things"


def everything(collection):
    return sorted(one["_id"] for one in collection.find())


def test_majorities_transactions_and_bulk_writes_go_through(things):
    things.insert_many([{"_id": number, "text": "x" * 10_000} for number in range(500)])
    with things.database.client.start_session() as session, session.start_transaction():
        things.update_one({"_id": 1}, {"$set": {"seen": True}}, session=session)
        things.delete_one({"_id": 2}, session=session)
    majority = things.with_options(
        read_concern=ReadConcern("majority"), write_concern=WriteConcern("majority")
    )
    majority.bulk_write([UpdateOne({"_id": 3}, {"$inc": {"n": 2}}, upsert=True)])
    assert majority.find_one({"_id": 3})["n"] == 2
    assert things.count_documents({}) == 499
    assert things.find_one({"_id": 1})["seen"]


def test_a_lost_answer_is_repeated_by_the_driver_and_applied_once(wire, things, direct):
    rule = wire.on(updates, Fault.LOST_ANSWER, lenient=True)
    things.insert_one({"_id": 1, "n": 0})
    things.update_one({"_id": 1}, {"$inc": {"n": 1}})
    rule.wait()
    assert direct.find_one() == {"_id": 1, "n": 1}


@pytest.mark.parametrize(
    ("fault", "there"), [(Fault.LOST_ANSWER, [1]), (Fault.NEVER_SENT, []), (Fault.LATE, [])]
)
def test_the_repetition_is_struck_too(wire, things, direct, fault, there):
    rule = wire.on(inserts, fault)
    with pytest.raises(AutoReconnect):
        things.insert_one({"_id": 1})
    rule.wait()
    assert everything(direct) == there
    assert len(rule.struck) == 1
    things.insert_one({"_id": 2})
    assert everything(direct) == [*there, 2]


def test_a_late_write_is_applied_after_its_sender_has_given_up(wire, things, direct):
    direct.insert_one({"_id": 1, "n": 0})
    rule = wire.on(updates, Fault.LATE)
    with pytest.raises(AutoReconnect):
        things.update_many({}, {"$inc": {"n": 1}})
    things.update_many({}, {"$inc": {"n": 10}})
    assert direct.find_one()["n"] == 10
    rule.release()
    assert rule.delivered.wait(10)
    assert direct.find_one()["n"] == 11
    assert rule.answers[0].body["n"] == 1


def test_silence_is_a_timeout(wire, things, direct):
    rule = wire.on(updates, Fault.SILENCE)
    direct.insert_one({"_id": 1, "n": 0})
    with pytest.raises(NetworkTimeout):
        things.update_many({}, {"$inc": {"n": 1}})
    rule.wait()
    assert direct.find_one()["n"] == 1


@pytest.mark.parametrize(("fault", "meanwhile"), [(Fault.HELD, []), (Fault.HELD_ANSWER, [1])])
def test_what_is_held_goes_on_when_it_is_told_to(wire, things, direct, fault, meanwhile):
    rule = wire.on(inserts, fault)
    done = threading.Event()
    writer = threading.Thread(target=lambda: (things.insert_one({"_id": 1}), done.set()))
    writer.start()
    rule.wait()
    assert not done.is_set()
    assert everything(direct) == meanwhile
    rule.release()
    writer.join()
    assert done.is_set()
    assert everything(direct) == [1]


def test_the_nth_message_and_so_many_of_them(wire, things, direct):
    rule = wire.on(inserts, Fault.NEVER_SENT, skip=1, times=2)
    outcomes = []
    for number in range(4):
        try:
            things.insert_one({"_id": number})
            outcomes.append(True)
        except PyMongoError:
            outcomes.append(False)
    assert outcomes == [True, False, False, True]
    assert rule.happened
    assert everything(direct) == [0, 3]


@pytest.mark.parametrize(("way", "applied"), [("requests", 0), ("answers", 1)])
def test_a_frozen_direction(wire, things, direct, way, applied):
    things.insert_one({"_id": 1})
    wire.freeze(way)
    writer = threading.Thread(target=lambda: _quietly(lambda: things.insert_one({"_id": 2})))
    writer.start()
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline and direct.count_documents({}) <= applied:
        time.sleep(0.02)
    assert direct.count_documents({}) == 1 + applied
    wire.thaw()
    writer.join()
    assert everything(direct) == [1, 2]


def test_cut_connections_come_again(wire, things):
    things.insert_one({"_id": 1})
    wire.cut()
    things.insert_one({"_id": 2})
    assert everything(things) == [1, 2]


def _quietly(action):
    try:
        action()
    except PyMongoError as error:
        print(repr(error))
