// Sarama: sarama HOST:PORT
//
// The Rust side (tests/interop/libraries.rs) knows the same records and looks at them in its own
// way. The version is the newest whose go.mod asks for no more than Debian 12's Go (1.19).
package main

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

const (
	records          = 300
	shared           = "sarama-shared"
	sharedPartitions = 4
	sharedRecords    = 400
	group            = "sarama"
	firstTimestamp   = 1_700_000_000_000
)

var codecs = []sarama.CompressionCodec{
	sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy,
	sarama.CompressionLZ4, sarama.CompressionZSTD,
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func equal(what string, found, wanted interface{}) {
	if !reflect.DeepEqual(found, wanted) {
		fmt.Fprintf(os.Stderr, "%s: found %v, wanted %v\n", what, found, wanted)
		os.Exit(1)
	}
	fmt.Printf("%s: as it should be\n", what)
}

func waitUntil(what string, isSo func() bool) {
	deadline := time.Now().Add(30 * time.Second)
	for !isSo() {
		if time.Now().After(deadline) {
			fmt.Fprintf(os.Stderr, "%s: not in 30 s\n", what)
			os.Exit(1)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func settings() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V3_6_0_0
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Flush.Frequency = 5 * time.Millisecond
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Heartbeat.Interval = 200 * time.Millisecond
	config.Consumer.Group.Rebalance.Retry.Backoff = 100 * time.Millisecond
	config.Consumer.Retry.Backoff = 100 * time.Millisecond
	config.Consumer.MaxWaitTime = 100 * time.Millisecond
	return config
}

func create(admin sarama.ClusterAdmin) {
	topics := map[string]*sarama.TopicDetail{}
	for _, codec := range codecs {
		topics["sarama-"+codec.String()] = &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}
	}
	day := "86400000"
	configs := map[string]*string{"retention.ms": &day}
	topics[shared] = &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1, ConfigEntries: configs}
	topics["sarama-gone"] = &sarama.TopicDetail{NumPartitions: 3, ReplicationFactor: 1}
	for name, detail := range topics {
		must(admin.CreateTopic(name, detail, false))
	}
	twice, is := admin.CreateTopic(shared, topics[shared], false).(*sarama.TopicError)
	equal("a topic twice", is && twice.Err == sarama.ErrTopicAlreadyExists, true)
	must(admin.CreatePartitions(shared, sharedPartitions, nil, false))
	listed, err := admin.ListTopics()
	must(err)
	found := 0
	for name, detail := range listed {
		if strings.HasPrefix(name, "sarama-") {
			found++
		}
		if name == shared {
			equal("partitions", detail.NumPartitions, int32(sharedPartitions))
			equal("its setting", *detail.ConfigEntries["retention.ms"], day)
		}
	}
	equal("topics", found, len(topics))
}

func configure(admin sarama.ClusterAdmin) {
	setting := func() string {
		names := []string{"retention.ms"}
		resource := sarama.ConfigResource{Type: sarama.TopicResource, Name: shared, ConfigNames: names}
		entries, err := admin.DescribeConfig(resource)
		must(err)
		return entries[0].Value
	}
	equal("a setting of creation", setting(), "86400000")
	half, quarter, wrong := "43200000", "21600000", "soon"
	change := map[string]*string{"retention.ms": &half}
	must(admin.AlterConfig(sarama.TopicResource, shared, change, false))
	equal("a setting altered", setting(), half)
	alter := func(value *string) error {
		entry := sarama.IncrementalAlterConfigsEntry{
			Operation: sarama.IncrementalAlterConfigsOperationSet, Value: value,
		}
		change := map[string]sarama.IncrementalAlterConfigsEntry{"retention.ms": entry}
		return admin.IncrementalAlterConfig(sarama.TopicResource, shared, change, false)
	}
	must(alter(&quarter))
	equal("a setting altered alone", setting(), quarter)
	equal("a wrong setting", alter(&wrong) != nil, true)
}

func message(codec sarama.CompressionCodec, number int) *sarama.ProducerMessage {
	text := fmt.Sprintf("%s line %d %s", codec, number, strings.Repeat("text ", 10))
	return &sarama.ProducerMessage{
		Topic: "sarama-" + codec.String(),
		Key:   sarama.StringEncoder(fmt.Sprintf("key-%d", number%7)),
		Value: sarama.StringEncoder(text),
		Headers: []sarama.RecordHeader{
			{Key: []byte("unit"), Value: []byte("C")},
			{Key: []byte("number"), Value: []byte(fmt.Sprint(number))},
		},
		Timestamp: time.UnixMilli(firstTimestamp + int64(number)),
	}
}

// The synchronous producer, not idempotent, in batches and then one by one.
func produceSync(server string, codec sarama.CompressionCodec) {
	config := settings()
	config.Producer.Compression = codec
	producer, err := sarama.NewSyncProducer([]string{server}, config)
	must(err)
	batch := []*sarama.ProducerMessage{}
	for number := 0; number < records-3; number++ {
		batch = append(batch, message(codec, number))
	}
	must(producer.SendMessages(batch))
	equal(codec.String()+": acknowledged", batch[records-4].Offset, int64(records-4))
	for number := records - 3; number < records; number++ {
		_, offset, err := producer.SendMessage(message(codec, number))
		must(err)
		equal(codec.String()+": acknowledged alone", offset, int64(number))
	}
	must(producer.Close())
}

// The asynchronous producer, idempotent.
func produceAsync(server string, codec sarama.CompressionCodec) {
	config := settings()
	config.Producer.Compression = codec
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	producer, err := sarama.NewAsyncProducer([]string{server}, config)
	must(err)
	go func() {
		for number := 0; number < records; number++ {
			producer.Input() <- message(codec, number)
		}
		producer.AsyncClose()
	}()
	failed := []error{}
	done := make(chan bool)
	go func() {
		for failure := range producer.Errors() {
			failed = append(failed, failure)
		}
		done <- true
	}()
	offsets, wanted := []int64{}, []int64{}
	for success := range producer.Successes() {
		wanted = append(wanted, int64(len(offsets)))
		offsets = append(offsets, success.Offset)
	}
	<-done
	equal(codec.String()+": failed", failed, []error{})
	equal(codec.String()+": acknowledged", len(offsets), records)
	equal(codec.String()+": at their offsets", offsets, wanted)
}

func readAgain(client sarama.Client, codec sarama.CompressionCodec) {
	consumer, err := sarama.NewConsumerFromClient(client)
	must(err)
	topic := "sarama-" + codec.String()
	partition, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
	must(err)
	for number := 0; number < records; number++ {
		found, wanted := <-partition.Messages(), message(codec, number)
		key, _ := wanted.Key.Encode()
		value, _ := wanted.Value.Encode()
		headers := []sarama.RecordHeader{}
		for _, header := range found.Headers {
			headers = append(headers, *header)
		}
		is := found.Offset == int64(number) && string(found.Key) == string(key) &&
			string(found.Value) == string(value) && found.Timestamp.Equal(wanted.Timestamp) &&
			reflect.DeepEqual(headers, wanted.Headers)
		if !is {
			equal(topic, found, wanted)
		}
	}
	equal(topic+": the next offset", partition.HighWaterMarkOffset(), int64(records))
	must(partition.Close())
	offset, err := client.GetOffset(topic, 0, firstTimestamp+150)
	must(err)
	equal(topic+": the offset of a time", offset, int64(150))
	partition, err = consumer.ConsumePartition(topic, 0, offset)
	must(err)
	equal(topic+": after the seek", (<-partition.Messages()).Offset, offset)
	must(partition.Close())
	must(consumer.Close())
}

func produceShared(server string, first, end int) {
	producer, err := sarama.NewSyncProducer([]string{server}, settings())
	must(err)
	messages := []*sarama.ProducerMessage{}
	for number := first; number < end; number++ {
		value := sarama.StringEncoder(fmt.Sprint(number))
		message := &sarama.ProducerMessage{Topic: shared, Value: value}
		message.Partition = int32(number % sharedPartitions)
		messages = append(messages, message)
	}
	must(producer.SendMessages(messages))
	must(producer.Close())
}

// What one or more members have read.
type reader struct {
	sync.Mutex
	numbers map[string]bool
	claims  map[string]int
}

func (r *reader) Setup(session sarama.ConsumerGroupSession) error {
	r.Lock()
	defer r.Unlock()
	r.claims[session.MemberID()] = len(session.Claims()[shared])
	return nil
}

func (r *reader) Cleanup(session sarama.ConsumerGroupSession) error {
	r.Lock()
	defer r.Unlock()
	delete(r.claims, session.MemberID())
	session.Commit()
	return nil
}

func (r *reader) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		r.Lock()
		r.numbers[string(message.Value)] = true
		r.Unlock()
		session.MarkMessage(message, "")
	}
	return nil
}

