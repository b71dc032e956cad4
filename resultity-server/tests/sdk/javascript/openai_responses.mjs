// The Responses API through OpenAI's SDK: at once, streamed, and in the background; and its webhooks.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import OpenAI from "openai";
import { MODEL, OPTIONS, PROMPT, SYSTEM, waitUntil } from "./setting.mjs";

const client = new OpenAI(OPTIONS);
const QUESTION = { model: MODEL, instructions: SYSTEM, input: PROMPT, temperature: 0, max_output_tokens: 16 };
const hasEnded = (response) => !["queued", "in_progress"].includes(response.status);

test("an answer at once", async () => {
  const response = await client.responses.create(QUESTION);
  assert.equal(response.object, "response");
  assert.match(response.output_text, /Paris/);
  assert.ok(response.usage.output_tokens > 0);
  const items = await client.responses.inputItems.list(response.id);
  assert.equal(items.data[0].content[0].text, PROMPT);
});

test("a stream of typed events", async () => {
  let text = "";
  const kinds = [];
  for await (const event of await client.responses.create({ ...QUESTION, stream: true })) {
    kinds.push(event.type);
    if (event.type === "response.output_text.delta") text += event.delta;
  }
  assert.equal(kinds[0], "response.created");
  assert.match(text, /Paris/);
  const final = await client.responses.stream(QUESTION).finalResponse();
  assert.equal(final.output_text, text);
});

test("one in the background is polled for, cancelled and deleted", async () => {
  const begun = await client.responses.create({ ...QUESTION, background: true });
  const ended = await waitUntil(() => client.responses.retrieve(begun.id), hasEnded);
  assert.match(ended.output_text, /Paris/);
  await client.responses.delete(begun.id);
  await assert.rejects(client.responses.retrieve(begun.id), OpenAI.NotFoundError);

  const long = { ...QUESTION, input: "Tell me a long story.", max_output_tokens: 512, background: true };
  const cancelled = await client.responses.cancel((await client.responses.create(long)).id);
  assert.equal(cancelled.status, "cancelled");
});

test("its stream is taken up where it was left", async () => {
  const stream = await client.responses.create({ ...QUESTION, background: true, stream: true });
  let id, last;
  for await (const event of stream) {
    if (event.type === "response.created") id = event.response.id;
    last = event.sequence_number;
    if (last >= 3) break;
  }
  const rest = [];
  for await (const event of await client.responses.retrieve(id, { stream: true, starting_after: last })) rest.push(event);
  assert.equal(rest[0].sequence_number, last + 1);
  assert.match(rest.at(-1).response.output[0].content[0].text, /Paris/);
});

test("a webhook tells of the end, and the SDK knows that it is ours", async () => {
  const received = [];
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      received.push({ body, headers: request.headers });
      response.writeHead(204).end();
    });
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const hook = await client.post("/webhooks", { body: { url: `http://127.0.0.1:${server.address().port}/hook` } });
  try {
    const begun = await client.responses.create({ ...QUESTION, background: true });
    const events = async () =>
      Promise.all(received.map(({ body, headers }) => client.webhooks.unwrap(body, headers, hook.secret)));
    const told = await waitUntil(events, (all) => all.some((event) => event.data.id === begun.id));
    const event = told.find((event) => event.data.id === begun.id);
    assert.match(event.type, /^response\.(completed|incomplete)$/);
    const { body, headers } = received[0];
    await assert.rejects(client.webhooks.unwrap(`${body} `, headers, hook.secret), OpenAI.InvalidWebhookSignatureError);
  } finally {
    await client.delete(`/webhooks/${hook.id}`);
    server.closeAllConnections();
    server.close();
  }
});
