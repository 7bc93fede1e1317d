// Runs one scenario with Google's official Node SDK; see ../README.md.

const { GoogleGenAI, ApiError } = require('@google/genai');

const env = process.env;
const model = env.SDK_MODEL ?? 'gemini-2.5-flash';
const maxOutputTokens = Number(env.SDK_MAX_TOKENS ?? 8);
const contents = env.SDK_PROMPT ?? 'Say hello.';
const weather = {
  functionDeclarations: [
    { name: 'weather', parameters: { type: 'OBJECT', properties: { city: { type: 'STRING' } }, required: ['city'] } },
  ],
};

// The SDK does not tell its attempts, nor the headers of an error.
const responses = [];
const fetchAsIs = globalThis.fetch;
globalThis.fetch = async (...request) => {
  const response = await fetchAsIs(...request);
  responses.push(response);
  return response;
};

function answered(answer) {
  const usage = answer.usageMetadata;
  return {
    finish_reason: answer.candidates?.[0]?.finishReason ?? '',
    model: answer.modelVersion,
    usage: { prompt_tokens: usage.promptTokenCount, completion_tokens: usage.candidatesTokenCount ?? 0 },
  };
}

async function runChat(ai) {
  const answer = await ai.models.generateContent({ model, contents, config: { maxOutputTokens } });
  return { ...answered(answer), content: answer.text };
}

async function runStream(ai) {
  let seen = { content: '', chunks: 0 };
  for await (const chunk of await ai.models.generateContentStream({ model, contents, config: { maxOutputTokens } })) {
    seen = { ...answered(chunk), content: seen.content + (chunk.text ?? ''), chunks: seen.chunks + 1 };
  }
  return seen;
}

async function runTools(ai) {
  const answer = await ai.models.generateContent({ model, contents, config: { maxOutputTokens: 64, tools: [weather] } });
  const [call] = answer.functionCalls;
  return { ...answered(answer), tool: { name: call.name, arguments: JSON.stringify(call.args) } };
}

async function runCount(ai) {
  const { totalTokens } = await ai.models.countTokens({ model, contents });
  return { usage: { prompt_tokens: totalTokens } };
}

async function runModel(ai) {
  const names = [];
  for await (const one of await ai.models.list()) names.push(one.name);
  const { name } = await ai.models.get({ model });
  return { model: name, content: names.join(' ') };
}

function headers() {
  const kept = ([name]) => name.startsWith('x-') || name === 'retry-after' || name === 'content-type';
  return Object.fromEntries([...(responses.at(-1)?.headers ?? [])].filter(kept));
}

const scenarios = { chat: runChat, stream: runStream, tools: runTools, count: runCount, model: runModel };

async function main(scenario) {
  const ai = new GoogleGenAI({ apiKey: env.GEMINI_API_KEY, httpOptions: { baseUrl: env.GEMINI_BASE_URL } });
  let seen;
  try {
    seen = { ok: true, ...(await scenarios[scenario](ai)) };
  } catch (e) {
    if (!(e instanceof ApiError)) throw e;
    let status = '';
    try {
      status = JSON.parse(e.message).error.status;
    } catch {}
    seen = { ok: false, error: { class: e.constructor.name, type: status, message: e.message } };
  }
  const status = responses.at(-1)?.status ?? 0;
  console.log(JSON.stringify({ sdk: 'google node', scenario, attempts: responses.length, status, headers: headers(), ...seen }));
}

main(process.argv[2]);
