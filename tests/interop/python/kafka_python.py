"""kafka-python: kafka_python.py HOST:PORT"""

import sys
import threading

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource
from kafka.errors import InvalidConfigurationError, NoError, TopicAlreadyExistsError
from kafka.protocol.consumer import OffsetSpec
from kafka.structs import OffsetAndMetadata

import scenario
from scenario import RECORDS, SHARED_PARTITIONS, SHARED_RECORDS, equal, wait_until

SERVER = sys.argv[1]
# Each way to be acknowledged, and each codec.
WAYS = [("none", 0), ("gzip", 1), ("snappy", "all"), ("lz4", "all"), ("zstd", "all")]
SHARED = "kafka-python-shared"
GROUP = "kafka-python"
# A poll that ends between the answers to JoinGroup and SyncGroup makes it forget its assignment.
PATIENCE_MS = 10_000


def create(admin):
    topics = {f"kafka-python-{codec}": {"num_partitions": 1} for codec, _ in WAYS}
    topics[SHARED] = {"num_partitions": 2, "configs": {"retention.ms": "86400000"}}
    topics["kafka-python-gone"] = {"num_partitions": 3, "replication_factor": 1}
    admin.create_topics(topics)
    try:
        admin.create_topics({SHARED: {"num_partitions": 1}})
        sys.exit("a topic was created twice")
    except TopicAlreadyExistsError:
        pass
    admin.create_partitions({SHARED: SHARED_PARTITIONS})
    listed = {name for name in admin.list_topics() if name.startswith("kafka-python-")}
    equal("topics", listed, set(topics))
    (described,) = admin.describe_topics([SHARED])
    found = sorted(partition["partition_index"] for partition in described["partitions"])
    equal("partitions", found, list(range(SHARED_PARTITIONS)))


def configure(admin):
    def setting(name):
        found = admin.describe_configs([ConfigResource("topic", SHARED)], config_filter="all")
        return found["topic"][SHARED][name]["value"]

    equal("a setting of creation", setting("retention.ms"), "86400000")
    for incremental, text in [(True, "43200000"), (False, "21600000")]:
        change = ConfigResource("topic", SHARED, {"retention.ms": text})
        admin.alter_configs([change], incremental=incremental)
        equal("a setting altered", setting("retention.ms"), text)
    wrong = ConfigResource("topic", SHARED, {"retention.ms": "soon"})
    try:
        answer = admin.alter_configs([wrong])
        equal("a wrong setting", "InvalidConfig" in str(answer), True)
    except InvalidConfigurationError:
        pass


def produce(codec, acks):
    topic = f"kafka-python-{codec}"
    producer = KafkaProducer(
        bootstrap_servers=SERVER,
        acks=acks,
        enable_idempotence=acks == "all",
        compression_type=None if codec == "none" else codec,
        linger_ms=5,
    )
    futures = [
        producer.send(
            topic,
            key=scenario.key(number),
            value=scenario.value(codec, number),
            headers=scenario.headers(number),
            timestamp_ms=scenario.timestamp(number),
            partition=0,
        )
        for number in range(RECORDS)
    ]
    producer.flush(30)
    offsets = [future.get(30).offset for future in futures]
    # Nobody tells the offsets where nothing is acknowledged.
    if acks != 0:
        equal(f"{codec}: acknowledged", offsets == list(range(RECORDS)), True)
    producer.close()


def read(consumer, count):
    records = []

    def is_enough():
        for batch in consumer.poll(PATIENCE_MS).values():
            records.extend(batch)
        return count <= len(records)

    wait_until(f"{count} records", is_enough)
    return records


