// What the suites have in common: where they ask, with which key, and what they ask.

export const BASE_URL = process.env.RESULTITY_BASE_URL;
export const API_KEY = process.env.RESULTITY_API_KEY;
export const MODEL = process.env.RESULTITY_MODEL;
export const EMBEDDING_MODEL = process.env.RESULTITY_EMBEDDING_MODEL;

// "embedded", or "llama" for a node in front of llama.cpp.
export const ENGINE = process.env.RESULTITY_ENGINE;

// For OpenAI's SDK. Errors are what is checked here, so nothing is tried again.
export const OPTIONS = { baseURL: BASE_URL, apiKey: API_KEY, timeout: 120_000, maxRetries: 0 };

// Without the first message this small model answers in something like French.
export const SYSTEM = "You are a helpful assistant.";
export const PROMPT = "What is the capital of France?";
export const QUESTION = {
  model: MODEL,
  messages: [
    { role: "system", content: SYSTEM },
    { role: "user", content: PROMPT },
  ],
  temperature: 0,
  max_tokens: 12,
};

// Asks again until the answer is enough, and gives it.
export async function waitUntil(ask, isEnough, seconds = 120) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (isEnough(answer)) return answer;
    if (Date.now() > end) throw new Error(`waited in vain; the last answer: ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
