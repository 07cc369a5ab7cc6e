// Verifies webhook requests with the library of Standard Webhooks. Reads one request a line on standard input,
// {"headers": {…}, "body": "…"}; writes the ids of the events that it verified, one a line.
"use strict";

const { Webhook } = require("standardwebhooks");

const webhook = new Webhook(process.argv[2]);
let text = "";
process.stdin.setEncoding("utf8");
process.stdin.on("data", (chunk) => (text += chunk));
process.stdin.on("end", () => {
  for (const line of text.split("\n").filter(Boolean)) {
    const { headers, body } = JSON.parse(line);
    const event = webhook.verify(body, headers);
    console.log(event.id);
  }
});
