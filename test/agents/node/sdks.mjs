// Runs one client through one case: node sdks.mjs CLIENT CASE. It is to JavaScript
// what ../python/sdks.py is to Python.
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const require = createRequire(process.env.AEGIS_MODULES + '/')
const load = (name) => import(pathToFileURL(require.resolve(name)).href)
const { z } = await load('zod')

const [client, scenario] = process.argv.slice(2)
const { AEGIS_BASE: base, AEGIS_KEY: key, AEGIS_PROMPT: prompt } = process.env
const image = readFileSync(process.env.AEGIS_IMAGE).toString('base64')
const openaiModel = 'gpt-5'
const claudeModel = 'claude-sonnet-4-5'
const cap = 1000
const streams = ['stream', 'killed', 'killed-tool'].includes(scenario)
const tools = ['tool', 'killed-tool'].includes(scenario)
const city = z.object({ city: z.string(), people: z.number().int() })
const nothing = { type: 'object', properties: {}, additionalProperties: false, required: [] }

function touch() {
  writeFileSync('marker', '')
  return 'made'
}

async function openaiResponses() {
  const { OpenAI } = await load('openai')
  const { zodTextFormat } = await load('openai/helpers/zod')
  const openai = new OpenAI({ baseURL: base + '/v1', apiKey: key })
  const content = [{ type: 'input_text', text: prompt }]
  const options = { model: openaiModel }
  if (scenario === 'image') content.push({ type: 'input_image', image_url: 'data:image/png;base64,' + image, detail: 'low' })
  if (tools) options.tools = [{ type: 'function', name: 'touch', parameters: nothing, strict: true }]
  const input = [{ role: 'user', content }]
  if (scenario === 'structured') {
    const answer = await openai.responses.parse({ ...options, input, text: { format: zodTextFormat(city, 'city') } })
    return JSON.stringify(answer.output_parsed)
  }
  for (let turn = 0; turn < 3; turn++) {
    const answer = streams
      ? await openai.responses.stream({ ...options, input }).finalResponse()
      : await openai.responses.create({ ...options, input })
    const calls = answer.output.filter((item) => item.type === 'function_call' && item.status === 'completed')
    if (calls.length === 0) return answer.output_text
    input.push(...answer.output)
    for (const call of calls) input.push({ type: 'function_call_output', call_id: call.call_id, output: touch() })
  }
}

async function anthropicMessages() {
  const { Anthropic } = await load('@anthropic-ai/sdk')
  const { zodOutputFormat } = await load('@anthropic-ai/sdk/helpers/zod')
  const anthropic = new Anthropic({ baseURL: base, apiKey: key })
  const content = [{ type: 'text', text: prompt }]
  const options = { model: claudeModel, max_tokens: cap }
  if (scenario === 'image') content.push({ type: 'image', source: { type: 'base64', media_type: 'image/png', data: image } })
  if (tools) options.tools = [{ name: 'touch', input_schema: nothing }]
  const messages = [{ role: 'user', content }]
  if (scenario === 'structured') {
    const answer = await anthropic.messages.parse({ ...options, messages, output_config: { format: zodOutputFormat(city) } })
    return JSON.stringify(answer.parsed_output)
  }
  for (let turn = 0; turn < 3; turn++) {
    const answer = streams
      ? await anthropic.messages.stream({ ...options, messages }).finalMessage()
      : await anthropic.messages.create({ ...options, messages })
    if (answer.stop_reason !== 'tool_use') return answer.content.map((block) => block.text ?? '').join('')
    messages.push({ role: 'assistant', content: answer.content })
    const calls = answer.content.filter((block) => block.type === 'tool_use')
    messages.push({ role: 'user', content: calls.map((call) => ({ type: 'tool_result', tool_use_id: call.id, content: touch() })) })
  }
}

async function openaiAgents() {
  process.env.OPENAI_BASE_URL = base + '/v1'
  process.env.OPENAI_API_KEY = key
  const { Agent, run, setTracingDisabled, tool } = await load('@openai/agents')
  setTracingDisabled(true)
  const agent = new Agent({
    name: 'ledger',
    model: openaiModel,
    tools: tools ? [tool({ name: 'touch', description: 'Make a file.', parameters: z.object({}), execute: touch })] : [],
    ...(scenario === 'structured' ? { outputType: city } : {}),
  })
  const content = [{ type: 'input_text', text: prompt }]
  if (scenario === 'image') content.push({ type: 'input_image', image: 'data:image/png;base64,' + image })
  const input = [{ role: 'user', content }]
  const result = await run(agent, input, { stream: streams })
  if (streams) {
    for await (const _ of result);
    await result.completed
  }
  return scenario === 'structured' ? JSON.stringify(result.finalOutput) : result.finalOutput
}

async function vercel(model) {
  const { generateObject, generateText, stepCountIs, streamText, tool } = await load('ai')
  const content = [{ type: 'text', text: prompt }]
  if (scenario === 'image') content.push({ type: 'image', image: Buffer.from(image, 'base64'), mediaType: 'image/png' })
  const options = { model, messages: [{ role: 'user', content }], maxOutputTokens: cap }
  if (scenario === 'structured') return JSON.stringify((await generateObject({ ...options, schema: city })).object)
  if (tools) {
    options.tools = { touch: tool({ description: 'Make a file.', inputSchema: z.object({}), execute: touch }) }
    options.stopWhen = stepCountIs(3)
  }
  if (!streams) return (await generateText(options)).text
  let failure
  const result = streamText({ ...options, onError: ({ error }) => (failure = error) })
  let text = ''
  for await (const part of result.textStream) text += part
  if (failure) throw failure
  return text
}

async function vercelOpenAI() {
  const { createOpenAI } = await load('@ai-sdk/openai')
  return vercel(createOpenAI({ baseURL: base + '/v1', apiKey: key })(openaiModel))
}

async function vercelAnthropic() {
  const { createAnthropic } = await load('@ai-sdk/anthropic')
  return vercel(createAnthropic({ baseURL: base + '/v1', apiKey: key })(claudeModel))
}

const clients = {
  'openai-node': openaiResponses,
  'anthropic-node': anthropicMessages,
  'openai-agents-node': openaiAgents,
  'vercel-openai': vercelOpenAI,
  'vercel-anthropic': vercelAnthropic,
}

try {
  console.log(await clients[client]())
} catch (error) {
  console.log(`${error.name}: ${error.message}`)
  process.exitCode = 1
}
