// The Vercel AI SDK, by both of its providers for OpenAI's API: embeddings.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embed, embedMany } from "ai";
import { API_KEY, BASE_URL, EMBEDDING_MODEL } from "./setting.mjs";

const compatible = createOpenAICompatible({ name: "resultity", baseURL: BASE_URL, apiKey: API_KEY });
const openai = createOpenAI({ baseURL: BASE_URL, apiKey: API_KEY });

const MODELS = {
  "openai-compatible": compatible.embeddingModel(EMBEDDING_MODEL),
  openai: openai.embedding(EMBEDDING_MODEL),
};

for (const [provider, model] of Object.entries(MODELS)) {
  test(`${provider}: one text and many`, async () => {
    const one = await embed({ model, value: "What is love?", maxRetries: 0 });
    const many = await embedMany({ model, values: ["What is love?", "What is hate?"], maxRetries: 0 });
    assert.equal(many.embeddings.length, 2);
    assert.equal(many.embeddings[0].length, one.embedding.length);
    assert.ok(one.usage.tokens > 0);
  });
}
