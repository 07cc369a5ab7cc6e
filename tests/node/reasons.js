// What MQTT.js shows of the words in which something is refused: given an address, a token and what the token covers not,
// prints each sentence as a program would get at it.
"use strict";

const mqtt = require("mqtt");

const [url, token, elsewhere] = process.argv.slice(2);
const options = { protocolVersion: 5, reconnectPeriod: 0, connectTimeout: 10_000, username: "page" };
const said = (packet) => packet?.properties?.reasonString;

async function refusedLogin() {
  const client = mqtt.connect(url, { ...options, password: `${token}x` });
  // Its error has the code alone.
  const connack = new Promise((resolve) => client.on("packetreceive", resolve));
  const error = new Promise((resolve) => client.on("error", resolve));
  return { code: (await error).code, said: said(await connack) };
}

async function main() {
  const seen = { login: await refusedLogin() };
  const client = await mqtt.connectAsync(url, { ...options, password: token });
  seen.filter = await new Promise((resolve) => {
    client.subscribe(elsewhere, (_, __, packet) => resolve(said(packet)));
  });
  seen.publish = await new Promise((resolve) => {
    client.publish(elsewhere, "x", { qos: 1 }, (_, packet) => resolve(said(packet)));
  });
  const goodbye = new Promise((resolve) => client.on("disconnect", resolve));
  client.on("error", () => {});
  client.publish(elsewhere, "x".repeat(300 * 1024));
  seen.goodbye = said(await goodbye);
  console.log(JSON.stringify(seen));
  client.end(true);
}

main();
