"""The only MongoDB queries of the executor, with their collections and indexes."""

from services.executor.repository.collections import COLLECTIONS
from services.executor.repository.journal import MongoJournals

__all__ = ["COLLECTIONS", "MongoJournals"]
