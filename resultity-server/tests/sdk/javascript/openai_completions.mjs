// Legacy completions through OpenAI's SDK.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { MODEL, OPTIONS } from "./setting.mjs";

const client = new OpenAI(OPTIONS);
const PROMPT = { model: MODEL, prompt: "The capital of France is", temperature: 0, max_tokens: 4 };

test("a prompt is gone on with", async () => {
  const answer = await client.completions.create(PROMPT);
  assert.equal(answer.object, "text_completion");
  assert.match(answer.choices[0].text, /Paris/);
  assert.equal(answer.usage.completion_tokens, 4);
});

test("several prompts get a choice each, in order", async () => {
  const prompt = ["The capital of France is", "The capital of Italy is"];
  const answer = await client.completions.create({ ...PROMPT, prompt });
  assert.deepEqual(answer.choices.map((choice) => choice.index), [0, 1]);
  assert.match(answer.choices[0].text, /Paris/);
  assert.match(answer.choices[1].text, /Rome/);
});

test("a stream says the same", async () => {
  const whole = await client.completions.create(PROMPT);
  let text = "";
  for await (const chunk of await client.completions.create({ ...PROMPT, stream: true })) {
    text += chunk.choices[0]?.text ?? "";
  }
  assert.equal(text, whole.choices[0].text);
});
