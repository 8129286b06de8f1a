"""librdkafka through confluent-kafka: librdkafka.py HOST:PORT"""

import sys

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

import scenario
from scenario import RECORDS, SHARED_PARTITIONS, SHARED_RECORDS, equal, wait_until

SERVER = sys.argv[1]
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
SHARED = "librdkafka-shared"


def done(futures):
    """The results of an admin call, by topic, group or partition."""
    return {one: future.result(30) for one, future in futures.items()}


def refused(futures, code):
    """Whether each of an admin call's answers is this error."""
    for future in futures.values():
        try:
            future.result(30)
            return False
        except KafkaException as error:
            if error.args[0].code() != code:
                raise
    return True


def create(admin):
    topics = [NewTopic(f"librdkafka-{codec}", 1, 1) for codec in CODECS]
    topics.append(NewTopic(SHARED, 2, 1, config={"retention.ms": "86400000"}))
    topics.append(NewTopic("librdkafka-gone", 3, 1))
    done(admin.create_topics(topics))
    again = admin.create_topics([NewTopic(SHARED, 1, 1)])
    equal("a topic twice", refused(again, KafkaError.TOPIC_ALREADY_EXISTS), True)
    check = admin.create_topics([NewTopic("librdkafka-checked", 1, 1)], validate_only=True)
    done(check)
    done(admin.create_partitions([NewPartitions(SHARED, SHARED_PARTITIONS)]))
    listed = admin.list_topics(timeout=30).topics
    wanted = {topic.topic for topic in topics}
    equal("topics", {name for name in listed if name.startswith("librdkafka-")}, wanted)
    equal("partitions", sorted(listed[SHARED].partitions), list(range(SHARED_PARTITIONS)))


def configure(admin):
    resource = ConfigResource(ResourceType.TOPIC, SHARED)

    def setting(name):
        described = done(admin.describe_configs([ConfigResource(ResourceType.TOPIC, SHARED)]))
        entry = described[resource][name]
        return entry.value, entry.is_default

    equal("a setting of creation", setting("retention.ms"), ("86400000", False))
    equal("a default", setting("cleanup.policy"), ("delete", True))
    change = ConfigResource(ResourceType.TOPIC, SHARED)
    entries = [("retention.ms", "43200000"), ("max.message.bytes", "2000000")]
    for name, text in entries:
        change.add_incremental_config(
            ConfigEntry(name, text, incremental_operation=AlterConfigOpType.SET)
        )
    done(admin.incremental_alter_configs([change]))
    equal("a setting altered", setting("retention.ms"), ("43200000", False))
    change = ConfigResource(ResourceType.TOPIC, SHARED)
    change.add_incremental_config(
        ConfigEntry("max.message.bytes", None, incremental_operation=AlterConfigOpType.DELETE)
    )
    done(admin.incremental_alter_configs([change]))
    equal("a setting removed", setting("max.message.bytes")[1], True)
    wrong = ConfigResource(ResourceType.TOPIC, SHARED)
    wrong.add_incremental_config(
        ConfigEntry("retention.ms", "soon", incremental_operation=AlterConfigOpType.SET)
    )
    refusal = admin.incremental_alter_configs([wrong])
    equal("a wrong setting", refused(refusal, KafkaError.INVALID_CONFIG), True)


def produce(codec):
    topic, acks = f"librdkafka-{codec}", []

    def acknowledged(error, message):
        if error is not None:
            sys.exit(f"{codec}: {error}")
        acks.append((message.offset(), message.key()))

    producer = Producer(
        {
            "bootstrap.servers": SERVER,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": codec,
            "linger.ms": 5,
        }
    )
    for number in range(RECORDS):
        producer.produce(
            topic,
            scenario.value(codec, number),
            scenario.key(number),
            partition=0,
            headers=scenario.headers(number),
            timestamp=scenario.timestamp(number),
            on_delivery=acknowledged,
        )
    equal(f"{codec}: left after the flush", producer.flush(30), 0)
    wanted = [(number, scenario.key(number)) for number in range(RECORDS)]
    equal(f"{codec}: acknowledged", acks == wanted, True)


def consumer(group, **more):
    settings = {
        "bootstrap.servers": SERVER,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "heartbeat.interval.ms": 200,
    }
    return Consumer({**settings, **more})


def read(reader, count, seconds=30):
    messages = []

    def is_enough():
        for message in reader.consume(count - len(messages), 0.5):
            if message.error() is not None:
                sys.exit(f"consumer: {message.error()}")
            messages.append(message)
        return count <= len(messages)

    wait_until(f"{count} records", is_enough, seconds)
    return messages


def read_again(codec):
    reader = consumer("librdkafka-unused")
    topic = f"librdkafka-{codec}"
    reader.assign([TopicPartition(topic, 0, 0)])
    found = [
        (m.offset(), m.timestamp()[1], m.key(), m.value(), m.headers())
        for m in read(reader, RECORDS)
    ]
    wanted = [
        (n, scenario.timestamp(n), scenario.key(n), scenario.value(codec, n), scenario.headers(n))
        for n in range(RECORDS)
    ]
    equal(f"{codec}: read again", found == wanted, True)
    if codec == "zstd":
        at = [TopicPartition(topic, 0, scenario.timestamp(150))]
        found = reader.offsets_for_times(at, 30)
        equal("the offset of a time", found[0].offset, 150)
        reader.seek(found[0])
        equal("after the seek", read(reader, 1)[0].value(), scenario.value(codec, 150))
        equal("watermarks", reader.get_watermark_offsets(at[0], 30), (0, RECORDS))
    reader.close()


