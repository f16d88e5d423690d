// A producer in another language, straight to Kafka.
import { Kafka, Partitioners, logLevel } from "kafkajs";

const [broker, topic] = process.argv.slice(2);
const kafka = new Kafka({ brokers: [broker], logLevel: logLevel.ERROR });
const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
await producer.connect();
const event = { event_id: "node-1", user_id: "cem", type: "purchase", ts: Date.now(), properties: { amount: 7 } };
await producer.send({ topic, acks: -1, messages: [{ key: event.user_id, value: JSON.stringify(event) }] });
await producer.disconnect();