def read_again(codec):
    consumer = KafkaConsumer(bootstrap_servers=SERVER, auto_offset_reset="earliest")
    partition = TopicPartition(f"kafka-python-{codec}", 0)
    consumer.assign([partition])
    found = [
        (r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in read(consumer, RECORDS)
    ]
    wanted = [
        (n, scenario.timestamp(n), scenario.key(n), scenario.value(codec, n), scenario.headers(n))
        for n in range(RECORDS)
    ]
    equal(f"{codec}: read again", found == wanted, True)
    if codec == "zstd":
        found = consumer.offsets_for_times({partition: scenario.timestamp(150)})[partition]
        equal("the offset of a time", found.offset, 150)
        consumer.seek(partition, found.offset)
        equal("after the seek", read(consumer, 1)[0].value, scenario.value(codec, 150))
        equal("the beginning", consumer.beginning_offsets([partition]), {partition: 0})
        equal("the end", consumer.end_offsets([partition]), {partition: RECORDS})
    consumer.close()


def produce_shared(first, end):
    producer = KafkaProducer(bootstrap_servers=SERVER)
    for number in range(first, end):
        producer.send(SHARED, b"%d" % number, partition=number % SHARED_PARTITIONS)
    producer.flush(30)
    producer.close()


def member():
    return KafkaConsumer(
        SHARED,
        bootstrap_servers=SERVER,
        group_id=GROUP,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        heartbeat_interval_ms=200,
    )


def share(admin):
    """Two members share four partitions and commit; a later one goes on there."""
    members = [member(), member()]
    numbers = set()

    def work(consumer):
        """Reads until the last record of both partitions."""
        ends = 0
        while ends < SHARED_PARTITIONS // 2:
            for records in consumer.poll(PATIENCE_MS).values():
                found = [int(record.value) for record in records]
                numbers.update(found)
                ends += sum(SHARED_RECORDS <= number for number in found)
        consumer.commit()
        consumer.close()

    threads = [threading.Thread(target=work, args=[one], daemon=True) for one in members]
    for thread in threads:
        thread.start()
    halves = lambda: [len(m.assignment()) for m in members] == [SHARED_PARTITIONS // 2] * 2
    wait_until("both have a half", halves)
    one, two = [m.assignment() for m in members]
    equal("nobody shares a partition", one & two, set())
    described = admin.describe_groups([GROUP])[GROUP]
    state = (described["group_state"], len(described["members"]))
    equal("the group", state, ("Stable", 2))
    produce_shared(0, SHARED_RECORDS + SHARED_PARTITIONS)
    wait_until("all is read", lambda: not any(thread.is_alive() for thread in threads))
    equal("what was read", numbers, set(range(SHARED_RECORDS + SHARED_PARTITIONS)))
    later = range(SHARED_RECORDS + SHARED_PARTITIONS, SHARED_RECORDS + 2 * SHARED_PARTITIONS)
    produce_shared(later.start, later.stop)
    late = member()
    found = sorted(int(record.value) for record in read(late, len(later)))
    equal("what came later", found, list(later))
    late.commit()
    late.close()


def groups(admin):
    names = [group["group_id"] for group in admin.list_groups()]
    equal("groups", GROUP in names, True)
    moved = {TopicPartition(SHARED, 0): OffsetAndMetadata(7, "moved", -1)}
    altered = admin.alter_group_offsets(GROUP, moved)
    equal("offsets altered", list(altered.values()), [NoError])
    found = {p.partition: o.offset for p, o in admin.list_group_offsets(GROUP)[GROUP].items()}
    equal("offsets of a group", found, {0: 7, 1: 102, 2: 102, 3: 102})


def trim(admin):
    partition = TopicPartition("kafka-python-none", 0)
    deleted = admin.delete_records({partition: 100})
    equal("the new beginning", deleted[partition]["low_watermark"], 100)
    spec = {partition: OffsetSpec.EARLIEST}
    found = admin.list_partition_offsets(spec)[partition].offset
    equal("the beginning", found, 100)
    admin.delete_topics(["kafka-python-gone"])
    equal("brokers", len(admin.describe_cluster()["brokers"]), 1)


def main():
    admin = KafkaAdminClient(bootstrap_servers=SERVER)
    create(admin)
    configure(admin)
    for codec, acks in WAYS:
        produce(codec, acks)
        read_again(codec)
    share(admin)
    groups(admin)
    trim(admin)
    admin.close()


main()