def produce_shared(first, end):
    producer = Producer({"bootstrap.servers": SERVER})
    for number in range(first, end):
        partition = number % SHARED_PARTITIONS
        producer.produce(SHARED, b"%d" % number, partition=partition)
    equal("left after the flush", producer.flush(30), 0)


def share(strategy):
    """Two members share four partitions; one leaves; a third goes on where they were."""
    group = f"librdkafka-{strategy}"
    one = consumer(group, **{"partition.assignment.strategy": strategy})
    two = consumer(group, **{"partition.assignment.strategy": strategy})
    each, numbers = SHARED_RECORDS // SHARED_PARTITIONS, []

    def poll():
        for member in (one, two):
            for message in member.consume(100, 0.05):
                if message.error() is None:
                    numbers.append(int(message.value()))

    def is_shared():
        poll()
        sizes = [len(member.assignment()) for member in (one, two)]
        return sizes == [SHARED_PARTITIONS // 2] * 2

    def is_read():
        poll()
        positions = [p.offset for m in (one, two) for p in m.position(m.assignment())]
        return positions == [each] * SHARED_PARTITIONS

    one.subscribe([SHARED])
    two.subscribe([SHARED])
    wait_until(f"{strategy}: both have a half", is_shared)
    wait_until(f"{strategy}: all is read", is_read)
    halves = [{(p.topic, p.partition) for p in m.assignment()} for m in (one, two)]
    equal(f"{strategy}: nobody shares a partition", halves[0] & halves[1], set())
    equal(f"{strategy}: what was read", set(numbers), set(range(SHARED_RECORDS)))
    one.commit(asynchronous=False)
    two.commit(asynchronous=False)
    two.close()
    everything = [TopicPartition(SHARED, p) for p in range(SHARED_PARTITIONS)]
    committed = [p.offset for p in one.committed(everything, 30)]
    equal(f"{strategy}: committed", committed, [each] * SHARED_PARTITIONS)
    has_all = lambda: one.consume(1, 0.05) is not None and len(one.assignment()) == len(everything)
    wait_until(f"{strategy}: the other's half came back", has_all)
    one.close()


def resume():
    """A later member reads what came after the commit, and nothing else."""
    produce_shared(SHARED_RECORDS, SHARED_RECORDS + 8)
    late = consumer("librdkafka-range")
    late.subscribe([SHARED])
    numbers = sorted(int(message.value()) for message in read(late, 8))
    equal("what came later", numbers, list(range(SHARED_RECORDS, SHARED_RECORDS + 8)))
    late.commit(asynchronous=False)
    late.close()


def groups(admin):
    listed = admin.list_consumer_groups(request_timeout=30).result(30)
    names = {group.group_id for group in listed.valid}
    equal("groups", {"librdkafka-range", "librdkafka-cooperative-sticky"} <= names, True)
    described = done(admin.describe_consumer_groups(["librdkafka-range"]))["librdkafka-range"]
    equal("a group without members", (described.state.name, len(described.members)), ("EMPTY", 0))
    moved = [TopicPartition(SHARED, 0, 7)]
    request = ConsumerGroupTopicPartitions("librdkafka-range", moved)
    done(admin.alter_consumer_group_offsets([request]))
    request = ConsumerGroupTopicPartitions("librdkafka-range")
    found = done(admin.list_consumer_group_offsets([request]))["librdkafka-range"]
    offsets = {p.partition: p.offset for p in found.topic_partitions}
    equal("offsets of a group", offsets, {0: 7, 1: 102, 2: 102, 3: 102})
    done(admin.delete_consumer_groups(["librdkafka-cooperative-sticky"]))


def trim(admin):
    partition = TopicPartition("librdkafka-none", 0, 100)
    deleted = list(done(admin.delete_records([partition])).values())
    equal("the new beginning", deleted[0].low_watermark, 100)
    where = TopicPartition("librdkafka-none", 0)
    first = done(admin.list_offsets({where: OffsetSpec.earliest()}))
    last = done(admin.list_offsets({where: OffsetSpec.latest()}))
    found = [next(iter(one.values())).offset for one in (first, last)]
    equal("beginning and end", found, [100, RECORDS])
    done(admin.delete_topics(["librdkafka-gone"]))
    absent = admin.delete_topics(["librdkafka-gone"])
    code = KafkaError.UNKNOWN_TOPIC_OR_PART
    equal("a topic deleted twice", refused(absent, code), True)
    cluster = admin.describe_cluster().result(30)
    equal("brokers", len(cluster.nodes), 1)


def main():
    admin = AdminClient({"bootstrap.servers": SERVER})
    create(admin)
    configure(admin)
    for codec in CODECS:
        produce(codec)
        read_again(codec)
    produce_shared(0, SHARED_RECORDS)
    share("cooperative-sticky")
    share("range")
    resume()
    groups(admin)
    trim(admin)


main()
