// The Vercel AI SDK, by both of its providers for OpenAI's API: texts, whole and streamed.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";
import { API_KEY, BASE_URL, MODEL, PROMPT, SYSTEM } from "./setting.mjs";

const compatible = createOpenAICompatible({ name: "resultity", baseURL: BASE_URL, apiKey: API_KEY, includeUsage: true });
const openai = createOpenAI({ baseURL: BASE_URL, apiKey: API_KEY });

const MODELS = { "openai-compatible": compatible.chatModel(MODEL), "openai, chat": openai.chat(MODEL) };

for (const [provider, model] of Object.entries(MODELS)) {
  const question = { model, system: SYSTEM, prompt: PROMPT, temperature: 0, maxOutputTokens: 12, maxRetries: 0 };

  test(`${provider}: a whole text`, async () => {
    const answer = await generateText(question);
    assert.match(answer.text, /Paris/);
    assert.ok(answer.usage.inputTokens > 0);
    assert.ok(answer.usage.outputTokens > 0 && answer.usage.outputTokens <= 12);
  });

  test(`${provider}: a stream`, async () => {
    const failures = [];
    const answer = streamText({ ...question, onError: ({ error }) => failures.push(error) });
    const parts = [];
    for await (const part of answer.textStream) parts.push(part);
    assert.deepEqual(failures, []);
    assert.match(parts.join(""), /Paris/);
    assert.ok(parts.length > 2, "it comes in pieces");
    assert.ok((await answer.usage).outputTokens > 0);
  });

  test(`${provider}: an error says what is wrong`, async () => {
    await assert.rejects(generateText({ ...question, temperature: 3 }), (error) => {
      assert.equal(error.statusCode, 400);
      assert.match(error.message, /temperature/);
      return true;
    });
  });
}
