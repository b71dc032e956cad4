// The Vercel AI SDK over the Responses API, which is what its provider for OpenAI takes by itself.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, streamText } from "ai";
import { API_KEY, BASE_URL, MODEL, PROMPT, SYSTEM } from "./setting.mjs";

const model = createOpenAI({ baseURL: BASE_URL, apiKey: API_KEY })(MODEL);
const question = { model, system: SYSTEM, prompt: PROMPT, temperature: 0, maxOutputTokens: 16, maxRetries: 0 };

test("a whole text", async () => {
  const answer = await generateText(question);
  assert.match(answer.text, /Paris/);
  assert.ok(answer.usage.outputTokens > 0);
});

test("a stream", async () => {
  const failures = [];
  const answer = streamText({ ...question, onError: ({ error }) => failures.push(error) });
  let text = "";
  for await (const part of answer.textStream) text += part;
  assert.deepEqual(failures, []);
  assert.match(text, /Paris/);
});
