// Embeddings through OpenAI's SDK, which asks for base64 by itself.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { EMBEDDING_MODEL, OPTIONS } from "./setting.mjs";

const client = new OpenAI(OPTIONS);

test("numbers are the same however they are written", async () => {
  const request = { model: EMBEDDING_MODEL, input: ["What is love?", "What is hate?"] };
  const packed = await client.embeddings.create(request);
  const written = await client.embeddings.create({ ...request, encoding_format: "float" });
  assert.deepEqual(packed.data.map((entry) => entry.index), [0, 1]);
  assert.ok(packed.usage.prompt_tokens > 0);
  for (const [index, entry] of packed.data.entries()) {
    const expected = written.data[index].embedding;
    assert.equal(entry.embedding.length, expected.length);
    entry.embedding.forEach((number, at) => assert.ok(Math.abs(number - expected[at]) < 1e-5));
  }
});

test("what can't be done is refused by name", async () => {
  await assert.rejects(client.embeddings.create({ model: EMBEDDING_MODEL, input: [] }), (error) => {
    assert.deepEqual([error.status, error.param], [400, "input"]);
    return true;
  });
});
