// Runs one scenario with the official Node SDK; see ../README.md.
// CommonJS, because its modules are found by NODE_PATH.

const { channel } = require('node:diagnostics_channel');
const OpenAI = require('openai');
const { VERSION } = require('openai/version');

const env = process.env;
const model = env.SDK_MODEL ?? 'gpt-4o-mini';
const embeddingModel = env.SDK_EMBEDDING_MODEL ?? 'text-embedding-3-small';
const maxTokens = Number(env.SDK_MAX_TOKENS ?? 8);
const weather = {
  type: 'function',
  function: {
    name: 'weather',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
};

// The SDK does not tell its retries; Node's own fetch announces every request.
let attempts = 0;
channel('undici:request:create').subscribe(() => attempts++);

function chat(client, more = {}) {
  const messages = [{ role: 'user', content: env.SDK_PROMPT ?? 'Say hello.' }];
  return client.chat.completions.create({ model, messages, max_completion_tokens: maxTokens, ...more }).withResponse();
}

async function runChat(client) {
  const { data, response } = await chat(client);
  const [choice] = data.choices;
  return [response, { content: choice.message.content, finish_reason: choice.finish_reason, model: data.model, usage: usage(data.usage) }];
}

async function runTools(client) {
  const { data, response } = await chat(client, { tools: [weather], max_completion_tokens: Math.max(maxTokens, 64) });
  const [choice] = data.choices;
  const call = choice.message.tool_calls[0].function;
  return [
    response,
    { tool: { name: call.name, arguments: call.arguments }, finish_reason: choice.finish_reason, model: data.model, usage: usage(data.usage) },
  ];
}

async function runStream(client, more = {}) {
  const { data, response } = await chat(client, { stream: true, ...more });
  const seen = { content: '', chunks: 0, usage_chunks: 0 };
  for await (const chunk of data) {
    seen.chunks++;
    seen.model = chunk.model;
    if (chunk.usage) {
      seen.usage_chunks++;
      seen.usage = usage(chunk.usage);
    }
    for (const choice of chunk.choices) {
      seen.content += choice.delta.content ?? '';
      seen.finish_reason = choice.finish_reason ?? seen.finish_reason;
    }
  }
  return [response, seen];
}

function runStreamUsage(client) {
  return runStream(client, { stream_options: { include_usage: true } });
}

async function runEmbeddings(client) {
  const input = ['Say hello.', 'Say goodbye.'];
  const { data, response } = await client.embeddings.create({ model: embeddingModel, input }).withResponse();
  return [response, { embeddings: data.data.map((one) => one.embedding.length), model: data.model, usage: usage(data.usage) }];
}

async function runModel(client) {
  const { data, response } = await client.models.retrieve(model).withResponse();
  return [response, { model: data.id }];
}

async function runModeration(client) {
  const { data, response } = await client.moderations.create({ input: 'Say hello.' }).withResponse();
  return [response, { model: data.model, content: String(data.results[0].flagged) }];
}

function usage(u) {
  return { prompt_tokens: u.prompt_tokens, completion_tokens: u.completion_tokens ?? 0, total_tokens: u.total_tokens };
}

function headers(h) {
  const kept = ([name]) => name.startsWith('x-') || name === 'retry-after' || name === 'content-type';
  return Object.fromEntries([...h].filter(kept));
}

// A connection error has neither status nor headers.
function refused(e) {
  return {
    status: e.status,
    headers: e.headers ? headers(e.headers) : undefined,
    error: { class: e.constructor.name, code: e.code ?? null, type: e.type ?? null, message: e.message },
  };
}

const scenarios = {
  chat: runChat,
  stream: runStream,
  'stream-usage': runStreamUsage,
  tools: runTools,
  embeddings: runEmbeddings,
  model: runModel,
  moderation: runModeration,
};

async function main(scenario) {
  let seen;
  try {
    const [response, answer] = await scenarios[scenario](new OpenAI());
    seen = { ok: true, status: response.status, headers: headers(response.headers), ...answer };
  } catch (e) {
    if (!(e instanceof OpenAI.OpenAIError)) throw e;
    seen = { ok: false, ...refused(e) };
  }
  console.log(JSON.stringify({ sdk: `node ${VERSION}`, scenario, attempts, ...seen }));
}

main(process.argv[2]);
