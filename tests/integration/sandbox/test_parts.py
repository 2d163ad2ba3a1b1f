"""The real parts: data outlive stops and kills, wrong passwords are refused, moto holds an estate."""

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from sandbox.estate import BUCKETS, INSTANCES, furnish
from sandbox.kafka import answers
from sandbox.mongo import Mongo
from sandbox.ports import free_port


async def produce(servers: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=servers, acks="all") as producer:
        await producer.send_and_wait("kept", value)


async def consume(servers: str, count: int) -> list[bytes]:
    async with AIOKafkaConsumer(
        bootstrap_servers=servers, auto_offset_reset="earliest"
    ) as consumer:
        consumer.assign([TopicPartition("kept", 0)])
        return [(await consumer.getone()).value for _ in range(count)]


async def test_kafka_keeps_its_messages_over_a_stop_and_a_kill(own_kafka):
    servers = own_kafka.bootstrap_servers
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic("kept", 1, 1)])
    await admin.close()
    await produce(servers, b"before the stop")
    own_kafka.stop()
    assert not answers(own_kafka.port)
    own_kafka.start()
    await produce(servers, b"before the kill")
    own_kafka.kill()
    own_kafka.start()
    assert await consume(servers, 2) == [b"before the stop", b"before the kill"]


def test_mongo_keeps_its_documents_over_a_kill_and_a_new_port(own_mongo):
    with MongoClient(own_mongo.uri) as client:
        client.app.things.with_options().insert_one({"_id": 1})
    own_mongo.kill()
    own_mongo.port = free_port()
    own_mongo.start()
    with MongoClient(own_mongo.uri) as client:
        assert client.app.things.find_one() == {"_id": 1}
        client.app.things.insert_one({"_id": 2})


def test_mongo_with_a_password_refuses_others(parts):
    mongo = Mongo(parts.folder / "guarded", password="right")
    mongo.start()
    try:
        with MongoClient(mongo.uri, username="root", password="right") as client:
            assert client.app.things.insert_one({"_id": 1}).acknowledged
        intruder = MongoClient(mongo.uri, username="root", password="wrong")
        with intruder, pytest.raises(OperationFailure):
            intruder.app.things.find_one()
        mongo.stop()
        mongo.start()
    finally:
        mongo.kill()


def test_the_estate_is_what_boto3_sees(aws_process, aws_settings):
    import boto3

    furnish(aws_process.endpoint_url)
    options = {
        "endpoint_url": aws_settings.endpoint_url,
        "aws_access_key_id": aws_settings.access_key_id,
        "aws_secret_access_key": aws_settings.secret_access_key.get_secret_value(),
    }
    for region, names in INSTANCES.items():
        ec2 = boto3.client("ec2", region_name=region, **options)
        found = [
            {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}.get("Name")
            for reservation in ec2.describe_instances()["Reservations"]
            for instance in reservation["Instances"]
        ]
        assert set(names) <= set(found)
    s3 = boto3.client("s3", region_name="us-east-1", **options)
    buckets = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    assert {name for names in BUCKETS.values() for name in names} <= buckets
