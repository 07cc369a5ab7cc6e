// What a page or a program with MQTT.js does: defines `mqttScenario`, which connects, subscribes, publishes and is cut
// off, and gives what it saw. Runs in Node and in a browser alike.
"use strict";

async function mqttScenario(mqtt, url, version) {
  const name = `js-${version}-${Math.random().toString(16).slice(2)}`;
  const session = version === 5 ? { clean: false, properties: { sessionExpiryInterval: 600 } } : { clean: false };
  const options = { protocolVersion: version, reconnectPeriod: 200, connectTimeout: 10_000 };
  const open = (id, more = {}) =>
    mqtt.connectAsync(url, { ...options, clientId: `${name}-${id}`, ...more }, false);
  const came = (client) => {
    const messages = [];
    client.on("message", (topic, payload, packet) => {
      messages.push({ topic, payload: payload.toString(), qos: packet.qos, retained: packet.retain });
    });
    return messages;
  };
  const until = async (what, look) => {
    const deadline = Date.now() + 15_000;
    while (!look()) {
      if (Date.now() > deadline) throw new Error(`not in time: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const seen = {};

  const reader = await open("reader");
  const read = came(reader);
  await reader.subscribeAsync(`${name}/news/#`, { qos: 2 });
  const writer = await open("writer");
  for (const qos of [0, 1, 2]) {
    await writer.publishAsync(`${name}/news/${qos}`, `qos ${qos}`, { qos });
  }
  await until("three messages", () => read.length === 3);
  seen.messages = read.map(({ payload, qos }) => `${payload} at ${qos}`);

  await writer.publishAsync(`${name}/state`, "kept", { qos: 1, retain: true });
  const late = await open("late");
  const kept = came(late);
  await late.subscribeAsync(`${name}/state`, { qos: 1 });
  await until("the retained message", () => kept.length === 1);
  seen.retained = kept[0].retained && kept[0].payload === "kept";

  // Cut off without a word: its will is published, it comes back by itself, and its session has what it missed.
  const will = { topic: `${name}/news/will`, payload: "it went", qos: 1, retain: false };
  const traveller = await open("traveller", { ...session, will, reconnectPeriod: 0 });
  const luggage = came(traveller);
  await traveller.subscribeAsync(`${name}/post`, { qos: 1 });
  const cut = new Promise((resolve) => traveller.once("close", resolve));
  traveller.stream.destroy();
  await cut;
  await until("the will", () => read.some(({ payload }) => payload === "it went"));
  for (const number of [1, 2, 3]) {
    await writer.publishAsync(`${name}/post`, `letter ${number}`, { qos: 1 });
  }
  const back = new Promise((resolve) => traveller.once("connect", resolve));
  traveller.reconnect();
  seen.sessionPresent = (await back).sessionPresent;
  await until("three letters", () => luggage.length === 3);
  seen.letters = luggage.map(({ payload }) => payload);

  for (const client of [reader, writer, late, traveller]) {
    await client.endAsync();
  }
  return seen;
}

if (typeof require !== "undefined" && require.main === module) {
  const [url, version] = process.argv.slice(2);
  mqttScenario(require("mqtt"), url, Number(version)).then(
    (seen) => console.log(JSON.stringify(seen)),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
}
