// The official TypeScript SDK, one scenario a run: `node typescript.mjs NAME` prints what it saw as one line of JSON.
// The SDK finds its base URL and key in the environment, as any program of a user would.

import { createHash } from "node:crypto";
import Anthropic, { toFile } from "./.clients/node_modules/@anthropic-ai/sdk/index.mjs";

const prompt = process.env.PROMPT ?? "Hello";
const ask = { model: "claude-haiku-4-5", max_tokens: 200, messages: [{ role: "user", content: prompt }] };
const tools = [
  {
    name: "get_weather",
    description: "The weather of a city.",
    input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
];
const client = new Anthropic({ maxRetries: Number(process.env.MAX_RETRIES ?? 0) });

async function seen(call) {
  const { data, response } = await call.withResponse();
  return { data, id: response.headers.get("x-nexus-request-id") };
}

async function streamed(body) {
  const stream = client.messages.stream(body);
  const pieces = [];
  stream.on("text", (piece) => pieces.push(piece));
  const { id } = await seen(stream);
  return { id, pieces, data: await stream.finalMessage() };
}

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

const scenarios = {
  plain: () => seen(client.messages.create(ask)),
  stream: () => streamed(ask),
  thinking: () => streamed({ ...ask, max_tokens: 4000, thinking: { type: "enabled", budget_tokens: 1024 } }),
  count: () => seen(client.messages.countTokens({ model: ask.model, messages: ask.messages })),

  async models() {
    const ids = [];
    for await (const model of client.models.list({ limit: 2 })) ids.push(model.id);
    return { ids, one: await client.models.retrieve(ids[0]) };
  },

  async tool() {
    const first = await streamed({ ...ask, tools });
    const call = first.data.content.find((block) => block.type === "tool_use");
    const result = { type: "tool_result", tool_use_id: call.id, content: "Sunny." };
    const messages = [
      ...ask.messages,
      { role: "assistant", content: first.data.content },
      { role: "user", content: [result] },
    ];
    return { ...first, call, answer: await client.messages.create({ ...ask, tools, messages }) };
  },

  async cancel() {
    const stream = client.messages.stream(ask);
    const { id } = await seen(stream);
    await stream.emitted("text");
    stream.abort();
    try {
      await stream.finalMessage();
    } catch (error) {
      return { id, aborted: error instanceof Anthropic.APIUserAbortError };
    }
  },

  async file() {
    const bytes = Uint8Array.from({ length: 3_000_000 }, (_, index) => (index * index) % 251);
    const made = await client.files.upload({ file: await toFile(bytes, "a.bin") });
    const back = new Uint8Array(await (await client.files.download(made.id)).arrayBuffer());
    return { size: made.size_bytes, sent: sha256(bytes), received: sha256(back) };
  },
};

function told(error) {
  if (!(error instanceof Anthropic.APIError)) throw error;
  const id = error.headers?.get("x-nexus-request-id");
  return { error: error.constructor.name, status: error.status, body: error.error, request_id: error.requestID, id };
}

console.log(JSON.stringify(await scenarios[process.argv[2]]().catch(told)));
