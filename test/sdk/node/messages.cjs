// Runs one scenario with Anthropic's official Node SDK; see ../README.md.

const { channel } = require('node:diagnostics_channel');
const Anthropic = require('@anthropic-ai/sdk');
const { VERSION } = require('@anthropic-ai/sdk/version');

const env = process.env;
const model = env.SDK_MODEL ?? 'claude-haiku-4-5';
const maxTokens = Number(env.SDK_MAX_TOKENS ?? 8);
const messages = [{ role: 'user', content: env.SDK_PROMPT ?? 'Say hello.' }];
const weather = {
  name: 'weather',
  input_schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
};

// The SDK does not tell its retries; Node's own fetch announces every request.
let attempts = 0;
channel('undici:request:create').subscribe(() => attempts++);

function create(client, more = {}) {
  return client.messages.create({ model, messages, max_tokens: maxTokens, ...more }).withResponse();
}

function answered(answer) {
  return {
    finish_reason: answer.stop_reason,
    model: answer.model,
    usage: { prompt_tokens: answer.usage.input_tokens, completion_tokens: answer.usage.output_tokens },
  };
}

async function runChat(client) {
  const { data, response } = await create(client);
  return [response, { ...answered(data), content: data.content[0].text }];
}

async function runTools(client) {
  const { data, response } = await create(client, { tools: [weather], max_tokens: Math.max(maxTokens, 64) });
  const [call] = data.content;
  return [response, { ...answered(data), tool: { name: call.name, arguments: JSON.stringify(call.input) } }];
}

async function runStream(client) {
  const { data, response } = await create(client, { stream: true });
  const seen = { content: '', chunks: 0, usage: {} };
  for await (const event of data) {
    seen.chunks++;
    if (event.type === 'message_start') {
      seen.model = event.message.model;
      seen.usage.prompt_tokens = event.message.usage.input_tokens;
    }
    if (event.type === 'content_block_delta') seen.content += event.delta.text;
    if (event.type === 'message_delta') {
      seen.finish_reason = event.delta.stop_reason;
      seen.usage.completion_tokens = event.usage.output_tokens;
    }
  }
  return [response, seen];
}

async function runCount(client) {
  const { data, response } = await client.messages.countTokens({ model, messages }).withResponse();
  return [response, { usage: { prompt_tokens: data.input_tokens, completion_tokens: 0 } }];
}

async function runModel(client) {
  const ids = [];
  for await (const one of client.models.list()) ids.push(one.id);
  const { data, response } = await client.models.retrieve(model).withResponse();
  return [response, { model: data.id, content: ids.join(' ') }];
}

async function runBeta(client) {
  const betas = ['interleaved-thinking-2025-05-14', 'cache-keepalive-2026-09-03'];
  const { data, response } = await client.beta.messages.create({ model, messages, max_tokens: maxTokens, betas }).withResponse();
  return [response, { ...answered(data), content: data.content[0].text }];
}

function headers(h) {
  const kept = ([name]) => name.startsWith('x-') || name === 'retry-after' || name === 'content-type';
  return Object.fromEntries([...h].filter(kept));
}

// A connection error has neither status nor headers.
function refused(e) {
  const error = e.error?.error ?? {};
  return {
    status: e.status,
    headers: e.headers ? headers(e.headers) : undefined,
    error: { class: e.constructor.name, code: error.details?.error_code ?? null, type: error.type ?? null, message: e.message },
  };
}

const scenarios = { chat: runChat, stream: runStream, tools: runTools, count: runCount, model: runModel, beta: runBeta };

async function main(scenario) {
  let seen;
  try {
    const [response, answer] = await scenarios[scenario](new Anthropic());
    seen = { ok: true, status: response.status, headers: headers(response.headers), ...answer };
  } catch (e) {
    if (!(e instanceof Anthropic.AnthropicError)) throw e;
    seen = { ok: false, ...refused(e) };
  }
  console.log(JSON.stringify({ sdk: `node ${VERSION}`, scenario, attempts, ...seen }));
}

main(process.argv[2]);
