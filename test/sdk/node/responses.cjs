// Runs one scenario of the Responses API with the official Node SDK; see ../README.md.

const { channel } = require('node:diagnostics_channel');
const OpenAI = require('openai');
const { VERSION } = require('openai/version');

const env = process.env;
const model = env.SDK_MODEL ?? 'gpt-4o-mini';
const cap = Math.max(Number(env.SDK_MAX_TOKENS ?? 8), 16); // the least that the API takes
const messages = [{ role: 'user', content: env.SDK_PROMPT ?? 'Say hello.' }];
const weather = {
  type: 'function',
  name: 'weather',
  strict: false,
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
};

let attempts = 0;
channel('undici:request:create').subscribe(() => attempts++);

function create(client, more = {}) {
  return client.responses.create({ model, input: messages, max_output_tokens: cap, ...more }).withResponse();
}

function answered(answer) {
  return { content: answer.output_text, finish_reason: answer.status, model: answer.model, usage: usage(answer.usage) };
}

function usage(u) {
  return { prompt_tokens: u.input_tokens, completion_tokens: u.output_tokens, total_tokens: u.total_tokens };
}

async function runChat(client) {
  const { data, response } = await create(client);
  return [response, answered(data)];
}

async function runStream(client) {
  const { data, response } = await create(client, { stream: true });
  let seen = { content: '', chunks: 0 };
  for await (const event of data) {
    seen.chunks++;
    if (event.type === 'response.output_text.delta') seen.content += event.delta;
    if (event.type === 'response.completed' || event.type === 'response.incomplete') {
      seen = { ...seen, ...answered(event.response), content: seen.content };
    }
  }
  return [response, seen];
}

async function runTools(client) {
  const { data, response } = await create(client, { max_output_tokens: 64, tools: [weather] });
  const [call] = data.output;
  const result = { type: 'function_call_output', call_id: call.call_id, output: 'rain' };
  const after = await create(client, { input: [...messages, ...data.output, result] });
  return [response, { ...answered(after.data), tool: { name: call.name, arguments: call.arguments }, finish_reason: data.status }];
}

async function runChain(client) {
  const first = await create(client);
  const { data, response } = await create(client, { previous_response_id: first.data.id });
  return [response, answered(data)];
}

async function runCount(client) {
  const { data, response } = await client.responses.inputTokens.count({ model, input: messages }).withResponse();
  return [response, { usage: { prompt_tokens: data.input_tokens } }];
}

async function runCompact(client) {
  const { data, response } = await client.responses.compact({ model, input: messages }).withResponse();
  return [response, { usage: usage(data.usage), finish_reason: data.object }];
}

function headers(h) {
  const kept = ([name]) => name.startsWith('x-') || name === 'retry-after' || name === 'content-type';
  return Object.fromEntries([...h].filter(kept));
}

function refused(e) {
  return {
    status: e.status,
    headers: e.headers ? headers(e.headers) : undefined,
    error: { class: e.constructor.name, code: e.code ?? null, type: e.type ?? null, message: e.message },
  };
}

const scenarios = { chat: runChat, stream: runStream, tools: runTools, chain: runChain, count: runCount, compact: runCompact };

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
