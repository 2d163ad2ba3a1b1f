"""Every instrument, once. `docs/reference/metrics.md` is written from this table; what to do: `docs/howto/operate.md`.

Labels are bounded sets: routes, statuses, topics, consumer groups, queues, command types, reasons that our code names.
"""

from shared.observability.metrics import COUNTS, LONG_SECONDS, REGISTRY

# --- HTTP ---
HTTP_REQUESTS = REGISTRY.histogram(
    "cadenza.http.requests",
    "s",
    "Requests, by how long the answer took to begin; of a stream that is its opening.",
    "method",
    "route",
    "status",
)
SSE_CLIENTS = REGISTRY.gauge("cadenza.sse.clients", "{client}", "Open event streams.")

# --- gateway: accepting and publishing ---
REQUESTS_ACCEPTED = REGISTRY.counter(
    "cadenza.requests.accepted",
    "{request}",
    "Requests that were durable before their 2xx.",
    "topic",
)
OUTBOX_PENDING = REGISTRY.gauge(
    "cadenza.outbox.pending", "{event}", "Accepted and not on Kafka yet."
)
OUTBOX_OLDEST = REGISTRY.gauge(
    "cadenza.outbox.oldest", "s", "Age of the oldest of them; 0 when there is none."
)
REQUESTS_REJECTED = REGISTRY.counter(
    "cadenza.requests.rejected", "{request}", "Accepted requests that were refused later on."
)
REQUESTS_REPEATED = REGISTRY.counter(
    "cadenza.requests.repeated", "{request}", "Published again, because nothing had come of them."
)

# --- the queue: executor, extractor, scanner ---
QUEUE_DEPTH = REGISTRY.gauge(
    "cadenza.queue.depth",
    "{item}",
    "Items that have not ended, over all processes.",
    "queue",
    "status",
)
QUEUE_OLDEST = REGISTRY.gauge(
    "cadenza.queue.oldest", "s", "How long the oldest queued item has been waiting.", "queue"
)
CLAIMED = REGISTRY.counter(
    "cadenza.queue.claimed", "{item}", "Items that this process took.", "queue"
)
ENDED = REGISTRY.counter(
    "cadenza.queue.ended",
    "{item}",
    "Items that this process ended, by final status.",
    "queue",
    "status",
)
SLOTS = REGISTRY.gauge("cadenza.queue.slots", "{slot}", "Items that may run at once.", "queue")
SLOTS_USED = REGISTRY.gauge("cadenza.queue.slots.used", "{slot}", "Items that run now.", "queue")
RENEWALS = REGISTRY.counter(
    "cadenza.leases.renewals",
    "{renewal}",
    "Renewals of all leases held, by outcome.",
    "queue",
    "outcome",
)
LEASES_LOST = REGISTRY.counter(
    "cadenza.leases.lost", "{lease}", "Running items that somebody else had taken over.", "queue"
)
RECOVERED = REGISTRY.counter(
    "cadenza.leases.recovered", "{item}", "Items taken back from workers that were gone.", "queue"
)
STEPS = REGISTRY.histogram(
    "cadenza.steps",
    "s",
    "Tries of steps, by how long they took.",
    "command",
    "status",
    bounds=LONG_SECONDS,
)
LOG_BYTES = REGISTRY.counter("cadenza.logs", "By", "Output of steps that was stored, in UTF-8.")

# --- MongoDB ---
GROUP_SIZE = REGISTRY.histogram(
    "cadenza.commit.size",
    "{change}",
    "Changes in one bulk write of the group commit.",
    bounds=COUNTS,
)
GROUP_SECONDS = REGISTRY.histogram(
    "cadenza.commit.duration", "s", "How long such a write took until its fate was known."
)

# --- Kafka ---
EVENTS_PUBLISHED = REGISTRY.counter(
    "cadenza.events.published", "{event}", "Acknowledged by every replica in sync.", "topic"
)
EVENTS_FAILED = REGISTRY.counter(
    "cadenza.events.unpublished",
    "{event}",
    "Attempts that failed; the event is sent again.",
    "topic",
)
CONSUMED = REGISTRY.counter(
    "cadenza.consumer.records", "{record}", "Records handed to the handler.", "group"
)
BATCHES = REGISTRY.histogram(
    "cadenza.consumer.batches", "s", "Batches, by how long handling took.", "group"
)
LAG = REGISTRY.gauge(
    "cadenza.consumer.lag", "{record}", "On this member's partitions and not handled yet.", "group"
)
PAUSED = REGISTRY.gauge(
    "cadenza.consumer.paused",
    "1",
    "1 while it stands still at a message; see dead letters.",
    "group",
)
WAITING = REGISTRY.gauge(
    "cadenza.consumer.waiting", "1", "1 while something that it needs is away.", "group"
)
DEAD_LETTERS = REGISTRY.counter(
    "cadenza.dead_letters", "{letter}", "Messages that could not be handled.", "topic", "reason"
)

# --- the process ---
READY = REGISTRY.gauge(
    "cadenza.ready", "1", "1 when this part is well; /health/ready says why it is not.", "part"
)
MEMORY = REGISTRY.gauge("cadenza.process.memory", "By", "Resident memory of the service's process.")
CPU = REGISTRY.counter("cadenza.process.cpu", "s", "Processor time of the service's process.")
OPEN_FILES = REGISTRY.gauge("cadenza.process.files", "{file}", "Open file descriptors.")