func (r *reader) has(count int, claims []int) bool {
	r.Lock()
	defer r.Unlock()
	found := []int{}
	for _, claim := range r.claims {
		found = append(found, claim)
	}
	sort.Ints(found)
	return len(r.numbers) == count && reflect.DeepEqual(found, claims)
}

// Joins a group; the function that is returned leaves it.
func join(server string, strategy sarama.BalanceStrategy, reader *reader) func() {
	config := settings()
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
	member, err := sarama.NewConsumerGroup([]string{server}, group+"-"+strategy.Name(), config)
	must(err)
	context, cancel := context.WithCancel(context.Background())
	done := make(chan bool)
	go func() {
		for context.Err() == nil {
			must(member.Consume(context, []string{shared}, reader))
		}
		done <- true
	}()
	return func() {
		cancel()
		<-done
		must(member.Close())
	}
}

// Two members share four partitions; they leave, and a later one goes on where they were.
func share(server string, admin sarama.ClusterAdmin, strategy sarama.BalanceStrategy, count int) {
	name := group + "-" + strategy.Name()
	first := &reader{numbers: map[string]bool{}, claims: map[string]int{}}
	leaveOne := join(server, strategy, first)
	leaveTwo := join(server, strategy, first)
	waitUntil(name+": all is read", func() bool { return first.has(count, []int{2, 2}) })
	described, err := admin.DescribeConsumerGroups([]string{name})
	must(err)
	equal(name+": its state", described[0].State, "Stable")
	equal(name+": its members", len(described[0].Members), 2)
	leaveOne()
	leaveTwo()
	each := int64(count / sharedPartitions)
	equal(name+": committed", committed(admin, name), []int64{each, each, each, each})
	produceShared(server, count, count+8)
	late := &reader{numbers: map[string]bool{}, claims: map[string]int{}}
	leave := join(server, strategy, late)
	waitUntil(name+": what came later", func() bool { return late.has(8, []int{4}) })
	leave()
	for number := count; number < count+8; number++ {
		if !late.numbers[fmt.Sprint(number)] {
			equal(name+": what came later", late.numbers, number)
		}
	}
}

