import pytest

from sandbox.virtuoso.server import Simulator
from services.extractor.repository import COLLECTIONS
from shared.kafka.topics import apply_topics
from shared.mongo.indexes import apply
from tests.integration.extractor.running import Place


@pytest.fixture
async def simulator():
    simulator = Simulator()
    await simulator.start()
    yield simulator
    await simulator.stop()


@pytest.fixture
async def place(kafka_settings, mongo_settings, mongo_database, tmp_path, simulator):
    await apply_topics(kafka_settings)
    await apply(mongo_database, COLLECTIONS)
    folder = tmp_path / "objects"
    folder.mkdir()
    return Place(kafka_settings, mongo_settings, folder, simulator)
