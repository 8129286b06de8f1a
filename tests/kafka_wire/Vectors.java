// Prints vectors.txt: one message per API, version and direction, as Kafka's own classes write it.
//
//   java -cp "$(tests/interop/fetch)/*" tests/kafka_wire/Vectors.java > tests/kafka_wire/vectors.txt
//
// Every field has a value made of its name (the same rule as `plain` in schema.rs), every array one
// element. The bytes are written through the schema first, then read and written again by the
// generated class, which must agree.

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.Struct;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.internal.MemoryRecords;

public class Vectors {
    static final List<ApiKeys> APIS = List.of(
        ApiKeys.PRODUCE, ApiKeys.FETCH, ApiKeys.LIST_OFFSETS, ApiKeys.METADATA,
        ApiKeys.OFFSET_COMMIT, ApiKeys.OFFSET_FETCH, ApiKeys.FIND_COORDINATOR, ApiKeys.JOIN_GROUP,
        ApiKeys.HEARTBEAT, ApiKeys.LEAVE_GROUP, ApiKeys.SYNC_GROUP, ApiKeys.DESCRIBE_GROUPS,
        ApiKeys.LIST_GROUPS, ApiKeys.API_VERSIONS, ApiKeys.CREATE_TOPICS, ApiKeys.DELETE_TOPICS,
        ApiKeys.DELETE_RECORDS, ApiKeys.INIT_PRODUCER_ID, ApiKeys.OFFSET_FOR_LEADER_EPOCH,
        ApiKeys.DESCRIBE_CONFIGS, ApiKeys.ALTER_CONFIGS, ApiKeys.DESCRIBE_LOG_DIRS,
        ApiKeys.CREATE_PARTITIONS, ApiKeys.DELETE_GROUPS, ApiKeys.INCREMENTAL_ALTER_CONFIGS,
        ApiKeys.OFFSET_DELETE, ApiKeys.DESCRIBE_CLUSTER, ApiKeys.DESCRIBE_PRODUCERS,
        ApiKeys.CONSUMER_GROUP_HEARTBEAT, ApiKeys.CONSUMER_GROUP_DESCRIBE,
        ApiKeys.DESCRIBE_TOPIC_PARTITIONS, ApiKeys.ELECT_LEADERS,
        ApiKeys.ALTER_PARTITION_REASSIGNMENTS, ApiKeys.LIST_PARTITION_REASSIGNMENTS,
        ApiKeys.DESCRIBE_QUORUM, ApiKeys.UPDATE_FEATURES, ApiKeys.UNREGISTER_BROKER);

    public static void main(String[] args) {
        System.out.println("# Written by Vectors.java with Apache Kafka's classes; see there.");
        for (ApiKeys api : APIS) {
            for (short version = api.oldestVersion(); version <= api.latestVersion(true); version++) {
                print(api.messageType.newRequest(), api.messageType.requestSchemas()[version], version);
            }
            for (short version = api.oldestVersion(); version <= api.latestVersion(true); version++) {
                print(api.messageType.newResponse(), api.messageType.responseSchemas()[version], version);
            }
        }
    }

    static void print(ApiMessage message, Schema schema, short version) {
        Struct struct = fill(schema);
        ByteBuffer plain = ByteBuffer.allocate(schema.sizeOf(struct));
        schema.write(plain, struct);
        plain.flip();
        message.read(new ByteBufferAccessor(plain.duplicate()), version);
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer written = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(written), cache, version);
        written.flip();
        String name = message.getClass().getSimpleName().replaceFirst("Data$", "");
        if (!written.equals(plain)) {
            throw new IllegalStateException(name + " " + version + " disagrees with its schema");
        }
        System.out.println(name + " " + version + " " + HexFormat.of().formatHex(written.array()));
    }

    static Struct fill(Schema schema) {
        Struct struct = new Struct(schema);
        for (BoundField field : schema.fields()) {
            struct.set(field, value(field.def.type, field.def.name));
        }
        return struct;
    }

    static Object value(Type type, String name) {
        if (type instanceof TaggedFields tagged) {
            Map<Integer, Object> values = new TreeMap<>();
            for (Map.Entry<Integer, Field> field : tagged.fields().entrySet()) {
                values.put(field.getKey(), value(field.getValue().type, field.getValue().name));
            }
            return values;
        }
        if (type.isArray()) {
            List<Object> elements = new ArrayList<>();
            elements.add(value(type.arrayElementType().get(), name));
            return elements.toArray();
        }
        if (type instanceof Schema schema) {
            return fill(schema);
        }
        int number = 1 + sum(name) % 97;
        byte[] bytes = {(byte) number};
        String kind = type.toString().toLowerCase();
        if (kind.contains("string")) {
            return "s" + number;
        } else if (kind.contains("records")) {
            return MemoryRecords.readableRecords(ByteBuffer.wrap(bytes));
        } else if (kind.contains("bytes")) {
            return ByteBuffer.wrap(bytes);
        }
        return switch (kind) {
            case "boolean" -> true;
            case "int8" -> (byte) number;
            case "int16" -> (short) number;
            case "uint16" -> number;
            case "int32" -> number;
            case "int64" -> (long) number;
            case "uuid" -> new Uuid(number * 0x0101010101010101L, number * 0x0101010101010101L);
            default -> throw new IllegalStateException("no such type: " + kind);
        };
    }

    static int sum(String name) {
        int sum = 0;
        for (byte letter : name.getBytes()) {
            sum += letter;
        }
        return sum;
    }
}
