// kafkajs: kafkajs.js HOST:PORT, with NODE_PATH at the modules.
//
// The Rust side (tests/interop/libraries.rs) knows the same records and looks at them in its own way.

const assert = require("node:assert").strict;
const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = require("kafkajs");
CompressionCodecs[CompressionTypes.Snappy] = require("kafkajs-snappy");

const RECORDS = 300;
const SHARED = "kafkajs-shared";
const SHARED_PARTITIONS = 4;
const SHARED_RECORDS = 400;
const GROUP = "kafkajs";
const FIRST_TIMESTAMP = 1700000000000;
const CODECS = { none: "None", gzip: "GZIP", snappy: "Snappy" };
// Or it notices a rebalance, and its own end, only after the five seconds of an empty fetch.
const IMPATIENT = { heartbeatInterval: 200, maxWaitTimeInMs: 200 };

const kafka = new Kafka({ clientId: "kafkajs", brokers: [process.argv[2]], logLevel: logLevel.NOTHING });
const admin = kafka.admin();

const value = (codec, number) => `${codec} line ${number} ${"text ".repeat(10)}`;

function equal(what, found, wanted) {
  assert.deepEqual(found, wanted, what);
  console.log(`${what}: as it should be`);
}

async function waitUntil(what, isSo) {
  const deadline = Date.now() + 30000;
  while (!(await isSo())) {
    assert(Date.now() < deadline, `${what}: not in 30 s`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function create() {
  const topics = Object.keys(CODECS).map((codec) => ({ topic: `kafkajs-${codec}`, numPartitions: 1 }));
  const configEntries = [{ name: "retention.ms", value: "86400000" }];
  topics.push({ topic: SHARED, numPartitions: 2, configEntries });
  topics.push({ topic: "kafkajs-gone", numPartitions: 3 });
  equal("created", await admin.createTopics({ topics }), true);
  equal("a topic twice", await admin.createTopics({ topics: topics.slice(-1) }), false);
  await admin.createPartitions({ topicPartitions: [{ topic: SHARED, count: SHARED_PARTITIONS }] });
  const listed = (await admin.listTopics()).filter((name) => name.startsWith("kafkajs-"));
  equal("topics", listed.sort(), topics.map((topic) => topic.topic).sort());
  const metadata = await admin.fetchTopicMetadata({ topics: [SHARED] });
  equal("partitions", metadata.topics[0].partitions.length, SHARED_PARTITIONS);
}

async function configure() {
  const type = ConfigResourceTypes.TOPIC;
  const setting = async () => {
    const resources = [{ type, name: SHARED, configNames: ["retention.ms"] }];
    const described = await admin.describeConfigs({ resources, includeSynonyms: false });
    return described.resources[0].configEntries.map((entry) => entry.configValue);
  };
  const alter = (text) => {
    const configEntries = [{ name: "retention.ms", value: text }];
    return admin.alterConfigs({ resources: [{ type, name: SHARED, configEntries }] });
  };
  equal("a setting of creation", await setting(), ["86400000"]);
  await alter("43200000");
  equal("a setting altered", await setting(), ["43200000"]);
  await assert.rejects(alter("soon"), { type: "INVALID_CONFIG" });
}

async function produce(codec) {
  // It takes no more than one request at a time where it must not write twice.
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  const numbers = [...Array(RECORDS).keys()];
  const messages = numbers.map((number) => ({
    partition: 0,
    key: `key-${number % 7}`,
    value: value(codec, number),
    headers: { unit: "C", number: `${number}` },
    timestamp: `${FIRST_TIMESTAMP + number}`,
  }));
  const compression = CompressionTypes[CODECS[codec]];
  for (let first = 0; first < RECORDS; first += 100) {
    const some = messages.slice(first, first + 100);
    const acks = -1;
    const answers = await producer.send({ topic: `kafkajs-${codec}`, acks, compression, messages: some });
    equal(`${codec}: where they went`, answers.map((answer) => answer.baseOffset), [`${first}`]);
  }
  await producer.disconnect();
}

async function readAgain() {
  const consumer = kafka.consumer({ groupId: "kafkajs-all", ...IMPATIENT });
  const found = {};
  await consumer.connect();
  await consumer.subscribe({ topics: Object.keys(CODECS).map((codec) => `kafkajs-${codec}`), fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ topic, message }) => {
      const codec = topic.slice("kafkajs-".length);
      const headers = Object.entries(message.headers).map(([name, text]) => [name, text.toString()]);
      const { offset, timestamp, key } = message;
      (found[codec] ||= []).push([offset, timestamp, key.toString(), message.value.toString(), headers]);
    },
  });
  const isRead = () => Object.keys(CODECS).every((codec) => (found[codec] || []).length >= RECORDS);
  await waitUntil("all topics", isRead);
  for (const codec of Object.keys(CODECS)) {
    const wanted = [...Array(RECORDS).keys()].map((n) => {
      const headers = [["unit", "C"], ["number", `${n}`]];
      return [`${n}`, `${FIRST_TIMESTAMP + n}`, `key-${n % 7}`, value(codec, n), headers];
    });
    equal(`${codec}: read again`, found[codec], wanted);
  }
  // Back to a time.
  const [at] = await admin.fetchTopicOffsetsByTimestamp("kafkajs-none", FIRST_TIMESTAMP + 250);
  equal("the offset of a time", at.offset, "250");
  consumer.seek({ topic: "kafkajs-none", partition: 0, offset: at.offset });
  await waitUntil("after the seek", () => found.none.length === RECORDS + 50);
  equal("after the seek", found.none[RECORDS][3], value("none", 250));
  await consumer.disconnect();
}

async function member(numbers) {
  const consumer = kafka.consumer({ groupId: GROUP, ...IMPATIENT });
  const one = { consumer, partitions: [] };
  consumer.on(consumer.events.GROUP_JOIN, (event) => {
    one.partitions = event.payload.memberAssignment[SHARED] || [];
  });
  await consumer.connect();
  await consumer.subscribe({ topics: [SHARED], fromBeginning: true });
  await consumer.run({
    autoCommitInterval: 100,
    eachMessage: async ({ message }) => numbers.push(Number(message.value.toString())),
  });
  return one;
}

async function produceShared(first, end) {
  const producer = kafka.producer();
  await producer.connect();
  const messages = [];
  for (let n = first; n < end; n++) messages.push({ partition: n % SHARED_PARTITIONS, value: `${n}` });
  await producer.send({ topic: SHARED, messages });
  await producer.disconnect();
}

const committed = async () => {
  const [topic] = await admin.fetchOffsets({ groupId: GROUP, topics: [SHARED] });
  return topic.partitions.sort((a, b) => a.partition - b.partition).map((one) => one.offset);
};

// Two members share four partitions; they go, and a later one goes on where they were.
async function share() {
  await produceShared(0, SHARED_RECORDS);
  const numbers = [];
  const one = await member(numbers);
  const two = await member(numbers);
  const half = SHARED_PARTITIONS / 2;
  await waitUntil("both have a half", () => [one, two].every((m) => m.partitions.length === half));
  const all = [...one.partitions, ...two.partitions].sort();
  equal("nobody shares a partition", all, [...Array(SHARED_PARTITIONS).keys()]);
  const described = (await admin.describeGroups([GROUP])).groups[0];
  equal("the group", [described.state, described.members.length], ["Stable", 2]);
  const each = `${SHARED_RECORDS / SHARED_PARTITIONS}`;
  await waitUntil("all is committed", async () => (await committed()).every((offset) => offset === each));
  equal("what was read", [...new Set(numbers)].sort((a, b) => a - b), [...Array(SHARED_RECORDS).keys()]);
  await one.consumer.disconnect();
  await two.consumer.disconnect();
  await produceShared(SHARED_RECORDS, SHARED_RECORDS + 8);
  const later = [];
  const late = await member(later);
  await waitUntil("what came later", () => later.length >= 8);
  equal("what came later", later.sort((a, b) => a - b), [...Array(8).keys()].map((n) => SHARED_RECORDS + n));
  await late.consumer.disconnect();
  equal("committed", await committed(), Array(SHARED_PARTITIONS).fill("102"));
}

async function groups() {
  const listed = (await admin.listGroups()).groups.map((group) => group.groupId);
  equal("groups", ["kafkajs", "kafkajs-all"].every((name) => listed.includes(name)), true);
  await admin.setOffsets({ groupId: GROUP, topic: SHARED, partitions: [{ partition: 0, offset: "7" }] });
  equal("offsets of a group", await committed(), ["7", "102", "102", "102"]);
  const [deleted] = await admin.deleteGroups(["kafkajs-all"]);
  equal("a group deleted", deleted.errorCode || 0, 0);
}

async function trim() {
  const topic = "kafkajs-none";
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: "100" }] });
  const [offsets] = await admin.fetchTopicOffsets(topic);
  equal("beginning and end", [offsets.low, offsets.high], ["100", `${RECORDS}`]);
  await admin.deleteTopics({ topics: ["kafkajs-gone"] });
  equal("brokers", (await admin.describeCluster()).brokers.length, 1);
}

async function main() {
  await admin.connect();
  await create();
  await configure();
  for (const codec of Object.keys(CODECS)) await produce(codec);
  await readAgain();
  await share();
  await groups();
  await trim();
  await admin.disconnect();
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
