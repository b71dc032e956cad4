// Chat completions, models and errors through OpenAI's SDK: only the base URL and the key are ours.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { MODEL, OPTIONS, QUESTION } from "./setting.mjs";

const client = new OpenAI(OPTIONS);

test("models are listed and found by name", async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.ok(ids.includes(MODEL));
  assert.equal((await client.models.retrieve(MODEL)).object, "model");
});

test("an answer comes with its token counts", async () => {
  const answer = await client.chat.completions.create(QUESTION);
  assert.equal(answer.object, "chat.completion");
  assert.equal(answer.choices[0].message.role, "assistant");
  assert.match(answer.choices[0].message.content, /Paris/);
  assert.ok(answer.usage.completion_tokens > 0 && answer.usage.completion_tokens <= 12);
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
  assert.ok(answer._request_id);
});

test("a stream says the same as the whole answer", async () => {
  const whole = await client.chat.completions.create(QUESTION);
  const stream = await client.chat.completions.create({
    ...QUESTION,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  const usages = [];
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    if (chunk.usage) usages.push(chunk.usage.completion_tokens);
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.deepEqual(usages, [whole.usage.completion_tokens]);
});

test("the stream helper puts the answer together", async () => {
  const final = await client.chat.completions.stream(QUESTION).finalChatCompletion();
  assert.match(final.choices[0].message.content, /Paris/);
});

test("a stream that is aborted does no harm", async () => {
  const stream = await client.chat.completions.create({ ...QUESTION, max_tokens: 64, stream: true });
  for await (const chunk of stream) {
    assert.equal(chunk.object, "chat.completion.chunk");
    break;
  }
  stream.controller.abort();
  const answer = await client.chat.completions.create(QUESTION);
  assert.match(answer.choices[0].message.content, /Paris/);
});

test("several answers at once", async () => {
  const answers = await Promise.all([1, 2, 3].map(() => client.chat.completions.create(QUESTION)));
  for (const answer of answers) assert.match(answer.choices[0].message.content, /Paris/);
});

test("errors have the SDK's own types, with status, code and param", async () => {
  const refused = (changes) => client.chat.completions.create({ ...QUESTION, ...changes });
  await assert.rejects(refused({ model: "no-such-model" }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.deepEqual([error.status, error.code, error.param], [404, "model_not_found", "model"]);
    assert.ok(error.requestID);
    return true;
  });
  await assert.rejects(refused({ temperature: 3, stream: true }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.deepEqual([error.status, error.type, error.param], [400, "invalid_request_error", "temperature"]);
    return true;
  });
  const stranger = new OpenAI({ ...OPTIONS, apiKey: "rk_test_wrong" });
  await assert.rejects(stranger.chat.completions.create(QUESTION), (error) => {
    assert.ok(error instanceof OpenAI.AuthenticationError);
    assert.deepEqual([error.status, error.code], [401, "invalid_api_key"]);
    return true;
  });
});
