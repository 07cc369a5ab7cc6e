// Runs in a page of the hub: sends events over HTTP at a rate, hears their states over MQTT, and gives for each the
// milliseconds from the answer 202 to the message, 0 where the message was first.
async ({ token, key, rate, seconds, place }) => {
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const url = `ws://${location.host}/mqtt`;
  const client = mqtt.connect(url, { protocolVersion: 5, username: 'bench', password: token, reconnectPeriod: 0 });
  await new Promise((resolve, reject) => client.once('connect', resolve).once('error', reject));
  const accepted = new Map();
  const heard = new Map();
  client.on('message', (topic) => heard.set(topic.split('/')[2], performance.now()));
  await client.subscribeAsync(`stock/${place}/+`, { qos: 1 });

  async function send(sku) {
    const event = {
      specversion: '1.0',
      id: `${place}-${sku}`,
      source: '/bench',
      type: 'stock.level.v1',
      time: new Date().toISOString(),
      datacontenttype: 'application/json',
      data: { sku, location: place, on_hand: 1 },
    };
    const answer = await fetch('/v1/events', {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents+json', authorization: `Bearer ${key}` },
      body: JSON.stringify(event),
    });
    if (answer.status === 202) accepted.set(sku, performance.now());
  }

  const sent = [];
  const began = performance.now();
  for (let gone = 0; gone < seconds * 1000; gone = performance.now() - began) {
    while (sent.length < (gone * rate) / 1000) sent.push(send(`S${sent.length}`));
    await pause(4);
  }
  await Promise.all(sent);
  await pause(3000);
  client.end(true);
  const took = [...accepted].filter(([sku]) => heard.has(sku)).map(([sku, at]) => Math.max(0, heard.get(sku) - at));
  return { sent: sent.length, accepted: accepted.size, took };
};
