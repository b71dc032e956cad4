// Files and batches through OpenAI's SDK.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI, { toFile } from "openai";
import { OPTIONS, QUESTION, waitUntil } from "./setting.mjs";

const client = new OpenAI(OPTIONS);
const FINAL = ["completed", "failed", "expired", "cancelled"];

test("requests in a file, answers in a file", async () => {
  const line = (custom_id) => JSON.stringify({ custom_id, method: "POST", url: "/v1/chat/completions", body: QUESTION });
  const content = `${line("first")}\n${line("second")}\n`;
  const file = await client.files.create({ file: await toFile(Buffer.from(content), "in.jsonl"), purpose: "batch" });
  assert.equal(file.bytes, content.length);
  const begun = await client.batches.create({
    input_file_id: file.id,
    endpoint: "/v1/chat/completions",
    completion_window: "24h",
  });
  const ended = await waitUntil(() => client.batches.retrieve(begun.id), (batch) => FINAL.includes(batch.status));
  assert.equal(ended.status, "completed");
  const output = await (await client.files.content(ended.output_file_id)).text();
  const answers = output.trim().split("\n").map((text) => JSON.parse(text));
  assert.deepEqual(answers.map((answer) => answer.custom_id).sort(), ["first", "second"]);
  for (const answer of answers) assert.match(answer.response.body.choices[0].message.content, /Paris/);
  const listed = [];
  for await (const batch of client.batches.list({ limit: 2 })) listed.push(batch.id);
  assert.ok(listed.includes(begun.id));
  assert.equal((await client.files.delete(file.id)).deleted, true);
});