func committed(admin sarama.ClusterAdmin, name string) []int64 {
	fetched, err := admin.ListConsumerGroupOffsets(name, map[string][]int32{shared: {0, 1, 2, 3}})
	must(err)
	offsets := []int64{}
	for partition := int32(0); partition < sharedPartitions; partition++ {
		offsets = append(offsets, fetched.GetBlock(shared, partition).Offset)
	}
	return offsets
}

func groups(admin sarama.ClusterAdmin) {
	listed, err := admin.ListConsumerGroups()
	must(err)
	equal("a group", listed["sarama-sticky"], "consumer")
	must(admin.DeleteConsumerGroupOffset("sarama-range", shared, 0))
	equal("an offset deleted", committed(admin, "sarama-range")[0], int64(-1))
	must(admin.DeleteConsumerGroup("sarama-sticky"))
	listed, err = admin.ListConsumerGroups()
	must(err)
	_, is := listed["sarama-sticky"]
	equal("a group deleted", is, false)
}

func trim(client sarama.Client, admin sarama.ClusterAdmin) {
	must(admin.DeleteRecords("sarama-none", map[int32]int64{0: 100}))
	first, err := client.GetOffset("sarama-none", 0, sarama.OffsetOldest)
	must(err)
	last, err := client.GetOffset("sarama-none", 0, sarama.OffsetNewest)
	must(err)
	equal("beginning and end", []int64{first, last}, []int64{100, records})
	must(admin.DeleteTopic("sarama-gone"))
	brokers, _, err := admin.DescribeCluster()
	must(err)
	dirs, err := admin.DescribeLogDirs([]int32{brokers[0].ID()})
	must(err)
	equal("log dirs", len(dirs[brokers[0].ID()]), 1)
	equal("brokers", len(brokers), 1)
}

func main() {
	server := os.Args[1]
	client, err := sarama.NewClient([]string{server}, settings())
	must(err)
	admin, err := sarama.NewClusterAdmin([]string{server}, settings())
	must(err)
	create(admin)
	configure(admin)
	for number, codec := range codecs {
		if number%2 == 0 {
			produceSync(server, codec)
		} else {
			produceAsync(server, codec)
		}
		readAgain(client, codec)
	}
	produceShared(server, 0, sharedRecords)
	share(server, admin, sarama.NewBalanceStrategySticky(), sharedRecords)
	share(server, admin, sarama.NewBalanceStrategyRange(), sharedRecords+8)
	groups(admin)
	trim(client, admin)
	must(admin.Close())
	must(client.Close())
}
